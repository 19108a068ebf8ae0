//! `wasm/npm/test/cases.json`: what the native library makes of many inputs. The npm package has to make the same of them, in Node.js and
//! in a browser.
//!
//! `STILLKEY_WRITE_CASES=1` writes the file down anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and its inputs are known to be right"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stillkey::Native;
use stillkey_core::sealed::{Header, Opener, Suite};
use stillkey_core::{
    Cipher, CtrStream, EncryptionContext, Envelope, Error, FileDictionary, FileInfo, Iv,
    KeyDictionary, LogReader, MasterKey, Method, Reading, Record, Recovered, Sealing, Verdict,
};
use stillkey_tests::random::Seeded;
use stillkey_tests::{data_key, hex, json as vectors, raw_master_key, sha256, vector, vector_path};

#[test]
fn the_npm_package_is_tested_against_what_this_library_does_now() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../wasm/npm/test/cases.json"]
        .iter()
        .collect();
    let cases = json!({
        "ctr": ctr(),
        "tiflashIvs": tiflash_ivs(),
        "masterKeys": master_keys().map(|(_, key, digits)| json!({ "hex": digits, "reference": reference(&key) })),
        "keyDictionaries": key_dictionaries(),
        "fileDictionaries": file_dictionaries(),
        "envelopes": envelopes(),
        "sealedObjects": sealed_objects(),
    });
    let text = format!("{}\n", lines(&cases));
    if std::env::var_os("STILLKEY_WRITE_CASES").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == text,
        "{} is not what this library does now; if the change is meant, run this test with STILLKEY_WRITE_CASES=1",
        path.display()
    );
}

/// One case a line, so that a change shows which.
fn lines(cases: &Value) -> String {
    let groups = cases.as_object().unwrap().iter().map(|(name, group)| {
        let rows = group.as_array().unwrap();
        assert!(!rows.is_empty(), "{name} has no case");
        let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        format!("\"{name}\":[\n{}\n]", rows.join(",\n"))
    });
    format!("{{\n{}\n}}", groups.collect::<Vec<_>>().join(",\n"))
}

/// Byte i of every plaintext.
fn plaintext(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((7 * i + i / 251) % 256).try_into().unwrap())
        .collect()
}

fn ctr() -> Vec<Value> {
    let mut rng = Seeded(7);
    let ivs = [
        [0; 16],
        [0xff; 16],
        *b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        rng.array(),
    ];
    let lens = [
        0, 1, 15, 16, 17, 100, 511, 512, 513, 4095, 65_535, 65_536, 65_537, 200_003,
    ];
    let offsets = [
        0,
        1,
        15,
        16,
        4096,
        0xffff_fffb,
        0x20_0000_0000_0003,
        u64::MAX,
    ];
    let mut cases = Vec::new();
    for cipher in Cipher::ALL {
        for (row, len) in lens.into_iter().enumerate() {
            for (column, offset) in offsets.into_iter().enumerate() {
                let iv = ivs[(row + column) % ivs.len()];
                let key = rng.bytes(cipher.key_len());
                // The last bytes that there are.
                let offset = offset.min(u64::MAX - len as u64);
                let mut data = plaintext(len);
                let key_of_cipher = data_key(cipher.method(), &key);
                CtrStream::with_provider(&Native::detect(), &key_of_cipher, Iv::new(iv))
                    .apply_at(offset, &mut data)
                    .unwrap();
                cases.push(json!({
                    "method": cipher.method().name(),
                    "key": hex::encode(&key),
                    "iv": hex::encode(&iv),
                    "offset": offset.to_string(),
                    "length": len,
                    "sha256": sha256(&data),
                }));
            }
        }
    }
    cases
}

fn tiflash_ivs() -> Vec<Value> {
    let iv = Iv::new(Seeded(8).array());
    let names = ["", "1.dat", "%-1.dat", "stable/dmf_1/数据.dat"];
    let case = |name: &str| json!({ "iv": iv.to_string(), "fileName": name, "result": iv.for_tiflash_file(name).to_string() });
    names.map(case).into()
}

