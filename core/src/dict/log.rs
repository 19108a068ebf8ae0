//! The file dictionary's log: reading it up to an exact verdict, and the state machine that says what to append or rewrite.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::dict::files::{FileDictionary, FileInfo};
use crate::error::{Damage, Error, Finding, Misuse, NotFound, Part};
use crate::format::header::{self, Version};
use crate::format::protobuf::Message;
use crate::format::record::{self, RawRecord};

/// How to read what a checksum doesn't prove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Damage that can be told from a torn append is reported as damage. The default.
    #[default]
    Strict,
    /// Exactly as TiKV reads: a record that reaches past the end is a torn tail whatever its cause, and type bytes are believed.
    Tikv,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With its last record.
    Complete,
    /// In the middle of an append that was never acknowledged; what stands before it is whole.
    TornTail {
        /// Where the torn record starts: the length that the file should be cut to. Bytes from the start of the file.
        at: u64,
        /// Bytes of the torn record.
        dropped: u64,
    },
    /// With damage. Records after it can't be trusted.
    Corrupt {
        /// Where the damaged record starts: bytes from the start of the file.
        at: u64,
        /// What is wrong.
        why: Damage,
    },
}

/// A change to the file dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Sets a file's entry.
    Insert {
        /// The file's name.
        name: &'a str,
        /// Its entry.
        info: FileInfo,
    },
    /// Removes a file's entry.
    Remove {
        /// The file's name.
        name: &'a str,
    },
}

impl Record<'_> {
    /// The record's bytes in a log.
    ///
    /// # Errors
    /// [`Misuse::NameTooLong`] and [`Misuse::InfoTooLong`] above 65,535 bytes (TiKV writes a log that nothing can read).
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let (kind, name, info) = match self {
            Self::Insert { name, info } => (record::INSERT, name, encoded_info(info)),
            Self::Remove { name } => (record::REMOVE, name, Vec::new()),
        };
        let name_len =
            u16::try_from(name.len()).map_err(|_| Misuse::NameTooLong { len: name.len() })?;
        let info_len =
            u16::try_from(info.len()).map_err(|_| Misuse::InfoTooLong { len: info.len() })?;
        Ok(record::encode(
            kind,
            (name.as_bytes(), name_len),
            (&info, info_len),
        ))
    }
}

/// File information as a record holds it: never empty, since strict reading tells inserts from removes by that.
fn encoded_info(info: &FileInfo) -> Vec<u8> {
    let encoded = info.encode();
    if encoded.is_empty() {
        return [0x08, 0x00].into(); // key_id: 0, which proto3 would leave out
    }
    encoded
}

/// A record with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocatedRecord<'a> {
    /// Where it starts: bytes from the start of the file.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its checksum, which fits.
    pub checksum: u32,
    /// The change.
    pub record: Record<'a>,
}

/// Iterates over the valid records of a log; [`LogReader::verdict`] then says why it stopped.
#[derive(Debug)]
pub struct LogReader<'a> {
    rest: &'a [u8],
    at: u64,
    count: u64,
    reading: Reading,
    verdict: Verdict,
}

impl<'a> LogReader<'a> {
    /// Reads the records of a `file.dict`; a version 1 file has none.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`] when its header can't be read.
    pub fn new(file: &'a [u8], reading: Reading) -> Result<Self, Error> {
        let framed = header::parse(file)?;
        Ok(Self::over(
            framed.rest,
            (header::LEN + framed.content.len()) as u64,
            reading,
        ))
    }

    fn over(records: &'a [u8], at: u64, reading: Reading) -> Self {
        Self {
            rest: records,
            at,
            count: 0,
            reading,
            verdict: Verdict::Complete,
        }
    }

