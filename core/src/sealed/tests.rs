//! What sealed objects promise, tried on every suite.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::cipher::Portable;
use crate::context::EncryptionContext;
use crate::error::{Damage, Error, Finding, Misuse, Part, Unsupported, WrongMasterKey};
use crate::master::{KeyService, MasterKey, RawMasterKey, WrappedKey};
use crate::secret::SecretBytes;
use crate::stream::CtrStream;
use crate::testing::{CountingService, TestRng};

const CHUNK: usize = 4096;
const SEALED_CHUNK: usize = CHUNK + Chunks::OVERHEAD;

fn raw(byte: u8) -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::new(vec![byte; 32])).unwrap())
}

fn options(suite: Suite) -> Options {
    Options {
        suite,
        chunk_exponent: 12,
    }
}

fn context() -> EncryptionContext {
    [("tenant", "7")].into_iter().collect()
}

fn sealed(suite: Suite, plaintext: &[u8]) -> Vec<u8> {
    seal(
        plaintext,
        &options(suite),
        &[raw(1)],
        &context(),
        &mut TestRng::default(),
    )
    .unwrap()
}

fn opened(object: &[u8]) -> Result<Vec<u8>, Error> {
    open(object, &[raw(1)], &context()).map(|plaintext| plaintext.to_vec())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i * 7 + i / 251).to_le_bytes()[0])
        .collect()
}

fn header_len(object: &[u8]) -> usize {
    Header::len_of(object).unwrap()
}

fn finding(error: &Error) -> (Part, Finding) {
    match error {
        Error::Damaged(Damage { part, finding, .. }) => (*part, finding.clone()),
        other => panic!("not damage: {other:?}"),
    }
}

#[test]
fn every_length_comes_back_in_every_suite() {
    for suite in Suite::ALL {
        for len in [
            0,
            1,
            15,
            16,
            17,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK - 1,
            2 * CHUNK,
            3 * CHUNK + 5,
        ] {
            let plaintext = pattern(len);
            let object = sealed(suite, &plaintext);
            assert_eq!(opened(&object).unwrap(), plaintext, "{suite} {len}");
            let overhead = object.len() - header_len(&object) - len;
            let chunks = len.div_ceil(CHUNK).max(1);
            assert_eq!(
                overhead,
                if suite.is_chunked() {
                    chunks * Chunks::OVERHEAD
                } else {
                    0
                }
            );
        }
    }
}

#[test]
fn pieces_of_any_size_make_and_open_the_same_object() {
    let plaintext = pattern(2 * CHUNK + 100);
    for suite in Suite::ALL {
        let whole = sealed(suite, &plaintext);
        for piece in [1, 16, 1000, CHUNK, CHUNK + 1, 5 * CHUNK] {
            let mut object = Vec::new();
            let mut rng = TestRng::default();
            let mut sealer = Sealer::new(
                &options(suite),
                &[raw(1)],
                &context(),
                &Portable,
                &mut rng,
                &mut object,
            )
            .unwrap();
            plaintext
                .chunks(piece)
                .for_each(|piece| sealer.push(piece, &mut object).unwrap());
            sealer.finish(&mut object).unwrap();
            assert_eq!(object, whole, "{suite} {piece}");

            let header = Header::parse(&object).unwrap();
            let mut opener = Opener::new(header.open(&[raw(1)], &context(), &Portable).unwrap());
            let mut out = Vec::new();
            object[header.as_bytes().len()..]
                .chunks(piece)
                .for_each(|piece| opener.push(piece, &mut out).unwrap());
            opener.finish(&mut out).unwrap();
            assert_eq!(out, plaintext, "{suite} {piece}");
        }
    }
}

#[test]
fn chunks_open_alone_and_in_any_order() {
    let plaintext = pattern(3 * CHUNK + 10);
    for suite in [Suite::Aes256Gcm, Suite::Sm4Gcm] {
        let object = sealed(suite, &plaintext);
        let header = Header::parse(&object).unwrap();
        let Body::Chunked(chunks) = header.open(&[raw(1)], &context(), &Portable).unwrap() else {
            panic!()
        };
        let body = &object[header.as_bytes().len()..];
        let layout = chunks.layout(body.len() as u64).unwrap();
        assert_eq!(
            layout,
            Layout {
                chunks: 4,
                plaintext_len: plaintext.len() as u64
            }
        );
        for number in [3, 1, 0, 2] {
            let sealed = body.chunks(SEALED_CHUNK).nth(number).unwrap();
            let mut out = Vec::new();
            chunks
                .open(number as u64, number == 3, sealed, &mut out)
                .unwrap();
            assert_eq!(out, plaintext.chunks(CHUNK).nth(number).unwrap());
        }
    }
}