/// The master keys of the vectors: name, key, digits.
fn master_keys() -> [(&'static str, MasterKey, String); 3] {
    ["A", "B", "C"].map(|name| {
        let line = vector(&format!("tikv/keys/master-{name}.key"));
        let digits = String::from_utf8(line).unwrap();
        (name, raw_master_key(digits.trim()), digits)
    })
}

fn reference(key: &MasterKey) -> String {
    match key {
        MasterKey::Raw(key) => key.reference(),
        other => panic!("{} has no reference", other.kind()),
    }
}

/// Each key's digits, and `plaintext`.
fn openers() -> Vec<(String, MasterKey)> {
    let raw = master_keys().map(|(_, key, digits)| (digits.trim().to_owned(), key));
    let mut openers = Vec::from(raw);
    openers.push(("plaintext".to_owned(), MasterKey::Plaintext));
    openers
}

fn outcome<T>(result: Result<T, Error>, show: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => json!({ "ok": show(value) }),
        Err(error) => {
            let code = match &error {
                Error::WrongMasterKey(_) | Error::OtherMasterKeyKind { .. } => "wrong-master-key",
                Error::Damaged(_) => "damaged",
                Error::Unsupported(_) => "unsupported",
                _ => "usage",
            };
            let offset = match &error {
                Error::Damaged(damage) => Some(damage.at),
                _ => None,
            };
            json!({ "error": { "code": code, "offset": offset, "message": error.to_string() } })
        }
    }
}