    /// How the log ends, as far as it has been read: final once the iterator has returned `None`.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn parse(&self) -> Result<(RawRecord<'a>, Record<'a>), Verdict> {
        let raw = RawRecord::parse(self.rest).ok_or_else(|| self.torn_or_damaged())?;
        if !raw.is_intact() {
            if raw.len() == self.rest.len() {
                return Err(self.torn_or_damaged());
            }
            return Err(self.corrupt(Finding::Checksum {
                stored: raw.stored_checksum,
                computed: raw.computed_checksum(),
            }));
        }
        let name =
            core::str::from_utf8(raw.name).map_err(|_| self.corrupt(Finding::NameNotUtf8))?;
        let record = match raw.kind {
            record::INSERT => Record::Insert {
                name,
                info: FileInfo::decode(raw.info)
                    .map_err(|error| self.corrupt(Finding::Protobuf(error.what)))?,
            },
            record::REMOVE => Record::Remove { name },
            found => return Err(self.corrupt(Finding::RecordType(found))),
        };
        // Every insert has at least a key id or method to say, and no remove has any.
        if self.reading == Reading::Strict && (raw.kind == record::INSERT) == raw.info.is_empty() {
            return Err(self.corrupt(Finding::TypeMismatch { found: raw.kind }));
        }
        Ok((raw, record))
    }

    fn corrupt(&self, finding: Finding) -> Verdict {
        Verdict::Corrupt {
            at: self.at,
            why: Damage {
                part: Part::Record(self.count + 1),
                at: self.at,
                finding,
            },
        }
    }

    /// What remains is not a whole record. A torn append leaves nothing intact behind its start; a damaged length field does.
    fn torn_or_damaged(&self) -> Verdict {
        match self.reading {
            Reading::Strict => match find_intact_record(self.rest) {
                Search::Nothing => Verdict::TornTail {
                    at: self.at,
                    dropped: self.rest.len() as u64,
                },
                Search::IntactAt(offset) => self.corrupt(Finding::IntactRecordInside {
                    at: self.at + offset as u64,
                }),
                Search::TooLong => self.corrupt(Finding::TornOrDamaged),
            },
            Reading::Tikv => Verdict::TornTail {
                at: self.at,
                dropped: self.rest.len() as u64,
            },
        }
    }

    fn stop(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.rest = &[];
    }
}

impl<'a> Iterator for LogReader<'a> {
    type Item = LocatedRecord<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.parse() {
            Ok((raw, record)) => {
                let located = LocatedRecord {
                    at: self.at,
                    len: raw.len() as u64,
                    checksum: raw.stored_checksum,
                    record,
                };
                self.rest = self.rest.get(raw.len()..).unwrap_or_default();
                self.at += located.len;
                self.count += 1;
                Some(located)
            }
            Err(verdict) => {
                self.stop(verdict);
                None
            }
        }
    }
}

/// Checksum work per call, in bytes, before the search gives up and calls the tail damaged: ample for any torn append (a record has at most
/// 131,079 bytes), and a bound on what hostile bytes can cost.
const SEARCH_BUDGET: usize = 64 << 20;

/// What stands behind the start of something that is not a whole record.
enum Search {
    /// No intact record: an append was torn.
    Nothing,
    /// An intact record at this offset: the damage is in the middle.
    IntactAt(usize),
    /// So much that looks like records that looking at all of it would take too long.
    TooLong,
}

/// Looks for the first intact record behind the start of `tail`.
fn find_intact_record(tail: &[u8]) -> Search {
    let mut budget = SEARCH_BUDGET;
    for offset in 1..tail.len() {
        let Some(candidate) = tail.get(offset..).and_then(RawRecord::parse) else {
            continue;
        };
        let plausible = matches!(candidate.kind, record::INSERT | record::REMOVE)
            && !candidate.name.is_empty()
            && (candidate.kind == record::REMOVE) == candidate.info.is_empty();
        if !plausible {
            continue;
        }
        budget = match budget.checked_sub(candidate.len()) {
            Some(left) => left,
            None => return Search::TooLong,
        };
        if candidate.is_intact() && core::str::from_utf8(candidate.name).is_ok() {
            return Search::IntactAt(offset);
        }
    }
    Search::Nothing
}

/// A file dictionary as read, with how its log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The entries, up to where the log ends.
    pub dictionary: FileDictionary,
    /// The form of the file.
    pub version: Version,
    /// Valid records in the log; 0 in version 1.
    pub records: u64,
    /// How the log ends; [`Verdict::Complete`] in version 1.
    pub verdict: Verdict,
}

impl FileDictionary {
    /// Reads the bytes of a `file.dict` of either version. A torn tail is dropped, as TiKV does.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`]. To see what a damaged log still holds, use [`FileDictionary::recover`].
    pub fn open(file: &[u8]) -> Result<Self, Error> {
        Self::recover(file, Reading::Strict)?.into_dictionary()
    }

    /// Reads the bytes of a `file.dict` and says exactly where and how its log ends.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`] when header or content can't be read. Damage in the log is a verdict, not an error.
    pub fn recover(file: &[u8], reading: Reading) -> Result<Recovered, Error> {
        Recovered::from_file(file, reading)
    }
}

