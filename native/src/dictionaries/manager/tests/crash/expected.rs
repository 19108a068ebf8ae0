//! What may be found in a directory after all that has happened, and whether it is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::Path;

use stillkey_core::{Method, Reading};

use super::super::super::*;
use super::super::NOW;
use super::world::{
    Between, Effect, GRACE, Known, LATER, MasterKeyNumber, Setting, key, open, path, start,
};
use crate::dictionaries::{Dictionaries, is_dictionary_file};
use crate::error::{Error, ErrorKind};
use crate::testing::disk::stale;

/// What a file may be found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// With this content, which was acknowledged, or is to be.
    Whole(Vec<u8>),
    Between(Between),
}

/// How much is done with a directory once its files and entries have been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    Look,
    /// Another file is made, and the directory opened once more.
    GoOn,
    /// Everything that a user may do then.
    Thorough,
}

/// What may be found at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// What each file may be. One that isn't here must not be there.
    fates: BTreeMap<String, Vec<Fate>>,
    /// Contents that must be found under one of two names.
    somewhere: Vec<(Vec<u8>, [String; 2])>,
    entries: BTreeSet<String>,
    keys: BTreeSet<u64>,
    master_keys: Vec<MasterKeyNumber>,
    is_started: bool,
    exposed: Option<u64>,
}

impl Expected {
    /// When nothing is going on.
    pub(super) fn of(known: &Known) -> Self {
        let whole = |(name, content): (&String, &Vec<u8>)| {
            (name.clone(), vec![Fate::Whole(content.clone())])
        };
        Self {
            fates: known.files.iter().map(whole).collect(),
            somewhere: Vec::new(),
            entries: known.entries.clone(),
            keys: known.keys.clone(),
            master_keys: vec![known.master_key],
            is_started: known.is_started,
            exposed: known.exposed,
        }
    }

    /// In the middle of an operation, or after one that failed.
    pub(super) fn during(before: &Known, effect: &Effect) -> Self {
        let after = &effect.after;
        let mut expected = Self::of(before);
        let names: BTreeSet<_> = before.files.keys().chain(after.files.keys()).collect();
        for name in names {
            let (was, is) = (before.files.get(name), after.files.get(name));
            if was != is {
                let fate = |content: Option<&Vec<u8>>| match content {
                    Some(content) => Fate::Whole(content.clone()),
                    None => Fate::Between(Between::Absent),
                };
                expected
                    .fates
                    .insert(name.clone(), vec![fate(was), fate(is)]);
            }
        }
        for (name, between) in &effect.between {
            let fates = expected.fates.entry(name.clone()).or_default();
            fates.push(Fate::Between(between.clone()));
        }
        for (from, to) in &effect.moved {
            let content = before.files[from].clone();
            expected
                .somewhere
                .push((content, [from.clone(), to.clone()]));
        }
        expected.entries.retain(|name| after.entries.contains(name));
        expected.keys.retain(|id| after.keys.contains(id));
        if after.master_key != before.master_key {
            expected.master_keys = vec![after.master_key, before.master_key];
        }
        expected
    }

    /// The same, and a file that was made by another operation meanwhile.
    pub(super) fn and_file(&mut self, name: &str, fates: Vec<Fate>) {
        self.fates.insert(name.into(), fates);
    }

    pub(super) fn and_keys(&mut self, manager: &DataKeyManager) {
        self.keys
            .extend(manager.entries().keys().iter().map(|(id, _)| id));
    }

    /// Opens the directory as its user would; returns under which master key it did.
    pub(super) fn open(
        &self,
        root: &Path,
        names: Names,
    ) -> Result<(DataKeyManager, MasterKeyNumber), Error> {
        if !self.is_started {
            return start(root, names).map(|manager| (manager, 1));
        }
        if self.exposed.is_some() {
            return open(root, names, 2, true).map(|manager| (manager, 2));
        }
        let mut error = None;
        for number in &self.master_keys {
            match open(root, names, *number, false) {
                Ok(manager) => return Ok((manager, *number)),
                Err(failed) if failed.kind() == ErrorKind::WrongKey => error = Some(failed),
                Err(failed) => return Err(failed),
            }
        }
        Err(error.unwrap())
    }

