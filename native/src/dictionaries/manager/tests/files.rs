//! Whole files: what their users see, and what stands on the disk after a failure.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use stillkey_core::{Cipher, DataKey, FileInfo, Iv, Method, Reading, SecretBytes};

use super::super::*;
use super::{NOW, new_store};
use crate::dictionaries::Dictionaries;
use crate::error::ErrorKind;
use crate::fsops::fault;
use crate::testing::{Xorshift, master_key};
use crate::{EncryptedReader, Native};

fn content(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let dictionaries = Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap();
    let stream = dictionaries.file(name).ok()?.stream(&Native::detect());
    let mut content = Vec::new();
    EncryptedReader::new(File::open(directory.join(name)).ok()?, stream)
        .read_to_end(&mut content)
        .unwrap();
    Some(content)
}

#[test]
fn files_are_put_renamed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    assert_eq!(store.write_file("a/b", &mut &b"one"[..], false).unwrap(), 3);
    assert_eq!(content(directory.path(), "a/b").unwrap(), b"one");
    assert_eq!(
        store
            .write_file("a/b", &mut &b"two"[..], false)
            .unwrap_err()
            .kind(),
        ErrorKind::AlreadyExists
    );
    store.write_file("a/b", &mut &b"two"[..], true).unwrap();
    store.rename_file("a/b", "c").unwrap();
    assert_eq!(
        (
            content(directory.path(), "a/b"),
            content(directory.path(), "c").unwrap()
        ),
        (None, b"two".to_vec())
    );
    store.delete_file("c").unwrap();
    assert!(store.entries().is_empty());
    assert_eq!(
        store.delete_file("c").unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

/// Writes a file through the manager, and has it on the disk.
fn write(manager: &DataKeyManager, path: &str, content: &[u8]) {
    let created = manager.create_file(path).unwrap();
    let file = created.file();
    file.write_all_at(content, 0).unwrap();
    file.sync().unwrap();
}

fn read(manager: &DataKeyManager, path: impl AsRef<Path>) -> Result<Vec<u8>, ErrorKind> {
    let opened = manager.open_file(path).map_err(|error| error.kind())?;
    let file = opened.file();
    let mut content = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut content, 0).unwrap();
    Ok(content)
}

#[test]
fn files_are_made_linked_renamed_and_deleted_with_their_entries() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"content of a");
    assert_ne!(
        fs::read(directory.path().join("a")).unwrap(),
        b"content of a"
    );
    manager.link_file("a", "b").unwrap();
    manager.rename_file("a", "c").unwrap();
    assert_eq!(read(&manager, "a"), Err(ErrorKind::NotFound));
    for name in ["b", "c"] {
        assert_eq!(read(&manager, name).unwrap(), b"content of a");
    }
    manager.delete_file("b").unwrap();
    assert_eq!(
        manager.delete_file("b").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    drop(manager);
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    assert_eq!(
        (manager.entries().len(), read(&manager, "c").unwrap()),
        (1, b"content of a".to_vec())
    );
}

#[test]
fn a_file_made_anew_has_another_key_stream_and_leaves_a_link_to_the_old_one_alone() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"content");
    manager.link_file("a", "b").unwrap();
    let first = fs::read(directory.path().join("a")).unwrap();
    assert_eq!(
        manager.create_new_file("a").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    write(&manager, "a", b"content");
    assert_ne!(fs::read(directory.path().join("a")).unwrap(), first);
    assert_eq!(read(&manager, "b").unwrap(), b"content");
}

#[test]
fn nothing_is_renamed_or_linked_over_a_file_whether_it_has_an_entry_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", b"a");
    write(&manager, "tracked", b"b");
    fs::write(directory.path().join("untracked"), b"c").unwrap();
    let before = crate::testing::snapshot(directory.path());
    for to in ["tracked", "untracked"] {
        assert_eq!(
            manager.rename_file("a", to).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            manager.link_file("a", to).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    }
    assert_eq!(
        manager.rename_file("untracked", "d").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(crate::testing::snapshot(directory.path()), before);
}

#[test]
fn an_entry_whose_file_is_gone_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path()).with_untracked(Untracked::Plaintext);
    write(&manager, "a", b"a");
    manager.entries().new_entry("stale").unwrap();
    manager.entries().new_entry("stale too").unwrap();
    manager.rename_file("a", "stale").unwrap();
    assert_eq!(read(&manager, "stale").unwrap(), b"a");
    // What was plaintext must not be taken for encrypted afterwards.
    fs::write(directory.path().join("plain"), b"plain").unwrap();
    manager.rename_file("plain", "stale too").unwrap();
    assert_eq!(read(&manager, "stale too").unwrap(), b"plain");
}

