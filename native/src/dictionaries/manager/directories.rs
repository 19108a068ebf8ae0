//! Whole directories, whose files' entries change with them.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use stillkey_core::FileInfo;

use super::super::sync::Mutex;
use super::located::Located;
use super::{Change, DataKeyManager, held};
use crate::error::Error;
use crate::fsops;
use crate::observe;

impl DataKeyManager {
    /// Makes a directory and what is missing above it, for its owner only. One that is there already is no error.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] for a path that isn't below the directory.
    pub fn create_directory(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.directories.create(&self.locate(path.as_ref())?.path)
    }

    /// Removes a directory with all that is in it, and all entries below it.
    ///
    /// # Errors
    /// [`Error::NotAFile`] when it is no directory, a link to one included, or when there is something below
    /// it that is neither a file nor a directory, before anything is removed; [`Error::Busy`] while a file
    /// below it is being replaced; [`Error::Io`]; [`Error::Suspended`]; [`Error::Usage`].
    pub fn delete_directory(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let directory = self.locate(path.as_ref())?;
        let _span = observe::span!(
            DEBUG,
            "delete_directory",
            directory = directory.name.as_str()
        );
        let _alone = self.name_locks.lock_all();
        self.replacing.expect_none_below(&directory)?;
        if fsops::exists(&directory.path)? {
            let tree = fsops::tree(&directory.path)?;
            for file in &tree.files {
                fsops::unlink(file)?;
            }
            for directory in tree.directories.iter().rev() {
                // The files' names must be gone for good before their entries are.
                self.directories.forget(directory);
                fsops::sync_directory(directory)?;
                fsops::remove_directory(directory)?;
            }
        }
        fsops::sync_nearest(fsops::parent(&directory.path))?;
        let below = self.entries.below(&directory.place);
        let names = below.into_iter().map(|(_, name, _)| name);
        self.entries
            .change_all(names.map(|name| (name, Change::Remove)))
    }

    /// Renames a directory with all that is in it. There must be nothing at `to`.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `to`; [`Error::NotAFile`] when `from` is no
    /// directory; [`Error::Busy`] while a file below it is being replaced; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Usage`].
    pub fn rename_directory(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let (from, to) = (self.locate(from.as_ref())?, self.locate(to.as_ref())?);
        let (source, target) = (from.name.as_str(), to.name.as_str());
        let _span = observe::span!(DEBUG, "rename_directory", from = source, to = target);
        let _alone = self.name_locks.lock_all();
        self.replacing.expect_none_below(&from)?;
        fsops::tree(&from.path)?;
        if fsops::exists(&to.path)? {
            return Err(Error::AlreadyExists { path: to.path });
        }
        self.directories.expect(fsops::parent(&to.path))?;
        // What was there once must not come back under these entries.
        fsops::sync_parent(&to.path)?;
        self.entries.change_all(self.moved_entries(&from, &to))?;
        self.directories.forget(&from.path);
        if let Err(error) = fsops::rename(&from.path, &to.path) {
            if matches!(fsops::exists(&to.path), Ok(false)) && fsops::sync_parent(&to.path).is_ok()
            {
                // What this can't remove are entries without a file.
                let _ = self.forget_entries_below(&to);
            }
            return Err(error);
        }
        self.forget_entries_below(&from)
    }

    /// What gives each file below `from` its entry below `to`, and nothing there an entry of another file.
    fn moved_entries(&self, from: &Located, to: &Located) -> Vec<(String, Change)> {
        let mut moved: BTreeMap<PathBuf, FileInfo> = BTreeMap::new();
        for (rest, name, info) in self.entries.below(&from.place) {
            let file = from.join(&rest);
            // Of the entries of one file, the one that `find` takes.
            let found = file.as_ref().and_then(|file| self.find(file));
            if found.is_none_or(|(found, _)| found == name) {
                moved.insert(rest, info);
            }
        }
        let targets: BTreeMap<String, FileInfo> = moved
            .into_iter()
            .filter_map(|(rest, info)| Some((to.join(&rest)?.name, info)))
            .collect();
        let stale = self.entries.below(&to.place).into_iter();
        let stale = stale
            .map(|(_, name, _)| name)
            .filter(|name| !targets.contains_key(name));
        let mut changes: Vec<_> = stale.map(|name| (name, Change::Remove)).collect();
        changes.extend(
            targets
                .into_iter()
                .map(|(name, info)| (name, Change::Insert(info))),
        );
        changes
    }

    fn forget_entries_below(&self, directory: &Located) -> Result<(), Error> {
        let below = self.entries.below(&directory.place).into_iter();
        self.entries
            .change_all(below.map(|(_, name, _)| (name, Change::Remove)))
    }
}

/// What is known of the names in directories. What an earlier process made, or unlinked, without a sync may be
/// gone, or back, after a power failure: so "there" and "not there" are believed once the directory has been
/// synced, and no longer than until an operation in it fails.
#[derive(Debug)]
pub(super) struct Directories {
    /// The data directory, whose own name is the business of whoever made it.
    root: PathBuf,
    /// Directories that were synced since the manager was opened, and those above them, up to the root.
    synced: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            synced: Mutex::default(),
        }
    }

    /// That there is a directory, durably, for a file that is to be made.
    pub(super) fn expect(&self, directory: &Path) -> Result<(), Error> {
        if !fsops::exists(directory)? {
            return Err(Error::io(directory, "open")(io::ErrorKind::NotFound.into()));
        }
        let mut synced = held(&self.synced);
        for directory in self.up_to_root(directory) {
            if !synced.contains(directory) {
                fsops::sync_directory(directory)?;
                synced.insert(directory.to_owned());
            }
        }
        Ok(())
    }

    fn up_to_root<'d>(&self, directory: &'d Path) -> impl Iterator<Item = &'d Path> {
        // Outside of the root, there is nothing to go up to.
        let levels = match directory.strip_prefix(&self.root) {
            Ok(below) => below.components().count() + 1,
            Err(_) => 1,
        };
        directory.ancestors().take(levels)
    }

    /// Makes a directory and what is missing above it.
    pub(super) fn create(&self, directory: &Path) -> Result<(), Error> {
        let created = fsops::create_directories(directory);
        // Some may have been made, and their names not synced.
        created.inspect_err(|_| self.forget(&self.root))?;
        self.expect(directory)
    }

    /// To be called when a file turned out not to be there, before anything rests on that. Where there is an
    /// entry, something went that should have gone with it, so the directory isn't as it was synced.
    pub(super) fn prove_absent(&self, file: &Located, has_entry: bool) -> Result<(), Error> {
        let directory = fsops::parent(&file.path);
        if has_entry {
            self.forget(directory);
            return fsops::sync_nearest(directory);
        }
        self.expect(directory)
    }

    /// To be called when what is known of a directory, and of those below it, no longer holds.
    pub(super) fn forget(&self, directory: &Path) {
        held(&self.synced).retain(|synced| !synced.starts_with(directory));
    }
}