    /// What is wrong with a directory after a failure; `None` when all is well.
    pub(super) fn violation(&self, root: &Path, setting: Setting, care: Care) -> Option<String> {
        match self.open(root, setting.names) {
            Ok((manager, number)) => self
                .check_and_go_on(manager, number, root, setting.names, care)
                .err(),
            Err(error) => Some(format!("doesn't open: {error}")),
        }
    }

    fn check_and_go_on(
        &self,
        manager: DataKeyManager,
        mut number: MasterKeyNumber,
        root: &Path,
        names: Names,
        care: Care,
    ) -> Result<(), String> {
        self.check(&manager, root, names)?;
        self.check_entries(root, number)?;
        if self.exposed == Some(manager.entries().keys().current_key_id()) {
            return Err("new files get a key that somebody else knows".into());
        }
        if care == Care::Look {
            return Ok(());
        }
        let path = |name: &str| path(root, names, name);
        let mut next = vec!["next"];
        go_on("takes no new file", || {
            let file = manager.create_file(path("next"))?;
            file.file()
                .write_all_at(b"next", 0)
                .map_err(Error::io(root, "write below"))
        })?;
        if care == Care::Thorough {
            go_on("the data key can't be rotated", || {
                manager.entries().rotate_data_key(Method::Aes128Ctr, NOW)
            })?;
            next.push("next to it");
            go_on("takes no other new file", || {
                let file = manager.create_file(path("next to it"))?;
                file.file()
                    .write_all_at(b"next", 0)
                    .map_err(Error::io(root, "write below"))
            })?;
            go_on("keys can't be put aside", || {
                manager.entries().retire_keys(GRACE, LATER)
            })?;
            number = 7;
            go_on("the master key can't be rotated", || {
                manager.entries().rotate_master_key(&key(number))
            })?;
            go_on("keys can't be brought back", || {
                manager.entries().restore_keys()
            })?;
            if let Some(lost) = self
                .keys
                .iter()
                .find(|id| manager.entries().keys().get(**id).is_err())
            {
                return Err(format!("the data key {lost} is lost"));
            }
            go_on("the entries can't be reconciled", || manager.reconcile())?;
        }
        drop(manager);
        let manager = go_on("doesn't open a second time", || {
            open(root, names, number, self.exposed.is_some())
        })?;
        for name in next {
            if read(&manager, root, names, name)? != Some((b"next".to_vec(), None)) {
                return Err(format!("{name}: not what was written"));
            }
        }
        if care == Care::Thorough {
            let still = Self {
                entries: BTreeSet::new(),
                ..self.clone()
            };
            for name in ["next", "next to it"] {
                go_on("deletes no file", || manager.delete_file(path(name)))?;
            }
            still
                .check(&manager, root, names)
                .map_err(|found| format!("after going on, {found}"))?;
        }
        Ok(())
    }

