//! Data keys that no file uses any more, kept aside for a while: `retired.dict`, which has the form of `key.dict` and is sealed under the same
//! master key.
//!
//! When the master key changes, the keys are first sealed under the new one in a second file, which takes the first one's place once
//! `key.dict` has changed. So whichever master key opens `key.dict` opens one of the two.

use std::path::{Path, PathBuf};

use stillkey_core::{KeyDictionary, MasterKey};

use super::reader::read_key_dictionary;
use super::sealed_keys::seal;
use crate::error::{Error, ErrorKind};
use crate::{fsops, install};

#[derive(Debug)]
pub(super) struct RetiredDictionary {
    path: PathBuf,
    next: PathBuf,
}

impl RetiredDictionary {
    /// Those of the directory that this `key.dict` stands in.
    pub(super) fn beside(key_dict: &Path) -> Self {
        Self {
            path: key_dict.with_file_name(super::RETIRED_DICT),
            next: key_dict.with_file_name(super::NEXT_RETIRED_DICT),
        }
    }

    /// Reads them; none when there is no file. What an interrupted change of the master key left is finished or undone.
    pub(super) fn read(&self, master_key: &MasterKey) -> Result<KeyDictionary, Error> {
        match read(&self.path, master_key) {
            Err(error) if error.kind() == ErrorKind::WrongKey && fsops::exists(&self.next)? => {
                let keys = read_key_dictionary(&self.next, master_key)?;
                fsops::rename(&self.next, &self.path)?;
                Ok(keys)
            }
            read => {
                let keys = read?;
                fsops::remove(&self.next)?;
                Ok(keys)
            }
        }
    }

    /// Replaces them.
    pub(super) fn write(
        &self,
        mut keys: KeyDictionary,
        master_key: &MasterKey,
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return fsops::remove(&self.path);
        }
        let sealed = seal(&mut keys, master_key, &self.path)?;
        install::write_file(&*self.path, &sealed, true)
    }

    /// To be called before `key.dict` is sealed under another master key, and [`RetiredDictionary::take_next`] after that.
    pub(super) fn prepare_next(&self, old: &MasterKey, new: &MasterKey) -> Result<(), Error> {
        let mut keys = self.read(old)?;
        if keys.is_empty() {
            return Ok(());
        }
        let sealed = seal(&mut keys, new, &self.next)?;
        install::write_file(&*self.next, &sealed, true)
    }

    pub(super) fn take_next(&self) -> Result<(), Error> {
        if fsops::exists(&self.next)? {
            fsops::rename(&self.next, &self.path)?;
        }
        Ok(())
    }
}

fn read(path: &Path, master_key: &MasterKey) -> Result<KeyDictionary, Error> {
    match read_key_dictionary(path, master_key) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(KeyDictionary::new()),
        read => read,
    }
}
