//! The lock of a directory, which lives as long as its manager and as any file that is open for
//! writing.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use shuttle::thread;

use super::super::super::*;
use super::super::{new_store, read, write};
use crate::error::ErrorKind;
use crate::testing::disk::State;
use crate::testing::master_key;
use crate::testing::schedules::explore;

const LEN: usize = 40;

/// How often another process tries to open the directory.
const ATTEMPTS: usize = 6;

struct Directory<'d> {
    path: &'d Path,
    /// Who may be writing, as the threads know themselves.
    writers: AtomicUsize,
    /// What was synced last.
    acknowledged: AtomicU8,
}

impl Directory<'_> {
    /// Writes to a file that outlives the manager.
    fn write(&self, manager: Arc<DataKeyManager>, byte: u8) {
        let file = manager.open_file_writable("a").unwrap();
        self.writers.fetch_add(1, Ordering::SeqCst);
        drop(manager);
        for byte in [byte, byte + 1] {
            file.file().write_all_at(&[byte; LEN], 0).unwrap();
            // Two writers write one after the other, since nothing happens in between.
            self.acknowledged.store(byte, Ordering::SeqCst);
        }
        file.file().sync().unwrap();
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Opens the directory as another process does, once it can.
    fn take_over(&self) {
        for _ in 0..ATTEMPTS {
            match DataKeyManager::open(self.path, &master_key(1)) {
                Ok(manager) => {
                    assert_eq!(self.writers.load(Ordering::SeqCst), 0, "it has writers");
                    let before = self.acknowledged.load(Ordering::SeqCst);
                    assert_eq!(manager.rekey_file("a", |_| true).unwrap(), Some(LEN as u64));
                    assert_eq!(self.acknowledged.load(Ordering::SeqCst), before);
                    assert_eq!(read(&manager, "a"), [before; LEN]);
                    return;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
            }
            thread::yield_now();
        }
    }
}

#[test]
fn nobody_else_opens_a_directory_while_a_file_of_it_is_written() {
    let scratch = tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir());
    let scratch = scratch.unwrap();
    let root = scratch.path().join("at first");
    fs::create_dir(&root).unwrap();
    write(&new_store(&root), "a", &[1; LEN]);
    let at_first = State::of(&root);
    let scratch = Arc::new(scratch);
    explore(1500, move || {
        let path = scratch.path().join("directory");
        // A schedule that failed has left it.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        at_first.materialise(&path);
        let manager = Arc::new(DataKeyManager::open(&path, &master_key(1)).unwrap());
        let directory = Directory {
            path: &path,
            writers: AtomicUsize::new(0),
            acknowledged: AtomicU8::new(1),
        };
        thread::scope(|scope| {
            let directory = &directory;
            for byte in [10, 20] {
                let manager = Arc::clone(&manager);
                scope.spawn(move || directory.write(manager, byte));
            }
            scope.spawn(move || directory.take_over());
            scope.spawn(move || drop(manager));
        });
        let manager = DataKeyManager::open(&path, &master_key(1)).unwrap();
        let acknowledged = directory.acknowledged.load(Ordering::SeqCst);
        assert_eq!(read(&manager, "a"), [acknowledged; LEN]);
    });
}
