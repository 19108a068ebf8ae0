//! `file.dict` under a writer: every change is durable before it counts, and after a failure nothing is added until the file on the
//! disk is again known to hold exactly what it should.
//!
//! A failed append may have left a part of a record, and a failed sync may have lost pages that the system then calls clean. The first is
//! cut off and the file read again; after the second, only bytes that are written anew, to another file, can be trusted.

use std::path::Path;

use stillkey_core::{FileDictionary, FileLog, Reading, Record, Recovered, Verdict, Version, Write};

use super::reader::read_file_dictionary;
use crate::error::Error;
use crate::fsops::{self, Access, Pinned};
use crate::install;

/// The file dictionary, in memory and on the disk.
#[derive(Debug)]
pub(super) struct Journal {
    path: Box<Path>,
    log: FileLog,
    /// The file that was written last, with the length up to which it is known to be good.
    pinned: Pinned,
    trust: Trust,
    rewrite_threshold: u64,
}

/// How much of what is on the disk is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// All of it.
    Whole,
    /// What stands before the good length; behind it there may be anything.
    UpToGood,
    /// Nothing: a sync or a replacement failed.
    Nothing,
}

impl Journal {
    /// Takes over a file that was pinned and then read, and trims its torn tail. A damaged log is an error, and the file is not touched.
    pub(super) fn open(
        path: &Path,
        mut pinned: Pinned,
        recovered: Recovered,
    ) -> Result<Self, Error> {
        let trust = match &recovered.verdict {
            Verdict::Complete => Trust::Whole,
            Verdict::TornTail { at, .. } => {
                pinned.expect_undisturbed()?;
                pinned.good.len = *at;
                Trust::UpToGood
            }
            Verdict::Corrupt { why, .. } => return Err(Error::data(path)(why.clone().into())),
        };
        let rewrite_threshold = FileLog::DEFAULT_REWRITE_THRESHOLD;
        let mut journal = Self {
            path: path.into(),
            log: FileLog::new(recovered.dictionary, recovered.version, rewrite_threshold),
            pinned,
            trust,
            rewrite_threshold,
        };
        journal.repair()?;
        Ok(journal)
    }

    pub(super) fn dictionary(&self) -> &FileDictionary {
        self.log.dictionary()
    }

    pub(super) fn version(&self) -> Version {
        self.log.version()
    }

    pub(super) fn set_rewrite_threshold(&mut self, removes: u64) {
        self.rewrite_threshold = removes;
        self.log = FileLog::new(self.dictionary().clone(), self.version(), removes);
    }

    /// Makes a change durable, and then takes it over.
    pub(super) fn apply(&mut self, record: Record<'_>) -> Result<(), Error> {
        let write = self.log.prepare(&record).map_err(Error::data(&self.path))?;
        self.repair()?;
        let written = match write {
            Write::Append(bytes) => self.append(&bytes),
            Write::Replace(bytes) => self.replace(&bytes),
        };
        if let Err(error) = written {
            // If this fails too, the next change tries again, and reports why it can't.
            let _ = self.repair();
            return Err(error);
        }
        self.log.commit(record);
        if let Some(bytes) = self.log.compaction() {
            // The change is durable with or without it. A failed compaction is due again after the next change.
            if self.replace(&bytes).is_ok() {
                self.log.compacted();
            }
        }
        Ok(())
    }

    /// Rewrites the file without log records, in the form `version`.
    pub(super) fn rewrite(&mut self, version: Version) -> Result<(), Error> {
        let bytes = self.dictionary().to_bytes(version);
        self.replace(&bytes)?;
        self.log = FileLog::new(self.dictionary().clone(), version, self.rewrite_threshold);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.pinned.expect_undisturbed()?;
        self.trust = Trust::UpToGood;
        fsops::append(&self.pinned.file, bytes, &self.path)?;
        self.sync()?;
        self.pinned.good.len += bytes.len() as u64;
        self.trust = Trust::Whole;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        fsops::sync(&self.pinned.file, &self.path).inspect_err(|_| self.trust = Trust::Nothing)
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.trust == Trust::Whole {
            self.pinned.expect_undisturbed()?;
        }
        self.trust = Trust::Nothing;
        install::write_file(&*self.path, bytes, true)?;
        self.pinned = Pinned::open(&self.path, Access::Append)?;
        self.trust = Trust::Whole;
        Ok(())
    }

    /// Sees to it that the disk holds the dictionary in memory and nothing else.
    fn repair(&mut self) -> Result<(), Error> {
        match self.trust {
            Trust::Whole => Ok(()),
            Trust::UpToGood => self.cut_off(),
            Trust::Nothing => {
                let bytes = self.dictionary().to_bytes(self.version());
                self.replace(&bytes)
            }
        }
    }

    fn cut_off(&mut self) -> Result<(), Error> {
        fsops::truncate(&self.pinned.file, self.pinned.good.len, &self.path)?;
        self.sync()?;
        self.pinned.expect_undisturbed()?;
        let read = read_file_dictionary(&self.path, Reading::Strict)?;
        if read.verdict != Verdict::Complete || read.dictionary != *self.dictionary() {
            return Err(Error::Suspended {
                path: self.path.to_path_buf(),
                why: "after a failed append, it doesn't hold what was written before".into(),
            });
        }
        self.trust = Trust::Whole;
        Ok(())
    }
}
