//! What the file system asks of the dictionaries: the one place that knows how names and errors are spelled.

use std::io;
use std::path::Path;
use std::sync::Arc;

use stillkey::{Error, ErrorKind, FileKey};

/// The entries of files, by path. As in TiKV, a file's name in the dictionary is its path as the engine spells it, so a directory that
/// moves, or that is spelled otherwise, isn't found.
pub(crate) struct Entries(Arc<stillkey::Entries>);

impl Entries {
    pub(crate) fn new(entries: Arc<stillkey::Entries>) -> Self {
        Self(entries)
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<FileKey> {
        self.0.entry(name(path)?).map_err(io_error)
    }

    /// A new IV under the current data key, whatever entry there was.
    pub(crate) fn renew(&self, path: &Path) -> io::Result<FileKey> {
        self.0.new_entry(name(path)?).map_err(io_error)
    }

    pub(crate) fn link(&self, source: &Path, destination: &Path) -> io::Result<()> {
        let (source, destination) = (name(source)?, name(destination)?);
        self.0.link_entry(source, destination).map_err(io_error)
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove_entry(name(path)?).map(drop).map_err(io_error)
    }
}

fn name(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| {
        let why = format!(
            "{}: names in a file dictionary are UTF-8, and this one isn't",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

/// Kinds that the engine looks at are kept: it goes on elsewhere when a disk is full.
fn io_error(error: Error) -> io::Error {
    let kind = match (&error, error.kind()) {
        (Error::Io { source, .. }, _) => source.kind(),
        (_, ErrorKind::NotFound) => io::ErrorKind::NotFound,
        (_, ErrorKind::AlreadyExists) => io::ErrorKind::AlreadyExists,
        (_, ErrorKind::Damaged) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
