//! Encrypted files with positional reads and writes, for engines whose threads share one descriptor.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use stillkey_core::CtrStream;

use super::{KeptOpen, encrypt, implausible, invalid, within};
use crate::{fsops, parallel};

/// A file that is decrypted and encrypted at any offset, through `&self`, by any number of threads at once.
///
/// Offsets and lengths are those of the plaintext, which are those of the file. Writing twice at the same place reuses keystream, and
/// so does writing again after [`EncryptedFile::set_len`] has cut something off: see [the module](crate::file).
///
/// ```
/// use stillkey::EncryptedFile;
/// # use stillkey::core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
/// # let key = DataKey::new(Cipher::Aes256, SecretBytes::new(vec![7; 32]))?;
/// # let stream = CtrStream::new(&key, Iv::new([1; 16]));
/// let file = EncryptedFile::new(tempfile::tempfile()?, stream);
/// file.write_all_at(b"the second page", 4096)?;
/// let mut page = [0; 4];
/// file.read_exact_at(&mut page, 4096 + 11)?;
/// assert_eq!(&page, b"page");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EncryptedFile {
    file: File,
    stream: Option<KeptOpen>,
}

impl EncryptedFile {
    /// Joins an open file and its stream. The stream's position doesn't matter.
    pub fn new(file: File, stream: impl Into<Option<CtrStream>>) -> Self {
        Self {
            file,
            stream: stream.into().map(KeptOpen::new),
        }
    }

    /// Reads and decrypts up to `buffer.len()` bytes from byte `offset` on; returns how many, 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the system's positional read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(stream) = &self.stream else {
            return self.file.read_at(buffer, offset);
        };
        let len = within(offset, buffer.len());
        #[expect(
            clippy::indexing_slicing,
            reason = "`len` is at most that of the buffer"
        )]
        let buffer = &mut buffer[..len];
        let read = self.file.read_at(buffer, offset)?;
        let data = buffer.get_mut(..read).ok_or_else(implausible)?;
        if data.is_empty() {
            return Ok(0);
        }
        parallel::apply(stream.at(offset), offset, data).map_err(invalid)?;
        Ok(read)
    }

    /// As [`EncryptedFile::read_at`], until `buffer` is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before that; `buffer` then holds nothing of use.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        match &self.stream {
            Some(stream) => parallel::apply(stream.at(offset), offset, buffer).map_err(invalid),
            None => Ok(()),
        }
    }

    /// Encrypts and writes up to `data.len()` bytes from byte `offset` on; returns how many were written: at most 64 KiB a call.
    ///
    /// # Errors
    /// Those of the system's positional write.
    pub fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.write_some(data, offset, &mut Vec::new())
    }

    /// As [`EncryptedFile::write_at`], until all of `data` is written.
    ///
    /// # Errors
    /// Those of the system's positional write; a part of `data` may have been written then.
    pub fn write_all_at(&self, mut data: &[u8], mut offset: u64) -> io::Result<()> {
        let mut scratch = Vec::new();
        while !data.is_empty() {
            match self.write_some(data, offset, &mut scratch) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    data = data.get(written..).ok_or_else(implausible)?;
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_some(&self, data: &[u8], offset: u64, scratch: &mut Vec<u8>) -> io::Result<usize> {
        match &self.stream {
            Some(stream) => fsops::write_at(
                &self.file,
                encrypt(stream.at(offset), offset, data, scratch)?,
                offset,
            ),
            None => fsops::write_at(&self.file, data, offset),
        }
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the system.
    pub fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Whether it holds no byte.
    ///
    /// # Errors
    /// Those of the system.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Cuts the file off, or extends it. What an extension adds are zeros on the disk, which don't decrypt to zeros: write there before reading.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        fsops::set_len(&self.file, len)
    }

    /// Waits until content and length are durable. The name is durable once the directory has been synced, too.
    ///
    /// # Errors
    /// Those of the system. What was written since the last sync may then be lost, even if a later sync succeeds.
    pub fn sync(&self) -> io::Result<()> {
        fsops::sync_file(&self.file)
    }

    /// The file underneath, with its ciphertext.
    pub fn as_file(&self) -> &File {
        &self.file
    }
}

impl fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedFile")
            .field("file", &self.file)
            .field("stream", &self.stream)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SCRATCH_LEN;
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;
    use stillkey_core::Cipher;

    fn file(cipher: Cipher) -> EncryptedFile {
        EncryptedFile::new(tempfile::tempfile().unwrap(), stream(cipher))
    }

    proptest! {
        #![proptest_config(crate::testing::cases(32))]
        #[test]
        fn positional_reads_see_what_was_written(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            len in 1_usize..2 * SCRATCH_LEN,
            at in 0_u64..100_000,
            skip in any::<prop::sample::Index>(),
        ) {
            let (file, data) = (file(cipher), plaintext(len));
            file.write_all_at(&data, at).unwrap();
            prop_assert_eq!(file.len().unwrap(), at + len as u64);
            let skip = skip.index(len);
            let mut read = vec![0; len - skip];
            file.read_exact_at(&mut read, at + skip as u64).unwrap();
            prop_assert_eq!(&read[..], &data[skip..]);
            let mut rest = vec![0; len + 10];
            let n = file.read_at(&mut rest, at + skip as u64).unwrap();
            prop_assert_eq!(&rest[..n], &data[skip..][..n]);
        }
    }

    #[test]
    fn the_bytes_on_disk_are_the_ciphertext() {
        let file = file(Cipher::Aes192);
        file.write_all_at(&plaintext(100), 0).unwrap();
        let mut raw = vec![0; 100];
        file.as_file().read_exact_at(&mut raw, 0).unwrap();
        assert_eq!(raw, ciphertext(Cipher::Aes192, 100));
        let mut beyond = [0; 8];
        let error = file.read_exact_at(&mut beyond, 96).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(&mut beyond, 100).unwrap(), 0);
    }

    #[test]
    fn threads_share_one_file() {
        let file = file(Cipher::Aes256);
        let data = plaintext(64 * 1000);
        std::thread::scope(|scope| {
            for (i, part) in data.chunks(1000).enumerate() {
                let file = &file;
                scope.spawn(move || file.write_all_at(part, i as u64 * 1000).unwrap());
            }
        });
        let mut read = vec![0; data.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, data);
    }
}
