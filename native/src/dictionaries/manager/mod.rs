//! What the directory of a storage engine holds: its files, each in step with its entry.

mod directories;
mod files;
mod located;
mod locks;
mod moves;
mod options;
mod reconcile;
mod recovery;
mod rekey;
mod replacement;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use stillkey_core::MasterKey;

use super::entries::{Change, Entries, held};
use super::{FileKey, Layout};
use crate::error::Error;
use crate::observe;

use directories::Directories;
use locks::{NameLocks, Writers};
use replacement::Replacing;

pub use files::{ManagedFile, Untracked};
pub use located::{Names, data_path};
pub use options::ManagerOptions;
pub use reconcile::Mismatches;
pub use rekey::{RekeyProgress, RekeyReport, RekeySelection};
pub(super) use replacement::SECOND_NAMES;
pub use replacement::is_unfinished;

/// The files of a directory and their entries, changed by many threads at once. Holds the directory's lock
/// for as long as it, or a file that it opened for writing, lives.
///
/// When a method returns, its change is durable; when it fails, the change hasn't happened. Paths are
/// below the directory; each method changes both the entry and the file, in the order in which no crash
/// does harm. What concerns keys and entries alone is in [`entries`](Self::entries). An engine that handles
/// its files itself needs no more than [`Entries`].
///
/// # Reserved names
///
/// No data file can have these, wherever it is below the directory; a call with one is
/// [`Error::Usage`]:
///
/// - names that end in `.stillkey-new` or `.stillkey-old`: what a replacement keeps beside the file
///   until it is done ([`is_unfinished`]);
/// - `.NAME.RANDOM.tmp`, `key.NUMBER.tmp` and `file.NUMBER.tmp`: temporary files of
///   [`AtomicFile`](crate::AtomicFile) and TiKV ([`is_leftover`](crate::is_leftover));
/// - at the top of the directory, those of the dictionaries: `key.dict`, `file.dict`, `stillkey.lock`
///   and the side files ([`is_dictionary_file`](crate::is_dictionary_file)).
///
/// ```
/// use stillkey::core::{MasterKey, RawMasterKey};
/// use stillkey::{DataKeyManager, ManagerOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let manager = DataKeyManager::open_or_create(directory, ManagerOptions::new(master_key))?;
/// std::thread::scope(|scope| {
///     for name in ["1.log", "2.log", "3.log"] {
///         let manager = &manager;
///         scope.spawn(move || -> std::io::Result<()> {
///             let log = manager.create_file(name).map_err(std::io::Error::other)?;
///             log.file().write_all_at(b"first entry", 0)
///         });
///     }
/// });
/// manager.rename_file("2.log", "4.log")?;
/// let mut word = [0; 5];
/// manager.open_file("4.log")?.file().read_exact_at(&mut word, 6)?;
/// assert_eq!(&word, b"entry");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DataKeyManager {
    entries: Arc<Entries>,
    names: Names,
    untracked: Untracked,
    name_locks: NameLocks,
    replacing: Replacing,
    writers: Arc<Writers>,
    directories: Directories,
}

impl DataKeyManager {
    /// Opens the dictionaries of a directory, as [`Entries::open`] does, and finishes or undoes what a crash
    /// has interrupted.
    ///
    /// # Errors
    /// Those of [`Entries::open`] and [`DataKeyManager::new`].
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        Self::new(Entries::open(directory, master_key)?)
    }

    /// Takes care of the files of these entries, and finishes or undoes the replacements of files that a
    /// crash has interrupted.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn new(entries: Entries) -> Result<Self, Error> {
        let directories = Directories::new(entries.directory());
        let manager = Self {
            entries: Arc::new(entries),
            names: Names::default(),
            untracked: Untracked::default(),
            name_locks: NameLocks::default(),
            replacing: Replacing::default(),
            writers: Arc::default(),
            directories,
        };
        manager.recover()?;
        let entries = &manager.entries;
        observe::opened(manager.directory(), entries.len(), entries.keys().len());
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
        self.entries.directory()
    }

    /// The entries and data keys: lookups, rotation, retirement, compaction.
    pub fn entries(&self) -> &Arc<Entries> {
        &self.entries
    }

    fn layout(&self) -> &Layout {
        self.entries.layout()
    }
}