#[test]
fn truncation_reordering_duplication_and_extension_are_detected() {
    for suite in [Suite::Aes256Gcm, Suite::Sm4Gcm] {
        let object = sealed(suite, &pattern(3 * CHUNK));
        let (header, body) = object.split_at(header_len(&object));
        let chunk = |i: usize| &body[i * SEALED_CHUNK..(i + 1) * SEALED_CHUNK];
        let damage =
            |parts: &[&[u8]]| finding(&opened(&[&[header], parts].concat().concat()).unwrap_err());

        assert_eq!(
            damage(&[chunk(0), chunk(1)]),
            (Part::Chunk(1), Finding::Truncated)
        );
        assert_eq!(damage(&[chunk(0)]), (Part::Chunk(0), Finding::Truncated));
        assert_eq!(damage(&[]), (Part::Chunk(0), Finding::Truncated));
        assert_eq!(
            damage(&[chunk(1), chunk(0), chunk(2)]),
            (Part::Chunk(0), Finding::Tag)
        );
        assert_eq!(
            damage(&[chunk(0), chunk(1), chunk(1), chunk(2)]),
            (Part::Chunk(2), Finding::Tag)
        );
        assert_eq!(
            damage(&[chunk(0), chunk(2)]),
            (Part::Chunk(1), Finding::Tag)
        );
        assert_eq!(damage(&[body, b"x"]), (Part::Chunk(2), Finding::Extended));
        assert_eq!(
            damage(&[body, chunk(2)]),
            (Part::Chunk(2), Finding::Extended)
        );
        for cut in [1, 15, 16, 17, SEALED_CHUNK - 1] {
            let cut = &body[..body.len() - cut];
            assert!(opened(&[header, cut].concat()).is_err(), "{cut:?}");
        }
    }
}

#[test]
fn no_body_has_a_length_that_was_cut_inside_a_chunk() {
    let object = sealed(Suite::Aes256Gcm, &[]);
    let header = Header::parse(&object).unwrap();
    let Body::Chunked(chunks) = header.open(&[raw(1)], &context(), &Portable).unwrap() else {
        panic!()
    };
    let lengths = |len: usize| {
        chunks
            .layout(len as u64)
            .ok()
            .map(|layout| (layout.chunks, layout.plaintext_len))
    };
    assert_eq!(lengths(0), None);
    assert_eq!(lengths(15), None);
    assert_eq!(lengths(16), Some((1, 0)));
    assert_eq!(lengths(SEALED_CHUNK), Some((1, CHUNK as u64)));
    assert_eq!(
        lengths(SEALED_CHUNK + 16),
        None,
        "an empty last chunk after others is never written"
    );
    assert_eq!(lengths(SEALED_CHUNK + 17), Some((2, CHUNK as u64 + 1)));
    let too_many = (1 << 32) * SEALED_CHUNK as u64 + 17;
    for len in [too_many, u64::MAX] {
        let error = chunks.layout(len).unwrap_err();
        assert_eq!(finding(&error).1, Finding::Extended, "{len}");
    }
}

#[test]
fn an_empty_last_chunk_after_others_is_neither_made_nor_opened() {
    let object = sealed(Suite::Aes256Gcm, &[]);
    let header = Header::parse(&object).unwrap();
    let Body::Chunked(chunks) = header.open(&[raw(1)], &context(), &Portable).unwrap() else {
        panic!()
    };
    let expected = Misuse::ChunkLength {
        expected: CHUNK,
        found: 0,
    };
    assert_eq!(
        chunks.seal(1, true, &[], &mut Vec::new()),
        Err(expected.into())
    );
    let error = chunks.open(1, true, &[0; 16], &mut Vec::new()).unwrap_err();
    assert_eq!(finding(&error), (Part::Chunk(1), Finding::Truncated));
}