#[test]
fn a_file_without_an_entry_is_refused_unless_it_may_be_plaintext() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    fs::write(directory.path().join("plain"), b"plain").unwrap();
    assert_eq!(read(&manager, "plain"), Err(ErrorKind::NotFound));
    assert_eq!(
        manager.open_file_writable("plain").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        manager.delete_file("plain").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let manager = manager.with_untracked(Untracked::Plaintext);
    assert_eq!(read(&manager, "plain").unwrap(), b"plain");
    manager.delete_file("plain").unwrap();
    assert!(!directory.path().join("plain").exists());
}

#[test]
fn a_directory_that_is_moved_keeps_its_files_readable() {
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (place.path().join("here"), place.path().join("there"));
    let manager = new_store(&here);
    fs::create_dir(here.join("db")).unwrap();
    write(&manager, "db/1.sst", b"one");
    // However the path is spelled.
    assert_eq!(read(&manager, here.join("db/./1.sst")).unwrap(), b"one");
    drop(manager);
    fs::rename(&here, &there).unwrap();
    let manager = DataKeyManager::open(&there, &master_key(1)).unwrap();
    assert_eq!(read(&manager, "db/1.sst").unwrap(), b"one");
    assert_eq!(read(&manager, there.join("db//1.sst")).unwrap(), b"one");
}

#[test]
fn names_of_either_kind_are_found_and_changed() {
    let directory = tempfile::tempdir().unwrap();
    let absolute = |name: &str| directory.path().join(name);
    let name = |name: &str| absolute(name).to_str().unwrap().to_owned();
    let manager = new_store(directory.path()).with_names(Names::AsGiven);
    write(&manager, &name("a"), b"a");
    write(&manager, &name("b"), b"b");
    assert!(manager.entries().entry(&name("a")).is_ok());
    let manager = manager.with_names(Names::Relative);
    assert_eq!(read(&manager, "a").unwrap(), b"a");
    manager.rename_file("a", "c").unwrap();
    write(&manager, "b", b"anew");
    assert_eq!(read(&manager, absolute("b")).unwrap(), b"anew");
    manager.delete_file("b").unwrap();
    assert_eq!(
        manager.entries().len(),
        1,
        "neither the old name nor the new one comes to light"
    );
    let manager = manager.with_names(Names::AsGiven);
    assert_eq!(read(&manager, absolute("c")).unwrap(), b"a");
}

#[test]
fn directories_are_renamed_and_deleted_with_all_entries_below_them() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    fs::create_dir_all(directory.path().join("d/e")).unwrap();
    for name in ["d/1", "d/e/2", "d2", "da"] {
        write(&manager, name, name.as_bytes());
    }
    manager.entries().new_entry("d/without a file").unwrap();
    manager.rename_directory("d", "f").unwrap();
    assert_eq!(read(&manager, "f/e/2").unwrap(), b"d/e/2");
    assert_eq!(
        manager.rename_directory("f", "d2").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    std::os::unix::fs::symlink("2", directory.path().join("f/e/link")).unwrap();
    assert!(matches!(
        manager.delete_directory("f"),
        Err(Error::NotAFile { .. })
    ));
    assert_eq!(
        read(&manager, "f/1").unwrap(),
        b"d/1",
        "nothing was removed"
    );
    fs::remove_file(directory.path().join("f/e/link")).unwrap();
    manager.delete_directory("f").unwrap();
    assert!(!directory.path().join("f").exists());
    let read = Dictionaries::read(directory.path(), &master_key(1), Reading::Strict).unwrap();
    let names: Vec<_> = read
        .files()
        .unwrap()
        .iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(names, ["d2", "da"]);
}

