//! What can be had of a `file.dict` whose log is damaged: each record whose checksum fits, whatever stands between them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::dict::files::FileDictionary;
use crate::dict::log::{
    LocatedRecord, LogReader, Reading, Record, Search, Verdict, find_intact_record,
};
use crate::format::header::{self, Version};
use crate::format::protobuf::Message;
use crate::format::record::{self, RawRecord};

/// What [`FileDictionary::salvage`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The entries that remain.
    pub dictionary: FileDictionary,
    /// The form of the file; version 2 when its header is damaged.
    pub version: Version,
    /// Records whose checksum fits.
    pub records: u64,
    /// What is lost, in the order of the file. Empty for a file that is whole.
    pub lost: Vec<Lost>,
}

/// A part of a `file.dict` that nothing can be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Where it starts: bytes from the start of the file.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The names of files that can be made out in it, as far as they can: what was said of them is lost.
    pub names: Vec<String>,
}

impl Lost {
    /// A part that isn't there any more, such as one that a file was cut off by.
    pub fn absent(at: u64, len: u64) -> Self {
        Self {
            at,
            len,
            names: Vec::new(),
        }
    }
}

impl FileDictionary {
    /// Reads what remains of the bytes of a damaged `file.dict`: every record whose checksum fits, behind any damage.
    ///
    /// A record that is lost may have changed or removed an entry that an earlier one made. So an entry
    /// that remains may be out of date, and one that was removed may be back: what uses them has to be
    /// looked at, or a backup be preferred that is whole.
    ///
    /// ```
    /// use stillkey_core::{FileDictionary, FileInfo, Record, Version};
    /// let mut file = FileDictionary::new().to_bytes(Version::V2);
    /// for name in ["a", "b", "c"] {
    ///     file.extend(Record::Insert { name, info: FileInfo::plaintext(1) }.to_bytes()?);
    /// }
    /// let middle = file.len() - 20;
    /// file[middle] ^= 1;
    /// let salvaged = FileDictionary::salvage(&file);
    /// assert!(salvaged.dictionary.find("a").is_some() && salvaged.dictionary.find("c").is_some());
    /// assert_eq!(salvaged.lost.len(), 1);
    /// # Ok::<(), stillkey_core::Error>(())
    /// ```
    pub fn salvage(file: &[u8]) -> Salvaged {
        Self::salvage_with(file, |_| ())
    }

