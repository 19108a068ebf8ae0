//! The key manager: creating files durably, looking entries up, reading files, and opening a directory of a million entries.

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stillkey::{DataKeyManager, Entries, Native, clock::unix_now};
use stillkey_core::{Cipher, FileInfo, Iv, MasterKey, Method, RawMasterKey, Record, SecretBytes};
use tempfile::TempDir;

use crate::machine;
use crate::measure::{Contender, own_time};

/// What a durable append costs without a dictionary.
pub const APPEND: &str = "append and sync, plain";
/// Ours: one thread creates durable entries.
pub const CREATE_ALONE: &str = "create, one thread";
/// Ours: sixteen threads do.
pub const CREATE_TOGETHER: &str = "create, 16 threads";

/// Ours: an entry looked up by the only thread.
pub const LOOK_UP: &str = "look-up";
/// Ours: while another thread makes entries durable.
pub const LOOK_UP_BESIDE_SYNC: &str = "look-up beside a sync";
/// Ours: by sixteen threads at once.
pub const LOOK_UP_AMONG_MANY: &str = "look-up among 16";

/// What a piece of a file in plaintext costs.
pub const READ_PLAIN: &str = "read, plain";
/// What its cipher costs alone.
pub const CIPHER_ALONE: &str = "cipher alone";
/// Ours: a piece of an encrypted file.
pub const READ_ENCRYPTED: &str = "read, encrypted";

/// Ours: a directory of a million entries.
pub const OPEN: &str = "open";
/// Ours: one of a quarter of them, four times.
pub const OPEN_QUARTERS: &str = "open four quarters";
/// Most memory that a process had which opened the directory: bytes, where others have nanoseconds.
pub const OPEN_MEMORY: &str = "open, peak of memory";

/// Those of a large directory.
pub const ENTRIES: u64 = 1_000_000;

const MANY: usize = 16;
const FILE: usize = 64 << 20;

fn master_key() -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::copied(&[7; 32])).expect("32 bytes"))
}

fn manager(directory: &Path, method: Method) -> DataKeyManager {
    let entries = Entries::create(directory, &master_key(), method, unix_now());
    DataKeyManager::new(entries.expect("a new directory")).expect("an intact disk")
}

/// 24 bytes.
fn name(number: u64) -> String {
    format!("/data/db/{number:011}.sst")
}

/// Makes so many entries.
fn enter(manager: &DataKeyManager, entries: u64) {
    let bulk = manager.entries().bulk();
    for number in 0..entries {
        bulk.new_entry(&name(number)).expect("space on the disk");
    }
    bulk.sync_all().expect("a disk that syncs");
}

/// Makes a dictionary directory with so many entries, for [`open`].
pub fn fill(directory: &Path, entries: u64) {
    enter(&manager(directory, Method::Aes256Ctr), entries);
}

/// Opens a directory that [`fill`] has made.
///
/// # Errors
/// When it isn't one.
pub fn open(directory: &Path) -> Result<DataKeyManager, stillkey::Error> {
    DataKeyManager::open(directory, &master_key())
}

/// A directory that lives as long as the contenders that share it.
struct Managed {
    manager: DataKeyManager,
    next: AtomicU64,
    directory: TempDir,
}

impl Managed {
    fn new() -> Arc<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Arc::new(Self {
            manager: manager(&directory.path().join("data"), Method::Aes256Ctr),
            next: AtomicU64::new(0),
            directory,
        })
    }

    fn create(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let created = self.manager.entries().new_entry(&name(number));
        created.expect("space on the disk");
    }
}

/// Entries made durable by one thread and by sixteen, and the least that one can cost.
pub(crate) fn creates() -> Vec<Contender> {
    let managed = Managed::new();
    let file = File::create_new(managed.directory.path().join("plain")).expect("a new file");
    let info = FileInfo::encrypted(1, Iv::new([7; Iv::LEN]), Method::Aes256Ctr);
    let name = name(0);
    let record = Record::Insert { name: &name, info };
    let record = record.to_bytes().expect("a short name");
    let (alone, together) = (Arc::clone(&managed), managed);
    vec![
        Contender::by_median(APPEND, move || {
            (&file).write_all(&record).expect("space on the disk");
            file.sync_all().expect("a disk that syncs");
        }),
        Contender::by_median(CREATE_ALONE, move || alone.create()),
        Contender::timing_itself(CREATE_TOGETHER, move |_, times| {
            let left = AtomicU64::new(times);
            let take = |left: u64| left.checked_sub(1);
            let start = Instant::now();
            on_many_threads(|_| {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    together.create();
                }
            });
            start.elapsed()
        }),
    ]
}

/// An entry found, and its key with it, by the processor time of whoever asks.
pub(crate) fn look_ups() -> Vec<Contender> {
    let managed = Managed::new();
    enter(&managed.manager, 100_000);
    managed.next.store(100_000, Ordering::Relaxed);
    let names: Arc<[String]> = (0..64).map(|number| name(number * 1553)).collect();
    let [alone, beside, among] = [(); 3].map(|()| (Arc::clone(&managed), Arc::clone(&names)));
    vec![
        Contender::timing_itself(LOOK_UP, move |_, times| look_up(&alone.0, &alone.1, times)),
        Contender::timing_itself(LOOK_UP_BESIDE_SYNC, move |_, times| {
            let (managed, names) = &beside;
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    machine::pin_to_any();
                    while !over.load(Ordering::Relaxed) {
                        managed.create();
                    }
                });
                let time = look_up(managed, names, times);
                over.store(true, Ordering::Relaxed);
                time
            })
        }),
        Contender::timing_itself(LOOK_UP_AMONG_MANY, move |_, times| {
            let (managed, names) = &among;
            let each = on_many_threads(|_| look_up(managed, names, times));
            let threads = u32::try_from(each.len()).unwrap_or(u32::MAX);
            each.into_iter().sum::<Duration>() / threads
        }),
    ]
}

