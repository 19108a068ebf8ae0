//! Open log files: shared by the threads of the engine, each of which reads or writes from a place of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use raft_engine::env::{Handle, WriteExt};
use stillkey::{EncryptedFile, FileKey, Native};

/// An open log file.
#[derive(Debug)]
pub struct LogFile(EncryptedFile);

impl LogFile {
    pub(crate) fn new(file: File, key: &FileKey) -> Self {
        Self(EncryptedFile::new(file, key.stream(&Native::detect())))
    }
}

impl Handle for LogFile {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.0.set_len(offset as u64)
    }

    fn file_size(&self) -> io::Result<usize> {
        usize::try_from(self.0.len()?).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        // As the engine does it for itself: the length counts as data, times don't.
        self.0.as_file().sync_data()
    }
}

/// A place in a [`LogFile`], to read or write from.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<LogFile>,
    offset: u64,
}

impl Cursor {
    pub(crate) fn new(file: Arc<LogFile>) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.0.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Write for Cursor {
    /// Writes all, since the engine hands over whole batches. After an error it doesn't go on from here, but seeks.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.0.write_all_at(data, self.offset)?;
        self.offset += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            SeekFrom::End(by) => self.file.0.len()?.checked_add_signed(by),
        };
        self.offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.offset)
    }
}

impl WriteExt for Cursor {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        Handle::truncate(&*self.file, offset)?;
        self.offset = offset as u64;
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;

        let (offset, size) = (offset as u64, size as u64);
        match fallocate(self.file.0.as_file(), FallocateFlags::empty(), offset, size) {
            // Only a head start: a file system that can't do it grows the file when it is written.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&mut self, _offset: usize, _size: usize) -> io::Result<()> {
        Ok(())
    }
}
