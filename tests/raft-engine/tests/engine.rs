//! A whole engine over encrypted files: what it reads back, and what stands on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use memchr::memmem;
use stillkey::Entries;
use stillkey::core::{FileInfo, Method};
use stillkey_raft_engine::raft_engine::env::{DefaultFileSystem, FileSystem, Permission};
use stillkey_raft_engine::raft_engine::{Config, Engine, LogBatch};
use stillkey_raft_engine::{Cursor, EncryptedFileSystem, LogFile, Raft, entry, testing};

const REGIONS: u64 = 3;
const KEY: &[u8] = b"state of a region";
/// With what the engine begins each of its files.
const HEADER: &[u8] = b"RAFT-LOG-FILE-HEADER";

/// An encrypted file system that notes what is asked of it, and every key and IV under which a file begins.
struct Watched {
    files: EncryptedFileSystem,
    entries: Arc<Entries>,
    asked: Mutex<HashMap<&'static str, usize>>,
    beginnings: Mutex<Vec<FileInfo>>,
}

impl Watched {
    fn new(entries: Entries) -> Self {
        let entries = Arc::new(entries);
        Self {
            files: EncryptedFileSystem::new(Arc::clone(&entries)),
            entries,
            asked: Mutex::default(),
            beginnings: Mutex::default(),
        }
    }

    fn note(&self, what: &'static str) {
        *self.asked.lock().unwrap().entry(what).or_default() += 1;
    }

    fn begins(&self, path: &Path) {
        let key = self.entries.entry(path.to_str().unwrap()).unwrap();
        self.beginnings.lock().unwrap().push(key.info().clone());
    }

    fn times(&self, what: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.get(what).copied().unwrap_or_default()
    }
}

impl FileSystem for Watched {
    type Handle = LogFile;
    type Reader = Cursor;
    type Writer = Cursor;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<LogFile> {
        self.note("create");
        let file = self.files.create(&path)?;
        self.begins(path.as_ref());
        Ok(file)
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<LogFile> {
        self.files.open(path, permission)
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.note("delete");
        self.files.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, source: P, destination: P) -> io::Result<()> {
        self.note("rename");
        self.files.rename(source, destination)
    }

    fn reuse<P: AsRef<Path>>(&self, source: P, destination: P) -> io::Result<()> {
        self.note("reuse");
        self.files.reuse(source.as_ref(), destination.as_ref())?;
        self.begins(destination.as_ref());
        Ok(())
    }

    fn delete_metadata<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.note("delete_metadata");
        self.files.delete_metadata(path)
    }

    fn exists_metadata<P: AsRef<Path>>(&self, path: P) -> bool {
        self.files.exists_metadata(path)
    }

    fn new_reader(&self, handle: Arc<LogFile>) -> io::Result<Cursor> {
        self.files.new_reader(handle)
    }

    fn new_writer(&self, handle: Arc<LogFile>) -> io::Result<Cursor> {
        self.files.new_writer(handle)
    }
}

fn append<F: FileSystem>(engine: &Engine<F>, batches: u64) {
    for _ in 0..batches {
        let mut batch = LogBatch::default();
        for region in 1..=REGIONS {
            let index = engine.last_index(region).unwrap_or_default() + 1;
            let entry = entry(index, testing::content(region, index));
            batch.add_entries::<Raft>(region, &[entry]).unwrap();
            batch
                .put(region, KEY.to_vec(), testing::content(region, 0))
                .unwrap();
        }
        engine.write(&mut batch, false).unwrap();
    }
    engine.sync().unwrap();
}

fn purge<F: FileSystem>(engine: &Engine<F>) {
    for region in 1..=REGIONS {
        let last = engine.last_index(region).unwrap_or_default();
        engine.compact_to(region, last.saturating_sub(20));
    }
    engine.purge_expired_files().unwrap();
}

fn check<F: FileSystem>(engine: &Engine<F>, last: u64) {
    for region in 1..=REGIONS {
        assert_eq!(engine.last_index(region), Some(last));
        for index in engine.first_index(region).unwrap()..=last {
            let entry = engine.get_entry::<Raft>(region, index).unwrap().unwrap();
            assert_eq!(entry.get_string_value(), testing::content(region, index));
        }
        assert_eq!(engine.get(region, KEY), Some(testing::content(region, 0)));
    }
}

fn expect_distinct(beginnings: &[FileInfo]) {
    for (i, one) in beginnings.iter().enumerate() {
        let mut others = beginnings.iter().skip(i + 1);
        assert!(others.all(|other| other != one), "begun twice: {one:?}");
    }
}

