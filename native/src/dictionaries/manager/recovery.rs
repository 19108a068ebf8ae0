//! What an interruption in the middle of a replacement leaves, finished or undone.
//!
//! The file's entry decides. Once it is that of the new file, which was whole and durable before, the new one
//! goes to its place; until then, the old one goes back to it. Nothing is removed before what remains is durable
//! at its place.

use std::collections::BTreeSet;
use std::path::Path;

use super::located::Located;
use super::replacement::{NEW, OLD};
use super::{Change, DataKeyManager};
use crate::error::Error;
use crate::fsops;
use crate::observe;

impl DataKeyManager {
    /// Finishes or undoes what the second names tell of.
    pub(super) fn recover(&self) -> Result<(), Error> {
        let unfinished: BTreeSet<String> = {
            let before = |name: &str| {
                let name = name.strip_suffix(NEW).or_else(|| name.strip_suffix(OLD))?;
                Some(name.to_owned())
            };
            self.entries.survey(|files| {
                let names = files.unsorted().map(|(name, _)| name);
                names.filter_map(before).collect()
            })
        };
        for name in unfinished {
            // What a name from the dictionary says must not reach files elsewhere.
            if let Some(file) = self.recorded(&name) {
                observe::recovering(&name);
                match self.recover_file(&file) {
                    // It concerns this file alone, whose changes report it.
                    Err(Error::Unfinished { .. }) => {}
                    recovered => recovered?,
                }
            }
        }
        Ok(())
    }

    /// Before a file is changed: finishes or undoes a replacement that was interrupted, unless it is at work.
    /// What it left would otherwise bring back what the change removes. Called under the file's lock.
    pub(super) fn settle(&self, file: &Located) -> Result<(), Error> {
        if self.replacing.has(file) {
            return Ok(());
        }
        self.recover_file(file)
    }

    /// As [`DataKeyManager::settle`], for the name of the file's entry; what stands in the way is given to
    /// `take_away`, which moves it elsewhere.
    pub(in super::super) fn settle_by_force(
        &self,
        name: &str,
        mut take_away: impl FnMut(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(file) = self.recorded(name) else {
            return Ok(());
        };
        let _locks = self.name_locks.lock(&[&file]);
        match self.recover_file(&file) {
            Err(Error::Unfinished { .. }) if fsops::exists(&file.path)? => {
                observe::recovering(name);
                // What belongs at its place is under the second name, as the entry tells.
                take_away(&file.path)?;
                self.recover_file(&file)
            }
            // The new file is gone, so the old one is what there is, with the entry that it has.
            Err(Error::Unfinished { .. }) => {
                let (new, old) = (file.with_ending(NEW), file.with_ending(OLD));
                let Some((_, info)) = self.find(&old) else {
                    return Ok(());
                };
                self.set_entry(&file, info)?;
                // No longer the entry of a switch that was decided.
                let names = self.entries.at(&new.place, &new.name);
                let removals = names.into_iter().map(|(name, _)| (name, Change::Remove));
                self.entries.change_all(removals)?;
                self.recover_file(&file)
            }
            settled => settled,
        }
    }

    /// Called under the file's lock, by whoever may replace it.
    pub(super) fn recover_file(&self, file: &Located) -> Result<(), Error> {
        let (new, old) = (file.with_ending(NEW), file.with_ending(OLD));
        let entry = |file: &Located| self.find(file).map(|(_, info)| info);
        let (new_info, old_info) = (entry(&new), entry(&old));
        if new_info.is_none() && old_info.is_none() {
            return Ok(());
        }
        // What is seen must be what the disk has, before anything is removed because of it.
        fsops::sync_nearest(fsops::parent(&file.path))?;
        let current = entry(file);
        let is_switched = match (&new_info, &old_info) {
            (Some(new), _) => current.as_ref() == Some(new),
            // An older release removed the entry of the new file first.
            (None, old) => current != *old,
        };
        if is_switched {
            finish(file, &new, &old)?;
        } else {
            // Without an entry, what has the name isn't ours.
            if old_info.is_some() {
                undo(file, &old)?;
            }
            fsops::remove(&new.path)?;
        }
        self.end_replacement(file)
    }
}

/// The entry is that of the new file.
fn finish(file: &Located, new: &Located, old: &Located) -> Result<(), Error> {
    match (fsops::exists(&new.path)?, fsops::exists(&file.path)?) {
        (true, false) => fsops::rename(&new.path, &file.path),
        (true, true) if is_same(file, new)? => fsops::remove(&new.path),
        (true, true) => Err(in_the_way(file, new)),
        (false, true) => Ok(()),
        // There is nothing else left, and it was whole.
        (false, false) if fsops::exists(&old.path)? => Err(in_the_way(file, old)),
        (false, false) => Ok(()),
    }
}

/// The entry is still that of the old file, or there was none.
fn undo(file: &Located, old: &Located) -> Result<(), Error> {
    if !fsops::exists(&old.path)? {
        return Ok(());
    }
    if fsops::exists(&file.path)? {
        return match is_same(file, old)? {
            true => Ok(()),
            false => Err(in_the_way(file, old)),
        };
    }
    fsops::rename(&old.path, &file.path)
}

/// Whether both names are links to one file, as when a disk has kept one half of a renaming.
fn is_same(one: &Located, other: &Located) -> Result<bool, Error> {
    let one = fsops::identity_at(&one.path)?;
    let other = fsops::identity_at(&other.path)?;
    Ok(one.map(|one| one.id) == other.map(|other| other.id))
}

fn in_the_way(file: &Located, other: &Located) -> Error {
    Error::Unfinished {
        path: file.path.clone(),
        left: other.path.clone(),
    }
}
