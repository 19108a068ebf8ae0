//! The file behind an [`AtomicFile`](super::AtomicFile) before it has its name.
//!
//! Where the system can, it has no name at all: then even a process that is killed leaves nothing behind, which matters when the content is
//! plaintext. Elsewhere (network file systems, other systems than Linux) it has a temporary name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::RANDOM_LEN;
use crate::fsops::{self, Act, step};

/// Target names longer than this, in bytes, don't show in the temporary name, which has to fit into 255.
const LONGEST_SHOWN_NAME: usize = 200;

#[derive(Debug)]
pub(super) enum Temporary {
    Unnamed(File),
    Named(Named),
}

impl Temporary {
    /// Makes it in the directory of `target`, for its owner only.
    pub(super) fn create_for(target: &Path) -> io::Result<Self> {
        let directory = fsops::parent(target);
        let unnamed = || unnamed::create_in(directory);
        if let Ok(file) = step(&Act::CreateUnnamed(directory), unnamed) {
            return Ok(Self::Unnamed(file));
        }
        let named = with_temporary_name(target, |path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            step(&Act::Create(path), || options.open(path))
        });
        named.map(Self::Named)
    }

    pub(super) fn as_file(&self) -> &File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(named) => &named.file,
        }
    }

    pub(super) fn as_file_mut(&mut self) -> &mut File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(named) => &mut named.file,
        }
    }

    /// Gives it the name `target`, in one step.
    pub(super) fn persist(self, target: &Path, overwrite: bool) -> io::Result<()> {
        let name =
            |file: &File, path: &Path| step(&Act::Name(file, path), || unnamed::link(file, path));
        match self {
            Self::Named(named) => named.persist(target, overwrite),
            Self::Unnamed(file) if !overwrite => name(&file, target),
            // A link can't replace a file, but a name can: so it gets a temporary one, now that it is whole.
            Self::Unnamed(file) => {
                let named = with_temporary_name(target, |path| {
                    name(&file, path)?;
                    file.try_clone()
                });
                named?.persist(target, overwrite)
            }
        }
    }
}

/// A file under a temporary name, which is removed with this unless it got another.
#[derive(Debug)]
pub(super) struct Named {
    file: File,
    path: Option<PathBuf>,
}

impl Named {
    fn persist(mut self, target: &Path, overwrite: bool) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        step(&Act::Rename(path, target), || {
            if overwrite {
                return fs::rename(path, target);
            }
            let persisted = TempPath::try_from_path(path)?.persist_noclobber(target);
            persisted.map_err(|refused| {
                // It is this type's to remove.
                drop(refused.path.keep());
                refused.error
            })
        })?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What this can't remove is known for a leftover by its name.
            let _ = fsops::unlink(&path);
        }
    }
}

/// Calls `make` with unused temporary names beside `target`, until one stays unused.
fn with_temporary_name(
    target: &Path,
    mut make: impl FnMut(&Path) -> io::Result<File>,
) -> io::Result<Named> {
    // The crate's own error would show the temporary name, and not only what the system said.
    let mut refused = None;
    let made = tempfile::Builder::new()
        .prefix(&prefix(target.file_name().unwrap_or_default()))
        .rand_bytes(RANDOM_LEN)
        .suffix(".tmp")
        .make_in(fsops::parent(target), |path| {
            let made = make(path);
            refused = made.as_ref().err().and_then(io::Error::raw_os_error);
            made
        })
        .map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))?;
    let (file, path) = made.keep().map_err(|failed| failed.error)?;
    Ok(Named {
        file,
        path: Some(path),
    })
}

fn prefix(name: &OsStr) -> OsString {
    let shown = if name.len() > LONGEST_SHOWN_NAME {
        OsStr::new("stillkey")
    } else {
        name
    };
    let mut prefix = OsString::from(".");
    prefix.push(shown);
    prefix.push(".");
    prefix
}

#[cfg(target_os = "linux")]
mod unnamed {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};

    /// An unnamed file that can be given a name later; an error where there is no such thing, or where naming it would fail.
    pub(super) fn create_in(directory: &Path) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR)?.into();
        path(&file).symlink_metadata().map(|_| file)
    }

    pub(super) fn link(file: &File, target: &Path) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            CWD,
            path(file),
            CWD,
            target,
            AtFlags::SYMLINK_FOLLOW,
        )?)
    }

    /// Naming the descriptor itself takes a privilege; naming its entry in /proc doesn't. See open(2), O_TMPFILE.
    fn path(file: &File) -> PathBuf {
        format!("/proc/self/fd/{}", file.as_raw_fd()).into()
    }
}

#[cfg(not(target_os = "linux"))]
mod unnamed {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn create_in(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn link(_: &File, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::install::is_leftover;
    use crate::testing::snapshot;

    #[test]
    fn both_kinds_appear_whole_under_their_name_alone() {
        for overwrite in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let target = directory.path().join("file");
            let named = with_temporary_name(&target, |path| {
                File::options().write(true).create_new(true).open(path)
            });
            let unnamed = unnamed::create_in(directory.path())
                .ok()
                .map(Temporary::Unnamed);
            for mut temporary in [Some(Temporary::Named(named.unwrap())), unnamed]
                .into_iter()
                .flatten()
            {
                if overwrite {
                    std::fs::write(&target, b"old").unwrap();
                }
                temporary.as_file_mut().write_all(b"new").unwrap();
                temporary.persist(&target, overwrite).unwrap();
                let found = snapshot(directory.path());
                assert_eq!(
                    found.into_iter().collect::<Vec<_>>(),
                    [("file".into(), b"new".to_vec())]
                );
                std::fs::remove_file(&target).unwrap();
            }
        }
    }

    #[test]
    fn neither_kind_replaces_a_file_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        std::fs::write(&target, b"old").unwrap();
        let named = with_temporary_name(&target, |path| {
            File::options().write(true).create_new(true).open(path)
        });
        let unnamed = unnamed::create_in(directory.path())
            .ok()
            .map(Temporary::Unnamed);
        for temporary in [Some(Temporary::Named(named.unwrap())), unnamed]
            .into_iter()
            .flatten()
        {
            let error = temporary.persist(&target, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(snapshot(directory.path())["file"], b"old");
    }

    #[test]
    fn temporary_names_are_known_as_leftovers() {
        for name in ["key.dict".to_owned(), "n".repeat(255)] {
            let directory = tempfile::tempdir().unwrap();
            let target = directory.path().join(name);
            let named = with_temporary_name(&target, |path| {
                File::options().write(true).create_new(true).open(path)
            })
            .unwrap();
            assert!(is_leftover(
                named
                    .path
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
            ));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_unnamed_file_shows_nowhere_before_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        if let Ok(mut file) = unnamed::create_in(directory.path()) {
            file.write_all(b"plaintext").unwrap();
            assert!(snapshot(directory.path()).is_empty());
        }
    }
}
