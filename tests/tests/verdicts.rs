//! Damaged and odd dictionaries get TiKV's verdict, or a stricter one that is named here.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use stillkey_core::error::{Misuse, NotFound, Unsupported};
use stillkey_core::{
    CtrStream, Error, FileDictionary, FileInfo, KeyDictionary, MasterKey, Method, Reading, Record,
    Recovered, RotationPolicy, RotationReason, SecretBytes, Verdict, Version,
};
use stillkey_tests::golden::{self, Entries, entries, master_key_file};
use stillkey_tests::random::SysRng;
use stillkey_tests::service::MockService;
use stillkey_tests::{hex, json, oracle, raw_master_key, vector};

#[derive(Deserialize)]
struct FileDictVector {
    name: String,
    file: String,
    size: usize,
    tikv: golden::Verdict,
}

/// Where strict reading refuses what TiKV accepts, and why.
const STRICTER: [(&str, &str); 2] = [
    (
        "middle-namelen-huge",
        "TiKV takes a damaged length in the middle for a torn tail and silently drops every later record",
    ),
    (
        "type-remove-to-insert",
        "TiKV believes a type byte that no checksum covers, and the file gets an entry without key and method",
    ),
];

fn read(file: &[u8], reading: Reading) -> Result<Entries, Error> {
    FileDictionary::recover(file, reading)
        .and_then(Recovered::into_dictionary)
        .map(|dictionary| entries(&dictionary))
}

#[test]
fn file_dictionaries_get_the_verdict_of_tikv_or_a_stricter_one_from_the_table() {
    let vectors: Vec<FileDictVector> = json("tikv/file-dict-vectors.json");
    assert!(vectors.len() >= 18);
    let mut stricter = Vec::new();
    for FileDictVector {
        name,
        file,
        size,
        tikv,
    } in &vectors
    {
        let bytes = vector(&format!("tikv/{file}"));
        assert_eq!(bytes.len(), *size);
        let (as_tikv, strict) = (read(&bytes, Reading::Tikv), read(&bytes, Reading::Strict));
        match tikv {
            golden::Verdict::Ok(expected) => {
                assert_eq!(as_tikv.as_ref(), Ok(expected), "{name}");
                match strict {
                    Ok(strict) => assert_eq!(strict, *expected, "{name}"),
                    Err(error) => {
                        assert!(matches!(error, Error::Damaged(_)), "{name}: {error}");
                        stricter.push(name.as_str());
                    }
                }
            }
            golden::Verdict::Error { error } => {
                assert!(as_tikv.is_err(), "{name}: TiKV says {error}");
                assert!(strict.is_err(), "{name}: TiKV says {error}");
            }
        }
        // The second reader has to agree with TiKV too, or its word elsewhere counts for nothing.
        assert_eq!(
            oracle::read_file_dict(&bytes).is_ok(),
            as_tikv.is_ok(),
            "{name}"
        );
    }
    assert_eq!(stricter, STRICTER.map(|(name, _)| name));
}

#[derive(Deserialize)]
#[expect(non_snake_case, reason = "named as in the vectors")]
struct KeyDictVector {
    name: String,
    file: String,
    with_file_key_A: Outcome,
    with_file_key_B: Outcome,
    #[serde(rename = "with_kms_AWS(dek=A)")]
    with_kms_aws: Outcome,
    with_plaintext_backend: Outcome,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Ok { ok: Payload },
    Error { error: String, error_kind: String },
    Panic { panic: String },
}

#[derive(Debug, Deserialize)]
struct Payload {
    len: usize,
    sha256_of_key_dictionary: String,
}

