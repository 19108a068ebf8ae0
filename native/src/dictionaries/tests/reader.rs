//! Files that are opened without a lock, next to a writer that replaces, renames and removes them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use stillkey_core::{Method, Reading, Version};
use tempfile::TempDir;

use super::super::{DataKeyManager, Dictionaries, FILE_DICT, FILE_SYNCED, Names};
use super::{NOW, create, read};
use crate::error::{Error, ErrorKind};
use crate::fsops::fault;
use crate::testing::master_key;
use crate::{EncryptedReader, FileKey, Native};

fn store(directory: &TempDir) -> DataKeyManager {
    drop(create(directory));
    reopened(directory)
}

fn reopened(directory: &TempDir) -> DataKeyManager {
    DataKeyManager::open(directory, &master_key(1)).unwrap()
}

fn put(store: &DataKeyManager, name: &str, content: &str) {
    store
        .write_file(name, &mut content.as_bytes(), true)
        .unwrap();
}

fn content(opened: (File, FileKey)) -> String {
    let (file, key) = opened;
    let mut content = Vec::new();
    EncryptedReader::new(file, key.stream(&Native::detect()))
        .read_to_end(&mut content)
        .unwrap();
    String::from_utf8_lossy(&content).into_owned()
}

#[track_caller]
fn expect(dictionaries: &mut Dictionaries, name: &str, expected: &str) {
    assert_eq!(content(dictionaries.open_file(name).unwrap()), expected);
}

fn kind<T: std::fmt::Debug>(opened: Result<T, Error>) -> ErrorKind {
    opened.unwrap_err().kind()
}

#[test]
fn a_file_is_read_as_it_is_now_however_old_the_dictionaries_are() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "one");
    let mut dictionaries = read(&directory);
    let earlier = dictionaries.open_file("a").unwrap();

    put(&store, "a", "two");
    expect(&mut dictionaries, "a", "two");
    store
        .entries()
        .rotate_data_key(Method::Sm4Ctr, NOW)
        .unwrap();
    store.rekey_file("a", |_| true).unwrap().unwrap();
    expect(&mut dictionaries, "a", "two");
    put(&store, "b", "under a key that is newer than what was read");
    store.entries().compact().unwrap();
    expect(
        &mut dictionaries,
        "b",
        "under a key that is newer than what was read",
    );
    store.rename_file("b", "c").unwrap();
    assert_eq!(kind(dictionaries.open_file("b")), ErrorKind::NotFound);
    expect(
        &mut dictionaries,
        "c",
        "under a key that is newer than what was read",
    );
    store.entries().convert(Version::V1).unwrap();
    put(&store, "c", "three");
    expect(&mut dictionaries, "c", "three");
    assert_eq!(content(earlier), "one");
}

#[test]
fn a_name_that_had_another_life_meanwhile_gives_the_file_of_its_last() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "first life");
    let mut dictionaries = read(&directory);
    store.rename_file("a", "aside").unwrap();
    put(&store, "a", "second life");
    expect(&mut dictionaries, "a", "second life");
    store.delete_file("a").unwrap();
    store.rename_file("aside", "a").unwrap();
    expect(&mut dictionaries, "a", "first life");
    assert_eq!(kind(dictionaries.open_file("aside")), ErrorKind::NotFound);
}

/// Stops `change` before each of its operations, and expects a reader at that moment to find one of `contents`.
fn at_every_step(change: impl Fn(&DataKeyManager) -> Result<(), Error>, contents: [&str; 2]) {
    let (mut seen, mut stopped) = ([false; 2], 0);
    loop {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        put(&store, "a", contents[0]);
        let mut before = read(&directory);
        fault::fail_from(stopped);
        let changed = change(&store);
        fault::heal();
        for dictionaries in [&mut before, &mut read(&directory)] {
            let found = content(dictionaries.open_file("a").unwrap());
            let which = contents.iter().position(|content| *content == found);
            seen[which.unwrap_or_else(|| panic!("step {stopped}: {found:?}"))] = true;
        }
        drop(store);
        drop(reopened(&directory));
        expect(
            &mut before,
            "a",
            &content(read(&directory).open_file("a").unwrap()),
        );
        if changed.is_ok() {
            assert!(stopped > 10 && seen.iter().all(|seen| *seen));
            return;
        }
        stopped += 1;
    }
}

#[test]
fn a_file_is_whole_at_every_step_of_its_replacement() {
    let replace = |store: &DataKeyManager| {
        let written = store.write_file("a", &mut &b"new content"[..], true);
        written.map(drop)
    };
    at_every_step(replace, ["old content", "new content"]);
}

#[test]
fn a_file_is_whole_at_every_step_of_its_reencryption() {
    let rekey = |store: &DataKeyManager| store.rekey_file("a", |_| true).map(drop);
    let twice = |store: &DataKeyManager| {
        rekey(store)?;
        store.write_file("a", &mut &b"new"[..], true).map(drop)
    };
    at_every_step(twice, ["old", "new"]);
}

