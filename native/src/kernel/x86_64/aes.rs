//! AES in counter mode, for three register widths.
//!
//! The rounds are unrolled for each key length, the round keys lie in memory as registers load them, and eight registers are in flight,
//! which hides the latency of `AESENC`. What is left at the end, one register to eight, has code of exactly its length.

mod lanes;
mod schedule;
mod short;
mod table;

use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::cipher::{BLOCK_LEN, Block, Blockwise, CtrBlocks, CtrKernel};
use stillkey_core::{Cipher, DataKey};

use super::run::Run;
use crate::cpu::{AesNi, Features, Vaes256, Vaes512};
use crate::secret::SecretBox;
use lanes::{Lanes, Work};
use schedule::{Expand, Schedule};
use table::{Build, Table};

/// The choice by length, in blocks.
///
/// Up to `NARROW` blocks, a 128-bit register has the shorter latency; from `CACHED` on, a table should be repaid within one call; from
/// `PREPARED` on, one that is there already should be better than none. Starting values: the bench `throughput` is still to confirm them.
struct Lengths;

impl Lengths {
    const NARROW: usize = 1;
    const CACHED: usize = 1024;
    const PREPARED: usize = 64;
}

pub(super) fn kernel512(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    expand(features, Vaes512::among(features)?, key)
}

pub(super) fn kernel256(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    expand(features, Vaes256::among(features)?, key)
}

pub(super) fn kernel128(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    expand(features, AesNi::among(features)?, key)
}

fn expand<L: Lanes>(features: Features, lanes: L, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let narrow = AesNi::among(features)?;
    let bytes = key.secret().danger_bytes();
    match key.cipher() {
        Cipher::Aes128 => Some(Aes::<L, 11>::kernel(narrow, lanes, bytes)),
        Cipher::Aes192 => Some(Aes::<L, 13>::kernel(narrow, lanes, bytes)),
        Cipher::Aes256 => Some(Aes::<L, 15>::kernel(narrow, lanes, bytes)),
        Cipher::Sm4 => None,
    }
}

/// A key, expanded; with a table where it is prepared for one file.
struct Aes<L, const KEYS: usize> {
    narrow: AesNi,
    lanes: L,
    schedule: SecretBox<Schedule<KEYS>>,
    table: Option<SecretBox<Table>>,
}

impl<L: Lanes, const KEYS: usize> Aes<L, KEYS> {
    fn kernel(narrow: AesNi, lanes: L, key: &[u8]) -> Arc<dyn CtrKernel> {
        Arc::new(Blockwise(Self {
            narrow,
            lanes,
            schedule: narrow.enter(Expand(key)),
            table: None,
        }))
    }
}

impl<L: Lanes, const KEYS: usize> CtrBlocks for Aes<L, KEYS> {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        let schedule = &*self.schedule;
        let run = Run::new(counter, blocks);
        let blocks = run.blocks();
        if blocks <= Lengths::NARROW {
            return self.narrow.enter(Plain { schedule, run });
        }
        if blocks >= Lengths::PREPARED
            && let Some(table) = &self.table
            && let Some(ahead) = table.alignment::<L>(counter, blocks)
        {
            return self.lanes.enter(Cached {
                schedule,
                table,
                ahead,
                run,
            });
        }
        if blocks >= Lengths::CACHED && Table::spans(counter, blocks) {
            return self.lanes.enter(CachedOnce { schedule, run });
        }
        self.lanes.enter(Plain { schedule, run });
    }

    fn apply_short(&self, counter: u128, skip: usize, data: InOutBuf<'_, '_, u8>) -> bool {
        self.lanes
            .apply_short(&self.schedule, counter, skip, data)
    }

    fn prepared(&self, counter: u128) -> Option<Arc<dyn CtrKernel>> {
        let mut table = SecretBox::<Table>::zeroed();
        self.lanes.enter(Build {
            schedule: &self.schedule,
            counter,
            table: &mut table,
        });
        Some(Arc::new(Blockwise(Self {
            narrow: self.narrow,
            lanes: self.lanes,
            schedule: self.schedule.duplicate(),
            table: Some(table),
        })))
    }
}

/// Registers in flight.
const FLIGHT: usize = 8;

/// Counter mode without a table.
struct Plain<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    run: Run<'a>,
}

