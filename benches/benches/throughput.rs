//! Counter mode in place: every method, length and kernel, beside the peers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stillkey_benches::ctr::{CtrWork, Start};
use stillkey_benches::measure::Pages;
use stillkey_benches::peers;
use stillkey_core::Cipher;

const LENGTHS: [usize; 9] = [
    16,
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    1 << 20,
    16 << 20,
];

fn throughput(criterion: &mut Criterion) {
    let peers = peers::all();
    for cipher in Cipher::ALL {
        let mut group = criterion.benchmark_group(cipher.method().name());
        for len in LENGTHS {
            let mut data = Pages::new(len);
            group.throughput(Throughput::Bytes(len as u64));
            for mut contender in CtrWork::new(cipher, len, Start::Page).contenders(&peers) {
                let id = BenchmarkId::new(contender.name(), len);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| contender.run(data.bytes(), times));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, throughput);
criterion_main!(benches);
