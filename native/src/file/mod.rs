//! Encrypted files as readers and writers: the adapters between a [`CtrStream`] and whatever holds the bytes.
//!
//! All take a [`CtrStream`] or an `Option` of one; `None` is a file that its dictionary records as plaintext, whose bytes pass through.
//!
//! **Overwriting.** Counter mode XORs the same keystream at the same place. Whoever sees a byte's ciphertext before and after it was
//! overwritten in place learns the XOR of the two plaintexts. So write a file once, or give its next content a new entry
//! ([`Entries::new_entry`](crate::Entries::new_entry)); overwriting in place is for an engine that has weighed this.

#[cfg(feature = "tokio")]
mod asynchronous;
mod kept_open;
mod positional;
mod reader;
mod writer;

use std::io;

use stillkey_core::CtrStream;
use stillkey_core::error::Misuse;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncEncryptedFile, AsyncEncryptedReader, AsyncEncryptedWriter};
pub(crate) use kept_open::KeptOpen;
pub use positional::EncryptedFile;
pub use reader::EncryptedReader;
pub use writer::EncryptedWriter;

/// Bytes encrypted at a time: a scratch buffer of this size at most stands between the caller's data and the file.
const SCRATCH_LEN: usize = 64 * 1024;

/// How many of `len` bytes at `offset` have a position; one byte less than `u64::MAX` is the last that a stream can follow.
fn within(offset: u64, len: usize) -> usize {
    usize::try_from(u64::MAX - offset).map_or(len, |room| room.min(len))
}

/// A stream's refusal as an input/output error.
fn invalid(error: stillkey_core::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// A reader or writer that claims to have moved more bytes than it was given.
pub(crate) fn implausible() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the underlying reader or writer reported more bytes than it was given; it must be fixed",
    )
}

/// Encrypts the first part of `data`, which is to stand at `offset`, into `scratch` and returns the ciphertext.
fn encrypt<'a>(
    stream: &CtrStream,
    offset: u64,
    data: &[u8],
    scratch: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    let len = within(offset, data.len().min(SCRATCH_LEN));
    if len == 0 && !data.is_empty() {
        let len = data.len();
        return Err(invalid(Misuse::PositionOverflow { offset, len }.into()));
    }
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    let (Some(source), Some(destination)) = (data.get(..len), scratch.get_mut(..len)) else {
        return Err(implausible());
    };
    stream
        .apply_at_to(offset, source, destination)
        .map_err(invalid)?;
    Ok(destination)
}

#[cfg(test)]
mod testing {
    use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};

    pub(super) fn stream(cipher: Cipher) -> CtrStream {
        let key = DataKey::new(cipher, SecretBytes::new(vec![3; cipher.key_len()])).unwrap();
        CtrStream::new(&key, Iv::new([0xff; 16]))
    }

    pub(super) fn plaintext(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    pub(super) fn ciphertext(cipher: Cipher, len: usize) -> Vec<u8> {
        let mut data = plaintext(len);
        stream(cipher).apply_at(0, &mut data).unwrap();
        data
    }
}
