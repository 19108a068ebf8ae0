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
}

impl Journal {
    /// As [`LogFile::open`].
    pub(super) fn open(path: &Path, pinned: Pinned, recovered: Recovered) -> Result<Self, Error> {
        let (file, log) = LogFile::open(path, pinned, recovered)?;
        file.report(&log);
        Ok(Self { file, log })
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
        if self.file.compact_if_due(&self.log) {
            self.log.compacted();
        }
        self.file.report(&self.log);
        Ok(())
    }

    /// Rewrites the file without log records, in the form `version`.
    pub(super) fn rewrite(&mut self, version: Version) -> Result<(), Error> {
        let bytes = self.dictionary().to_bytes(version);
        self.file.replace(&bytes)?;
        self.log.rewritten(version);
        self.file.report(&self.log);
        Ok(())
    }
}