#[test]
fn files_with_one_foreign_key_share_one_id() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16])).unwrap();
    let other = DataKey::new(Cipher::Aes128, SecretBytes::new(vec![7; 16])).unwrap();
    let current = manager.entries().keys().current_key_id();
    let ids: Vec<_> = [&key, &key, &other]
        .map(|key| manager.entries().import_key(key, 1).unwrap())
        .into();
    assert!(ids[0] == ids[1] && ids[0] != ids[2]);
    assert_eq!(
        (
            manager.entries().keys().len(),
            manager.entries().keys().current_key_id()
        ),
        (3, current)
    );
    for number in 0..2 {
        let iv = Iv::new([number; 16]);
        let mut bytes = format!("file {number}").into_bytes();
        stillkey_core::CtrStream::new(&key, iv)
            .apply_at(0, &mut bytes)
            .unwrap();
        let source = directory.path().join("received");
        fs::write(&source, &bytes).unwrap();
        let info = FileInfo::encrypted(ids[0], iv, Method::Sm4Ctr);
        manager
            .import_file(&source, format!("{number}"), info.clone())
            .unwrap();
        fs::write(&source, &bytes).unwrap();
        let again = manager
            .import_file(&source, format!("{number}"), info)
            .unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    }
    drop(manager);
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    assert_eq!(read(&manager, "1").unwrap(), b"file 1");
}

#[test]
fn a_rekeyed_file_has_the_same_content_and_permissions_under_the_current_key() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    let content: Vec<u8> = (0..700_000_u32).map(|i| i as u8).collect();
    write(&manager, "a", &content);
    let path = directory.path().join("a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let current = manager
        .entries()
        .rotate_data_key(Method::Sm4Ctr, 2)
        .unwrap();
    let reader = manager.open_file("a").unwrap();
    let mut told = 0;
    let rekeyed = manager.rekey_file("a", |bytes| {
        told += bytes;
        true
    });
    assert_eq!((rekeyed.unwrap(), told), (Some(700_000), 700_000));
    assert_eq!(manager.entries().entry("a").unwrap().info().key_id, current);
    assert_eq!(read(&manager, "a").unwrap(), content);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    let mut still = vec![0; 700_000];
    reader.file().read_exact_at(&mut still, 0).unwrap();
    assert_eq!(still, content, "who had it open reads on");
    assert_eq!(manager.entries().len(), 1);
}

#[test]
fn a_file_that_is_being_written_is_not_rekeyed() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 1000]);
    let before = manager.entries().entry("a").unwrap().info().clone();
    let unchanged = || {
        assert_eq!(manager.entries().entry("a").unwrap().info(), &before);
        assert_eq!(manager.entries().len(), 1);
    };
    let writer = manager.open_file_writable("a").unwrap();
    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), None);
    unchanged();
    drop(writer);
    // A writer that comes and goes meanwhile counts as well, and so does one that the manager knows nothing of.
    let opened = manager.rekey_file("a", |_| manager.open_file_writable("a").is_ok());
    assert_eq!(opened.unwrap(), None);
    unchanged();
    let path = directory.path().join("a");
    let grown = manager.rekey_file("a", |_| {
        let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut &file, b"more").is_ok()
    });
    assert_eq!(grown.unwrap(), None);
    unchanged();
    assert_eq!(manager.rekey_file("a", |_| false).unwrap(), None, "stopped");
    unchanged();
    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), Some(1004));
}

#[test]
#[cfg(feature = "tokio")]
fn a_write_that_outlives_its_writer_still_keeps_the_file_from_being_rekeyed() {
    use crate::AsyncEncryptedFile;
    use tokio::io::AsyncWriteExt;
    use tokio::task::spawn_blocking;

    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 1000]);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    // The thread for blocking work is held up, so that the write stays begun.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let _holding = spawn_blocking(move || held.recv());
        let writer = manager.open_file_writable("a").unwrap();
        let mut writer = AsyncEncryptedFile::new(writer);
        writer.write_all(&[2; 1500]).await.unwrap();
        drop(writer);
        assert_eq!(manager.rekey_file("a", |_| true).unwrap(), None);
        drop(hold);
        spawn_blocking(|| ()).await.unwrap();
    });
    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), Some(1500));
    let mut content = [0; 1500];
    let file = manager.open_file("a").unwrap();
    file.file().read_exact_at(&mut content, 0).unwrap();
    assert_eq!(content, [2; 1500]);
}

