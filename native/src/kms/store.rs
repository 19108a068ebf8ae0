//! Where the sealed state of a KMS is kept: one value that is read, and swapped for the next one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stillkey_core::kms::sealed::SealedState;
use zeroize::Zeroizing;

use crate::durable::{DurableFile, Trust};
use crate::error::Error;
use crate::fsops::{self, Access};
use crate::lock::Lock;

/// Which state it is: stores number them as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// A state as a store keeps it: sealed.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Which one it is.
    pub revision: Revision,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What became of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The new state is there, durably.
    Done(Revision),
    /// Another state than the expected one is there: it has to be read, and the change judged anew.
    Conflict,
}

/// A place for the sealed state of a KMS.
pub trait StateStore: Send + Sync + fmt::Debug {
    /// What is there; `None`: nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn read(&self) -> Result<Option<Kept>, Error>;

    /// Puts the next state in the place of the one that is expected, durably and in one step.
    ///
    /// # Errors
    /// [`Error::InDoubt`] when it isn't known whether that happened; otherwise nothing has.
    fn swap(&self, expected: Option<Revision>, state: &[u8]) -> Result<Swapped, Error>;
}

/// The state in a directory: `kms.state`, and `kms.state.previous` with the state before the last
/// change. The directory is locked by `kms.lock` as long as this lives.
#[derive(Debug)]
pub struct DirectoryStore {
    directory: PathBuf,
    file: Mutex<StateFile>,
    _lock: Lock,
}

#[derive(Debug)]
struct StateFile {
    durable: DurableFile,
    /// What was read, or swapped in, last: it is there or, after a swap in doubt, may be.
    current: Option<Revision>,
}

pub(super) const STATE: &str = "kms.state";
pub(super) const PREVIOUS: &str = "kms.state.previous";
/// A second name of the state on its way to [`PREVIOUS`].
const NEXT_PREVIOUS: &str = "kms.state.previous.next";
const LOCK: &str = "kms.lock";

/// No state is longer.
const LIMIT: u64 = 1 << 30;

impl DirectoryStore {
    /// Opens a directory, and makes it for its owner only if it isn't there.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it; [`Error::Io`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        fsops::create_directories(&directory)?;
        let mut lock = Lock::create(&directory.join(LOCK))?;
        lock.sign();
        fsops::sync_directory(&directory)?;
        remove_leftovers(&directory)?;
        let durable = DurableFile::find(&directory.join(STATE), Access::Read)?;
        let mut store = Self {
            directory,
            file: Mutex::new(StateFile {
                durable,
                current: None,
            }),
            _lock: lock,
        };
        let found = store.read_file()?.map(|kept| kept.revision);
        store
            .file
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .current = found;
        Ok(store)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn file(&self) -> MutexGuard<'_, StateFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self, file: &[u8]) -> Result<Revision, Error> {
        let state = SealedState::parse(file).map_err(|source| Error::KmsState {
            path: self.directory.join(STATE),
            source,
        })?;
        Ok(Revision(state.generation()))
    }

    fn read_file(&self) -> Result<Option<Kept>, Error> {
        let path = self.directory.join(STATE);
        if !fsops::exists(&path)? {
            return Ok(None);
        }
        let bytes = fsops::read_up_to(&path, LIMIT)?;
        let revision = self.generation(&bytes)?;
        Ok(Some(Kept { revision, bytes }))
    }

    /// Gives the state that stands there the name of the previous one, too.
    fn keep_previous(&self) -> Result<(), Error> {
        let next = self.directory.join(NEXT_PREVIOUS);
        fsops::unlink(&next)?;
        fsops::link(&self.directory.join(STATE), &next)?;
        fsops::rename(&next, &self.directory.join(PREVIOUS))
    }
}

/// What an interruption left: a second name of a file that has another one, and states that were never
/// taken over.
fn remove_leftovers(directory: &Path) -> Result<(), Error> {
    let mut removed = fsops::unlink(&directory.join(NEXT_PREVIOUS))?;
    for entry in std::fs::read_dir(directory).map_err(Error::io(directory, "list"))? {
        let entry = entry.map_err(Error::io(directory, "list"))?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.starts_with(".kms.state.") && crate::install::is_leftover(name) {
            removed |= fsops::unlink(&entry.path())?;
        }
    }
    match removed {
        true => fsops::sync_directory(directory),
        false => Ok(()),
    }
}

impl StateStore for DirectoryStore {
    fn read(&self) -> Result<Option<Kept>, Error> {
        let _file = self.file();
        self.read_file()
    }

    fn swap(&self, expected: Option<Revision>, state: &[u8]) -> Result<Swapped, Error> {
        let mut file = self.file();
        let next = self.generation(state)?;
        if file.current != expected {
            return Ok(Swapped::Conflict);
        }
        // After a swap in doubt, either of two states may be there: neither is one to go back to.
        if file.durable.exists() && file.durable.trust() == Trust::Durable {
            self.keep_previous()?;
        }
        file.durable.replace(state)?;
        file.current = Some(next);
        Ok(Swapped::Done(next))
    }
}
