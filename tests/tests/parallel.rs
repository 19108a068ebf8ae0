//! How many threads share the work never shows: not in bytes, not in errors.

use std::io::{Read, Write};

use proptest::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use stillkey::core::cipher::{Aead, CipherProvider, CtrKernel};
use stillkey::core::error::{Finding, Part};
use stillkey::core::sealed::{Options, Sealer, Suite, seal};
use stillkey::core::{
    Cipher, CtrStream, DataKey, EncryptionContext, Error, Iv, MasterKey, Portable, SecretBytes,
};
use stillkey::parallel::{self, Threads};
use stillkey::{EncryptedReader, Native, SealedReader, SealedWriter};
use stillkey_tests::random::Seeded;
use stillkey_tests::{cases, raw_master_key};

const MIB: usize = 1 << 20;

fn pools() -> [ThreadPool; 2] {
    [1, 3].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap()
    })
}

fn stream(provider: &dyn CipherProvider, cipher: Cipher) -> CtrStream {
    let key = DataKey::new(cipher, SecretBytes::new(vec![3; cipher.key_len()])).unwrap();
    CtrStream::with_provider(provider, &key, Iv::new([0xff; 16]))
}

/// Up to one byte before the end of all positions.
fn offsets() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..100_u64,
        any::<u32>().prop_map(u64::from),
        (0..100_u64).prop_map(|back| u64::MAX - 4 * MIB as u64 - back),
    ]
}

/// Around the lengths at which more threads begin to take part.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..100_usize,
        MIB - 20..MIB + 20,
        2 * MIB - 20..2 * MIB + 20,
        MIB..3 * MIB,
    ]
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn several_threads_give_the_bytes_of_one(
        cipher in prop::sample::select(&Cipher::ALL[..]),
        offset in offsets(),
        len in lengths(),
        seed in any::<u64>(),
    ) {
        let stream = stream(&Native::detect(), cipher);
        let source = Seeded(seed).bytes(len);
        let mut expected = source.clone();
        stream.apply_at(offset, &mut expected).unwrap();
        for pool in pools() {
            let (mut in_place, mut destination) = (source.clone(), vec![0; len]);
            pool.install(|| {
                parallel::apply(&stream, offset, &mut in_place).unwrap();
                parallel::apply_to(&stream, offset, &source, &mut destination).unwrap();
            });
            prop_assert!(in_place == expected);
            prop_assert!(destination == expected);
        }
    }
}

#[test]
fn the_pool_of_the_caller_does_the_work() {
    struct Named;
    impl CtrKernel for Named {
        fn apply(&self, _: &Iv, _: u64, data: inout::InOutBuf<'_, '_, u8>) {
            let here = std::thread::current();
            data.into_out()
                .fill(u8::from(here.name() == Some("of the caller")));
        }
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(2)
        .thread_name(|_| "of the caller".to_owned())
        .build()
        .unwrap();
    let stream = CtrStream::with_kernel(std::sync::Arc::new(Named), Iv::new([0; 16]));
    let mut data = vec![0; 4 * MIB];
    pool.install(|| {
        assert_eq!(parallel::threads(), 2);
        parallel::apply(&stream, 0, &mut data).unwrap();
    });
    assert!(data.iter().all(|byte| *byte == 1));
}

#[test]
fn errors_are_those_of_the_stream_and_change_nothing() {
    let stream = stream(&Portable, Cipher::Aes128);
    let (offset, source) = (u64::MAX - 2 * MIB as u64, vec![9; 2 * MIB + 1]);
    for pool in pools() {
        let mut data = source.clone();
        let expected = stream.apply_at(offset, &mut data).unwrap_err();
        pool.install(|| {
            let found = parallel::apply(&stream, offset, &mut data).unwrap_err();
            assert_eq!(found, expected);
            let mut destination = vec![9; source.len()];
            let found = parallel::apply_to(&stream, offset, &source, &mut destination);
            assert_eq!(found.unwrap_err(), expected);
            assert!(data == source && destination == source);

            let short = &mut destination[1..];
            let expected = stream.apply_at_to(0, &source, short).unwrap_err();
            let found = parallel::apply_to(&stream, 0, &source, short).unwrap_err();
            assert_eq!(found, expected);
        });
    }
}

#[test]
fn a_reader_with_a_long_buffer_reads_what_was_written() {
    let plaintext = Seeded(1).bytes(3 * MIB + 7);
    let mut ciphertext = plaintext.clone();
    stream(&Portable, Cipher::Aes256)
        .apply_at(0, &mut ciphertext)
        .unwrap();
    for pool in pools() {
        let mut reader = EncryptedReader::new(
            ciphertext.as_slice(),
            stream(&Native::detect(), Cipher::Aes256),
        );
        let (mut first, mut rest) = (vec![0; 2 * MIB], Vec::new());
        pool.install(|| {
            reader.read_exact(&mut first).unwrap();
            reader.read_to_end(&mut rest).unwrap();
        });
        assert!([first, rest].concat() == plaintext);
    }
}

fn key() -> [MasterKey; 1] {
    [raw_master_key(&"07".repeat(32))]
}

/// Large enough for more than one thread, in chunks small enough for all of them.
fn options(suite: Suite) -> Options {
    Options {
        suite,
        chunk_exponent: 14,
    }
}

#[test]
fn an_object_sealed_by_several_threads_is_the_one_that_one_thread_seals() {
    let context = EncryptionContext::new();
    for suite in Suite::ALL {
        let plaintext = Seeded(2).bytes(3 * MIB + 100);
        let (options, keys) = (options(suite), key());
        let expected = seal(&plaintext, &options, &keys, &context, &mut Seeded(3)).unwrap();
        for pool in pools() {
            for piece in [MIB - 1, 2 * MIB, 4 * MIB] {
                let (mut object, mut rng) = (Vec::new(), Seeded(3));
                let provider = Native::detect();
                let mut sealer =
                    Sealer::new(&options, &keys, &context, &provider, &mut rng, &mut object)
                        .unwrap();
                for mut piece in plaintext.chunks(piece) {
                    while !piece.is_empty() {
                        let mut room = vec![0; sealer.output_len(piece.len())];
                        let pushed =
                            pool.install(|| sealer.push_to(piece, &mut room, &Threads).unwrap());
                        object.extend(&room[..pushed.written]);
                        piece = &piece[pushed.taken..];
                    }
                }
                sealer.finish(&mut object).unwrap();
                assert!(object == expected, "{suite} {piece}");
            }
        }
    }
}

/// What a reader gives out, and how it ends.
fn read(object: &[u8], buffer_len: usize) -> (Vec<u8>, Option<Error>) {
    let mut reader = SealedReader::new(object, &key(), &EncryptionContext::new()).unwrap();
    let (mut read, mut buffer) = (Vec::new(), vec![0; buffer_len]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return (read, None),
            Ok(len) => read.extend(&buffer[..len]),
            Err(error) => {
                let again = reader.read(&mut buffer).unwrap_err();
                assert_eq!(again.to_string(), error.to_string());
                let inner = error.into_inner().unwrap().downcast().unwrap();
                return (read, Some(*inner));
            }
        }
    }
}