    /// Files, as a manager gives them.
    pub(super) fn check(
        &self,
        manager: &DataKeyManager,
        root: &Path,
        names: Names,
    ) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for (name, fates) in &self.fates {
            let file = read(manager, root, names, name)?;
            if !fates.iter().any(|fate| fate.is(file.as_ref())) {
                let what = match &file {
                    None => "isn't there".into(),
                    Some((content, _)) => format!("has {} bytes that it never held", content.len()),
                };
                return Err(format!("{name} {what}"));
            }
            found.insert(name, file);
        }
        for (content, names) in &self.somewhere {
            let is_there =
                |name: &String| matches!(&found[name], Some((found, _)) if found == content);
            if !names.iter().any(is_there) {
                return Err(format!("the content of {names:?} is nowhere"));
            }
        }
        let tree = crate::fsops::tree(root).unwrap();
        for file in tree.files {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            let is_expected = is_dictionary_file(name)
                || name.starts_with("next")
                || name == "foreign"
                || name.ends_with(".tmp") && crate::is_leftover(name.rsplit('/').next().unwrap())
                || self.fates.contains_key(name);
            if !is_expected {
                let has_entry = manager.open_file(&file).is_ok();
                let what = if has_entry {
                    "is there"
                } else {
                    "is there, without an entry"
                };
                return Err(format!("{name} {what}"));
            }
        }
        Ok(())
    }

    /// Entries, as a reader without a lock sees them.
    fn check_entries(&self, root: &Path, number: MasterKeyNumber) -> Result<(), String> {
        let read = Dictionaries::read(root, &key(number), Reading::Strict);
        let dictionaries = read.map_err(|error| format!("a reader can't read it: {error}"))?;
        let files = dictionaries
            .files()
            .map_err(|error| format!("a reader finds {error}"))?;
        let mut places = BTreeMap::new();
        for (name, info) in files.unsorted() {
            if let Err(error) = dictionaries.file(name) {
                return Err(format!("the entry {name} can't be used: {error}"));
            }
            // A file that isn't there takes the place of either when it is made.
            let place = data_path(root, name);
            let exists = place.exists();
            let other = places.insert(place, info);
            if exists && other.is_some_and(|other| other != info) {
                return Err(format!("two entries for {name}"));
            }
        }
        match self.entries.iter().find(|name| files.find(name).is_none()) {
            Some(name) => Err(format!("no entry {name}")),
            None => Ok(()),
        }
    }
}

fn go_on<T>(what: &str, act: impl FnOnce() -> Result<T, Error>) -> Result<T, String> {
    act().map_err(|error| format!("{what}: {error}"))
}

type Found = (Vec<u8>, Option<Vec<u8>>);

/// A file's content, and what stands on the disk if that is more than the content's first few bytes; `None` when there is no file.
fn read(
    manager: &DataKeyManager,
    root: &Path,
    names: Names,
    name: &str,
) -> Result<Option<Found>, String> {
    if !root.join(name).exists() {
        return Ok(None);
    }
    let read = || -> Result<Found, Box<dyn std::error::Error>> {
        let opened = manager.open_file(path(root, names, name))?;
        let file = opened.file();
        let mut read = vec![0; usize::try_from(file.len()?)?];
        file.read_exact_at(&mut read, 0)?;
        if read.len() < 16 {
            return Ok((read, None));
        }
        let mut raw = vec![0; read.len()];
        file.as_file().read_exact_at(&mut raw, 0)?;
        Ok((read, Some(raw)))
    };
    read()
        .map(Some)
        .map_err(|error| format!("{name} can't be read: {error}"))
}

impl Fate {
    fn is(&self, found: Option<&Found>) -> bool {
        match (self, found) {
            (Self::Between(Between::Absent), None) => true,
            (Self::Whole(content), Some((found, _))) => found == content,
            // Nothing but what was written, but for sectors that were lost.
            (Self::Between(Between::Making(content)), Some((found, raw))) => {
                let raw = raw.as_deref().unwrap_or_default();
                found.len() <= content.len()
                    && found.chunks(512).enumerate().all(|(sector, part)| {
                        let start = sector * 512;
                        let raw = raw.get(start..start + part.len()).unwrap_or_default();
                        let written = part.iter().zip(&content[start..]).zip(raw);
                        stale(start).starts_with(raw)
                            || written
                                .clone()
                                .all(|((found, written), raw)| found == written || *raw == 0)
                    })
            }
            (Self::Between(Between::InPlace(old, new)), Some((found, _))) => {
                found.len() == old.len()
                    && found
                        .iter()
                        .zip(old.iter().zip(new))
                        .all(|(found, (old, new))| found == old || found == new)
            }
            _ => false,
        }
    }
}
