//! Data keys that no file uses any more, kept aside for a while: `retired.dict`, which has the form of `key.dict` and is sealed under the same
//! master key.
//!
//! When the master key changes, the keys are first sealed under the new one in a second file, which takes the first one's place once
//! `key.dict` has changed. So whichever master key opens `key.dict` opens one of the two.

use std::path::Path;

use stillkey_core::{KeyDictionary, MasterKey};

use super::reader::read_key_dictionary;
use super::sealed_keys::seal;
use crate::durable::DurableFile;
use crate::error::{Error, ErrorKind};
use crate::fsops::{self, Access};

/// Reads the data keys that a directory has put aside, without a lock and without a write. Each says in
/// [`KeyEntry::retired_at`](stillkey_core::KeyEntry::retired_at) since when. None when there is no such file.
///
/// # Errors
/// Those of [`read_key_dictionary`].
pub fn read_retired_keys(
    directory: impl AsRef<Path>,
    master_key: &MasterKey,
) -> Result<KeyDictionary, Error> {
    let directory = directory.as_ref();
    let read = |name| read_key_dictionary(directory.join(name), master_key);
    let is_elsewhere =
        |error: &Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WrongKey);
    match read(super::RETIRED_DICT) {
        // While the master key changes, the keys are in the other file, under the new one.
        Err(error) if is_elsewhere(&error) => match read(super::NEXT_RETIRED_DICT) {
            Err(next) if next.kind() == ErrorKind::NotFound => match error.kind() {
                ErrorKind::NotFound => Ok(KeyDictionary::new()),
                _ => Err(error),
            },
            keys => keys,
        },
        keys => keys,
    }
}

/// The two files, once their directory has been synced. `key.dict` must be durable under the master key that
/// is used for them.
#[derive(Debug)]
pub(super) struct RetiredDictionary {
    file: DurableFile,
    next: DurableFile,
}

impl RetiredDictionary {
    /// Those of the directory that this `key.dict` stands in.
    pub(super) fn find(key_dict: &Path) -> Result<Self, Error> {
        fsops::sync_parent(key_dict)?;
        let find = |name| DurableFile::find(&key_dict.with_file_name(name), Access::Read);
        Ok(Self {
            file: find(super::RETIRED_DICT)?,
            next: find(super::NEXT_RETIRED_DICT)?,
        })
    }

    /// Reads them; none when there is no file. What an interrupted change of the master key left is finished or undone.
    pub(super) fn read(&mut self, master_key: &MasterKey) -> Result<KeyDictionary, Error> {
        match read(&self.file, master_key) {
            Ok(Some(keys)) => {
                self.next.remove()?;
                Ok(keys)
            }
            Ok(None) if !self.next.exists() => Ok(KeyDictionary::new()),
            Err(error) if error.kind() != ErrorKind::WrongKey || !self.next.exists() => Err(error),
            _ => {
                let keys = read_key_dictionary(self.next.path(), master_key)?;
                self.next.move_over(&mut self.file)?;
                Ok(keys)
            }
        }
    }

    /// What [`RetiredDictionary::put`] takes.
    pub(super) fn seal(
        &self,
        mut keys: KeyDictionary,
        master_key: &MasterKey,
    ) -> Result<Option<Vec<u8>>, Error> {
        if keys.is_empty() {
            return Ok(None);
        }
        seal(&mut keys, master_key, self.file.path()).map(Some)
    }

    /// Replaces them; by none for `None`.
    pub(super) fn put(&mut self, sealed: Option<&[u8]>) -> Result<(), Error> {
        match sealed {
            Some(sealed) => self.file.replace(sealed),
            None => self.file.remove(),
        }
    }

    /// To be called before `key.dict` is sealed under another master key, and [`RetiredDictionary::take_next`] after that.
    pub(super) fn prepare_next(&mut self, old: &MasterKey, new: &MasterKey) -> Result<(), Error> {
        let mut keys = self.read(old)?;
        if keys.is_empty() {
            return Ok(());
        }
        let sealed = seal(&mut keys, new, self.next.path())?;
        self.next.replace(&sealed)
    }

    pub(super) fn take_next(&mut self) -> Result<(), Error> {
        if !self.next.exists() {
            return Ok(());
        }
        self.next.move_over(&mut self.file)
    }
}

fn read(file: &DurableFile, master_key: &MasterKey) -> Result<Option<KeyDictionary>, Error> {
    if !file.exists() {
        return Ok(None);
    }
    read_key_dictionary(file.path(), master_key).map(Some)
}
