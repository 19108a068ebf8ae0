//! 64 bytes at a random offset, as an index block is read: at a block, and at any byte.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use stillkey_benches::ctr::Start;
use stillkey_benches::measure::Pages;
use stillkey_benches::peers;
use stillkey_benches::task::Task;
use stillkey_core::Cipher;

fn seek(criterion: &mut Criterion) {
    let peers = peers::all();
    let mut data = Pages::new(64);
    for cipher in Cipher::ALL {
        let name = cipher.method().name();
        let mut group = criterion.benchmark_group(format!("{name}, 64 B at a random offset"));
        for (start, unit) in [(Start::Block, "block"), (Start::Byte, "byte")] {
            let all = Task::Seek { cipher, start }.contenders(&peers);
            for mut contender in all.unwrap_or_default() {
                let id = BenchmarkId::new(contender.name(), unit);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| contender.run(data.bytes(), times));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, seek);
criterion_main!(benches);
