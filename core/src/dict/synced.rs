//! Up to which length a `file.dict` is known to have been synced: what a power failure may have torn lies
//! past it, and whatever is wrong before it is damage.

use alloc::vec::Vec;

use super::log::{Reading, Recovered, UNSYNCED_LIMIT, Verdict};
use crate::error::{Damage, Finding, Part};
use crate::format::cursor::Cursor;
use crate::format::header;

/// The first bytes of an encoded length, and its version.
const MAGIC: &[u8; 8] = b"SKSYNC\0\x01";

/// A lower bound of the length to which one `file.dict` has been synced. A writer keeps it in a side file, so
/// that it never takes damage for a torn append.
///
/// It belongs to the file with the same header. Two files may have the same one, so it has to be lowered
/// before the file is replaced by a shorter one with that header.
///
/// ```
/// use stillkey_core::{FileDictionary, Reading, SyncedLength, Verdict, Version};
/// let file = FileDictionary::new().to_bytes(Version::V2);
/// let start = *file.first_chunk().expect("a header");
/// let synced = SyncedLength::new(start, 500).expect("a file with a log");
/// assert_eq!(SyncedLength::from_bytes(&synced.to_bytes()), Some(synced));
///
/// let recovered = FileDictionary::recover(&file, Reading::Strict)?;
/// let recovered = synced.judge(&file, Reading::Strict, recovered);
/// assert!(matches!(recovered.verdict, Verdict::Corrupt { .. }), "500 bytes had been there");
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedLength {
    of: [u8; header::LEN],
    len: u64,
}

impl SyncedLength {
    /// Bytes at the start of a file by which it is known: those of its header.
    pub const START: usize = header::LEN;

    /// Length of [`SyncedLength::to_bytes`]: fewer bytes than a sector has.
    pub const ENCODED_LEN: usize = MAGIC.len() + header::LEN + 8 + 4;

    /// That the file which starts like this has been synced up to `len` bytes. `None` for a file without a log.
    pub fn new(start: [u8; Self::START], len: u64) -> Option<Self> {
        let has_log = start.first() == Some(&header::Version::V2.number());
        has_log.then_some(Self { of: start, len })
    }

    /// The same of the same file, which has now been synced up to `len` bytes.
    #[must_use]
    pub fn with_len(self, len: u64) -> Self {
        Self { len, ..self }
    }

    /// Whether the file that starts with `start` is known to have been synced further than `at`.
    pub fn reaches_past(&self, at: u64, start: &[u8]) -> bool {
        start.starts_with(&self.of) && self.len > at
    }

    /// Up to which length the file that starts with `start` has been synced; `None` if it is another one.
    pub fn len_of(&self, start: &[u8]) -> Option<u64> {
        start.starts_with(&self.of).then_some(self.len)
    }

