//! The log engine of TiKV, appending to files that are encrypted or not.

use std::fs;
use std::sync::Arc;
use std::thread;

use stillkey_core::Cipher;
use stillkey_raft_engine::raft_engine::env::{DefaultFileSystem, FileSystem};
use stillkey_raft_engine::raft_engine::{Config, Engine, LogBatch, ReadableSize};
use stillkey_raft_engine::{EncryptedFileSystem, Entry, Raft, entry, testing};
use tempfile::TempDir;

use crate::measure::Contender;
use crate::task::{LOG_ENCRYPTED, LOG_IN_PLAINTEXT};

const REGION: u64 = 1;
/// So many entries stay; files of older ones are recycled.
const KEPT: u64 = 16;
/// Recycled files stay in the page cache, and the disk has next to nothing to do.
const FILE_SIZE: ReadableSize = ReadableSize::mb(16);

/// An engine that appends entries, and forgets those that are old.
pub struct Log<F: FileSystem> {
    engine: Engine<F>,
    batch: LogBatch,
    /// The last one. Nothing that the engine's compression could shorten: every byte is encrypted.
    entry: [Entry; 1],
    written: u64,
    directory: TempDir,
}

impl Log<DefaultFileSystem> {
    /// Without encryption. `len`: bytes per entry.
    pub fn in_plaintext(len: usize) -> Self {
        Self::new(len, |_| DefaultFileSystem)
    }
}

impl Log<EncryptedFileSystem> {
    /// With this cipher. `len`: bytes per entry.
    pub fn encrypted(cipher: Cipher, len: usize) -> Self {
        Self::new(len, |directory| {
            let keys = directory.path().join("keys");
            let manager = testing::manager(&keys, cipher.method()).expect("a new dictionary");
            EncryptedFileSystem::new(Arc::new(manager))
        })
    }
}

impl<F: FileSystem> Log<F> {
    fn new(len: usize, files: impl FnOnce(&TempDir) -> F) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = Config {
            dir: directory.path().join("log").display().to_string(),
            target_file_size: FILE_SIZE,
            purge_threshold: ReadableSize(FILE_SIZE.0 * 2),
            ..Config::default()
        };
        let files = Arc::new(files(&directory));
        let engine = Engine::open_with_file_system(config, files).expect("a new log");
        let mut log = Self {
            engine,
            batch: LogBatch::default(),
            entry: [entry(0, random_bytes(len))],
            written: 0,
            directory,
        };
        // To where files are recycled. Until then each sync has the file system take new blocks down, which takes many times as long.
        let file_size = usize::try_from(FILE_SIZE.0).unwrap_or_default();
        for _ in 0..6 * file_size / len {
            log.append(false);
        }
        log
    }

    /// Appends one entry, synced or not.
    pub fn append(&mut self, sync: bool) {
        let last = self.last() + 1;
        let [entry] = &mut self.entry;
        entry.set_positive_int_value(last);
        let added = self.batch.add_entries::<Raft>(REGION, &self.entry);
        added.expect("a short batch");
        let written = self.engine.write(&mut self.batch, sync);
        self.written += written.expect("space on the disk") as u64;
        if self.written > FILE_SIZE.0 {
            self.written = 0;
            self.engine.compact_to(REGION, last.saturating_sub(KEPT));
            self.engine
                .purge_expired_files()
                .expect("a disk that works");
        }
    }

    fn last(&self) -> u64 {
        self.entry[0].get_positive_int_value()
    }

    /// Appends one entry, reads it back, and says whether it can be read on the disk.
    fn shows_what_it_writes(&mut self) -> bool {
        self.append(true);
        // The engine keeps the last block that was read by thread, and doesn't look whether another engine read it.
        let entry = thread::scope(|scope| {
            let read = scope.spawn(|| self.engine.get_entry::<Raft>(REGION, self.last()));
            read.join().expect("no panic")
        });
        let entry = entry.expect("a readable log").expect("the last entry");
        assert!(entry == self.entry[0], "another entry than was written");
        let start = &entry.get_string_value()[..16];
        let mut files = fs::read_dir(self.directory.path().join("log")).expect("the log");
        files.any(|file| {
            let bytes = fs::read(file.expect("a file").path()).expect("a readable file");
            bytes.windows(16).any(|bytes| bytes == start)
        })
    }
}

impl<F: FileSystem> std::fmt::Debug for Log<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}

fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    openssl::rand::rand_bytes(&mut bytes).expect("random bytes");
    bytes
}

/// Each appends one entry of `len` bytes. What is synced is timed by the clock on the wall, for whoever waits for the disk; what isn't, by that
/// of the processor.
pub(crate) fn contenders(cipher: Cipher, len: usize, synced: bool) -> Vec<Contender> {
    let (mut plain, mut encrypted) = (Log::in_plaintext(len), Log::encrypted(cipher, len));
    let plaintext_shows = (
        plain.shows_what_it_writes(),
        encrypted.shows_what_it_writes(),
    );
    assert_eq!(plaintext_shows, (true, false), "on the disk");
    vec![
        contender(LOG_IN_PLAINTEXT, plain, synced),
        contender(LOG_ENCRYPTED, encrypted, synced),
    ]
}

fn contender<F: FileSystem + 'static>(name: &str, mut log: Log<F>, synced: bool) -> Contender {
    if !synced {
        return Contender::new(name, move |_| log.append(false));
    }
    Contender::by_median(name, move || log.append(true))
}
