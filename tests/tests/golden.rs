//! Directories that TiKV's own code wrote are read to the last byte.

use prost::Message;
use stillkey_core::{
    CtrStream, Envelope, Error, FileDictionary, Iv, KeyDictionary, MasterKey, Method, Reading,
    SecretBytes, Verdict, Version,
};
use stillkey_tests::golden::{self, Case, Keys, Manifest, entries, master_key_file};
use stillkey_tests::random::{Seeded, SysRng};
use stillkey_tests::{data_key, hex, oracle, raw_master_key, sha256, vector};

fn cases() -> Vec<Case> {
    let cases = Manifest::load().cases;
    assert!(cases.len() >= 14, "only {} golden cases", cases.len());
    cases
}

#[test]
fn key_dictionaries_open_to_exactly_the_keys_that_tikv_wrote() {
    for case in cases() {
        for master_key in case.master_keys() {
            let keys = KeyDictionary::open(&case.read("key.dict"), &master_key)
                .unwrap_or_else(|error| panic!("{} under {master_key:?}: {error}", case.case));
            assert_eq!(Keys::from(&keys), case.key_dict, "{}", case.case);
        }
    }
}

#[test]
fn another_master_key_is_the_wrong_one() {
    let other = raw_master_key(&"ab".repeat(32));
    for case in cases() {
        let error = KeyDictionary::open(&case.read("key.dict"), &other).unwrap_err();
        match case.master_keys()[0] {
            MasterKey::Plaintext => {
                assert!(matches!(error, Error::OtherMasterKeyKind { .. }), "{error}");
            }
            _ => assert!(matches!(error, Error::WrongMasterKey(_)), "{error}"),
        }
    }
}

#[test]
fn file_dictionaries_hold_exactly_the_entries_that_tikv_wrote() {
    for case in cases() {
        let golden::Verdict::Ok(expected) = &case.file_dict else {
            panic!("{}: the manifest has no entries", case.case);
        };
        let file = case.read("file.dict");
        for reading in [Reading::Strict, Reading::Tikv] {
            let read = FileDictionary::recover(&file, reading).unwrap();
            assert_eq!(entries(&read.dictionary), *expected, "{}", case.case);
            assert_eq!(read.verdict, Verdict::Complete, "{}", case.case);
            assert_eq!(read.version.number(), case.file_dict_version());
            if let Some(log) = case.enable_file_dictionary_log {
                assert_eq!(read.version == Version::V2, log, "{}", case.case);
            }
        }
        if let Some(untracked) = &case.untracked {
            let files = FileDictionary::open(&file).unwrap();
            assert!(files.get(&untracked.logical).is_err());
        }
    }
}

#[test]
fn data_files_decrypt_to_their_plaintext_whole_and_from_any_offset() {
    let mut rng = Seeded(1);
    let mut decrypted = 0;
    for case in cases() {
        let keys = KeyDictionary::open(&case.read("key.dict"), &case.master_keys()[0]).unwrap();
        let files = FileDictionary::open(&case.read("file.dict")).unwrap();
        for file in &case.files {
            let ciphertext = case.read(&file.stored);
            assert_eq!(sha256(&ciphertext), file.cipher_sha256);
            assert_eq!(ciphertext.len(), file.size);
            // TiKV takes a file without an entry for plaintext.
            let info = files.find(&file.logical);
            let key = match info {
                Some(info) => keys.data_key(info.key_id, info.method).unwrap(),
                None => None,
            };
            let mut plaintext = ciphertext.clone();
            if let (Some(key), Some(info)) = (&key, info) {
                let mut stream = CtrStream::new(key, info.iv().unwrap());
                stream.apply(&mut plaintext).unwrap();
                for _ in 0..50 {
                    let start = rng.index(0..=file.size);
                    let end = rng.index(start..=file.size.min(start + 5000));
                    let mut part = ciphertext[start..end].to_vec();
                    stream.seek(start as u64);
                    stream.apply(&mut part).unwrap();
                    assert_eq!(part, plaintext[start..end], "{} {start}..{end}", case.case);
                }
                decrypted += 1;
            }
            assert_eq!(
                sha256(&plaintext),
                file.plain_sha256,
                "{} {}",
                case.case,
                file.logical
            );
        }
    }
    assert!(decrypted > 50, "only {decrypted} files were encrypted");
}

