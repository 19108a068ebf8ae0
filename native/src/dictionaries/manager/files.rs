//! Files with their entries, changed in the order in which no crash does harm: an entry may lack its file, a file never its entry.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use stillkey_core::FileInfo;
use stillkey_core::error::NotFound;

use super::super::lock::Lock;
use super::Change;
use super::names::Located;
use super::{DataKeyManager, held};
use crate::error::Error;
use crate::file::EncryptedFile;
use crate::fsops::{self, Access, FileId};
use crate::observe;
use crate::provider::Native;

/// What a manager does about files that have no entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untracked {
    /// Refuses them: an entry that was lost must not turn ciphertext into data, or data into plaintext on the disk. The default.
    #[default]
    Refuse,
    /// Takes them for plaintext, as TiKV does, also for writing.
    Plaintext,
}

/// A file that a [`DataKeyManager`] has opened: an [`EncryptedFile`] that no re-encryption takes away from its writer. With the feature
/// `tokio`, `AsyncEncryptedFile::new` makes it one for tasks.
#[derive(Debug)]
pub struct ManagedFile {
    file: EncryptedFile,
    _writing: Option<Writing>,
}

impl ManagedFile {
    /// Reads and writes it.
    pub fn file(&self) -> &EncryptedFile {
        &self.file
    }
}

impl AsRef<EncryptedFile> for ManagedFile {
    fn as_ref(&self) -> &EncryptedFile {
        &self.file
    }
}

