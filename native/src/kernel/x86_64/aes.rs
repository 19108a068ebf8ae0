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
use table::{Build, Origin, Table};

/// The choice by length, in blocks, measured on a Xeon of the fourth generation by the benches `throughput` and `seek`.
///
/// Up to `NARROW` blocks, a 128-bit register has the shorter latency. From `CACHED` on, a table that is filled on the way is repaid within
/// one call: at 768 blocks it loses 0 to 2 %, at 1024 it wins 0 to 5 %, at 2048 3 to 5 %. From `PREPARED` on, a table that is there already
/// is better than none: at 32 blocks, the shortest flight on 512 bits, by a tenth.
struct Lengths;

impl Lengths {
    const NARROW: usize = 1;
    const CACHED: usize = 1024;
    const PREPARED: usize = 32;
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
    table: Option<(SecretBox<Table>, Origin)>,
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
            && let Some((table, origin)) = &self.table
            && let Some(ahead) = origin.alignment::<L>(counter, blocks)
        {
            return self.lanes.enter(Cached {
                schedule,
                table,
                origin: *origin,
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
        self.lanes.apply_short(&self.schedule, counter, skip, data)
    }

    fn prepared(&self, counter: u128) -> Option<Arc<dyn CtrKernel>> {
        let mut table = SecretBox::<Table>::zeroed_if_there_is_room()?;
        let origin = Origin(counter);
        self.lanes.enter(Build {
            schedule: &self.schedule,
            origin,
            table: &mut table,
        });
        Some(Arc::new(Blockwise(Self {
            narrow: self.narrow,
            lanes: self.lanes,
            schedule: self.schedule.duplicate()?,
            table: Some((table, origin)),
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
        while run.blocks() >= FLIGHT * L::BLOCKS {
            if stays_in_group::<L>(run.counter()) {
                let states = within_group(lanes, counters, schedule);
                finish::<L, KEYS, FLIGHT>(lanes, schedule, 1, states, &mut run, L::BLOCKS);
                counters = lanes.advance(counters, (FLIGHT * L::BLOCKS) as u64);
            } else {
                counters = plain::<L, KEYS, FLIGHT>(lanes, schedule, counters, &mut run, L::BLOCKS);
            }
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

/// The states before the first round of a flight that begins with `counters` and stays in its group: they are turned round but once.
#[inline(always)]
fn within_group<L: Lanes, const KEYS: usize>(
    lanes: L,
    counters: L::Vector,
    schedule: &Schedule<KEYS>,
) -> [L::Vector; FLIGHT] {
    let counters = lanes.big_endian(counters);
    let first = lanes.load(&schedule.keys()[0]);
    let mut states = [counters; FLIGHT];
    for (register, state) in states.iter_mut().enumerate() {
        let blocks = (register * L::BLOCKS) as u64;
        *state = lanes.xor(lanes.advance_last_byte(counters, blocks), first);
    }
    states
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
        counters = lanes.advance(counters, L::BLOCKS as u64);
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

/// Counter mode with a table that is filled on the way, and wiped behind it. The run is longer than the table.
struct CachedOnce<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    run: Run<'a>,
}

impl<L: Lanes, const KEYS: usize> Work<L> for CachedOnce<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { schedule, mut run } = self;
        let mut table = Table::unfilled();
        let origin = Origin(run.counter());
        let filling = Filling {
            schedule,
            table: &mut table,
        };
        flights(
            lanes,
            schedule,
            &mut run.take(table::BLOCKS),
            origin,
            filling,
        );
        let cached = Cached {
            schedule,
            table: &table,
            origin,
            ahead: 0,
            run,
        };
        cached.run(lanes);
        table.wipe(lanes);
    }
}

/// Counter mode with a table that is valid for the run.
struct Cached<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    /// Every entry is set that a flight within a group needs.
    table: &'a Table,
    origin: Origin,
    /// Blocks before the first register of the table; the run is longer.
    ahead: usize,
    run: Run<'a>,
}

impl<L: Lanes, const KEYS: usize> Work<L> for Cached<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self {
            schedule,
            table,
            origin,
            ahead,
            mut run,
        } = self;
        if ahead != 0 {
            let run = run.take(ahead);
            Plain { schedule, run }.run(lanes);
        }
        flights(lanes, schedule, &mut run, origin, Filled(table));
        Plain { schedule, run }.run(lanes);
    }
}

/// Where the state after two rounds comes from.
trait TwoRounds<L: Lanes> {
    /// The states of a flight within a group that begins with `counter`, given what is `missing` in the group's entries.
    fn states(&mut self, lanes: L, counter: u128, missing: L::Vector) -> [L::Vector; FLIGHT];
}

/// From a table that has the entries of every flight within a group: all of them, or those that [`Filling`] set in the first group. A flight
/// that leaves its group does so at the same place in each, so its entries are neither set nor read.
struct Filled<'a>(&'a Table);

impl<L: Lanes> TwoRounds<L> for Filled<'_> {
    #[inline(always)]
    fn states(&mut self, lanes: L, counter: u128, missing: L::Vector) -> [L::Vector; FLIGHT] {
        let first = Table::register::<L>(counter);
        let mut states = [missing; FLIGHT];
        for (register, state) in (first..).zip(&mut states) {
            // SAFETY: the flight stays within its group, so its entries are set.
            *state = lanes.xor(*state, unsafe { self.0.entry(lanes, register) });
        }
        states
    }
}

/// From the rounds themselves, which go into the table as well.
struct Filling<'a, const KEYS: usize> {
    schedule: &'a Schedule<KEYS>,
    table: &'a mut Table,
}

impl<L: Lanes, const KEYS: usize> TwoRounds<L> for Filling<'_, KEYS> {
    #[inline(always)]
    fn states(&mut self, lanes: L, counter: u128, missing: L::Vector) -> [L::Vector; FLIGHT] {
        let first = Table::register::<L>(counter);
        let mut states = within_group(lanes, lanes.counters(counter), self.schedule);
        for key in &self.schedule.keys()[1..3] {
            let key = lanes.load(key);
            for state in &mut states {
                *state = lanes.round(*state, key);
            }
        }
        for (register, state) in (first..).zip(&states) {
            let entry = lanes.xor(*state, missing);
            self.table.set_entry(lanes, register, entry);
        }
        states
    }
}

