//! Sealed objects over files and streams, in bounded memory whatever their length: some chunks, or some megabytes where
//! several threads share the work ([`parallel`](crate::parallel)).
//!
//! - [`SealedWriter`] seals what is written to it.
//! - [`SealedReader`] opens an object from start to end, from a pipe if need be.
//! - [`SealedFile`] opens any part of an object that can seek.
//!
//! All of them speak [`std::io`]. An error about the object itself (damage, a wrong key) travels inside the [`std::io::Error`];
//! [`Error::carried`](crate::Error::carried) takes it out again.

mod reader;
mod seek;
mod writer;

pub use reader::SealedReader;
pub use seek::SealedFile;
pub use writer::SealedWriter;

use std::io::{self, Read};

use stillkey_core::sealed::Header;

/// Bytes of the body that are read at first. A source that fills so much is worth buffers of [`parallel::buffer_len`](crate::parallel::buffer_len).
const FIRST_PIECE: usize = 128 << 10;

/// An error about the object, inside one that `std::io` can carry.
fn data_error(error: stillkey_core::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reads exactly the header, so that the body is what remains.
fn read_header(object: &mut impl Read) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(Header::PREFIX_LEN);
    read_up_to(object, Header::PREFIX_LEN, &mut bytes)?;
    let len = Header::len_of(&bytes).map_err(data_error)?;
    read_up_to(object, len, &mut bytes)?;
    Header::parse(&bytes).map_err(data_error)
}

/// Reads until `bytes` holds `len` or the source ends.
fn read_up_to(source: &mut impl Read, len: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let missing = len.saturating_sub(bytes.len());
    source.take(missing as u64).read_to_end(bytes)?;
    Ok(())
}
