//! A new key, then 4 KiB: what opening a file costs before its first page is there.

use criterion::{Criterion, criterion_group, criterion_main};
use stillkey_benches::measure::Pages;
use stillkey_benches::peers;
use stillkey_benches::task::Task;
use stillkey_core::Cipher;

fn key_schedule(criterion: &mut Criterion) {
    let peers = peers::all();
    let mut data = Pages::new(4096);
    for cipher in Cipher::ALL {
        let name = cipher.method().name();
        let mut group = criterion.benchmark_group(format!("{name}, new key and 4 KiB"));
        let all = Task::Rekey { cipher }.contenders(&peers);
        for mut contender in all.unwrap_or_default() {
            group.bench_function(contender.name().to_owned(), |bencher| {
                bencher.iter_custom(|times| contender.run(data.bytes(), times));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, key_schedule);
criterion_main!(benches);
