//! Files that are replaced and encrypted again: by several threads, beside writers, after failures.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use stillkey_core::{FileInfo, Method};

use super::super::*;
use super::{new_store, read, write};
use crate::error::ErrorKind;
use crate::fsops::fault;
use crate::testing::master_key;

fn overwrite(manager: &DataKeyManager, path: &str, content: &[u8]) {
    let writer = manager.open_file_writable(path).unwrap();
    writer.file().write_all_at(content, 0).unwrap();
    writer.file().sync().unwrap();
}

fn once(mut action: impl FnMut()) -> impl FnMut(u64) -> bool {
    let mut is_first = true;
    move |_| {
        if std::mem::take(&mut is_first) {
            action();
        }
        true
    }
}

#[test]
fn a_refused_second_rekey_hides_no_writer_from_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 1000]);
    let rekeyed = manager.rekey_file(
        "a",
        once(|| {
            overwrite(&manager, "a", &[2; 1000]);
            let second = manager.rekey_file("a", |_| true).unwrap_err();
            assert_eq!(second.kind(), ErrorKind::Locked, "{second}");
        }),
    );
    assert_eq!(rekeyed.unwrap(), None);
    assert!(read(&manager, "a") == [2; 1000]);
}

#[test]
fn a_rekey_of_one_link_hides_no_writer_from_that_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 1000]);
    manager.link_file("a", "b").unwrap();
    let rekeyed = manager.rekey_file(
        "a",
        once(|| {
            assert_eq!(manager.rekey_file("b", |_| true).unwrap(), Some(1000));
            overwrite(&manager, "a", &[2; 1000]);
        }),
    );
    assert_eq!(rekeyed.unwrap(), None);
    assert!(read(&manager, "a") == [2; 1000]);
    assert!(read(&manager, "b") == [1; 1000]);
}

#[test]
fn two_threads_that_rekey_all_lose_no_write_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &vec![1; 1 << 20]);
    manager
        .entries()
        .rotate_data_key(Method::Aes256Ctr, 2)
        .unwrap();
    let barrier = Barrier::new(2);
    let rekey = |progress: &mut dyn FnMut(&RekeyProgress)| {
        let selection = RekeySelection::default();
        let report = manager.rekey(&selection, None, |now| {
            progress(now);
            ControlFlow::Continue(())
        });
        report.unwrap()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_first = true;
            let report = rekey(&mut |now| {
                if now.bytes_done > 0 && std::mem::take(&mut is_first) {
                    barrier.wait();
                    barrier.wait();
                }
            });
            assert_eq!(report.busy, ["a"]);
        });
        scope.spawn(|| {
            barrier.wait();
            overwrite(&manager, "a", &[2; 1000]);
            rekey(&mut |_| {});
            barrier.wait();
        });
    });
    assert!(read(&manager, "a")[..1000] == [2; 1000]);
}

#[test]
fn a_writer_keeps_the_directory_locked_when_its_manager_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 1000]);
    let writer = manager.open_file_writable("a").unwrap();
    drop(manager);
    let refused = DataKeyManager::open(directory.path(), &master_key(1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
    writer.file().write_all_at(&[2; 1000], 0).unwrap();
    drop(writer);
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), Some(1000));
    assert!(read(&manager, "a") == [2; 1000]);
}

struct Unreadable;

impl io::Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn a_failed_replacement_of_an_untracked_file_is_finished_or_undone_before_the_next() {
    for step in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let manager = new_store(directory.path()).with_untracked(Untracked::Plaintext);
        fs::write(directory.path().join("a"), b"untracked").unwrap();
        fault::fail_from(step);
        let _ = manager.write_file("a", &mut &b"new"[..], true);
        let failed = fault::heal();
        manager.write_file("a", &mut Unreadable, true).unwrap_err();
        let found = read(&manager, "a");
        assert!(
            found == b"untracked" || found == b"new",
            "{step}: {found:?}"
        );
        if !failed {
            break;
        }
    }
}

#[test]
fn a_panic_in_the_progress_of_a_rekey_leaves_nothing_in_the_way_of_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"content");
    let rekey = || manager.rekey_file("a", |_| panic!("progress"));
    catch_unwind(AssertUnwindSafe(rekey)).unwrap_err();
    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), Some(7));
    assert_eq!(read(&manager, "a"), b"content");
    assert_eq!(manager.entries().len(), 1);
}

#[test]
fn a_deleted_file_does_not_come_back_with_what_a_failed_replacement_has_left() {
    for step in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let manager = new_store(directory.path());
        write(&manager, "a", b"old");
        fault::fail_from(step);
        let _ = manager.write_file("a", &mut &b"new"[..], true);
        let failed = fault::heal();
        manager.delete_file("a").unwrap();
        drop(manager);
        let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
        assert_eq!(manager.mismatches().unwrap(), Mismatches::default());
        assert!(manager.entries().is_empty(), "{step}");
        if !failed {
            break;
        }
    }
}

#[test]
fn where_old_and_new_are_both_there_neither_is_removed_and_the_rest_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"old");
    let info = manager.entries().entry("a").unwrap().info().clone();
    drop(manager);
    // A replacement had moved the file aside when it was interrupted; then somebody put another one there.
    let path = |name: &str| directory.path().join(name);
    let entries = crate::Entries::open(directory.path(), &master_key(1)).unwrap();
    entries
        .set_entry("a.stillkey-new", FileInfo::plaintext(1))
        .unwrap();
    entries.set_entry("a.stillkey-old", info).unwrap();
    fs::rename(path("a"), path("a.stillkey-old")).unwrap();
    fs::write(path("a"), b"another").unwrap();
    drop(entries);

    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    for refused in [
        manager.delete_file("a"),
        manager.write_file("a", &mut &b"new"[..], true).map(drop),
        manager.rekey_file("a", |_| true).map(drop),
        manager.create_file("a").map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    }
    write(&manager, "b", b"beside");
    assert_eq!(fs::read(path("a")).unwrap(), b"another");
    fs::rename(path("a"), path("moved away")).unwrap();
    assert_eq!(read(&manager, "a"), b"old");
    assert!(!path("a.stillkey-old").exists());
}

#[test]
fn rekey_tells_a_lost_data_key_from_a_missing_file() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"content");
    let info = manager.entries().entry("a").unwrap().info().clone();
    manager
        .entries()
        .rotate_data_key(Method::Aes256Ctr, 2)
        .unwrap();
    drop(manager);
    let backup = fs::read(directory.path().join("file.dict")).unwrap();
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    manager.entries().remove_entry("a").unwrap();
    let retired = manager.entries().retire_keys(10, 100).unwrap().retired;
    assert_eq!(retired, [info.key_id]);
    drop(manager);
    // Back from a backup, but not the key that it needs.
    fs::write(directory.path().join("file.dict"), backup).unwrap();
    for side_file in ["file.synced", "retired.dict"] {
        fs::remove_file(directory.path().join(side_file)).unwrap();
    }
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    let selection = RekeySelection::default();
    let report = manager.rekey(&selection, None, |_| ControlFlow::Continue(()));
    let report = report.unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    assert_eq!(report.failed.len(), 1);
}
