//! What a writer refuses to decide: a damaged log, files that are in the way of a replacement that was
//! interrupted, entries without files, files without entries. First it is only looked at; then set right, and
//! nothing is destroyed on the way.
//!
//! The order is that of [`durable`](super::durable): what replaces something is on the disk before that goes.
//! What an interruption leaves of a repair is found by the next one.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use stillkey_core::{FileDictionary, Lost, MasterKey, Reading, Recovered, Salvaged, Verdict};

use super::manager::{DataKeyManager, data_path, is_unfinished};
use super::place::Root;
use super::reader::{read_file_dictionary, read_key_dictionary};
use super::synced::{self, SyncedMark};
use super::{FILE_DICT, Layout, is_dictionary_file};
use crate::error::{Error, ErrorKind};
use crate::fsops::{self, Access};
use crate::install;
use crate::lock::Lock;

/// The directory for files that nothing is known about.
pub const LOST_FOUND: &str = "lost+found";

/// A directory that was looked at. No other writer can change it until this is dropped.
#[derive(Debug)]
pub struct Repair {
    layout: Layout,
    lock: Option<Lock>,
    master_key: MasterKey,
    salvaged: Option<Salvaged>,
    findings: Vec<Finding>,
}

/// What is wrong in a directory, and what [`Repair::carry_out`] does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A part of `file.dict` can't be read. It is written anew from what can; the old one stays under another name.
    LostRecords(Lost),
    /// A replacement of this file was interrupted. It is finished or undone, and what stands in its way moved
    /// to [`LOST_FOUND`].
    Unfinished {
        /// The file's name in the dictionary.
        name: String,
    },
    /// This entry's file isn't there. The entry is removed; the old `file.dict` stays under another name.
    EntryWithoutFile {
        /// The name in the dictionary.
        name: String,
    },
    /// This entry's file isn't there, and it would be outside of the directory, as in a copy of the dictionaries. It is left
    /// as it is.
    EntryElsewhere {
        /// The name in the dictionary.
        name: String,
    },
    /// This file has no entry, so nobody can tell whether it is plaintext. Moved to [`LOST_FOUND`] if that is asked for.
    FileWithoutEntry {
        /// The file, from the directory on.
        path: PathBuf,
    },
}

/// Something that [`Repair::carry_out`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// A copy was made before `file.dict` was changed.
    Kept {
        /// The copy.
        path: PathBuf,
    },
    /// `file.dict` was written anew.
    Rewritten {
        /// How many entries it has.
        entries: usize,
    },
    /// A file was moved, from where to where.
    Moved {
        /// Where it was.
        from: PathBuf,
        /// Where it is now.
        to: PathBuf,
    },
    /// The replacement of this file was finished or undone.
    Settled {
        /// The file's name in the dictionary.
        name: String,
    },
    /// An entry was removed.
    Removed {
        /// Its name.
        name: String,
    },
}

impl Repair {
    /// Looks at a directory with dictionaries; changes nothing.
    ///
    /// # Errors
    /// [`Error::Locked`] when there is another writer; those of [`read_key_dictionary`]: data keys can't be made up, so a
    /// damaged `key.dict` has to come from a backup; [`Error::Io`].
    pub fn look(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        let layout = Layout::new(directory.as_ref());
        let lock = Lock::existing(&layout.lock)?;
        read_key_dictionary(&layout.key_dict, master_key)?;
        let salvaged = salvage(&layout)?;
        let mut repair = Self {
            layout,
            lock,
            master_key: master_key.clone(),
            salvaged,
            findings: Vec::new(),
        };
        repair.find()?;
        Ok(repair)
    }

