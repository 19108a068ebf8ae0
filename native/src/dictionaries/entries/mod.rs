//! What the dictionaries of a directory say: every file's entry, the data keys, and the lock of their one
//! writer. Files themselves are none of its business: see [`DataKeyManager`](super::DataKeyManager).

mod bulk;
mod commit;
mod key_ring;
mod keys;
mod open;
mod rotation;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stillkey_core::{FileDictionary, FileInfo, FileLog, KeyDictionary, Version};

use super::group::Group;
use super::log_file::LogFile;
use super::place::{OddNames, Place, Root};
use super::sealed_keys::SealedKeys;
use super::sync::{
    AtomicU64, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, ShardedLock,
    ShardedLockReadGuard,
};
use super::{FileKey, Layout};
use crate::error::Error;
use crate::lock::Lock;
use crate::observe;

use commit::{Outcome, Request};
use key_ring::KeyRing;

pub use bulk::Bulk;
pub(super) use commit::{Change, Durability};
pub use keys::RetiredKeys;
pub(super) use open::{Proven, check_protection};
pub use rotation::BackgroundRotation;

/// The entries and data keys of a directory, changed by many threads at once. Holds the directory's lock
/// for as long as it lives.
///
/// When a method returns, its change is durable; when it fails, the change hasn't happened. Changes that
/// come at the same time share a write and a sync. A lookup never waits for the disk.
///
/// This is for an engine that handles its files itself. Names are those in the dictionary, byte by byte, and
/// no file is touched. The engine keeps the order that makes crashes harmless: the entry before the file,
/// the file (gone for good, its directory synced) before the removal of its entry. An entry may lack its
/// file; a file that lacks its entry can't be decrypted any more. Everyone else is better off with
/// [`DataKeyManager`](crate::DataKeyManager), which keeps both in step.
///
/// ```
/// use std::io::Write;
/// use stillkey::core::{MasterKey, Method, RawMasterKey};
/// use stillkey::{EncryptedWriter, Entries, Native, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let entries = Entries::create(directory, &master_key, Method::Aes256Ctr, unix_now())?;
/// let key = entries.new_entry("000001.log")?;
/// let file = std::fs::File::create_new(directory.join("000001.log"))?;
/// EncryptedWriter::new(file, key.stream(&Native::detect())).write_all(b"first entry")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Entries {
    layout: Layout,
    root: Root,
    /// Held while `key.dict` is written.
    sealed_keys: Mutex<SealedKeys>,
    view: ShardedLock<View>,
    /// Held while `file.dict` is written.
    log_file: Mutex<LogFile>,
    group: Group<Request, Outcome>,
    /// Held for reading from the choice of a data key until an entry names it, and for writing while keys
    /// are retired.
    issuing: RwLock<()>,
    changes: AtomicU64,
    writes: AtomicU64,
    lock: Arc<Lock>,
}