    /// The bytes for a side file: magic, the header of `file.dict`, the length and the CRC-32 of all that, in
    /// big-endian order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &self.of, &self.len.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// Reads what [`SyncedLength::to_bytes`] has written. `None` for anything else, such as what a power
    /// failure leaves of it: then nothing is known.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.take(MAGIC.len())?;
        let read = Self {
            of: cursor.array()?,
            len: cursor.u64()?,
        };
        (read.to_bytes() == bytes).then_some(read)
    }

    /// The verdict over `file`, which was read as `reading` says, with regard to what had been synced. None of
    /// that may be missing or torn. Past it, a power failure may have left anything of what a writer hadn't
    /// synced yet, which [`Reading::AfterCrash`] takes for a torn tail.
    #[must_use]
    pub fn judge(&self, file: &[u8], reading: Reading, mut recovered: Recovered) -> Recovered {
        if !file.starts_with(&self.of) {
            return recovered;
        }
        let end = file.len() as u64;
        let good = match recovered.verdict {
            Verdict::Complete => end,
            Verdict::TornTail { at, .. } | Verdict::Corrupt { at, .. } => at,
        };
        let is_damaged = matches!(recovered.verdict, Verdict::Corrupt { .. });
        if good < self.len {
            if !is_damaged {
                let why = Damage {
                    part: Part::Record(recovered.records + 1),
                    at: good,
                    finding: Finding::SyncedBytesLost { synced: self.len },
                };
                recovered.verdict = Verdict::Corrupt { at: good, why };
            }
        } else if is_damaged && reading == Reading::AfterCrash {
            let dropped = end - good;
            if dropped <= UNSYNCED_LIMIT as u64 {
                recovered.verdict = Verdict::TornTail { at: good, dropped };
            }
        }
        recovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dict::files::{FileDictionary, FileInfo};
    use crate::dict::log::Record;

    /// A file of a header and ten records, and where each ends.
    fn log() -> (Vec<u8>, Vec<usize>) {
        let mut file = FileDictionary::new().to_bytes(header::Version::V2);
        let mut ends = Vec::from([file.len()]);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
            let info = FileInfo::plaintext(1);
            file.extend(Record::Insert { name, info }.to_bytes().unwrap());
            ends.push(file.len());
        }
        (file, ends)
    }

    fn verdict(synced: usize, file: &[u8], reading: Reading) -> Verdict {
        let start = *log().0.first_chunk().unwrap();
        let synced = SyncedLength::new(start, synced as u64).unwrap();
        let recovered = FileDictionary::recover(file, reading).unwrap();
        synced.judge(file, reading, recovered).verdict
    }

    #[test]
    fn damage_is_torn_only_past_what_was_synced_and_only_for_a_writer() {
        let (whole, ends) = log();
        for (record, at) in ends[..10].iter().enumerate() {
            let mut file = whole.clone();
            file[at + 9] ^= 1; // the name
            for (before, synced) in ends.iter().enumerate() {
                let after_crash = verdict(*synced, &file, Reading::AfterCrash);
                let is_torn = matches!(after_crash, Verdict::TornTail { .. });
                assert_eq!(is_torn, before <= record, "{record} {synced}");
                let strict = verdict(*synced, &file, Reading::Strict);
                let is_last = record == 9 && before <= record;
                assert_eq!(matches!(strict, Verdict::TornTail { .. }), is_last);
            }
        }
    }

    #[test]
    fn what_was_synced_and_is_missing_is_damage() {
        let (whole, ends) = log();
        for len in ends[0]..=whole.len() {
            for synced in &ends {
                for reading in [Reading::Strict, Reading::AfterCrash] {
                    let verdict = verdict(*synced, &whole[..len], reading);
                    let good = ends.iter().filter(|end| **end <= len).max().unwrap();
                    let is_damaged = matches!(verdict, Verdict::Corrupt { .. });
                    assert_eq!(is_damaged, good < synced, "{len} {synced}");
                }
            }
        }
    }

    #[test]
    fn what_a_power_failure_leaves_of_it_says_nothing() {
        let (whole, _) = log();
        let start = *whole.first_chunk().unwrap();
        let bytes = SyncedLength::new(start, 500).unwrap().to_bytes();
        assert_eq!(bytes.len(), SyncedLength::ENCODED_LEN);
        for torn in 0..bytes.len() {
            let mut left = bytes.clone();
            left[torn..].fill(0);
            assert_eq!(SyncedLength::from_bytes(&left), None);
            assert_eq!(SyncedLength::from_bytes(&bytes[..torn]), None);
        }
        let other = FileInfo::plaintext(1);
        let mut files = FileDictionary::new();
        files.insert("a", other);
        let file = files.to_bytes(header::Version::V2);
        assert_eq!(verdict(10_000, &file, Reading::Strict), Verdict::Complete);
        let v1 = FileDictionary::new().to_bytes(header::Version::V1);
        assert_eq!(SyncedLength::new(*v1.first_chunk().unwrap(), 1), None);
    }
}