impl Recovered {
    fn from_file(file: &[u8], reading: Reading) -> Result<Self, Error> {
        let framed = header::parse(file)?;
        let mut dictionary = match framed.version {
            Version::V1 => FileDictionary::from_v1_content(framed.content)?,
            Version::V2 => FileDictionary::decode(framed.content)
                .map_err(|error| error.in_part(Part::Content, header::LEN as u64))?,
        };
        let mut log = LogReader::over(
            framed.rest,
            (header::LEN + framed.content.len()) as u64,
            reading,
        );
        let mut records = 0;
        while let Some(LocatedRecord { at, record, .. }) = log.next() {
            match record {
                Record::Insert { name, info } => drop(dictionary.insert(name, info)),
                Record::Remove { name } => {
                    if dictionary.remove(name).is_none() {
                        let why = Damage {
                            part: Part::Record(records + 1),
                            at,
                            finding: Finding::RemoveOfAbsent {
                                name: name.to_string(),
                            },
                        };
                        log.stop(Verdict::Corrupt { at, why });
                        break;
                    }
                }
            }
            records += 1;
        }
        Ok(Self {
            dictionary,
            version: framed.version,
            records,
            verdict: log.verdict,
        })
    }

    /// The dictionary, if its log is whole up to at most a torn tail.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the verdict is [`Verdict::Corrupt`].
    pub fn into_dictionary(self) -> Result<FileDictionary, Error> {
        match self.verdict {
            Verdict::Complete | Verdict::TornTail { .. } => Ok(self.dictionary),
            Verdict::Corrupt { why, .. } => Err(why.into()),
        }
    }
}

/// What a change asks of the disk. The change counts once this is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Append these bytes to `file.dict` with one write.
    Append(Vec<u8>),
    /// Replace `file.dict` by these bytes, atomically.
    Replace(Vec<u8>),
}

/// The file dictionary of a writer, as a state machine: [`FileLog::prepare`] says what to write, and once that is durable,
/// [`FileLog::commit`] takes the change over. Compaction is due when [`FileLog::compaction`] has bytes.
///
/// ```
/// use stillkey_core::{FileDictionary, FileInfo, FileLog, Iv, Method, Record, Version, Write};
/// let mut log = FileLog::new(FileDictionary::new(), Version::V2, FileLog::DEFAULT_REWRITE_THRESHOLD);
/// let record = Record::Insert { name: "a", info: FileInfo::encrypted(7, Iv::new([1; 16]), Method::Sm4Ctr) };
/// let Write::Append(bytes) = log.prepare(&record)? else { unreachable!() };
/// // … append `bytes` to file.dict and sync it, then:
/// log.commit(record);
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

    /// What to write for this change; nothing changes here yet.
    ///
    /// # Errors
    /// Those of [`Record::to_bytes`]; [`NotFound::File`](crate::error::NotFound::File) for the removal of a name that has no entry, which would make the log unreadable.
    pub fn prepare(&self, record: &Record<'_>) -> Result<Write, Error> {
        self.prepare_all(core::slice::from_ref(record))
    }

    /// What to write for these changes, one after the other, at once: one write and one sync for all of them.
    ///
    /// # Errors
    /// As [`FileLog::prepare`], for the first record that can't be written.
    pub fn prepare_all(&self, records: &[Record<'_>]) -> Result<Write, Error> {
        let mut bytes = Vec::new();
        let mut changed = BTreeMap::new();
        for record in records {
            let (name, is_insert) = match record {
                Record::Insert { name, .. } => (*name, true),
                Record::Remove { name } => (*name, false),
            };
            if !is_insert && changed.get(name) != Some(&true) {
                // Not in this batch: then in the dictionary, unless this batch has removed it.
                let has_entry = !changed.contains_key(name) && self.dictionary.find(name).is_some();
                if !has_entry {
                    return Err(NotFound::File(name.into()).into());
                }
            }
            changed.insert(name, is_insert);
            bytes.append(&mut record.to_bytes()?);
        }
        Ok(match self.version {
            Version::V2 => Write::Append(bytes),
            Version::V1 => {
                let mut dictionary = self.dictionary.clone();
                for record in records {
                    apply(&mut dictionary, record.clone());
                }
                Write::Replace(dictionary.to_bytes(Version::V1))
            }
        })
    }

    /// Takes a change over whose write is durable.
    pub fn commit(&mut self, record: Record<'_>) {
        self.removes +=
            u64::from(matches!(record, Record::Remove { .. }) && self.version == Version::V2);
        apply(&mut self.dictionary, record);
    }

    /// The bytes to replace `file.dict` by, if compaction is due.
    pub fn compaction(&self) -> Option<Vec<u8>> {
        (self.removes > self.rewrite_threshold).then(|| self.dictionary.to_bytes(self.version))
    }

    /// To be called when a compaction is durable.
    pub fn compacted(&mut self) {
        self.removes = 0;
    }
}

fn apply(dictionary: &mut FileDictionary, record: Record<'_>) {
    match record {
        Record::Insert { name, info } => drop(dictionary.insert(Box::<str>::from(name), info)),
        Record::Remove { name } => drop(dictionary.remove(name)),
    }
}
