//! Whole files, written so that an interruption leaves the old one or the new one, never a part of either.
//!
//! The bytes go to a temporary file in the same directory; it is synced, gets its name in one step, and then the directory is synced.

mod temporary;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use temporary::Temporary;

use crate::error::Error;
use crate::fsops::{self, Act};

/// Random characters in the name of a temporary file.
const RANDOM_LEN: usize = 12;

/// A file that appears under its name, whole and durable, when it is committed. Dropped before that, it leaves nothing behind.
///
/// It is readable to its owner only; one that replaces another file takes over that file's owner and permissions.
///
/// ```
/// use std::io::Write;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("report");
/// let mut file = stillkey::AtomicFile::create(&path)?;
/// file.write_all(b"complete or absent")?;
/// assert!(!path.exists());
/// file.commit(false)?;
/// assert_eq!(std::fs::read(&path)?, b"complete or absent");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    temporary: Temporary,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts a file that will stand at `target`. Its directory must exist.
    ///
    /// # Errors
    /// [`Error::NotAFile`] when a link, directory or device stands at `target`; [`Error::Io`]; [`Error::Usage`] for a path without a file name.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, Error> {
        let target = target.into();
        if target.file_name().is_none() {
            return Err(Error::Usage(format!(
                "{}: a path without a file name; give the file's path",
                target.display()
            )));
        }
        replaced(&target)?;
        let temporary = Temporary::create_for(&target).map_err(Error::io(
            fsops::parent(&target),
            "create a file in this directory",
        ))?;
        Ok(Self { temporary, target })
    }

    /// The path that it will stand at.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The open file.
    pub fn as_file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Puts the file in its place, durably. With `overwrite`, it replaces what is there.
    ///
    /// # Errors
    /// [`Error::InDoubt`] when the file is in its place but its directory could not be synced: a power failure
    /// may bring back what was there before. After any other error, the target is as it was:
    /// [`Error::AlreadyExists`] without `overwrite`; [`Error::NotAFile`] as in [`AtomicFile::create`];
    /// [`Error::Io`].
    pub fn commit(self, overwrite: bool) -> Result<(), Error> {
        let Self { temporary, target } = self;
        if let Some(old) = replaced(&target)?
            && overwrite
        {
            adopt(temporary.as_file(), &old)
                .map_err(Error::io(&target, "keep its owner and permissions"))?;
        }
        fsops::sync(temporary.as_file(), &target)?;
        let persisted = temporary.persist(&target, overwrite);
        match persisted {
            Ok(()) => fsops::sync_parent(&target).map_err(Error::in_doubt(&target)),
            Err(error) if !overwrite && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: target })
            }
            Err(error) => Err(Error::io(&target, "rename a temporary file to it")(error)),
        }
    }
}

/// Writes a whole file atomically and durably.
///
/// # Errors
/// Those of [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_file(path: impl Into<PathBuf>, bytes: &[u8], overwrite: bool) -> Result<(), Error> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)
        .map_err(Error::io(&file.target, "write"))?;
    file.commit(overwrite)
}

/// Writes a new file with the owner and permissions of another one, and returns it.
pub(crate) fn write_file_like(path: &Path, bytes: &[u8], model: &File) -> Result<File, Error> {
    let mut new = AtomicFile::create(path)?;
    let failed = Error::io(path, "write");
    let model = model.metadata().map_err(&failed)?;
    new.write_all(bytes).map_err(&failed)?;
    adopt(new.as_file(), &model).map_err(&failed)?;
    let file = new.as_file().try_clone().map_err(&failed)?;
    new.commit(false)?;
    Ok(file)
}

/// Whether a file name is that of a temporary file which an interrupted [`AtomicFile`] or TiKV may have left:
/// `.NAME.RANDOM.tmp`, `key.NUMBER.tmp` or `file.NUMBER.tmp`.
///
/// ```
/// assert!(stillkey::is_leftover(".key.dict.a8Kd02mNq1Zx.tmp"));
/// assert!(stillkey::is_leftover("key.9876543210.tmp"));
/// assert!(!stillkey::is_leftover("key.dict"));
/// ```
pub fn is_leftover(name: &str) -> bool {
    is_tikv_leftover(name) || target_of_leftover(name).is_some()
}

/// As [`is_leftover`], for the two dictionaries only.
pub(crate) fn is_dictionary_leftover(name: &str) -> bool {
    is_tikv_leftover(name) || matches!(target_of_leftover(name), Some("key.dict" | "file.dict"))
}

