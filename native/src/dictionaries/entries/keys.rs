//! Data keys and the master key, changed while files go on being created.

use std::collections::HashSet;
use std::mem;

use stillkey_core::{DataKey, MasterKey, Method, RotationPolicy, RotationReason};

use super::super::sealed_keys::SealedKeys;
use super::super::sync::PoisonError;
use super::{Entries, KeyRing, check_protection, held};
use crate::error::Error;
use crate::observe;

/// What became of data keys that no file uses: their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetiredKeys {
    /// Keys that are now in the side file.
    pub retired: Vec<u64>,
    /// Keys that were there long enough, and are gone.
    pub forgotten: Vec<u64>,
}

impl Entries {
    /// Makes a new data key for new files if one is due by `policy`, and returns why. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`Entries::rotation_due`] and [`Entries::rotate_data_key`].
    pub fn rotate_if_due(
        &self,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        let due = self.due(&sealed_keys, policy, now)?;
        if due.is_some() {
            self.rotate(&mut sealed_keys, policy.method, now, due)?;
        }
        Ok(due)
    }

    /// Whether new files need another data key, and why. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Error::Data`] when `key.dict` doesn't hold the key that it calls current.
    pub fn rotation_due(
        &self,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        self.due(&held(&self.sealed_keys), policy, now)
    }

    fn due(
        &self,
        sealed_keys: &SealedKeys,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        let is_secure = sealed_keys.master_key().is_secure();
        let due = sealed_keys.keys().rotation_due(policy, is_secure, now);
        due.map_err(Error::data(&self.layout.key_dict))
    }

    /// Makes a new data key for new files, and returns its id. Old keys and files stay as they are, and files go on being created meanwhile.
    /// `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Error::Usage`] when `method` encrypts and the master key is plaintext, or when a key service sealed
    /// `key.dict` and the master key is only the key that it wrapped; [`Error::Io`]; [`Error::Suspended`];
    /// [`Error::Core`] when random numbers or the key service fail.
    pub fn rotate_data_key(&self, method: Method, now: u64) -> Result<u64, Error> {
        self.rotate_data_key_for(None, method, now)
    }

    pub(in super::super) fn rotate_data_key_for(
        &self,
        reason: Option<RotationReason>,
        method: Method,
        now: u64,
    ) -> Result<u64, Error> {
        self.rotate(&mut held(&self.sealed_keys), method, now, reason)
    }

    fn rotate(
        &self,
        sealed_keys: &mut SealedKeys,
        method: Method,
        now: u64,
        reason: Option<RotationReason>,
    ) -> Result<u64, Error> {
        let _span =
            observe::span!(INFO, "rotate_data_key", directory => self.directory().display());
        check_protection(method, sealed_keys.master_key())?;
        let id = sealed_keys.rotate(method, now, reason)?;
        self.publish(sealed_keys);
        Ok(id)
    }

    /// Seals the data keys under another master key, while files go on being created. The keys stay the
    /// same, and so does `file.dict`. The old master key is dropped once that is durable.
    ///
    /// Keep the old master key until this has returned: when it fails, `key.dict` is under one of the two.
    /// Under [`MasterKey::Plaintext`], every data key counts as exposed from then on.
    ///
    /// # Errors
    /// [`Error::Data`] when the new master key can't open what it has sealed, before anything is written;
    /// [`Error::Io`]; [`Error::Suspended`]; [`Error::Core`].
    pub fn rotate_master_key(&self, master_key: &MasterKey) -> Result<(), Error> {
        let _span =
            observe::span!(INFO, "rotate_master_key", directory => self.directory().display());
        let mut sealed_keys = held(&self.sealed_keys);
        sealed_keys.rotate_master_key(master_key)?;
        self.publish(&sealed_keys);
        Ok(())
    }

