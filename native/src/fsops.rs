//! The few file operations that durability rests on, in one place: their errors name the file and the action, and tests make the
//! n-th of them fail.

mod step;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::Error;

pub(crate) use step::{Act, step};
#[cfg(test)]
pub(crate) use step::{Op, Outcome, fault};

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
    options.custom_flags(flags.bits().cast_signed());
    let file =
        step(&Act::Open(path), || options.open(path)).map_err(|error| refusal(path, error))?;
    expect_regular(file, path)
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

/// Opens a data file for reading. Unlike [`open`], it follows links: what is behind one is read as its owner put it there.
pub(crate) fn open_data(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = step(&Act::Open(path), || options.open(path)).map_err(Error::io(path, "open"))?;
    expect_regular(file, path)
}

fn expect_regular(file: File, path: &Path) -> Result<File, Error> {
    let metadata = file.metadata().map_err(Error::io(path, "inspect"))?;
    match other_than_file(metadata.file_type()) {
        None => Ok(file),
        Some(found) => Err(Error::NotAFile {
            path: path.to_owned(),
            found,
        }),
    }
}

/// Reads a regular file whole, which has no reason to be longer than `limit` bytes. It may hold keys in the
/// clear, so the bytes are zeroized when dropped.
pub(crate) fn read_up_to(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_open(&open(path, Access::Read)?, path, limit)
}

/// As [`read_up_to`], of a file that is open, at its beginning.
pub(crate) fn read_open(file: &File, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let len = identity(file, path)?.len;
    if len > limit {
        let why = format!("{len} bytes long, which is more than the {limit} that it may have");
        let error = io::Error::new(io::ErrorKind::InvalidData, why);
        return Err(Error::io(path, "read")(error));
    }
    // One byte more than expected, so that a file that doesn't grow is read without moving the buffer.
    let capacity = usize::try_from(len).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::new());
    bytes
        .try_reserve_exact(capacity)
        .map_err(|_| Error::io(path, "read")(io::ErrorKind::OutOfMemory.into()))?;
    let read = step(&Act::Read(path), || {
        file.take(limit).read_to_end(&mut bytes)
    });
    read.map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

/// Which file an open descriptor stands for.
pub(crate) fn identity(file: &File, path: &Path) -> Result<Identity, Error> {
    let metadata = file.metadata().map_err(Error::io(path, "inspect"))?;
    Ok(metadata.into())
}

/// Which file a path stands for; links are not followed. `None` when nothing is there.
pub(crate) fn identity_at(path: &Path) -> Result<Option<Identity>, Error> {
    match inspect(path) {
        Ok(metadata) => Ok(Some(metadata.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "inspect")(error)),
    }
}

fn inspect(path: &Path) -> io::Result<fs::Metadata> {
    step(&Act::Inspect(path), || fs::symlink_metadata(path))
}

/// Makes a new file, for its owner only; anything in its place is an error.
pub(crate) fn create_new(path: &Path) -> Result<File, Error> {
    let created = step(&Act::Create(path), || {
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
    Ok(file)
}

/// Writes `bytes` to the end of a file with a single call, which may turn out short.
pub(crate) fn append(mut file: &File, bytes: &[u8], path: &Path) -> Result<(), Error> {
    let written = loop {
        let allowed = step::limit(file, bytes);
        match step(&Act::Append(file), || file.write(allowed)) {
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
    step(&Act::Write(file), || file.write(bytes))
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
    step(&Act::WriteAt(file, offset), || file.write_at(bytes, offset))
}

/// Cuts a file off at `len`.
pub(crate) fn truncate(file: &File, len: u64, path: &Path) -> Result<(), Error> {
    set_len(file, len).map_err(Error::io(path, "truncate"))
}

/// Cuts a file off at `len`, or fills it up with zeros.
pub(crate) fn set_len(file: &File, len: u64) -> io::Result<()> {
    step(&Act::SetLen(file, len), || file.set_len(len))
}

/// Waits until a file's content and length are durable.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), Error> {
    sync_file(file).map_err(Error::io(path, "sync"))
}

/// As [`sync`], for callers that know no path.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    step(&Act::Sync(file), || file.sync_all())
}

/// Waits until the names in the directory of `path` are durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_directory(parent(path))
}

/// Waits until the names in a directory are durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    let sync = || File::open(directory)?.sync_all();
    step(&Act::SyncDirectory(directory), sync).map_err(Error::io(directory, "sync"))
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
    match step(&Act::Remove(path), || fs::remove_file(path)) {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(Error::io(path, "remove")(error)),
    }
}

/// Removes a directory, which must be empty.
pub(crate) fn remove_directory(path: &Path) -> Result<(), Error> {
    step(&Act::Remove(path), || fs::remove_dir(path)).map_err(Error::io(path, "remove"))
}

/// Renames a file or directory, over what stands at `to`, and makes that durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    step(&Act::Rename(from, to), || fs::rename(from, to)).map_err(Error::io(from, "rename"))?;
    sync_parent(to)?;
    if parent(from) != parent(to) {
        sync_parent(from)?;
    }
    Ok(())
}

/// Gives a file a second name, and makes that durable.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    step(&Act::Link(from, to), || fs::hard_link(from, to)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path: to.to_owned(),
        },
        _ => Error::io(from, "link")(error),
    })?;
    sync_parent(to)
}

/// That a regular file stands there.
pub(crate) fn expect_file(path: &Path) -> Result<(), Error> {
    let metadata = inspect(path).map_err(Error::io(path, "inspect"))?;
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
        let entries = step(&Act::List(&directory), || fs::read_dir(&directory));
        for entry in entries.map_err(&listed)? {
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
    match inspect(path) {
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
        let make = || {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).recursive(true).create(directory)
        };
        step(&Act::MakeDirectory(directory), make).map_err(Error::io(directory, "create"))?;
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
