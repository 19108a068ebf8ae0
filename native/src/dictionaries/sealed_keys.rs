//! `key.dict` under a writer: a changed copy of the keys is sealed, proven to open, made durable, and only then taken over.
//!
//! When it isn't known whether a change is durable, it hasn't happened: what was there before is written
//! once more, before anything else.

use std::collections::HashSet;
use std::path::Path;

use stillkey_core::{
    DataKey, FileDictionary, KeyDictionary, KeyEntry, MasterKey, Method, RotationReason,
};

use super::reader::read_key_envelope;
use super::retired::RetiredDictionary;
use crate::SysRng;
use crate::durable::{DurableFile, Trust};
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

    /// Decides which keys no file uses and are put aside, and which were put aside `grace` seconds ago or more
    /// and are forgotten; never one that is used. Nothing is written yet.
    pub(super) fn plan_retirement(
        &mut self,
        used: &HashSet<u64>,
        grace: u64,
        now: u64,
    ) -> Result<Retirement, Error> {
        self.settle()?;
        let mut aside = RetiredDictionary::find(self.file.path())?;
        let mut put_aside = aside.read(&self.master_key)?;
        let mut keys = self.keys.duplicate();
        let (mut forgotten, mut in_both) = (Vec::new(), false);
        for (id, entry) in put_aside.duplicate().iter() {
            let since = entry.retired_at.unwrap_or(now);
            if keys.get(id).is_ok() {
                // What an interruption has left, or what came back when the directory was opened.
                put_aside.remove(id);
                in_both = true;
            } else if now.saturating_sub(since) >= grace && !used.contains(&id) {
                put_aside.remove(id);
                forgotten.push(id);
            }
        }
        let unused = keys.iter().filter(|(id, entry)| {
            let is_young = now.saturating_sub(entry.creation_time) < grace;
            !used.contains(id) && *id != keys.current_key_id() && !is_young
        });
        let retired: Vec<_> = unused.map(|(id, _)| id).collect();
        for id in &retired {
            if let Some(mut entry) = keys.remove(*id) {
                entry.retired_at = Some(now);
                put_aside.insert(*id, entry);
            }
        }
        let mut plan = Retirement {
            aside,
            new_aside: None,
            new_keys: None,
            retired,
            forgotten,
        };
        if in_both || !plan.retired.is_empty() || !plan.forgotten.is_empty() {
            self.expect_same_kind_of_seal()?;
            plan.new_aside = Some(plan.aside.seal(put_aside, &self.master_key)?);
        }
        if !plan.retired.is_empty() {
            let sealed = self.seal(&mut keys, &self.master_key)?;
            plan.new_keys = Some((keys, sealed));
        }
        Ok(plan)
    }

    /// Carries a plan out, between which and now no key has changed.
    pub(super) fn carry_out(&mut self, plan: Retirement) -> Result<(), Error> {
        let Retirement {
            mut aside,
            new_aside,
            new_keys,
            ..
        } = plan;
        if let Some(sealed) = new_aside {
            aside.put(sealed.as_deref())?;
        }
        match new_keys {
            Some((keys, sealed)) => self.install(keys, self.master_key.clone(), &sealed),
            None => Ok(()),
        }
    }

    /// Brings back keys that were put aside although these entries name them: after a file dictionary has
    /// come back from a backup, for example. What can't be read stays where it is.
    pub(super) fn restore_used(&mut self, files: &FileDictionary) -> Result<(), Error> {
        let named = files.unsorted().map(|(_, info)| info.key_id);
        let missing: HashSet<_> = named.filter(|id| self.keys.get(*id).is_err()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut aside = RetiredDictionary::find(self.file.path())?;
        let Ok(put_aside) = aside.read(&self.master_key) else {
            return Ok(());
        };
        let mut keys = self.keys.duplicate();
        for (id, entry) in put_aside.iter().filter(|(id, _)| missing.contains(id)) {
            keys.insert(id, back(entry));
        }
        if keys.len() == self.keys.len() {
            return Ok(());
        }
        self.expect_same_kind_of_seal()?;
        self.save(keys, self.master_key.clone())
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
                keys.insert(id, back(entry));
                restored.push(id);
            }
        }
        if !restored.is_empty() {
            self.expect_same_kind_of_seal()?;
            self.save(keys, self.master_key.clone())?;
        }
        // Keys that are in both places do no harm there, and are found there the next time.
        let emptied = aside.put(None);
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
        let sealed = self.seal(&mut keys, &master_key)?;
        self.install(keys, master_key, &sealed)
    }

    fn seal(&self, keys: &mut KeyDictionary, master_key: &MasterKey) -> Result<Vec<u8>, Error> {
        if !self.master_key.is_secure() {
            // Others may have put keys of their own into an unsealed file, and denied that it was one.
            keys.mark_exposed();
        }
        seal(keys, master_key, self.file.path())
    }

    /// Takes keys over that are sealed, once that is durable.
    fn install(
        &mut self,
        keys: KeyDictionary,
        master_key: MasterKey,
        sealed: &[u8],
    ) -> Result<(), Error> {
        let watch = Stopwatch::start();
        if let Err(error) = self.file.replace(sealed) {
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

/// Keys that change places: decided and sealed, which may have taken a key service's time, and ready to be
/// written.
#[derive(Debug)]
pub(super) struct Retirement {
    aside: RetiredDictionary,
    /// What `retired.dict` shall hold, if that is something else; within, `None` for no file.
    new_aside: Option<Option<Vec<u8>>>,
    new_keys: Option<(KeyDictionary, Vec<u8>)>,
    pub(super) retired: Vec<u64>,
    pub(super) forgotten: Vec<u64>,
}

impl Retirement {
    /// Whether no key goes that is used.
    pub(super) fn spares(&self, used: &HashSet<u64>) -> bool {
        let mut gone = self.retired.iter().chain(&self.forgotten);
        !gone.any(|id| used.contains(id))
    }
}

/// A key that is in use again.
fn back(entry: &KeyEntry) -> KeyEntry {
    let mut entry = entry.duplicate();
    entry.retired_at = None;
    entry
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
