//! File dictionaries as columns: 100,000 entries are a dozen arrays, and not as many objects that each cost a call.

use stillkey_core::{
    FileDictionary as CoreFileDictionary, FileInfo, LocatedRecord, Lost, Reading, Record,
    Recovered, Verdict, Version,
};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::{Failure, kind_of, to_number};

/// A `file.dict` as read.
#[wasm_bindgen]
#[derive(Debug)]
pub struct FileDictionary {
    version: Version,
    verdict: Verdict,
    entries: Infos,
    records: Infos,
    places: Places,
    /// Of a torn tail: whether its record is all there, and its checksum doesn't fit.
    is_whole: bool,
}

/// Where log records stand, one row for each.
#[derive(Debug, Default)]
struct Places {
    at: Vec<f64>,
    len: Vec<u32>,
    checksum: Vec<u32>,
    is_insert: Vec<u8>,
}

impl Places {
    fn push(&mut self, located: &LocatedRecord<'_>) {
        self.at.push(to_number(located.at));
        self.len
            .push(u32::try_from(located.len).unwrap_or(u32::MAX));
        self.checksum.push(located.checksum);
        let is_insert = matches!(located.record, Record::Insert { .. });
        self.is_insert.push(is_insert.into());
    }
}

/// Names with what is known about their files, one row for each. Each column can be taken once.
#[wasm_bindgen]
#[derive(Clone, Debug, Default)]
pub struct Infos {
    names: Vec<u8>,
    name_ends: Vec<u32>,
    key_ids: Vec<u64>,
    methods: Vec<i32>,
    ivs: Vec<u8>,
    iv_ends: Vec<u32>,
}

impl Infos {
    fn push(&mut self, name: &str, info: &FileInfo) {
        self.names.extend_from_slice(name.as_bytes());
        self.name_ends.push(end_of(&self.names));
        self.key_ids.push(info.key_id);
        self.methods.push(info.method.0);
        self.ivs.extend_from_slice(info.iv_bytes());
        self.iv_ends.push(end_of(&self.ivs));
    }

    fn push_record(&mut self, record: &Record<'_>) {
        match record {
            Record::Insert { name, info } => self.push(name, info),
            Record::Remove { name } => self.push(name, &FileInfo::default()),
        }
    }
}

fn end_of(column: &[u8]) -> u32 {
    u32::try_from(column.len()).unwrap_or(u32::MAX)
}

#[wasm_bindgen]
impl Infos {
    /// All names in UTF-8, one behind the other. Strings can't be moved from thread to thread, and copying them takes a page long.
    pub fn take_names(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.names)
    }

    /// Where each name ends, in bytes.
    pub fn take_name_ends(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.name_ends)
    }

    /// Ids of the data keys.
    pub fn take_key_ids(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.key_ids)
    }

    /// Numbers of the methods.
    pub fn take_methods(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.methods)
    }

    /// All initialization vectors, one behind the other.
    pub fn take_ivs(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ivs)
    }

    /// Where each initialization vector ends, in bytes.
    pub fn take_iv_ends(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.iv_ends)
    }
}

#[wasm_bindgen]
impl FileDictionary {
    /// Reads a `file.dict`; damage in its log is a verdict and not a failure. `as_tikv`: as TiKV reads, else strictly.
    pub fn parse(file: &[u8], as_tikv: bool) -> Result<Self, Failure> {
        let reading = if as_tikv {
            Reading::Tikv
        } else {
            Reading::Strict
        };
        let (mut records, mut places) = (Infos::default(), Places::default());
        let recovered = recovered(file, reading, &mut |located| {
            places.push(located);
            records.push_record(&located.record);
        })?;
        let is_whole = match recovered.verdict {
            Verdict::TornTail { at, dropped } => claimed_len(file, at) == Some(dropped),
            _ => false,
        };
        Ok(Self {
            version: recovered.version,
            verdict: recovered.verdict,
            entries: entries_of(&recovered.dictionary),
            records,
            places,
            is_whole,
        })
    }

