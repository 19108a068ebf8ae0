//! The few file operations that durability rests on, in one place: their errors name the file and the action, and tests make the
//! n-th of them fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::Error;
#[cfg(test)]
use crate::testing::disk;

/// Which file a path or descriptor stands for, while anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// Which file a path or descriptor stands for, how long it is, and when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: FileId,
    pub(crate) len: u64,
    /// When its content was changed, and when anything about it was: seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<fs::Metadata> for Identity {
    fn from(metadata: fs::Metadata) -> Self {
        Self {
            id: FileId {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// How to open an existing regular file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Read,
    Write,
    Append,
}

/// Opens an existing regular file; a link, directory, pipe or device in its place is refused.
pub(crate) fn open(path: &Path, access: Access) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true);
    match access {
        Access::Read => {}
        Access::Write => drop(options.write(true)),
        Access::Append => drop(options.append(true)),
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

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// That the path still stands for this file, and that its length is as it should be. Its times change
    /// with our own writes.
    pub(crate) fn expect_undisturbed(&self) -> Result<(), Error> {
        let found = identity_at(&self.path)?;
        if found.is_some_and(|found| (found.id, found.len) == (self.good.id, self.good.len)) {
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

/// Makes a new file, for its owner only; anything in its place is an error.
pub(crate) fn create_new(path: &Path) -> Result<File, Error> {
    let created = step(Op::Create, || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(path)
    });
    let file = created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path: path.to_owned(),
        },
        _ => Error::io(path, "create")(error),
    })?;
    #[cfg(test)]
    disk::created(&file, Some(path));
    Ok(file)
}

/// Writes `bytes` to the end of a file with a single call, which may turn out short.
pub(crate) fn append(mut file: &File, bytes: &[u8], path: &Path) -> Result<(), Error> {
    #[cfg(test)]
    disk::appended(file, bytes);
    let written = loop {
        match step(Op::Append, || file.write(limit(bytes))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
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
pub(crate) fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(test)]
    let at = io::Seek::stream_position(&mut file)?;
    let written = step(Op::Write, || file.write(bytes))?;
    #[cfg(test)]
    disk::wrote(file, at, &bytes[..written]);
    Ok(written)
}

/// A new file that is written from its beginning on.
#[derive(Debug)]
pub(crate) struct Output<'f>(pub(crate) &'f File);

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes somewhere in a file.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let written = step(Op::Write, || file.write_at(bytes, offset))?;
    #[cfg(test)]
    disk::wrote(file, offset, &bytes[..written]);
    Ok(written)
}

/// Cuts a file off at `len`.
pub(crate) fn truncate(file: &File, len: u64, path: &Path) -> Result<(), Error> {
    set_len(file, len).map_err(Error::io(path, "truncate"))
}

/// Cuts a file off at `len`, or fills it up with zeros.
pub(crate) fn set_len(file: &File, len: u64) -> io::Result<()> {
    step(Op::Truncate, || file.set_len(len))?;
    #[cfg(test)]
    disk::truncated(file, len);
    Ok(())
}

/// Waits until a file's content and length are durable.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), Error> {
    sync_file(file).map_err(Error::io(path, "sync"))
}

/// As [`sync`], for callers that know no path.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    step(Op::Sync, || fault::unless_pretended(|| file.sync_all()))?;
    #[cfg(test)]
    disk::synced(file);
    Ok(())
}

/// Waits until the names in the directory of `path` are durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_directory(parent(path))
}

/// Waits until the names in a directory are durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    let sync = || fault::unless_pretended(|| File::open(directory)?.sync_all());
    step(Op::SyncDirectory, sync).map_err(Error::io(directory, "sync"))?;
    #[cfg(test)]
    disk::synced_directory(directory);
    Ok(())
}

/// Removes a file and makes that durable. One that isn't there is no error; that it is gone may still have
/// to be made durable.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    unlink(path)?;
    sync_nearest(parent(path))
}

/// Waits until the names in a directory are durable, or that there is no such directory.
pub(crate) fn sync_nearest(directory: &Path) -> Result<(), Error> {
    let mut nearest = directory;
    while !exists(nearest)? && parent(nearest) != nearest {
        nearest = parent(nearest);
    }
    sync_directory(nearest)
}

/// Removes a file, and says whether there was one.
pub(crate) fn unlink(path: &Path) -> Result<bool, Error> {
    match step(Op::Remove, || fs::remove_file(path)) {
        Ok(()) => {
            #[cfg(test)]
            disk::removed(path);
            Ok(true)
        }
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io(path, "remove")(error)),
    }
}

/// Removes a directory, which must be empty.
pub(crate) fn remove_directory(path: &Path) -> Result<(), Error> {
    step(Op::Remove, || fs::remove_dir(path)).map_err(Error::io(path, "remove"))?;
    #[cfg(test)]
    disk::removed(path);
    Ok(())
}

/// Renames a file or directory, over what stands at `to`, and makes that durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    renamed(from, to, || fs::rename(from, to)).map_err(Error::io(from, "rename"))?;
    sync_parent(to)?;
    if parent(from) != parent(to) {
        sync_parent(from)?;
    }
    Ok(())
}

/// Renames by `rename`, which says how.
pub(crate) fn renamed<T>(
    from: &Path,
    to: &Path,
    rename: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let renamed = step(Op::Rename, rename)?;
    #[cfg(test)]
    disk::renamed(from, to);
    #[cfg(not(test))]
    let _ = (from, to);
    Ok(renamed)
}