impl DataKeyManager {
    /// Makes a file with a data key and IV of its own, open for reading and writing. What stands there already is removed first.
    ///
    /// # Errors
    /// [`Error::Usage`] for a path that isn't below the directory; [`Error::NotAFile`]; [`Error::Io`], also when the directory of the file is
    /// missing; those of [`Entries::new_entry`](crate::Entries::new_entry).
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        self.create(path.as_ref(), true)
    }

    /// As [`DataKeyManager::create_file`], but what stands there already is left alone.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; those of [`DataKeyManager::create_file`].
    pub fn create_new_file(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        self.create(path.as_ref(), false)
    }

    fn create(&self, path: &Path, overwrite: bool) -> Result<ManagedFile, Error> {
        let file = self.locate(path)?;
        let _span = observe::span!(DEBUG, "create_file", file = file.name.as_str());
        let _locks = self.name_locks.lock(&[&file]);
        expect_directory(&file.path)?;
        if fsops::exists(&file.path)? {
            if !overwrite {
                return Err(Error::AlreadyExists { path: file.path });
            }
            // The bytes must be gone before the entry that they need.
            fsops::expect_file(&file.path)?;
            fsops::remove(&file.path)?;
        }
        let key = self.entries.new_entry(&file.name)?;
        let created = fsops::create_new(&file.path)
            .and_then(|created| fsops::sync_parent(&file.path).map(|()| created));
        let created = created.inspect_err(|_| self.forget_entry_of_missing(&file))?;
        let writing = self
            .writers
            .register(&created, &file.path, self.entries.lock())?;
        Ok(ManagedFile {
            file: EncryptedFile::new(created, key.stream(&Native::detect())),
            _writing: Some(writing),
        })
    }

    /// Opens a file for reading. Never waits for the disk but to open the file itself.
    ///
    /// # Errors
    /// [`Error::Data`] when the file has no entry (unless [`Untracked::Plaintext`] is set), or one that can't be used; [`Error::NotAFile`];
    /// [`Error::Io`]; [`Error::Usage`] for a path that isn't below the directory.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        let file = self.locate(path.as_ref())?;
        // Whoever replaces a file changes its entry, so an entry that stands before and after the opening is that of what was opened.
        let before = self.find(&file).map(|(_, info)| info);
        if let Ok(opened) = fsops::open(&file.path, Access::Read)
            && self.find(&file).map(|(_, info)| info) == before
        {
            return self.managed(opened, &file, before, None);
        }
        let _locks = self.name_locks.lock(&[&file]);
        let info = self.find(&file).map(|(_, info)| info);
        let opened = fsops::open(&file.path, Access::Read)?;
        self.managed(opened, &file, info, None)
    }

    /// Opens a file for reading and writing. Bytes that are overwritten share their keystream with those that stood there: who has a copy of
    /// the file from before can compute the difference of the two.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::open_file`].
    pub fn open_file_writable(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        let file = self.locate(path.as_ref())?;
        let _locks = self.name_locks.lock(&[&file]);
        let info = self.find(&file).map(|(_, info)| info);
        let opened = fsops::open(&file.path, Access::Write)?;
        let writing = self
            .writers
            .register(&opened, &file.path, self.entries.lock())?;
        self.managed(opened, &file, info, Some(writing))
    }

    fn managed(
        &self,
        opened: std::fs::File,
        file: &Located,
        info: Option<FileInfo>,
        writing: Option<Writing>,
    ) -> Result<ManagedFile, Error> {
        let stream = match info {
            Some(info) => self.entries.file_key(info)?.stream(&Native::detect()),
            None => self.expect_untracked_allowed(file).map(|()| None)?,
        };
        Ok(ManagedFile {
            file: EncryptedFile::new(opened, stream),
            _writing: writing,
        })
    }

    /// Removes a file, then its entry. A file that is gone already is no error, if it has an entry.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no entry (unless [`Untracked::Plaintext`] is set); [`Error::NotAFile`]; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Usage`].
    pub fn delete_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let file = self.locate(path.as_ref())?;
        let _span = observe::span!(DEBUG, "delete_file", file = file.name.as_str());
        let _locks = self.name_locks.lock(&[&file]);
        if self.find(&file).is_none() {
            self.expect_untracked_allowed(&file)?;
        }
        if fsops::exists(&file.path)? {
            fsops::expect_file(&file.path)?;
            fsops::remove(&file.path)?;
        }
        self.forget_entries(&file)
    }

    /// Gives a file another name. Its key and IV go with it. What stands at `to` is not replaced: delete it first.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `to`; [`Error::Data`] when `from` has no entry (unless [`Untracked::Plaintext`] is
    /// set); [`Error::Io`]; [`Error::Suspended`]; [`Error::Usage`]. After a failure the file is still at `from`, unless nothing but the removal
    /// of its old entry failed.
    pub fn rename_file(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let _span =
            observe::span!(DEBUG, "rename_file", from => from.display(), to => to.display());
        self.transfer(from, to, |from, to| {
            fsops::rename(&from.path, &to.path)?;
            self.forget_entries(from)
        })
    }

    /// Gives a file a second name. Both share key *and IV*, so neither may be written again while the other is kept.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::rename_file`].
    pub fn link_file(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let (from, to) = (source.as_ref(), destination.as_ref());
        let _span = observe::span!(DEBUG, "link_file", from => from.display(), to => to.display());
        self.transfer(from, to, |from, to| fsops::link(&from.path, &to.path))
    }

    /// Gives `to` the entry of `from`, and then does what makes it true.
    fn transfer(
        &self,
        from: &Path,
        to: &Path,
        transfer: impl FnOnce(&Located, &Located) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        let _locks = self.name_locks.lock(&[&from, &to]);
        let entry = self.find(&from);
        if entry.is_none() {
            self.expect_untracked_allowed(&from)?;
        }
        fsops::expect_file(&from.path)?;
        if fsops::exists(&to.path)? {
            return Err(Error::AlreadyExists { path: to.path });
        }
        expect_directory(&to.path)?;
        // An entry there is that of a file which is gone: it must not be taken for that of this one.
        match entry {
            Some((_, info)) => {
                let other = to.other.as_deref();
                self.entries.set_entry(&to.name, info)?;
                other.map_or(Ok(None), |other| self.entries.remove_entry(other))?;
            }
            None => self.forget_entries(&to)?,
        }
        transfer(&from, &to).inspect_err(|_| self.forget_entry_of_missing(&to))
    }

    /// Takes in a file that was encrypted elsewhere with a key that [`Entries::import_key`](crate::Entries::import_key) knows by the id in `info`: moves it from
    /// `source`, which must be on the same file system and is outside the manager's care, to `destination`.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `destination`; [`Error::Data`] when `info` can't be used with the data keys here;
    /// [`Error::Io`]; [`Error::Suspended`]; [`Error::Usage`].
    pub fn import_file(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
        info: FileInfo,
    ) -> Result<(), Error> {
        let (source, to) = (source.as_ref(), self.locate(destination.as_ref())?);
        let _span = observe::span!(DEBUG, "import_file", file = to.name.as_str());
        let _locks = self.name_locks.lock(&[&to]);
        fsops::expect_file(source)?;
        if fsops::exists(&to.path)? {
            return Err(Error::AlreadyExists { path: to.path });
        }
        expect_directory(&to.path)?;
        // What an entry vouches for must be on the disk.
        fsops::sync(&fsops::open(source, Access::Read)?, source)?;
        self.entries.set_entry(&to.name, info)?;
        fsops::rename(source, &to.path).inspect_err(|_| self.forget_entry_of_missing(&to))
    }

    /// Makes a directory and what is missing above it, for its owner only. One that is there already is no error.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] for a path that isn't below the directory.
    pub fn create_directory(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        fsops::create_directories(&self.locate(path.as_ref())?.path)
    }

    /// Removes a directory with all that is in it, and all entries below it.
    ///
    /// # Errors
    /// [`Error::NotAFile`] when there is something below it that is neither a file nor a directory, before anything is removed; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Usage`].
    pub fn delete_directory(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let directory = self.locate(path.as_ref())?;
        let _span = observe::span!(
            DEBUG,
            "delete_directory",
            directory = directory.name.as_str()
        );
        let _alone = self.name_locks.lock_all();
        if fsops::exists(&directory.path)? {
            let tree = fsops::tree(&directory.path)?;
            for file in &tree.files {
                fsops::unlink(file)?;
            }
            for directory in tree.directories.iter().rev() {
                // The files' names must be gone for good before their entries are.
                fsops::sync_directory(directory)?;
                fsops::remove_directory(directory)?;
            }
            fsops::sync_parent(&directory.path)?;
        }
        let below = self.entries_below(&directory);
        self.entries
            .change_all(below.into_iter().map(|(name, _)| (name, Change::Remove)))
    }

    /// Renames a directory with all that is in it. There must be nothing at `to`.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `to`; [`Error::NotAFile`] when `from` is no directory; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Usage`].
    pub fn rename_directory(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let (from, to) = (self.locate(from.as_ref())?, self.locate(to.as_ref())?);
        let (source, target) = (from.name.as_str(), to.name.as_str());
        let _span = observe::span!(DEBUG, "rename_directory", from = source, to = target);
        let _alone = self.name_locks.lock_all();
        fsops::tree(&from.path)?;
        if fsops::exists(&to.path)? {
            return Err(Error::AlreadyExists { path: to.path });
        }
        expect_directory(&to.path)?;
        let stale = self.entries_below(&to).into_iter();
        self.entries
            .change_all(stale.map(|(name, _)| (name, Change::Remove)))?;
        let moving = self.entries_below(&from);
        let moved = moving.iter().map(|(name, info)| {
            let rest = self.rest_below(&from, name).unwrap_or_default();
            (format!("{}/{rest}", to.name), Change::Insert(info.clone()))
        });
        self.entries.change_all(moved)?;
        if let Err(error) = fsops::rename(&from.path, &to.path) {
            if matches!(fsops::exists(&to.path), Ok(false)) {
                let undone = self.entries_below(&to).into_iter();
                // What this can't remove are entries without a file.
                let _ = self
                    .entries
                    .change_all(undone.map(|(name, _)| (name, Change::Remove)));
            }
            return Err(error);
        }
        self.entries
            .change_all(moving.into_iter().map(|(name, _)| (name, Change::Remove)))
    }

    /// The entries of files below a directory, under names of either kind.
    fn entries_below(&self, directory: &Located) -> Vec<(String, FileInfo)> {
        self.entries.survey(|files| {
            let entries = files.unsorted();
            let below = entries.filter(|(name, _)| self.rest_below(directory, name).is_some());
            below
                .map(|(name, info)| (name.to_owned(), info.clone()))
                .collect()
        })
    }

    /// The name of an entry from a directory on, if it is below it.
    fn rest_below<'n>(&self, directory: &Located, name: &'n str) -> Option<&'n str> {
        let kinds = [Some(&directory.name), directory.other.as_ref()];
        kinds
            .into_iter()
            .flatten()
            .find_map(|directory| name.strip_prefix(directory.as_str())?.strip_prefix('/'))
    }

    /// A file's entry, with the name that it has.
    pub(super) fn find(&self, file: &Located) -> Option<(String, FileInfo)> {
        let names = [Some(&file.name), file.other.as_ref()];
        names
            .into_iter()
            .flatten()
            .find_map(|name| Some((name.clone(), self.entries.find(name)?)))
    }

    /// Removes a file's entry, and an older one under the other kind of name that would otherwise come to light.
    pub(super) fn forget_entries(&self, file: &Located) -> Result<(), Error> {
        self.entries.remove_entry(&file.name)?;
        match &file.other {
            Some(other) => self.entries.remove_entry(other).map(drop),
            None => Ok(()),
        }
    }

    /// After a failure: the entry of a file that never came to be would only be in the way.
    fn forget_entry_of_missing(&self, file: &Located) {
        if matches!(fsops::exists(&file.path), Ok(false)) {
            // What this can't remove is an entry without a file.
            let _ = self.forget_entries(file);
        }
    }

    fn expect_untracked_allowed(&self, file: &Located) -> Result<(), Error> {
        match self.untracked {
            Untracked::Plaintext => Ok(()),
            Untracked::Refuse => Err(self.without_entry(file)),
        }
    }

    pub(super) fn without_entry(&self, file: &Located) -> Error {
        let absent = NotFound::File(file.name.clone());
        Error::data(&self.layout().file_dict)(absent.into())
    }
}