    /// The version byte of the file.
    pub fn version(&self) -> u8 {
        self.version.number()
    }

    /// The entries, sorted by name.
    pub fn take_entries(&mut self) -> Infos {
        std::mem::take(&mut self.entries)
    }

    /// The log's valid records; a remove record has an empty row.
    pub fn take_records(&mut self) -> Infos {
        std::mem::take(&mut self.records)
    }

    /// Where each record starts, in bytes from the start of the file.
    pub fn take_record_at(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.places.at)
    }

    /// Lengths of the records in bytes.
    pub fn take_record_len(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.places.len)
    }

    /// Checksums of the records.
    pub fn take_record_checksum(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.places.checksum)
    }

    /// 1 for each insert record, 0 for each remove record.
    pub fn take_record_is_insert(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.places.is_insert)
    }

    /// How the log ends: `complete`, `torn-tail` or `corrupt`.
    pub fn verdict(&self) -> String {
        match self.verdict {
            Verdict::Complete => "complete",
            Verdict::TornTail { .. } => "torn-tail",
            Verdict::Corrupt { .. } => "corrupt",
        }
        .to_owned()
    }

    /// Where that is, in bytes from the start of the file.
    pub fn verdict_at(&self) -> f64 {
        match self.verdict {
            Verdict::Complete => 0.0,
            Verdict::TornTail { at, .. } | Verdict::Corrupt { at, .. } => to_number(at),
        }
    }

    /// Bytes of a torn record.
    pub fn verdict_dropped(&self) -> f64 {
        match self.verdict {
            Verdict::TornTail { dropped, .. } => to_number(dropped),
            _ => 0.0,
        }
    }

    /// What the verdict rests on: for a torn tail `cut-off` or `checksum`, for damage the kind of finding.
    pub fn verdict_finding(&self) -> String {
        match &self.verdict {
            Verdict::TornTail { .. } if self.is_whole => "checksum",
            Verdict::TornTail { .. } => "cut-off",
            Verdict::Corrupt { why, .. } => kind_of(&why.finding),
            Verdict::Complete => "",
        }
        .to_owned()
    }

    /// What is wrong with a log that is corrupt.
    pub fn verdict_why(&self) -> String {
        match &self.verdict {
            Verdict::Corrupt { why, .. } => why.to_string(),
            _ => String::new(),
        }
    }
}

/// The length of the record that starts at `at`, as its header has it.
fn claimed_len(file: &[u8], at: u64) -> Option<u64> {
    let record = file.get(usize::try_from(at).ok()?..)?;
    let [_, _, _, _, a, b, c, d, _] = record.first_chunk()?;
    let lengths = [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])];
    Some(9 + lengths.into_iter().map(u64::from).sum::<u64>())
}

/// What remains of a damaged `file.dict`.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Salvaged {
    dictionary: CoreFileDictionary,
    version: Version,
    records: Infos,
    places: Places,
    lost: Vec<Lost>,
}

#[wasm_bindgen]
impl Salvaged {
    /// Reads every record whose checksum fits.
    #[wasm_bindgen(constructor)]
    pub fn new(file: &[u8]) -> Self {
        let (mut records, mut places) = (Infos::default(), Places::default());
        let salvaged = CoreFileDictionary::salvage_with(file, |located| {
            places.push(located);
            records.push_record(&located.record);
        });
        Self {
            dictionary: salvaged.dictionary,
            version: salvaged.version,
            records,
            places,
            lost: salvaged.lost,
        }
    }

    /// What is left as a dictionary: all records, and their entries.
    pub fn dictionary(&mut self) -> FileDictionary {
        FileDictionary {
            version: self.version,
            verdict: Verdict::Complete,
            entries: entries_of(&self.dictionary),
            records: std::mem::take(&mut self.records),
            places: std::mem::take(&mut self.places),
            is_whole: false,
        }
    }

