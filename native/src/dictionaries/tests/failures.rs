//! Operations of the file system that fail: each in turn, and after each the directory must be readable and hold what was acknowledged.

use stillkey_core::{Cipher, DataKey};

use super::*;
use crate::fsops::{Op, fault};

/// What the directory holds for a reader that comes now, and for a writer after a crash.
fn seen(directory: &TempDir) -> Vec<String> {
    names(&read(directory))
}

#[test]
fn a_short_append_is_cut_off_at_once() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    let before = snapshot(directory.path());
    for len in [0, 1, 9, 20] {
        fault::shorten_next_append(len);
        assert_eq!(writer.new_entry("b").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(snapshot(directory.path()), before);
        assert!(writer.entry("b").is_err());
    }
    writer.new_entry("c").unwrap();
    assert_eq!(seen(&directory), ["a", "c"]);
    open_after(writer, &directory);
}

#[test]
fn a_log_that_cant_be_cut_off_takes_nothing_more_until_it_can() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    fault::shorten_next_append(20);
    for n in 0..3 {
        fault::fail_nth(Op::Truncate, n);
    }
    for _ in 0..3 {
        assert_eq!(writer.new_entry("b").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(seen(&directory), ["a"]);
        assert!(writer.entry("a").is_ok(), "reading goes on");
    }
    fault::heal();
    writer.new_entry("c").unwrap();
    assert_eq!(seen(&directory), ["a", "c"]);
    open_after(writer, &directory);
}

#[test]
fn after_a_failed_sync_the_file_is_written_anew() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    let path = directory.path().join(FILE_DICT);
    let inode = || crate::fsops::identity_at(&path).unwrap().unwrap().id;
    let before = inode();
    fault::fail_next(Op::Sync);
    assert_eq!(writer.new_entry("b").unwrap_err().kind(), ErrorKind::Io);
    assert_ne!(inode(), before, "the old descriptor can't be trusted");
    assert_eq!(seen(&directory), ["a"]);
    writer.new_entry("c").unwrap();
    assert_eq!(seen(&directory), ["a", "c"]);
    open_after(writer, &directory);
}

#[test]
fn wherever_the_disk_fails_what_was_acknowledged_stays_and_what_was_refused_is_gone_once_it_heals()
{
    for version in [Version::V1, Version::V2] {
        for step in 0.. {
            let directory = directory_with(&["a", "b"]);
            let writer = open(&directory).with_rewrite_threshold(0);
            writer.convert(version).unwrap();
            fault::fail_from(step);
            let inserted = writer.new_entry("c").is_ok();
            let removed = writer.remove_entry("a").is_ok();
            let rotated = writer.rotate_data_key(Method::Sm4Ctr, NOW);
            let reached = fault::heal();

            let mut expected = vec!["b", "d"];
            expected.extend((!removed).then_some("a"));
            expected.extend(inserted.then_some("c"));
            expected.sort_unstable();
            // A crash now: what was refused may be there or not.
            let crashed = seen(&directory);
            assert!(crashed.contains(&"b".to_owned()));
            assert!(!inserted || crashed.contains(&"c".to_owned()));
            // No crash: the writer goes on.
            let key = writer.new_entry("d").unwrap().info().key_id;
            assert_eq!(seen(&directory), expected, "{version:?}, step {step}");
            assert_eq!(writer.keys().len(), 1 + usize::from(rotated.is_ok()));
            assert!(rotated.map_or(true, |id| id == key));
            assert!(read(&directory).file("d").is_ok());
            open_after(writer, &directory);
            if !reached {
                assert!(step > 8);
                break;
            }
        }
    }
}

#[test]
fn a_failed_first_start_leaves_nothing_that_the_next_one_stumbles_over() {
    for step in 0.. {
        let directory = tempfile::tempdir().unwrap();
        fault::fail_from(step);
        let created = Entries::create(&directory, &master_key(1), Method::Sm4Ctr, NOW);
        let reached = fault::heal();
        assert!(created.is_ok() || reached);
        drop(created);
        let (key_dict, file_dict) = (
            directory.path().join(KEY_DICT),
            directory.path().join(FILE_DICT),
        );
        assert!(!key_dict.exists() || file_dict.exists());
        let writer = if key_dict.exists() {
            open(&directory)
        } else {
            create(&directory)
        };
        writer.new_entry("a").unwrap();
        open_after(writer, &directory);
        if !reached {
            assert!(step >= 8);
            break;
        }
    }
}

#[test]
fn the_key_dictionary_not_installed_takes_the_file_dictionary_with_it() {
    let directory = tempfile::tempdir().unwrap();
    fault::fail_nth(Op::Rename, 1);
    let created = Entries::create(&directory, &master_key(1), Method::Sm4Ctr, NOW);
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Io);
    fault::heal();
    assert_eq!(
        snapshot(directory.path()).into_keys().collect::<Vec<_>>(),
        [LOCK]
    );
}

#[test]
fn an_empty_file_dictionary_of_an_interrupted_first_start_is_taken_over() {
    let directory = directory_with(&[]);
    fs::remove_file(directory.path().join(KEY_DICT)).unwrap();
    create(&directory).new_entry("a").unwrap();
    assert_eq!(seen(&directory), ["a"]);
}