impl<L: Lanes, const KEYS: usize> Work<L> for Plain<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { schedule, mut run } = self;
        let mut counters = lanes.counters(run.counter());
        while run.blocks() > FLIGHT * L::BLOCKS {
            counters = plain::<L, KEYS, FLIGHT>(lanes, schedule, counters, &mut run, L::BLOCKS);
        }
        let registers = run.blocks().div_ceil(L::BLOCKS);
        let in_last = run.blocks().wrapping_sub(1) % L::BLOCKS + 1;
        match registers {
            1 => plain::<L, KEYS, 1>(lanes, schedule, counters, &mut run, in_last),
            2 => plain::<L, KEYS, 2>(lanes, schedule, counters, &mut run, in_last),
            3 => plain::<L, KEYS, 3>(lanes, schedule, counters, &mut run, in_last),
            4 => plain::<L, KEYS, 4>(lanes, schedule, counters, &mut run, in_last),
            5 => plain::<L, KEYS, 5>(lanes, schedule, counters, &mut run, in_last),
            6 => plain::<L, KEYS, 6>(lanes, schedule, counters, &mut run, in_last),
            7 => plain::<L, KEYS, 7>(lanes, schedule, counters, &mut run, in_last),
            8 => plain::<L, KEYS, 8>(lanes, schedule, counters, &mut run, in_last),
            _ => counters,
        };
    }
}

/// `N` registers whose counters begin with `counters`, with `in_last` blocks in the last of them. Returns the counters behind.
#[inline(always)]
fn plain<L: Lanes, const KEYS: usize, const N: usize>(
    lanes: L,
    schedule: &Schedule<KEYS>,
    mut counters: L::Vector,
    run: &mut Run<'_>,
    in_last: usize,
) -> L::Vector {
    let mut state = [counters; N];
    for state in &mut state {
        *state = lanes.big_endian(counters);
        counters = lanes.advance(counters);
    }
    let first = lanes.load(&schedule.keys()[0]);
    for state in &mut state {
        *state = lanes.xor(*state, first);
    }
    finish::<L, KEYS, N>(lanes, schedule, 1, state, run, in_last);
    counters
}

/// The rounds from `round` on, XORed over the next `N` registers of data.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "bounds are constants: the number of keys, of registers"
)]
fn finish<L: Lanes, const KEYS: usize, const N: usize>(
    lanes: L,
    schedule: &Schedule<KEYS>,
    round: usize,
    mut state: [L::Vector; N],
    run: &mut Run<'_>,
    in_last: usize,
) {
    for key in &schedule.keys()[round..KEYS - 1] {
        let key = lanes.load(key);
        for state in &mut state {
            *state = lanes.round(*state, key);
        }
    }
    let last = lanes.load(&schedule.keys()[KEYS - 1]);
    for (register, state) in state.into_iter().enumerate() {
        let blocks = if register == N - 1 {
            in_last
        } else {
            L::BLOCKS
        };
        let at = register * L::BLOCKS * BLOCK_LEN;
        // The last round ends with the XOR of its key, and the data is XORed into the key beforehand.
        // SAFETY: `run` holds at least (N - 1) registers and `in_last` blocks.
        unsafe {
            let data = lanes.read(run.from().add(at), blocks);
            let done = lanes.last_round(state, lanes.xor(data, last));
            lanes.write(run.to().add(at), done, blocks);
        }
    }
    run.advance((N - 1) * L::BLOCKS + in_last);
}

/// Counter mode with a table that is built for this run, and wiped behind it.
struct CachedOnce<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    run: Run<'a>,
}

impl<L: Lanes, const KEYS: usize> Work<L> for CachedOnce<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { schedule, run } = self;
        let mut table = Table::new();
        let build = Build {
            schedule,
            counter: run.counter(),
            table: &mut table,
        };
        build.run(lanes);
        let cached = Cached {
            schedule,
            table: &table,
            ahead: 0,
            run,
        };
        cached.run(lanes);
    }
}

/// Counter mode with a table that is valid for the run.
struct Cached<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    table: &'a Table,
    /// Blocks before the first register of the table; the run is longer.
    ahead: usize,
    run: Run<'a>,
}