    /// The bytes of a `file.dict` with these entries: a log, which is smaller here than another way of writing.
    pub fn bytes(&self) -> Result<Vec<u8>, Failure> {
        log_of(&self.dictionary)
    }

    /// Where each lost part starts, in bytes from the start of the file.
    pub fn lost_at(&self) -> Vec<f64> {
        self.lost.iter().map(|lost| to_number(lost.at)).collect()
    }

    /// Lengths of the lost parts in bytes.
    pub fn lost_len(&self) -> Vec<f64> {
        self.lost.iter().map(|lost| to_number(lost.len)).collect()
    }

    /// The name that can be made out in each lost part; empty where there is none.
    pub fn lost_names(&self) -> Vec<String> {
        let names = self.lost.iter().map(|lost| lost.names.first());
        names
            .map(|name| name.cloned().unwrap_or_default())
            .collect()
    }
}

/// A `file.dict` of version 2 without entries.
const EMPTY: [u8; 16] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The bytes of a `file.dict` with these entries, as records.
#[inline(never)]
pub(crate) fn log_of(dictionary: &CoreFileDictionary) -> Result<Vec<u8>, Failure> {
    let mut file = EMPTY.to_vec();
    for (_, name, info) in sorted(dictionary) {
        let info = info.clone();
        file.extend(Record::Insert { name, info }.to_bytes()?);
    }
    Ok(file)
}

/// A `file.dict` to go on with.
///
/// # Errors
/// A log that isn't whole: a record behind its end would be lost.
pub(crate) fn opened(file: &[u8]) -> Result<(CoreFileDictionary, Version), Failure> {
    let recovered = recovered(file, Reading::Strict, &mut |_| {})?;
    if let Verdict::TornTail { at, dropped } = recovered.verdict {
        let message = format!(
            "file.dict: the {dropped} bytes from byte {at} on are a record that was never finished; cut the file off there, \
             and open what is left"
        );
        return Err(Failure::damaged("record torn", at, message));
    }
    let version = recovered.version;
    Ok((recovered.into_dictionary()?, version))
}

/// One function for all closures.
#[inline(never)]
fn recovered(
    file: &[u8],
    reading: Reading,
    each: &mut dyn FnMut(&LocatedRecord<'_>),
) -> Result<Recovered, Failure> {
    Ok(CoreFileDictionary::recover_with(
        file,
        reading,
        |located| {
            each(located);
        },
    )?)
}

#[inline(never)]
fn entries_of(dictionary: &CoreFileDictionary) -> Infos {
    let mut entries = Infos::default();
    for (_, name, info) in sorted(dictionary) {
        entries.push(name, info);
    }
    entries
}

/// The entries, sorted by name. WebAssembly compares byte by byte, and names have long beginnings in common: the eight bytes after those,
/// as a number, tell most of them apart.
#[inline(never)]
fn sorted(dictionary: &CoreFileDictionary) -> Vec<(u64, &str, &FileInfo)> {
    let mut names = dictionary.unsorted().map(|(name, _)| name.as_bytes());
    let first = names.next().unwrap_or_default();
    let common = names.fold(first, |common, name| {
        let same = common.iter().zip(name).take_while(|(a, b)| a == b).count();
        common.get(..same).unwrap_or_default()
    });
    let mut rows: Vec<_> = dictionary
        .unsorted()
        .map(|(name, info)| (number_at(common.len(), name.as_bytes()), name, info))
        .collect();
    rows.sort_unstable_by_key(|(number, name, _)| (*number, *name));
    rows
}

/// Eight bytes in the order in which they are compared; zeros behind the end.
fn number_at(start: usize, name: &[u8]) -> u64 {
    let rest = name.get(start..).unwrap_or_default();
    let mut bytes = [0; 8];
    for (byte, next) in bytes.iter_mut().zip(rest) {
        *byte = *next;
    }
    u64::from_be_bytes(bytes)
}
