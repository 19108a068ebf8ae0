//! Reading costs memory in proportion to the input, whatever lengths the input claims. One test only: it measures the whole process.

use std::alloc::System;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};
use stillkey_core::{Envelope, FileDictionary, KeyDictionary, LogReader, MasterKey, Reading};
use stillkey_tests::oracle;
use stillkey_tests::random::Seeded;

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most bytes that were allocated at once during `run`, beyond those before it.
fn peak(run: impl FnOnce()) -> usize {
    ALLOCATOR.reset_peak_memory();
    run();
    ALLOCATOR.get_peak_memory()
}

/// Bytes of memory per byte of input: an entry of a few bytes becomes a node of a tree with its name on the heap.
const FACTOR: usize = 24;
/// For messages of errors and the like.
const CONSTANT: usize = 4096;

fn check(what: &str, input: &[u8]) {
    for reading in [Reading::Strict, Reading::Tikv] {
        let used = [
            (
                "recover",
                peak(|| drop(FileDictionary::recover(input, reading))),
            ),
            (
                "records",
                peak(|| drop(LogReader::new(input, reading).map(|log| log.collect::<Vec<_>>()))),
            ),
            (
                "key.dict",
                peak(|| drop(KeyDictionary::open(input, &MasterKey::Plaintext))),
            ),
            ("envelope", peak(|| drop(Envelope::from_bytes(input)))),
        ];
        for (reader, used) in used {
            let allowed = FACTOR * input.len() + CONSTANT;
            assert!(
                used <= allowed,
                "{what}, {reader}: {used} bytes for {} of input",
                input.len()
            );
        }
    }
}

/// A message of `count` copies of what `field` makes.
fn repeated(count: u32, field: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(field).collect()
}

fn in_plaintext_envelope(payload: &[u8]) -> Vec<u8> {
    prost::Message::encode_to_vec(&oracle::EncryptedContent {
        metadata: [("method".to_owned(), b"plaintext".to_vec())].into(),
        content: payload.to_vec(),
    })
}

#[test]
fn memory_stays_in_proportion_to_the_input() {
    let three = |number: u32| {
        number.to_be_bytes()[1..]
            .iter()
            .map(|byte| byte & 0x7f)
            .collect::<Vec<_>>()
    };
    let entries = repeated(20_000, |number| {
        [&[0x0a, 5, 0x0a, 3], &three(number)[..]].concat()
    });
    let keys = repeated(20_000, |number| {
        vec![
            0x0a,
            4,
            0x08,
            number as u8 | 0x80,
            (number >> 7) as u8 | 0x80,
            (number >> 14) as u8,
        ]
    });
    let unknown = repeated(40_000, |_| vec![0x48, 0]);
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let groups = vec![0x4b; 100_000];
    for (what, message) in [
        ("entries of 7 bytes", &entries),
        ("keys of 6 bytes", &keys),
        ("unknown fields", &unknown),
        ("a length of 2^63", &huge.to_vec()),
        ("groups in groups", &groups),
        (
            "the same entry over and over",
            &repeated(50_000, |_| vec![0x0a, 0]),
        ),
    ] {
        check(what, message);
        check(what, &oracle::frame(2, message, &[]));
        check(
            what,
            &oracle::frame(1, &in_plaintext_envelope(message), &[]),
        );
        check(what, &oracle::frame(1, message, &[]));
    }

    let mut header = oracle::frame(2, &entries, &[]);
    header[8..16].fill(0xff);
    check("a header that claims 2^64 - 1 bytes", &header);
    header[8..16].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    check("a header that claims a terabyte", &header);

    let records = repeated(5_000, |number| oracle::record(1, &three(number), &[8, 1]));
    check("records", &oracle::frame(2, &[], &records));
    check(
        "records of fields unknown",
        &oracle::frame(
            2,
            &[],
            &repeated(5_000, |number| {
                oracle::record(1, &three(number), &[0x48, 0])
            }),
        ),
    );
    let claims = [&records[..], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1]].concat();
    check(
        "a record that claims 128 KiB",
        &oracle::frame(2, &[], &claims),
    );
    // Every byte could start a record, so that the search for an intact one behind a torn one has work.
    let decoys = [&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1][..], &[1; 120_000]].concat();
    check(
        "a torn record full of decoys",
        &oracle::frame(2, &[], &decoys),
    );

    let mut rng = Seeded(7);
    for _ in 0..3_000 {
        let len = rng.index(0..=600);
        let noise = rng.bytes(len);
        check("noise", &noise);
        check("noise", &oracle::frame(2, &[], &noise));
        check("noise", &oracle::frame(2, &noise, &[]));
        check(
            "noise",
            &oracle::frame(1, &in_plaintext_envelope(&noise), &[]),
        );
    }
}
