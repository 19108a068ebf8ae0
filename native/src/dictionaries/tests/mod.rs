//! Dictionaries as their users see them, on an intact disk; `failures` is about the other kind.

mod failures;
mod group;
mod reader;
mod startup;
mod synced;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use stillkey_core::{
    EncryptionContext, Error as Core, FileInfo, Iv, KeyService, MasterKey, Method, Portable,
    RawMasterKey, Reading, Record, RotationPolicy, RotationReason, SecretBytes, Verdict, Version,
    WrappedKey,
};
use tempfile::TempDir;

use super::{
    Dictionaries, Entries, FILE_DICT, FILE_SYNCED, KEY_DICT, LOCK, read_file_dictionary,
    read_key_dictionary, read_key_envelope,
};
use crate::error::{Error, ErrorKind};
use crate::testing::{master_key, snapshot};

const NOW: u64 = 1_700_000_000;

fn create(directory: &TempDir) -> Entries {
    Entries::create(directory, &master_key(1), Method::Aes256Ctr, NOW).unwrap()
}

fn open(directory: &TempDir) -> Entries {
    Entries::open(directory, &master_key(1)).unwrap()
}

fn read(directory: &TempDir) -> Dictionaries {
    Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap()
}

fn names(dictionaries: &Dictionaries) -> Vec<String> {
    let files = dictionaries.files().unwrap();
    files.iter().map(|(name, _)| name.to_owned()).collect()
}

/// A directory with dictionaries and these files, without a writer.
fn directory_with(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let writer = create(&directory);
    for name in files {
        writer.new_entry(name).unwrap();
    }
    directory
}

fn append(directory: &Path, bytes: &[u8]) {
    let path = directory.join(FILE_DICT);
    let mut content = fs::read(&path).unwrap();
    content.extend(bytes);
    fs::write(path, content).unwrap();
}

fn record(name: &str) -> Vec<u8> {
    let info = FileInfo::encrypted(1, Iv::new([1; 16]), Method::Aes256Ctr);
    Record::Insert { name, info }.to_bytes().unwrap()
}

#[test]
fn what_is_written_is_read_by_the_writer_by_readers_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let writer = create(&directory);
    let made = writer.new_entry("a").unwrap();
    writer.new_entry("b").unwrap();
    writer.link_entry("a", "c").unwrap();
    assert_eq!(
        writer.remove_entry("b").unwrap().unwrap().method,
        Method::Aes256Ctr.into()
    );
    assert_eq!(writer.remove_entry("b").unwrap(), None);
    let stream = |key: super::FileKey| {
        let mut data = [0; 40];
        let stream = key.stream(&Portable).unwrap();
        stream.apply_at(7, &mut data).unwrap();
        data
    };
    let expected = stream(made);
    assert_eq!(stream(writer.entry("c").unwrap()), expected);
    assert_eq!(stream(read(&directory).file("a").unwrap()), expected);
    drop(writer);
    let writer = open(&directory);
    assert_eq!(stream(writer.entry("a").unwrap()), expected);
    assert_eq!(names(&read(&directory)), ["a", "c"]);
}

