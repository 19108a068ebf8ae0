//! Files from end to end, through the file system: encrypted ones as an engine has them, and sealed objects with both forms of body.
//! They stay in the system's cache and are never synced, so this is the cost of Stillkey and not of a disk.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't run should stop"
)]

use std::fs::File;
use std::io::{Read, Write};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement,
};
use stillkey::core::sealed::{Options, Suite};
use stillkey::core::{
    Cipher, CtrStream, EncryptionContext, Iv, MasterKey, RawMasterKey, SecretBytes,
};
use stillkey::{EncryptedReader, EncryptedWriter, Native, SealedReader, SealedWriter};
use stillkey_benches::ctr::data_key;

const LEN: usize = 16 << 20;
/// What a caller writes and reads at once.
const BUFFER: usize = 64 << 10;

/// Benches writing a file of the `plaintext` and reading it back, having seen that it comes back.
fn round_trip(
    group: &mut BenchmarkGroup<'_, measurement::WallTime>,
    name: &str,
    plaintext: &[u8],
    write: impl Fn(File, &[u8]),
    open: impl Fn(File) -> Box<dyn Read>,
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let write = || write(File::create(&path).expect("a new file"), plaintext);
    let mut buffer = vec![0; BUFFER];
    let mut read = |see: &mut dyn FnMut(&[u8])| {
        let mut file = open(File::open(&path).expect("the file"));
        for _ in 0..LEN / BUFFER {
            file.read_exact(&mut buffer).expect("the whole file");
            see(&buffer);
        }
    };

    write();
    let mut all = Vec::new();
    read(&mut |part| all.extend_from_slice(part));
    assert!(all == plaintext, "{name}: the file has other contents");
    group.bench_function(format!("write/{name}"), |bencher| bencher.iter(write));
    group.bench_function(format!("read/{name}"), |bencher| {
        bencher.iter(|| read(&mut |_| ()));
    });
}

fn write_all(mut file: impl Write, plaintext: &[u8]) {
    for part in plaintext.chunks(BUFFER) {
        file.write_all(part)
            .expect("space in the temporary directory");
    }
}

fn files(criterion: &mut Criterion) {
    let plaintext: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    let mut group = criterion.benchmark_group("files of 16 MiB");
    group.throughput(Throughput::Bytes(LEN as u64));
    group.sample_size(10);

    for cipher in [Cipher::Aes256, Cipher::Sm4] {
        let key = data_key(cipher, &[7; 32][..cipher.key_len()]);
        let stream = CtrStream::with_provider(&Native::detect(), &key, Iv::new([1; 16]));
        round_trip(
            &mut group,
            cipher.method().name(),
            &plaintext,
            |file, plaintext| write_all(EncryptedWriter::new(file, stream.clone()), plaintext),
            |file| Box::new(EncryptedReader::new(file, stream.clone())),
        );
    }

    let master_key = RawMasterKey::new(SecretBytes::copied(&[7; 32])).expect("32 bytes");
    let master_key = [MasterKey::Raw(master_key)];
    let context = EncryptionContext::new();
    for suite in [Suite::Aes256Ctr, Suite::Aes256Gcm] {
        let options = Options {
            suite,
            ..Options::default()
        };
        round_trip(
            &mut group,
            &format!("sealed {}", suite.name()),
            &plaintext,
            |file, plaintext| {
                let mut object = SealedWriter::new(file, &options, &master_key, &context)
                    .expect("random numbers");
                write_all(&mut object, plaintext);
                object.finish().expect("space in the temporary directory");
            },
            |file| {
                Box::new(SealedReader::new(file, &master_key, &context).expect("a sealed object"))
            },
        );
    }
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