#[test]
fn a_failed_opener_stays_failed() {
    let mut object = sealed(Suite::Aes256Gcm, &pattern(CHUNK));
    object.push(0);
    let header = Header::parse(&object).unwrap();
    let mut opener = Opener::new(header.open(&[raw(1)], &context(), &Portable).unwrap());
    let body = &object[header.as_bytes().len()..];
    let mut out = Vec::new();
    let error = opener.push(body, &mut out).unwrap_err();
    assert_eq!(finding(&error), (Part::Chunk(0), Finding::Extended));
    assert_eq!(opener.push(b"", &mut out), Err(error.clone()));
    assert_eq!(opener.finish(&mut out), Err(error));
    assert_eq!(out, b"");
}

#[test]
fn every_changed_bit_of_header_and_chunks_is_noticed() {
    for suite in [Suite::Aes256Gcm, Suite::Aes128Ctr] {
        let object = sealed(suite, b"content");
        let protected = if suite.is_chunked() {
            object.len()
        } else {
            header_len(&object)
        };
        for bit in 0..protected * 8 {
            let mut changed = object.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = opened(&changed).unwrap_err();
            assert!(
                matches!(error, Error::Damaged(_) | Error::Unsupported(_)),
                "{suite} bit {bit}: {error}"
            );
        }
    }
}

#[test]
fn a_header_forged_with_a_fitting_checksum_is_refused() {
    let object = sealed(Suite::Aes256Gcm, b"content");
    let len = header_len(&object);
    let checksum_at = len - 36;
    for at in (16..checksum_at).step_by(3) {
        let mut forged = object.clone();
        forged[at] ^= 1;
        let checksum = crc32fast::hash(&forged[..checksum_at]).to_be_bytes();
        forged[checksum_at..checksum_at + 4].copy_from_slice(&checksum);
        assert!(opened(&forged).is_err(), "byte {at}");
    }
}

#[test]
fn every_prefix_of_an_object_is_an_error() {
    let object = sealed(Suite::Aes256Gcm, b"content");
    for len in 0..object.len() {
        let error = opened(&object[..len]).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{len}: {error}");
    }
    assert_eq!(
        opened(b"PK\x03\x04").unwrap_err(),
        Unsupported::NotSealed.into()
    );
    let mut newer = object;
    newer[8] = 2;
    assert_eq!(
        opened(&newer).unwrap_err(),
        Unsupported::SealedVersion(2).into()
    );
}

#[test]
fn wrong_key_and_wrong_context_are_told_apart() {
    let object = sealed(Suite::Aes256Gcm, b"content");
    let error = open(&object, &[raw(2)], &context()).unwrap_err();
    let Error::WrongMasterKey(WrongMasterKey::NoRecipient { recipients }) = error else {
        panic!("{error}")
    };
    assert!(recipients.starts_with("master key "), "{recipients}");
    assert_eq!(
        open(&object, &[raw(1)], &EncryptionContext::new()).unwrap_err(),
        Error::WrongContext
    );
    assert!(matches!(
        open(&object, &[MasterKey::Plaintext], &context()),
        Err(Error::WrongMasterKey(_))
    ));
}

#[test]
fn an_error_repeats_only_the_beginning_of_what_the_object_says() {
    #[derive(Debug)]
    struct Verbose;
    impl KeyService for Verbose {
        fn vendor(&self) -> &str {
            "verbose"
        }
        fn provider(&self) -> u8 {
            201
        }
        fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
            Ok(WrappedKey {
                reference: "é".repeat(5_000),
                version: String::new(),
                blob: key.danger_bytes().to_vec(),
            })
        }
        fn unwrap(&self, _: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Error> {
            Err(WrongMasterKey::Tag.into())
        }
    }
    let keys: [MasterKey; 20] = core::array::from_fn(|_| MasterKey::Service(Arc::new(Verbose)));
    let rng = &mut TestRng::default();
    let object = seal(b"", &options(Suite::Aes256Gcm), &keys, &context(), rng).unwrap();
    let error = open(&object, &[raw(1)], &context())
        .unwrap_err()
        .to_string();
    assert!(error.contains("and 12 more"), "{error}");
    assert!(error.chars().count() < 8 * 160 + 200, "{}", error.len());
}

