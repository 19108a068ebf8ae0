//! What a crash in the middle of a replacement leaves, finished or undone.

use std::collections::BTreeSet;

use super::DataKeyManager;
use super::names::Located;
use super::replacement::{NEW, OLD};
use crate::error::Error;
use crate::fsops;
use crate::observe;

impl DataKeyManager {
    /// Finishes or undoes what the second names tell of: a replacement whose new file stands is done, any other never happened.
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
                self.recover_file(&file)?;
            }
        }
        Ok(())
    }

    pub(super) fn recover_file(&self, file: &Located) -> Result<(), Error> {
        let (new, old) = (file.with_ending(NEW), file.with_ending(OLD));
        let old_info = self.find(&old).map(|(_, info)| info);
        if let Some(info) = old_info {
            if !fsops::exists(&file.path)? && fsops::exists(&old.path)? {
                let name = self
                    .find(file)
                    .map_or_else(|| file.name.clone(), |(name, _)| name);
                self.entries.set_entry(&name, info)?;
                fsops::rename(&old.path, &file.path)?;
            }
            self.forget(&old)?;
        }
        let new_info = self.find(&new).map(|(_, info)| info);
        if let Some(info) = new_info {
            let announced = self.find(file).filter(|(_, current)| *current == info);
            // While the new file stands under its second name, whatever is at `file` isn't what the entry is about.
            if let Some((name, _)) = announced
                && (fsops::exists(&new.path)? || !fsops::exists(&file.path)?)
            {
                self.entries.remove_entry(&name)?;
            }
            self.forget(&new)?;
        }
        Ok(())
    }
}