#[test]
fn a_throttled_run_hears_while_it_waits_that_it_is_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "a", &[1; 100_000]);
    let entries = manager.entries();
    entries.rotate_data_key(Method::Aes256Ctr, 100).unwrap();
    // At a byte a second, what has been done by the first call is worth a day of waiting.
    let mut heard = 0;
    let report = manager.rekey(&RekeySelection::default(), Some(1), |progress| {
        heard += usize::from(progress.bytes_done > 0);
        match heard {
            3.. => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    let report = report.unwrap();
    assert_eq!((report.rekeyed, report.stopped), (0, true));
    assert_eq!(read(&manager, "a").unwrap(), [1; 100_000]);
}

#[test]
fn files_with_old_keys_are_rekeyed_and_a_stopped_run_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    for number in 0..5 {
        write(&manager, &format!("old {number}"), &[number; 1000]);
    }
    manager.entries().new_entry("missing").unwrap();
    let current = manager
        .entries()
        .rotate_data_key(Method::Aes256Ctr, 100)
        .unwrap();
    write(&manager, "new", b"new");
    let writer = manager.open_file_writable("old 1").unwrap();
    let all = RekeySelection::default();
    let older = RekeySelection {
        made_before: Some(1),
        ..all
    };
    let nothing = manager
        .rekey(&older, None, |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!((nothing.rekeyed, nothing.missing.len()), (0, 0));

    let stopped = manager.rekey(&all, None, |progress| match progress.files_done {
        2.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let stopped = stopped.unwrap();
    assert_eq!(
        (stopped.rekeyed, stopped.stopped, stopped.bytes),
        (1, true, 1000)
    );
    let mut last = RekeyProgress::default();
    let rest = manager.rekey(&all, Some(1 << 40), |progress| {
        last = progress.clone();
        ControlFlow::Continue(())
    });
    let rest = rest.unwrap();
    assert_eq!((rest.rekeyed, rest.stopped), (3, false));
    assert_eq!(
        (rest.busy, rest.missing),
        (vec!["old 1".to_owned()], vec!["missing".to_owned()])
    );
    assert!(rest.failed.is_empty());
    assert_eq!((last.files, last.files_done), (4, 4));
    assert_eq!((last.bytes, last.bytes_done), (4000, 3000));
    drop(writer);
    for number in [0, 2, 3, 4] {
        let name = format!("old {number}");
        assert_eq!(
            manager.entries().entry(&name).unwrap().info().key_id,
            current
        );
        assert_eq!(read(&manager, name).unwrap(), [number; 1000]);
    }
    assert_ne!(
        manager.entries().entry("old 1").unwrap().info().key_id,
        current
    );
}

#[test]
fn entries_without_files_are_removed_and_files_without_entries_only_named() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    write(&manager, "whole", b"whole");
    manager.entries().new_entry("wal/000001.log").unwrap();
    manager
        .entries()
        .new_entry(directory.path().join("gone").to_str().unwrap())
        .unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    fs::write(directory.path().join("d/untracked"), b"?").unwrap();
    let gone = directory.path().join("gone").to_str().unwrap().to_owned();
    let expected = Mismatches {
        entries_without_file: vec![gone, "wal/000001.log".to_owned()],
        files_without_entry: vec![directory.path().join("d/untracked")],
    };
    assert_eq!(manager.mismatches().unwrap(), expected);
    assert_eq!(manager.reconcile().unwrap(), expected.entries_without_file);
    assert_eq!(
        (manager.entries().len(), manager.reconcile().unwrap()),
        (1, Vec::new())
    );
    assert!(directory.path().join("d/untracked").exists());
}

#[test]
fn a_replaced_file_gets_a_new_initialization_vector() {
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    store.write_file("a", &mut &b"same"[..], false).unwrap();
    let first = store.entries().entry("a").unwrap().info().iv().unwrap();
    store.write_file("a", &mut &b"same"[..], true).unwrap();
    assert_ne!(
        store.entries().entry("a").unwrap().info().iv().unwrap(),
        first
    );
}

#[test]
fn names_outside_the_directory_or_of_the_store_itself_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    for name in [
        "",
        "/etc/x",
        "../x",
        "a/../b",
        "./key.dict",
        "key.dict",
        "file.dict",
        "stillkey.lock",
        "a.stillkey-old",
        "a/key.1.tmp",
    ] {
        assert_eq!(
            store
                .write_file(name, &mut io::empty(), true)
                .unwrap_err()
                .kind(),
            ErrorKind::Usage,
            "{name:?}"
        );
    }
}

#[test]
fn names_of_the_store_are_refused_in_any_case() {
    // On a file system that folds case, KEY.DICT is key.dict.
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    for name in ["KEY.DICT", "File.dict", "Stillkey.Lock"] {
        let error = store.write_file(name, &mut io::empty(), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{name}");
    }
}

#[test]
fn a_stored_file_is_its_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    store.write_file("a", &mut &b"new"[..], false).unwrap();
    let mode = fs::metadata(directory.path().join("a")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_name_too_long_for_the_file_system_leaves_the_store_usable() {
    let directory = tempfile::tempdir().unwrap();
    let store = new_store(directory.path());
    for len in [245, 300] {
        let error = store.write_file("n".repeat(len), &mut io::empty(), false);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Io);
    }
    drop(store);
    let store = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    assert!(store.entries().is_empty());
}

/// The bytes of a file that the store knows nothing of must not be taken for those of the new entry.
#[test]
fn an_interrupted_put_over_a_file_without_entry_leaves_it_without_entry() {
    for n in 0..200 {
        let directory = tempfile::tempdir().unwrap();
        let store = new_store(directory.path());
        fs::write(directory.path().join("a"), b"untracked").unwrap();
        fault::fail_from(n);
        let _ = store.write_file("a", &mut &b"new"[..], true);
        let failed = fault::heal();
        drop(store);
        drop(DataKeyManager::open(directory.path(), &master_key(1)).unwrap());
        match content(directory.path(), "a") {
            Some(content) => assert_eq!(content, b"new", "operation {n}"),
            None => {
                let left = fs::read(directory.path().join("a")).unwrap();
                assert_eq!(left, b"untracked", "operation {n}");
            }
        }
        if !failed {
            return;
        }
    }
    panic!("the end was never reached");
}

/// Every operation from the n-th on fails, as when the process is killed; then the store is opened anew.
#[test]
fn interrupted_anywhere_a_file_is_the_old_or_the_new_one() {
    let kinds = [Names::Relative, Names::AsGiven].into_iter();
    for (kind, overwrite) in kinds.flat_map(|kind| [(kind, false), (kind, true)]) {
        let mut reached_the_end = false;
        for n in 0..200 {
            let directory = tempfile::tempdir().unwrap();
            let store = new_store(directory.path()).with_names(kind);
            let name = match kind {
                Names::Relative => "a".to_owned(),
                Names::AsGiven => directory.path().join("a").to_str().unwrap().to_owned(),
            };
            if overwrite {
                store.write_file(&name, &mut &b"old"[..], false).unwrap();
            }
            fault::fail_from(n);
            let done = store.write_file(&name, &mut &b"new"[..], overwrite);
            let failed = fault::heal();
            drop(store);
            drop(DataKeyManager::open(directory.path(), &master_key(1)).unwrap());

            let found = content(directory.path(), &name);
            let old = overwrite.then(|| b"old".to_vec());
            let new = Some(b"new".to_vec());
            assert!(found == old || found == new, "operation {n}: {found:?}");
            if done.is_ok() {
                assert_eq!(found, new, "operation {n}");
            }
            let dictionaries =
                Dictionaries::read(directory.path(), &master_key(1), Reading::Strict).unwrap();
            let names: Vec<_> = dictionaries
                .files()
                .unwrap()
                .iter()
                .map(|(name, _)| name.to_owned())
                .collect();
            assert_eq!(
                names,
                Vec::from_iter(found.map(|_| name)),
                "operation {n}: nothing is left over"
            );
            if !failed {
                reached_the_end = true;
                break;
            }
        }
        assert!(reached_the_end);
    }
}

/// What each thread has done is known to it alone, and the end must agree with all of them.
#[test]
fn threads_that_make_the_same_file_at_once_leave_that_of_one() {
    const THREADS: u8 = 4;
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    for _ in 0..100 {
        let begin = std::sync::Barrier::new(THREADS.into());
        std::thread::scope(|scope| {
            for thread in 1..=THREADS {
                let (manager, begin) = (&manager, &begin);
                scope.spawn(move || {
                    begin.wait();
                    let file = manager.create_file("a").unwrap();
                    file.file().write_all_at(&[thread; 1000], 0).unwrap();
                });
            }
        });
        let content = content(directory.path(), "a").unwrap();
        assert_eq!(content, [content[0]; 1000]);
        assert!((1..=THREADS).contains(&content[0]));
    }
}

#[test]
fn threads_that_create_rename_and_delete_while_keys_rotate_end_in_what_they_did() {
    const THREADS: u64 = 16;
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    let seconds = std::env::var("STILLKEY_STRESS_SECONDS").ok();
    let seconds = seconds
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(5);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let goes_on = || std::time::Instant::now() < end;
    let files: BTreeMap<String, Vec<u8>> = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            let mut byte = 1;
            while goes_on() {
                byte = byte % 250 + 1;
                manager
                    .entries()
                    .rotate_data_key(Method::Sm4Ctr, NOW)
                    .unwrap();
                manager
                    .entries()
                    .rotate_master_key(&master_key(byte))
                    .unwrap();
                manager.entries().compact().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            byte
        });
        let changing: Vec<_> = (0..THREADS)
            .map(|thread| {
                let manager = &manager;
                scope.spawn(move || {
                    let mut random = Xorshift::new(thread + 1);
                    let mut files = BTreeMap::new();
                    let mut number = 0;
                    while goes_on() {
                        number += 1;
                        let name = format!("{thread}-{}", random.below(20));
                        let other = format!("{thread}-{}", random.below(20));
                        match (
                            random.below(4),
                            files.contains_key(&name),
                            files.contains_key(&other),
                        ) {
                            (0, true, _) => {
                                manager.delete_file(&name).unwrap();
                                files.remove(&name);
                            }
                            (1, true, false) => {
                                manager.rename_file(&name, &other).unwrap();
                                let content = files.remove(&name).unwrap();
                                files.insert(other, content);
                            }
                            (2, true, _) => {
                                assert!(manager.rekey_file(&name, |_| true).unwrap().is_some());
                            }
                            _ => {
                                let content = format!("{thread} {number}").into_bytes();
                                let file = manager.create_file(&name).unwrap();
                                file.file().write_all_at(&content, 0).unwrap();
                                files.insert(name, content);
                            }
                        }
                    }
                    files
                })
            })
            .collect();
        let files = changing
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        let files = files.collect();
        rotating.join().unwrap();
        files
    });
    assert_eq!(manager.entries().len(), files.len());
    let held = manager.entries().keys();
    drop(manager);
    let byte = (1..=255)
        .rev()
        .find(|byte| DataKeyManager::open(&directory, &master_key(*byte)).is_ok());
    let manager = DataKeyManager::open(&directory, &master_key(byte.unwrap())).unwrap();
    assert_eq!(*manager.entries().keys(), *held);
    assert_eq!(manager.mismatches().unwrap(), Mismatches::default());
    for (name, content) in files {
        let file = manager.open_file(&name).unwrap();
        let mut read = vec![0; file.file().len().unwrap() as usize];
        file.file().read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, content, "{name}");
    }
}

#[test]
fn reconciling_takes_no_entry_of_a_file_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    for name in ["gone", "there"] {
        manager.create_file(name).unwrap();
    }
    fs::remove_file(directory.path().join("gone")).unwrap();
    assert_eq!(manager.reconcile().unwrap(), ["gone"]);
    assert!(manager.entries().entry("there").is_ok());
    assert!(manager.entries().entry("gone").is_err());
}
