//! Repairs: what was damaged or interrupted is looked at without a change, and set right without a loss.

use std::fs;
use std::path::PathBuf;

use stillkey_core::FileInfo;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::fsops::fault;
use crate::testing::snapshot;
use crate::{Done, Finding, Repair};

/// Three files, the log of which is damaged in the record of the second one.
fn damaged() -> (tempfile::TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    let len = || {
        fs::metadata(directory.path().join("file.dict"))
            .unwrap()
            .len() as usize
    };
    write(&manager, "a", b"one");
    let start = len();
    write(&manager, "b", b"two");
    let end = len();
    write(&manager, "c", b"three");
    drop(manager);
    let path = directory.path().join("file.dict");
    let mut bytes = fs::read(&path).unwrap();
    bytes[end - 1] ^= 1;
    assert!(start < end);
    fs::write(&path, &bytes).unwrap();
    (directory, bytes)
}

fn look(directory: &tempfile::TempDir) -> Repair {
    Repair::look(directory, &master_key(1)).unwrap()
}

fn reopened(directory: &tempfile::TempDir) -> DataKeyManager {
    DataKeyManager::open(directory.path(), &master_key(1)).unwrap()
}

#[test]
fn behind_damage_every_whole_record_is_salvaged_and_the_old_log_kept() {
    let (directory, bytes) = damaged();
    let refused = DataKeyManager::open(directory.path(), &master_key(1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(refused.to_string().contains("stillkey repair"), "{refused}");

    let before = snapshot(directory.path());
    let repair = look(&directory);
    let [
        Finding::LostRecords(lost),
        Finding::FileWithoutEntry { path },
    ] = repair.findings()
    else {
        panic!("{:?}", repair.findings());
    };
    assert_eq!(lost.names, ["b"]);
    assert_eq!(path, &PathBuf::from("b"));
    let mut after = snapshot(directory.path());
    after.insert("stillkey.lock".into(), before["stillkey.lock"].clone());
    assert_eq!(after, before);

    repair.carry_out(false).unwrap();
    let kept = fs::read(directory.path().join("file.dict.before-repair")).unwrap();
    assert_eq!(kept, bytes);
    let manager = reopened(&directory);
    assert_eq!(read(&manager, "a"), b"one");
    assert_eq!(read(&manager, "c"), b"three");
    // Its content is still there, for whoever finds its entry in a backup.
    assert!(directory.path().join("b").exists());
}

#[test]
fn what_was_cut_off_of_what_had_been_synced_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"one");
    let path = directory.path().join("file.dict");
    let cut = fs::metadata(&path).unwrap().len();
    write(&manager, "b", b"two");
    let whole = fs::metadata(&path).unwrap().len();
    drop(manager);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(cut)
        .unwrap();
    let repair = look(&directory);
    let Some(Finding::LostRecords(lost)) = repair.findings().first() else {
        panic!("{:?}", repair.findings());
    };
    assert_eq!((lost.at, lost.len), (cut, whole - cut));
    repair.carry_out(false).unwrap();
    assert_eq!(read(&reopened(&directory), "a"), b"one");
}

#[test]
fn what_is_in_the_way_of_an_interrupted_replacement_is_moved_and_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let manager = new_store(directory.path());
    write(&manager, "a", b"old");
    let info = manager.entries().entry("a").unwrap().info().clone();
    let entries = manager.entries();
    entries
        .set_entry("a.stillkey-new", FileInfo::plaintext(1))
        .unwrap();
    entries.set_entry("a.stillkey-old", info).unwrap();
    fs::rename(path("a"), path("a.stillkey-old")).unwrap();
    fs::write(path("a"), b"another").unwrap();
    drop(manager);

    let repair = look(&directory);
    let name = "a".to_owned();
    assert_eq!(repair.findings(), [Finding::Unfinished { name }]);
    repair.carry_out(false).unwrap();
    assert_eq!(fs::read(path("lost+found/a")).unwrap(), b"another");
    assert_eq!(read(&reopened(&directory), "a"), b"old");
    assert_eq!(look(&directory).findings(), []);
}

