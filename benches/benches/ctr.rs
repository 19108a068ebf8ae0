//! Counter mode in place: Stillkey's portable kernels beside RustCrypto's own stream types, key schedule included for both or neither
//! as each API has it.

#![expect(clippy::expect_used, reason = "a bench that can't run should stop")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stillkey_benches::{LENGTHS, rustcrypto};
use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};

const OFFSET: u64 = 4096 + 3;

fn ctr(criterion: &mut Criterion) {
    let iv = Iv::new([0xfe; 16]);
    for cipher in Cipher::ALL {
        let bytes = vec![7; cipher.key_len()];
        let key = DataKey::new(cipher, SecretBytes::copied(&bytes)).expect("the key fits");
        let stream = CtrStream::new(&key, iv);
        let mut group = criterion.benchmark_group(cipher.method().name());
        for len in LENGTHS {
            let (mut ours, mut theirs) = (vec![5; len], vec![5; len]);
            stream
                .apply_at(OFFSET, &mut ours)
                .expect("the position fits");
            rustcrypto(cipher, &bytes, &iv, OFFSET, &mut theirs);
            assert!(
                ours == theirs,
                "{cipher:?} at {len} bytes: the answers differ, so there is nothing to time"
            );

            group.throughput(Throughput::Bytes(len as u64));
            group.bench_with_input(BenchmarkId::new("stillkey", len), &len, |bencher, _| {
                bencher.iter(|| stream.apply_at(OFFSET, &mut ours));
            });
            group.bench_with_input(BenchmarkId::new("rustcrypto", len), &len, |bencher, _| {
                bencher.iter(|| rustcrypto(cipher, &bytes, &iv, OFFSET, &mut theirs));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, ctr);
criterion_main!(benches);
