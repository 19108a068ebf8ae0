//! `file.synced`: up to which length `file.dict` has been synced, so that nothing before it is ever taken for
//! a torn append and cut off.
//!
//! It is written after each sync and not synced itself, which would cost as much again. So it may say less
//! than is true, by what the system has not written yet; never more. Whose length it is tells the file's header.
//! Before a shorter file with the same one takes the place of `file.dict`, it is lowered, durably, to what is
//! true of both: until then, the old file needs it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use stillkey_core::SyncedLength;

use super::FILE_SYNCED;
use crate::error::Error;
use crate::fsops::{self, Access};
use crate::install;

/// What is known of the `file.dict` at this path; `None` when nothing is.
pub(super) fn read(file_dict: &Path) -> Option<SyncedLength> {
    let file = fsops::open(&beside(file_dict), Access::Read).ok()?;
    let mut bytes = [0; SyncedLength::ENCODED_LEN];
    file.read_exact_at(&mut bytes, 0).ok()?;
    SyncedLength::from_bytes(&bytes)
}

fn beside(file_dict: &Path) -> PathBuf {
    file_dict.with_file_name(FILE_SYNCED)
}

/// The side file under the writer of `file.dict`. That it can't be written is no reason to stop a writer: then
/// nothing is known.
#[derive(Debug)]
pub(super) struct SyncedMark {
    path: PathBuf,
    file: Option<File>,
    says: Says,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    /// Something of another file, for all we know.
    Anything,
    /// Durably nothing.
    Nothing,
    Length(SyncedLength),
}

impl SyncedMark {
    pub(super) fn beside(file_dict: &Path) -> Self {
        let path = beside(file_dict);
        Self {
            file: own(&path),
            path,
            says: Says::Anything,
        }
    }

    /// Says, durably, that a log which starts like this has been synced up to `len` bytes.
    pub(super) fn begin(&mut self, log: &File, start: [u8; SyncedLength::START], len: u64) {
        let Some(length) = SyncedLength::new(start, len) else {
            return;
        };
        let bytes = length.to_bytes();
        let written = match &self.file {
            Some(file) => write(file, &bytes).and_then(|()| fsops::sync_file(file)),
            None => self.create(&bytes, log),
        };
        self.says = match written {
            Ok(()) => Says::Length(length),
            Err(_) => Says::Anything,
        };
    }

    /// Says that the same file has now been synced up to `len` bytes.
    pub(super) fn advance(&mut self, len: u64) {
        if let (Says::Length(length), Some(file)) = (&mut self.says, &self.file) {
            *length = length.with_len(len);
            // If that fails, it says less than is true.
            let _ = write(file, &length.to_bytes());
        }
    }

    /// Sees to it, durably, that nothing is said that would be wrong of a file of these bytes, which is about to
    /// take the place of the other one.
    pub(super) fn allow_for(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = bytes.len() as u64;
        match self.says {
            Says::Nothing => Ok(()),
            Says::Length(length) if !length.reaches_past(len, bytes) => Ok(()),
            Says::Length(length) => {
                let lower = length.with_len(len);
                self.overwrite(&lower.to_bytes(), Says::Length(lower))
            }
            // All of it, so that the next one can't be made up of both.
            Says::Anything => self.overwrite(&[0; SyncedLength::ENCODED_LEN], Says::Nothing),
        }
    }

    fn overwrite(&mut self, bytes: &[u8], then: Says) -> Result<(), Error> {
        self.says = Says::Anything;
        match &self.file {
            Some(file) => write(file, bytes)
                .and_then(|()| fsops::sync_file(file))
                .map_err(Error::io(&self.path, "write"))?,
            None => {
                fsops::unlink(&self.path)?;
                fsops::sync_parent(&self.path)?;
            }
        }
        self.says = then;
        Ok(())
    }

    fn create(&mut self, bytes: &[u8], log: &File) -> io::Result<()> {
        let created = fsops::unlink(&self.path)
            .and_then(|_| install::write_file_like(&self.path, bytes, log));
        self.file = Some(created.map_err(io::Error::other)?);
        Ok(())
    }
}

/// The file that is there, unless it has a second name: then it may be another program's.
fn own(path: &Path) -> Option<File> {
    let file = fsops::open(path, Access::Write).ok()?;
    let metadata = file.metadata().ok()?;
    let is_ours = metadata.nlink() == 1 && metadata.len() == SyncedLength::ENCODED_LEN as u64;
    is_ours.then_some(file)
}

fn write(file: &File, bytes: &[u8]) -> io::Result<()> {
    match fsops::write_at(file, bytes, 0)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
