//! The file dictionary's log: its records, and reading it up to an exact verdict.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::dict::files::{FileDictionary, FileInfo};
use crate::error::{Damage, Error, Finding, Misuse, Part};
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
    /// As [`Reading::Strict`], but what a power failure may leave of changes that were never acknowledged is a torn tail, too: zeros in
    /// the place of sectors that had not reached the disk, even with intact records behind them. For whoever goes on writing.
    AfterCrash,
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
        let mut bytes = Vec::new();
        self.append_to(&mut bytes)?;
        Ok(bytes)
    }

    /// As [`Record::to_bytes`], behind what `out` holds, which an error leaves as it is.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (kind, name, info) = match self {
            Self::Insert { name, info } => (record::INSERT, name, encoded_info(info)),
            Self::Remove { name } => (record::REMOVE, name, Vec::new()),
        };
        let name_len =
            u16::try_from(name.len()).map_err(|_| Misuse::NameTooLong { len: name.len() })?;
        let info_len =
            u16::try_from(info.len()).map_err(|_| Misuse::InfoTooLong { len: info.len() })?;
        record::encode(kind, (name.as_bytes(), name_len), (&info, info_len), out);
        Ok(())
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Insert { name, .. } | Self::Remove { name } => name,
        }
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

    pub(super) fn over(records: &'a [u8], at: u64, reading: Reading) -> Self {
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

    // Once, and not in each loop over a log: modules for browsers are small.
    #[inline(never)]
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
        if self.reading != Reading::Tikv && (raw.kind == record::INSERT) == raw.info.is_empty() {
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
            Reading::Strict | Reading::AfterCrash => match find_intact_record(self.rest) {
                Search::Nothing => self.torn(),
                Search::IntactAt(offset) => self.corrupt(Finding::IntactRecordInside {
                    at: self.at + offset as u64,
                }),
                Search::TooLong => self.corrupt(Finding::TornOrDamaged),
            },
            Reading::Tikv => self.torn(),
        }
    }

    fn torn(&self) -> Verdict {
        Verdict::TornTail {
            at: self.at,
            dropped: self.rest.len() as u64,
        }
    }

    /// Whether what remains, of which the first record is not good, can be what a power failure left of the last write: in the place of a
    /// sector that didn't reach the disk, a file that grows has zeros.
    fn was_lost_in_a_crash(&self) -> bool {
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        if is_zero(self.rest) {
            return true;
        }
        if self.rest.len() > UNSYNCED_LIMIT {
            return false; // What lies so far before the end was acknowledged.
        }
        let len = RawRecord::claimed_len(self.rest).min(self.rest.len());
        #[expect(clippy::cast_possible_truncation, reason = "less than a sector")]
        let into_sector = (self.at % SECTOR as u64) as usize;
        let (mut start, mut end) = (0, SECTOR - into_sector);
        while start < len {
            let part = self.rest.get(start..end).or(self.rest.get(start..));
            if part.is_some_and(is_zero) {
                return true;
            }
            (start, end) = (end, end + SECTOR);
        }
        false
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
            // The checksum of nothing is zero, so zeros can look like a record that is intact.
            Ok((raw, _))
                if self.reading == Reading::AfterCrash
                    && raw.len() == record::HEADER_LEN
                    && self.was_lost_in_a_crash() =>
            {
                self.stop(self.torn());
                None
            }
            Ok((raw, record)) => {
                let located = LocatedRecord {
                    at: self.at,
                    len: raw.len() as u64,
                    checksum: raw.stored_checksum,
                    record,
                };
                // Its lengths fit, so this can't be past the end; if it were, going on would lose entries.
                (_, self.rest) = self.rest.split_at(raw.len());
                self.at += located.len;
                self.count += 1;
                Some(located)
            }
            Err(verdict) => {
                let crash = self.reading == Reading::AfterCrash && self.was_lost_in_a_crash();
                self.stop(if crash { self.torn() } else { verdict });
                None
            }
        }
    }
}

