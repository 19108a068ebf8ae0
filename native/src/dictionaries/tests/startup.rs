//! Starts: which state of a directory and which master keys lead where, and that a start that fails has written nothing.

use std::cell::Cell;
use std::collections::BTreeMap;

use stillkey_core::error::WrongMasterKey;

use super::*;
use crate::dictionaries::{Started, Startup};
use crate::fsops::fault;

const AES: Method = Method::Aes256Ctr;

/// A key service that knows what it has wrapped itself.
#[derive(Clone, Debug)]
struct Cloud {
    vendor: &'static str,
    /// Which of the vendor's master keys.
    key: u8,
    is_up: bool,
    wraps: bool,
}

impl KeyService for Cloud {
    fn vendor(&self) -> &str {
        self.vendor
    }

    fn provider(&self) -> u8 {
        0
    }

    fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Core> {
        if !(self.is_up && self.wraps) {
            return Err(Core::Unavailable("no answer within 10 s".into()));
        }
        Ok(WrappedKey {
            blob: [&[self.key], key.danger_bytes()].concat(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Core> {
        if !self.is_up {
            return Err(Core::Unavailable("no answer within 10 s".into()));
        }
        match wrapped.blob.split_first() {
            Some((key, blob)) if *key == self.key => Ok(SecretBytes::copied(blob)),
            _ => Err(WrongMasterKey::Refused("not my ciphertext".into()).into()),
        }
    }
}

fn cloud(vendor: &'static str, key: u8) -> Cloud {
    Cloud {
        vendor,
        key,
        is_up: true,
        wraps: true,
    }
}

fn service(cloud: Cloud) -> MasterKey {
    MasterKey::Service(Arc::new(cloud))
}

fn policy(method: Method) -> RotationPolicy {
    RotationPolicy {
        method,
        period: 1000,
    }
}

/// A start, and how often the previous master key was loaded for it.
fn start(
    directory: &TempDir,
    method: Method,
    master_key: &MasterKey,
    previous: Result<&MasterKey, &Error>,
) -> (Result<Option<Started>, Error>, usize) {
    let loaded = Cell::new(0);
    let started = Startup::new(directory.path(), policy(method), master_key.clone())
        .with_previous_master_key(|| {
            loaded.set(loaded.get() + 1);
            previous.cloned().map_err(Error::clone)
        })
        .start(NOW);
    (started, loaded.get())
}

/// Dictionaries under this master key with a file "a", and how that is encrypted.
fn sealed_by(master_key: &MasterKey) -> (TempDir, SecretBytes) {
    let directory = tempfile::tempdir().unwrap();
    let writer = Entries::create(&directory, &super::master_key(1), AES, NOW).unwrap();
    let key = writer.new_entry("a").unwrap();
    let key = key.data_key().unwrap().secret().duplicate();
    writer.rotate_master_key(master_key).unwrap();
    (directory, key)
}

fn key_of_a(directory: &TempDir, master_key: &MasterKey) -> SecretBytes {
    let dictionaries = Dictionaries::read(directory, master_key, Reading::Strict).unwrap();
    let key = dictionaries.file("a").unwrap();
    key.data_key().unwrap().secret().duplicate()
}

/// All files but the lock, which isn't data.
fn data(directory: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let mut files = snapshot(directory.path());
    files.remove(LOCK);
    files
}

/// A start that must fail and write nothing, not even a lock file; the error and how often the previous master key was loaded.
fn fails(
    directory: &TempDir,
    method: Method,
    master_key: &MasterKey,
    previous: &MasterKey,
) -> (Error, usize) {
    for lock_is_there in [true, false] {
        if !lock_is_there {
            let _ = fs::remove_file(directory.path().join(LOCK));
        }
        let before = snapshot(directory.path());
        let (started, _) = start(directory, method, master_key, Ok(previous));
        assert!(started.is_err());
        assert_eq!(snapshot(directory.path()), before);
    }
    let (started, loaded) = start(directory, method, master_key, Ok(previous));
    (started.unwrap_err(), loaded)
}

#[test]
fn every_master_key_can_follow_every_other_in_one_start() {
    let keys = [
        MasterKey::Plaintext,
        master_key(1),
        master_key(2),
        service(cloud("AWS", 1)),
        service(cloud("AWS", 2)),
        service(cloud("azure", 1)),
        service(cloud("gcp", 1)),
        service(cloud("gcp_v2", 1)),
    ];
    for (n, old) in keys.iter().enumerate() {
        for (m, new) in keys.iter().enumerate().filter(|(m, _)| *m != n) {
            let context = format!("{n} {} to {m} {}", old.kind(), new.kind());
            let (directory, key) = sealed_by(old);
            let method = if new.is_secure() {
                AES
            } else {
                Method::Plaintext
            };
            let (started, loaded) = start(&directory, method, new, Ok(old));
            let started = started.unwrap().unwrap();
            assert!(started.fell_back && !started.created, "{context}");
            assert_eq!(loaded, 1, "{context}");
            // From plaintext, or to another method: a new data key at once.
            let rotates = !old.is_secure() || !new.is_secure();
            assert_eq!(started.rotated.is_some(), rotates, "{context}");
            drop(started);
            assert!(key_of_a(&directory, new) == key, "{context}");
            assert!(Dictionaries::read(&directory, old, Reading::Strict).is_err());
            let (again, loaded) = start(&directory, method, new, Ok(old));
            let again = again.unwrap().unwrap();
            assert_eq!((again.fell_back, loaded), (false, 0), "{context}");
            assert_eq!(again.rotated, None, "{context}");
        }
    }
}

#[test]
fn to_plaintext_all_keys_become_exposed_and_only_with_the_method_plaintext() {
    let (directory, _) = sealed_by(&master_key(1));
    let (error, loaded) = fails(&directory, AES, &MasterKey::Plaintext, &master_key(1));
    assert_eq!((error.kind(), loaded), (ErrorKind::Usage, 0));
    let plaintext = MasterKey::Plaintext;
    let (started, _) = start(
        &directory,
        Method::Plaintext,
        &plaintext,
        Ok(&master_key(1)),
    );
    let started = started.unwrap().unwrap();
    assert!(
        started
            .entries
            .keys()
            .iter()
            .all(|(_, key)| key.was_exposed)
    );
    assert_eq!(started.rotated, Some(RotationReason::MethodChanged));
}

#[test]
fn a_forged_key_dictionary_in_plaintext_never_gets_new_files() {
    let directory = forged();
    let (started, _) = start(&directory, AES, &master_key(1), Ok(&MasterKey::Plaintext));
    let started = started.unwrap().unwrap();
    assert_eq!(started.rotated, Some(RotationReason::Exposed));
    assert_ne!(started.entries.new_entry("b").unwrap().info().key_id, 5);
}

#[test]
fn wherever_the_start_over_a_forged_key_dictionary_fails_the_next_one_replaces_the_key() {
    for step in 0.. {
        let directory = forged();
        fault::fail_from(step);
        drop(start(
            &directory,
            AES,
            &master_key(1),
            Ok(&MasterKey::Plaintext),
        ));
        let reached = fault::heal();
        let (again, _) = start(&directory, AES, &master_key(1), Ok(&MasterKey::Plaintext));
        let again = again.unwrap().unwrap();
        let key_id = again.entries.new_entry("b").unwrap().info().key_id;
        assert_ne!(key_id, 5, "step {step}");
        if !reached {
            assert!(step > 8);
            break;
        }
    }
}

/// A directory whose `key.dict` is unsealed. Key 5, current: 32 bytes, AES-256-CTR, made now, and no word of
/// having been exposed.
fn forged() -> TempDir {
    let (directory, _) = sealed_by(&MasterKey::Plaintext);
    let path = directory.path().join(KEY_DICT);
    let made = [0x18, 0x80, 0xe2, 0xcf, 0xaa, 0x06];
    let key = [&field(1, &[7; 32])[..], &[0x10, 4], &made].concat();
    let entry = [&[0x08, 5], &field(2, &key)[..]].concat();
    let keys = [&field(1, &entry)[..], &[0x10, 5]].concat();
    fs::write(&path, envelope(&[("method", b"plaintext")], &keys)).unwrap();
    let forged = read_key_dictionary(&path, &MasterKey::Plaintext).unwrap();
    let forged = forged.get(5).unwrap();
    assert_eq!((forged.creation_time, forged.was_exposed), (NOW, false));
    directory
}

#[test]
fn only_a_master_key_that_doesnt_fit_leads_to_the_previous_one() {
    let tag = ("aes_gcm_tag", &[0; 16][..]);
    let iv = ("iv", &[0; 12][..]);
    let gcm = ("method", &b"aes256-gcm"[..]);
    let aws = ("kms_vendor", &b"AWS"[..]);
    let gcp = ("kms_vendor", &b"gcp"[..]);
    let wrapped = ("kms_ciphertext_key", &[1; 33][..]);
    let plaintext = ("method", &b"plaintext"[..]);
    let other = ("method", &b"rot13"[..]);
    let down = Cloud {
        is_up: false,
        ..cloud("AWS", 1)
    };
    let (none, raw) = (MasterKey::Plaintext, master_key(1));
    let (kms, down) = (service(cloud("AWS", 1)), service(down));
    // Envelope, master key, whether it leads to the previous one.
    type Row<'a> = (&'a [(&'a str, &'a [u8])], &'a MasterKey, bool);
    let rows: &[Row<'_>] = &[
        (&[], &none, false),
        (&[gcm, iv, tag], &none, true),
        (&[other], &none, true),
        (&[], &raw, false),
        (&[plaintext], &raw, true),
        (&[gcm, iv, tag], &raw, true),
        (&[gcm, iv, tag, aws, wrapped], &raw, true),
        (&[other], &raw, false),
        (&[gcm, tag], &raw, false),
        (&[gcm, iv], &raw, false),
        (&[gcm, ("iv", &[0; 8]), tag], &raw, false),
        (&[gcm, iv, ("aes_gcm_tag", &[0; 15])], &raw, false),
        (&[], &kms, true),
        (&[aws], &kms, false),
        (&[plaintext], &kms, true),
        (&[other], &kms, true),
        (&[other, aws], &kms, false),
        (&[gcm, iv, tag], &kms, true),
        (&[gcm, iv, tag, gcp, wrapped], &kms, true),
        (&[gcm, iv, tag, aws], &kms, false),
        (&[gcm, iv, tag, aws, wrapped], &kms, true),
        (
            &[gcm, iv, tag, aws, ("kms_ciphertext_key", &[2; 33])],
            &kms,
            true,
        ),
        (
            &[gcm, iv, tag, aws, ("kms_ciphertext_key", &[1; 32])],
            &kms,
            false,
        ),
        (&[gcm, tag, aws, wrapped], &kms, false),
        (&[gcm, iv, tag, aws, wrapped], &down, false),
        (&[gcm, iv, tag, gcp, wrapped], &down, true),
    ];
    for (n, (metadata, master_key, falls_back)) in rows.iter().enumerate() {
        let (directory, _) = sealed_by(&raw);
        let envelope = envelope(metadata, b"\x10\x01");
        fs::write(directory.path().join(KEY_DICT), envelope).unwrap();
        let method = if master_key.is_secure() {
            AES
        } else {
            Method::Plaintext
        };
        let (error, loaded) = fails(&directory, method, master_key, &super::master_key(9));
        assert_eq!(loaded == 1, *falls_back, "row {n}: {error}");
    }
}

#[test]
fn a_service_that_is_down_is_an_outage_and_not_a_wrong_key() {
    let (directory, key) = sealed_by(&service(cloud("AWS", 1)));
    let down = service(Cloud {
        is_up: false,
        ..cloud("AWS", 1)
    });
    let (error, loaded) = fails(&directory, AES, &down, &master_key(1));
    assert_eq!((error.kind(), loaded), (ErrorKind::KeySource, 0));
    assert!(
        error.to_string().contains("no answer within 10 s"),
        "{error}"
    );

    let (error, loaded) = fails(&directory, AES, &master_key(1), &down);
    assert_eq!((error.kind(), loaded), (ErrorKind::KeySource, 1));
    let message = error.to_string();
    assert!(
        message.contains("previous (key service AWS): no answer within 10 s"),
        "{message}"
    );
    assert!(key_of_a(&directory, &service(cloud("AWS", 1))) == key);
}

#[test]
fn a_current_service_that_wont_wrap_leaves_a_torn_tail_and_the_old_seal_alone() {
    let (directory, _) = sealed_by(&master_key(1));
    append(directory.path(), &record("torn")[..9]);
    let before = data(&directory);
    let reads_only = service(Cloud {
        wraps: false,
        ..cloud("AWS", 1)
    });
    let (started, _) = start(&directory, AES, &reads_only, Ok(&master_key(1)));
    assert_eq!(started.unwrap_err().kind(), ErrorKind::KeySource);
    assert_eq!(data(&directory), before);
}

#[test]
fn when_neither_master_key_fits_the_error_names_both() {
    let (directory, _) = sealed_by(&master_key(1));
    let (current, previous) = (master_key(2), service(cloud("azure", 1)));
    let (error, _) = fails(&directory, AES, &current, &previous);
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    let MasterKey::Raw(raw) = &current else {
        panic!()
    };
    let message = error.to_string();
    for part in [
        "key.dict: no master key opens it".to_owned(),
        format!(
            "current (32-byte key {}): wrong master key",
            raw.reference()
        ),
        "previous (key service azure): wrong master key".to_owned(),
    ] {
        assert!(message.contains(&part), "{message}");
    }
}

#[test]
fn a_previous_master_key_that_is_gone_is_named_beside_the_current_one_that_doesnt_fit() {
    let (directory, _) = sealed_by(&master_key(1));
    let gone = Error::MasterKeySource {
        source_name: "file:/old.key".into(),
        why: "no such file".into(),
    };
    let before = snapshot(directory.path());
    let (started, _) = start(&directory, AES, &master_key(2), Err(&gone));
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeySource);
    let message = error.to_string();
    assert!(message.contains("current (32-byte key "), "{message}");
    assert!(message.contains("file:/old.key: no such file"), "{message}");
    assert_eq!(snapshot(directory.path()), before);
    // It isn't missed where the current one fits.
    let (started, loaded) = start(&directory, AES, &master_key(1), Err(&gone));
    assert!(started.is_ok() && loaded == 0);
}

#[test]
fn without_a_previous_master_key_a_wrong_one_is_just_wrong() {
    let (directory, _) = sealed_by(&master_key(1));
    let before = snapshot(directory.path());
    let started = Startup::new(directory.path(), policy(AES), master_key(2)).start(NOW);
    let error = started.unwrap_err();
    assert!(matches!(error, Error::Data { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn damage_and_halves_stop_a_start_under_either_master_key() {
    let flip = |path: &Path, at: usize, bits: u8| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= bits;
        fs::write(path, bytes).unwrap();
    };
    let keys = |directory: &Path| directory.join(KEY_DICT);
    let files = |directory: &Path| directory.join(FILE_DICT);
    // What is done, the kind of error, whether the seal is still told apart, so that the previous master key is loaded.
    type Row<'a> = (&'a str, &'a dyn Fn(&Path), ErrorKind, bool);
    let damaged_log = |directory: &Path| {
        append(directory, &record("b"));
        flip(&files(directory), 30, 1);
    };
    use ErrorKind::{Damaged, NotFound};
    let rows: [Row<'_>; 7] = [
        (
            "key.dict's checksum",
            &|d| flip(&keys(d), 5, 1),
            Damaged,
            false,
        ),
        (
            "key.dict's version",
            &|d| flip(&keys(d), 0, 0x80),
            Damaged,
            false,
        ),
        (
            "an empty key.dict",
            &|d| fs::write(keys(d), "").unwrap(),
            Damaged,
            false,
        ),
        (
            "no key.dict",
            &|d| fs::remove_file(keys(d)).unwrap(),
            NotFound,
            false,
        ),
        (
            "no file.dict",
            &|d| fs::remove_file(files(d)).unwrap(),
            NotFound,
            true,
        ),
        (
            "file.dict's header",
            &|d| flip(&files(d), 4, 1),
            Damaged,
            true,
        ),
        ("file.dict's log", &damaged_log, Damaged, true),
    ];
    for (what, spoil, kind, loads) in rows {
        let (directory, _) = sealed_by(&master_key(1));
        spoil(directory.path());
        let (error, loaded) = fails(&directory, AES, &master_key(1), &master_key(2));
        assert_eq!((error.kind(), loaded), (kind, 0), "{what}: {error}");
        let (error, loaded) = fails(&directory, AES, &master_key(2), &master_key(1));
        assert_eq!(
            (error.kind(), loaded == 1),
            (kind, loads),
            "{what}: {error}"
        );
        let (error, _) = fails(
            &directory,
            Method::Plaintext,
            &master_key(1),
            &master_key(2),
        );
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}

#[test]
fn a_directory_with_a_writer_is_locked_whatever_the_master_key() {
    let (directory, _) = sealed_by(&master_key(1));
    let writer = open(&directory);
    let before = snapshot(directory.path());
    for key in [master_key(1), master_key(2)] {
        let (started, loaded) = start(&directory, AES, &key, Ok(&master_key(1)));
        assert_eq!(
            (started.unwrap_err().kind(), loaded),
            (ErrorKind::Locked, 0)
        );
        assert_eq!(snapshot(directory.path()), before);
    }
    drop(writer);
}

#[test]
fn a_first_start_makes_dictionaries_unless_none_are_needed() {
    let files = stillkey_core::FileDictionary::new();
    for leftover in [None, Some(Version::V1), Some(Version::V2)] {
        let directory = tempfile::tempdir().unwrap();
        if let Some(version) = leftover {
            fs::write(directory.path().join(FILE_DICT), files.to_bytes(version)).unwrap();
        }
        let before = snapshot(directory.path());
        for key in [MasterKey::Plaintext, master_key(1)] {
            let (started, loaded) = start(&directory, Method::Plaintext, &key, Ok(&key));
            assert!(started.unwrap().is_none() && loaded == 0);
            assert_eq!(snapshot(directory.path()), before);
        }
        let (started, loaded) = start(&directory, AES, &master_key(1), Ok(&master_key(2)));
        let started = started.unwrap().unwrap();
        assert!(started.created && !started.fell_back && loaded == 0);
        assert_eq!((started.entries.keys().len(), started.rotated), (1, None));
    }
    let nowhere = tempfile::tempdir().unwrap();
    let path = nowhere.path().join("not/yet");
    let disabled = Startup::new(&path, policy(Method::Plaintext), MasterKey::Plaintext).start(NOW);
    assert!(disabled.unwrap().is_none() && !path.exists());
}

#[test]
fn encryption_is_switched_off_and_on_again_by_the_method() {
    let (directory, key) = sealed_by(&master_key(1));
    let (off, _) = start(
        &directory,
        Method::Plaintext,
        &master_key(1),
        Ok(&master_key(2)),
    );
    let off = off.unwrap().unwrap();
    assert_eq!(off.rotated, Some(RotationReason::MethodChanged));
    assert!(off.entries.new_entry("b").unwrap().data_key().is_none());
    assert!(off.entries.entry("a").unwrap().data_key().unwrap().secret() == &key);
    drop(off);
    let (on, _) = start(&directory, AES, &master_key(1), Ok(&master_key(2)));
    let on = on.unwrap().unwrap();
    assert_eq!(on.rotated, Some(RotationReason::MethodChanged));
    assert!(on.entries.new_entry("c").unwrap().data_key().is_some());
}

#[test]
fn a_start_rotates_when_due_and_gives_the_file_dictionary_its_form() {
    let (directory, _) = sealed_by(&master_key(1));
    let start = |now, version| {
        let startup = Startup::new(directory.path(), policy(AES), master_key(1))
            .with_version(version)
            .with_rewrite_threshold(7);
        startup.start(now).unwrap().unwrap()
    };
    let early = start(NOW + 999, Version::V1);
    assert_eq!(
        (early.rotated, early.entries.version()),
        (None, Version::V1)
    );
    drop(early);
    let due = start(NOW + 1000, Version::V2);
    assert_eq!(due.rotated, Some(RotationReason::Expired { age: 1000 }));
    assert_eq!(
        (due.entries.version(), due.entries.keys().len()),
        (Version::V2, 2)
    );
}

#[test]
fn wherever_the_disk_fails_during_a_fallback_the_next_start_carries_it_out() {
    let (old, new) = (MasterKey::Plaintext, master_key(2));
    for step in 0.. {
        let (directory, key) = sealed_by(&old);
        append(directory.path(), &record("torn")[..9]);
        let before = data(&directory);
        fault::fail_from(step);
        let (started, _) = start(&directory, AES, &new, Ok(&old));
        let reached = fault::heal();
        assert_eq!(started.is_err(), reached, "step {step}");
        drop(started);
        let after = data(&directory);
        let is_resealed = after[KEY_DICT] != before[KEY_DICT];
        assert!(
            is_resealed || after[FILE_DICT] == before[FILE_DICT],
            "step {step}"
        );
        let (again, _) = start(&directory, AES, &new, Ok(&old));
        let again = again.unwrap().unwrap();
        assert!(
            again
                .entries
                .entry("a")
                .unwrap()
                .data_key()
                .unwrap()
                .secret()
                == &key
        );
        let keys = again.entries.keys();
        let (_, current) = keys.current().unwrap().unwrap();
        assert!(!current.was_exposed, "step {step}");
        drop(again);
        assert!(key_of_a(&directory, &new) == key);
        if !reached {
            assert!(step > 5, "the fallback has that many steps");
            return;
        }
    }
}

/// The bytes of a `key.dict` with this metadata and payload.
fn envelope(metadata: &[(&str, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for (name, value) in metadata {
        let entry = [field(1, name.as_bytes()), field(2, value)].concat();
        content.extend(field(1, &entry));
    }
    content.extend(field(2, payload));
    let crc = crc32fast::hash(&content).to_be_bytes();
    let len = (content.len() as u64).to_be_bytes();
    [&[1, 0, 0, 0], &crc[..], &len[..], &content[..]].concat()
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128);
    [&[number << 3 | 2, value.len() as u8], value].concat()
}
