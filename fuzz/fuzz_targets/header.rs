//! Every reader of a dictionary file agrees on its header with a few lines that read it by the description.
//!
//! Input: a file, also read with its header's length and checksum made right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::{Error, FileDictionary, KeyDictionary, LogReader, Reading};
use stillkey_fuzz::with_right_checksums;

fuzz_target!(|file: &[u8]| {
    check(file);
    check(&with_right_checksums(file));
});

#[derive(Debug, PartialEq)]
enum Expected {
    Damaged,
    Unsupported,
    Log { at: u64 },
}

fn by_the_description(file: &[u8]) -> Expected {
    let Some((header, rest)) = file.split_first_chunk::<16>() else {
        return Expected::Damaged;
    };
    if !matches!(header[0], 1 | 2) {
        return Expected::Unsupported;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (checksum, size) = (number(&header[4..8]), number(&header[8..]));
    let fits = match header[0] {
        1 => size == rest.len() as u64,
        _ => size <= rest.len() as u64,
    };
    if !fits || u64::from(crc32fast::hash(&rest[..size as usize])) != checksum {
        return Expected::Damaged;
    }
    Expected::Log { at: 16 + size }
}

fn check(file: &[u8]) {
    let expected = by_the_description(file);
    for reading in [Reading::Strict, Reading::Tikv] {
        let found = match LogReader::new(file, reading) {
            Ok(mut log) => {
                let first = log.next().map(|record| record.at);
                if let (Some(first), Expected::Log { at }) = (first, &expected) {
                    assert_eq!(first, *at);
                }
                assert!(matches!(expected, Expected::Log { .. }));
                continue;
            }
            Err(Error::Damaged(_)) => Expected::Damaged,
            Err(Error::Unsupported(_)) => Expected::Unsupported,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, expected);
        assert!(FileDictionary::recover(file, reading).is_err());
    }
    let envelope = KeyDictionary::envelope(file);
    match expected {
        Expected::Log { .. } => {}
        Expected::Damaged => assert!(matches!(envelope, Err(Error::Damaged(_)))),
        Expected::Unsupported => assert!(matches!(envelope, Err(Error::Unsupported(_)))),
    }
}