#[test]
fn a_key_service_may_not_take_a_number_that_means_something_else() {
    for number in [0, 1] {
        let keys = [MasterKey::Service(Arc::new(Numbered(number)))];
        let rng = &mut TestRng::default();
        let error = seal(b"", &options(Suite::Aes256Gcm), &keys, &context(), rng).unwrap_err();
        assert_eq!(error, Misuse::ReservedProvider(number).into());
    }
}

/// A key service that claims this provider number.
#[derive(Debug)]
struct Numbered(u8);

impl KeyService for Numbered {
    fn vendor(&self) -> &str {
        "numbered"
    }

    fn provider(&self) -> u8 {
        self.0
    }

    fn wrap(&self, _: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
        Ok(WrappedKey::default())
    }

    fn unwrap(&self, _: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Error> {
        Err(WrongMasterKey::Tag.into())
    }
}

#[test]
fn each_of_several_master_keys_opens_the_object() {
    let keys = [raw(1), raw(2), MasterKey::Service(Arc::new(Xor(3)))];
    let object = seal(
        b"content",
        &Options::default(),
        &keys,
        &context(),
        &mut TestRng::default(),
    )
    .unwrap();
    for key in keys {
        assert_eq!(
            *open(&object, &[raw(9), key], &context()).unwrap(),
            b"content"
        );
    }
    assert!(open(&object, &[MasterKey::Service(Arc::new(Xor(4)))], &context()).is_err());
}

#[test]
fn an_unreachable_key_service_is_not_a_wrong_key() {
    let object = seal(
        b"content",
        &Options::default(),
        &[MasterKey::Service(Arc::new(Xor(3)))],
        &context(),
        &mut TestRng::default(),
    )
    .unwrap();
    let error = open(
        &object,
        &[raw(1), MasterKey::Service(Arc::new(Xor(0)))],
        &context(),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

#[test]
fn a_key_service_that_is_out_of_order_is_worth_a_retry_though_another_recipient_is_damaged() {
    for keys in [[3, 0], [0, 3]] {
        let services = keys.map(|key| MasterKey::Service(Arc::new(Xor(key))));
        let mut object = seal(
            b"content",
            &Options::default(),
            &[MasterKey::Service(Arc::new(Xor(3)))],
            &context(),
            &mut TestRng::default(),
        )
        .unwrap();
        let checks_at = header_len(&object) - 68;
        object[checks_at - 1] ^= 1;
        let checksum = crc32fast::hash(&object[..checks_at + 32]).to_be_bytes();
        object[checks_at + 32..][..4].copy_from_slice(&checksum);
        let error = open(&object, &services, &context()).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{keys:?}: {error}");
    }
}

#[test]
fn a_key_service_that_gives_a_key_of_another_length_is_named_as_such() {
    let object = seal(
        b"content",
        &Options::default(),
        &[MasterKey::Service(Arc::new(Xor(3)))],
        &context(),
        &mut TestRng::default(),
    )
    .unwrap();
    let error = open(&object, &[MasterKey::Service(Arc::new(Xor(7)))], &context()).unwrap_err();
    let expected = Finding::UnwrappedKeyLength {
        expected: 32,
        found: 7,
    };
    assert_eq!(finding(&error), (Part::SealedHeader, expected));
}

fn sealed_for(keys: &[MasterKey]) -> Result<Vec<u8>, Error> {
    let rng = &mut TestRng::default();
    seal(b"content", &Options::default(), keys, &context(), rng)
}

#[test]
fn the_key_that_a_service_generates_becomes_the_key_encryption_key() {
    let generating = Arc::new(CountingService::generating());
    let key = generating.master_key();
    let object = sealed_for(core::slice::from_ref(&key)).unwrap();
    assert_eq!(generating.calls(), (1, 0));
    let header = Header::parse(&object).unwrap();
    let wrapped = &header.recipients()[0].wrapped;
    assert_eq!((&*wrapped.reference, &*wrapped.version), ("generated", "7"));
    let kek = [CountingService::FIRST_BYTE; 32];
    let bound = [&kek[..], &context().canonical().unwrap()].concat();
    assert_eq!(wrapped.blob, bound, "with the object's context");
    assert_eq!(*open(&object, &[key], &context()).unwrap(), b"content");
}

#[test]
fn a_key_encryption_key_that_its_service_does_not_generate_is_drawn_and_wrapped() {
    let wrapping = Arc::new(CountingService::wrapping());
    let key = wrapping.master_key();
    let object = sealed_for(core::slice::from_ref(&key)).unwrap();
    assert_eq!(wrapping.calls(), (1, 1));
    let header = Header::parse(&object).unwrap();
    // After the initialization vector, the salt and the data key: 16, 32 and 32 bytes.
    let drawn: Vec<u8> = (80..112).collect();
    assert_eq!(header.recipients()[0].wrapped.blob[..32], drawn);
    assert_eq!(*open(&object, &[key], &context()).unwrap(), b"content");
}

#[test]
fn each_of_several_services_generates_its_own_key_encryption_key_of_one_data_key() {
    let generating = [(); 2].map(|()| Arc::new(CountingService::generating()));
    let wrapping = Arc::new(CountingService::wrapping());
    let [first, second] = &generating;
    // The first one twice: each recipient has a key-encryption key of its own.
    let keys = [
        first.master_key(),
        raw(1),
        wrapping.master_key(),
        second.master_key(),
        first.master_key(),
    ];
    let object = sealed_for(&keys).unwrap();
    assert_eq!(first.calls(), (2, 0));
    assert_eq!(second.calls(), (1, 0));
    assert_eq!(wrapping.calls(), (1, 1));
    let header = Header::parse(&object).unwrap();
    let [to_first, _, to_wrapping, _, to_first_again] = header.recipients() else {
        panic!("{:?}", header.recipients())
    };
    assert_ne!(to_first.wrapped, to_first_again.wrapped);
    assert_eq!(to_wrapping.wrapped.reference, "wrapped");
    for key in keys {
        assert_eq!(*open(&object, &[key], &context()).unwrap(), b"content");
    }
}

#[test]
fn an_object_is_not_sealed_under_a_generated_key_of_another_length_or_none_at_all() {
    let short = Arc::new(CountingService::new(|len| Ok(Some(len - 1))));
    let long = Arc::new(CountingService::new(|len| Ok(Some(len + 1))));
    let denied = Arc::new(CountingService::new(|_| {
        Err(Error::Unavailable("access denied".into()))
    }));
    for (counting, why) in [
        (
            short,
            "the key service COUNTING generated a key of 31 bytes, expected 32",
        ),
        (
            long,
            "the key service COUNTING generated a key of 33 bytes, expected 32",
        ),
        (denied, "access denied"),
    ] {
        let error = sealed_for(&[raw(1), counting.master_key()]).unwrap_err();
        assert_eq!(error, Error::Unavailable(why.into()));
        assert_eq!(counting.calls(), (1, 0));
    }
}

#[test]
fn objects_that_protect_nothing_or_have_no_opener_are_not_made() {
    let try_seal = |options: &Options, keys: &[MasterKey]| {
        seal(b"", options, keys, &context(), &mut TestRng::default()).unwrap_err()
    };
    assert_eq!(
        try_seal(&Options::default(), &[]),
        Misuse::RecipientCount(0).into()
    );
    assert_eq!(
        try_seal(&Options::default(), &[raw(1), MasterKey::Plaintext]),
        Misuse::PlaintextRecipient.into()
    );
    assert_eq!(
        try_seal(&Options::default(), &vec![raw(1); 65]),
        Misuse::RecipientCount(65).into()
    );
    for chunk_exponent in [0, 11, 25, 255] {
        let error = try_seal(
            &Options {
                chunk_exponent,
                ..Options::default()
            },
            &[raw(1)],
        );
        assert_eq!(error, Misuse::ChunkSize(chunk_exponent).into());
    }
}

#[test]
fn errors_say_what_to_do_next() {
    let object = sealed(Suite::Aes256Gcm, &pattern(2 * CHUNK));
    let error = opened(&object[..object.len() - SEALED_CHUNK]).unwrap_err();
    let at = header_len(&object);
    assert_eq!(
        error.to_string(),
        alloc::format!(
            "chunk 0 at byte {at}: the body ends before its final chunk: the object was cut off; restore the file from a backup"
        )
    );
}

/// A key service that "wraps" by XOR; number 0 is out of order, number 7 gives 7 bytes.
#[derive(Debug)]
struct Xor(u8);

impl KeyService for Xor {
    fn vendor(&self) -> &str {
        "xor"
    }

    fn provider(&self) -> u8 {
        200
    }

    fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
        let blob = key
            .danger_bytes()
            .iter()
            .map(|byte| byte ^ self.0)
            .collect();
        Ok(WrappedKey {
            reference: self.0.to_string(),
            version: "1".into(),
            blob,
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Error> {
        if self.0 == 0 {
            return Err(Error::Unavailable("the key service did not answer".into()));
        }
        if self.0 == 7 {
            return Ok(SecretBytes::new(vec![7; 7]));
        }
        if wrapped.reference != self.0.to_string() {
            return Err(WrongMasterKey::Refused("not mine".into()).into());
        }
        Ok(SecretBytes::new(
            wrapped.blob.iter().map(|byte| byte ^ self.0).collect(),
        ))
    }
}

/// Halves every stretch down to single chunks, and has the last one run first.
struct Backwards;

impl Workers for Backwards {
    fn chunks(&self, stretch: Stretch<'_>) -> Result<(), BadChunk> {
        match stretch.halves() {
            Ok((first, second)) => {
                let second = self.chunks(second);
                self.chunks(first).and(second)
            }
            Err(chunk) => chunk.run(),
        }
    }

    fn stream(&self, stream: &CtrStream, from: &[u8], to: &mut [u8]) -> Result<(), Error> {
        OneThread.stream(stream, from, to)
    }
}

#[test]
fn chunks_worked_on_in_any_order_make_and_open_the_same_object() {
    let plaintext = pattern(9 * CHUNK + 100);
    for suite in Suite::ALL {
        let whole = sealed(suite, &plaintext);
        for piece in [1000, CHUNK, 3 * CHUNK, 3 * CHUNK + 1, 20 * CHUNK] {
            let (mut object, mut rng) = (Vec::new(), TestRng::default());
            let provider = &Portable;
            let mut rooms = [1, 4, 2].into_iter().cycle();
            let (options, keys) = (options(suite), [raw(1)]);
            let mut sealer =
                Sealer::new(&options, &keys, &context(), provider, &mut rng, &mut object).unwrap();
            for mut piece in plaintext.chunks(piece) {
                while !piece.is_empty() {
                    let mut room = [0xee; 4 * SEALED_CHUNK + 5];
                    let room = &mut room[..rooms.next().unwrap() * SEALED_CHUNK + 5];
                    let due = sealer.output_len(piece.len());
                    let pushed = sealer.push_to(piece, room, &Backwards).unwrap();
                    assert_eq!(pushed.written == due, pushed.taken == piece.len());
                    object.extend(&room[..pushed.written]);
                    piece = &piece[pushed.taken..];
                }
            }
            sealer.finish(&mut object).unwrap();
            assert_eq!(object, whole, "{suite} {piece}");

            let header = Header::parse(&object).unwrap();
            let mut opener = Opener::new(header.open(&keys, &context(), provider).unwrap());
            let mut opened = Vec::new();
            for mut piece in object[header.as_bytes().len()..].chunks(piece) {
                while !piece.is_empty() {
                    let mut room = [0xee; 4 * CHUNK];
                    let room = &mut room[..rooms.next().unwrap() * CHUNK];
                    let pushed = opener.push_to(piece, room, &Backwards).unwrap();
                    opened.extend(&room[..pushed.written]);
                    piece = &piece[pushed.taken..];
                }
            }
            opener.finish(&mut opened).unwrap();
            assert_eq!(opened, plaintext, "{suite} {piece}");
        }
    }
}

#[test]
fn of_several_bad_chunks_the_first_is_named_and_what_stands_before_it_is_given_out() {
    let plaintext = pattern(9 * CHUNK);
    let mut object = sealed(Suite::Aes256Gcm, &plaintext);
    let body_at = header_len(&object);
    for bad in [7, 5, 3] {
        object[body_at + bad * SEALED_CHUNK] ^= 1;
        for workers in [&Backwards as &dyn Workers, &OneThread] {
            let header = Header::parse(&object).unwrap();
            let body = header.open(&[raw(1)], &context(), &Portable).unwrap();
            let mut opener = Opener::new(body);
            let body = &object[body_at..];
            let mut out = vec![0; opener.output_len(body.len())];
            let short = opener.push_to(body, &mut out[..CHUNK - 1], workers);
            assert!(matches!(short, Err(Error::Misuse(_))), "changes nothing");
            let pushed = opener.push_to(body, &mut out, workers).unwrap();
            assert_eq!(out[..pushed.written], plaintext[..bad * CHUNK]);
            let again = opener.push_to(&[], &mut [], workers).unwrap_err();
            let at_the_end = opener.finish(&mut Vec::new()).unwrap_err();
            for error in [again, at_the_end] {
                assert_eq!(finding(&error), (Part::Chunk(bad as u64), Finding::Tag));
            }
        }
    }
}

/// The object with its header made for other recipients.
fn resealed(object: &[u8], keep: fn(&Recipient) -> bool, added: &[MasterKey]) -> Vec<u8> {
    let header = Header::parse(object).unwrap();
    let rng = &mut TestRng::default();
    let resealed = header.reseal(&[raw(1)], &context(), keep, added, rng);
    [resealed.unwrap().as_bytes(), &object[header_len(object)..]].concat()
}

#[test]
fn a_resealed_object_opens_with_its_new_recipients_and_keeps_its_body() {
    for suite in Suite::ALL {
        let plaintext = pattern(2 * CHUNK + 5);
        let object = sealed(suite, &plaintext);
        let opens = |object: &[u8], key: MasterKey| open(object, &[key], &context());
        let both = resealed(&object, |_| true, &[raw(2), raw(3)]);
        assert_eq!(both[header_len(&both)..], object[header_len(&object)..]);
        for key in [1, 2, 3] {
            assert_eq!(*opens(&both, raw(key)).unwrap(), plaintext, "{suite} {key}");
        }
        let other = resealed(&both, |_| false, &[raw(4)]);
        assert_eq!(*opens(&other, raw(4)).unwrap(), plaintext, "{suite}");
        let error = opens(&other, raw(1)).unwrap_err();
        assert!(matches!(error, Error::WrongMasterKey(_)), "{suite} {error}");
    }
}

#[test]
fn a_recipient_that_is_added_again_replaces_its_first_form() {
    let object = sealed(Suite::Aes256Gcm, b"a");
    let again = resealed(&object, |_| true, &[raw(1), raw(2)]);
    let header = Header::parse(&again).unwrap();
    assert_eq!(header.recipients().len(), 2);
    assert_ne!(
        header.recipients()[0],
        Header::parse(&object).unwrap().recipients()[0]
    );
    assert_eq!(opened(&again).unwrap(), b"a");
}

#[test]
fn a_service_that_is_added_generates_its_key_encryption_key() {
    let generating = Arc::new(CountingService::generating());
    let object = sealed(Suite::Aes256Gcm, b"content");
    let object = resealed(&object, |_| true, &[generating.master_key()]);
    assert_eq!(generating.calls(), (1, 0));
    for key in [raw(1), generating.master_key()] {
        assert_eq!(*open(&object, &[key], &context()).unwrap(), b"content");
    }
}

#[test]
fn a_reseal_needs_a_recipients_key_the_context_and_a_recipient() {
    let object = sealed(Suite::Aes256Gcm, b"a");
    let header = Header::parse(&object).unwrap();
    let reseal = |header: &Header, key, context: &EncryptionContext, kept: bool| {
        let rng = &mut TestRng::default();
        header
            .reseal(&[key], context, |_| kept, &[], rng)
            .unwrap_err()
    };
    let error = reseal(&header, raw(2), &context(), true);
    assert!(matches!(error, Error::WrongMasterKey(_)), "{error}");
    let error = reseal(&header, raw(1), &EncryptionContext::new(), true);
    assert!(matches!(error, Error::WrongContext), "{error}");
    let error = reseal(&header, raw(1), &context(), false);
    assert!(
        matches!(error, Error::Misuse(Misuse::RecipientCount(0))),
        "{error}"
    );
    // A header whose list was changed, with a checksum that fits: it must not get a code that vouches for it.
    let mut forged = object.clone();
    let checked = header_len(&object) - 36;
    forged[checked - 33] ^= 1;
    let checksum = crc32fast::hash(&forged[..checked]).to_be_bytes();
    forged[checked..checked + 4].copy_from_slice(&checksum);
    let error = reseal(&Header::parse(&forged).unwrap(), raw(1), &context(), true);
    assert_eq!(finding(&error), (Part::SealedHeader, Finding::HeaderForged));
}
