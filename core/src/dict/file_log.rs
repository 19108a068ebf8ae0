//! The file dictionary of a writer: a state machine that says what to append or rewrite, and takes changes over once that is durable.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::log::{Record, UNSYNCED_LIMIT};
use crate::dict::files::{FileDictionary, FileInfo};
use crate::error::{Error, NotFound};
use crate::format::header::Version;

/// What a change asks of the disk. The change counts once this is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Append these bytes to `file.dict` with one write.
    Append(Vec<u8>),
    /// Replace `file.dict` by these bytes, atomically.
    Replace(Vec<u8>),
}

/// The file dictionary of a writer, as a state machine: a [`Batch`] of changes says what to write, and once that is durable,
/// [`FileLog::commit`] takes the changes over. Compaction is due when [`FileLog::compaction`] has bytes.
///
/// ```
/// use stillkey_core::{FileDictionary, FileInfo, FileLog, Iv, Method, Record, Version, Write};
/// let mut log = FileLog::new(FileDictionary::new(), Version::V2, FileLog::DEFAULT_REWRITE_THRESHOLD);
/// let mut batch = log.batch();
/// batch.add(&Record::Insert { name: "a", info: FileInfo::encrypted(7, Iv::new([1; 16]), Method::Sm4Ctr) })?;
/// let (write, changes) = batch.finish();
/// let Write::Append(bytes) = write else { unreachable!() };
/// // … append `bytes` to file.dict and sync it, then:
/// log.commit(changes);
/// assert!(log.dictionary().find("a").is_some());
/// # assert!(!bytes.is_empty());
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileLog {
    dictionary: FileDictionary,
    version: Version,
    rewrite_threshold: u64,
    removes: u64,
}

impl FileLog {
    /// Removes after which TiKV compacts a log, unless configured otherwise.
    pub const DEFAULT_REWRITE_THRESHOLD: u64 = 1_000_000;

    /// A log over a `file.dict` that has just been written by [`FileDictionary::to_bytes`] or fully recovered.
    ///
    /// `rewrite_threshold`: the log is due for compaction when more remove records than this have been appended.
    pub fn new(dictionary: FileDictionary, version: Version, rewrite_threshold: u64) -> Self {
        Self {
            dictionary,
            version,
            rewrite_threshold,
            removes: 0,
        }
    }

    /// The entries.
    pub fn dictionary(&self) -> &FileDictionary {
        &self.dictionary
    }

    /// The form of the file.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Changes that shall be written together.
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            log: self,
            changed: HashMap::new(),
            removes: 0,
            len: 0,
            bytes: Vec::new(),
        }
    }

    /// Takes changes over whose write is durable.
    pub fn commit(&mut self, changes: Changes) {
        if self.version == Version::V2 {
            self.removes += changes.removes;
        }
        changes.apply_to(&mut self.dictionary);
    }

    /// Sets the number of removes after which compaction is due, as in [`FileLog::new`].
    pub fn set_rewrite_threshold(&mut self, removes: u64) {
        self.rewrite_threshold = removes;
    }

    /// The bytes to replace `file.dict` by, if compaction is due.
    pub fn compaction(&self) -> Option<Vec<u8>> {
        (self.removes > self.rewrite_threshold).then(|| self.to_bytes())
    }

    /// The bytes of a `file.dict` that holds the entries and no log records.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.dictionary.to_bytes(self.version)
    }

    /// To be called when a compaction is durable.
    pub fn compacted(&mut self) {
        self.removes = 0;
    }

    /// To be called when `file.dict` has been rewritten in another form, durably.
    pub fn rewritten(&mut self, version: Version) {
        self.version = version;
        self.compacted();
    }
}

/// Changes that are written together, with one write and one sync: each sees those before it, and nothing changes in the [`FileLog`] yet.
#[derive(Debug)]
pub struct Batch<'l> {
    log: &'l FileLog,
    /// The entries that change; `None` for those that go.
    changed: HashMap<Box<str>, Option<FileInfo>>,
    removes: u64,
    len: usize,
    bytes: Vec<u8>,
}

impl Batch<'_> {
    /// A file's entry after the changes so far.
    pub fn find(&self, name: &str) -> Option<&FileInfo> {
        match self.changed.get(name) {
            Some(changed) => changed.as_ref(),
            None => self.log.dictionary.find(name),
        }
    }

    /// Adds a change. After an error, the batch is as it was.
    ///
    /// # Errors
    /// Those of [`Record::to_bytes`]; [`NotFound::File`](crate::error::NotFound::File) for the removal of a name that has no entry, which
    /// would make the log unreadable.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let name = record.name();
        let info = match record {
            Record::Insert { info, .. } => Some(info.clone()),
            Record::Remove { name } if self.find(name).is_none() => {
                return Err(NotFound::File((*name).into()).into());
            }
            Record::Remove { .. } => None,
        };
        record.append_to(&mut self.bytes)?;
        self.removes += u64::from(info.is_none());
        self.len += 1;
        self.changed.insert(name.into(), info);
        Ok(())
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it should be written before more is added: a reader can tell a torn write from damage only up to a length.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= UNSYNCED_LIMIT / 2
    }

    /// What to write, and what to [`commit`](FileLog::commit) once it is durable.
    pub fn finish(self) -> (Write, Changes) {
        let changes = Changes {
            changed: self.changed,
            removes: self.removes,
        };
        let write = match self.log.version {
            Version::V2 => Write::Append(self.bytes),
            Version::V1 => {
                let mut dictionary = self.log.dictionary.clone();
                changes.clone().apply_to(&mut dictionary);
                Write::Replace(dictionary.to_bytes(Version::V1))
            }
        };
        (write, changes)
    }
}

/// What a [`Batch`] changes.
#[derive(Clone, Debug)]
#[must_use = "changes that are durable count only once they are committed"]
pub struct Changes {
    changed: HashMap<Box<str>, Option<FileInfo>>,
    removes: u64,
}

impl Changes {
    fn apply_to(self, dictionary: &mut FileDictionary) {
        for (name, info) in self.changed {
            match info {
                Some(info) => drop(dictionary.insert(name, info)),
                None => drop(dictionary.remove(&name)),
            }
        }
    }
}