impl<L: Lanes, const KEYS: usize> Work<L> for Cached<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "a group that ends in a flight ends at 1 to FLIGHT"
    )]
    fn run(self, lanes: L) {
        let Self {
            schedule,
            table,
            ahead,
            mut run,
        } = self;
        if ahead != 0 {
            let run = run.take(ahead);
            Plain { schedule, run }.run(lanes);
        }
        let correction = |counter| table.correction(lanes, schedule, lanes.counters(counter));
        let mut register = Table::register::<L>(run.counter());
        // One for each register in flight: where a group ends on the way, they differ, even within a register.
        let mut corrections = [correction(run.counter()); FLIGHT];
        while run.blocks() >= FLIGHT * L::BLOCKS {
            let left = Table::registers::<L>() - register;
            if left <= FLIGHT {
                let behind = run.counter().wrapping_add((left * L::BLOCKS) as u128);
                corrections[left - 1] = correction(behind.wrapping_sub(L::BLOCKS as u128));
                corrections[left..].fill(correction(behind));
            }
            let mut state = corrections;
            for (ahead, state) in state.iter_mut().enumerate() {
                *state = lanes.xor(*state, table.entry(lanes, register + ahead));
            }
            finish::<L, KEYS, FLIGHT>(lanes, schedule, 3, state, &mut run, L::BLOCKS);
            if left <= FLIGHT {
                corrections = [correction(run.counter()); FLIGHT];
            }
            register = (register + FLIGHT) % Table::registers::<L>();
        }
        Plain { schedule, run }.run(lanes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kernel;
    use stillkey_core::cipher::Portable;
    use stillkey_core::{CipherProvider, Iv, SecretBytes};

    const GROUP: u128 = 256;

    /// Runs of `blocks` blocks from `counter` on, plain and prepared for `prepared_for`, equal the portable kernel's.
    fn assert_equal(
        kernel: &Kernel,
        cipher: Cipher,
        prepared_for: u128,
        counter: u128,
        blocks: usize,
    ) {
        let key = DataKey::new(cipher, SecretBytes::new(vec![0x5a; cipher.key_len()])).unwrap();
        let Some(plain) = kernel.ctr(Features::detect(), &key) else {
            return;
        };
        let iv = |counter: u128| Iv::new(counter.to_be_bytes());
        let prepared = plain.prepared(&iv(prepared_for)).unwrap();
        let apply = |kernel: &dyn CtrKernel| {
            let mut data = vec![7; blocks * BLOCK_LEN];
            kernel.apply(&iv(counter), 0, data.as_mut_slice().into());
            data
        };
        let expected = apply(&*Portable.ctr(&key));
        let name = kernel.name();
        assert!(
            apply(&*plain) == expected,
            "{name} {cipher:?} {counter:x} {blocks}"
        );
        assert!(
            apply(&*prepared) == expected,
            "{name} {cipher:?} prepared for {prepared_for:x}, {counter:x} {blocks}"
        );
    }

    fn every_kernel(check: impl Fn(&Kernel, Cipher)) {
        for kernel in Kernel::all() {
            for cipher in kernel.ciphers() {
                if *cipher != Cipher::Sm4 && !kernel.needs().is_empty() {
                    check(kernel, *cipher);
                }
            }
        }
    }

    #[test]
    fn a_table_serves_every_start_within_a_group_for_every_phase() {
        every_kernel(|kernel, cipher| {
            for prepared_for in [0, 1, 2, 3, 0xff, 7 * GROUP + 5] {
                for start in (0..GROUP).step_by(5).chain([253, 254, 255]) {
                    assert_equal(kernel, cipher, prepared_for, 3 * GROUP + start, 600);
                }
            }
        });
    }

    #[test]
    fn a_table_built_for_one_run_ends_with_any_number_of_blocks() {
        every_kernel(|kernel, cipher| {
            for more in 0..40 {
                assert_equal(kernel, cipher, 0, 0x1234_56fd, Lengths::CACHED + more);
            }
        });
    }

    #[test]
    fn a_run_past_what_a_table_is_valid_for_goes_without() {
        every_kernel(|kernel, cipher| {
            // Byte 10 changes: within the run, and between the table and the run.
            assert_equal(kernel, cipher, 0, (1 << 40) - 300, 2000);
            assert_equal(kernel, cipher, 0, 1 << 40, 2000);
            assert_equal(kernel, cipher, u128::MAX, 0, 2000);
            assert_equal(kernel, cipher, u128::MAX, u128::MAX - 1999, 2000);
        });
    }
}
