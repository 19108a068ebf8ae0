//! One pinned thread and two: how far counter mode scales before memory is the limit.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stillkey_benches::measure::Pages;
use stillkey_benches::task::Task;
use stillkey_core::Cipher;

fn parallel(criterion: &mut Criterion) {
    for cipher in [Cipher::Aes256, Cipher::Sm4] {
        let name = cipher.method().name();
        let mut group = criterion.benchmark_group(format!("{name}, parallel"));
        for len in [1 << 20, 16 << 20, 64 << 20] {
            let mut data = Pages::new(len);
            group.throughput(Throughput::Bytes(len as u64));
            let all = Task::Threads { cipher, len }.contenders(&[]);
            for mut contender in all.unwrap_or_default() {
                let id = BenchmarkId::new(contender.name(), len);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| contender.run(data.bytes(), times));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, parallel);
criterion_main!(benches);
