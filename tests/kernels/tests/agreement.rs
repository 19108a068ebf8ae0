//! Every kernel, at every length, start, carry and alignment, gives the bytes of an implementation that shares no code with it.

use stillkey_core::Iv;
use stillkey_kernel_tests::{Page, Stream, available, for_every_kernel};

/// The widest stride of a kernel in bytes: SM4 on 128 blocks.
const WIDEST: usize = 2048;
const LONGEST: usize = 4 * WIDEST + 17;
const BLOCKS: usize = LONGEST.div_ceil(16) + 1;

#[test]
fn kernels_that_were_expected_run_here() {
    let available = available();
    assert!(available.contains("portable"), "{available:?}");
}

#[test]
fn every_length_from_every_byte_of_a_block_is_encrypted_and_nothing_beside_it() {
    for_every_kernel(|subject| {
        let mut page = Page::new(LONGEST);
        let stream = Stream::new(subject.cipher, &subject.key, 7 << 90, 0, BLOCKS);
        for kernel in subject.forms(&stream) {
            // What is staged as a whole, head and tail alone, and each with a few blocks between them.
            for (from, len) in pairs(0..16, 0..=600) {
                page.check(&*kernel, &stream, from, len);
            }
            // A kernel sees whole blocks, so beyond that their number counts: with every head, and no tail.
            for (from, blocks) in pairs(0..16, 38..=LONGEST / 16) {
                page.check(&*kernel, &stream, from, 16 * blocks - from);
            }
            // And every length with some head.
            for len in 601..=LONGEST {
                page.check(&*kernel, &stream, len % 17 % 16, len);
            }
        }
        page.cases()
    });
}

#[test]
fn every_pair_of_alignments_of_source_and_destination_works() {
    for_every_kernel(|subject| {
        let mut page = Page::new(WIDEST);
        let stream = Stream::new(subject.cipher, &subject.key, 0, 0, BLOCKS);
        for (source, destination) in pairs(0..64, 0..=63) {
            for len in [WIDEST, 33 * 16] {
                page.check_aligned(&*subject.ctr, &stream, 0, len, (source, destination));
            }
        }
        page.cases()
    });
}

/// Bytes of the counter, the words that kernels add in, the whole counter, and the 5 bytes behind which prepared kernels start anew.
const CARRIES: [u32; 7] = [8, 16, 24, 32, 40, 64, 128];

#[test]
fn counters_carry_in_every_lane() {
    for_every_kernel(|subject| {
        let mut page = Page::new(LONGEST);
        let before = LONGEST / 16;
        for bits in CARRIES {
            let edge = 1_u128.checked_shl(bits).unwrap_or(0);
            let iv = edge.wrapping_sub(before as u128);
            let stream = Stream::new(subject.cipher, &subject.key, iv, 0, 2 * before);
            for kernel in subject.forms(&stream) {
                // The carry between any two blocks of one stride of any width, and of the second stride.
                for stride in [1, 2, 3, 4, 8, 16, 32, 64, 128] {
                    for position in 0..=2 * stride {
                        let from = 16 * (before - position);
                        page.check(&*kernel, &stream, from, 32 * stride);
                    }
                }
                // Anywhere in a long run, which begins within a block.
                for position in 1..before {
                    page.check(
                        &*kernel,
                        &stream,
                        16 * (before - position) + 5,
                        LONGEST - 32,
                    );
                }
            }
        }
        page.cases()
    });
}

#[test]
fn positions_up_to_the_end_of_a_file_are_those_of_the_whole_counter() {
    for_every_kernel(|subject| {
        let mut page = Page::new(WIDEST);
        let last_block = u64::MAX / 16;
        // The position, not the initialization vector, brings the counter over the edge.
        for (iv, first) in [
            (u128::MAX - 20, 0),
            (u128::from(u64::MAX) - (1 << 50), (1 << 50) - 60),
            (u128::MAX << 40, (1 << 40) - 60),
            (u128::MAX, last_block - 127),
            (0x0123_4567_89ab_cdef << 64, last_block - 127),
        ] {
            let stream = Stream::new(subject.cipher, &subject.key, iv, first, 128);
            for kernel in subject.forms(&stream) {
                for from in 0..stream.len() {
                    // The last byte of all has no position behind it, so it can't be asked for.
                    page.check(&*kernel, &stream, from, stream.len() - 1 - from);
                }
            }
        }
        page.cases()
    });
}

#[test]
fn a_kernel_prepared_for_one_file_serves_every_position_and_every_other_file() {
    const GROUP: usize = 256;
    /// A table is made for what is longer than four groups.
    const LONG: usize = 16 * (5 * GROUP + 40);
    for_every_kernel(|subject| {
        let mut page = Page::new(LONG);
        let (cipher, key) = (subject.cipher, &subject.key);
        let mut ivs = vec![0, u128::MAX - 300, 0xff << 120 | 0x0a, 0x0123_4567 << 72];
        // The low byte of a prepared counter, each with its own distance to the next group.
        ivs.extend([1, 127, 128, 255].map(|low| 0x5555 << 96 | low));
        let prepared = ivs
            .iter()
            .filter_map(|iv: &u128| subject.ctr.prepared(&Iv::new(iv.to_be_bytes())));
        for kernel in [subject.ctr.clone()].into_iter().chain(prepared) {
            for &iv in &ivs {
                // Blocks 2^32 and 2^40 on, other bytes of the counter are in use than those that it was prepared for.
                for first in [0, 200, (1 << 32) - 300, (1 << 40) - 300, 1 << 59] {
                    let stream = Stream::new(cipher, key, iv, first, LONG / 16);
                    page.check(&*kernel, &stream, 0, LONG);
                    page.check(&*kernel, &stream, 3, LONG - 3);
                    page.check(&*kernel, &stream, 16 * GROUP - 16, 16 * GROUP + 32);
                }
            }
        }
        page.cases()
    });
}

/// Every pair of one of `first` and one of `second`.
fn pairs(
    first: std::ops::Range<usize>,
    second: std::ops::RangeInclusive<usize>,
) -> impl Iterator<Item = (usize, usize)> {
    first.flat_map(move |a| second.clone().map(move |b| (a, b)))
}