#[test]
fn key_dictionaries_get_the_verdict_of_each_of_tikvs_four_backends() {
    let vectors: Vec<KeyDictVector> = json("tikv/key-dict-vectors.json");
    assert!(vectors.len() >= 10);
    let MasterKey::Raw(key_a) = master_key_file("keys/master-A.key") else {
        unreachable!()
    };
    let aws = MockService::master_key("AWS", b"wrapped-by-AWS-k1", key_a.secret().danger_bytes());
    for vector in &vectors {
        let file = stillkey_tests::vector(&format!("tikv/{}", vector.file));
        let envelope = KeyDictionary::envelope(&file);
        for (master_key, expected) in [
            (
                &master_key_file("keys/master-A.key"),
                &vector.with_file_key_A,
            ),
            (
                &master_key_file("keys/master-B.key"),
                &vector.with_file_key_B,
            ),
            (&aws, &vector.with_kms_aws),
            (&MasterKey::Plaintext, &vector.with_plaintext_backend),
        ] {
            let found = match &envelope {
                Ok(envelope) => envelope.open(master_key),
                Err(error) => Err(error.clone()),
            };
            let what = format!("{} under {master_key:?}: {expected:?}", vector.name);
            match (expected, found) {
                (Outcome::Ok { ok }, Ok(payload)) => {
                    assert_eq!(payload.len(), ok.len, "{what}");
                    let digest = hex::encode(&Sha256::digest(payload.danger_bytes()));
                    assert_eq!(digest, ok.sha256_of_key_dictionary, "{what}");
                    KeyDictionary::open(&file, master_key).expect(&what);
                }
                (Outcome::Error { error_kind, error }, Err(found)) => assert_eq!(
                    matches!(found, Error::WrongMasterKey(_)),
                    error_kind == "WrongMasterKey",
                    "{what}: {error}, here {found}"
                ),
                (Outcome::Panic { panic }, Err(found)) => {
                    assert!(
                        !matches!(found, Error::WrongMasterKey(_)),
                        "{what}: {panic}, here {found}: a panic is no reason to fall back"
                    );
                }
                (_, found) => panic!("{what}, here {found:?}"),
            }
        }
    }
}

/// What drives the fallback to the previous master key, for envelopes beyond the vectors: tikv.md's table of outcomes, row by row.
#[test]
fn every_way_of_sealing_meets_every_kind_of_master_key_as_in_tikv() {
    use std::collections::BTreeMap;
    #[derive(Debug, PartialEq)]
    enum Class {
        Opens,
        Wrong,
        Other,
    }
    use Class::*;
    let key = [7; 32];
    let raw = raw_master_key(&hex::encode(&key));
    let service = MockService::master_key("AWS", b"mine", &key);
    let short = MockService::master_key("AWS", b"mine", &key[..16]);
    let with = |changes: &[(&str, Option<&[u8]>)]| {
        let mut envelope = oracle::seal_gcm(b"", &key, &[1; 12]);
        for (name, value) in changes {
            match value {
                Some(value) => envelope.metadata.insert((*name).to_owned(), value.to_vec()),
                None => envelope.metadata.remove(*name),
            };
        }
        envelope
    };
    let kms = |changes: &[(&'static str, Option<&'static [u8]>)]| {
        let base: [(&str, Option<&[u8]>); 2] = [
            ("kms_vendor", Some(b"AWS")),
            ("kms_ciphertext_key", Some(b"mine")),
        ];
        with(&[base.as_slice(), changes].concat())
    };
    let clear = oracle::EncryptedContent {
        metadata: BTreeMap::from([("method".to_owned(), b"plaintext".to_vec())]),
        content: Vec::new(),
    };
    // (what, envelope, plaintext backend, file backend, KMS backend)
    let table = [
        ("plaintext", clear, Opens, Other, Wrong),
        ("no method", with(&[("method", None)]), Other, Other, Wrong),
        (
            "no method, KMS",
            kms(&[("method", None)]),
            Other,
            Other,
            Other,
        ),
        ("gcm", with(&[]), Wrong, Opens, Wrong),
        ("gcm, KMS", kms(&[]), Wrong, Opens, Opens),
        (
            "16-byte nonce",
            oracle::seal_gcm(b"", &key, &[1; 16]),
            Wrong,
            Opens,
            Wrong,
        ),
        (
            "other method",
            with(&[("method", Some(b"sm4"))]),
            Wrong,
            Other,
            Wrong,
        ),
        (
            "other method, KMS",
            kms(&[("method", Some(b"sm4"))]),
            Wrong,
            Other,
            Other,
        ),
        (
            "other vendor",
            kms(&[("kms_vendor", Some(b"aws"))]),
            Wrong,
            Opens,
            Other,
        ),
        (
            "no wrapped key",
            kms(&[("kms_ciphertext_key", None)]),
            Wrong,
            Opens,
            Other,
        ),
        (
            "foreign wrapped key",
            kms(&[("kms_ciphertext_key", Some(b"his"))]),
            Wrong,
            Opens,
            Wrong,
        ),
        ("no iv", kms(&[("iv", None)]), Wrong, Other, Other),
        ("no tag", kms(&[("aes_gcm_tag", None)]), Wrong, Other, Other),
        (
            "iv of 13",
            kms(&[("iv", Some(&[1; 13]))]),
            Wrong,
            Other,
            Other,
        ),
        (
            "tag of 17",
            kms(&[("aes_gcm_tag", Some(&[1; 17]))]),
            Wrong,
            Other,
            Other,
        ),
        (
            "bad tag",
            kms(&[("aes_gcm_tag", Some(&[1; 16]))]),
            Wrong,
            Wrong,
            Wrong,
        ),
        (
            "one more entry",
            kms(&[("new", Some(b"x"))]),
            Wrong,
            Opens,
            Opens,
        ),
    ];
    let class = |file: &[u8], master_key: &MasterKey| match KeyDictionary::open(file, master_key) {
        Ok(_) => Opens,
        Err(Error::WrongMasterKey(_)) => Wrong,
        Err(_) => Other,
    };
    for (what, envelope, plaintext, file_key, kms_key) in table {
        let file = oracle::frame(1, &prost::Message::encode_to_vec(&envelope), &[]);
        assert_eq!(
            class(&file, &MasterKey::Plaintext),
            plaintext,
            "{what}, plaintext"
        );
        assert_eq!(class(&file, &raw), file_key, "{what}, file");
        assert_eq!(class(&file, &service), kms_key, "{what}, KMS");
        assert_ne!(class(&file, &short), Opens, "{what}, KMS with a short key");
    }
}