fn is_tikv_leftover(name: &str) -> bool {
    let number = name
        .strip_prefix("key.")
        .or_else(|| name.strip_prefix("file."))
        .and_then(|rest| rest.strip_suffix(".tmp"));
    number.is_some_and(|number| {
        number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u64>().is_ok()
    })
}

/// The name that a temporary file of ours was for.
fn target_of_leftover(name: &str) -> Option<&str> {
    let (target, random) = name
        .strip_prefix('.')?
        .strip_suffix(".tmp")?
        .rsplit_once('.')?;
    let is_random =
        random.len() == RANDOM_LEN && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_random && !target.is_empty()).then_some(target)
}

/// The regular file that stands at `target`, if any. Renaming over anything else (`/dev/null`!) is never meant.
fn replaced(target: &Path) -> Result<Option<fs::Metadata>, Error> {
    match fs::symlink_metadata(target) {
        Ok(metadata) => match fsops::other_than_file(metadata.file_type()) {
            None => Ok(Some(metadata)),
            Some(found) => Err(Error::NotAFile {
                path: target.to_owned(),
                found,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(target, "inspect")(error)),
    }
}

/// Otherwise a dictionary rewritten by root could no longer be read by the service that it belongs to.
pub(crate) fn adopt(file: &File, old: &fs::Metadata) -> io::Result<()> {
    fsops::step(&Act::Own(file), || {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o777))
    })
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fsops::write(self.temporary.as_file(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.as_file_mut().flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.temporary.as_file_mut().read(bytes)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.temporary.as_file_mut().seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::fsops::{Op, fault};
    use crate::testing::snapshot;

    #[test]
    fn a_file_appears_whole_and_only_when_committed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert!(!path.exists());
        file.commit(false).unwrap();
        assert_eq!(snapshot(directory.path())["file"], b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_dropped_before_its_commit_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(directory.path().join("file")).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert!(snapshot(directory.path()).is_empty());
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked_and_keeps_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = write_file(&path, b"new", false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(snapshot(directory.path())["file"], b"old");
        write_file(&path, b"new", true).unwrap();
        assert_eq!(snapshot(directory.path())["file"], b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn every_failure_leaves_the_old_file_or_the_new_one_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for step in 0.. {
            fs::write(&path, b"old").unwrap();
            fault::fail_from(step);
            let result = write_file(&path, b"new", true);
            let failed = fault::heal();
            let mut after = snapshot(directory.path());
            // It stays behind when nothing can be removed any more, known by its name.
            after.retain(|name, _| !is_leftover(name));
            assert_eq!(after.len(), 1);
            assert!(after["file"] == b"old" || after["file"] == b"new");
            assert_eq!(result.is_err(), failed);
            if !failed {
                assert!(step >= 4, "write, sync, rename, sync of the directory");
                break;
            }
        }
    }

    #[test]
    fn an_error_tells_whether_the_target_is_as_it_was_or_in_doubt() {
        for (op, expected) in [
            (Op::Write, &b"old"[..]),
            (Op::Sync, b"old"),
            (Op::Rename, b"old"),
            (Op::SyncDirectory, b"new"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            fs::write(&path, b"old").unwrap();
            fault::fail_next(op);
            let error = write_file(&path, b"new", true).unwrap_err();
            let is_in_doubt = matches!(error, Error::InDoubt { .. });
            assert_eq!(is_in_doubt, op == Op::SyncDirectory, "{error}");
            assert_eq!(error.kind(), ErrorKind::Io);
            assert_eq!(snapshot(directory.path())["file"], expected);
        }
    }

    #[test]
    fn links_and_directories_are_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        for path in [link.as_path(), directory.path()] {
            assert!(matches!(
                write_file(path, b"", true),
                Err(Error::NotAFile { .. })
            ));
        }
    }

    #[test]
    fn long_names_have_temporary_names_that_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n".repeat(255));
        write_file(&path, b"new", false).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"new");
    }

    #[test]
    fn only_temporary_names_are_leftovers() {
        for name in [
            "key.18446744073709551615.tmp",
            "file.0.tmp",
            ".file.dict.abcdefghijkl.tmp",
        ] {
            assert!(is_leftover(name) && is_dictionary_leftover(name), "{name}");
        }
        for name in [
            "key.18446744073709551616.tmp",
            "key.+1.tmp",
            "key..tmp",
            "key.dict",
            "file.dict.tmp",
            ".key.dict.short.tmp",
            "..abcdefghijkl.tmp",
            "stillkey.lock",
            "other.1.tmp",
        ] {
            assert!(!is_leftover(name), "{name}");
        }
    }
}