#[test]
fn a_file_is_whole_at_every_step_when_its_entry_is_spelled_as_tikv_does() {
    let mut stopped = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let name = path.to_str().unwrap();
        let store = store(&directory).with_names(Names::AsGiven);
        put(&store, name, "old");
        let store = store.with_names(Names::Relative);
        fault::fail_from(stopped);
        let changed = store.write_file("a", &mut &b"new"[..], true);
        fault::heal();
        let found = content(read(&directory).open_file(name).unwrap());
        assert!(["old", "new"].contains(&&*found), "step {stopped}: {found}");
        if changed.is_ok() {
            assert_eq!(found, "new");
            return;
        }
        stopped += 1;
    }
}

#[test]
fn an_entry_without_a_file_is_told_from_a_name_without_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "text");
    fs::remove_file(directory.path().join("a")).unwrap();
    let mut dictionaries = read(&directory);
    let error = dictionaries.open_file("a").unwrap_err();
    assert!(matches!(&error, Error::NoFile { name, .. } if name == "a"));
    assert!(error.to_string().contains("stillkey verify"), "{error}");
    let error = dictionaries.open_file("b").unwrap_err();
    assert!(error.to_string().contains("no entry \"b\""), "{error}");
    let elsewhere = dictionaries.open_file_at("a", directory.path().join("nowhere"));
    assert!(matches!(elsewhere, Err(Error::Io { .. })));
}

#[test]
fn records_in_the_place_of_an_append_that_was_cut_off_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "one");
    let log = directory.path().join(FILE_DICT);
    let before = fs::read(&log).unwrap();
    put(&store, "b", "two");
    let mut dictionaries = read(&directory);
    let appended = fs::read(&log).unwrap();
    let length = appended.len();
    drop(store);
    // As if the append had never been synced.
    fs::remove_file(directory.path().join(FILE_SYNCED)).unwrap();
    fs::write(&log, before).unwrap();
    // As long as what it replaces.
    let store = reopened(&directory);
    fs::remove_file(directory.path().join("b")).unwrap();
    put(&store, "c", "two");
    assert_eq!(fs::read(&log).unwrap().len(), length);
    assert_ne!(fs::read(&log).unwrap(), appended);
    expect(&mut dictionaries, "c", "two");
    assert_eq!(kind(dictionaries.open_file("b")), ErrorKind::NotFound);
}

#[test]
fn a_torn_append_is_read_once_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "one");
    let log = directory.path().join(FILE_DICT);
    let mut dictionaries = read(&directory);
    let before = fs::read(&log).unwrap();
    put(&store, "b", "two");
    let after = fs::read(&log).unwrap();
    assert!(after.starts_with(&before), "appended to, not replaced");
    drop(store);
    // The same file, as a writer in the middle of its append leaves it, which isn't synced by then.
    fs::remove_file(directory.path().join(FILE_SYNCED)).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    for end in before.len()..after.len() {
        file.set_len(before.len() as u64).unwrap();
        file.write_all_at(&after[before.len()..end], before.len() as u64)
            .unwrap();
        expect(&mut dictionaries, "a", "one");
    }
    file.write_all_at(&after, 0).unwrap();
    expect(&mut dictionaries, "b", "two");
}

#[test]
fn a_log_that_was_damaged_since_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "one");
    let mut dictionaries = read(&directory);
    let log = directory.path().join(FILE_DICT);
    let mut bytes = fs::read(&log).unwrap();
    put(&store, "a", "two");
    bytes.extend([7; 200]);
    bytes.extend(super::record("z"));
    fs::write(&log, bytes).unwrap();
    assert_eq!(kind(dictionaries.open_file("a")), ErrorKind::Damaged);
    assert_eq!(kind(dictionaries.open_file("a")), ErrorKind::Damaged);
}

#[test]
fn pipes_and_directories_in_place_of_files_are_refused_without_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "one");
    fs::remove_file(directory.path().join("a")).unwrap();
    fs::create_dir(directory.path().join("a")).unwrap();
    let opened = read(&directory).open_file("a");
    assert!(matches!(opened, Err(Error::NotAFile { .. })), "{opened:?}");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(Path::new("/dev/null"), &link).unwrap();
    let opened = read(&directory).open_file_at("a", link);
    assert!(matches!(opened, Err(Error::NotAFile { .. })), "{opened:?}");
}

/// One thread writes, two read, for as long as the writer takes.
#[test]
fn readers_beside_a_writer_get_what_was_once_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    put(&store, "a", "content 0");
    let mut dictionaries =
        [(); 2].map(|()| Dictionaries::read(&directory, &master_key(1), Reading::Strict).unwrap());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..60 {
                put(&store, "a", &format!("content {round}"));
                if round % 7 == 0 {
                    store.entries().compact().unwrap();
                }
            }
            is_done.store(true, Ordering::Release);
        });
        for dictionaries in &mut dictionaries {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let found = content(dictionaries.open_file("a").unwrap());
                    assert!(found.starts_with("content "), "{found:?}");
                }
                expect(dictionaries, "a", "content 59");
            });
        }
    });
}