fn key_dictionary(current: u64, keys: &[(u64, u64)]) -> KeyDictionary {
    let dictionary = oracle::KeyDictionary {
        current_key_id: current,
        keys: keys
            .iter()
            .map(|&(id, creation_time)| {
                let key = oracle::DataKey {
                    key: vec![1; 16],
                    method: Method::Aes128Ctr.number(),
                    creation_time,
                    was_exposed: false,
                };
                (id, key)
            })
            .collect(),
    };
    let payload = prost::Message::encode_to_vec(&dictionary);
    let envelope = oracle::seal_gcm(&payload, &[7; 32], &[1; 12]);
    let file = oracle::frame(1, &prost::Message::encode_to_vec(&envelope), &[]);
    KeyDictionary::open(&file, &raw_master_key(&"07".repeat(32))).unwrap()
}

#[test]
fn odd_current_keys_lead_to_a_rotation_or_an_error_and_never_a_panic() {
    let policy = RotationPolicy {
        method: Method::Aes128Ctr,
        ..RotationPolicy::default()
    };
    let due = |keys: &KeyDictionary| keys.rotation_due(&policy, true, 1_795_300_962);
    // Probe "current_key_id = 0 with keys present"; key id 0 itself counts as none too.
    for keys in [key_dictionary(0, &[(77, 1)]), key_dictionary(0, &[(0, 1)])] {
        assert_eq!(due(&keys), Ok(Some(RotationReason::NoCurrentKey)));
        assert_eq!(keys.current(), Ok(None));
    }
    // Probe "current key created in the future".
    let mut keys = key_dictionary(77, &[(77, 4_000_000_000)]);
    assert_eq!(due(&keys), Ok(Some(RotationReason::CreatedInTheFuture)));
    let id = keys
        .rotate(Method::Aes128Ctr, 1_795_300_962, &mut SysRng)
        .unwrap();
    assert_eq!((keys.len(), keys.current_key_id()), (2, id));
    // Probe "current_key_id not among the keys": TiKV panics.
    let error = due(&key_dictionary(5, &[(77, 1)])).unwrap_err();
    assert_eq!(error, NotFound::CurrentDataKey { id: 5, keys: 1 }.into());
}

#[test]
fn odd_entries_are_read_and_kept_and_only_their_use_fails() {
    let keys = key_dictionary(77, &[(77, 1)]);
    let info = |key_id, iv_len, method| oracle::FileInfo {
        key_id,
        iv: vec![1; iv_len],
        method,
    };
    let content = oracle::FileDictionary {
        files: [
            ("iv12", info(77, 12, 2)),
            ("iv8", info(77, 8, 2)),
            ("method-mismatch", info(77, 16, 4)),
            ("method0", info(77, 16, 0)),
            ("method9", info(77, 16, 9)),
            ("method-negative", info(77, 16, -1)),
            ("nokey", info(42, 16, 2)),
            ("nokey-plain", info(42, 0, 1)),
            ("good", info(77, 16, 2)),
        ]
        .map(|(name, info)| (name.to_owned(), info))
        .into(),
    };
    let file = oracle::frame(2, &prost::Message::encode_to_vec(&content), &[]);
    let files = FileDictionary::open(&file).unwrap();
    let stream = |name: &str| -> Result<Option<CtrStream>, Error> {
        let info = files.get(name)?;
        let Some(key) = keys.data_key(info.key_id, info.method)? else {
            return Ok(None);
        };
        Ok(Some(CtrStream::new(&key, info.iv()?)))
    };
    let error = |name| stream(name).unwrap_err();
    assert_eq!(error("iv12"), Misuse::IvLength { found: 12 }.into());
    assert_eq!(error("iv8"), Misuse::IvLength { found: 8 }.into());
    let mismatch = Misuse::KeyLength {
        cipher: "aes256-ctr",
        expected: 32,
        found: 16,
    };
    assert_eq!(error("method-mismatch"), mismatch.into());
    assert_eq!(error("method0"), Unsupported::Method(0).into());
    assert_eq!(error("method9"), Unsupported::Method(9).into());
    assert_eq!(error("method-negative"), Unsupported::Method(-1).into());
    assert_eq!(error("nokey"), NotFound::DataKey(42).into());
    assert_eq!(error("unknown"), NotFound::File("unknown".into()).into());
    assert!(stream("nokey-plain").unwrap().is_none());
    assert!(stream("good").unwrap().is_some());
    for version in [Version::V1, Version::V2] {
        let rewritten = oracle::read_file_dict(&files.to_bytes(version)).unwrap();
        assert_eq!(rewritten.files, content.files);
    }
}