/// As many whole flights as `run` has. One that leaves its group on the way goes without the table; it does so in every group.
#[inline(always)]
fn flights<L: Lanes, const KEYS: usize>(
    lanes: L,
    schedule: &Schedule<KEYS>,
    run: &mut Run<'_>,
    origin: Origin,
    mut two_rounds: impl TwoRounds<L>,
) {
    let mut missing = origin.missing(lanes, schedule, run.counter());
    while run.blocks() >= FLIGHT * L::BLOCKS {
        if stays_in_group::<L>(run.counter()) {
            let states = two_rounds.states(lanes, run.counter(), missing);
            finish::<L, KEYS, FLIGHT>(lanes, schedule, 3, states, run, L::BLOCKS);
        } else {
            let counters = lanes.counters(run.counter());
            plain::<L, KEYS, FLIGHT>(lanes, schedule, counters, run, L::BLOCKS);
        }
        let is_new_group = Table::register::<L>(run.counter()) < FLIGHT;
        if is_new_group {
            missing = origin.missing(lanes, schedule, run.counter());
        }
    }
}

/// Whether in a flight that begins with `counter`, only the last byte changes.
#[inline(always)]
fn stays_in_group<L: Lanes>(counter: u128) -> bool {
    let last_byte = (counter & 0xff) as usize;
    last_byte + FLIGHT * L::BLOCKS <= table::BLOCKS
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
        let prepared = plain.prepared(&iv(prepared_for));
        let prepared = prepared.expect("RLIMIT_MEMLOCK leaves room for a table");
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
