//! A log that this crate wrote, then cut or changed in one byte, is recovered up to exactly that place.
//!
//! Input: where to cut or change (2 bytes, big-endian), what to change the byte by (1; 0 cuts), then operations: kind, name, and for an
//! insert key id, method and IV, one byte each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::error::Finding;
use stillkey_core::{
    FileDictionary, FileInfo, FileLog, Iv, MethodNumber, Reading, Record, Verdict, Version, Write,
};

struct Written {
    file: Vec<u8>,
    starts: Vec<usize>,
    states: Vec<FileDictionary>,
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((&[high, low, change], operations)) = bytes.split_first_chunk() {
        let written = write(operations);
        let at = usize::from(u16::from_be_bytes([high, low])) % written.file.len();
        if change == 0 {
            check_cut(&written, at);
        } else {
            check_change(&written, at, change);
        }
    }
});

fn write(mut operations: &[u8]) -> Written {
    let mut log = FileLog::new(FileDictionary::new(), Version::V2, 3);
    let file = log.dictionary().to_bytes(Version::V2);
    let mut written = Written {
        starts: vec![file.len()],
        file,
        states: vec![log.dictionary().clone()],
    };
    while let Some((&[kind, name], rest)) = operations.split_first_chunk() {
        operations = rest;
        let name = char::from(name)
            .to_string()
            .repeat(1 + usize::from(kind >> 4));
        let record = if kind & 1 == 1 {
            Record::Remove { name: &name }
        } else {
            let Some((&[key_id, method, iv], rest)) = operations.split_first_chunk() else {
                break;
            };
            operations = rest;
            let mut info = match kind & 2 {
                0 => FileInfo::plaintext(key_id.into()),
                _ => FileInfo::encrypted(
                    key_id.into(),
                    Iv::new([iv; 16]),
                    stillkey_core::Method::Sm4Ctr,
                ),
            };
            info.method = MethodNumber(i32::from(method as i8));
            Record::Insert { name: &name, info }
        };
        let mut batch = log.batch();
        if batch.add(&record).is_err() {
            assert!(
                matches!(record, Record::Remove { name } if log.dictionary().find(name).is_none())
            );
            continue;
        }
        let (Write::Append(bytes), changes) = batch.finish() else {
            unreachable!("a log is appended to");
        };
        written.file.extend(bytes);
        log.commit(changes);
        written.starts.push(written.file.len());
        written.states.push(log.dictionary().clone());
    }
    for reading in [Reading::Strict, Reading::Tikv, Reading::AfterCrash] {
        let read = FileDictionary::recover(&written.file, reading).expect("our own bytes");
        assert_eq!(read.verdict, Verdict::Complete);
        assert_eq!(&read.dictionary, log.dictionary());
    }
    written
}

impl Written {
    fn record_at(&self, at: usize) -> Option<usize> {
        self.starts.iter().rposition(|start| *start <= at)
    }
}

fn check_cut(written: &Written, cut: usize) {
    let file = &written.file[..cut];
    for reading in [Reading::Strict, Reading::Tikv, Reading::AfterCrash] {
        let read = FileDictionary::recover(file, reading);
        let Some(whole) = written.record_at(cut) else {
            assert!(read.is_err(), "cut inside the header");
            continue;
        };
        let read = read.expect("the header is whole");
        assert_eq!(read.dictionary, written.states[whole]);
        let start = written.starts[whole] as u64;
        match read.verdict {
            Verdict::Complete => assert_eq!(start, cut as u64),
            Verdict::TornTail { at, dropped } => {
                assert!(dropped > 0);
                assert_eq!((at, at + dropped), (start, cut as u64));
            }
            // A name may hold what looks like a record.
            Verdict::Corrupt { at, why } => {
                assert_eq!(at, start);
                assert_ne!(reading, Reading::Tikv);
                assert!(matches!(why.finding, Finding::IntactRecordInside { .. }));
            }
        }
    }
}

fn check_change(written: &Written, at: usize, change: u8) {
    let mut file = written.file.clone();
    file[at] ^= change;
    let read = FileDictionary::recover(&file, Reading::Strict);
    let Some(changed) = written.record_at(at) else {
        match at {
            1..4 => assert_eq!(
                Some(&read.expect("reserved bytes are ignored").dictionary),
                written.states.last()
            ),
            _ => assert!(read.is_err(), "a changed header"),
        }
        return;
    };
    let read = read.expect("the header is whole");
    assert_eq!(read.dictionary, written.states[changed]);
    assert_eq!(read.records, changed as u64);
    match read.verdict {
        Verdict::Complete => panic!("the change went unnoticed"),
        Verdict::TornTail { at, .. } => {
            assert_eq!(at, written.starts[changed] as u64);
            assert_eq!(
                changed + 2,
                written.starts.len(),
                "only the last record can be torn"
            );
        }
        Verdict::Corrupt { at, .. } => assert_eq!(at, written.starts[changed] as u64),
    }
}
