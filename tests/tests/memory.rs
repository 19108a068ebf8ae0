//! The memory that an object of any length takes. One test only: it measures the whole process.

use std::alloc::System;
use std::io::{self, Read, Write};

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};
use rayon::ThreadPoolBuilder;
use stillkey::core::EncryptionContext;
use stillkey::core::sealed::Options;
use stillkey::{SealedReader, SealedWriter, parallel};
use stillkey_tests::raw_master_key;

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

const LEN: usize = 64 << 20;

/// Passes on what is written to a reader, through a buffer of its own.
fn through_a_pipe(write: impl FnOnce(io::PipeWriter) + Send, read: impl FnOnce(io::PipeReader)) {
    let (reader, writer) = io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| write(writer));
        read(reader);
    });
}

#[test]
fn sealing_and_opening_take_some_buffers_however_long_the_object() {
    let (keys, context) = ([raw_master_key(&"07".repeat(32))], EncryptionContext::new());
    // Not within the pool: its threads take up other work while they wait, and would wait for themselves at the pipe.
    let threads = ThreadPoolBuilder::new().num_threads(3);
    threads.build_global().unwrap();
    let buffer_len = parallel::buffer_len();
    ALLOCATOR.reset_peak_memory();
    through_a_pipe(
        |pipe| {
            let plaintext = vec![5; buffer_len];
            let options = Options::default();
            let mut writer = SealedWriter::new(pipe, &options, &keys, &context).unwrap();
            for _ in 0..LEN / buffer_len {
                writer.write_all(&plaintext).unwrap();
            }
            writer.finish().unwrap();
        },
        |pipe| {
            let mut reader = SealedReader::new(pipe, &keys, &context).unwrap();
            let (mut buffer, mut len) = (vec![0; buffer_len], 0);
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    read => len += read,
                }
            }
            assert_eq!(len, LEN);
        },
    );
    // The buffers of this test, and one of each kind: sealed bytes of the writer, sealed bytes and plaintext of the reader.
    let allowed = 5 * buffer_len + (1 << 20);
    let used = ALLOCATOR.get_peak_memory();
    assert!(used <= allowed, "{used} bytes, not {allowed}");
}
