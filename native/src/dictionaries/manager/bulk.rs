//! Many changes without waiting for the disk after each.

use stillkey_core::FileInfo;

use super::commit::{Change, Durability};
use super::{DataKeyManager, FileKey, held};
use crate::error::Error;

/// Changes of entries that count at once, and are durable once [`Bulk::sync_all`] has returned: for imports of many files, none of which is
/// relied on before all are there. A crash before that may take back the last of them, in no state but one that they went through.
///
/// ```
/// # use stillkey::core::{MasterKey, Method, RawMasterKey};
/// # use stillkey::{DataKeyManager, DictionaryWriter, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// # let writer = DictionaryWriter::create(directory.path(), &master_key, Method::Aes256Ctr, unix_now())?;
/// # let manager = DataKeyManager::new(writer)?;
/// let bulk = manager.bulk();
/// for number in 0..1000 {
///     bulk.new_entry(&format!("{number}.sst"))?;
/// }
/// bulk.sync_all()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bulk<'m> {
    manager: &'m DataKeyManager,
}

impl DataKeyManager {
    /// Changes of entries that don't wait for the disk.
    pub fn bulk(&self) -> Bulk<'_> {
        Bulk { manager: self }
    }
}

impl Bulk<'_> {
    /// As [`DataKeyManager::new_entry`].
    ///
    /// # Errors
    /// Those of [`DataKeyManager::new_entry`].
    pub fn new_entry(&self, name: &str) -> Result<FileKey, Error> {
        self.manager.insert_new(name, Durability::Later)
    }

    /// As [`DataKeyManager::set_entry`].
    ///
    /// # Errors
    /// Those of [`DataKeyManager::set_entry`].
    pub fn set_entry(&self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        self.manager.insert(name, info, Durability::Later)
    }

    /// As [`DataKeyManager::remove_entry`].
    ///
    /// # Errors
    /// Those of [`DataKeyManager::remove_entry`].
    pub fn remove_entry(&self, name: &str) -> Result<Option<FileInfo>, Error> {
        self.manager.submit(name, Change::Remove, Durability::Later)
    }

    /// Returns when all changes that have been made are durable.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing is known of the changes since the last sync, but they are tried again with the next one.
    pub fn sync_all(&self) -> Result<(), Error> {
        let mut log_file = held(&self.manager.log_file);
        log_file.sync_all(&self.manager.view().files)
    }
}
