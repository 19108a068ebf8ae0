//! How a manager is opened: where the whole of the library begins.

use std::path::Path;

use stillkey_core::{MasterKey, Method, RotationPolicy};

use super::super::entries::Entries;
use super::super::startup::Startup;
use super::{DataKeyManager, Names, Untracked};
use crate::clock::unix_now;
use crate::error::Error;

/// What a [`DataKeyManager`] needs to know: a master key, and what differs from the defaults.
///
/// ```
/// use stillkey::core::{MasterKey, Method, RawMasterKey, RotationPolicy};
/// use stillkey::{DataKeyManager, ManagerOptions, Names, SysRng};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut SysRng)?);
/// let policy = RotationPolicy { method: Method::Sm4Ctr, ..RotationPolicy::default() };
/// let options = ManagerOptions::new(master_key).with_policy(policy).with_names(Names::AsGiven);
/// let manager = DataKeyManager::open_or_create(directory, options)?;
/// manager.create_file("000001.log")?.file().write_all_at(b"first entry", 0)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ManagerOptions<'a> {
    master_key: MasterKey,
    method: Method,
    startup: Startup<'a>,
    names: Names,
    untracked: Untracked,
}

impl<'a> ManagerOptions<'a> {
    /// New files use AES-256-CTR, and a new data key every seven days.
    pub fn new(master_key: MasterKey) -> Self {
        let policy = RotationPolicy::default();
        Self {
            master_key: master_key.clone(),
            method: policy.method,
            startup: Startup::new("", policy, master_key),
            names: Names::default(),
            untracked: Untracked::default(),
        }
    }

    /// How new files are encrypted, and when the data key is replaced.
    #[must_use]
    pub fn with_policy(mut self, policy: RotationPolicy) -> Self {
        self.method = policy.method;
        self.startup = self.startup.with_policy(policy);
        self
    }

    /// As [`Startup::with_previous_master_key`].
    #[must_use]
    pub fn with_previous_master_key(
        mut self,
        load: impl Fn() -> Result<MasterKey, Error> + 'a,
    ) -> Self {
        self.startup = self.startup.with_previous_master_key(load);
        self
    }

    /// As [`DataKeyManager::with_names`].
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// As [`DataKeyManager::with_untracked`].
    #[must_use]
    pub fn with_untracked(mut self, untracked: Untracked) -> Self {
        self.untracked = untracked;
        self
    }
}

impl DataKeyManager {
    /// Opens a data directory, or makes one with its dictionaries. A data key that is due is replaced, a
    /// change of the master key is carried out, and what a crash has interrupted is finished or undone.
    ///
    /// ```
    /// use stillkey::core::MasterKey;
    /// use stillkey::{DataKeyManager, ManagerOptions, create_master_key_file};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let place = tempfile::tempdir()?;
    /// # let (key_file, data) = (place.path().join("keys/master.key"), place.path().join("data"));
    /// let master_key = MasterKey::Raw(create_master_key_file(&key_file)?);
    /// let options = ManagerOptions::new(master_key.clone());
    /// let manager = DataKeyManager::open_or_create(&data, options)?;
    /// let log = manager.create_file("1.log")?;
    /// log.file().write_all_at(b"first entry", 0)?;
    /// log.file().sync()?;
    /// drop((log, manager));
    ///
    /// let manager = DataKeyManager::open_or_create(&data, ManagerOptions::new(master_key))?;
    /// manager.rename_file("1.log", "2.log")?;
    /// let mut word = [0; 5];
    /// manager.open_file("2.log")?.file().read_exact_at(&mut word, 6)?;
    /// assert_eq!(&word, b"entry");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Startup::start`] and [`DataKeyManager::new`]; [`Error::Locked`] while another process, or a
    /// manager or an open writer of this one, has the directory.
    pub fn open_or_create(
        directory: impl AsRef<Path>,
        options: ManagerOptions<'_>,
    ) -> Result<Self, Error> {
        let (directory, now) = (directory.as_ref(), unix_now());
        let entries = match options.startup.at(directory).start(now)? {
            Some(started) => started.entries,
            // Nothing is to be encrypted, and nothing was; its files have entries all the same.
            None => Entries::create(directory, &options.master_key, options.method, now)?,
        };
        let manager = Self::new(entries)?;
        Ok(manager
            .with_names(options.names)
            .with_untracked(options.untracked))
    }
}
