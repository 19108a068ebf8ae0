//! `file.dict` on the disk: every change is durable before it counts, and after a failure nothing is added until the file is again known
//! to hold exactly what it should.
//!
//! A failed append may have left a part of a record, and a failed sync may have lost pages that the system then calls clean. The first is
//! cut off and the file read again; after the second, only bytes that are written anew, to another file, can be trusted.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use stillkey_core::{FileLog, Reading, Recovered, SyncedLength, UNSYNCED_LIMIT, Verdict, Write};

use super::reader::read_file_dictionary;
use super::synced::SyncedMark;
use super::torn_tail_name;
use crate::durable::{DurableFile, Trust};
use crate::error::Error;
use crate::fsops::{self, Access, Pinned};
use crate::install;
use crate::observe::{self, Stopwatch};

/// The file. What it should hold is the caller's [`FileLog`], the same in every call.
#[derive(Debug)]
pub(super) struct LogFile {
    /// The file that was written last, with the length up to which it is known to be good.
    file: DurableFile,
    /// Bytes that were appended since the last sync.
    unsynced: usize,
    mark: SyncedMark,
    /// Whether what is past the good length was found when the file was opened, and not kept yet.
    has_torn_tail: bool,
}

impl LogFile {
    /// Takes over a file that was pinned, then read and synced, and trims its torn tail, once that is kept in a
    /// file of its own. A damaged log is an error, and the file is not touched.
    pub(super) fn open(
        path: &Path,
        mut pinned: Pinned,
        recovered: Recovered,
    ) -> Result<(Self, FileLog), Error> {
        let trust = match &recovered.verdict {
            Verdict::Complete => Trust::Durable,
            Verdict::TornTail { at, .. } => {
                pinned.expect_undisturbed()?;
                pinned.good.len = *at;
                Trust::UpToGood
            }
            Verdict::Corrupt { why, .. } => return Err(Error::data(path)(why.clone().into())),
        };
        let threshold = FileLog::DEFAULT_REWRITE_THRESHOLD;
        let log = FileLog::new(recovered.dictionary, recovered.version, threshold);
        let mut file = DurableFile::take_over(path, pinned, Access::Append);
        file.set_trust(trust);
        let mut file = Self {
            file,
            unsynced: 0,
            mark: SyncedMark::beside(path),
            has_torn_tail: trust == Trust::UpToGood,
        };
        match file.repair(&log) {
            // The next change tries again. On a full disk, that may be the one that makes room.
            Err(error) if error.is_for_want_of_space() => {}
            repaired => repaired?,
        }
        file.begin_mark()?;
        Ok((file, log))
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes a change of `log`, which is durable then, and all that was written before with it: unless it `may_wait` for the next sync.
    pub(super) fn write(
        &mut self,
        write: &Write,
        may_wait: bool,
        log: &FileLog,
    ) -> Result<(), Error> {
        self.repair(log)?;
        let written = match write {
            Write::Append(bytes) => self.append(bytes, may_wait),
            Write::Replace(bytes) => self.replace(bytes),
        };
        self.repaired(written, log)
    }

    /// Makes durable what has waited for it.
    pub(super) fn sync_all(&mut self, log: &FileLog) -> Result<(), Error> {
        self.repair(log)?;
        if self.unsynced == 0 {
            return Ok(());
        }
        let synced = self.sync().map(|()| self.advance_mark());
        self.repaired(synced, log)
    }

    /// After a failure, tries to set right what it has left.
    fn repaired(&mut self, outcome: Result<(), Error>, log: &FileLog) -> Result<(), Error> {
        if outcome.is_err() {
            // If this fails too, the next change tries again, and reports why it can't.
            let _ = self.repair(log);
        }
        outcome
    }

    /// Puts these bytes in the place of the file.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let watch = Stopwatch::start();
        self.keep_torn_tail()?;
        self.mark.allow_for(bytes)?;
        let replaced = self.file.replace(bytes);
        if replaced.is_ok() {
            observe::file_dictionary_replaced(self.file.path(), bytes, watch);
            self.unsynced = 0;
        }
        // Whether it is the new file or still the old one.
        if self.file.trust() == Trust::Durable {
            self.begin_mark()?;
        }
        replaced
    }