/// Files below `tests/vectors/tikv` whose names end like this, with the cut-off forms of one of them.
fn dictionaries(ending: &str, cut: &str) -> Vec<(String, Vec<u8>)> {
    let root = vector_path("tikv");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push((name_of(&root, &path), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    let (_, whole) = found.iter().find(|(name, _)| name == cut).unwrap().clone();
    found.extend(
        (0..whole.len()).map(|len| (format!("{cut}, {len} bytes of it"), whole[..len].to_vec())),
    );
    found
}

fn name_of(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

fn key_dictionaries() -> Vec<Value> {
    let cases = dictionaries("key.dict", "key-dict-vectors/good.key.dict");
    let case = |(name, bytes): (String, Vec<u8>)| {
        let opened = openers().into_iter().map(|(digits, key)| {
            (
                digits,
                outcome(KeyDictionary::open(&bytes, &key), show_keys),
            )
        });
        json!({
            "name": name,
            "bytes": hex::encode(&bytes),
            "sealing": outcome(KeyDictionary::envelope(&bytes), |envelope| show_sealing(&envelope.sealing())),
            "opened": opened.collect::<BTreeMap<_, _>>(),
        })
    };
    cases.into_iter().map(case).collect()
}

fn show_keys(dictionary: KeyDictionary) -> Value {
    let keys = dictionary.iter().map(|(id, entry)| {
        json!({
            "id": id.to_string(),
            "method": entry.method.to_string(),
            "methodNumber": entry.method.0,
            "creationTime": entry.creation_time.to_string(),
            "wasExposed": entry.was_exposed,
            "isCurrent": id == dictionary.current_key_id() && id != 0,
            "keyLength": entry.key.len(),
            "dataKey": outcome(dictionary.data_key(id, entry.method), |key| {
                json!(key.map(|key| hex::encode(key.secret().danger_bytes())))
            }),
        })
    });
    json!({ "currentKeyId": dictionary.current_key_id().to_string(), "keys": keys.collect::<Vec<_>>() })
}

fn show_sealing(sealing: &Sealing) -> Value {
    json!({
        "method": sealing.method,
        "vendor": sealing.vendor,
        "wrappedKeyLength": sealing.wrapped_key_len,
        "payloadLength": sealing.payload_len,
    })
}

fn file_dictionaries() -> Vec<Value> {
    let cases = dictionaries("file.dict", "file-dict-vectors/v2-full.file.dict");
    let case = |(name, bytes): (String, Vec<u8>)| {
        let read = |reading| {
            outcome(FileDictionary::recover(&bytes, reading), |recovered| {
                show_files(&recovered, LogReader::new(&bytes, reading).unwrap())
            })
        };
        json!({
            "name": name,
            "bytes": hex::encode(&bytes),
            "strict": read(Reading::Strict),
            "tikv": read(Reading::Tikv),
        })
    };
    cases.into_iter().map(case).collect()
}

fn show_files(recovered: &Recovered, log: LogReader<'_>) -> Value {
    let entries = recovered.dictionary.iter();
    let records = log
        .take(recovered.records.try_into().unwrap())
        .map(|located| {
            let (kind, name, entry) = match &located.record {
                Record::Insert { name, info } => ("insert", name, show_entry(name, info)),
                Record::Remove { name } => ("remove", name, Value::Null),
            };
            json!({
                "offset": located.at,
                "length": located.len,
                "checksum": located.checksum,
                "kind": kind,
                "name": name,
                "entry": entry,
            })
        });
    json!({
        "version": recovered.version.number(),
        "entries": entries.map(|(name, info)| show_entry(name, info)).collect::<Vec<_>>(),
        "records": records.collect::<Vec<_>>(),
        "verdict": match &recovered.verdict {
            Verdict::Complete => json!({ "state": "complete" }),
            Verdict::TornTail { at, dropped } => json!({ "state": "torn-tail", "at": at, "dropped": dropped }),
            Verdict::Corrupt { at, why } => json!({ "state": "corrupt", "at": at, "why": why.to_string() }),
        },
    })
}

fn show_entry(name: &str, info: &FileInfo) -> Value {
    json!({
        "name": name,
        "keyId": info.key_id.to_string(),
        "method": info.method.to_string(),
        "methodNumber": info.method.0,
        "iv": hex::encode(info.iv_bytes()),
    })
}

fn envelopes() -> Vec<Value> {
    let mut cases = vec![Vec::new(), vec![0xff; 5]];
    for (_, file) in dictionaries("key.dict", "key-dict-vectors/good.key.dict") {
        if let Ok(envelope) = KeyDictionary::envelope(&file) {
            cases.push(envelope.to_bytes());
        }
    }
    let case = |bytes: Vec<u8>| {
        let opened = openers().into_iter().map(|(digits, key)| {
            let payload = Envelope::from_bytes(&bytes).and_then(|envelope| envelope.open(&key));
            (
                digits,
                outcome(payload, |payload| {
                    json!(hex::encode(payload.danger_bytes()))
                }),
            )
        });
        json!({
            "bytes": hex::encode(&bytes),
            "sealing": outcome(Envelope::from_bytes(&bytes), |envelope| show_sealing(&envelope.sealing())),
            "opened": opened.collect::<BTreeMap<_, _>>(),
        })
    };
    cases.into_iter().map(case).collect()
}

/// The frozen objects and the refused ones, with what opens them; and one of the future.
fn sealed_objects() -> Vec<Value> {
    let mut rows: Vec<Value> = vectors("sealed/v1.json");
    rows.extend(vectors::<Vec<Value>>("sealed/v1-cases.json"));
    let mut future = rows[0].clone();
    future["name"] = json!("of a future version");
    let object = future["object"].as_str().unwrap();
    future["object"] = json!(format!("{}02{}", &object[..16], &object[18..]));
    rows.push(future);
    rows.iter().filter_map(sealed_object).collect()
}

/// `None` for those of which the vectors hold only a hash.
fn sealed_object(row: &Value) -> Option<Value> {
    let object = object_of(row)?;
    let digits: Vec<&str> = row["master_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap())
        .collect();
    let keys: Vec<_> = digits.iter().map(|digits| raw_master_key(digits)).collect();
    let pairs = row["context"].as_object().unwrap().iter();
    let context: EncryptionContext = pairs
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
        .collect();
    let header = outcome(Header::parse(&object), |header| {
        let recipients = header.recipients().iter();
        json!({
            "length": header.as_bytes().len(),
            "suite": Suite::name(header.suite()),
            "chunkSize": header.chunk_size(),
            "iv": header.iv().to_string(),
            "recipients": recipients.map(|recipient| json!({
                "provider": recipient.provider,
                "reference": recipient.wrapped.reference,
            })).collect::<Vec<_>>(),
        })
    });
    let opened = open(&object, &keys, &context);
    Some(json!({
        "name": row["name"],
        "object": hex::encode(&object),
        "masterKeys": digits,
        "context": row["context"],
        "header": header,
        "opened": outcome(opened, |plaintext| json!({ "length": plaintext.len(), "sha256": sha256(&plaintext) })),
    }))
}

fn object_of(row: &Value) -> Option<Vec<u8>> {
    if let Some(object) = row["object"].as_str() {
        return Some(hex::decode(object));
    }
    let file = vector(&format!("sealed/{}", row["file"].as_str()?));
    let Some(pieces) = row["pieces"].as_array() else {
        return Some(file);
    };
    let piece = |piece: &Value| {
        let bound = |index: usize| usize::try_from(piece[index].as_u64().unwrap()).unwrap();
        file[bound(0)..bound(1)].to_vec()
    };
    Some(pieces.iter().flat_map(piece).collect())
}

/// With the ciphers of this processor.
fn open(object: &[u8], keys: &[MasterKey], context: &EncryptionContext) -> Result<Vec<u8>, Error> {
    let header = Header::parse(object)?;
    let mut opener = Opener::new(header.open(keys, context, &Native::detect())?);
    let mut plaintext = Vec::new();
    opener.push(&object[header.as_bytes().len()..], &mut plaintext)?;
    opener.finish(&mut plaintext)?;
    Ok(plaintext)
}

#[test]
fn every_method_and_every_suite_has_a_case() {
    let cases = ctr();
    for method in Method::ALL
        .into_iter()
        .filter(|method| method.cipher().is_some())
    {
        assert!(
            cases.iter().any(|case| case["method"] == method.name()),
            "{method}"
        );
    }
    let objects = sealed_objects();
    for suite in Suite::ALL {
        let has = |case: &Value| case["header"]["ok"]["suite"] == suite.name();
        assert!(objects.iter().any(has), "{suite}");
    }
}
