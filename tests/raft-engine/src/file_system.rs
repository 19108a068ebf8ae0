//! Files with entries: which of both changes first, so that a crash leaves at worst an entry without its file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::entries::Entries;
use crate::file::{Cursor, LogFile};
use raft_engine::env::{FileSystem, Permission};

/// The files of an engine, encrypted.
///
/// # Order
///
/// A file that has lost its entry is lost, and an entry without a file harms nobody. So each step is durable before the next begins:
///
/// | operation | first | then | last |
/// |---|---|---|---|
/// | create | new entry | the file, emptied | |
/// | rename | the destination gets the source's entry | the file, synced with its directory | the source's entry goes |
/// | reuse | the destination gets a *new* entry | the file, synced with its directory | the source's entry goes |
/// | delete | the file, synced with its directory | its entry goes | |
///
/// The directory of a file that is created is synced by the engine itself; but not for the first file of a log, encrypted or not. A file without an entry is refused; TiKV takes such a file for plaintext.
///
/// # What is written twice in one place
///
/// The same key, IV and offset give the same keystream, and whoever sees both ciphertexts learns the XOR of both plaintexts. Hence:
///
/// * **Recycling.** A recycled file is written from its start again, so it gets a new IV. What is left of its old content turns into noise,
///   which the engine takes for what follows a torn batch.
/// * **Prefilled files** are worse: they are zeros, so what they hold on the disk *is* the keystream. They, too, are used under a new IV only.
/// * **Truncated and appended to.** After a crash, the engine cuts a torn batch off and writes the next one in its place, under the same IV.
///   The same holds for a write that fails half-way, say on a full disk. The XOR of the torn batch and its successor can be learned by whoever has
///   an image of the disk from before and one from after, or finds the former blocks on it. TiKV accepts this, and so does this file
///   system: to avoid it, all that the file holds would have to be encrypted anew, or the engine would have to begin a new file after a crash,
///   for which it has no setting.
/// * **Allocated ahead.** Zeros that the disk provides are no ciphertext: nothing has been encrypted there, and they read as noise. So in a file
///   that wasn't closed, what follows the last batch is noise, and the engine has to tolerate a corrupt tail: which is its default.
/// * **The header** is written again when it was torn, with the same bytes, which tells nothing.
///
/// # What is not encrypted
///
/// The names and lengths of files, and `LOCK`, an empty file that the engine doesn't ask its file system for.
pub struct EncryptedFileSystem {
    entries: Entries,
}

impl EncryptedFileSystem {
    /// Files that have these entries, whose directory may be that of the files.
    pub fn new(entries: Arc<stillkey::Entries>) -> Self {
        Self {
            entries: Entries::new(entries),
        }
    }

    /// The entry of the destination is there; moves the file.
    fn move_file(&self, source: &Path, destination: &Path) -> io::Result<()> {
        if let Err(error) = fs::rename(source, destination) {
            self.give_up_entry(destination);
            return Err(error);
        }
        sync_directory(destination)?;
        if source.parent() != destination.parent() {
            sync_directory(source)?;
        }
        self.entries.remove(source)
    }

    /// No file came to an entry that was made for it. Why not is what matters to the caller, so that the entry may stay is no error.
    fn give_up_entry(&self, path: &Path) {
        if is_there(path).is_ok_and(|there| !there) {
            let _ = self.entries.remove(path);
        }
    }
}

impl FileSystem for EncryptedFileSystem {
    type Handle = LogFile;
    type Reader = Cursor;
    type Writer = Cursor;

    /// What the engine finds when it creates a file is left from an attempt that failed.
    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<LogFile> {
        let path = path.as_ref();
        let key = self.entries.renew(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path);
        let file = file.inspect_err(|_| self.give_up_entry(path))?;
        Ok(LogFile::new(file, &key))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<LogFile> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.read(true);
        options.write(permission == Permission::ReadWrite);
        let file = options.open(path)?;
        Ok(LogFile::new(file, &self.entries.find(path)?))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        fs::remove_file(path)?;
        sync_directory(path)?;
        self.entries.remove(path)
    }

    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the destination is a file with an entry of its own: a crash halfway would leave it unreadable.
    fn rename<P: AsRef<Path>>(&self, source: P, destination: P) -> io::Result<()> {
        let (source, destination) = (source.as_ref(), destination.as_ref());
        if !is_there(destination)? {
            // Of a file that has vanished; it would be in the way. A file that may come back needs it.
            sync_directory(destination)?;
            self.entries.remove(destination)?;
        }
        self.entries.link(source, destination)?;
        self.move_file(source, destination)
    }

    fn reuse<P: AsRef<Path>>(&self, source: P, destination: P) -> io::Result<()> {
        let (source, destination) = (source.as_ref(), destination.as_ref());
        self.entries.renew(destination)?;
        self.move_file(source, destination)
    }

    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the file is there: without its entry it would be lost.
    fn delete_metadata<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        if is_there(path)? {
            let why = format!("{}: the file is there and needs its entry", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        // The file must not come back after a power failure, when its entry is gone.
        sync_directory(path)?;
        self.entries.remove(path)
    }

    /// Whether it has an entry that encrypts.
    fn exists_metadata<P: AsRef<Path>>(&self, path: P) -> bool {
        let key = self.entries.find(path.as_ref());
        key.is_ok_and(|key| key.data_key().is_some())
    }

    fn new_reader(&self, handle: Arc<LogFile>) -> io::Result<Cursor> {
        Ok(Cursor::new(handle))
    }

    fn new_writer(&self, handle: Arc<LogFile>) -> io::Result<Cursor> {
        Ok(Cursor::new(handle))
    }
}

impl fmt::Debug for EncryptedFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedFileSystem")
            .finish_non_exhaustive()
    }
}

/// A link counts by itself, whether it leads anywhere or not.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in a file's directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