/// Probe "name of 65546 bytes": TiKV writes it and can't read the log again.
#[test]
fn a_name_too_long_for_a_record_is_refused_before_it_is_written() {
    let name = "n".repeat(65_536);
    for record in [
        Record::Remove { name: &name },
        Record::Insert {
            name: &name,
            info: FileInfo::plaintext(1),
        },
    ] {
        assert_eq!(
            record.to_bytes(),
            Err(Misuse::NameTooLong { len: 65_536 }.into())
        );
    }
    let name = &name[1..];
    let record = Record::Insert {
        name,
        info: FileInfo::plaintext(1),
    };
    let file = [
        FileDictionary::new().to_bytes(Version::V2),
        record.to_bytes().unwrap(),
    ]
    .concat();
    assert!(FileDictionary::open(&file).unwrap().find(name).is_some());
    assert!(
        oracle::read_file_dict(&file)
            .unwrap()
            .files
            .contains_key(name)
    );
}

/// Probe "partial record left by a failed append, then further appends".
#[test]
fn a_torn_record_is_dropped_at_the_end_and_fatal_once_others_follow() {
    let record = |name| {
        Record::Insert {
            name,
            info: FileInfo::plaintext(1),
        }
        .to_bytes()
        .unwrap()
    };
    let mut file = FileDictionary::new().to_bytes(Version::V2);
    file.extend(record("/x/1"));
    let whole = file.len() as u64;
    file.extend(&record("/x/2")[..7]);
    for reading in [Reading::Strict, Reading::Tikv] {
        let read = FileDictionary::recover(&file, reading).unwrap();
        assert_eq!(
            read.verdict,
            Verdict::TornTail {
                at: whole,
                dropped: 7
            }
        );
        assert_eq!((read.dictionary.len(), read.records), (1, 1));
    }
    file.extend(record("/x/3"));
    file.extend(record("/x/4"));
    assert!(matches!(
        FileDictionary::open(&file),
        Err(Error::Damaged(_))
    ));
}

#[test]
fn a_sealed_file_dictionary_is_damage_and_no_matter_of_the_master_key() {
    let envelope = oracle::seal_gcm(b"", &[7; 32], &[1; 12]);
    let file = oracle::frame(1, &prost::Message::encode_to_vec(&envelope), &[]);
    let error = FileDictionary::open(&file).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    assert!(error.to_string().contains("key.dict"), "{error}");
}

#[test]
fn damage_inside_a_version_1_payload_is_reported_where_it_stands_in_the_file() {
    let envelope = oracle::EncryptedContent {
        metadata: [("method".to_owned(), b"plaintext".to_vec())].into(),
        content: b"\x0a\x02\x0a\x00\xff".to_vec(), // an entry, then a field that is cut off
    };
    let file = oracle::frame(1, &prost::Message::encode_to_vec(&envelope), &[]);
    let Err(Error::Damaged(damage)) = FileDictionary::open(&file) else {
        panic!("not damaged");
    };
    assert_eq!(damage.at, file.len() as u64 - 1);
}

#[test]
fn messages_name_no_key_bytes() {
    let secret = SecretBytes::new(vec![0xa7; 16]);
    let envelope =
        stillkey_core::Envelope::seal(&secret, &MasterKey::Plaintext, &mut SysRng).unwrap();
    let shown = format!("{envelope:?} {envelope:#?}");
    assert!(!shown.contains("167") && !shown.contains("a7"), "{shown}");
    let keys = key_dictionary(77, &[(77, 1)]);
    let shown = format!("{keys:?}");
    assert!(!shown.contains("[1, 1"), "{shown}");
}
