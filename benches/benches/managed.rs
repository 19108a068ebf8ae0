//! The key manager, by the contenders of `check`: creating files durably, looking entries up, reading files; and opening a large directory.

#![allow(
    clippy::expect_used,
    reason = "a bench that can't run says why and ends"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use stillkey::core::Cipher;
use stillkey_benches::managed;
use stillkey_benches::task::Task;

fn operations(criterion: &mut Criterion) {
    let mut tasks = vec![
        ("create, durable".to_owned(), Task::Create),
        ("look-up".to_owned(), Task::LookUp),
    ];
    for len in [4 << 10, 1 << 20] {
        for cipher in [Cipher::Aes256, Cipher::Sm4] {
            let name = format!("{} file, {len} B", cipher.method().name());
            tasks.push((name, Task::Read { cipher, len }));
        }
    }
    for (name, task) in tasks {
        let mut group = criterion.benchmark_group(name);
        let mut data = vec![0; task.bytes()];
        for mut contender in task.contenders(&[]).expect("a task without peers") {
            group.bench_function(contender.name().to_owned(), |bencher| {
                bencher.iter_custom(|times| contender.run(&mut data, times));
            });
        }
        group.finish();
    }
}

fn open(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    managed::fill(directory.path(), managed::ENTRIES);
    let mut group = criterion.benchmark_group("open a directory");
    group.sample_size(10);
    group.bench_function("1,000,000 entries of 24 bytes", |bencher| {
        bencher.iter_with_large_drop(|| managed::open(directory.path()).expect("the directory"));
    });
    group.finish();
}

criterion_group!(benches, operations, open);
criterion_main!(benches);