    /// As [`FileDictionary::salvage`], and shows `each` record whose checksum fits, in their order.
    pub fn salvage_with(file: &[u8], mut each: impl FnMut(&LocatedRecord<'_>)) -> Salvaged {
        let mut salvaged = Salvaged {
            dictionary: Self::new(),
            version: Version::V2,
            records: 0,
            lost: Vec::new(),
        };
        let Ok(framed) = header::parse(file) else {
            // Where the log would begin stands in the header.
            salvaged.skip_and_read(file, 0, &mut each);
            return salvaged;
        };
        salvaged.version = framed.version;
        let content = match framed.version {
            Version::V1 => Self::from_v1_content(framed.content).ok(),
            Version::V2 => Self::decode(framed.content).ok(),
        };
        let at = header::LEN + framed.content.len();
        match content {
            Some(dictionary) => salvaged.dictionary = dictionary,
            None => salvaged.lost.push(Lost::absent(0, at as u64)),
        }
        salvaged.read(framed.rest, at as u64, &mut each);
        salvaged
    }
}

impl Salvaged {
    /// Reads records that start at `at`, and goes on behind each damage.
    fn read(&mut self, records: &[u8], at: u64, each: &mut dyn FnMut(&LocatedRecord<'_>)) {
        let (mut rest, mut at) = (records, at);
        loop {
            let mut log = LogReader::over(rest, at, Reading::Strict);
            let unproven = log.by_ref().find_map(|located| {
                if proves_nothing(&located) {
                    return Some(located.at);
                }
                self.records += 1;
                each(&located);
                match located.record {
                    Record::Insert { name, info } => drop(self.dictionary.insert(name, info)),
                    // What it removed may have been lost.
                    Record::Remove { name } => drop(self.dictionary.remove(name)),
                }
                None
            });
            let stopped = match (unproven, log.verdict()) {
                (Some(at), _) => at,
                (None, Verdict::TornTail { at, .. } | Verdict::Corrupt { at, .. }) => *at,
                (None, Verdict::Complete) => return,
            };
            let done = usize::try_from(stopped - at).unwrap_or(usize::MAX);
            let Some(damaged) = rest.get(done..) else {
                return;
            };
            let Some(next) = self.skip(damaged, stopped) else {
                return;
            };
            (rest, at) = (
                damaged.get(next..).unwrap_or_default(),
                stopped + next as u64,
            );
        }
    }

    fn skip_and_read(&mut self, damaged: &[u8], at: u64, each: &mut dyn FnMut(&LocatedRecord<'_>)) {
        if let Some(next) = self.skip(damaged, at)
            && let Some(rest) = damaged.get(next..)
        {
            self.read(rest, at + next as u64, each);
        }
    }

    /// Notes what is lost from `at` on, and returns where the next record is that is whole.
    fn skip(&mut self, damaged: &[u8], at: u64) -> Option<usize> {
        let next = resume_at(damaged);
        let len = next.unwrap_or(damaged.len());
        let name = RawRecord::parse(damaged)
            .filter(|record| record.len() <= len && !record.name.is_empty())
            .and_then(|record| core::str::from_utf8(record.name).ok())
            .filter(|name| !name.chars().any(char::is_control));
        self.lost.push(Lost {
            at,
            len: len as u64,
            names: name.map(ToString::to_string).into_iter().collect(),
        });
        next
    }
}

/// The checksum of nothing is zero, so zeros can look like a record without a name.
fn proves_nothing(located: &LocatedRecord<'_>) -> bool {
    located.len == record::HEADER_LEN as u64
}

/// Where the next record is that is whole, behind a damaged one.
fn resume_at(damaged: &[u8]) -> Option<usize> {
    let records = |from| {
        damaged
            .get(from..)
            .map(|rest| LogReader::over(rest, 0, Reading::Strict))
    };
    let is_whole = |from: &usize| {
        let first = records(*from).and_then(|mut log| log.next());
        first.is_some_and(|located| !proves_nothing(&located))
    };
    let mut from = 0;
    let searched = loop {
        match damaged.get(from..).map(find_intact_record) {
            Some(Search::IntactAt(offset)) => from += offset,
            _ => break None,
        }
        if is_whole(&from) {
            break Some(from);
        }
    };
    let claimed = RawRecord::claimed_len(damaged);
    if !is_whole(&claimed) {
        return searched;
    }
    // Before its end by its own word, the record may have a name that looks like a record; or that word is what was damaged,
    // and then nothing but whole records stands between the two.
    let between = searched.and_then(|searched| damaged.get(searched..claimed));
    let is_a_log = |bytes| {
        let mut log = LogReader::over(bytes, 0, Reading::Strict);
        log.by_ref().for_each(drop);
        *log.verdict() == Verdict::Complete
    };
    searched
        .filter(|_| between.is_some_and(is_a_log))
        .or(Some(claimed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dict::files::FileInfo;
    use crate::iv::Iv;
    use crate::method::Method;

    /// A log of these files' entries, with where each record starts.
    fn log(names: &[&str]) -> (Vec<u8>, Vec<usize>) {
        let mut file = FileDictionary::new().to_bytes(Version::V2);
        let mut starts = Vec::new();
        for name in names {
            starts.push(file.len());
            let info = FileInfo::encrypted(1, Iv::new([7; 16]), Method::Aes256Ctr);
            file.extend(Record::Insert { name, info }.to_bytes().unwrap());
        }
        (file, starts)
    }

    #[test]
    fn a_damaged_header_leaves_the_log() {
        let (mut file, starts) = log(&["a", "b"]);
        file[4] ^= 1;
        let salvaged = FileDictionary::salvage(&file);
        assert_eq!(salvaged.records, 2);
        let lost = &salvaged.lost[0];
        assert_eq!((lost.at, lost.len), (0, starts[0] as u64));
    }

    #[test]
    fn records_behind_damage_are_shown_with_their_places() {
        let (mut file, starts) = log(&["a", "b", "c"]);
        file[starts[2] - 1] ^= 1;
        let mut shown = Vec::new();
        FileDictionary::salvage_with(&file, |located| {
            shown.push((located.at, located.record.name().to_string()));
        });
        let at = |record: usize, name: &str| (starts[record] as u64, name.to_string());
        assert_eq!(shown, [at(0, "a"), at(2, "c")]);
    }

    #[test]
    fn the_name_of_a_lost_record_is_told_where_it_can_be_made_out() {
        let (mut file, starts) = log(&["a", "b", "c"]);
        file[starts[2] - 1] ^= 1;
        let salvaged = FileDictionary::salvage(&file);
        assert_eq!(salvaged.lost[0].names, ["b"]);
    }

    #[test]
    fn a_name_that_looks_like_a_record_is_none() {
        let inner = Record::Remove { name: "x" }.to_bytes().unwrap();
        let (mut file, starts) = log(&["a", core::str::from_utf8(&inner).unwrap_or("x"), "c"]);
        file[starts[2] - 1] ^= 1;
        let salvaged = FileDictionary::salvage(&file);
        assert_eq!((salvaged.records, salvaged.lost.len()), (2, 1));
    }

    #[test]
    fn a_damaged_length_that_leads_to_another_record_loses_no_more_than_its_own() {
        let (mut file, starts) = log(&["a", "b", "c", "d", "e"]);
        let record = starts[1] - starts[0];
        // The length of the information: as far as the end of the third record.
        file[starts[1] + 7] += u8::try_from(2 * record).unwrap();
        let salvaged = FileDictionary::salvage(&file);
        assert_eq!((salvaged.records, salvaged.lost.len()), (4, 1));
        assert_eq!(salvaged.lost[0].len, record as u64);
    }

    #[test]
    fn zeros_that_look_like_a_record_are_none() {
        let (mut file, starts) = log(&["a", "b", "c"]);
        // All of the second record but what makes it a removal without a name.
        let second = starts[1]..starts[2];
        file[second.clone()].fill(0);
        file[starts[1] + 8] = record::REMOVE;
        let salvaged = FileDictionary::salvage(&file);
        assert_eq!((salvaged.records, salvaged.lost.len()), (2, 1));
        assert_eq!(salvaged.lost[0].len, second.len() as u64);
    }
}