#[test]
fn a_name_without_an_entry_is_an_error() {
    let directory = directory_with(&["a"]);
    let error = read(&directory).file("./a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("file.dict"), "{error}");
    let error = open(&directory).link_entry("b", "c").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn every_new_file_has_an_iv_of_its_own_under_the_current_key() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    let first = writer.entry("a").unwrap().info().clone();
    let second = writer.new_entry("a").unwrap().info().clone();
    assert_eq!(first.key_id, second.key_id);
    assert_ne!(first.iv().unwrap(), second.iv().unwrap());
    let id = writer.rotate_data_key(Method::Sm4Ctr, NOW + 1).unwrap();
    let third = writer.new_entry("a").unwrap();
    assert_eq!(
        (third.info().key_id, third.data_key().is_some()),
        (id, true)
    );
    assert_eq!(third.info().method, Method::Sm4Ctr.into());
    assert_eq!(writer.keys().len(), 2);
    assert_eq!(read(&directory).keys().current_key_id(), id);
}

#[test]
fn a_plaintext_period_records_files_without_a_stream() {
    let directory = directory_with(&[]);
    let writer = open(&directory);
    writer.rotate_data_key(Method::Plaintext, NOW).unwrap();
    assert!(writer.new_entry("a").unwrap().stream(&Portable).is_none());
    assert!(
        read(&directory)
            .file("a")
            .unwrap()
            .stream(&Portable)
            .is_none()
    );
}

#[test]
fn files_of_a_tiflash_group_share_an_entry_and_differ_in_keystream() {
    let directory = directory_with(&["group"]);
    let key = read(&directory).file("group").unwrap();
    let start = |file_name| {
        let mut data = [0; 16];
        let stream = key.tiflash_stream(&Portable, file_name).unwrap();
        stream.apply_at(0, &mut data).unwrap();
        data
    };
    assert_ne!(start("1.dat"), start("2.dat"));
    let mut plain = [0; 16];
    let stream = key.stream(&Portable).unwrap();
    stream.apply_at(0, &mut plain).unwrap();
    assert_eq!(start(""), plain);
}

#[test]
fn an_entry_that_no_key_here_can_read_is_not_inserted() {
    let directory = directory_with(&[]);
    let writer = open(&directory);
    let before = snapshot(directory.path());
    let info = FileInfo::encrypted(77, Iv::new([1; 16]), Method::Aes256Ctr);
    let error = writer.set_entry("a", info).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let id = writer.keys().current_key_id();
    let info = FileInfo::encrypted(id, Iv::new([1; 16]), Method::Aes128Ctr);
    assert_eq!(
        writer.set_entry("a", info).unwrap_err().kind(),
        ErrorKind::Damaged
    );
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn linking_onto_another_entry_is_refused_and_onto_the_same_changes_nothing() {
    let directory = directory_with(&["a", "b"]);
    let writer = open(&directory);
    assert!(matches!(
        writer.link_entry("a", "b"),
        Err(Error::NameTaken { .. })
    ));
    writer.link_entry("a", "c").unwrap();
    let before = snapshot(directory.path());
    writer.link_entry("a", "c").unwrap();
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn a_second_writer_is_refused_with_the_first_ones_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = create(&directory);
    let error = Entries::open(&directory, &master_key(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let process = format!("process {} on ", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    assert!(error.to_string().contains(LOCK), "{error}");
    drop(first);
    assert_eq!(fs::read(directory.path().join(LOCK)).unwrap(), b"");
    open(&directory);
}

#[test]
fn a_wrong_master_key_writes_nothing() {
    let directory = directory_with(&["a"]);
    append(directory.path(), b"torn");
    fs::write(directory.path().join(LOCK), b"of a crashed holder").unwrap();
    fs::write(directory.path().join("key.1.tmp"), b"leftover").unwrap();
    // With and without the lock file, which a directory of TiKV's doesn't have.
    for _ in 0..2 {
        let before = snapshot(directory.path());
        for key in [master_key(2), MasterKey::Plaintext] {
            let error = Entries::open(&directory, &key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongKey);
            assert!(error.to_string().contains(KEY_DICT), "{error}");
        }
        assert_eq!(snapshot(directory.path()), before);
        let _ = fs::remove_file(directory.path().join(LOCK));
    }
}

#[test]
fn a_damaged_log_writes_nothing_and_answers_nothing() {
    let directory = directory_with(&["a"]);
    let path = directory.path().join(FILE_DICT);
    let start_of_b = fs::read(&path).unwrap().len();
    for name in ["b", "c"] {
        open(&directory).new_entry(name).unwrap();
    }
    let mut damaged = fs::read(&path).unwrap();
    damaged[start_of_b + 8] = 9;
    fs::write(&path, damaged).unwrap();
    fs::write(directory.path().join(LOCK), b"of a crashed holder").unwrap();
    // An older release leaves no word of what was synced, and TiKV no lock file either.
    for missing in [None, Some(LOCK), Some(FILE_SYNCED)] {
        let gone = missing.map(|name| fs::remove_file(directory.path().join(name)));
        gone.transpose().unwrap();
        let before = snapshot(directory.path());
        let error = Entries::open(&directory, &master_key(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(snapshot(directory.path()), before);
    }
    let dictionaries = read(&directory);
    assert_eq!(
        dictionaries.file("a").unwrap_err().kind(),
        ErrorKind::Damaged
    );
    assert_eq!(dictionaries.recovered().dictionary.len(), 1);
}

#[test]
fn a_torn_tail_is_read_over_and_trimmed_by_the_next_writer() {
    for torn in 1..record("b").len() {
        let directory = directory_with(&["a"]);
        let whole = fs::read(directory.path().join(FILE_DICT)).unwrap();
        append(directory.path(), &record("b")[..torn]);
        let dictionaries = read(&directory);
        assert_eq!(names(&dictionaries), ["a"]);
        let verdict = &dictionaries.recovered().verdict;
        assert!(matches!(verdict, Verdict::TornTail { .. }), "{torn}");
        let writer = open(&directory);
        assert_eq!(fs::read(directory.path().join(FILE_DICT)).unwrap(), whole);
        writer.new_entry("c").unwrap();
        assert_eq!(names(&read(&directory)), ["a", "c"]);
    }
}

#[test]
fn leftovers_are_removed_by_a_writer_and_other_files_are_not() {
    let directory = directory_with(&[]);
    let litter = ["key.12.tmp", "file.7.tmp", ".key.dict.abcdefghijkl.tmp"];
    let kept = ["key.x.tmp", ".000001.sst.abcdefghijkl.tmp", "key.dict.bak"];
    for name in litter.iter().chain(&kept) {
        fs::write(directory.path().join(name), b"").unwrap();
    }
    fs::create_dir(directory.path().join("file.9.tmp")).unwrap();
    open(&directory);
    let after = snapshot(directory.path());
    assert!(litter.iter().all(|name| !after.contains_key(*name)));
    assert!(kept.iter().all(|name| after.contains_key(*name)));
    assert!(
        after.contains_key("file.9.tmp"),
        "a directory is no leftover"
    );
}

#[test]
fn dictionaries_are_created_once() {
    let directory = directory_with(&["a"]);
    let before = snapshot(directory.path());
    let create =
        || Entries::create(&directory, &master_key(1), Method::Aes128Ctr, NOW).unwrap_err();
    assert_eq!(create().kind(), ErrorKind::AlreadyExists);
    assert_eq!(snapshot(directory.path()), before);
    fs::remove_file(directory.path().join(KEY_DICT)).unwrap();
    let error = create();
    assert!(
        error.to_string().contains(FILE_DICT),
        "has an entry: {error}"
    );
}

#[test]
fn encrypting_under_a_plaintext_master_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let key = MasterKey::Plaintext;
    let error = Entries::create(&directory, &key, Method::Sm4Ctr, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(snapshot(directory.path()).is_empty());
}

#[test]
fn incomplete_directories_are_told_apart() {
    let kind = |directory: &TempDir| {
        Dictionaries::read(directory, &master_key(1), Reading::Strict)
            .unwrap_err()
            .to_string()
    };
    let directory = tempfile::tempdir().unwrap();
    assert!(kind(&directory).contains("neither key.dict nor"));

    let directory = directory_with(&[]);
    fs::remove_file(directory.path().join(KEY_DICT)).unwrap();
    assert!(kind(&directory).contains("neither key.dict nor"), "unused");

    let directory = directory_with(&["a"]);
    fs::remove_file(directory.path().join(KEY_DICT)).unwrap();
    assert!(kind(&directory).contains("key.dict: cannot open"));

    let directory = directory_with(&["a"]);
    fs::remove_file(directory.path().join(FILE_DICT)).unwrap();
    assert!(kind(&directory).contains("file.dict: cannot open"));
    fs::write(directory.path().join(KEY_DICT), b"short").unwrap();
    assert!(kind(&directory).contains("key.dict: header"), "comes first");
}

#[test]
fn links_and_directories_in_place_of_dictionaries_are_refused() {
    let directory = directory_with(&["a"]);
    let path = directory.path().join(FILE_DICT);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let read = || Dictionaries::read(&directory, &master_key(1), Reading::Strict).unwrap_err();
    assert!(matches!(
        read(),
        Error::NotAFile {
            found: "a symbolic link",
            ..
        }
    ));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        read(),
        Error::NotAFile {
            found: "a directory",
            ..
        }
    ));
}

#[test]
fn the_master_key_changes_and_the_data_keys_dont() {
    let directory = directory_with(&["a"]);
    let files = fs::read(directory.path().join(FILE_DICT)).unwrap();
    let writer = open(&directory);
    let before = writer.keys().duplicate();
    writer.rotate_master_key(&master_key(2)).unwrap();
    assert_eq!(fs::read(directory.path().join(FILE_DICT)).unwrap(), files);
    assert!(Dictionaries::read(&directory, &master_key(1), Reading::Strict).is_err());
    let after = Dictionaries::read(&directory, &master_key(2), Reading::Strict).unwrap();
    assert!(*after.keys() == before);
    writer.rotate_data_key(Method::Aes256Ctr, NOW).unwrap();
    let after = Dictionaries::read(&directory, &master_key(2), Reading::Strict).unwrap();
    assert_eq!(after.keys().len(), 2, "sealed under the new master key");
}

#[test]
fn keys_once_in_the_clear_are_due_for_rotation() {
    let directory = directory_with(&[]);
    let writer = open(&directory);
    let policy = RotationPolicy::default();
    assert_eq!(writer.rotation_due(&policy, NOW).unwrap(), None);
    writer.rotate_master_key(&MasterKey::Plaintext).unwrap();
    assert_eq!(writer.rotation_due(&policy, NOW).unwrap(), None);
    writer.rotate_master_key(&master_key(1)).unwrap();
    assert_eq!(
        writer.rotation_due(&policy, NOW).unwrap(),
        Some(RotationReason::Exposed)
    );
    writer.rotate_data_key(Method::Aes256Ctr, NOW).unwrap();
    assert_eq!(writer.rotation_due(&policy, NOW).unwrap(), None);
}

#[test]
fn the_form_of_the_file_dictionary_stays_unless_converted() {
    let directory = directory_with(&["a", "b"]);
    let writer = open(&directory);
    writer.convert(Version::V1).unwrap();
    writer.new_entry("c").unwrap();
    drop(writer);
    let writer = open(&directory);
    assert_eq!(writer.version(), Version::V1);
    writer.remove_entry("a").unwrap();
    assert_eq!(read(&directory).recovered().version, Version::V1);
    assert_eq!(names(&read(&directory)), ["b", "c"]);
    writer.convert(Version::V2).unwrap();
    writer.new_entry("d").unwrap();
    let recovered = read(&directory);
    assert_eq!(recovered.recovered().version, Version::V2);
    assert_eq!(names(&recovered), ["b", "c", "d"]);
}

#[test]
fn the_log_is_compacted_on_demand_and_after_enough_removals() {
    let directory = directory_with(&["a", "b", "c", "d"]);
    let writer = open(&directory).with_rewrite_threshold(2);
    assert_eq!(read(&directory).recovered().records, 4);
    writer.compact().unwrap();
    assert_eq!(read(&directory).recovered().records, 0);
    for (name, records) in [("a", 1), ("b", 2), ("c", 0)] {
        writer.remove_entry(name).unwrap();
        assert_eq!(read(&directory).recovered().records, records, "{name}");
    }
    assert_eq!(names(&read(&directory)), ["d"]);
    writer.new_entry("e").unwrap();
    assert_eq!(names(&read(&directory)), ["d", "e"]);
}

#[test]
fn names_too_long_for_a_record_are_refused_and_change_nothing() {
    let directory = directory_with(&[]);
    let writer = open(&directory);
    let before = snapshot(directory.path());
    let error = writer.new_entry(&"n".repeat(65_536)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(snapshot(directory.path()), before);
    writer.new_entry(&"n".repeat(65_535)).unwrap();
    open_after(writer, &directory);
}

fn open_after(writer: Entries, directory: &TempDir) {
    let files = writer.survey(Clone::clone);
    drop(writer);
    assert_eq!(open(directory).survey(Clone::clone), files);
}

#[test]
fn readers_beside_a_busy_writer_see_whole_dictionaries() {
    let directory = directory_with(&["always"]);
    let writer = open(&directory).with_rewrite_threshold(3);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..300 {
                let dictionaries = read(&directory);
                for name in names(&dictionaries) {
                    dictionaries.file(&name).unwrap();
                }
                assert!(dictionaries.files().unwrap().find("always").is_some());
            }
        });
        let mut round = 0;
        while !reader.is_finished() {
            writer.new_entry("sometimes").unwrap();
            writer.remove_entry("sometimes").unwrap();
            if round % 8 == 0 {
                writer.rotate_data_key(Method::Aes128Ctr, NOW).unwrap();
            }
            round += 1;
        }
    });
}

/// Wraps by XOR, and unwraps unless it was told not to.
#[derive(Debug)]
struct Service {
    unwraps: bool,
}

impl KeyService for Service {
    fn vendor(&self) -> &str {
        "TEST"
    }

    fn provider(&self) -> u8 {
        0
    }

    fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Core> {
        Ok(WrappedKey {
            blob: key.danger_bytes().iter().map(|byte| byte ^ 1).collect(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Core> {
        if !self.unwraps {
            return Err(Core::Unavailable("no permission to unwrap".into()));
        }
        Ok(SecretBytes::new(
            wrapped.blob.iter().map(|byte| byte ^ 1).collect(),
        ))
    }
}

#[test]
fn a_key_service_that_doesnt_unwrap_what_it_wrapped_never_seals_the_keys() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    let before = snapshot(directory.path());
    let service = MasterKey::Service(Arc::new(Service { unwraps: false }));
    let error = writer.rotate_master_key(&service).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeySource);
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn the_key_that_a_service_wrapped_reads_but_doesnt_take_its_place() {
    let directory = directory_with(&["a"]);
    let service = MasterKey::Service(Arc::new(Service { unwraps: true }));
    let writer = open(&directory);
    writer.rotate_master_key(&service).unwrap();
    writer.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
    drop(writer);

    let envelope = fs::read(directory.path().join(KEY_DICT)).unwrap();
    let wrapped = b"kms_ciphertext_key\x12\x20";
    let at = envelope
        .windows(wrapped.len())
        .position(|window| window == wrapped)
        .unwrap();
    let blob = &envelope[at + wrapped.len()..][..32];
    let key = SecretBytes::new(blob.iter().map(|byte| byte ^ 1).collect());
    let raw = MasterKey::Raw(RawMasterKey::new(key).unwrap());

    let writer = Entries::open(&directory, &raw).unwrap();
    writer.entry("a").unwrap();
    let error = writer.rotate_data_key(Method::Sm4Ctr, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("key service TEST"), "{error}");
    writer.rotate_master_key(&master_key(1)).unwrap();
    writer.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
}

#[test]
fn each_dictionary_can_be_read_by_itself() {
    let directory = directory_with(&["a"]);
    let (keys, files) = (
        directory.path().join(KEY_DICT),
        directory.path().join(FILE_DICT),
    );
    let sealing = read_key_envelope(&keys).unwrap().sealing();
    assert_eq!(sealing.method.as_deref(), Some("aes256-gcm"));
    assert_eq!(read_key_dictionary(&keys, &master_key(1)).unwrap().len(), 1);
    let recovered = read_file_dictionary(&files, Reading::Tikv).unwrap();
    assert_eq!(
        (recovered.records, recovered.verdict),
        (1, Verdict::Complete)
    );
    let error = read_file_dictionary(&keys, Reading::Strict).unwrap_err();
    assert!(error.to_string().contains("key.dict: "), "{error}");
}

#[test]
fn a_missing_data_key_is_named() {
    let directory = directory_with(&[]);
    append(directory.path(), &record("a"));
    let error = read(&directory).file("a").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Data {
                source: Core::NotFound(_),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("no data key with id 1"),
        "{error}"
    );
}

#[test]
fn a_key_dictionary_of_a_terabyte_is_refused_for_its_length() {
    let directory = directory_with(&["a"]);
    let file = fs::File::options()
        .write(true)
        .open(directory.path().join(KEY_DICT));
    file.unwrap().set_len(1 << 40).unwrap();
    let error = Entries::open(&directory, &master_key(1)).unwrap_err();
    assert!(
        error.to_string().contains("1099511627776 bytes long"),
        "{error}"
    );
}
