//! SM4 where there are no instructions for it: its S-box by look-ups in registers.
//!
//! TBL fetches bytes out of registers, in a time that doesn't depend on which. The whole S-box would be a table of 16 registers, half of
//! all there are, in four look-ups that processors take apart again. Split into an inversion and what is linear, it takes tables of one
//! register, and these give the round's linear map as well. Where AES's instructions are, one of them is the inversion (and a
//! look-up undoes ShiftRows); elsewhere it is ten operations.
//!
//! The state is sliced: a register for each byte of a block, sixteen blocks side by side. So rotating by whole bytes is renaming, and what
//! is left of the rotations is in the tables. A round and block take 4 operations with AES's instruction and 6 without. There is no
//! narrower form for short data: sixteen blocks wait little longer for their S-boxes than four would.

use std::arch::aarch64::vaeseq_u8;
use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::DataKey;
use stillkey_core::cipher::{Block, Blockwise, CtrBlocks, CtrKernel, schedule};
use zeroize::{Zeroizing, optimization_barrier};

use super::sm4_sbox::{Nibbles, Sbox, TOWER, VIA_AES};
use super::vector::{Counter, Vector, xor};
use crate::cpu::{ArmAes, Features};

pub(super) fn expand_with_aes(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let proof = ArmAes::among(features)?;
    let key = key.secret().danger_bytes().try_into().ok()?;
    // SAFETY: the token proves the AES instructions.
    let round_keys = unsafe { WithAes::expand(key) };
    Some(Arc::new(Blockwise(WithAes {
        round_keys,
        _proof: proof,
    })))
}

pub(super) fn expand(_: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let key = key.secret().danger_bytes().try_into().ok()?;
    let round_keys = expand_key(&TOWER.sbox, key, invert);
    Some(Arc::new(Blockwise(Plain { round_keys })))
}

/// For each round what is XORed before the inversion: the four bytes of its key, as inner bytes.
type RoundKeys = Zeroizing<[[u8; 4]; 32]>;

struct Plain {
    round_keys: RoundKeys,
}

impl CtrBlocks for Plain {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        apply(&TOWER.sbox, &self.round_keys, counter, blocks, invert);
    }
}

struct WithAes {
    round_keys: RoundKeys,
    _proof: ArmAes,
}

impl CtrBlocks for WithAes {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        // SAFETY: `self` was made with a token, which proves the AES instructions.
        unsafe { Self::apply(&self.round_keys, counter, blocks) }
    }
}

impl WithAes {
    #[target_feature(enable = "neon,aes")]
    fn expand(key: &[u8; 16]) -> RoundKeys {
        expand_key(&VIA_AES, key, |inner| invert_with_aes(inner))
    }

    #[target_feature(enable = "neon,aes")]
    fn apply(round_keys: &RoundKeys, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        apply(&VIA_AES, round_keys, counter, blocks, |inner| {
            invert_with_aes(inner)
        });
    }
}

/// The inversion of [`VIA_AES`].
#[inline]
#[target_feature(enable = "neon,aes")]
fn invert_with_aes(inner: Vector) -> [Vector; 2] {
    /// ShiftRows fetches byte i from 5 i modulo 16; 13 is the inverse of 5.
    const UNSHIFT: [u8; 16] = [0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3];
    let shifted = Vector(vaeseq_u8(inner.0, Vector::splat(0).0));
    shifted.look_up(Vector::load(&UNSHIFT)).nibbles()
}

/// The inversion of [`TOWER`].
#[inline(always)]
fn invert(inner: Vector) -> [Vector; 2] {
    let [inverse, quotient] = [TOWER.inverse, TOWER.quotient].map(|table| Vector::load(&table));
    let [k, i] = inner.nibbles();
    let (j, ratio) = (i ^ k, quotient.look_up(k));
    [
        inverse.look_up(inverse.look_up(i) ^ ratio) ^ j,
        inverse.look_up(inverse.look_up(j) ^ ratio) ^ i,
    ]
}

/// Two tables in registers, for the nibbles of sixteen bytes.
#[derive(Clone, Copy)]
struct Tables([Vector; 2]);

impl Tables {
    #[inline(always)]
    fn load(nibbles: &Nibbles) -> Self {
        Self(nibbles.each_ref().map(Vector::load))
    }

    #[inline(always)]
    fn of(self, [low, high]: [Vector; 2]) -> Vector {
        let Self([for_low, for_high]) = self;
        for_low.look_up(low) ^ for_high.look_up(high)
    }
}

