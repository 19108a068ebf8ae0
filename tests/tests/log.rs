//! The file dictionary's log: cut anywhere it keeps exactly what stands before the cut, and damage never passes for a record.

use proptest::collection::vec;
use proptest::prelude::*;
use stillkey_core::error::{Finding, Part};
use stillkey_core::{
    FileDictionary, FileInfo, FileLog, Iv, LogReader, Method, MethodNumber, Reading, Record,
    Recovered, Verdict, Version, Write,
};
use stillkey_tests::{cases, hex, oracle};

const READINGS: [Reading; 2] = [Reading::Strict, Reading::Tikv];

/// Makes a change as a writer does, and returns what it asked of the disk.
fn change(log: &mut FileLog, record: &Record<'_>) -> Write {
    let mut batch = log.batch();
    batch.add(record).unwrap();
    let (write, changes) = batch.finish();
    log.commit(changes);
    write
}

/// A file.dict with a log, and all that is known about it.
#[derive(Clone, Debug)]
struct Written {
    file: Vec<u8>,
    /// Where each record starts, and at last where the file ends.
    starts: Vec<usize>,
    /// The dictionary before the first record, after it, after the second, …
    states: Vec<FileDictionary>,
}

impl Written {
    fn new(body: FileDictionary) -> Self {
        let file = body.to_bytes(Version::V2);
        Self {
            starts: vec![file.len()],
            file,
            states: vec![body],
        }
    }

    fn append(&mut self, record: Record<'_>) {
        let mut log = FileLog::new(self.states.last().unwrap().clone(), Version::V2, 10);
        let Write::Append(bytes) = change(&mut log, &record) else {
            panic!("a log is appended to");
        };
        self.file.extend(bytes);
        self.starts.push(self.file.len());
        self.states.push(log.dictionary().clone());
    }

    fn records(&self) -> usize {
        self.states.len() - 1
    }

    /// The record that byte `at` belongs to.
    fn record_at(&self, at: usize) -> Option<usize> {
        (self.starts[0] <= at).then(|| self.starts.iter().filter(|start| **start <= at).count() - 1)
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&["a", "/db/000001.sst", "./a", "//a", "日志"][..]).prop_map(str::to_owned),
        1 => ".{1,40}",
    ]
}

fn infos() -> impl Strategy<Value = FileInfo> {
    let unnamed = (any::<u64>(), any::<[u8; 16]>(), -2..9).prop_map(|(key_id, iv, method)| {
        let mut info = FileInfo::encrypted(key_id, Iv::new(iv), Method::Aes128Ctr);
        info.method = MethodNumber(method);
        info
    });
    prop_oneof![
        6 => (any::<u64>(), any::<[u8; 16]>(), prop::sample::select(&Method::ALL[1..]))
            .prop_map(|(key_id, iv, method)| FileInfo::encrypted(key_id, Iv::new(iv), method)),
        1 => any::<u64>().prop_map(FileInfo::plaintext),
        1 => unnamed,
        1 => Just(FileInfo::default()),
    ]
}

