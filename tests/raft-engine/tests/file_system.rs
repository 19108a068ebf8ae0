//! Each operation of the file system by itself: a file and its entry, whatever goes wrong between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stillkey::Entries;
use stillkey::core::{FileInfo, Method};
use stillkey_raft_engine::raft_engine::env::{FileSystem, Handle, Permission, WriteExt};
use stillkey_raft_engine::{EncryptedFileSystem, testing};
use tempfile::TempDir;

const TEXT: &[u8] = b"the first entry of the log";

struct Place {
    directory: TempDir,
    entries: Arc<Entries>,
    files: EncryptedFileSystem,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let entries = Arc::new(testing::entries(&keys, Method::Aes256Ctr).unwrap());
        let files = EncryptedFileSystem::new(Arc::clone(&entries));
        Self {
            directory,
            entries,
            files,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file that holds [`TEXT`].
    fn written(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let file = Arc::new(self.files.create(&path).unwrap());
        let mut writer = self.files.new_writer(Arc::clone(&file)).unwrap();
        writer.write_all(TEXT).unwrap();
        file.sync().unwrap();
        path
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        let file = self.files.open(path, Permission::ReadOnly).unwrap();
        let mut reader = self.files.new_reader(Arc::new(file)).unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// As on a full disk: the entries writes no more, since somebody else has written.
    fn make_entries_fail(&self) {
        let dictionary = self.path("keys/file.dict");
        let dictionary = fs::OpenOptions::new().append(true).open(dictionary);
        dictionary.unwrap().write_all(b"?").unwrap();
    }

    fn entry(&self, path: &Path) -> Option<FileInfo> {
        let key = self.entries.entry(path.to_str().unwrap()).ok()?;
        Some(key.info().clone())
    }
}

#[test]
fn a_file_reads_as_it_was_written_and_is_encrypted_on_the_disk() {
    let place = Place::new();
    let path = place.written("a");
    assert_eq!(place.read(&path), TEXT);
    assert_ne!(fs::read(&path).unwrap(), TEXT);
    let file = Arc::new(place.files.open(&path, Permission::ReadWrite).unwrap());
    assert_eq!(file.file_size().unwrap(), TEXT.len());
    let mut writer = place.files.new_writer(Arc::clone(&file)).unwrap();
    writer.allocate(TEXT.len(), 4096).unwrap();
    WriteExt::truncate(&mut writer, 4).unwrap();
    writer.write_all(b"last").unwrap();
    writer.seek_relative(-4).unwrap();
    assert_eq!(writer.stream_position().unwrap(), 4);
    writer.seek_relative(-5).unwrap_err();
    assert_eq!(place.read(&path), b"the last");
}

#[test]
fn a_file_without_an_entry_is_refused_and_not_taken_for_plaintext() {
    let place = Place::new();
    let path = place.path("plain");
    fs::write(&path, TEXT).unwrap();
    for permission in [Permission::ReadOnly, Permission::ReadWrite] {
        let error = place.files.open(&path, permission).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("plain"), "{error}");
    }
}

#[test]
fn what_is_created_where_a_file_was_left_begins_empty_under_a_new_iv() {
    let place = Place::new();
    let path = place.written("a");
    let before = place.entry(&path).unwrap();
    let file = place.files.create(&path).unwrap();
    assert_eq!(file.file_size().unwrap(), 0);
    assert_ne!(place.entry(&path).unwrap(), before);
}

#[test]
fn a_renamed_file_keeps_its_content_and_its_old_name_has_no_entry() {
    let place = Place::new();
    let (from, to) = (place.written("a"), place.path("b"));
    let entry = place.entry(&from);
    // Of a file that has vanished.
    place.entries.new_entry(to.to_str().unwrap()).unwrap();
    place.files.rename(&from, &to).unwrap();
    assert_eq!(place.read(&to), TEXT);
    assert_eq!(place.entry(&to), entry);
    assert_eq!(place.entry(&from), None);
}

#[test]
fn a_file_is_not_renamed_onto_another() {
    let place = Place::new();
    let (one, other) = (place.written("a"), place.written("b"));
    let error = place.files.rename(&one, &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        (place.read(&one), place.read(&other)),
        (TEXT.into(), TEXT.into())
    );
}

#[test]
fn a_file_that_cannot_be_moved_stays_readable_and_no_entry_stays_for_what_did_not_come() {
    let place = Place::new();
    let (from, to) = (place.written("a"), place.path("missing/b"));
    place.files.rename(&from, &to).unwrap_err();
    place.files.reuse(&from, &to).unwrap_err();
    place.files.create(&to).unwrap_err();
    assert_eq!(place.read(&from), TEXT);
    assert_eq!(place.entry(&to), None);
}

#[test]
fn no_file_comes_to_a_name_before_its_entry_is_durable() {
    let place = Place::new();
    let (from, to) = (place.written("a"), place.path("b"));
    place.make_entries_fail();
    place.files.create(&to).unwrap_err();
    place.files.rename(&from, &to).unwrap_err();
    place.files.reuse(&from, &to).unwrap_err();
    assert!(!fs::exists(&to).unwrap());
    assert_eq!(place.read(&from), TEXT);
}

#[test]
fn an_entry_goes_only_once_its_file_is_gone() {
    let place = Place::new();
    let (file, directory) = (place.written("a"), place.written("b"));
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    place.files.delete(&directory).unwrap_err();
    assert!(place.entry(&directory).is_some());
    place.make_entries_fail();
    place.files.delete(&file).unwrap_err();
    assert!(!fs::exists(&file).unwrap());
    assert!(place.entry(&file).is_some());
}

#[test]
fn a_reused_file_has_a_new_iv_so_its_old_content_is_noise() {
    let place = Place::new();
    let (from, to) = (place.written("a"), place.path("b"));
    let (before, bytes) = (place.entry(&from), fs::read(&from).unwrap());
    place.files.reuse(&from, &to).unwrap();
    assert_ne!(place.entry(&to), before);
    assert_eq!(place.entry(&from), None);
    assert_eq!(fs::read(&to).unwrap(), bytes);
    assert_ne!(place.read(&to), TEXT);
}

#[test]
fn a_deleted_file_leaves_no_entry_and_an_entry_goes_alone_only_where_no_file_is() {
    let place = Place::new();
    let path = place.written("a");
    assert!(place.files.exists_metadata(&path));
    let error = place.files.delete_metadata(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(place.read(&path), TEXT);
    place.files.delete(&path).unwrap();
    assert!(!place.files.exists_metadata(&path));
    place.entries.new_entry(path.to_str().unwrap()).unwrap();
    assert!(place.files.exists_metadata(&path));
    place.files.delete_metadata(&path).unwrap();
    assert!(!place.files.exists_metadata(&path));
    assert_eq!(
        place.files.delete(&path).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}
