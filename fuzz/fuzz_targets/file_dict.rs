//! No bytes make the reader of `file.dict` fail in any way but an error, and what it read it can write and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey_core::{FileDictionary, LogReader, Reading, Recovered, Verdict, Version};
use stillkey_fuzz::with_right_checksums;

fuzz_target!(|file: &[u8]| {
    check(file);
    check(&with_right_checksums(file));
});

fn check(file: &[u8]) {
    let strict = FileDictionary::recover(file, Reading::Strict);
    let tikv = FileDictionary::recover(file, Reading::Tikv);
    assert_eq!(
        LogReader::new(file, Reading::Strict).is_ok(),
        LogReader::new(file, Reading::Tikv).is_ok()
    );
    for recovered in [&strict, &tikv].into_iter().flatten() {
        check_verdict(file, recovered);
        check_round_trip(&recovered.dictionary);
    }
    match (strict, tikv) {
        (Ok(strict), Ok(tikv)) => {
            assert!(strict.records <= tikv.records);
            let opens = |read: &Recovered| read.clone().into_dictionary().ok();
            if let Some(dictionary) = opens(&strict) {
                assert_eq!(
                    opens(&tikv),
                    Some(dictionary),
                    "strict is never more lenient, and never of another opinion"
                );
            }
        }
        (strict, tikv) => assert_eq!(strict, tikv, "a header or content knows no two readings"),
    }
}

fn check_verdict(file: &[u8], recovered: &Recovered) {
    match recovered.verdict {
        Verdict::Complete => {}
        Verdict::TornTail { at, dropped } => {
            assert_eq!(at + dropped, file.len() as u64);
            let cut = FileDictionary::recover(&file[..at as usize], Reading::Strict).ok();
            // TiKV's reading believes type bytes that the strict one refuses, so only the end can be compared there.
            if let Some(cut) = cut.filter(|cut| cut.verdict == Verdict::Complete) {
                assert_eq!(cut.dictionary, recovered.dictionary);
                assert_eq!(cut.records, recovered.records);
            }
        }
        Verdict::Corrupt { at, .. } => assert!(at < file.len() as u64),
    }
}

fn check_round_trip(dictionary: &FileDictionary) {
    for version in [Version::V1, Version::V2] {
        let written = dictionary.to_bytes(version);
        let again = FileDictionary::open(&written).expect("our own bytes");
        assert_eq!(again, *dictionary);
        assert_eq!(again.to_bytes(version), written);
    }
}