prop_compose! {
    fn logs(most: usize)(
        body in vec((names(), infos()), 0..4),
        records in vec((any::<bool>(), names(), infos()), 0..=most),
    ) -> Written {
        let mut dictionary = FileDictionary::new();
        for (name, info) in body {
            dictionary.insert(name, info);
        }
        let mut written = Written::new(dictionary);
        for (remove, name, info) in records {
            let present = written.states.last().unwrap().find(&name).is_some();
            written.append(match remove && present {
                true => Record::Remove { name: &name },
                false => Record::Insert { name: &name, info },
            });
        }
        written
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_log_cut_at_any_byte_keeps_exactly_the_records_before_the_cut(written in logs(12)) {
        for cut in 0..=written.file.len() {
            let file = &written.file[..cut];
            let Some(whole) = written.record_at(cut) else {
                for reading in READINGS {
                    prop_assert!(FileDictionary::recover(file, reading).is_err());
                    prop_assert!(LogReader::new(file, reading).is_err());
                }
                continue;
            };
            let verdict = match cut - written.starts[whole] {
                0 => Verdict::Complete,
                dropped => Verdict::TornTail { at: written.starts[whole] as u64, dropped: dropped as u64 },
            };
            for reading in [Reading::Strict, Reading::Tikv, Reading::AfterCrash] {
                let read = FileDictionary::recover(file, reading).unwrap();
                prop_assert_eq!(&read.verdict, &verdict, "cut at {}", cut);
                prop_assert_eq!(&read.dictionary, &written.states[whole], "cut at {}", cut);
                prop_assert_eq!(read.records, whole as u64);

                let mut log = LogReader::new(file, reading).unwrap();
                let places: Vec<_> = log.by_ref().map(|record| (record.at as usize, record.len as usize)).collect();
                let expected: Vec<_> = written.starts[..=whole].windows(2).map(|at| (at[0], at[1] - at[0])).collect();
                prop_assert_eq!(places, expected);
                prop_assert_eq!(log.verdict(), &verdict);
                prop_assert!(log.next().is_none(), "it stays at its end");
            }
            prop_assert_eq!(oracle::read_file_dict(file).unwrap().records, whole);
        }
    }

    #[test]
    fn what_is_written_is_read_by_an_independent_reader(written in logs(30)) {
        let read = oracle::read_file_dict(&written.file).unwrap();
        let last = written.states.last().unwrap();
        prop_assert_eq!((read.records, read.torn), (written.records(), 0));
        prop_assert_eq!(read.files.len(), last.len());
        for (name, info) in last.iter() {
            let found = &read.files[name];
            prop_assert_eq!((found.key_id, found.method), (info.key_id, info.method.0));
            prop_assert_eq!(&*found.iv, info.iv_bytes());
        }
    }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn one_flipped_bit_anywhere_yields_no_entry_that_was_not_written(written in logs(6)) {
        let last = written.records().checked_sub(1);
        for bit in 0..written.file.len() * 8 {
            let at = bit / 8;
            let mut file = written.file.clone();
            file[at] ^= 1 << (bit % 8);
            for reading in READINGS {
                let read = FileDictionary::recover(&file, reading);
                let Some(flipped) = written.record_at(at) else {
                    if (1..4).contains(&at) {
                        let read = read.unwrap(); // The reserved bytes are ignored.
                        prop_assert_eq!(&read.dictionary, written.states.last().unwrap());
                    } else {
                        prop_assert!(read.is_err(), "header or content, bit {}", bit);
                    }
                    continue;
                };
                let read = read.unwrap();
                prop_assert_eq!(&read.dictionary, &written.states[flipped], "{:?}, bit {}", reading, bit);
                prop_assert_eq!(read.records, flipped as u64);
                let start = written.starts[flipped] as u64;
                match read.verdict {
                    Verdict::Corrupt { at, why } => {
                        prop_assert_eq!((at, why.at), (start, start));
                        prop_assert_eq!(why.part, Part::Record(flipped as u64 + 1));
                    }
                    Verdict::TornTail { at, dropped } => {
                        prop_assert_eq!((at, at + dropped), (start, file.len() as u64));
                        // TiKV takes a length that reaches past the end for a torn tail; strictly, only the last record can be torn.
                        prop_assert!(reading == Reading::Tikv || Some(flipped) == last, "bit {}", bit);
                    }
                    Verdict::Complete => prop_assert!(false, "{:?}, bit {} went unnoticed", reading, bit),
                }
            }
        }
    }

    #[test]
    fn a_type_byte_changed_to_the_other_type_is_damage_when_read_strictly(written in logs(8)) {
        for (number, start) in written.starts[..written.records()].iter().enumerate() {
            let mut file = written.file.clone();
            file[start + 8] ^= 3;
            let read = FileDictionary::recover(&file, Reading::Strict).unwrap();
            let Verdict::Corrupt { at, why } = read.verdict else {
                panic!("{:?}", read.verdict);
            };
            prop_assert_eq!(at, *start as u64);
            prop_assert_eq!(why.finding, Finding::TypeMismatch { found: file[start + 8] });
            prop_assert_eq!(&read.dictionary, &written.states[number]);
            prop_assert!(FileDictionary::open(&file).is_err());
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// What was acknowledged, then one write of which any sectors are lost: zeros stand in their place.
    #[test]
    fn after_a_crash_the_records_before_the_first_lost_sector_are_kept(
        acknowledged in logs(8),
        names in vec(".{1,200}", 1..40),
        info in infos(),
        lost in vec(any::<bool>(), 40),
    ) {
        let mut written = acknowledged.clone();
        for name in &names {
            written.append(Record::Insert { name, info: info.clone() });
        }
        let mut file = written.file.clone();
        let mut intact = written.records();
        for (sector, lost) in lost.into_iter().enumerate().take(file.len().div_ceil(512)) {
            let (start, end) = (sector * 512, file.len().min(sector * 512 + 512));
            let unsynced = start.max(acknowledged.file.len())..end;
            if lost && !unsynced.is_empty() {
                file[unsynced.clone()].fill(0);
                // What was zero is as it was: a record may end with it.
                let changed = unsynced.clone().find(|at| written.file[*at] != 0);
                if let Some(changed) = changed {
                    intact = intact.min(written.record_at(changed).unwrap());
                }
            }
        }
        let read = FileDictionary::recover(&file, Reading::AfterCrash).unwrap();
        prop_assert_eq!(&read.dictionary, &written.states[intact]);
        let expected = match file.len() - written.starts[intact] {
            0 => Verdict::Complete,
            dropped => Verdict::TornTail { at: written.starts[intact] as u64, dropped: dropped as u64 },
        };
        prop_assert_eq!(read.verdict, expected);
    }
}

#[test]
fn zeros_far_before_the_end_are_damage_even_after_a_crash() {
    let mut written = Written::new(FileDictionary::new());
    let name = |number: usize| format!("{number:>0$}", 60_000);
    for number in 0..10 {
        let (name, info) = (name(number), FileInfo::plaintext(1));
        written.append(Record::Insert { name: &name, info });
    }
    let whole = written.file.clone();
    for (record, torn) in [(0, false), (9, true), (2, true)] {
        let mut file = whole.clone();
        let start = written.starts[record];
        file[start..start + 2000].fill(0);
        let read = FileDictionary::recover(&file, Reading::AfterCrash).unwrap();
        assert_eq!(read.records, record as u64);
        let is_torn = matches!(read.verdict, Verdict::TornTail { .. });
        assert_eq!(
            is_torn,
            torn,
            "record {record}: {} bytes before the end",
            file.len() - start
        );
    }
}

#[test]
fn a_tail_of_zeros_is_damage_but_after_a_crash_it_is_torn() {
    let mut file = FileDictionary::new().to_bytes(Version::V2);
    file.extend([0; 5000]);
    let verdict = |reading| FileDictionary::recover(&file, reading).unwrap().verdict;
    for reading in READINGS {
        assert!(matches!(verdict(reading), Verdict::Corrupt { at: 16, .. }));
    }
    let torn = Verdict::TornTail {
        at: 16,
        dropped: 5000,
    };
    assert_eq!(verdict(Reading::AfterCrash), torn);
}

/// Sets every checksum and the header's length right, so that arbitrary bytes reach what stands behind them.
fn with_right_checksums(version: u8, content: &[u8], log: &[u8]) -> Vec<u8> {
    let mut log = log.to_vec();
    let mut at = 0;
    while log.len() - at >= 9 {
        let length = |at: usize| usize::from(u16::from_be_bytes([log[at], log[at + 1]]));
        let end = at + 9 + length(at + 4) + length(at + 6);
        let Some(body) = log.get(at + 9..end) else {
            break;
        };
        let checksum = crc32fast::hash(body).to_be_bytes();
        log[at..at + 4].copy_from_slice(&checksum);
        at = end;
    }
    oracle::frame(version, content, &log)
}

fn check_any(file: &[u8]) {
    let [strict, tikv] = READINGS.map(|reading| FileDictionary::recover(file, reading));
    match (strict, tikv) {
        (Ok(strict), Ok(tikv)) => {
            assert!(strict.records <= tikv.records);
            let opens = |read: &Recovered| read.clone().into_dictionary().ok();
            if let Some(strict) = opens(&strict) {
                assert_eq!(opens(&tikv), Some(strict), "strict is never more lenient");
            }
        }
        (Err(strict), Err(tikv)) => assert_eq!(strict, tikv),
        (strict, tikv) => panic!("{strict:?}, but {tikv:?}"),
    }
}

/// Reading as TiKV does, held against the second reader that does. Prost refuses numbers of more than 64 bits, which are cut off here.
fn check_against_oracle(file: &[u8]) {
    let read = FileDictionary::recover(file, Reading::Tikv).and_then(Recovered::into_dictionary);
    match (&read, &oracle::read_file_dict(file)) {
        (Ok(dictionary), Ok(oracle)) => assert_eq!(dictionary.len(), oracle.files.len()),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(oracle)) if oracle.contains("invalid varint") => {}
        (found, oracle) => panic!("{}: {found:?}, but {oracle:?}", hex::encode(file)),
    }
}

/// Record headers of which many have small lengths and known types, between arbitrary bytes.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let header = (0..40_u16, 0..40_u16, 0..4_u8).prop_map(|(name, info, kind)| {
        [
            &[0; 4],
            &name.to_be_bytes()[..],
            &info.to_be_bytes(),
            &[kind],
        ]
        .concat()
    });
    let piece = prop_oneof![
        header,
        vec(any::<u8>(), 0..30),
        infos().prop_map(|info| Record::Insert { name: "a", info }.to_bytes().unwrap()),
        Just(Record::Remove { name: "a" }.to_bytes().unwrap()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic_and_strict_is_never_more_lenient(
        raw in vec(any::<u8>(), 0..300),
        version in 0..4_u8,
        content in prop_oneof![3 => Just(Vec::new()), 1 => vec(any::<u8>(), 0..60)],
        log in noise(),
    ) {
        check_any(&raw);
        check_any(&oracle::frame(version, &content, &log));
        check_any(&with_right_checksums(2, &content, &log));
        check_against_oracle(&raw);
        check_against_oracle(&with_right_checksums(2, &[], &log));
    }
}

#[test]
fn an_entry_without_information_survives_the_log() {
    let record = Record::Insert {
        name: "a",
        info: FileInfo::default(),
    };
    let mut written = Written::new(FileDictionary::new());
    written.append(record);
    let files = FileDictionary::open(&written.file).unwrap();
    assert_eq!(files.find("a"), Some(&FileInfo::default()));
    assert!(oracle::read_file_dict(&written.file).is_ok());
}

#[test]
fn removing_what_is_not_there_is_damage_for_either_reading_and_never_written() {
    let remove = Record::Remove { name: "a" };
    let log = FileLog::new(FileDictionary::new(), Version::V2, 10);
    assert!(log.batch().add(&remove).is_err());
    let file = oracle::frame(2, &[], &remove.to_bytes().unwrap());
    for reading in READINGS {
        let read = FileDictionary::recover(&file, reading).unwrap();
        let Verdict::Corrupt { at: 16, why } = read.verdict else {
            panic!("{:?}", read.verdict);
        };
        assert_eq!(why.finding, Finding::RemoveOfAbsent { name: "a".into() });
    }
}

/// The sizes that TiKV's file had after each operation, in the golden case `v2-compacted`: threshold 2, so the third remove compacts.
#[test]
fn compaction_comes_when_tikvs_does() {
    let mut log = FileLog::new(FileDictionary::new(), Version::V2, 2);
    let names: Vec<_> = (0..4).map(|number| format!("/{number}")).collect();
    for name in &names {
        let info = FileInfo::plaintext(1);
        change(&mut log, &Record::Insert { name, info });
    }
    for (removed, name) in names.iter().enumerate() {
        assert!(log.compaction().is_none());
        change(&mut log, &Record::Remove { name });
        if removed == 2 {
            assert_eq!(
                log.compaction(),
                Some(log.dictionary().to_bytes(Version::V2))
            );
            log.compacted();
        }
    }
    assert!(log.compaction().is_none());
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn what_no_damage_touches_is_salvaged_and_nothing_else(
        written in logs(30),
        at in any::<prop::sample::Index>(),
        len in 1_usize..300,
        fill in any::<u8>(),
    ) {
        let start = written.starts[0];
        if written.records() == 0 {
            return Ok(());
        }
        let from = start + at.index(written.file.len() - start);
        let to = (from + len).min(written.file.len());
        let mut file = written.file.clone();
        file[from..to].fill(fill);

        let mut expected = written.states[0].clone();
        let mut remaining = 0;
        let records = LogReader::new(&written.file, Reading::Strict).unwrap();
        for located in records {
            let place = located.at as usize..(located.at + located.len) as usize;
            if file[place.clone()] != written.file[place] {
                continue;
            }
            remaining += 1;
            match located.record {
                Record::Insert { name, info } => drop(expected.insert(name, info)),
                Record::Remove { name } => drop(expected.remove(name)),
            }
        }
        let salvaged = FileDictionary::salvage(&file);
        prop_assert_eq!(salvaged.records, remaining);
        prop_assert_eq!(salvaged.dictionary, expected);
        prop_assert_eq!(salvaged.lost.is_empty(), file == written.file);
        for lost in &salvaged.lost {
            prop_assert!(lost.at <= to as u64 && lost.at + lost.len >= from as u64);
        }
    }

    #[test]
    fn what_stands_before_a_cut_is_salvaged(written in logs(12), at in any::<prop::sample::Index>()) {
        let start = written.starts[0];
        let cut = start + at.index(written.file.len() - start + 1);
        let salvaged = FileDictionary::salvage(&written.file[..cut]);
        let whole = written.starts[1..].iter().filter(|end| **end <= cut).count();
        prop_assert_eq!(&salvaged.dictionary, &written.states[whole]);
    }

    #[test]
    fn any_bytes_are_salvaged_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        FileDictionary::salvage(&bytes);
    }
}
