//! `file.dict` under one writer: in memory and on the disk.

use std::path::Path;

use stillkey_core::{FileDictionary, FileLog, Record, Recovered, Version};

use super::log_file::LogFile;
use crate::error::Error;
use crate::fsops::Pinned;
use crate::observe;

/// The file dictionary, in memory and on the disk.
#[derive(Debug)]
pub(super) struct Journal {
    file: LogFile,
    log: FileLog,
    rewrite_threshold: u64,
}

impl Journal {
    /// As [`LogFile::open`].
    pub(super) fn open(path: &Path, pinned: Pinned, recovered: Recovered) -> Result<Self, Error> {
        let (file, log) = LogFile::open(path, pinned, recovered)?;
        file.report(&log);
        Ok(Self {
            file,
            log,
            rewrite_threshold: FileLog::DEFAULT_REWRITE_THRESHOLD,
        })
    }

    pub(super) fn into_parts(self) -> (LogFile, FileLog) {
        (self.file, self.log)
    }

    pub(super) fn dictionary(&self) -> &FileDictionary {
        self.log.dictionary()
    }

    pub(super) fn version(&self) -> Version {
        self.log.version()
    }

    pub(super) fn set_rewrite_threshold(&mut self, removes: u64) {
        self.rewrite_threshold = removes;
        self.log.set_rewrite_threshold(removes);
    }

    /// Makes a change durable, and then takes it over.
    pub(super) fn apply(&mut self, record: Record<'_>) -> Result<(), Error> {
        let mut batch = self.log.batch();
        let added = batch.add(&record);
        added.map_err(Error::data(self.file.path()))?;
        let (write, changes) = batch.finish();
        let written = self.file.write(&write, false, &self.log);
        written.inspect_err(|error| observe::commit_failed(1, error))?;
        self.log.commit(changes);
        observe::committed(1);
        if let Some(bytes) = self.log.compaction() {
            // The change is durable with or without it. A failed compaction is due again after the next change.
            match self.file.replace(&bytes) {
                Ok(()) => self.log.compacted(),
                Err(error) => observe::compaction_failed(&error),
            }
        }
        self.file.report(&self.log);
        Ok(())
    }

    /// Rewrites the file without log records, in the form `version`.
    pub(super) fn rewrite(&mut self, version: Version) -> Result<(), Error> {
        let bytes = self.dictionary().to_bytes(version);
        self.file.replace(&bytes)?;
        self.log = FileLog::new(self.dictionary().clone(), version, self.rewrite_threshold);
        self.file.report(&self.log);
        Ok(())
    }
}