/// The files below a directory that hold `bytes`.
fn holding(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    let holding =
        files.filter(|file| memmem::find(&fs::read(file.path()).unwrap(), bytes).is_some());
    holding
        .map(|file| file.file_name().into_string().unwrap())
        .collect()
}

fn open<F: FileSystem>(config: &Config, files: &Arc<F>) -> Engine<F> {
    Engine::open_with_file_system(config.clone(), Arc::clone(files)).unwrap()
}

#[test]
fn purged_and_recycled_files_begin_under_fresh_keys_and_all_comes_back_without_plaintext_on_the_disk()
 {
    for method in [Method::Aes256Ctr, Method::Sm4Ctr] {
        let directory = tempfile::tempdir().unwrap();
        let (keys, logs) = (directory.path().join("keys"), directory.path().join("logs"));
        let config = testing::small_files(&logs);
        let mut beginnings = Vec::new();
        for time in 1..=4 {
            let files = Arc::new(Watched::new(testing::entries(&keys, method).unwrap()));
            let engine = open(&config, &files);
            if time > 1 {
                check(&engine, (time - 1) * 400);
            }
            for _ in 0..8 {
                append(&engine, 50);
                purge(&engine);
            }
            check(&engine, time * 400);
            for bytes in [testing::MARKER, KEY, HEADER] {
                assert_eq!(holding(&logs, bytes), [""; 0], "while it is open");
            }
            drop(engine);
            for bytes in [testing::MARKER, KEY, HEADER] {
                assert_eq!(holding(&logs, bytes), [""; 0], "once it is closed");
            }
            assert!(files.times("reuse") > 10, "{}", files.times("reuse"));
            beginnings.append(&mut files.beginnings.lock().unwrap());
        }
        expect_distinct(&beginnings);
        let not_ours = fs::read(logs.join("LOCK")).unwrap();
        assert_eq!(not_ours, b"", "the engine writes nothing into it");
    }
}

#[test]
fn without_encryption_the_same_search_finds_the_plaintext() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    let engine = open(&testing::small_files(&logs), &Arc::new(DefaultFileSystem));
    append(&engine, 50);
    check(&engine, 50);
    for bytes in [testing::MARKER, KEY, HEADER] {
        assert_ne!(holding(&logs, bytes), [""; 0]);
    }
}

#[test]
fn prefilled_files_are_used_under_another_iv_than_they_were_filled_with() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, logs) = (directory.path().join("keys"), directory.path().join("logs"));
    let config = Config {
        prefill_for_recycle: true,
        ..testing::small_files(&logs)
    };
    let files = Arc::new(Watched::new(
        testing::entries(&keys, Method::Aes256Ctr).unwrap(),
    ));
    let engine = open(&config, &files);
    let prefilled = files.times("create") - 2;
    assert!(prefilled >= 4, "{prefilled}");
    append(&engine, 100);
    assert!(files.times("reuse") >= 2);
    check(&engine, 100);
    expect_distinct(&files.beginnings.lock().unwrap());
}

#[test]
fn a_torn_batch_and_what_was_allocated_ahead_are_cut_off_and_the_engine_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, logs) = (directory.path().join("keys"), directory.path().join("logs"));
    let config = testing::small_files(&logs);
    let files = Arc::new(EncryptedFileSystem::new(
        testing::entries(&keys, Method::Aes256Ctr).unwrap().into(),
    ));
    let engine = open(&config, &files);
    append(&engine, 5);
    drop(engine);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(logs.join("0000000000000001.raftlog"));
    let file = file.unwrap();
    let whole = file.metadata().unwrap().len();
    for len in [whole - 1, whole + 10_000] {
        file.set_len(len).unwrap();
        let engine = open(&config, &files);
        append(&engine, 3);
        let last = engine.last_index(1).unwrap();
        drop(engine);
        check(&open(&config, &files), last);
    }
}

#[test]
fn entries_of_files_that_have_vanished_are_removed_when_the_engine_opens() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, logs) = (directory.path().join("keys"), directory.path().join("logs"));
    let config = testing::small_files(&logs);
    let files = Arc::new(Watched::new(
        testing::entries(&keys, Method::Aes256Ctr).unwrap(),
    ));
    let engine = open(&config, &files);
    for _ in 0..8 {
        append(&engine, 50);
        purge(&engine);
    }
    drop(engine);
    // As a crash leaves it between the removal of a file and that of its entry.
    let vanished = logs.join("0000000000000001.raftlog");
    let vanished = vanished.to_str().unwrap();
    assert!(!fs::exists(vanished).unwrap());
    files.entries.new_entry(vanished).unwrap();
    check(&open(&config, &files), 400);
    assert!(files.times("delete_metadata") > 0);
    assert!(files.entries.entry(vanished).is_err());
}
