//! Single files with their entries, in the order in which no crash does harm: an entry may lack its file, a
//! file never its entry.

use std::path::Path;

use stillkey_core::FileInfo;
use stillkey_core::error::NotFound;

use super::super::entries::Durability;
use super::located::Located;
use super::locks::Writing;
use super::{Change, DataKeyManager};
use crate::error::Error;
use crate::file::EncryptedFile;
use crate::fsops::{self, Access};
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
    /// Makes a file with a data key and IV of its own, open for reading and writing. What is there already is
    /// removed first.
    ///
    /// # Errors
    /// [`Error::Usage`] for a path that isn't below the directory, or leads through a symbolic link;
    /// [`Error::NotAFile`]; [`Error::Io`], also when the directory of the file is missing; those of
    /// [`Entries::new_entry`](crate::Entries::new_entry).
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        self.create(path.as_ref(), true)
    }

    /// As [`DataKeyManager::create_file`], but what is there already is left alone.
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
        self.settle(&file)?;
        self.directories.expect(fsops::parent(&file.path))?;
        if fsops::exists(&file.path)? {
            if !overwrite {
                return Err(Error::AlreadyExists { path: file.path });
            }
            // The bytes must be gone before the entry that they need.
            fsops::expect_file(&file.path)?;
            self.remove(&file)?;
        } else {
            self.directories
                .prove_absent(&file, self.find(&file).is_some())?;
        }
        let displaced = self.other_names(&file);
        let key = self
            .entries
            .insert_new(&file.name, displaced, Durability::Now)?;
        let created = fsops::create_new(&file.path)
            .and_then(|created| fsops::sync_parent(&file.path).map(|()| created));
        let created = created.inspect_err(|_| self.forget_entries_of_missing(&file))?;
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
    /// [`Error::Data`] when the file has no entry (unless [`Untracked::Plaintext`] is set), or one that can't
    /// be used; [`Error::NotAFile`]; [`Error::Io`]; [`Error::Usage`] for a path that isn't below the
    /// directory, or leads through a symbolic link.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        let file = self.locate(path.as_ref())?;
        // A replacement changes the file's entry, so an entry that stands before and after the opening is
        // that of what was opened.
        let before = self.find(&file).map(|(_, info)| info);
        // No entry twice says less: a file may have come, and gone again, with its entry in between.
        if before.is_some()
            && let Ok(opened) = fsops::open(&file.path, Access::Read)
            && self.find(&file).map(|(_, info)| info) == before
        {
            return self.managed(opened, &file, before, None);
        }
        let _locks = self.name_locks.lock(&[&file]);
        self.settle(&file)?;
        let info = self.find(&file).map(|(_, info)| info);
        let opened = fsops::open(&file.path, Access::Read)?;
        self.managed(opened, &file, info, None)
    }

    /// Opens a file for reading and writing. Bytes that are overwritten share their keystream with those that
    /// were there: someone who has a copy of the file from before can compute the difference of the two.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::open_file`].
    pub fn open_file_writable(&self, path: impl AsRef<Path>) -> Result<ManagedFile, Error> {
        let file = self.locate(path.as_ref())?;
        let _locks = self.name_locks.lock(&[&file]);
        self.settle(&file)?;
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
    /// [`Error::Data`] when it has no entry (unless [`Untracked::Plaintext`] is set); [`Error::NotAFile`];
    /// [`Error::Io`]; [`Error::Suspended`]; [`Error::Usage`].
    pub fn delete_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let file = self.locate(path.as_ref())?;
        let _span = observe::span!(DEBUG, "delete_file", file = file.name.as_str());
        let _locks = self.name_locks.lock(&[&file]);
        self.settle(&file)?;
        if self.find(&file).is_none() {
            self.expect_untracked_allowed(&file)?;
        }
        if fsops::exists(&file.path)? {
            fsops::expect_file(&file.path)?;
        }
        self.remove(&file)?;
        self.forget_entries(&file)
    }

    fn remove(&self, file: &Located) -> Result<(), Error> {
        let removed = fsops::remove(&file.path);
        removed.inspect_err(|_| self.directories.forget(fsops::parent(&file.path)))
    }

    /// A file's entry, with the name that it has. Where it has several, that of a new entry comes first.
    pub(super) fn find(&self, file: &Located) -> Option<(String, FileInfo)> {
        let entries = self.entries.at(&file.place, &file.name);
        entries.into_iter().next()
    }

    /// The other names under which a file has entries, which would come to light once this one goes.
    pub(super) fn other_names(&self, file: &Located) -> Vec<Box<str>> {
        let entries = self.entries.at(&file.place, &file.name).into_iter();
        let others = entries.filter(|(name, _)| *name != file.name);
        others.map(|(name, _)| name.into()).collect()
    }

    /// Sets a file's entry, and removes those of its other names in the same write.
    pub(super) fn set_entry(&self, file: &Located, info: FileInfo) -> Result<(), Error> {
        let displaced = self.other_names(file);
        self.entries
            .insert(&file.name, info, displaced, Durability::Now)
            .map(drop)
    }

    /// Removes a file's entries, under all of its names.
    pub(super) fn forget_entries(&self, file: &Located) -> Result<(), Error> {
        let entries = self.entries.at(&file.place, &file.name).into_iter();
        self.entries
            .change_all(entries.map(|(name, _)| (name, Change::Remove)))
    }

    /// After a failure: the entry of a file that never came to be would only be in the way.
    pub(super) fn forget_entries_of_missing(&self, file: &Located) {
        if matches!(fsops::exists(&file.path), Ok(false))
            && self.directories.prove_absent(file, true).is_ok()
        {
            // What this can't remove is an entry without a file.
            let _ = self.forget_entries(file);
        }
    }

    pub(super) fn expect_untracked_allowed(&self, file: &Located) -> Result<(), Error> {
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
