//! Appending to the log engine of TiKV by the wall clock: in plaintext and encrypted, synced and not.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stillkey::core::Cipher;
use stillkey_benches::raft_log::Log;
use stillkey_raft_engine::raft_engine::env::FileSystem;

const LENGTHS: [usize; 2] = [4 << 10, 64 << 10];

fn append(criterion: &mut Criterion) {
    for sync in [false, true] {
        let name = if sync {
            "raft-engine, synced"
        } else {
            "raft-engine"
        };
        let mut group = criterion.benchmark_group(name);
        for len in LENGTHS {
            group.throughput(Throughput::Bytes(len as u64));
            let mut bench = |name: &str, append: &mut dyn FnMut()| {
                group.bench_function(format!("{name}, {len} B"), |bencher| {
                    bencher.iter(&mut *append);
                });
            };
            bench("plaintext", &mut appending(Log::in_plaintext(len), sync));
            for cipher in [Cipher::Aes256, Cipher::Sm4] {
                let log = Log::encrypted(cipher, len);
                bench(cipher.method().name(), &mut appending(log, sync));
            }
        }
        group.finish();
    }
}

fn appending<F: FileSystem>(mut log: Log<F>, sync: bool) -> impl FnMut() {
    move || log.append(sync)
}

criterion_group!(benches, append);
criterion_main!(benches);
