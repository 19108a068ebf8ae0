//! Data keys and the master key, changed while files go on being created.

use std::sync::PoisonError;

use stillkey_core::{DataKey, MasterKey, Method, RotationPolicy, RotationReason};

use super::super::sealed_keys::SealedKeys;
use super::super::writer::check_protection;
use super::{DataKeyManager, KeyRing, held};
use crate::error::Error;
use crate::observe;

impl DataKeyManager {
    /// Makes a new data key for new files if one is due by `policy`, and returns why. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotation_due`] and [`DictionaryWriter::rotate_data_key`].
    pub fn rotate_if_due(
        &self,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        let is_secure = sealed_keys.master_key().is_secure();
        let due = sealed_keys.keys().rotation_due(policy, is_secure, now);
        let due = due.map_err(Error::data(&self.layout.key_dict))?;
        if due.is_some() {
            self.rotate(&mut sealed_keys, policy.method, now, due)?;
        }
        Ok(due)
    }

    /// Makes a new data key for new files, and returns its id. Old keys and files stay as they are, and files go on being created meanwhile.
    /// `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotate_data_key`].
    pub fn rotate_data_key(&self, method: Method, now: u64) -> Result<u64, Error> {
        self.rotate(&mut held(&self.sealed_keys), method, now, None)
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

    /// Seals the data keys under another master key, while files go on being created. The old one is dropped once that is durable.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotate_master_key`]; keep the old master key in that case.
    pub fn rotate_master_key(&self, master_key: &MasterKey) -> Result<(), Error> {
        let _span =
            observe::span!(INFO, "rotate_master_key", directory => self.directory().display());
        let mut sealed_keys = held(&self.sealed_keys);
        sealed_keys.rotate_master_key(master_key)?;
        self.publish(&sealed_keys);
        Ok(())
    }

    /// Only what is durable: a key that new files use must outlive them.
    fn publish(&self, sealed_keys: &SealedKeys) {
        let keys = KeyRing::new(sealed_keys);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Adds a data key that was made elsewhere, and returns its id: files that were encrypted with it can then be imported. A key that is
    /// there already keeps its id. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotate_data_key`](crate::DictionaryWriter::rotate_data_key).
    pub fn import_key(&self, key: &DataKey, now: u64) -> Result<u64, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        check_protection(key.cipher().method(), sealed_keys.master_key())?;
        let id = sealed_keys.import(key, now)?;
        self.publish(&sealed_keys);
        Ok(id)
    }
}
