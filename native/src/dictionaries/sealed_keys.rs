//! `key.dict` under a writer: a changed copy of the keys is sealed, proven to open, made durable, and only then taken over.

use std::path::Path;

use stillkey_core::{DataKey, KeyDictionary, KeyEntry, MasterKey, Method, RotationReason};

use super::reader::read_key_envelope;
use super::retired::RetiredDictionary;
use crate::error::Error;
use crate::fsops::{Access, Pinned};
use crate::observe::{self, Stopwatch};
use crate::{SysRng, install};

/// The key dictionary, in memory and on the disk.
#[derive(Debug)]
pub(super) struct SealedKeys {
    path: Box<Path>,
    pinned: Pinned,
    keys: KeyDictionary,
    master_key: MasterKey,
}

impl SealedKeys {
    /// Takes over a file that was pinned and then read.
    pub(super) fn open(
        path: &Path,
        pinned: Pinned,
        keys: KeyDictionary,
        master_key: &MasterKey,
    ) -> Self {
        observe::keys(&keys);
        Self {
            path: path.into(),
            pinned,
            keys,
            master_key: master_key.clone(),
        }
    }

    pub(super) fn keys(&self) -> &KeyDictionary {
        &self.keys
    }

    pub(super) fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    /// Makes a new data key, durably, and returns its id. `reason`: why it is due; `None` when it is asked for.
    pub(super) fn rotate(
        &mut self,
        method: Method,
        now: u64,
        reason: Option<RotationReason>,
    ) -> Result<u64, Error> {
        self.expect_same_kind_of_seal()?;
        let mut keys = self.keys.duplicate();
        let id = keys.rotate(method, now, &mut SysRng)?;
        self.save(keys, self.master_key.clone())?;
        observe::data_key_rotated(id, method, reason);
        Ok(id)
    }

    /// Adds a data key durably, unless it is there already, and returns its id. The current key stays current.
    pub(super) fn import(&mut self, key: &DataKey, now: u64) -> Result<u64, Error> {
        if let Some(id) = self.keys.id_of(key) {
            return Ok(id);
        }
        self.expect_same_kind_of_seal()?;
        let mut keys = self.keys.duplicate();
        let method = key.cipher().method();
        let id = keys.add(key.secret().duplicate(), method, now, &mut SysRng)?;
        self.save(keys, self.master_key.clone())?;
        Ok(id)
    }

    /// Seals the keys under another master key.
    pub(super) fn rotate_master_key(&mut self, master_key: &MasterKey) -> Result<(), Error> {
        let retired = RetiredDictionary::beside(&self.path);
        retired.prepare_next(&self.master_key, master_key)?;
        self.save(self.keys.duplicate(), master_key.clone())?;
        observe::master_key_rotated(&self.path, self.keys.len(), master_key.kind());
        retired.take_next()
    }

    /// Has the key service wrap anew if its master key has moved on to another version than the one that wrapped, and returns whether it did.
    pub(super) fn renew_wrapped_key(&mut self) -> Result<bool, Error> {
        let MasterKey::Service(service) = &self.master_key else {
            return Ok(false);
        };
        let current = service.current_version()?;
        let wrapped_by = read_key_envelope(&self.path)?.sealing().key_version;
        if current.is_empty() || wrapped_by.as_deref() == Some(&*current) {
            return Ok(false);
        }
        self.rotate_master_key(&self.master_key.clone())?;
        Ok(true)
    }

    /// Puts keys aside that no file uses, and forgets those that were put aside `grace` seconds ago or more. Returns the ids of both.
    pub(super) fn retire(
        &mut self,
        unused: Vec<u64>,
        grace: u64,
        now: u64,
    ) -> Result<(Vec<u64>, Vec<u64>), Error> {
        let aside = RetiredDictionary::beside(&self.path);
        let mut retired = aside.read(&self.master_key)?;
        let is_over = |entry: &KeyEntry| {
            let since = entry.retired_at.unwrap_or(now);
            now.saturating_sub(since) >= grace
        };
        let over = retired.iter().filter(|(_, entry)| is_over(entry));
        let forgotten: Vec<_> = over.map(|(id, _)| id).collect();
        for id in &forgotten {
            retired.remove(*id);
        }
        let mut keys = self.keys.duplicate();
        for id in &unused {
            if let Some(mut entry) = keys.remove(*id) {
                entry.retired_at = Some(now);
                retired.insert(*id, entry);
            }
        }
        if !unused.is_empty() || !forgotten.is_empty() {
            self.expect_same_kind_of_seal()?;
            aside.write(retired, &self.master_key)?;
        }
        if !unused.is_empty() {
            self.save(keys, self.master_key.clone())?;
        }
        Ok((unused, forgotten))
    }

    /// Brings back the keys that were put aside, and returns their ids.
    pub(super) fn restore(&mut self) -> Result<Vec<u64>, Error> {
        let aside = RetiredDictionary::beside(&self.path);
        let retired = aside.read(&self.master_key)?;
        let mut keys = self.keys.duplicate();
        let mut restored = Vec::new();
        for (id, entry) in retired.iter() {
            if keys.get(id).is_err() {
                let mut entry = entry.duplicate();
                entry.retired_at = None;
                keys.insert(id, entry);
                restored.push(id);
            }
        }
        if !restored.is_empty() {
            self.expect_same_kind_of_seal()?;
            self.save(keys, self.master_key.clone())?;
        }
        aside.write(KeyDictionary::new(), &self.master_key)?;
        Ok(restored)
    }

    /// The key that a key service wrapped opens `key.dict` by itself, but saved under it, the file would be lost to the service.
    fn expect_same_kind_of_seal(&self) -> Result<(), Error> {
        if matches!(self.master_key, MasterKey::Service(_)) {
            return Ok(());
        }
        match read_key_envelope(&self.path)?.sealing().vendor {
            None => Ok(()),
            Some(vendor) => Err(Error::Usage(format!(
                "{}: sealed through the key service {vendor}, which could no longer open it if it was saved under the key given; give that service's master key, or rotate the master key first",
                self.path.display()
            ))),
        }
    }

    fn save(&mut self, mut keys: KeyDictionary, master_key: MasterKey) -> Result<(), Error> {
        self.pinned.expect_undisturbed()?;
        let watch = Stopwatch::start();
        let sealed = seal(&mut keys, &master_key, &self.path)?;
        let installed = install::write_file(&*self.path, &sealed, true);
        // Even after a failure, what stands there is ours: the old file, or the new one whose directory could not be synced.
        self.pinned = Pinned::open(&self.path, Access::Read)?;
        installed?;
        observe::key_dictionary_written(watch);
        observe::keys(&keys);
        self.keys = keys;
        self.master_key = master_key;
        Ok(())
    }
}

/// The bytes of a `key.dict` that has been opened again: a key service may be willing to wrap and not to unwrap, and found out later, that
/// would be the loss of everything.
pub(super) fn seal(
    keys: &mut KeyDictionary,
    master_key: &MasterKey,
    path: &Path,
) -> Result<Vec<u8>, Error> {
    let sealed = keys.seal(master_key, &mut SysRng)?;
    KeyDictionary::open(&sealed, master_key).map_err(Error::data(path))?;
    Ok(sealed)
}