#[test]
fn where_the_new_file_is_gone_the_old_one_is_back_with_its_own_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let manager = new_store(directory.path());
    write(&manager, "a", b"old");
    let entries = manager.entries();
    let old = entries.entry("a").unwrap().info().clone();
    let new = entries.new_entry("a.stillkey-new").unwrap().info().clone();
    entries.set_entry("a.stillkey-old", old).unwrap();
    entries.set_entry("a", new).unwrap();
    fs::rename(path("a"), path("a.stillkey-old")).unwrap();
    drop(manager);

    look(&directory).carry_out(false).unwrap();
    assert_eq!(read(&reopened(&directory), "a"), b"old");
    assert_eq!(look(&directory).findings(), []);
}

#[test]
fn entries_without_files_are_removed_and_those_of_files_elsewhere_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "here", b"content");
    manager.entries().new_entry("gone").unwrap();
    manager.entries().new_entry("/nowhere/1.sst").unwrap();
    let absolute = directory.path().join("gone as well");
    let absolute = absolute.to_str().unwrap();
    manager.entries().new_entry(absolute).unwrap();
    drop(manager);
    let before = fs::read(directory.path().join("file.dict")).unwrap();

    let done = look(&directory).carry_out(false).unwrap();
    let removed = |name: &str| done.contains(&Done::Removed { name: name.into() });
    assert!(removed("gone") && removed(absolute) && !removed("/nowhere/1.sst"));
    let kept = fs::read(directory.path().join("file.dict.before-repair")).unwrap();
    assert_eq!(kept, before);
    let manager = reopened(&directory);
    assert_eq!(manager.entries().len(), 2);
    assert_eq!(read(&manager, "here"), b"content");
    drop(manager);
    let name = "/nowhere/1.sst".to_owned();
    assert_eq!(
        look(&directory).findings(),
        [Finding::EntryElsewhere { name }]
    );
}

#[test]
fn files_without_an_entry_are_moved_only_when_asked_and_over_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let manager = new_store(directory.path());
    manager.create_directory("sub").unwrap();
    drop(manager);
    fs::write(path("sub/stray"), b"first").unwrap();
    assert_eq!(look(&directory).carry_out(false).unwrap(), []);
    assert!(path("sub/stray").exists());

    look(&directory).carry_out(true).unwrap();
    assert!(!path("sub/stray").exists());
    fs::write(path("sub/stray"), b"second").unwrap();
    look(&directory).carry_out(true).unwrap();
    assert_eq!(fs::read(path("lost+found/sub/stray")).unwrap(), b"first");
    assert_eq!(fs::read(path("lost+found/sub/stray-2")).unwrap(), b"second");
    assert_eq!(look(&directory).findings(), []);
}

#[test]
fn a_link_or_a_pipe_in_the_directory_stops_no_repair() {
    let (directory, _) = damaged();
    std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
    look(&directory).carry_out(true).unwrap();
    assert_eq!(read(&reopened(&directory), "c"), b"three");
}

#[test]
fn a_repair_that_is_interrupted_anywhere_is_finished_by_the_next_one() {
    for step in 0.. {
        let (directory, bytes) = damaged();
        fs::remove_file(directory.path().join("c")).unwrap();
        let repair = look(&directory);
        fault::fail_from(step);
        let failed = repair.carry_out(true);
        let interrupted = fault::heal();
        assert!(interrupted || failed.is_ok(), "{step}: {failed:?}");
        // Whenever it was, the old log is there, as it was or under its other name.
        let kept = fs::read(directory.path().join("file.dict.before-repair"));
        let now = fs::read(directory.path().join("file.dict")).unwrap();
        assert!(
            now == bytes || kept.is_ok_and(|kept| kept == bytes),
            "{step}"
        );
        look(&directory).carry_out(true).unwrap();
        assert_eq!(look(&directory).findings(), [], "{step}");
        let manager = reopened(&directory);
        assert_eq!(read(&manager, "a"), b"one");
        assert_eq!(manager.entries().len(), 1);
        assert!(directory.path().join("lost+found/b").exists());
        if !interrupted {
            break;
        }
    }
}

#[test]
fn no_other_writer_gets_in_between_looking_and_repairing() {
    let (directory, _) = damaged();
    let repair = look(&directory);
    let second = Repair::look(&directory, &master_key(1)).unwrap_err();
    assert!(matches!(second, Error::Locked { .. }), "{second}");
    drop(repair);
}
