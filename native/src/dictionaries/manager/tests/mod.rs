//! Entries and keys, as many threads see them; `files` is about whole files, `crash` about power failures.

mod crash;
mod files;

use std::thread;

use stillkey_core::{Method, Reading, RotationPolicy};
use tempfile::TempDir;

use super::commit::{Change, Request};
use super::*;
use crate::dictionaries::Dictionaries;
use crate::error::ErrorKind;
use crate::fsops::{Op, fault};
use crate::testing::master_key;

const NOW: u64 = 1_700_000_000;

fn manager() -> (TempDir, DataKeyManager) {
    let directory = tempfile::tempdir().unwrap();
    let writer =
        DictionaryWriter::create(&directory, &master_key(1), Method::Aes256Ctr, NOW).unwrap();
    (directory, DataKeyManager::new(writer).unwrap())
}

fn names(directory: &TempDir) -> Vec<String> {
    let read = Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap();
    let files = read.files().unwrap();
    files.iter().map(|(name, _)| name.to_owned()).collect()
}

fn request(name: &str, change: Change) -> Request {
    Request {
        name: name.into(),
        change,
    }
}

fn insert(name: &str) -> Request {
    request(name, Change::Insert(FileInfo::plaintext(1)))
}

fn link(source: &str, name: &str) -> Request {
    request(
        name,
        Change::Link {
            source: source.into(),
        },
    )
}

#[test]
fn each_change_of_a_batch_sees_those_before_it_and_all_are_one_write() {
    let (directory, manager) = manager();
    let batch = [
        insert("a"),
        link("a", "b"),
        request("a", Change::Remove),
        link("a", "c"),
        insert("d"),
        link("b", "d"),
    ];
    let outcomes = manager.commit(&batch).into_iter();
    let kinds: Vec<_> = outcomes
        .map(|outcome| outcome.err().map(|error| error.kind()))
        .collect();
    let expected = [None, None, None, Some(ErrorKind::NotFound), None, None];
    assert_eq!(kinds, expected, "d has an entry equal to b's");
    assert_eq!(names(&directory), ["b", "d"]);
    let commits = manager.commits();
    assert_eq!((commits.changes, commits.writes), (4, 1));
}

#[test]
fn what_is_so_already_is_not_written() {
    let (_directory, manager) = manager();
    manager.new_entry("a").unwrap();
    manager.link_entry("a", "b").unwrap();
    let before = manager.commits();
    manager.link_entry("a", "b").unwrap();
    assert_eq!(manager.remove_entry("c").unwrap(), None);
    assert_eq!(manager.commits(), before);
}

#[test]
fn a_change_that_cannot_be_done_fails_alone() {
    let (directory, manager) = manager();
    manager.new_entry("taken").unwrap();
    let long = "n".repeat(65_536);
    let batch = [insert("a"), insert(&long), link("a", "taken"), insert("b")];
    let outcomes = manager.commit(&batch);
    let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, true, false]);
    assert_eq!(names(&directory), ["a", "b", "taken"]);
}

#[test]
fn a_batch_that_does_not_get_durable_has_not_happened_for_anyone() {
    for op in [Op::Append, Op::Sync] {
        let (directory, manager) = manager();
        manager.new_entry("a").unwrap();
        fault::fail_next(op);
        let outcomes = manager.commit(&[insert("b"), request("a", Change::Remove), insert("c")]);
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Io, "{op:?}");
        }
        assert_eq!(names(&directory), ["a"]);
        assert!(manager.entry("a").is_ok() && manager.entry("b").is_err());
        manager.new_entry("d").unwrap();
        assert_eq!(names(&directory), ["a", "d"]);
    }
}

