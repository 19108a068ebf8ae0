//! Files that a manager has opened, against the same file in plaintext, from the page cache; and how long a large directory takes to open.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench that can't run says why and ends"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stillkey::core::{MasterKey, Method, RawMasterKey, SecretBytes};
use stillkey::{DataKeyManager, DictionaryWriter, ManagedFile, clock::unix_now};

const FILE: usize = 64 << 20;
const ENTRIES: u64 = 1_000_000;

fn master_key() -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::copied(&[7; 32])).expect("32 bytes"))
}

/// A file of each method, plaintext among them, as its manager opens it for reading.
fn files(directory: &std::path::Path) -> Vec<(Method, ManagedFile)> {
    let methods = [Method::Plaintext, Method::Aes256Ctr, Method::Sm4Ctr];
    let made = methods.map(|method| {
        let path = directory.join(method.name());
        let writer = DictionaryWriter::create(&path, &master_key(), method, unix_now()).unwrap();
        let manager = DataKeyManager::new(writer).unwrap();
        let file = manager.create_file("file").unwrap();
        file.write_all_at(&vec![1; FILE], 0).unwrap();
        (method, manager.open_file("file").unwrap())
    });
    made.into()
}

fn read(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    for (what, len) in [("seek and 4 KiB", 4 << 10), ("in pieces of 1 MiB", 1 << 20)] {
        let mut group = criterion.benchmark_group(format!("managed file, {what}"));
        group.throughput(Throughput::Bytes(len as u64));
        let mut buffer = vec![0; len];
        for (method, file) in &files {
            let mut at = 0;
            group.bench_function(method.name(), |bencher| {
                bencher.iter(|| {
                    // An odd number of pieces on, so that none comes twice in a row.
                    at = (at + 12_345 * len) % (FILE - len);
                    file.read_exact_at(&mut buffer, at as u64).unwrap();
                    black_box(&buffer);
                });
            });
        }
        group.finish();
    }
}

fn open(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let writer =
        DictionaryWriter::create(&directory, &master_key(), Method::Aes256Ctr, unix_now()).unwrap();
    let manager = DataKeyManager::new(writer).unwrap();
    let bulk = manager.bulk();
    for number in 0..ENTRIES {
        bulk.new_entry(&format!("/data/db/{number:011}.sst"))
            .unwrap();
    }
    bulk.sync_all().unwrap();
    drop(manager);
    let mut group = criterion.benchmark_group("open a directory");
    group.sample_size(10);
    group.bench_function("1,000,000 entries of 24 bytes", |bencher| {
        bencher.iter(|| {
            DataKeyManager::open(&directory, &master_key())
                .unwrap()
                .len()
        });
    });
    group.finish();
}

criterion_group!(benches, read, open);
criterion_main!(benches);
