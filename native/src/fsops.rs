//! The few file operations that durability rests on, in one place: their errors name the file and the action, and tests make the
//! n-th of them fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::Error;

/// Which file a path or descriptor stands for, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    pub(crate) inode: u64,
    pub(crate) len: u64,
}

impl From<fs::Metadata> for Identity {
    fn from(metadata: fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
        }
    }
}

/// How to open an existing regular file.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    Read,
    Append,
}

/// Opens an existing regular file; a link, directory, pipe or device in its place is refused.
pub(crate) fn open(path: &Path, access: Access) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true);
    if matches!(access, Access::Append) {
        options.append(true);
    }
    // Without NONBLOCK, opening a pipe would wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| refusal(path, error))?;
    let metadata = file.metadata().map_err(Error::io(path, "inspect"))?;
    match other_than_file(metadata.file_type()) {
        None => Ok(file),
        Some(found) => Err(Error::NotAFile {
            path: path.to_owned(),
            found,
        }),
    }
}

fn refusal(path: &Path, error: io::Error) -> Error {
    let found = fs::symlink_metadata(path)
        .ok()
        .and_then(|metadata| other_than_file(metadata.file_type()));
    match found {
        Some(found) => Error::NotAFile {
            path: path.to_owned(),
            found,
        },
        None => Error::io(path, "open")(error),
    }
}

/// What a path is, unless it is a regular file.
pub(crate) fn other_than_file(kind: fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_dir() {
        Some("a directory")
    } else {
        Some("a pipe, socket or device")
    }
}

/// An open file that a path should keep standing for. TiKV and its tools know nothing of our lock; what they replace or change must not
/// be overwritten from what was read before. While it is open, its inode can't become another file's.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) file: File,
    /// As it should be found.
    pub(crate) good: Identity,
    path: PathBuf,
}

impl Pinned {
    /// Opens what stands at `path`. To be called before the file is read, so that a later change can't pass for what was read.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let file = open(path, access)?;
        let good = identity(&file, path)?;
        Ok(Self {
            file,
            good,
            path: path.to_owned(),
        })
    }

    /// That the path still stands for this file, and that its length is as it should be.
    pub(crate) fn expect_undisturbed(&self) -> Result<(), Error> {
        if identity_at(&self.path)? == Some(self.good) {
            return Ok(());
        }
        Err(Error::Suspended {
            path: self.path.clone(),
            why: "another program has replaced or changed the file".into(),
        })
    }
}

/// Reads a regular file whole. It may hold keys in the clear, so the bytes are zeroized when dropped.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut file = open(path, Access::Read)?;
    let len = identity(&file, path)?.len;
    // One byte more than expected, so that a file that doesn't grow is read without moving the buffer.
    let capacity = usize::try_from(len).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::new());
    bytes
        .try_reserve_exact(capacity)
        .map_err(|_| Error::io(path, "read")(io::ErrorKind::OutOfMemory.into()))?;
    file.read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

/// Which file an open descriptor stands for.
pub(crate) fn identity(file: &File, path: &Path) -> Result<Identity, Error> {
    let metadata = file.metadata().map_err(Error::io(path, "inspect"))?;
    Ok(metadata.into())
}

/// Which file a path stands for; links are not followed. `None` when nothing is there.
pub(crate) fn identity_at(path: &Path) -> Result<Option<Identity>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "inspect")(error)),
    }
}