#[test]
fn a_failed_rotation_of_the_master_key_leaves_a_directory_that_the_writers_key_opens() {
    for step in 0..4 {
        let directory = directory_with(&["a"]);
        let writer = open(&directory);
        fault::fail_from(step);
        assert!(writer.rotate_master_key(&master_key(2)).is_err());
        fault::heal();
        let opens =
            |byte| Dictionaries::read(&directory, &master_key(byte), Reading::Strict).is_ok();
        assert!(opens(1) != opens(2), "under one of the two");
        writer.rotate_data_key(Method::Aes256Ctr, NOW).unwrap();
        assert!(
            opens(1),
            "the writer goes on with the key it knows to be durable"
        );
    }
}

#[test]
fn a_file_dictionary_replaced_by_another_program_is_not_appended_to() {
    for version in [Version::V1, Version::V2] {
        let directory = directory_with(&["a"]);
        let writer = open(&directory);
        writer.convert(version).unwrap();
        let path = directory.path().join(FILE_DICT);
        let theirs = directory.path().join("theirs");
        fs::copy(&path, &theirs).unwrap();
        fs::rename(&theirs, &path).unwrap();
        let before = snapshot(directory.path());
        for _ in 0..2 {
            let error = writer.new_entry("b").unwrap_err();
            assert!(matches!(error, Error::Suspended { .. }), "{error}");
            assert_eq!(snapshot(directory.path()), before);
        }
        drop(writer);
        open(&directory).new_entry("b").unwrap();
    }
}

#[test]
fn a_key_dictionary_replaced_by_another_program_is_not_overwritten() {
    let directory = directory_with(&["a"]);
    let writer = open(&directory);
    let path = directory.path().join(KEY_DICT);
    let theirs = directory.path().join("theirs");
    fs::copy(&path, &theirs).unwrap();
    fs::rename(&theirs, &path).unwrap();
    let before = snapshot(directory.path());
    let error = writer.rotate_data_key(Method::Sm4Ctr, NOW).unwrap_err();
    assert!(matches!(error, Error::Suspended { .. }), "{error}");
    let error = writer.rotate_master_key(&master_key(2)).unwrap_err();
    assert!(matches!(error, Error::Suspended { .. }), "{error}");
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn what_a_crashed_writer_left_is_made_durable_before_anything_builds_on_it() {
    let directory = directory_with(&["a"]);
    for op in [Op::Sync, Op::SyncDirectory] {
        fault::fail_next(op);
        let error = Entries::open(&directory, &master_key(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }
    open(&directory);
}

#[test]
fn a_compaction_that_could_not_begin_stops_no_change() {
    let directory = directory_with(&["a"]);
    let entries = open(&directory);
    for op in [Op::Write, Op::Sync, Op::Rename] {
        fault::fail_next(op);
        assert!(entries.compact().is_err());
        // No room for another whole file, but for a record.
        for n in 0..9 {
            fault::fail_nth(Op::Write, n);
        }
        entries.new_entry("b").unwrap();
        fault::heal();
        assert_eq!(seen(&directory), ["a", "b"]);
    }
}

#[test]
fn a_data_key_that_may_be_gone_from_the_disk_is_written_again_before_anybody_relies_on_it() {
    let directory = directory_with(&[]);
    let entries = open(&directory);
    let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16])).unwrap();
    let id = entries.import_key(&key, NOW).unwrap();
    for n in 0.. {
        // Whatever is done about the failure at once fails as well.
        fault::fail_nth(Op::SyncDirectory, n);
        fault::fail_nth(Op::SyncDirectory, n + 1);
        let failed = entries.retire_keys(0, NOW + 100).is_err();
        fault::heal();
        if !failed {
            assert!(n > 2);
            break;
        }
        assert_eq!(entries.import_key(&key, NOW).unwrap(), id);
        assert!(read(&directory).keys().get(id).is_ok(), "failure at {n}");
    }
}

#[test]
fn retired_keys_stay_under_the_master_key_of_the_directory_whatever_fails() {
    for n in 0..16 {
        let directory = directory_with(&[]);
        let entries = open(&directory);
        entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
        let put_aside = entries.retire_keys(0, NOW + 100).unwrap().retired;
        assert_eq!(put_aside.len(), 1);
        // Once, or with all that is tried about it.
        fault::fail_nth(Op::SyncDirectory, n / 2);
        if n % 2 == 1 {
            fault::fail_nth(Op::SyncDirectory, n / 2 + 1);
        }
        let rotated = entries.rotate_master_key(&master_key(2)).is_ok();
        fault::heal();
        // It has nothing to do, but may think that what was left of a rotation can go.
        let _ = entries.retire_keys(1_000_000, NOW + 101);
        drop(entries);
        let opens = |byte| Dictionaries::read(&directory, &master_key(byte), Reading::Strict);
        let byte = if opens(2).is_ok() { 2 } else { 1 };
        assert!(opens(byte).is_ok() && (byte == 2 || !rotated));
        let entries = Entries::open(&directory, &master_key(byte)).unwrap();
        let restored = entries.restore_keys().unwrap();
        assert_eq!(restored, put_aside, "{n}");
    }
}
