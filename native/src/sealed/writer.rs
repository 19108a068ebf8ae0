//! Plaintext written in, a sealed object written out.

use std::io::{self, Write};
use std::ops::Range;

use getrandom::SysRng;
use stillkey_core::sealed::{Options, Sealer};
use stillkey_core::{EncryptionContext, MasterKey};

use super::data_error;
use crate::file::implausible;
use crate::parallel::{self, Threads};
use crate::provider::Native;

/// Seals everything written to it, and writes the object to `W`. It is complete only after [`SealedWriter::finish`].
///
/// What is written at a time is sealed at a time: with long buffers ([`parallel::buffer_len`]), by several threads. The object is the same.
///
/// ```
/// use std::io::{Read, Write};
/// use stillkey::core::sealed::Options;
/// use stillkey::core::{EncryptionContext, MasterKey, RawMasterKey};
/// use stillkey::{SealedReader, SealedWriter, SysRng};
///
/// # fn main() -> std::io::Result<()> {
/// let keys = [MasterKey::Raw(RawMasterKey::random(&mut SysRng).map_err(std::io::Error::other)?)];
/// let context = EncryptionContext::new();
///
/// let mut writer = SealedWriter::new(Vec::new(), &Options::default(), &keys, &context)?;
/// writer.write_all(b"plaintext")?;
/// let object = writer.finish()?;
///
/// let mut plaintext = String::new();
/// SealedReader::new(object.as_slice(), &keys, &context)?.read_to_string(&mut plaintext)?;
/// assert_eq!(plaintext, "plaintext");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SealedWriter<W: Write> {
    inner: W,
    sealer: Sealer,
    /// Room for what one piece of plaintext becomes; ciphertext only, so it needs no zeroizing.
    sealed: Vec<u8>,
    /// The part of `sealed` that `inner` has not taken yet.
    waiting: Range<usize>,
}

impl<W: Write> SealedWriter<W> {
    /// Starts an object that every one of `recipients` can open, and writes its header.
    ///
    /// # Errors
    /// Those of `inner`; a [`stillkey_core::Error`] inside for recipients or options that are impossible.
    pub fn new(
        mut inner: W,
        options: &Options,
        recipients: &[MasterKey],
        context: &EncryptionContext,
    ) -> io::Result<Self> {
        let mut sealed = Vec::new();
        let sealer = Sealer::new(
            options,
            recipients,
            context,
            &Native::detect(),
            &mut SysRng,
            &mut sealed,
        )
        .map_err(data_error)?;
        inner.write_all(&sealed)?;
        Ok(Self {
            inner,
            sealer,
            sealed,
            waiting: 0..0,
        })
    }

    /// Seals what remains, writes it, and returns `inner`, flushed but not synced.
    ///
    /// # Errors
    /// Those of `inner`.
    pub fn finish(self) -> io::Result<W> {
        let Self {
            mut inner,
            sealer,
            mut sealed,
            waiting,
        } = self;
        #[expect(
            clippy::indexing_slicing,
            reason = "a range of what was sealed into it"
        )]
        inner.write_all(&sealed[waiting])?;
        sealed.clear();
        sealer.finish(&mut sealed).map_err(data_error)?;
        inner.write_all(&sealed)?;
        inner.flush()?;
        Ok(inner)
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        // What an earlier error left behind goes first: a sealed byte is sealed once.
        self.flush_sealed()?;
        let room = self.sealer.output_len(parallel::piece_len(plaintext.len()));
        if self.sealed.len() < room {
            self.sealed.resize(room, 0);
        }
        let pushed = self
            .sealer
            .push_to(plaintext, &mut self.sealed, &Threads)
            .map_err(data_error)?;
        self.waiting = 0..pushed.written;
        // The plaintext has been taken in, so it counts as written: told otherwise, a caller that tries again would have it sealed twice. If
        // writing fails now, it fails in the next call too, which says so.
        let _ = self.flush_sealed();
        Ok(pushed.taken)
    }

    /// Writes the sealed chunks out. A chunk that isn't full stays until more follows or the object is finished.
    fn flush(&mut self) -> io::Result<()> {
        self.flush_sealed()?;
        self.inner.flush()
    }
}

impl<W: Write> SealedWriter<W> {
    #[expect(
        clippy::indexing_slicing,
        reason = "a range of what was sealed into it"
    )]
    fn flush_sealed(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let written = self.inner.write(&self.sealed[self.waiting.clone()])?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            if written > self.waiting.len() {
                return Err(implausible());
            }
            self.waiting.start += written;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use stillkey_core::{RawMasterKey, SecretBytes};

    use super::*;
    use crate::SealedReader;

    /// Refuses each second call for good reasons, as a full disk that someone makes room on.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(2) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Reports more than it was given, after what it was given by `new`.
    struct Boasting(bool);

    impl Write for Boasting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len() + usize::from(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Boasting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len() + usize::from(self.0))
        }
    }

    #[test]
    fn a_reader_or_writer_that_reports_more_than_it_was_given_is_refused() {
        let keys = [MasterKey::Raw(
            RawMasterKey::new(SecretBytes::new(vec![1; 32])).unwrap(),
        )];
        let (options, context) = (Options::default(), EncryptionContext::new());
        let mut writer = SealedWriter::new(Boasting(false), &options, &keys, &context).unwrap();
        writer.inner.0 = true;
        // However much it gathers first.
        let mut written = (0..64).map(|_| writer.write_all(&vec![0; 1 << 20]));
        let error = written.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");

        let mut object = Vec::new();
        let writer = SealedWriter::new(&mut object, &options, &keys, &context).unwrap();
        writer.finish().unwrap();
        let header_len = stillkey_core::sealed::Header::parse(&object)
            .unwrap()
            .as_bytes()
            .len();
        let inner = object[..header_len].chain(Boasting(true));
        let mut reader = SealedReader::new(inner, &keys, &context).unwrap();
        let error = reader.read(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }

    #[test]
    fn a_write_that_is_repeated_after_an_error_is_sealed_once() {
        let keys = [MasterKey::Raw(
            RawMasterKey::new(SecretBytes::new(vec![1; 32])).unwrap(),
        )];
        let context = EncryptionContext::new();
        let options = Options {
            chunk_exponent: 12,
            ..Options::default()
        };
        let plaintext: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut writer = SealedWriter::new(Full(Vec::new(), 0), &options, &keys, &context).unwrap();
        for piece in plaintext.chunks(9_000) {
            let mut rest = piece;
            while !rest.is_empty() {
                if let Ok(written) = writer.write(rest) {
                    rest = &rest[written..];
                }
            }
        }
        while writer.flush().is_err() {}
        writer.inner.1 = 0;
        let object = writer.finish().unwrap().0;
        let mut read = Vec::new();
        SealedReader::new(object.as_slice(), &keys, &context)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == plaintext, "{} bytes", read.len());
    }
}