    /// What is wrong, in the order in which it is set right. Empty when nothing is.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn find(&mut self) -> Result<(), Error> {
        let read;
        let files = match &self.salvaged {
            Some(salvaged) => {
                let lost = salvaged.lost.iter().cloned();
                self.findings.extend(lost.map(Finding::LostRecords));
                &salvaged.dictionary
            }
            None => {
                read = read_file_dictionary(&self.layout.file_dict, Reading::AfterCrash)?;
                &read.dictionary
            }
        };
        let directory = &self.layout.directory;
        let root = Root::new(directory);
        let mut unfinished = HashSet::new();
        let mut with_entry = HashSet::new();
        for (name, _) in files.iter() {
            if let Some(name) = first_name(name)
                && unfinished.insert(name)
            {
                let name = name.to_owned();
                self.findings.push(Finding::Unfinished { name });
            }
        }
        for (name, _) in files.iter() {
            let place = root.place(Path::new(name));
            let path = data_path(directory, name);
            let is_settled = first_name(name).is_none() && !unfinished.contains(name);
            if is_settled && !fsops::exists(&path)? {
                let name = name.to_owned();
                let is_below = place
                    .as_ref()
                    .is_some_and(|place| place.below_root().is_some());
                self.findings.push(if is_below {
                    Finding::EntryWithoutFile { name }
                } else {
                    Finding::EntryElsewhere { name }
                });
            }
            with_entry.extend(place.map(|place| root.path(&place)));
        }
        let mut without_entry = Vec::new();
        files_below(directory, &mut |path| {
            let rest = path.strip_prefix(directory).unwrap_or(path);
            let name = rest.to_str();
            let is_own = name.is_some_and(is_dictionary_file);
            let is_known = root.place(rest).is_some_and(|place| {
                with_entry.contains(&root.path(&place)) || first_name(&place.file_name()).is_some()
            });
            let file_name = path.file_name().and_then(|name| name.to_str());
            let is_leftover = file_name.is_some_and(install::is_leftover);
            if !is_own && !is_known && !is_leftover && !rest.starts_with(LOST_FOUND) {
                without_entry.push(rest.to_owned());
            }
        })?;
        without_entry.sort_unstable();
        let without_entry = without_entry.into_iter();
        self.findings
            .extend(without_entry.map(|path| Finding::FileWithoutEntry { path }));
        Ok(())
    }

    /// Sets right what was found, and tells what it does. Files without an entry are moved if `move_files` is
    /// set: never in the directory of an engine, which has files that aren't encrypted.
    ///
    /// May be called again after any interruption.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InDoubt`], and those of [`DataKeyManager::open`]. What was done before is done.
    pub fn carry_out(self, move_files: bool) -> Result<Vec<Done>, Error> {
        let mut done = Vec::new();
        let lock = match self.lock {
            Some(lock) => lock,
            None => Lock::create(&self.layout.lock)?,
        };
        if let Some(salvaged) = &self.salvaged {
            keep_dictionary(&self.layout, &mut done)?;
            let bytes = salvaged.dictionary.to_bytes(salvaged.version);
            SyncedMark::beside(&self.layout.file_dict).allow_for(&bytes)?;
            install::write_file(&self.layout.file_dict, &bytes, true)?;
            done.push(Done::Rewritten {
                entries: salvaged.dictionary.len(),
            });
        }
        // From here on, the directory is one that a manager opens, and it takes the lock itself.
        drop(lock);
        let manager = DataKeyManager::open(&self.layout.directory, &self.master_key)?;
        let mut lost_found = LostFound::new(&self.layout.directory);
        let mut stale = Vec::new();
        for finding in self.findings {
            match finding {
                Finding::Unfinished { name } => {
                    manager.settle_by_force(&name, |path| lost_found.take(path, &mut done))?;
                    done.push(Done::Settled { name });
                }
                Finding::EntryWithoutFile { name } => stale.push(name),
                Finding::FileWithoutEntry { path } if move_files => {
                    lost_found.take(&self.layout.directory.join(path), &mut done)?;
                }
                Finding::LostRecords(_)
                | Finding::EntryElsewhere { .. }
                | Finding::FileWithoutEntry { .. } => {}
            }
        }
        if !stale.is_empty() {
            keep_dictionary(&self.layout, &mut done)?;
            let removed = manager.remove_stale(stale)?;
            done.extend(removed.into_iter().map(|name| Done::Removed { name }));
        }
        Ok(done)
    }
}

/// What can be had of `file.dict`, if a writer would refuse it.
fn salvage(layout: &Layout) -> Result<Option<Salvaged>, Error> {
    let path = &layout.file_dict;
    match read_file_dictionary(path, Reading::AfterCrash) {
        Ok(Recovered {
            verdict: Verdict::Corrupt { .. },
            ..
        }) => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Damaged => {}
        Err(error) => return Err(error),
    }
    let bytes = fsops::read_up_to(path, u64::MAX)?;
    let mut salvaged = FileDictionary::salvage(&bytes);
    let len = bytes.len() as u64;
    if let Some(synced) = synced::read(path).and_then(|mark| mark.len_of(&bytes))
        && synced > len
    {
        salvaged.lost.push(Lost::absent(len, synced - len));
    }
    Ok(Some(salvaged))
}