#[test]
fn wherever_the_disk_fails_what_was_acknowledged_stays_and_the_rest_has_not_happened() {
    for step in 0.. {
        let (directory, manager) = manager();
        manager.new_entry("a").unwrap();
        manager.new_entry("b").unwrap();
        let mut expected = vec!["a", "b"];
        fault::fail_from(step);
        if manager.new_entry("c").is_ok() {
            expected.push("c");
        }
        if manager.remove_entry("a").is_ok() {
            expected.remove(0);
        }
        if manager.link_entry("b", "d").is_ok() {
            expected.push("d");
        }
        let rotated = manager.rotate_data_key(Method::Sm4Ctr, NOW);
        let compacted = manager.compact();
        let reached = fault::heal();

        let seen = |name: &str| manager.entry(name).is_ok();
        assert!(expected.iter().all(|name| seen(name)), "{step}");
        manager.new_entry("e").unwrap();
        expected.push("e");
        assert_eq!(names(&directory), expected, "{step}");
        drop(manager);
        let again = DataKeyManager::open(&directory, &master_key(1)).unwrap();
        for name in expected {
            again.entry(name).unwrap();
        }
        if !reached {
            assert!(rotated.is_ok() && compacted.is_ok());
            assert!(step > 8, "the disk was asked for something");
            return;
        }
    }
}

#[test]
fn a_look_up_does_not_wait_for_the_disk() {
    let (_directory, manager) = manager();
    manager.new_entry("a").unwrap();
    let busy = held(&manager.log_file);
    thread::scope(|scope| {
        let waits = scope.spawn(|| manager.new_entry("b"));
        // Whether it waits for the disk already or not: this doesn't.
        assert!(manager.entry("a").is_ok());
        assert!(manager.entry("b").is_err(), "not durable yet");
        drop(busy);
        waits.join().unwrap().unwrap();
        assert!(manager.entry("b").is_ok());
    });
}

#[test]
fn the_key_handed_out_is_the_key_recorded_while_keys_and_master_keys_are_rotated() {
    const THREADS: usize = 16;
    let (directory, manager) = manager();
    let handed_out: Vec<_> = thread::scope(|scope| {
        let creating: Vec<_> = (0..THREADS)
            .map(|thread| {
                let manager = &manager;
                scope.spawn(move || {
                    let mut files = Vec::new();
                    for i in 0..30 {
                        let (name, renamed) = (format!("{thread}/{i}"), format!("r/{thread}/{i}"));
                        let key = manager.new_entry(&name).unwrap();
                        match i % 3 {
                            0 => files.push((name, key)),
                            1 => {
                                manager.link_entry(&name, &renamed).unwrap();
                                manager.remove_entry(&name).unwrap();
                                files.push((renamed, key));
                            }
                            _ => assert!(manager.remove_entry(&name).unwrap().is_some()),
                        }
                    }
                    files
                })
            })
            .collect();
        let rotating = scope.spawn(|| {
            for byte in 2..12 {
                manager.rotate_data_key(Method::Aes128Ctr, NOW).unwrap();
                manager.rotate_master_key(&master_key(byte)).unwrap();
                manager.compact().unwrap();
            }
        });
        rotating.join().unwrap();
        let creating = creating.into_iter();
        creating.flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(manager.len(), handed_out.len());
    drop(manager);
    let read = Dictionaries::read(&directory, &master_key(11), Reading::Strict).unwrap();
    assert_eq!(read.files().unwrap().len(), handed_out.len());
    for (name, key) in handed_out {
        let recorded = read.file(&name).unwrap();
        assert_eq!(recorded.info(), key.info(), "{name}");
        assert_eq!(recorded.data_key(), key.data_key(), "{name}");
    }
}

#[test]
fn a_data_key_is_rotated_when_it_is_due_and_not_before() {
    let (_directory, manager) = manager();
    let policy = RotationPolicy {
        method: Method::Aes256Ctr,
        ..RotationPolicy::default()
    };
    let first = manager.keys().current_key_id();
    assert_eq!(manager.rotate_if_due(&policy, NOW).unwrap(), None);
    let late = NOW + 7 * 24 * 3600;
    let reason = manager.rotate_if_due(&policy, late).unwrap();
    assert!(reason.is_some());
    assert_ne!(manager.keys().current_key_id(), first);
    assert_eq!(manager.rotate_if_due(&policy, late).unwrap(), None);
}