#[inline(always)]
fn expand_key(sbox: &Sbox, key: &[u8; 16], invert: impl Fn(Vector) -> [Vector; 2]) -> RoundKeys {
    let [enter, byte] = [&sbox.enter, &sbox.byte].map(Tables::load);
    let [before, after] = [sbox.before, sbox.after].map(Vector::splat);
    let inner = |word: u32| enter.of(Vector::splat_word(word).nibbles()) ^ before;
    let words = schedule::sm4(key, |word| {
        (byte.of(invert(inner(word))) ^ after).first_word()
    });
    let mut round_keys = RoundKeys::default();
    for (round_key, word) in round_keys.iter_mut().zip(words.iter()) {
        *round_key = inner(*word).first_word().to_be_bytes();
    }
    round_keys
}

#[inline(always)]
fn apply(
    sbox: &Sbox,
    round_keys: &RoundKeys,
    counter: u128,
    mut blocks: InOutBuf<'_, '_, Block>,
    invert: impl Fn(Vector) -> [Vector; 2],
) {
    let mut counter = Counter::new(counter);
    let mut keystream = [Vector::splat(0); 16];
    while !blocks.is_empty() {
        let in_group = blocks.len().min(keystream.len());
        let (group, rest) = blocks.split_at(in_group);
        keystream = encrypt(sbox, round_keys, counter.next(), &invert);
        for (block, keystream) in group.into_iter().zip(&keystream) {
            xor(block, *keystream);
        }
        blocks = rest;
    }
    // Bare keystream, and of the last group even some that no data has used.
    keystream = [Vector::splat(0); 16];
    optimization_barrier(&keystream);
}

/// A word of sixteen blocks, byte by byte, the highest first.
type Word = [Vector; 4];

#[inline(always)]
fn encrypt(
    sbox: &Sbox,
    round_keys: &RoundKeys,
    blocks: [Vector; 16],
    invert: impl Fn(Vector) -> [Vector; 2],
) -> [Vector; 16] {
    let [enter, leave] = [&sbox.enter, &sbox.leave].map(Tables::load);
    let round = Round {
        stays: Tables::load(&sbox.stays),
        moves: Tables::load(&sbox.moves),
        constant: Vector::splat(sbox.round),
        invert,
    };
    let mut words = [[Vector::splat(0); 4]; 4];
    for (inner, bytes) in words.as_flattened_mut().iter_mut().zip(transpose(blocks)) {
        *inner = enter.of(bytes.nibbles());
    }
    // Four at a time, so that the compiler gives words new names and doesn't move them.
    for [first, second, third, fourth] in round_keys.as_chunks().0 {
        words = round.run(words, first);
        words = round.run(words, second);
        words = round.run(words, third);
        words = round.run(words, fourth);
    }
    words.reverse();
    let mut planes = [Vector::splat(0); 16];
    for (bytes, inner) in planes.iter_mut().zip(words.as_flattened()) {
        *bytes = leave.of(inner.nibbles());
    }
    transpose(planes)
}

struct Round<Invert> {
    stays: Tables,
    moves: Tables,
    constant: Vector,
    invert: Invert,
}

impl<Invert: Fn(Vector) -> [Vector; 2]> Round<Invert> {
    /// The linear map takes byte n of the S-box's word, s, to l = s ^ (s << 2) in byte n, to r = s ^ (s >> 6) in byte n + 1, and to l ^ r
    /// in the two others. So if sum n is r of byte n and l of the byte before, each byte of the result is its own sum and all four.
    #[inline(always)]
    fn run(&self, [a, b, c, d]: [Word; 4], round_key: &[u8; 4]) -> [Word; 4] {
        let key = round_key.each_ref().map(Vector::splat_at);
        let substituted = xor_words(xor_words(b, c), xor_words(d, key)).map(&self.invert);
        let stay = substituted.map(|nibbles| self.stays.of(nibbles));
        let [first, second, third, fourth] = substituted.map(|nibbles| self.moves.of(nibbles));
        let sums = xor_words(stay, [fourth, first, second, third]);
        let [first, second, third, fourth] = sums;
        let all = first ^ second ^ third ^ fourth ^ self.constant;
        [b, c, d, xor_words(a, sums.map(|sum| sum ^ all))]
    }
}

#[inline(always)]
fn xor_words([a, b, c, d]: Word, [e, f, g, h]: Word) -> Word {
    [a ^ e, b ^ f, c ^ g, d ^ h]
}

/// Byte i of vector j becomes byte j of vector i.
#[inline(always)]
fn transpose(mut vectors: [Vector; 16]) -> [Vector; 16] {
    // Each step rotates the eight bits of (number of the vector, number of the byte) by one.
    for _ in 0..4 {
        let from = vectors;
        let (low, high) = from.split_at(8);
        let (pairs, _) = vectors.as_chunks_mut::<2>();
        for (pair, (a, b)) in pairs.iter_mut().zip(low.iter().zip(high)) {
            *pair = a.interleave(*b);
        }
    }
    vectors
}