#[test]
fn rewritten_file_dictionaries_are_read_back_by_an_independent_reader() {
    for case in cases() {
        let files = FileDictionary::open(&case.read("file.dict")).unwrap();
        let original = oracle::read_file_dict(&case.read("file.dict")).unwrap();
        for version in [Version::V1, Version::V2] {
            let file = files.to_bytes(version);
            let read = oracle::read_file_dict(&file).unwrap();
            assert_eq!(read.files, original.files, "{}", case.case);
            assert_eq!((read.version, read.torn), (version.number(), 0));
            assert_eq!(FileDictionary::open(&file).unwrap(), files);
        }
    }
}

#[test]
fn rewritten_key_dictionaries_are_read_back_by_an_independent_reader() {
    let key = [0x5a; 32];
    let master_key = raw_master_key(&hex::encode(&key));
    for case in cases() {
        let file = case.read("key.dict");
        let mut keys = KeyDictionary::open(&file, &case.master_keys()[0]).unwrap();
        let file = keys.seal(&master_key, &mut SysRng).unwrap();
        let (version, content, rest) = oracle::unframe(&file).unwrap();
        assert_eq!((version, rest.len()), (1, 0));
        let envelope = oracle::EncryptedContent::decode(content).unwrap();
        assert_eq!(envelope.metadata["iv"].len(), 12);
        let payload = oracle::open_gcm(&envelope, &key).unwrap();
        let read = oracle::KeyDictionary::decode(payload.as_slice()).unwrap();
        assert_eq!(
            read.current_key_id.to_string(),
            case.key_dict.current_key_id
        );
        assert_eq!(read.keys.len(), case.key_dict.keys.len());
        for (id, expected) in &case.key_dict.keys {
            let found = &read.keys[&id.parse().unwrap()];
            let method = Method::from_number(found.method).unwrap().name();
            assert_eq!(
                (
                    hex::encode(&found.key),
                    method,
                    found.creation_time,
                    found.was_exposed
                ),
                (
                    expected.key.clone(),
                    &*expected.method,
                    expected.creation_time,
                    expected.was_exposed
                ),
                "{}",
                case.case
            );
        }
    }
}

#[test]
fn a_log_backup_decrypts_through_its_sealed_data_key() {
    let backup = Manifest::load().backup;
    let message = vector(&format!("tikv/{}", backup.file_encryption_info));
    let info = oracle::FileEncryptionInfo::decode(message.as_slice()).unwrap();
    let Some(oracle::Mode::MasterKeyBased(mode)) = info.mode else {
        panic!("not sealed under a master key");
    };
    let envelope = mode.data_key_encrypted_content[0].encode_to_vec();
    let sealed = Envelope::from_bytes(&envelope).unwrap();
    assert_eq!(sealed.to_bytes().len(), envelope.len());
    let key = sealed.open(&master_key_file(&backup.master_key)).unwrap();
    assert_eq!(key, SecretBytes::new(hex::decode(&backup.data_key)));
    assert_eq!(hex::encode(&info.file_iv), backup.iv);

    let mut data = vector(&format!("tikv/{}", backup.stored));
    assert_eq!(sha256(&data), backup.cipher_sha256);
    assert_eq!(hex::encode(&info.checksum), backup.cipher_sha256);
    let method = Method::from_number(info.encryption_method).unwrap();
    let iv = Iv::try_from(info.file_iv.as_slice()).unwrap();
    let key = data_key(method, key.danger_bytes());
    CtrStream::new(&key, iv).apply(&mut data).unwrap();
    assert_eq!(data, vector(&format!("tikv/{}", backup.plain)));
}