/// What lookups see. In one lock, since each more would cost a lookup as much as finding the entry.
///
/// It changes only under `log_file`. So nothing waits to change it, and keeps lookups waiting, while the
/// holder of `log_file` reads it and the disk is busy.
#[derive(Debug)]
struct View {
    files: FileLog,
    odd_names: OddNames,
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

impl Entries {
    fn new(layout: Layout, sealed_keys: SealedKeys, log: (LogFile, FileLog), lock: Lock) -> Self {
        let (log_file, files) = log;
        log_file.report(&files);
        let root = Root::new(&layout.directory);
        let names = files.dictionary().unsorted().map(|(name, _)| name);
        Self {
            view: ShardedLock::new(View {
                odd_names: OddNames::of(&root, names),
                files,
                keys: KeyRing::new(&sealed_keys),
            }),
            layout,
            root,
            sealed_keys: Mutex::new(sealed_keys),
            log_file: Mutex::new(log_file),
            group: Group::new(),
            issuing: RwLock::default(),
            changes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            lock: Arc::new(lock),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The data keys, as they are now.
    pub fn keys(&self) -> Arc<KeyDictionary> {
        Arc::clone(&self.view().keys.dictionary)
    }

    /// The form of `file.dict`.
    pub fn version(&self) -> Version {
        self.view().files.version()
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

    /// Looks at all entries as they are at one moment. Changes wait meanwhile, lookups don't.
    pub fn survey<T>(&self, look: impl FnOnce(&FileDictionary) -> T) -> T {
        let _turn = held(&self.log_file);
        look(self.view().files.dictionary())
    }

    /// How a file is encrypted. The name must be spelled as in the dictionary, byte by byte. Never waits
    /// for the disk.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an
    /// unusable entry.
    pub fn entry(&self, name: &str) -> Result<FileKey, Error> {
        let view = self.view();
        let info = view.files.dictionary().get(name);
        let info = info.map_err(Error::data(&self.layout.file_dict))?;
        let key = view.keys.data_key(info);
        self.layout.file_key_with(info.clone(), key)
    }

    /// Gives a file that is about to be written a new random IV under the current data key. An entry of the
    /// same name is replaced. The key recorded is the key returned, whatever is rotated meanwhile.
    ///
    /// # Errors
    /// [`Error::Data`] when the current key is missing or the name too long; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Core`] when random numbers fail.
    pub fn new_entry(&self, name: &str) -> Result<FileKey, Error> {
        self.insert_new(name, Vec::new(), Durability::Now)
    }

    /// Sets the entry of a file that was encrypted elsewhere, and returns how to read it. An entry of the
    /// same name is replaced.
    ///
    /// # Errors
    /// [`Error::Data`] for an entry that can't be used with the data keys here, or a name that is too long;
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn set_entry(&self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        self.insert(name, info, Vec::new(), Durability::Now)
    }

    /// Removes an entry and returns it; `None`, and nothing written, when there is none. Remove the file
    /// first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn remove_entry(&self, name: &str) -> Result<Option<FileInfo>, Error> {
        self.submit(Request::new(name, Change::Remove, Durability::Now))
    }

    /// Gives `destination` the entry of `source`: before a file is renamed, or linked. Both then share key
    /// *and IV*, so neither may be written again while the other is kept.
    ///
    /// # Errors
    /// [`Error::Data`] when `source` has no entry; [`Error::NameTaken`] when `destination` has another;
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn link_entry(&self, source: &str, destination: &str) -> Result<(), Error> {
        let source = source.into();
        let link = Change::Link { source };
        self.submit(Request::new(destination, link, Durability::Now))
            .map(drop)
    }

    /// Compacts the log by itself once more than `removes` entries have been removed since the last time;
    /// 1,000,000 unless set.
    #[must_use]
    pub fn with_rewrite_threshold(mut self, removes: u64) -> Self {
        let view = self.view.get_mut().unwrap_or_else(PoisonError::into_inner);
        view.files.set_rewrite_threshold(removes);
        self
    }

    /// Rewrites `file.dict` without the log records that have been superseded. Files are looked up
    /// meanwhile, but not changed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn compact(&self) -> Result<(), Error> {
        self.rewrite(None)
    }

    /// Rewrites `file.dict` in the form `version`: [`Version::V2`] is an upgrade, [`Version::V1`] is for a
    /// TiKV before 4.0.9 or with its log switched off.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn convert(&self, version: Version) -> Result<(), Error> {
        self.rewrite(Some(version))
    }

    fn rewrite(&self, version: Option<Version>) -> Result<(), Error> {
        let _span = observe::span!(INFO, "compact", directory => self.directory().display());
        let mut log_file = held(&self.log_file);
        let version = version.unwrap_or_else(|| self.version());
        let bytes = self.view().files.dictionary().to_bytes(version);
        log_file.replace(&bytes)?;
        self.change_view(&mut log_file, |view| view.files.rewritten(version));
        log_file.report(&self.view().files);
        Ok(())
    }

    /// The lock, which then lives as long as this or what it was given to.
    pub(super) fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The entries of the file at a place, by all its names; that of `preferred` comes first.
    pub(super) fn at(&self, place: &Place, preferred: &str) -> Vec<(String, FileInfo)> {
        let view = self.view();
        let plain = self.root.plain_names(place);
        let odd = view.odd_names.at(place).map(str::to_owned);
        let mut found: Vec<(String, FileInfo)> = Vec::new();
        for name in [preferred.to_owned()].into_iter().chain(plain).chain(odd) {
            if found.iter().all(|(known, _)| *known != name)
                && let Some(info) = view.files.dictionary().find(&name)
            {
                found.push((name, info.clone()));
            }
        }
        found
    }

    /// The entries of the files below a directory, by all their names, each with its path from there on.
    pub(super) fn below(&self, directory: &Place) -> Vec<(PathBuf, String, FileInfo)> {
        let rest = |name: &str| {
            let place = self.root.place(Path::new(name))?;
            Some(place.rest_below(directory)?.to_owned())
        };
        self.survey(|files| {
            let entries = files.unsorted();
            let below = entries
                .filter_map(|(name, info)| Some((rest(name)?, name.to_owned(), info.clone())));
            below.collect()
        })
    }

    /// What `info` stands for, with its key looked up.
    pub(super) fn file_key(&self, info: FileInfo) -> Result<FileKey, Error> {
        let key = self.view().keys.data_key(&info);
        self.layout.file_key_with(info, key)
    }

    fn issuing(&self) -> RwLockReadGuard<'_, ()> {
        self.issuing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> ShardedLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what lookups see, in the turn of the holder of `log_file`.
    fn change_view<T>(&self, _turn: &mut LogFile, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A panic can't leave what the mutexes here protect half done: it is taken over in one step, at the end.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