/// That there is a directory for a file that is to be made.
fn expect_directory(path: &Path) -> Result<(), Error> {
    let directory = fsops::parent(path);
    if fsops::exists(directory)? {
        return Ok(());
    }
    Err(Error::io(directory, "open")(
        std::io::ErrorKind::NotFound.into(),
    ))
}

/// Keeps changes of the same file apart. Files whose names fall together wait for each other, too.
#[derive(Debug)]
pub(super) struct NameLocks {
    /// Held for writing by whoever changes whole directories.
    tree: RwLock<()>,
    names: [Mutex<()>; 64],
    hasher: RandomState,
}

impl Default for NameLocks {
    fn default() -> Self {
        Self {
            tree: RwLock::default(),
            names: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct NameGuard<'l> {
    _names: Vec<MutexGuard<'l, ()>>,
    _tree: RwLockReadGuard<'l, ()>,
}

impl NameLocks {
    /// Until the guard is dropped, nobody else changes these files.
    pub(super) fn lock(&self, files: &[&Located]) -> NameGuard<'_> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let slots = self.names.len() as u64;
        let mut slots: Vec<_> = files
            .iter()
            .map(|file| self.hasher.hash_one(&file.path) % slots)
            .collect();
        // In the same order for everyone, so that nobody waits in a circle.
        slots.sort_unstable();
        slots.dedup();
        let names = (0_u64..).zip(&self.names);
        let names = names.filter(|(slot, _)| slots.contains(slot));
        NameGuard {
            _names: names.map(|(_, name)| held(name)).collect(),
            _tree: tree,
        }
    }

    /// Until the guard is dropped, nobody else changes any file.
    pub(super) fn lock_all(&self) -> RwLockWriteGuard<'_, ()> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which files are open for writing, so that no re-encryption overtakes their writers.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// How many writers each file has, and has had since it was last looked at.
    files: Mutex<HashMap<FileId, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    open: usize,
    /// Whether someone wants to know of writers that come and go.
    watched: bool,
    came: bool,
}

/// A writer of a file, until this is dropped. It keeps the directory's lock, so that no other manager takes
/// the file for one that nobody writes.
#[derive(Debug)]
struct Writing {
    writers: Arc<Writers>,
    file: FileId,
    _lock: Arc<Lock>,
}

impl Writers {
    fn register(
        self: &Arc<Self>,
        file: &std::fs::File,
        path: &Path,
        lock: Arc<Lock>,
    ) -> Result<Writing, Error> {
        let file = fsops::identity(file, path)?.id;
        let mut files = held(&self.files);
        let count = files.entry(file).or_default();
        count.open += 1;
        count.came = true;
        Ok(Writing {
            writers: Arc::clone(self),
            file,
            _lock: lock,
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writers.change(self.file, |count| count.open -= 1);
    }
}

impl Writers {
    fn change<T>(&self, file: FileId, change: impl FnOnce(&mut Count) -> T) -> T {
        let mut files = held(&self.files);
        let count = files.entry(file).or_default();
        let changed = change(count);
        if count.open == 0 && !count.watched {
            files.remove(&file);
        }
        changed
    }

    /// Begins to watch a file for writers.
    pub(super) fn watch(self: &Arc<Self>, file: FileId) -> Watch {
        self.change(file, |count| {
            count.watched = true;
            count.came = count.open > 0;
        });
        Watch {
            writers: Arc::clone(self),
            file,
        }
    }
}

/// A file that is watched for writers, by one at a time, until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    writers: Arc<Writers>,
    file: FileId,
}

impl Watch {
    /// Whether the file has or had a writer since it is being watched.
    pub(super) fn saw_writer(&self) -> bool {
        self.writers.change(self.file, |count| count.came)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.writers
            .change(self.file, |count| count.watched = false);
    }
}
