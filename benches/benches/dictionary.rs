//! The file dictionary: finding an entry, appending one in memory and on disk, and recovering a log.

#![expect(clippy::expect_used, reason = "a bench that can't run should stop")]

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stillkey::core::{
    FileDictionary, FileInfo, FileLog, Iv, MasterKey, Method, RawMasterKey, Record, SecretBytes,
    Version,
};
use stillkey::{DataKeyManager, DictionaryWriter, clock::unix_now};

/// Files of a large store.
const FILES: u64 = 100_000;

fn name(i: u64) -> String {
    format!("/data/db/{i:06}.sst")
}

fn info(i: u64) -> FileInfo {
    FileInfo::encrypted(i, Iv::new([7; 16]), Method::Aes256Ctr)
}

fn large() -> FileDictionary {
    let mut files = FileDictionary::new();
    for i in 0..FILES {
        files.insert(name(i), info(i));
    }
    files
}

fn in_memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("file dictionary of 100,000 entries");
    let files = large();
    let names: Vec<String> = (0..1024).map(|i| name(i * 97 % FILES)).collect();
    let mut next = names.iter().cycle();
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| {
            let name = next.next().expect("a cycle");
            files.get(name).expect("an entry").key_id
        });
    });

    let log = files.to_bytes(Version::V2);
    let mut log_of_all = FileLog::new(large(), Version::V2, u64::MAX);
    let mut i = FILES;
    group.bench_function("append, in memory", |bencher| {
        bencher.iter(|| {
            i += 1;
            let name = name(i);
            let record = Record::Insert {
                name: &name,
                info: info(i),
            };
            let mut batch = log_of_all.batch();
            batch.add(&record).expect("a short name");
            let (write, changes) = batch.finish();
            log_of_all.commit(changes);
            write
        });
    });

    group.throughput(Throughput::Elements(FILES));
    group.bench_function("open", |bencher| {
        let open = |log: &[u8]| FileDictionary::open(log).expect("a whole log");
        assert_eq!(open(&log).len() as u64, FILES, "every entry is read");
        bencher.iter_batched(|| (), |()| open(&log), BatchSize::PerIteration);
    });
    group.finish();
}

fn durable(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let master_key = RawMasterKey::new(SecretBytes::copied(&[7; 32])).expect("32 bytes");
    let master_key = MasterKey::Raw(master_key);
    let path = directory.path().join("data");
    let mut writer = DictionaryWriter::create(&path, &master_key, Method::Aes256Ctr, unix_now())
        .expect("a new dictionary");
    let mut i = 0;
    criterion.bench_function("file dictionary/append, synced", |bencher| {
        bencher.iter(|| {
            i += 1;
            writer.new_file(&name(i)).expect("space on the disk")
        });
    });
}

/// The same through the manager: what threads that come together share, beside the least that a durable change can cost.
fn managed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manager");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("plain");
    let file = File::create_new(path).expect("a new file");
    let record = Record::Insert {
        name: &name(0),
        info: info(0),
    };
    let record = record.to_bytes().expect("a short name");
    group.bench_function("append and sync, plain", |bencher| {
        bencher.iter(|| {
            (&file).write_all(&record).expect("space on the disk");
            file.sync_all().expect("a disk that syncs");
        });
    });

    let master_key = RawMasterKey::new(SecretBytes::copied(&[7; 32])).expect("32 bytes");
    let master_key = MasterKey::Raw(master_key);
    let path = directory.path().join("data");
    let writer = DictionaryWriter::create(&path, &master_key, Method::Aes256Ctr, unix_now());
    let manager = DataKeyManager::new(writer.expect("a new dictionary")).expect("an intact disk");
    let next = AtomicU64::new(0);
    for threads in [1, 16] {
        group.bench_function(format!("create, durable, {threads} threads"), |bencher| {
            bencher.iter_custom(|times| {
                let end = next.load(Ordering::Relaxed) + times;
                let start = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            loop {
                                let i = next.fetch_add(1, Ordering::Relaxed);
                                if i >= end {
                                    return;
                                }
                                manager.new_entry(&name(i)).expect("space on the disk");
                            }
                        });
                    }
                });
                start.elapsed()
            });
        });
    }

    let known: Vec<String> = (0..64).map(|i| format!("/data/known/{i}")).collect();
    for name in &known {
        manager.new_entry(name).expect("space on the disk");
    }
    let mut names = known.iter().cycle();
    group.bench_function("look-up", |bencher| {
        bencher.iter(|| {
            manager
                .entry(names.next().expect("a cycle"))
                .expect("an entry")
        });
    });
    group.finish();
}

criterion_group!(benches, in_memory, durable, managed);
criterion_main!(benches);
