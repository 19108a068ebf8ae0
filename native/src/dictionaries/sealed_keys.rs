//! `key.dict` under a writer: a changed copy of the keys is sealed, proven to open, made durable, and only then taken over.
//!
//! When it isn't known whether a change is durable, it hasn't happened: what was there before is written
//! once more, before anything else.

use std::path::Path;

use stillkey_core::{DataKey, KeyDictionary, KeyEntry, MasterKey, Method, RotationReason};

use super::durable::{DurableFile, Trust};
use super::reader::read_key_envelope;
use super::retired::RetiredDictionary;
use crate::SysRng;
use crate::error::Error;
use crate::fsops::{Access, Pinned};
use crate::observe::{self, Stopwatch};

/// The key dictionary, in memory and on the disk.
#[derive(Debug)]
pub(super) struct SealedKeys {
    file: DurableFile,
    keys: KeyDictionary,
    master_key: MasterKey,
}

impl SealedKeys {
    /// Takes over a file that was pinned, then read and synced.
    pub(super) fn open(
        path: &Path,
        pinned: Pinned,
        keys: KeyDictionary,
        master_key: &MasterKey,
    ) -> Self {
        observe::keys(&keys);
        Self {
            file: DurableFile::take_over(path, pinned, Access::Read),
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
        self.settle()?;
        self.expect_same_kind_of_seal()?;
        let mut keys = self.keys.duplicate();
        let id = keys.rotate(method, now, &mut SysRng)?;
        self.save(keys, self.master_key.clone())?;
        observe::data_key_rotated(id, method, reason);
        Ok(id)
    }

    /// Adds a data key durably, unless it is there already, and returns its id. The current key stays current.
    pub(super) fn import(&mut self, key: &DataKey, now: u64) -> Result<u64, Error> {
        self.settle()?;
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
        self.settle()?;
        let mut retired = RetiredDictionary::find(self.file.path())?;
        retired.prepare_next(&self.master_key, master_key)?;
        self.save(self.keys.duplicate(), master_key.clone())?;
        observe::master_key_rotated(self.file.path(), self.keys.len(), master_key.kind());
        // Whoever reads the retired keys next finds both files, and finishes this.
        let _ = retired.take_next().inspect_err(observe::retired_keys_left);
        Ok(())
    }

    /// Has the key service wrap anew if its master key has moved on to another version than the one that wrapped, and returns whether it did.
    pub(super) fn renew_wrapped_key(&mut self) -> Result<bool, Error> {
        let MasterKey::Service(service) = &self.master_key else {
            return Ok(false);
        };
        let current = service.current_version()?;
        self.settle()?;
        let wrapped_by = read_key_envelope(self.file.path())?.sealing().key_version;
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
        self.settle()?;
        let mut aside = RetiredDictionary::find(self.file.path())?;
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
        self.settle()?;
        let mut aside = RetiredDictionary::find(self.file.path())?;
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
        // Keys that are in both places do no harm there, and are found there the next time.
        let emptied = aside.write(KeyDictionary::new(), &self.master_key);
        let _ = emptied.inspect_err(observe::retired_keys_left);
        Ok(restored)
    }

    /// The key that a key service wrapped opens `key.dict` by itself, but saved under it, the file would be lost to the service.
    fn expect_same_kind_of_seal(&self) -> Result<(), Error> {
        if matches!(self.master_key, MasterKey::Service(_)) {
            return Ok(());
        }
        match read_key_envelope(self.file.path())?.sealing().vendor {
            None => Ok(()),
            Some(vendor) => Err(Error::Usage(format!(
                "{}: sealed through the key service {vendor}, which could no longer open it if it was saved under the key given; give that service's master key, or rotate the master key first",
                self.file.path().display()
            ))),
        }
    }

    fn save(&mut self, mut keys: KeyDictionary, master_key: MasterKey) -> Result<(), Error> {
        let watch = Stopwatch::start();
        if !self.master_key.is_secure() {
            // Others may have put keys of their own into an unsealed file, and denied that it was one.
            keys.mark_exposed();
        }
        let sealed = seal(&mut keys, &master_key, self.file.path())?;
        if let Err(error) = self.file.replace(&sealed) {
            // If this fails too, the next change tries again, and reports why it can't.
            let _ = self.settle();
            return Err(error);
        }
        observe::key_dictionary_written(watch);
        observe::keys(&keys);
        self.keys = keys;
        self.master_key = master_key;
        Ok(())
    }

    /// Sees to it that the disk holds the keys in memory. Whatever is in doubt is written as it was before:
    /// the change that left it has been reported as failed.
    fn settle(&mut self) -> Result<(), Error> {
        if self.file.trust() != Trust::Durable {
            let sealed = seal(
                &mut self.keys.duplicate(),
                &self.master_key,
                self.file.path(),
            )?;
            self.file.replace(&sealed)?;
        }
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