/// The name that a file has which is being replaced under this one.
fn first_name(name: &str) -> Option<&str> {
    is_unfinished(name).then(|| name.rsplit_once('.').map_or(name, |(first, _)| first))
}

/// Keeps a copy of `file.dict` as it is, unless there is one.
fn keep_dictionary(layout: &Layout, done: &mut Vec<Done>) -> Result<(), Error> {
    let opened = fsops::open(&layout.file_dict, Access::Read)?;
    let bytes = fsops::read_open(&opened, &layout.file_dict, u64::MAX)?;
    for number in 1_u64.. {
        let path = layout.directory.join(before_repair_name(number));
        match install::write_file_like(&path, &bytes, &opened) {
            Ok(_) => {
                done.push(Done::Kept { path });
                break;
            }
            // An interrupted repair has kept it already.
            Err(Error::AlreadyExists { .. }) if *fsops::read_up_to(&path, u64::MAX)? == *bytes => {
                fsops::sync_parent(&path)?;
                break;
            }
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const BEFORE_REPAIR: &str = ".before-repair";

fn before_repair_name(number: u64) -> String {
    match number {
        1 => format!("{FILE_DICT}{BEFORE_REPAIR}"),
        number => format!("{FILE_DICT}{BEFORE_REPAIR}-{number}"),
    }
}

/// Whether a file name, in lower case, is one that [`keep_dictionary`] gives.
pub(super) fn is_before_repair(name: &str) -> bool {
    let rest = name
        .strip_prefix(FILE_DICT)
        .and_then(|rest| rest.strip_prefix(BEFORE_REPAIR));
    rest.is_some_and(|rest| {
        let number = rest.strip_prefix('-').map(|number| number.parse::<u64>());
        rest.is_empty() || number.is_some_and(|number| number.is_ok())
    })
}

/// Where files go that nothing is known about.
struct LostFound {
    root: PathBuf,
}

impl LostFound {
    fn new(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
        }
    }

    /// Moves a file there, to the same path below it, or to a numbered one if that is taken.
    fn take(&mut self, path: &Path, done: &mut Vec<Done>) -> Result<(), Error> {
        if !fsops::exists(path)? {
            return Ok(());
        }
        let rest = path.strip_prefix(&self.root).unwrap_or(path);
        let target = self.root.join(LOST_FOUND).join(rest);
        fsops::create_directories(fsops::parent(&target))?;
        let mut to = target.clone();
        for number in 2_u64.. {
            if !fsops::exists(&to)? {
                break;
            }
            let mut name = target.clone().into_os_string();
            name.push(format!("-{number}"));
            to = name.into();
        }
        fsops::rename(path, &to)?;
        done.push(Done::Moved {
            from: path.to_owned(),
            to,
        });
        Ok(())
    }
}

/// Shows each regular file below a directory. Links and the like are no data files, and are left alone.
fn files_below(directory: &Path, each: &mut impl FnMut(&Path)) -> Result<(), Error> {
    let listed = Error::io(directory, "list");
    for entry in fs::read_dir(directory).map_err(&listed)? {
        let entry = entry.map_err(&listed)?;
        let kind = entry.file_type().map_err(&listed)?;
        if kind.is_dir() {
            files_below(&entry.path(), each)?;
        } else if kind.is_file() {
            each(&entry.path());
        }
    }
    Ok(())
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostRecords(lost) => {
                write!(
                    f,
                    "file.dict: {} bytes at byte {} can't be read",
                    lost.len, lost.at
                )?;
                for name in &lost.names {
                    write!(f, "; they were about {name:?}")?;
                }
                Ok(())
            }
            Self::Unfinished { name } => {
                write!(f, "interrupted replacement: {name:?}")
            }
            Self::EntryWithoutFile { name } => write!(f, "entry without file: {name:?}"),
            Self::EntryElsewhere { name } => write!(
                f,
                "entry whose file would be elsewhere, and isn't there: {name:?}"
            ),
            Self::FileWithoutEntry { path } => {
                write!(f, "file without entry: {}", path.display())
            }
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { path } => write!(f, "kept what file.dict was as {}", path.display()),
            Self::Rewritten { entries } => {
                write!(f, "wrote file.dict anew with {entries} entries")
            }
            Self::Moved { from, to } => {
                write!(f, "moved {} to {}", from.display(), to.display())
            }
            Self::Settled { name } => {
                write!(f, "finished or undid the replacement of {name:?}")
            }
            Self::Removed { name } => write!(f, "removed the entry of {name:?}"),
        }
    }
}