/// Most bytes that a writer appends before it syncs. Zeros farther than that before the end of a log are not those of a torn write.
pub const UNSYNCED_LIMIT: usize = 512 << 10;

/// What a disk writes wholly or not at all, in bytes: the smallest that is in use.
const SECTOR: usize = 512;

/// Checksum work per call, in bytes, before the search gives up and calls the tail damaged: ample for any torn append (a record has at most
/// 131,079 bytes), and a bound on what hostile bytes can cost.
const SEARCH_BUDGET: usize = 64 << 20;

/// What stands behind the start of something that is not a whole record.
pub(super) enum Search {
    /// No intact record: an append was torn.
    Nothing,
    /// An intact record at this offset: the damage is in the middle.
    IntactAt(usize),
    /// So much that looks like records that looking at all of it would take too long.
    TooLong,
}

/// Looks for the first intact record behind the start of `tail`.
#[inline(never)]
pub(super) fn find_intact_record(tail: &[u8]) -> Search {
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
        Self::recover_with(file, reading, |_| ())
    }

    /// As [`FileDictionary::recover`], and shows `each` valid record on the way, in their order.
    ///
    /// # Errors
    /// As [`FileDictionary::recover`].
    pub fn recover_with(
        file: &[u8],
        reading: Reading,
        each: impl FnMut(&LocatedRecord<'_>),
    ) -> Result<Recovered, Error> {
        let framed = header::parse(file)?;
        let dictionary = match framed.version {
            Version::V1 => FileDictionary::from_v1_content(framed.content)?,
            Version::V2 => FileDictionary::decode(framed.content)
                .map_err(|error| error.in_part(Part::Content, header::LEN as u64))?,
        };
        let mut recovered = Recovered {
            dictionary,
            version: framed.version,
            records: 0,
            verdict: Verdict::Complete,
        };
        recovered.dictionary.reserve_for(framed.rest.len());
        let at = (header::LEN + framed.content.len()) as u64;
        recovered.read_on(framed.rest, at, reading, each);
        Ok(recovered)
    }
}

impl Recovered {
    /// Reads on in a log that has grown since, and shows `each` valid record on the way. `tail`: the bytes of the file from `at` on, which
    /// is where the records end that have been read.
    ///
    /// ```
    /// use stillkey_core::{FileDictionary, FileInfo, Reading, Record, Verdict, Version};
    /// let mut file = FileDictionary::new().to_bytes(Version::V2);
    /// let mut read = FileDictionary::recover(&file, Reading::Strict)?;
    /// let at = file.len();
    /// file.extend(Record::Insert { name: "a", info: FileInfo::plaintext(1) }.to_bytes()?);
    /// read.read_on(&file[at..], at as u64, Reading::Strict, |record| assert_eq!(record.record.name(), "a"));
    /// assert_eq!((read.records, read.verdict), (1, Verdict::Complete));
    /// # Ok::<(), stillkey_core::Error>(())
    /// ```
    pub fn read_on(
        &mut self,
        tail: &[u8],
        at: u64,
        reading: Reading,
        mut each: impl FnMut(&LocatedRecord<'_>),
    ) {
        let mut log = LogReader::over(tail, at, reading);
        log.count = self.records;
        while let Some(located) = log.next() {
            if let Record::Remove { name } = located.record
                && self.dictionary.remove(name).is_none()
            {
                let at = located.at;
                let why = Damage {
                    part: Part::Record(self.records + 1),
                    at,
                    finding: Finding::RemoveOfAbsent {
                        name: name.to_string(),
                    },
                };
                log.stop(Verdict::Corrupt { at, why });
                break;
            }
            each(&located);
            if let Record::Insert { name, info } = located.record {
                self.dictionary.insert(name, info);
            }
            self.records += 1;
        }
        self.verdict = log.verdict;
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
