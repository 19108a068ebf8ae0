//! The file dictionary: finding an entry, appending one in memory and on disk, and recovering a log.

#![expect(clippy::expect_used, reason = "a bench that can't run should stop")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stillkey::core::{
    FileDictionary, FileInfo, FileLog, Iv, MasterKey, Method, RawMasterKey, Record, SecretBytes,
    Version,
};
use stillkey::{Entries, clock::unix_now};

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
    let writer = Entries::create(&path, &master_key, Method::Aes256Ctr, unix_now())
        .expect("a new dictionary");
    let mut i = 0;
    criterion.bench_function("file dictionary/append, synced", |bencher| {
        bencher.iter(|| {
            i += 1;
            writer.new_entry(&name(i)).expect("space on the disk")
        });
    });
}

criterion_group!(benches, in_memory, durable);
criterion_main!(benches);