    /// Rewrites the file if that is due, and returns whether it did. A failed compaction is due again after the next change: what is in the
    /// file is durable with or without it.
    pub(super) fn compact_if_due(&mut self, log: &FileLog) -> bool {
        let Some(bytes) = log.compaction() else {
            return false;
        };
        let replaced = self.replace(&bytes);
        replaced.inspect_err(observe::compaction_failed).is_ok()
    }

    /// Tells what the file holds once it holds all of `log`.
    pub(super) fn report(&self, log: &FileLog) {
        observe::files(log.dictionary().len());
        observe::file_dictionary_len(log.version(), self.file.good_len());
    }

    fn append(&mut self, bytes: &[u8], may_wait: bool) -> Result<(), Error> {
        self.file.pinned()?.expect_undisturbed()?;
        // Only so much can be told from damage after a crash.
        if self.unsynced + bytes.len() > UNSYNCED_LIMIT {
            self.sync()?;
        }
        self.file.set_trust(Trust::UpToGood);
        let pinned = self.file.pinned()?;
        fsops::append(&pinned.file, bytes, pinned.path())?;
        self.unsynced += bytes.len();
        if !may_wait || self.unsynced > UNSYNCED_LIMIT / 2 {
            self.sync()?;
        }
        self.file
            .set_good_len(self.file.good_len() + bytes.len() as u64);
        self.file.set_trust(Trust::Durable);
        self.advance_mark();
        Ok(())
    }

    fn begin_mark(&mut self) -> Result<(), Error> {
        let pinned = self.file.pinned()?;
        let mut start = [0; SyncedLength::START];
        let read = pinned.file.read_exact_at(&mut start, 0);
        read.map_err(Error::io(pinned.path(), "read"))?;
        let synced = pinned.good.len - self.unsynced as u64;
        self.mark.begin(&pinned.file, start, synced);
        Ok(())
    }

    fn advance_mark(&mut self) {
        if self.unsynced == 0 {
            self.mark.advance(self.file.good_len());
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        let watch = Stopwatch::start();
        let pinned = self.file.pinned()?;
        if let Err(error) = fsops::sync(&pinned.file, pinned.path()) {
            self.file.set_trust(Trust::InDoubt);
            return Err(error);
        }
        observe::synced(watch);
        self.unsynced = 0;
        Ok(())
    }

    /// Sees to it that the disk holds the dictionary in memory and nothing else.
    fn repair(&mut self, log: &FileLog) -> Result<(), Error> {
        match self.file.trust() {
            Trust::Durable => Ok(()),
            Trust::UpToGood => {
                observe::repairing(self.path(), Some(self.file.good_len()));
                self.cut_off(log)
            }
            Trust::InDoubt => {
                observe::repairing(self.path(), None);
                self.replace(&log.to_bytes())
            }
        }
    }

    fn cut_off(&mut self, log: &FileLog) -> Result<(), Error> {
        self.keep_torn_tail()?;
        let pinned = self.file.pinned()?;
        fsops::truncate(&pinned.file, pinned.good.len, pinned.path())?;
        self.sync()?;
        self.file.pinned()?.expect_undisturbed()?;
        let read = read_file_dictionary(self.path(), Reading::Strict)?;
        if read.verdict != Verdict::Complete || read.dictionary != *log.dictionary() {
            return Err(Error::Suspended {
                path: self.path().to_owned(),
                why: "after a failed append, it doesn't hold what was written before".into(),
            });
        }
        self.file.set_trust(Trust::Durable);
        self.begin_mark()
    }

    /// Keeps what is about to be cut off: what looks like an append that nobody was told of may be all that is
    /// left of something else.
    fn keep_torn_tail(&mut self) -> Result<(), Error> {
        if !self.has_torn_tail {
            return Ok(());
        }
        let pinned = self.file.pinned()?;
        let at = pinned.good.len;
        let (mut file, mut tail) = (&pinned.file, Vec::new());
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_to_end(&mut tail))
            .map_err(Error::io(pinned.path(), "read"))?;
        // Zeros are what a file has that grew before its content came.
        if tail.iter().any(|byte| *byte != 0) {
            let kept = (1..).map(|n| pinned.path().with_file_name(torn_tail_name(n)));
            for path in kept {
                match install::write_file_like(&path, &tail, &pinned.file) {
                    Err(Error::AlreadyExists { .. }) => {}
                    Err(error) => return Err(error),
                    Ok(_) => {
                        observe::torn_tail_kept(&path, at, tail.len());
                        break;
                    }
                }
            }
        }
        self.has_torn_tail = false;
        Ok(())
    }
}
