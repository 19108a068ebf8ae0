//! SM4 on planes. A group is a word of its state, and a lane a byte of the word: turning a word by eight bits turns lanes.

use core::arch::wasm32::*;

use bytemuck::must_cast;
use stillkey_core::cipher::schedule;

use super::planes::{self, Keystream, Planes, RoundKeys, State};
use crate::sbox::{self, Plane};

/// An expanded key: a group a round, with the constants of the S-box.
pub(super) struct Sm4(RoundKeys);

impl Sm4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let keys = schedule::sm4(key, |word| sbox::SM4.word(word));
        let mut round_keys = RoundKeys::zeros(keys.len());
        for (round, (round_key, key)) in round_keys.0.chunks_mut(1).zip(&*keys).enumerate() {
            // The circuit leaves out what the S-box adds at its end, so a word that was changed by an odd number of rounds lacks that, as
            // the linear map has it: which turns equal bytes left by two. Here the three words that come together get it back.
            let lacking = (round + 1..=round + 3).filter(|word| word / 4 % 2 == 1);
            let mut constant = sbox::SM4.before;
            if lacking.count() % 2 == 1 {
                constant ^= sbox::SM4.after.rotate_left(2);
            }
            let bytes = key.to_be_bytes().map(|byte| u32::from(byte ^ constant));
            planes::broadcast(must_cast(bytes), round_key);
        }
        Self(round_keys)
    }
}

impl Keystream for Sm4 {
    fn keystream(&self, counter: u128, state: &mut State) {
        planes::counters(counter, bytes_of_words, state);
        for (round, round_key) in self.0.0.iter().enumerate() {
            let mut sum = *round_key;
            for word in 1..4 {
                for (sum, plane) in sum.iter_mut().zip(&state[(round + word) % 4]) {
                    *sum = sum.xor(*plane);
                }
            }
            let change = linear(&sbox::SM4.circuit(sum));
            for (plane, change) in state[round % 4].iter_mut().zip(change) {
                *plane = plane.xor(change);
            }
        }
        state.reverse();
        planes::blocks(state, planes::zip_bytes);
    }
}

/// The bytes of a block that is four words, so that the four words are the bytes of each lane.
fn bytes_of_words(block: v128) -> v128 {
    u8x16_shuffle::<0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15>(block, block)
}

/// The word x turned left by 0, 2, 10, 18 and 24 bits, and added up.
#[inline(always)]
fn linear(x: &Planes) -> Planes {
    // x + x<<<24, and x + x<<<8 + x<<<16: what of it is to be turned by two.
    let (mut sum, mut to_turn) = (*x, *x);
    for plane in 0..8 {
        sum[plane] = x[plane].xor(u32x4_shuffle::<3, 0, 1, 2>(x[plane], x[plane]));
        to_turn[plane] = x[plane].xor(u32x4_shuffle::<2, 3, 0, 1>(sum[plane], sum[plane]));
    }
    let [.., six, seven] = to_turn;
    let from_below = [six, seven].map(|plane| u32x4_shuffle::<1, 2, 3, 0>(plane, plane));
    for (plane, turned) in sum.iter_mut().zip(from_below.iter().chain(&to_turn)) {
        *plane = plane.xor(*turned);
    }
    sum
}