/// Writes `bytes` to the end of a file with a single call, which may turn out short.
pub(crate) fn append(mut file: &File, bytes: &[u8], path: &Path) -> Result<(), Error> {
    let written = step(Op::Append, || {
        loop {
            match file.write(limit(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        }
    });
    match written.map_err(Error::io(path, "append"))? {
        written if written == bytes.len() => Ok(()),
        written => {
            let only = format!("only {written} of {} bytes were written", bytes.len());
            Err(Error::io(path, "append")(io::Error::new(
                io::ErrorKind::WriteZero,
                only,
            )))
        }
    }
}

/// Writes the next bytes of a new file.
pub(crate) fn write(file: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    step(Op::Write, || file.write(bytes))
}

/// Cuts a file off at `len`.
pub(crate) fn truncate(file: &File, len: u64, path: &Path) -> Result<(), Error> {
    step(Op::Truncate, || file.set_len(len)).map_err(Error::io(path, "truncate"))
}

/// Waits until a file's content and length are durable.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), Error> {
    step(Op::Sync, || file.sync_all()).map_err(Error::io(path, "sync"))
}

/// Waits until the names in the directory of `path` are durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let directory = parent(path);
    step(Op::SyncDirectory, || File::open(directory)?.sync_all())
        .map_err(Error::io(directory, "sync"))
}

/// Removes a file and makes that durable. One that isn't there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match step(Op::Remove, || fs::remove_file(path)) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(path, "remove")(error)),
    }
}

/// Renames by `rename`, which says how.
pub(crate) fn renamed<T>(rename: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    step(Op::Rename, rename)
}

/// Makes a directory and what is missing above it, for its owner only, durably.
pub(crate) fn create_directories(path: &Path) -> Result<(), Error> {
    let missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    for directory in missing.iter().rev() {
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(directory)
            .map_err(Error::io(directory, "create"))?;
        sync_parent(directory)?;
    }
    Ok(())
}

/// The directory of a path: `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// The operations that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Append,
    Write,
    Truncate,
    Sync,
    SyncDirectory,
    Rename,
    Remove,
}

#[cfg(not(test))]
fn step<T>(_: Op, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    operation()
}

#[cfg(not(test))]
fn limit(bytes: &[u8]) -> &[u8] {
    bytes
}

#[cfg(test)]
use fault::{limit, step};

/// Failures on demand, per thread, so that tests don't disturb each other.
#[cfg(test)]
pub(crate) mod fault {
    use super::*;
    use std::cell::{Cell, RefCell};

    thread_local! {
        static PLAN: RefCell<Vec<(Op, usize)>> = const { RefCell::new(Vec::new()) };
        static SHORT: Cell<Option<usize>> = const { Cell::new(None) };
        static COUNT: Cell<usize> = const { Cell::new(0) };
        static FAIL_AT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// The next `op` fails, without having done anything.
    pub(crate) fn fail_next(op: Op) {
        fail_nth(op, 0);
    }

    /// The `n`-th next `op`, counted from 0, fails.
    pub(crate) fn fail_nth(op: Op, n: usize) {
        PLAN.with_borrow_mut(|plan| plan.push((op, n)));
    }

    /// The next append writes only `len` bytes.
    pub(crate) fn shorten_next_append(len: usize) {
        SHORT.set(Some(len));
    }

    /// From the `n`-th operation on, counted from 0, every operation fails, until [`heal`].
    pub(crate) fn fail_from(n: usize) {
        COUNT.set(0);
        FAIL_AT.set(Some(n));
    }

    /// Nothing fails any more. Returns whether [`fail_from`] was reached.
    pub(crate) fn heal() -> bool {
        PLAN.with_borrow_mut(Vec::clear);
        SHORT.set(None);
        FAIL_AT.take().is_some_and(|n| COUNT.get() > n)
    }

    pub(super) fn limit(bytes: &[u8]) -> &[u8] {
        let len = SHORT.take().unwrap_or(bytes.len());
        &bytes[..len]
    }

    pub(super) fn step<T>(op: Op, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let count = COUNT.replace(COUNT.get() + 1);
        let planned = PLAN.with_borrow_mut(|plan| {
            let hit = plan
                .iter()
                .position(|(planned, left)| *planned == op && *left == 0);
            for (planned, left) in plan.iter_mut() {
                if *planned == op {
                    *left = left.saturating_sub(1);
                }
            }
            hit.map(|at| plan.remove(at)).is_some()
        });
        if planned || FAIL_AT.get().is_some_and(|n| count >= n) {
            return Err(io::Error::other(format!("injected failure of {op:?}")));
        }
        operation()
    }
}
