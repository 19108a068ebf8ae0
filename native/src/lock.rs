//! The lock that keeps a second writer out: an advisory lock on `stillkey.lock`, whose content says who holds it.
//!
//! The system drops the lock when its holder ends, however that happens. The file itself stays: removing it would let two processes
//! hold locks on two files of the same name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::Error;
use crate::fsops;

/// Most bytes of a holder's line that are shown.
const HOLDER_LIMIT: u64 = 512;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    signed: bool,
}

impl Lock {
    /// Takes the lock if its file is there; `None` if it isn't, and nothing is written in either case.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>, Error> {
        match open(path, false) {
            Ok(file) => Self::take(file, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path, "open")(error)),
        }
    }

    /// Takes the lock and makes its file if need be.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = match open(path, true) {
            Ok(file) => {
                // Made by root in a service's directory, it must not keep the service itself out later.
                let adopted = fs::metadata(fsops::parent(path)).and_then(|directory| {
                    fchown(&file, Some(directory.uid()), Some(directory.gid()))
                });
                drop(adopted); // Only root may do that, and for anyone else the file is theirs already.
                Ok(file)
            }
            // Not a file to give away: who knows whose it is.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path, false),
            Err(error) => Err(error),
        };
        Self::take(file.map_err(Error::io(path, "create"))?, path)
    }

    fn take(file: File, path: &Path) -> Result<Self, Error> {
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file,
                signed: false,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                path: path.to_owned(),
                holder: holder(file),
            }),
            Err(TryLockError::Error(error)) => Err(Error::io(path, "lock")(error)),
        }
    }

    /// Writes down who holds the lock, for those who find it taken. That only informs: a full disk is no
    /// reason not to go on, and a file with a second name may be another program's.
    pub(crate) fn sign(&mut self) {
        self.signed = self.file.metadata().is_ok_and(|file| file.nlink() == 1);
        if self.signed {
            let line = format!("{}\n", signature());
            let _ = self
                .file
                .set_len(0)
                .and_then(|()| self.file.rewind())
                .and_then(|()| self.file.write_all(line.as_bytes()));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.signed {
            // If it can't be removed, the next holder overwrites it.
            let _ = self.file.set_len(0);
        }
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

/// Process, host and program; no arguments, which may hold secrets.
fn signature() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    format!(
        "process {} on {} ({})",
        std::process::id(),
        rustix::system::uname().nodename().to_string_lossy(),
        program.to_string_lossy()
    )
}

fn holder(file: File) -> String {
    let mut content = Vec::new();
    let read = file.take(HOLDER_LIMIT).read_to_end(&mut content);
    let line: String = String::from_utf8_lossy(&content)
        .chars()
        .take_while(|c| *c != '\n')
        .filter(|c| !c.is_control())
        .collect();
    match read {
        Ok(_) if !line.is_empty() => line,
        _ => "a process that has not given its name yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_belongs_to_the_owner_of_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let is_root = std::os::unix::fs::chown(directory.path(), Some(12345), Some(12345)).is_ok();
        let path = directory.path().join("stillkey.lock");
        drop(Lock::create(&path).unwrap());
        let (lock, owner) = (
            fs::metadata(&path).unwrap(),
            fs::metadata(directory.path()).unwrap(),
        );
        assert_eq!((lock.uid(), lock.gid()), (owner.uid(), owner.gid()));
        assert!(!is_root || lock.uid() == 12345);
    }

    #[test]
    fn a_file_with_another_name_is_locked_and_left_as_it_is() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _ = std::os::unix::fs::chown(directory.path(), Some(12345), Some(12345));
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, b"of another program").unwrap();
        let before = fs::metadata(&victim).unwrap();
        let path = directory.path().join("stillkey.lock");
        fs::hard_link(&victim, &path).unwrap();
        let mut lock = Lock::create(&path).unwrap();
        lock.sign();
        assert!(matches!(Lock::create(&path), Err(Error::Locked { .. })));
        drop(lock);
        let after = fs::metadata(&victim).unwrap();
        assert_eq!(after.uid(), before.uid());
        assert_eq!(fs::read(&victim).unwrap(), b"of another program");
    }
}
