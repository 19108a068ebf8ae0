//! Counter-mode caching: the first two rounds of AES, looked up by the counter.
//!
//! Consecutive counters differ in their last byte, and one round carries that byte into one column only, the second into one byte of
//! every column. MixColumns is linear, so the state after two rounds is the sum of what the last byte (with bytes 0, 5 and 10, which share
//! its column) contributes, which this table holds for its 256 values, and of what all other bytes contribute, which is constant for 256
//! counters in a row: the correction. Source: Park and Lee, "FACE: Fast AES CTR mode Encryption Techniques based on the Reuse of Repetitive
//! Data" (CHES 2018).
//!
//! A table for one run is filled on the way through its first 256 blocks, which need those two rounds anyway.
//!
//! The index is the counter, which is public, so the look-up tells nothing. What the table holds is secret.

use std::hint::black_box;
use std::mem::MaybeUninit;

use zeroize::optimization_barrier;

use super::lanes::{Lanes, Work};
use super::schedule::Schedule;
use crate::secret::Zeroable;

/// Blocks that an entry each is for.
pub(super) const BLOCKS: usize = 256;

/// The entries, 4 KiB: exactly a slot of protected memory. Which counters they are valid for, their [`Origin`] says.
///
/// The registers of a group are in the opposite order: while data is walked upwards, the table is walked downwards, and their addresses
/// don't keep agreeing in the last 12 bits, which would hold up every load behind the store before it.
#[repr(align(64))]
pub(super) struct Table([MaybeUninit<[u8; 16]>; BLOCKS]);

// SAFETY: memory without content, aligned to 64 bytes.
unsafe impl Zeroable for Table {}

/// The counter that a table was built for. The table is valid for counters that agree with it in bytes 0 to 10, and in the last byte modulo
/// the number of blocks in a register: a run of data begins anywhere in a group of 256, and its registers with it.
#[derive(Clone, Copy)]
pub(super) struct Origin(pub(super) u128);

/// Fills `table` for `origin`.
pub(super) struct Build<'a, const KEYS: usize> {
    pub(super) schedule: &'a Schedule<KEYS>,
    pub(super) origin: Origin,
    pub(super) table: &'a mut Table,
}

impl<L: Lanes, const KEYS: usize> Work<L> for Build<'_, KEYS> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self {
            schedule,
            origin: Origin(counter),
            table,
        } = self;
        let group = counter & !0xff;
        let base = lanes.groups(lanes.counters(group));
        let mut counters = lanes.counters(group + counter % L::BLOCKS as u128);
        for register in 0..BLOCKS / L::BLOCKS {
            // The last byte alone counts: behind 255 it begins again in the same group.
            let last_byte = lanes.xor(counters, lanes.groups(counters));
            let entry = two_rounds(lanes, schedule, lanes.xor(base, last_byte));
            table.set_entry(lanes, register, entry);
            counters = lanes.advance(counters, L::BLOCKS as u64);
        }
    }
}

impl Table {
    /// Every entry is to be set before it is read.
    #[inline(always)]
    pub(super) const fn unfilled() -> Self {
        Self([MaybeUninit::uninit(); BLOCKS])
    }

    /// Whether `blocks` blocks, at least one, from `counter` on can share a table.
    pub(super) fn spans(counter: u128, blocks: usize) -> bool {
        (counter + (blocks as u128 - 1)) >> 40 == counter >> 40
    }

    /// The contribution of register `register` of a group, counted modulo their number.
    ///
    /// # Safety
    /// This entry was set, if the table was unfilled.
    #[inline(always)]
    pub(super) unsafe fn entry<L: Lanes>(&self, lanes: L, register: usize) -> L::Vector {
        let entries = self.0.as_ptr().cast::<u8>();
        // SAFETY: `position` stays within the entries.
        unsafe { lanes.read(entries.add(position::<L>(register)), L::BLOCKS) }
    }

    /// Sets what [`Table::entry`] returns.
    #[inline(always)]
    pub(super) fn set_entry<L: Lanes>(&mut self, lanes: L, register: usize, entry: L::Vector) {
        let entries = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: `position` stays within the entries.
        unsafe { lanes.write(entries.add(position::<L>(register)), entry, L::BLOCKS) };
    }

    /// Leaves nothing of what a table on the stack held.
    #[inline(always)]
    pub(super) fn wipe<L: Lanes>(&mut self, lanes: L) {
        // By registers, and not recognised as a memset, which would first wait for the rounds that are under way.
        let zero = lanes.counters(black_box(0));
        for register in 0..Self::registers::<L>() {
            self.set_entry(lanes, register, zero);
        }
        optimization_barrier(self);
    }

    /// The register of a group that begins with `counter`, which is aligned as [`Origin::alignment`] says.
    pub(super) fn register<L: Lanes>(counter: u128) -> usize {
        let last_byte = (counter & 0xff) as usize;
        last_byte / L::BLOCKS
    }

    /// Registers in a group.
    pub(super) const fn registers<L: Lanes>() -> usize {
        BLOCKS / L::BLOCKS
    }
}

impl Origin {
    /// Blocks from `counter` to the next one where a register of the table begins; `None` where the table isn't valid for all of
    /// `blocks` blocks.
    pub(super) fn alignment<L: Lanes>(self, counter: u128, blocks: usize) -> Option<usize> {
        let valid = Table::spans(counter, blocks) && counter >> 40 == self.0 >> 40;
        let ahead = self.0.wrapping_sub(counter) % L::BLOCKS as u128;
        valid.then_some(ahead as usize)
    }

    /// What is missing in the entries for the group of `counter`.
    #[inline(always)]
    pub(super) fn missing<L: Lanes, const KEYS: usize>(
        self,
        lanes: L,
        schedule: &Schedule<KEYS>,
        counter: u128,
    ) -> L::Vector {
        let group = |counter: u128| lanes.groups(lanes.counters(counter & !0xff));
        lanes.xor(
            two_rounds(lanes, schedule, group(self.0)),
            two_rounds(lanes, schedule, group(counter)),
        )
    }
}

/// The offset in bytes of a register's entry. Below the size of the entries, whatever `register` is.
#[inline(always)]
const fn position<L: Lanes>(register: usize) -> usize {
    let registers = BLOCKS / L::BLOCKS;
    (registers - 1 - register % registers) * L::BLOCKS * 16
}

/// The state after the first two rounds.
#[inline(always)]
pub(super) fn two_rounds<L: Lanes, const KEYS: usize>(
    lanes: L,
    schedule: &Schedule<KEYS>,
    counters: L::Vector,
) -> L::Vector {
    // Loaded anew each time: kept for the next group, they would be spilled to the stack and stay there.
    let schedule = black_box(schedule);
    let [first, second, third, ..] = schedule.keys().as_slice() else {
        unreachable!("there are 11 round keys or more");
    };
    let state = lanes.xor(lanes.big_endian(counters), lanes.load(first));
    lanes.round(lanes.round(state, lanes.load(second)), lanes.load(third))
}