fn look_up(managed: &Managed, names: &[String], times: u64) -> Duration {
    let mut names = names.iter().cycle();
    let start = own_time();
    for _ in 0..times {
        let name = names.next().expect("a cycle");
        black_box(managed.manager.entries().entry(name).expect("an entry"));
    }
    own_time().saturating_sub(start)
}

/// What sixteen threads, spread over all processors, have given.
fn on_many_threads<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..MANY)
            .map(|number| {
                let work = &work;
                scope.spawn(move || {
                    machine::pin_to_any();
                    work(number)
                })
            })
            .collect();
        let all = threads.into_iter();
        all.map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Pieces of `len` bytes at changing places of a file in the page cache, encrypted and not, and the cipher over as many bytes.
pub(crate) fn reads(cipher: Cipher, len: usize) -> Vec<Contender> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let manager = manager(&directory.path().join("data"), cipher.method());
    let content: Vec<u8> = (0..251).cycle().take(FILE).collect();
    let encrypted = manager.create_file("file").expect("a new file");
    encrypted.file().write_all_at(&content, 0).expect("space");
    let encrypted = manager.open_file("file").expect("the file");
    let plain_path = directory.path().join("plain");
    std::fs::write(&plain_path, &content).expect("space on the disk");
    let plain = File::open(plain_path).expect("the file");

    let mut piece = vec![0; len];
    let at = 12_345;
    encrypted
        .file()
        .read_exact_at(&mut piece, at as u64)
        .expect("a file in the page cache");
    assert_eq!(piece, content[at..at + len], "what was written");
    let kernel = manager.entries().entry("file").expect("its entry");
    let kernel = kernel.stream(&Native::detect()).expect("an encrypted file");

    let places = move || {
        let mut at = 0;
        move || {
            // An odd number of pieces on, so that none comes twice in a row.
            at = (at + 12_345 * len) % (FILE - len);
            at as u64
        }
    };
    let (mut here, mut there, mut anywhere) = (places(), places(), places());
    vec![
        Contender::new(READ_PLAIN, move |data| {
            let read = plain.read_exact_at(data, here());
            read.expect("a file in the page cache");
        }),
        Contender::new(CIPHER_ALONE, move |data| {
            let applied = kernel.apply_at(anywhere(), data);
            applied.expect("far from the last byte");
        }),
        Contender::new(READ_ENCRYPTED, move |data| {
            let _open = (&directory, &manager);
            let read = encrypted.file().read_exact_at(data, there());
            read.expect("a file in the page cache");
        }),
    ]
}

/// The subcommand of this program by which another process of it opens a directory.
pub const SUBCOMMAND: &str = "open-directory";

/// What the other process has seen.
#[derive(Debug, Serialize, Deserialize)]
struct Opened {
    nanoseconds: u64,
    peak_bytes: u64,
}

/// Opens `directory` and answers in JSON: the other process's part.
///
/// # Errors
/// When it isn't a directory of ours, or the system doesn't tell how much memory this process has taken.
pub fn answer(directory: &Path) -> Result<String, String> {
    let start = Instant::now();
    let manager = open(directory);
    let elapsed = start.elapsed();
    manager.map_err(|error| error.to_string())?;
    let opened = Opened {
        nanoseconds: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
        peak_bytes: machine::peak_of_memory().ok_or("the peak of memory is not known here")?,
    };
    serde_json::to_string(&opened).map_err(|error| error.to_string())
}

/// Directories opened by processes of their own, which begin with no memory.
pub(crate) fn opening() -> Vec<Contender> {
    let directory = Rc::new(tempfile::tempdir().expect("a temporary directory"));
    for (part, entries) in [("whole", ENTRIES), ("quarter", ENTRIES / 4)] {
        fill(&directory.path().join(part), entries);
    }
    let in_quarters = Rc::clone(&directory);
    let peak = Rc::new(Cell::new(0));
    let last_peak = Rc::clone(&peak);
    vec![
        Contender::timing_itself(OPEN, move |_, times| {
            let opened = (0..times).map(|_| open_apart(&directory.path().join("whole")));
            let opened = opened.inspect(|opened| peak.set(opened.peak_bytes));
            Duration::from_nanos(opened.map(|opened| opened.nanoseconds).sum())
        }),
        Contender::timing_itself(OPEN_QUARTERS, move |_, times| {
            let opened = (0..4 * times).map(|_| open_apart(&in_quarters.path().join("quarter")));
            Duration::from_nanos(opened.map(|opened| opened.nanoseconds).sum())
        }),
        // That of the process that was timed last.
        Contender::timing_itself(OPEN_MEMORY, move |_, times| {
            Duration::from_nanos(last_peak.get() * times)
        }),
    ]
}

/// In another process.
fn open_apart(directory: &Path) -> Opened {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .arg(SUBCOMMAND)
        .arg(directory)
        .output();
    let output = output.expect("another process of this program");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    serde_json::from_slice(&output.stdout).expect("its answer")
}
