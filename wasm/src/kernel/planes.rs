//! Thirty-two blocks as planes of bits: how counters get there, and how a keystream gets back.
//!
//! A [`State`] is four groups of eight planes. Bit `p` of the bytes of a group stands in its plane `p`; the plane's four lanes of 32 bits
//! are four bytes of a block, and bit `n` of a lane is that of block `n`. A cipher chooses which bytes form a group: what moves bits
//! between planes or groups is a matter of names, and to turn the lanes of a plane takes one instruction.

use core::arch::wasm32::*;

use bytemuck::must_cast;
use inout::InOutBuf;
use stillkey_core::cipher::{Block, CtrBlocks};
use zeroize::optimization_barrier;

use crate::sbox::Plane;

/// The bits of a group of bytes, the lowest first.
pub(super) type Planes = [v128; 8];

/// Four groups of planes, or 32 blocks.
pub(super) type State = [Planes; 4];

const ZERO: v128 = u64x2(0, 0);

/// Blocks in a [`State`].
const STRIDE: u8 = 32;

impl Plane for v128 {
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        v128_xor(self, other)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        v128_and(self, other)
    }
}

/// A cipher that makes the keystream of 32 consecutive counters.
pub(super) trait Keystream: Send + Sync {
    /// Block `n` of the keystream from `counter` on becomes vector `n` of `state`, counted through its groups.
    fn keystream(&self, counter: u128, state: &mut State);
}

/// Any number of blocks, in strides of 32.
pub(super) struct Strides<K>(pub(super) K);

impl<K: Keystream> CtrBlocks for Strides<K> {
    fn apply_blocks(&self, mut counter: u128, mut blocks: InOutBuf<'_, '_, Block>) {
        let mut state = [[ZERO; 8]; 4];
        while !blocks.is_empty() {
            let stride = blocks.len().min(usize::from(STRIDE));
            let (now, later) = blocks.split_at(stride);
            self.0.keystream(counter, &mut state);
            for (mut block, keystream) in now.into_iter().zip(state.as_flattened()) {
                let sum = v128_xor(must_cast(block.get_in().0), *keystream);
                block.get_out().0 = must_cast(sum);
            }
            counter = counter.wrapping_add(u128::from(STRIDE));
            blocks = later;
        }
        state.as_flattened_mut().fill(ZERO);
        optimization_barrier(&state);
    }
}

/// The planes that the same block has in all 32 places: byte `g` of each lane of `lanes` goes to group `g`.
pub(super) fn broadcast(lanes: v128, groups: &mut [Planes]) {
    for (bit, plane) in groups.as_flattened_mut().iter_mut().enumerate() {
        *plane = broadcast_bit(lanes, bit);
    }
}

#[inline(always)]
fn broadcast_bit(lanes: v128, bit: usize) -> v128 {
    i32x4_shr(i32x4_shl(lanes, 31 - bit as u32), 31)
}

/// Fills `state` with 32 consecutive counters. `lanes` brings the bytes of one, big-endian, to where [`broadcast`] takes them from.
#[inline(always)]
pub(super) fn counters(first: u128, lanes: impl Fn(v128) -> v128, state: &mut State) {
    // Beyond the lowest five bits there are only two different counters: that of the first block, and the one that it carries into.
    let low = first as u32 % u32::from(STRIDE);
    let start = first - u128::from(low);
    let carried = start.wrapping_add(u128::from(STRIDE));
    let start = lanes(must_cast(start.to_be_bytes()));
    let difference = v128_xor(start, lanes(must_cast(carried.to_be_bytes())));
    let has_carried = u32x4_splat(u32::MAX.checked_shl(u32::from(STRIDE) - low).unwrap_or(0));
    for (bit, plane) in state.as_flattened_mut().iter_mut().enumerate() {
        let change = v128_and(broadcast_bit(difference, bit), has_carried);
        *plane = v128_xor(broadcast_bit(start, bit), change);
    }
    // The five bits of n, at bit n of a lane.
    const NUMBERS: [u32; 5] = [
        0xaaaa_aaaa,
        0xcccc_cccc,
        0xf0f0_f0f0,
        0xff00_ff00,
        0xffff_0000,
    ];
    for (plane, number) in state[3].iter_mut().zip(NUMBERS) {
        *plane = v128_xor(*plane, u32x4(0, 0, 0, number.rotate_right(low)));
    }
}

/// Turns planes into blocks. In a block, the four bytes that were lanes of one plane stand together if `zip` is [`zip_bytes`], and the
/// four that were groups if it is [`zip_words`].
#[inline(always)]
pub(super) fn blocks(state: &mut State, zip: impl Fn(v128, v128) -> [v128; 2]) {
    for planes in state.iter_mut() {
        transpose(planes);
    }
    for plane in 0..8 {
        // In the names, bits of the number of a group (g), lane (l) and block (n), as far as they tell vectors apart. Each step brings
        // the bit that two vectors differ in into them, and takes out the highest one of their position.
        let [g00, g01, g10, g11] = [0, 1, 2, 3].map(|group| state[group][plane]);
        let [g0_l0, g0_l1] = zip_bytes(g00, g10);
        let [g1_l0, g1_l1] = zip_bytes(g01, g11);
        let [l00, l01] = zip_bytes(g0_l0, g1_l0);
        let [l10, l11] = zip_bytes(g0_l1, g1_l1);
        let [l0_n0, l0_n1] = zip(l00, l10);
        let [l1_n0, l1_n1] = zip(l01, l11);
        let [n00, n01] = zip(l0_n0, l1_n0);
        let [n10, n11] = zip(l0_n1, l1_n1);
        for (planes, block) in state.iter_mut().zip([n00, n01, n10, n11]) {
            planes[plane] = block;
        }
    }
}

/// Transposes the 8 × 8 bits that the planes have at every byte.
#[inline(always)]
fn transpose(planes: &mut Planes) {
    for (distance, mask) in [(1, 0x55), (2, 0x33), (4, 0x0f)] {
        let mask = u8x16_splat(mask);
        for low in (0..8).filter(|plane| plane & distance == 0) {
            let (a, b) = (planes[low], planes[low + distance]);
            let swapped = v128_and(v128_xor(u64x2_shr(a, distance as u32), b), mask);
            planes[low] = v128_xor(a, u64x2_shl(swapped, distance as u32));
            planes[low + distance] = v128_xor(b, swapped);
        }
    }
}

/// The bytes of both in turn.
#[inline(always)]
pub(super) fn zip_bytes(a: v128, b: v128) -> [v128; 2] {
    [
        u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b),
        u8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b),
    ]
}

/// The four-byte words of both in turn.
#[inline(always)]
pub(super) fn zip_words(a: v128, b: v128) -> [v128; 2] {
    [
        u32x4_shuffle::<0, 4, 1, 5>(a, b),
        u32x4_shuffle::<2, 6, 3, 7>(a, b),
    ]
}

/// Round keys as planes, zeroized when dropped. Boxed, so that moving them leaves no copy behind.
pub(super) struct RoundKeys(pub(super) Box<[Planes]>);

impl RoundKeys {
    /// Room for the keys of `groups` groups.
    pub(super) fn zeros(groups: usize) -> Self {
        Self(vec![[ZERO; 8]; groups].into())
    }
}

impl Drop for RoundKeys {
    fn drop(&mut self) {
        self.0.fill([ZERO; 8]);
        optimization_barrier(&*self.0);
    }
}
