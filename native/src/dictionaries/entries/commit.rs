//! Changes of entries, made durable in batches.

use std::sync::atomic::Ordering;

use stillkey_core::error::NotFound;
use stillkey_core::{Batch, FileInfo, Record};

use super::super::log_file::LogFile;
use super::super::sync::RwLockReadGuard;
use super::super::{FileKey, Layout};
use super::{Entries, held};
use crate::error::Error;
use crate::observe;

/// A change of an entry, and what belongs into the same write.
#[derive(Debug)]
pub(super) struct Request {
    name: Box<str>,
    change: Change,
    /// Names whose entries go at the same time.
    displaced: Vec<Box<str>>,
    durability: Durability,
}

impl Request {
    pub(super) fn new(name: &str, change: Change, durability: Durability) -> Self {
        Self {
            name: name.into(),
            change,
            displaced: Vec::new(),
            durability,
        }
    }
}

/// When a change is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Durability {
    /// When it counts.
    Now,
    /// At the next sync.
    Later,
}

#[derive(Debug)]
pub(in super::super) enum Change {
    /// Sets the entry.
    Insert(FileInfo),
    /// Removes the entry, if there is one.
    Remove,
    /// Sets the entry to that of another file, unless it has another already.
    Link { source: Box<str> },
}

/// The entry that a change has replaced.
pub(super) type Outcome = Result<Option<FileInfo>, Error>;

impl Entries {
    /// Gives a file a new random IV under the current data key. The entries of the names that it displaces
    /// go in the same write.
    pub(in super::super) fn insert_new(
        &self,
        name: &str,
        displaced: Vec<Box<str>>,
        durability: Durability,
    ) -> Result<FileKey, Error> {
        let issuing = self.issuing();
        let info = self.layout.new_info(&self.keys())?;
        self.record(&issuing, name, info, displaced, durability)
    }

    /// Sets an entry, if its data key is there. The entries of the names that it displaces go in the same
    /// write.
    pub(in super::super) fn insert(
        &self,
        name: &str,
        info: FileInfo,
        displaced: Vec<Box<str>>,
        durability: Durability,
    ) -> Result<FileKey, Error> {
        self.record(&self.issuing(), name, info, displaced, durability)
    }

    fn record(
        &self,
        _issuing: &RwLockReadGuard<'_, ()>,
        name: &str,
        info: FileInfo,
        displaced: Vec<Box<str>>,
        durability: Durability,
    ) -> Result<FileKey, Error> {
        let key = self.file_key(info.clone())?;
        self.submit(Request {
            displaced,
            ..Request::new(name, Change::Insert(info), durability)
        })?;
        Ok(key)
    }

    /// Makes many changes, durably, with as few writes as can be; not in one step.
    pub(in super::super) fn change_all(
        &self,
        changes: impl IntoIterator<Item = (String, Change)>,
    ) -> Result<(), Error> {
        let requests: Vec<_> = changes
            .into_iter()
            .map(|(name, change)| Request::new(&name, change, Durability::Now))
            .collect();
        let outcomes = self.commit(&requests);
        outcomes
            .into_iter()
            .try_for_each(|outcome| outcome.map(drop))
    }

    /// Makes a change, together with those that other threads ask for meanwhile.
    pub(super) fn submit(&self, request: Request) -> Outcome {
        let outcome = self
            .group
            .submit(request, |requests| self.commit(&requests));
        outcome.unwrap_or_else(|| {
            Err(Error::Suspended {
                path: self.layout.file_dict.clone(),
                why: "a thread panicked while it wrote the file".into(),
            })
        })
    }

    /// Makes changes durable, with as few writes as can be. What is written together fails together, but for changes that can't be made in
    /// the first place.
    pub(super) fn commit(&self, requests: &[Request]) -> Vec<Outcome> {
        let mut log_file = held(&self.log_file);
        let mut outcomes = Vec::with_capacity(requests.len());
        while let Some(rest) = requests
            .get(outcomes.len()..)
            .filter(|rest| !rest.is_empty())
        {
            outcomes.append(&mut self.write_first(rest, &mut log_file));
        }
        if log_file.compact_if_due(&self.view().files) {
            self.change_view(&mut log_file, |view| view.files.compacted());
        }
        log_file.report(&self.view().files);
        outcomes
    }

    /// Makes as many of these changes as belong into one write.
    fn write_first(&self, requests: &[Request], log_file: &mut LogFile) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let written = {
            let log = &self.view().files;
            let mut batch = log.batch();
            for request in requests {
                outcomes.push(add(&mut batch, request, &self.layout));
                if batch.is_full() {
                    break;
                }
            }
            let mut done = requests.iter().take(outcomes.len());
            let may_wait = done.all(|request| request.durability == Durability::Later);
            let len = batch.len();
            let written = match len {
                // That there is nothing to do may rest on changes that aren't durable yet.
                0 if may_wait => Ok(None),
                0 => log_file.sync_all(log).map(|()| None),
                _ => {
                    let (write, changes) = batch.finish();
                    let written = log_file.write(&write, may_wait, log);
                    written.map(|()| Some((len, changes)))
                }
            };
            written.inspect_err(|error| observe::commit_failed(len, error))
        };
        match written {
            Ok(Some((len, changes))) => {
                self.changes.fetch_add(len as u64, Ordering::Relaxed);
                self.writes.fetch_add(1, Ordering::Relaxed);
                let written = requests.iter().take(outcomes.len());
                let names = written
                    .flat_map(|request| [&request.name].into_iter().chain(&request.displaced));
                self.change_view(log_file, |view| {
                    view.files.commit(changes);
                    let files = view.files.dictionary();
                    for name in names {
                        let is_there = |name: &str| files.find(name).is_some();
                        view.odd_names.update(&self.root, name, is_there);
                    }
                });
                observe::committed(len);
            }
            Ok(None) => {}
            Err(error) => {
                for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                    *outcome = Err(error.clone());
                }
            }
        }
        outcomes
    }
}

/// Adds a change to a batch if it can be made.
fn add(batch: &mut Batch<'_>, request: &Request, layout: &Layout) -> Outcome {
    let file_dict = Error::data(&layout.file_dict);
    let name = &*request.name;
    let previous = batch.find(name).cloned();
    let record = match &request.change {
        Change::Insert(info) => Record::Insert {
            name,
            info: info.clone(),
        },
        Change::Remove => {
            remove(batch, name).map_err(file_dict)?;
            return Ok(previous);
        }
        Change::Link { source } => {
            let absent = || file_dict(NotFound::File(source.to_string()).into());
            let info = batch.find(source).cloned().ok_or_else(absent)?;
            match &previous {
                Some(there) if *there == info => return Ok(previous),
                Some(_) => {
                    return Err(Error::NameTaken {
                        path: layout.file_dict.clone(),
                        name: name.into(),
                    });
                }
                None => Record::Insert { name, info },
            }
        }
    };
    batch.add(&record).map_err(&file_dict)?;
    for name in &request.displaced {
        remove(batch, name).map_err(&file_dict)?;
    }
    Ok(previous)
}

/// Adds the removal of an entry, if there is one.
fn remove(batch: &mut Batch<'_>, name: &str) -> Result<(), stillkey_core::Error> {
    match batch.find(name) {
        Some(_) => batch.add(&Record::Remove { name }),
        None => Ok(()),
    }
}
