//! Encrypting while writing.

use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};

use stillkey_core::CtrStream;

use super::{encrypt, implausible};

/// Encrypts what it writes to `W`, through a scratch buffer of at most 64 KiB.
///
/// It buffers nothing: what [`Write::write`] reports as written has gone to `W`, and after a short or failed write, cipher and position
/// stand where `W` does. Writing twice at the same place reuses keystream: see [the module](crate::file).
pub struct EncryptedWriter<W> {
    inner: W,
    stream: Option<CtrStream>,
    /// Ciphertext only, so it needs no zeroizing.
    scratch: Vec<u8>,
}

impl<W> EncryptedWriter<W> {
    /// Writes to `inner`, which stands at the byte that is the stream's position: 0 for a new stream.
    pub fn new(inner: W, stream: impl Into<Option<CtrStream>>) -> Self {
        Self {
            inner,
            stream: stream.into(),
            scratch: Vec::new(),
        }
    }

    /// What it writes to.
    pub fn inner(&self) -> &W {
        &self.inner
    }

    /// Gives back what it wrote to. Nothing is left to flush in the adapter itself.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for EncryptedWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return self.inner.write(data);
        };
        let position = stream.position();
        let ciphertext = encrypt(stream, position, data, &mut self.scratch)?;
        let written = self.inner.write(ciphertext)?;
        if written > ciphertext.len() {
            return Err(implausible());
        }
        stream.seek(position + written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Seek> Seek for EncryptedWriter<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.inner.seek(to)?;
        if let Some(stream) = &mut self.stream {
            stream.seek(position);
        }
        Ok(position)
    }
}

impl<W> fmt::Debug for EncryptedWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedWriter")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SCRATCH_LEN;
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use stillkey_core::Cipher;

    /// Takes at most `limit` bytes at a time, and refuses every third call.
    struct Grudging {
        taken: Vec<u8>,
        limit: usize,
        calls: usize,
    }

    impl Write for Grudging {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = data.len().min(self.limit);
            self.taken.extend(&data[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn writing_in_any_chunks_through_short_writes_gives_the_ciphertext(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            len in 0_usize..3000,
            chunk in 1_usize..700,
            limit in 1_usize..700,
        ) {
            let inner = Grudging { taken: Vec::new(), limit, calls: 0 };
            let mut writer = EncryptedWriter::new(inner, stream(cipher));
            for data in plaintext(len).chunks(chunk) {
                writer.write_all(data).unwrap();
            }
            prop_assert_eq!(writer.into_inner().taken, ciphertext(cipher, len));
        }
    }

    #[test]
    fn data_larger_than_the_scratch_buffer_is_written_whole() {
        let len = 3 * SCRATCH_LEN + 5;
        let mut writer = EncryptedWriter::new(Vec::new(), stream(Cipher::Aes256));
        writer.write_all(&plaintext(len)).unwrap();
        assert_eq!(writer.into_inner(), ciphertext(Cipher::Aes256, len));
    }

    #[test]
    fn parts_written_in_any_order_make_the_same_file() {
        let mut writer = EncryptedWriter::new(Cursor::new(Vec::new()), stream(Cipher::Sm4));
        for at in [70, 0, 35] {
            writer.seek(SeekFrom::Start(at as u64)).unwrap();
            writer.write_all(&plaintext(105)[at..at + 35]).unwrap();
        }
        assert_eq!(
            writer.into_inner().into_inner(),
            ciphertext(Cipher::Sm4, 105)
        );
    }

    #[test]
    fn nothing_is_written_past_the_last_position() {
        let mut writer = EncryptedWriter::new(Cursor::new(Vec::new()), stream(Cipher::Aes128));
        writer.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert!(writer.write_all(b"x").is_err());
    }

    #[test]
    fn a_file_in_plaintext_passes_through() {
        let mut writer = EncryptedWriter::new(Vec::new(), None);
        writer.write_all(b"as it is").unwrap();
        assert_eq!(writer.into_inner(), b"as it is");
    }
}
