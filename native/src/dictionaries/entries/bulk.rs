//! Many changes without waiting for the disk after each.

use stillkey_core::FileInfo;

use super::commit::{Change, Durability, Request};
use super::{Entries, FileKey, held};
use crate::error::Error;

/// Changes of entries that count at once, and are durable once [`Bulk::sync_all`] has returned: for imports of many files, none of which is
/// relied on before all are there. A crash before that may take back the last of them, in no state but one that they went through.
///
/// ```
/// # use stillkey::core::{MasterKey, Method, RawMasterKey};
/// # use stillkey::{Entries, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// # let entries = Entries::create(directory.path(), &master_key, Method::Aes256Ctr, unix_now())?;
/// let bulk = entries.bulk();
/// for number in 0..1000 {
///     bulk.new_entry(&format!("{number}.sst"))?;
/// }
/// bulk.sync_all()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bulk<'e> {
    entries: &'e Entries,
}

impl Entries {
    /// Changes of entries that don't wait for the disk.
    pub fn bulk(&self) -> Bulk<'_> {
        Bulk { entries: self }
    }
}

impl Bulk<'_> {
    /// As [`Entries::new_entry`].
    ///
    /// # Errors
    /// Those of [`Entries::new_entry`].
    pub fn new_entry(&self, name: &str) -> Result<FileKey, Error> {
        self.entries.insert_new(name, Vec::new(), Durability::Later)
    }

    /// As [`Entries::set_entry`].
    ///
    /// # Errors
    /// Those of [`Entries::set_entry`].
    pub fn set_entry(&self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        self.entries
            .insert(name, info, Vec::new(), Durability::Later)
    }

    /// As [`Entries::remove_entry`].
    ///
    /// # Errors
    /// Those of [`Entries::remove_entry`].
    pub fn remove_entry(&self, name: &str) -> Result<Option<FileInfo>, Error> {
        self.entries
            .submit(Request::new(name, Change::Remove, Durability::Later))
    }

    /// Returns when all changes that have been made are durable.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing is known of the changes since the last sync, but they are tried again with the next one.
    pub fn sync_all(&self) -> Result<(), Error> {
        let mut log_file = held(&self.entries.log_file);
        log_file.sync_all(&self.entries.view().files)
    }
}