#[test]
fn damage_is_reported_at_its_first_chunk_and_what_stands_before_it_is_given_out() {
    const CHUNK: usize = 1 << 14;
    const SEALED: usize = CHUNK + 16;
    let plaintext = Seeded(4).bytes(4 * MIB);
    let mut writer = SealedWriter::new(
        Vec::new(),
        &options(Suite::Aes256Gcm),
        &key(),
        &EncryptionContext::new(),
    );
    let writer_ref = writer.as_mut().unwrap();
    writer_ref.write_all(&plaintext).unwrap();
    let object = writer.unwrap().finish().unwrap();
    let chunks = plaintext.len() / CHUNK;
    let body_at = object.len() - chunks * SEALED;

    let changed = |bad: &[usize]| {
        let mut object = object.clone();
        for chunk in bad {
            object[body_at + chunk * SEALED + 5] ^= 1;
        }
        object
    };
    let swapped = {
        let mut object = object.clone();
        let (at, len) = (body_at + 100 * SEALED, SEALED);
        let chunk = object[at..at + len].to_vec();
        object.copy_within(at + len..at + 2 * len, at);
        object[at + len..at + 2 * len].copy_from_slice(&chunk);
        object
    };
    let cases = [
        ("one", changed(&[77]), 77, Finding::Tag),
        ("several", changed(&[200, 130, 131]), 130, Finding::Tag),
        ("the first", changed(&[0, 255]), 0, Finding::Tag),
        ("the last", changed(&[chunks - 1]), 255, Finding::Tag),
        ("swapped", swapped, 100, Finding::Tag),
        (
            "cut off at a chunk",
            object[..body_at + 150 * SEALED].to_vec(),
            149,
            Finding::Truncated,
        ),
        (
            "cut off inside a chunk",
            object[..body_at + 150 * SEALED + 100].to_vec(),
            150,
            Finding::Tag,
        ),
        (
            "extended",
            [&object[..], &object[body_at..]].concat(),
            255,
            Finding::Extended,
        ),
    ];
    for pool in pools() {
        for buffer_len in [100, CHUNK, 3 * MIB] {
            let (whole, end) = pool.install(|| read(&object, buffer_len));
            assert!(whole == plaintext && end.is_none());
            for (what, object, bad, expected) in &cases {
                let (before, error) = pool.install(|| read(object, buffer_len));
                assert!(before == plaintext[..bad * CHUNK], "{what} {buffer_len}");
                let Some(Error::Damaged(damage)) = error else {
                    panic!("{what}: {error:?}");
                };
                let found = (damage.part, damage.finding);
                let expected = (Part::Chunk(*bad as u64), expected.clone());
                assert_eq!(found, expected, "{what} {buffer_len}");
            }
        }
    }
}

#[test]
fn the_kernel_of_the_command_is_the_fast_one() {
    assert_eq!(Native::detect().aead_name(Aead::Aes256Gcm), "aws-lc-rs");
}
