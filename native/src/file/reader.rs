//! Decrypting while reading.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use stillkey_core::CtrStream;

use super::{implausible, invalid, within};
use crate::parallel;

/// Decrypts what it reads from `R`, in the caller's buffer. With `R: Seek`, it seeks to any byte at no cost.
///
/// ```
/// use std::io::{Cursor, Read, Seek, SeekFrom};
/// use stillkey::EncryptedReader;
/// # use stillkey::core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
/// # let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16]))?;
/// # let stream = CtrStream::new(&key, Iv::new([1; 16]));
/// # let mut ciphertext = *b"some plaintext";
/// # stream.apply_at(0, &mut ciphertext)?;
/// let mut reader = EncryptedReader::new(Cursor::new(ciphertext), stream);
/// reader.seek(SeekFrom::Start(5))?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "plaintext");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EncryptedReader<R> {
    inner: R,
    stream: Option<CtrStream>,
}

impl<R> EncryptedReader<R> {
    /// Reads from `inner`, which stands at the byte that is the stream's position: 0 for a new stream.
    pub fn new(inner: R, stream: impl Into<Option<CtrStream>>) -> Self {
        Self {
            inner,
            stream: stream.into(),
        }
    }

    /// What it reads from.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// Gives back what it read from.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for EncryptedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return self.inner.read(buffer);
        };
        let len = within(stream.position(), buffer.len());
        #[expect(
            clippy::indexing_slicing,
            reason = "`len` is at most that of the buffer"
        )]
        let buffer = &mut buffer[..len];
        let read = self.inner.read(buffer)?;
        let data = buffer.get_mut(..read).ok_or_else(implausible)?;
        parallel::apply(stream, stream.position(), data).map_err(invalid)?;
        stream.seek(stream.position() + read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for EncryptedReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.inner.seek(to)?;
        if let Some(stream) = &mut self.stream {
            stream.seek(position);
        }
        Ok(position)
    }
}

impl<R> fmt::Debug for EncryptedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedReader")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use stillkey_core::Cipher;

    proptest! {
        #[test]
        fn reading_in_any_chunks_gives_the_plaintext(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            len in 0_usize..3000,
            chunks in prop::collection::vec(1_usize..400, 1..20),
        ) {
            let mut reader = EncryptedReader::new(Cursor::new(ciphertext(cipher, len)), stream(cipher));
            let mut read: Vec<u8> = Vec::new();
            for chunk in chunks.into_iter().cycle() {
                let mut buffer = vec![0; chunk];
                let n = reader.read(&mut buffer).unwrap();
                if n == 0 { break; }
                read.extend(&buffer[..n]);
            }
            prop_assert_eq!(read, plaintext(len));
        }

        #[test]
        fn seeking_equals_reading_and_skipping(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            at in 0_u64..3000,
        ) {
            let mut reader = EncryptedReader::new(Cursor::new(ciphertext(cipher, 3000)), stream(cipher));
            let position = reader.seek(SeekFrom::End(at.cast_signed() - 3000)).unwrap();
            prop_assert_eq!(position, at);
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            prop_assert_eq!(&rest[..], &plaintext(3000)[at as usize..]);
        }
    }

    #[test]
    fn a_file_in_plaintext_passes_through() {
        let mut text = String::new();
        let mut reader = EncryptedReader::new(&b"as it is"[..], None);
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "as it is");
    }

    #[test]
    fn the_last_position_can_be_sought_and_holds_nothing() {
        let mut reader = EncryptedReader::new(Cursor::new([1, 2]), stream(Cipher::Aes128));
        assert_eq!(reader.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn a_reader_that_lies_about_its_length_is_an_error() {
        struct Liar;
        impl Read for Liar {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len() + 1)
            }
        }
        let mut reader = EncryptedReader::new(Liar, stream(Cipher::Aes128));
        assert!(reader.read(&mut [0; 4]).is_err());
    }
}