    /// Has the key service wrap the key of `key.dict` anew if its master key has moved on to another version since, and returns whether it
    /// did: a version can then be disabled that nothing needs any more. Without a key service, or one that reports versions, there is nothing
    /// to do.
    ///
    /// # Errors
    /// [`Error::Core`] when the service can't be asked; those of [`Entries::rotate_master_key`]. What was wrapped stays good.
    pub fn renew_wrapped_key(&self) -> Result<bool, Error> {
        held(&self.sealed_keys).renew_wrapped_key()
    }

    /// Only what is durable: a key that new files use must outlive them.
    fn publish(&self, sealed_keys: &SealedKeys) {
        let keys = KeyRing::new(sealed_keys);
        let mut turn = held(&self.log_file);
        let before = self.change_view(&mut turn, |view| mem::replace(&mut view.keys, keys));
        // Not while look-ups wait.
        drop(before);
    }

    /// Puts data keys aside that no file uses, in the side file `retired.dict` under the same master key, and forgets those that have been
    /// there for `grace` seconds. A key there that an entry names again stays, and is back
    /// when the directory is opened. The current key stays, and so does one that is younger than that: a file for it may be on its way.
    /// `now`: seconds since 1970-01-01 UTC.
    ///
    /// An entry that an engine keeps elsewhere, a backup of `file.dict` for example, may still need such a key: choose `grace` accordingly, and
    /// see [`Entries::restore_keys`].
    ///
    /// # Errors
    /// [`Error::Data`] when the side file can't be read; those of [`Entries::rotate_data_key`].
    pub fn retire_keys(&self, grace: u64, now: u64) -> Result<RetiredKeys, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        loop {
            // A key service may take its time; entries are made meanwhile.
            let plan = sealed_keys.plan_retirement(&self.used_keys()?, grace, now)?;
            // Until the keys are gone, no entry is made that could name one of them.
            let _alone = self.issuing.write().unwrap_or_else(PoisonError::into_inner);
            if !plan.spares(&self.used_keys()?) {
                continue;
            }
            let outcome = RetiredKeys {
                retired: plan.retired.clone(),
                forgotten: plan.forgotten.clone(),
            };
            sealed_keys.carry_out(plan)?;
            self.publish(&sealed_keys);
            return Ok(outcome);
        }
    }

    /// What [`Entries::retire_keys`] would do with this `grace` now. No key is moved.
    ///
    /// # Errors
    /// Those of [`Entries::retire_keys`].
    pub fn retirable_keys(&self, grace: u64, now: u64) -> Result<RetiredKeys, Error> {
        let used = self.used_keys()?;
        let plan = held(&self.sealed_keys).plan_retirement(&used, grace, now)?;
        Ok(RetiredKeys {
            retired: plan.retired,
            forgotten: plan.forgotten,
        })
    }

    /// The keys that entries name, and will after a crash.
    fn used_keys(&self) -> Result<HashSet<u64>, Error> {
        let mut log_file = held(&self.log_file);
        let view = self.view();
        // What only seems removed, and would come back, still needs its key.
        log_file.sync_all(&view.files)?;
        let files = view.files.dictionary().unsorted();
        Ok(files.map(|(_, info)| info.key_id).collect())
    }

    /// Brings all keys back that [`Entries::retire_keys`] has put aside, and returns their ids.
    ///
    /// # Errors
    /// Those of [`Entries::retire_keys`].
    pub fn restore_keys(&self) -> Result<Vec<u64>, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        let restored = sealed_keys.restore()?;
        self.publish(&sealed_keys);
        Ok(restored)
    }

    /// Adds a data key that was made elsewhere, and returns its id: files that were encrypted with it can then be imported. A key that is
    /// there already keeps its id. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`Entries::rotate_data_key`].
    pub fn import_key(&self, key: &DataKey, now: u64) -> Result<u64, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        check_protection(key.cipher().method(), sealed_keys.master_key())?;
        let id = sealed_keys.import(key, now)?;
        self.publish(&sealed_keys);
        Ok(id)
    }
}
