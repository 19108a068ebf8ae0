//! Entries and files held against each other: what crashes, and programs that knew nothing of the entries, have left.

use std::collections::HashSet;
use std::path::PathBuf;

use super::super::is_dictionary_file;
use super::Change;
use super::replacement::is_unfinished;
use super::{DataKeyManager, data_path};
use crate::error::Error;
use crate::{fsops, install};

/// What doesn't go together in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatches {
    /// Entries whose file isn't there, such as those of write-ahead logs that were removed behind the manager's back. Sorted.
    pub entries_without_file: Vec<String>,
    /// Files below the directory that have no entry, in no order. Nobody can tell plaintext from ciphertext whose entry was lost.
    pub files_without_entry: Vec<PathBuf>,
}

impl DataKeyManager {
    /// Looks for entries without files and files without entries. Nothing is changed, and nothing waits for it, so what is in the middle of
    /// being made may show up.
    ///
    /// # Errors
    /// [`Error::NotAFile`] when there is something below the directory that is neither a file nor a directory; [`Error::Io`].
    pub fn mismatches(&self) -> Result<Mismatches, Error> {
        let mut names: Vec<String> = self.entries.survey(|files| {
            let names = files.unsorted().map(|(name, _)| name.to_owned());
            names.collect()
        });
        let directory = self.directory();
        let mut with_entry = HashSet::with_capacity(names.len());
        let mut failed = None;
        names.retain(|name| {
            let path = data_path(directory, name);
            let exists = fsops::exists(&path).unwrap_or_else(|error| {
                failed.get_or_insert(error);
                true
            });
            if exists {
                with_entry.insert(path);
            }
            !exists && !is_unfinished(name)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        names.sort_unstable();
        let mut files = fsops::tree(directory)?.files;
        files.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let is_leftover = name.is_some_and(install::is_leftover);
            let is_own = path.parent() == Some(directory) && name.is_some_and(is_dictionary_file);
            !with_entry.contains(path) && !is_own && !is_leftover
        });
        Ok(Mismatches {
            entries_without_file: names,
            files_without_entry: files,
        })
    }

    /// Removes the entries whose file isn't there, and returns their names. Files are never removed.
    ///
    /// To be called before entries are made by name for files that are still to come: after opening, for example.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::mismatches`] and [`Entries::remove_entry`](crate::Entries::remove_entry).
    pub fn reconcile(&self) -> Result<Vec<String>, Error> {
        // The walk takes long and only finds candidates: files may come and go meanwhile.
        self.remove_stale(self.mismatches()?.entries_without_file)
    }

    /// Removes those of these entries whose file isn't there, and returns their names.
    pub(in super::super) fn remove_stale(
        &self,
        mut stale: Vec<String>,
    ) -> Result<Vec<String>, Error> {
        let _alone = self.name_locks.lock_all();
        let mut synced = HashSet::new();
        let mut failed = None;
        stale.retain(|name| {
            let path = data_path(self.directory(), name);
            let directory = fsops::parent(&path);
            let is_gone = fsops::exists(&path).and_then(|exists| {
                // A file whose removal isn't durable may come back, and then needs its entry.
                if !exists && !synced.contains(directory) {
                    self.directories.forget(directory);
                    fsops::sync_nearest(directory)?;
                    synced.insert(directory.to_owned());
                }
                Ok(!exists)
            });
            is_gone.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                false
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let removals = stale.iter().map(|name| (name.clone(), Change::Remove));
        self.entries.change_all(removals)?;
        Ok(stale)
    }
}
