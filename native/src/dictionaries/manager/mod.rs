//! The writer of a dictionary directory, shared by the threads of a storage engine: entries and files, keys, and their rotation.

mod bulk;
mod commit;
mod files;
mod key_ring;
mod keys;
mod names;
mod reconcile;
mod recovery;
mod rekey;
mod replacement;
mod rotation;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard};
use stillkey_core::{FileDictionary, FileInfo, FileLog, KeyDictionary, MasterKey};

use super::group::Group;
use super::lock::Lock;
use super::log_file::LogFile;
use super::sealed_keys::SealedKeys;
use super::writer::DictionaryWriter;
use super::{FileKey, Layout};
use crate::error::Error;
use crate::observe;

use commit::{Change, Durability, Outcome, Request};
use files::{NameLocks, Writers};
use key_ring::KeyRing;
use replacement::Replacing;

pub use bulk::Bulk;
pub use files::{ManagedFile, Untracked};
pub use keys::RetiredKeys;
pub use names::{Names, data_path};
pub use reconcile::Mismatches;
pub use rekey::{RekeyProgress, RekeyReport, RekeySelection};
pub use replacement::is_unfinished;
pub use rotation::BackgroundRotation;

/// The files, entries and keys of a dictionary directory, changed by many threads at once. Holds the directory's lock for as long as it lives.
///
/// When a method returns, its change is durable; when it fails, the change hasn't happened. Changes that are asked for at the same time share
/// a write and a sync. Looking an entry up never waits for the disk.
///
/// There are two ways to use it:
///
/// - By file: [`create_file`](Self::create_file), [`open_file`](Self::open_file), [`rename_file`](Self::rename_file) and so on take paths,
///   see to both the entry and the file, and keep the order in which no crash does harm.
/// - By entry, for an engine that handles its files itself: [`new_entry`](Self::new_entry), [`entry`](Self::entry) and so on take names as
///   they stand in the dictionary, and never touch a file. The engine keeps the order: the entry before the file, the file before the
///   removal of its entry. An entry may lack its file; a file that lacks its entry can't be decrypted any more.
///
/// ```
/// use stillkey::core::{MasterKey, Method, RawMasterKey};
/// use stillkey::{DataKeyManager, DictionaryWriter, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let writer = DictionaryWriter::create(directory, &master_key, Method::Aes256Ctr, unix_now())?;
/// let manager = DataKeyManager::new(writer)?;
/// std::thread::scope(|scope| {
///     for name in ["1.log", "2.log", "3.log"] {
///         let manager = &manager;
///         scope.spawn(move || manager.create_file(name)?.write_all_at(b"first entry", 0).map_err(Into::<Box<dyn std::error::Error + Send + Sync>>::into));
///     }
/// });
/// manager.rename_file("2.log", "4.log")?;
/// let mut word = [0; 5];
/// manager.open_file("4.log")?.read_exact_at(&mut word, 6)?;
/// assert_eq!(&word, b"entry");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DataKeyManager {
    layout: Layout,
    names: Names,
    untracked: Untracked,
    /// Held while `key.dict` is written.
    sealed_keys: Mutex<SealedKeys>,
    view: ShardedLock<View>,
    /// Held while `file.dict` is written.
    log_file: Mutex<LogFile>,
    group: Group<Request, Outcome>,
    /// Held for reading from the choice of a data key until an entry names it, and for writing while keys are retired.
    issuing: RwLock<()>,
    changes: AtomicU64,
    writes: AtomicU64,
    name_locks: NameLocks,
    replacing: Replacing,
    writers: Arc<Writers>,
    _lock: Lock,
}

/// What look-ups see. In one lock, since each more would cost a look-up as much as finding the entry.
///
/// It is changed only by whoever holds `log_file`: so nobody waits to change it, and keeps look-ups waiting behind him, while the holder of
/// `log_file` reads it and the disk is busy.
#[derive(Debug)]
struct View {
    files: FileLog,
    /// What is in `sealed_keys`.
    keys: KeyRing,
}

/// How often `file.dict` was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commits {
    /// Changes that were made durable.
    pub changes: u64,
    /// Writes, each with one sync, that took. Fewer than changes where threads came together.
    pub writes: u64,
}

