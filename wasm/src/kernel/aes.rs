//! AES on planes. A group is a row of its state, and a lane a column: ShiftRows turns lanes, and MixColumns adds up groups.

use core::arch::wasm32::*;

use bytemuck::must_cast;
use stillkey_core::cipher::schedule;
use zeroize::Zeroizing;

use super::planes::{self, Keystream, RoundKeys, State};
use crate::sbox::{self, Plane};

/// An expanded key.
pub(super) struct Aes {
    /// What is added to the counter before the first round.
    whitening: Box<Zeroizing<[u8; 16]>>,
    /// Four groups a round, with the constant of the S-box: MixColumns leaves equal bytes as they are.
    round_keys: RoundKeys,
}

impl Aes {
    /// `key` is 16, 24 or 32 bytes long.
    pub(super) fn new(key: &[u8]) -> Self {
        let sub_word = |word| sbox::AES.word(word);
        match key.len() {
            16 => Self::expanded(&*schedule::aes::<11>(key, sub_word)),
            24 => Self::expanded(&*schedule::aes::<13>(key, sub_word)),
            _ => Self::expanded(&*schedule::aes::<15>(key, sub_word)),
        }
    }

    fn expanded(keys: &[[u8; 16]]) -> Self {
        let after = u8x16_splat(sbox::AES.after);
        let mut round_keys = RoundKeys::zeros(4 * (keys.len() - 1));
        for (round_key, key) in round_keys.0.chunks_mut(4).zip(&keys[1..]) {
            planes::broadcast(v128_xor(must_cast(*key), after), round_key);
        }
        Self {
            whitening: Box::new(keys[0].into()),
            round_keys,
        }
    }
}

impl Keystream for Aes {
    fn keystream(&self, counter: u128, state: &mut State) {
        let whitening = must_cast(**self.whitening);
        planes::counters(counter, |block| v128_xor(block, whitening), state);
        let mut round_keys = self.round_keys.0.as_chunks().0.iter();
        while let Some(round_key) = round_keys.next() {
            for row in state.iter_mut() {
                *row = sbox::AES.circuit(*row);
            }
            if round_keys.len() > 0 {
                mix_columns(state, round_key);
            } else {
                last(state, round_key);
            }
        }
        planes::blocks(state, planes::zip_words);
    }
}

/// ShiftRows, in one plane.
#[inline(always)]
fn shifted(state: &State, plane: usize) -> [v128; 4] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|row| state[row][plane]);
    [
        a,
        u32x4_shuffle::<1, 2, 3, 0>(b, b),
        u32x4_shuffle::<2, 3, 0, 1>(c, c),
        u32x4_shuffle::<3, 0, 1, 2>(d, d),
    ]
}

/// ShiftRows, MixColumns, AddRoundKey.
#[inline(always)]
fn mix_columns(state: &mut State, round_key: &State) {
    // A byte becomes x(a + b) + b + c + d, where x moves bits up by one, and the highest one to where x^8 = x^4 + x^3 + x + 1 has bits.
    let sums = |[a, b, c, d]: [v128; 4]| [a.xor(b), b.xor(c), c.xor(d), d.xor(a)];
    let top = sums(shifted(state, 7));
    let mut below = top;
    for plane in 0..8 {
        let rows = shifted(state, plane);
        let sum = sums(rows);
        for row in 0..4 {
            let plain = rows[(row + 1) % 4].xor(sum[(row + 2) % 4]);
            state[row][plane] = plain.xor(below[row]).xor(round_key[row][plane]);
        }
        below = sum;
    }
    for plane in [1, 3, 4] {
        for row in 0..4 {
            state[row][plane] = state[row][plane].xor(top[row]);
        }
    }
}

/// ShiftRows, AddRoundKey.
#[inline(always)]
fn last(state: &mut State, round_key: &State) {
    for plane in 0..8 {
        let rows = shifted(state, plane);
        for row in 0..4 {
            state[row][plane] = rows[row].xor(round_key[row][plane]);
        }
    }
}
