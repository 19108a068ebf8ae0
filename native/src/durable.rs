//! A file that is replaced as a whole: what is known to be on the disk, whether that is still believed,
//! and what has to happen before the next change.
//!
//! A file takes or loses its name in one step, which outlasts a power failure only once the directory is
//! synced. When that sync fails, a power failure may bring back either state. Until the doubt is settled,
//! nothing may happen that would do harm in one of the two.

use std::path::Path;

use crate::error::Error;
use crate::fsops::{self, Access, Pinned};
use crate::install;

/// How far the disk is known to hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It does, and nothing else.
    Durable,
    /// Up to the good length; anything may follow.
    UpToGood,
    /// What stands there may be something else after a power failure.
    InDoubt,
}

/// A file under its name, or that there is none.
#[derive(Debug)]
pub(crate) struct DurableFile {
    path: Box<Path>,
    access: Access,
    /// What stands there; `None` when nothing does.
    pinned: Option<Pinned>,
    trust: Trust,
}

impl DurableFile {
    /// A file that was pinned, then read and synced, and whose directory was synced.
    pub(crate) fn take_over(path: &Path, pinned: Pinned, access: Access) -> Self {
        Self {
            path: path.into(),
            access,
            pinned: Some(pinned),
            trust: Trust::Durable,
        }
    }

    /// What stands at `path`, in a directory that has just been synced: only then is "nothing" an answer.
    pub(crate) fn find(path: &Path, access: Access) -> Result<Self, Error> {
        let mut file = Self {
            path: path.into(),
            access,
            pinned: None,
            trust: Trust::Durable,
        };
        file.pin()?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust
    }

    pub(crate) fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    pub(crate) fn exists(&self) -> bool {
        self.pinned.is_some()
    }

    /// The open file.
    pub(crate) fn pinned(&self) -> Result<&Pinned, Error> {
        let gone = || Error::Suspended {
            path: self.path.to_path_buf(),
            why: "another program has removed the file".into(),
        };
        self.pinned.as_ref().ok_or_else(gone)
    }

    /// The length up to which it is as it should be.
    pub(crate) fn good_len(&self) -> u64 {
        self.pinned.as_ref().map_or(0, |pinned| pinned.good.len)
    }

    pub(crate) fn set_good_len(&mut self, len: u64) {
        if let Some(pinned) = &mut self.pinned {
            pinned.good.len = len;
        }
    }

    /// Puts a file of these bytes in the place of what stands there. After an error, nothing has changed, or
    /// what stands there is in doubt.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.trust == Trust::Durable
            && let Some(pinned) = &self.pinned
        {
            pinned.expect_undisturbed()?;
        }
        let overwrite = self.exists() || self.trust == Trust::InDoubt;
        let written = install::write_file(&*self.path, bytes, overwrite);
        let seen = self.look_again(&written);
        written.and(seen)
    }

    /// Removes the file.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        if !self.exists() && self.trust == Trust::Durable {
            return Ok(());
        }
        fsops::unlink(&self.path)?;
        let synced = fsops::sync_parent(&self.path).map_err(Error::in_doubt(&self.path));
        let seen = self.look_again(&synced);
        synced.and(seen)
    }

    /// Moves the file to the place of `other`.
    pub(crate) fn move_over(&mut self, other: &mut Self) -> Result<(), Error> {
        let moved = fsops::rename(&self.path, &other.path).map_err(Error::in_doubt(&other.path));
        let seen = self.look_again(&moved).and(other.look_again(&moved));
        moved.and(seen)
    }

    /// Takes over what stands there after a change, unless it left things as they were.
    fn look_again(&mut self, changed: &Result<(), Error>) -> Result<(), Error> {
        self.trust = match changed {
            Ok(()) => Trust::Durable,
            Err(Error::InDoubt { .. }) => Trust::InDoubt,
            Err(_) => return Ok(()),
        };
        self.pin().inspect_err(|_| self.trust = Trust::InDoubt)
    }

    fn pin(&mut self) -> Result<(), Error> {
        self.pinned = None;
        if fsops::exists(&self.path)? {
            self.pinned = Some(Pinned::open(&self.path, self.access)?);
        }
        Ok(())
    }
}