impl DataKeyManager {
    /// Opens the dictionaries of a directory, as [`DictionaryWriter::open`] does, and finishes or undoes what a crash has interrupted.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::open`] and [`DataKeyManager::new`].
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        Self::new(DictionaryWriter::open(directory, master_key)?)
    }

    /// Takes over a writer, and finishes or undoes the replacements of files that a crash has interrupted.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn new(writer: DictionaryWriter) -> Result<Self, Error> {
        let (layout, sealed_keys, journal, lock) = writer.into_parts();
        let (log_file, log) = journal.into_parts();
        let manager = Self {
            layout,
            names: Names::default(),
            untracked: Untracked::default(),
            view: ShardedLock::new(View {
                files: log,
                keys: KeyRing::new(&sealed_keys),
            }),
            sealed_keys: Mutex::new(sealed_keys),
            log_file: Mutex::new(log_file),
            group: Group::new(),
            issuing: RwLock::default(),
            changes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            name_locks: NameLocks::default(),
            replacing: Replacing::default(),
            writers: Arc::default(),
            _lock: lock,
        };
        manager.recover()?;
        observe::opened(manager.directory(), manager.len(), manager.keys().len());
        Ok(manager)
    }

    /// How new entries are named, and paths are read; [`Names::Relative`] unless set.
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// What is done about files without an entry; [`Untracked::Refuse`] unless set.
    #[must_use]
    pub fn with_untracked(mut self, untracked: Untracked) -> Self {
        self.untracked = untracked;
        self
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The data keys, as they are now.
    pub fn keys(&self) -> Arc<KeyDictionary> {
        Arc::clone(&self.view().keys.dictionary)
    }

    fn issuing(&self) -> RwLockReadGuard<'_, ()> {
        self.issuing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> ShardedLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what look-ups see, in the turn of whoever has `log_file`.
    fn change_view<T>(&self, _turn: &mut LogFile, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at all entries. Changes wait meanwhile, look-ups don't.
    fn survey<T>(&self, look: impl FnOnce(&FileDictionary) -> T) -> T {
        let _turn = held(&self.log_file);
        look(self.view().files.dictionary())
    }

    fn file_key(&self, info: FileInfo) -> Result<FileKey, Error> {
        let key = self.view().keys.data_key(&info);
        self.layout.file_key_with(info, key)
    }

    /// How many files have an entry.
    pub fn len(&self) -> usize {
        self.view().files.dictionary().len()
    }

    /// Whether no file has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often `file.dict` was written since this was opened.
    pub fn commits(&self) -> Commits {
        Commits {
            changes: self.changes.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    /// How a file is encrypted. The name must be spelled as in the dictionary, byte by byte. Never waits for the disk.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an unusable entry.
    pub fn entry(&self, name: &str) -> Result<FileKey, Error> {
        let view = self.view();
        let info = view.files.dictionary().get(name);
        let info = info.map_err(Error::data(&self.layout.file_dict))?;
        let key = view.keys.data_key(info);
        self.layout.file_key_with(info.clone(), key)
    }

    /// Gives a file that is about to be written a new random IV under the current data key; an entry of the same name is replaced. The key
    /// recorded is the key returned, whatever is rotated meanwhile.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::new_file`].
    pub fn new_entry(&self, name: &str) -> Result<FileKey, Error> {
        self.insert_new(name, Durability::Now)
    }

    /// Sets the entry of a file that was encrypted elsewhere, and returns how to read it. An entry of the same name is replaced.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::insert`].
    pub fn set_entry(&self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        self.insert(name, info, Durability::Now)
    }

    /// Removes an entry and returns it; `None`, and nothing written, when there is none. Remove the file first.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::remove`].
    pub fn remove_entry(&self, name: &str) -> Result<Option<FileInfo>, Error> {
        self.submit(name, Change::Remove, Durability::Now)
    }

    /// Gives `destination` the entry of `source`: before a file is renamed, or linked. Both then share key *and IV*, so neither may be
    /// written again while the other is kept.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::link`].
    pub fn link_entry(&self, source: &str, destination: &str) -> Result<(), Error> {
        let source = source.into();
        self.submit(destination, Change::Link { source }, Durability::Now)
            .map(drop)
    }

    /// Rewrites `file.dict` without the log records that have been superseded. Files are looked up meanwhile, but not changed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn compact(&self) -> Result<(), Error> {
        let _span = observe::span!(INFO, "compact", directory => self.directory().display());
        let mut log_file = held(&self.log_file);
        let bytes = self.view().files.to_bytes();
        log_file.replace(&bytes)?;
        self.change_view(&mut log_file, |view| view.files.compacted());
        log_file.report(&self.view().files);
        Ok(())
    }
}

/// A panic can't leave what the mutexes here protect half done: it is taken over in one step, at the end.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