/// Gives a file without a name its name by `name`, which says how.
pub(crate) fn named(
    name: impl FnOnce() -> io::Result<()>,
    file: &File,
    path: &Path,
) -> io::Result<()> {
    step(Op::Rename, name)?;
    #[cfg(test)]
    disk::named(file, path);
    #[cfg(not(test))]
    let _ = (file, path);
    Ok(())
}

/// Gives a file a second name, and makes that durable.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    step(Op::Link, || fs::hard_link(from, to)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path: to.to_owned(),
        },
        _ => Error::io(from, "link")(error),
    })?;
    #[cfg(test)]
    disk::linked(from, to);
    sync_parent(to)
}

/// That a regular file stands there.
pub(crate) fn expect_file(path: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io(path, "inspect"))?;
    match other_than_file(metadata.file_type()) {
        None => Ok(()),
        Some(found) => Err(Error::NotAFile {
            path: path.to_owned(),
            found,
        }),
    }
}

/// That a directory stands there, and no link to one.
fn expect_directory(path: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io(path, "inspect"))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(Error::NotAFile {
        path: path.to_owned(),
        found: other_than_file(metadata.file_type()).unwrap_or("a file"),
    })
}

/// Whether a symbolic link is there.
pub(crate) fn is_link(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_symlink()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io(path, "inspect")(error)),
    }
}

/// All that is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The directory itself and those below it, each before what is in it.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

/// Lists what is below a directory. Anything but files and directories is refused, links among them.
pub(crate) fn tree(directory: &Path) -> Result<Tree, Error> {
    expect_directory(directory)?;
    let mut tree = Tree {
        directories: vec![directory.to_owned()],
        files: Vec::new(),
    };
    let mut next = 0;
    while let Some(directory) = tree.directories.get(next).cloned() {
        let listed = Error::io(&directory, "list");
        for entry in fs::read_dir(&directory).map_err(&listed)? {
            let entry = entry.map_err(&listed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(&listed)?);
            match other_than_file(kind) {
                None => tree.files.push(path),
                Some(_) if kind.is_dir() => tree.directories.push(path),
                Some(found) => return Err(Error::NotAFile { path, found }),
            }
        }
        next += 1;
    }
    Ok(tree)
}

/// Whether anything is there. That it can't be told is not an answer: an entry must not be removed because a disk is failing.
pub(crate) fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io(path, "inspect")(error)),
    }
}

/// Whether an error means that nothing is at a path, and nothing can be.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
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
        #[cfg(test)]
        disk::made_directory(directory);
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
    Create,
    Append,
    Write,
    Truncate,
    Sync,
    SyncDirectory,
    Rename,
    Link,
    Remove,
}

#[cfg(not(test))]
mod fault {
    pub(super) fn unless_pretended<T>(sync: impl FnOnce() -> T) -> T {
        sync()
    }
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
        static SHORT: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
        static REFUSED: Cell<Option<(usize, i32)>> = const { Cell::new(None) };
        static REACHED: Cell<bool> = const { Cell::new(false) };
        static COUNT: Cell<usize> = const { Cell::new(0) };
        static FAIL_AT: Cell<Option<usize>> = const { Cell::new(None) };
        static PRETENDED: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on, nothing waits for a disk on this thread: for tests that have a disk of their own in mind.
    pub(crate) fn pretend_syncs() {
        PRETENDED.set(true);
    }

    pub(super) fn unless_pretended(sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if PRETENDED.get() { Ok(()) } else { sync() }
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
        shorten_nth_append(0, len);
    }

    /// The `n`-th next append, counted from 0, writes at most `len` bytes.
    pub(crate) fn shorten_nth_append(n: usize, len: usize) {
        SHORT.set(Some((n, len)));
    }

    /// The `n`-th next operation, counted from 0, and only that, fails with this error of the system.
    pub(crate) fn refuse_nth(n: usize, errno: i32) {
        REFUSED.set(Some((n, errno)));
    }

    /// From the `n`-th operation on, counted from 0, every operation fails, until [`heal`].
    pub(crate) fn fail_from(n: usize) {
        COUNT.set(0);
        FAIL_AT.set(Some(n));
    }

    /// Nothing fails any more. Returns whether anything that was planned for the `n`-th operation came to be.
    pub(crate) fn heal() -> bool {
        PLAN.with_borrow_mut(Vec::clear);
        SHORT.set(None);
        REFUSED.set(None);
        let reached = REACHED.replace(false);
        FAIL_AT.take().is_some_and(|n| COUNT.get() > n) || reached
    }

    pub(super) fn limit(bytes: &[u8]) -> &[u8] {
        match SHORT.take() {
            Some((0, len)) => {
                REACHED.set(true);
                &bytes[..len.min(bytes.len())]
            }
            later => {
                SHORT.set(later.map(|(n, len)| (n - 1, len)));
                bytes
            }
        }
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
        match REFUSED.take() {
            Some((0, errno)) => {
                REACHED.set(true);
                return Err(io::Error::from_raw_os_error(errno));
            }
            later => REFUSED.set(later.map(|(n, errno)| (n - 1, errno))),
        }
        if planned || FAIL_AT.get().is_some_and(|n| count >= n) {
            return Err(io::Error::other(format!("injected failure of {op:?}")));
        }
        operation()
    }
}
