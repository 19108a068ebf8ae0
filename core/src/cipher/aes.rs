//! AES in constant time without anything of the processor: bitsliced, so that the S-box is a circuit in place of a table.
//!
//! Its state is taken by rows: ShiftRows is then a rotation of a plane's `u32`s by whole bytes, and MixColumns, which adds bytes of a column and
//! doubles them, has all that it adds in the same place of other rows, and a doubled byte's bits in the next plane.

#![expect(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "there are 8 planes of 4 rows of N lanes by type, and every index is below these by its loop's bounds; lanes are the inner index"
)]

pub(super) mod sbox;

use zeroize::optimization_barrier;

use super::bitsliced::{Planes, Planewise, broadcast};
use super::schedule;
use crate::secret::SecretBytes;

/// The rows of `8 * N` blocks: `[bit][row][lane]`. The highest byte of a lane is that of the first column.
type State<const N: usize> = [[[u32; N]; 4]; 8];

/// A round key: as [`State`], and equal for all lanes. Bytes, since that is what memory for secrets has.
type RoundKey = [[[u8; 4]; 4]; 8];

/// ShiftRows turns the rows by so many bits.
const SHIFTS: [u32; 4] = [0, 8, 16, 24];

/// AES with an expanded key. Source: FIPS 197.
pub(super) struct Aes {
    /// A [`RoundKey`] for each.
    round_keys: SecretBytes,
}

impl Aes {
    /// `KEYS` and `key` are as in [`schedule::aes`].
    pub(super) fn new<const KEYS: usize>(key: &[u8]) -> Self {
        // What the S-box adds to each byte comes out of ShiftRows and MixColumns as it was, and is added with the round's key.
        let additions = [0].into_iter().chain([sbox::OUTPUT; KEYS]);
        let schedule = schedule::aes::<KEYS>(key, sbox::sub_word);
        let mut round_keys = SecretBytes::zeroed(KEYS * size_of::<RoundKey>());
        let planes = round_keys.bytes_mut().as_chunks_mut().0;
        let planes: &mut [RoundKey] = planes.as_chunks_mut().0.as_chunks_mut().0;
        for ((planes, bytes), addition) in planes.iter_mut().zip(&*schedule).zip(additions) {
            for row in 0..4 {
                let columns = [0, 4, 8, 12].map(|column| bytes[column + row] ^ addition);
                for (rows, bits) in planes
                    .iter_mut()
                    .zip(broadcast(u32::from_be_bytes(columns)))
                {
                    rows[row] = bits.to_ne_bytes();
                }
            }
        }
        Self { round_keys }
    }
}

impl Planewise for Aes {
    fn encrypt<const N: usize>(&self, words: &mut [Planes<N>; 4]) {
        let planes = self.round_keys.danger_bytes().as_chunks().0;
        let [first, middle @ .., last]: &[RoundKey] = planes.as_chunks().0.as_chunks().0 else {
            unreachable!("there are 11 round keys or more");
        };
        exchange(words);
        let mut state = [[[0; N]; 4]; 8];
        for (bit, rows) in state.iter_mut().enumerate() {
            for (row, lanes) in rows.iter_mut().enumerate() {
                let round_key = u32::from_ne_bytes(first[bit][row]);
                *lanes = words[row][bit].map(|word| word ^ round_key);
            }
        }
        for round_key in middle {
            sub_bytes(&mut state);
            shift_rows_and_mix_columns(&mut state, round_key);
        }
        sub_bytes(&mut state);
        for (row, planes) in words.iter_mut().enumerate() {
            for (bit, lanes) in planes.iter_mut().enumerate() {
                let round_key = u32::from_ne_bytes(last[bit][row]);
                *lanes = state[bit][row].map(|word| word.rotate_left(SHIFTS[row]) ^ round_key);
            }
        }
        exchange(words);
        state = [[[0; N]; 4]; 8];
        optimization_barrier(&state);
    }
}

/// But for what the S-box adds.
// Apart from its callers, with each plane an argument: otherwise the compiler makes no vector instructions of it.
#[inline(never)]
fn sub_bytes<const N: usize>(state: &mut State<N>) {
    let [p0, p1, p2, p3, p4, p5, p6, p7] = state.each_mut().map(|rows| rows.as_flattened_mut());
    for i in 0..4 * N {
        let x = [p0[i], p1[i], p2[i], p3[i], p4[i], p5[i], p6[i], p7[i]];
        [p0[i], p1[i], p2[i], p3[i], p4[i], p5[i], p6[i], p7[i]] = sbox::circuit(x);
    }
}

/// ShiftRows, MixColumns, AddRoundKey.
#[inline(never)]
fn shift_rows_and_mix_columns<const N: usize>(state: &mut State<N>, round_key: &RoundKey) {
    for lane in 0..N {
        let mut x = [[0; 4]; 8];
        for bit in 0..8 {
            for row in 0..4 {
                x[bit][row] = state[bit][row][lane].rotate_left(SHIFTS[row]);
            }
        }
        // A row becomes 2·(itself + the next) + the next + (the one after it + the one after that).
        let sums = x.map(|[a, b, c, d]| [a ^ b, b ^ c, c ^ d, d ^ a]);
        for bit in 0..8 {
            for row in 0..4 {
                let doubled = match bit {
                    0 => sums[7][row],
                    1 | 3 | 4 => sums[bit - 1][row] ^ sums[7][row],
                    _ => sums[bit - 1][row],
                };
                state[bit][row][lane] = doubled
                    ^ x[bit][(row + 1) % 4]
                    ^ sums[bit][(row + 2) % 4]
                    ^ u32::from_ne_bytes(round_key[bit][row]);
            }
        }
    }
}

/// Exchanges a byte's place in its word with the number of its word, both ways: columns become rows, and rows columns.
fn exchange<const N: usize>([a, b, c, d]: &mut [Planes<N>; 4]) {
    let swap = |x: &mut Planes<N>, y: &mut Planes<N>, distance: u32, mask: u32| {
        let (x, y) = (x.as_flattened_mut(), y.as_flattened_mut());
        for (x, y) in x.iter_mut().zip(y) {
            let changed = ((*y >> distance) ^ *x) & mask;
            *y ^= changed << distance;
            *x ^= changed;
        }
    };
    swap(a, b, 8, 0x00ff_00ff);
    swap(c, d, 8, 0x00ff_00ff);
    swap(a, c, 16, 0x0000_ffff);
    swap(b, d, 16, 0x0000_ffff);
}

#[cfg(test)]
mod tests {
    use ::cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
    use aes::{Aes128, Aes192, Aes256};
    use alloc::vec::Vec;

    use super::*;
    use crate::cipher::bitsliced::{Lanes, tests::keystream};

    fn is_as_in_the_crate<C, const KEYS: usize>()
    where
        C: KeyInit + BlockCipherEncrypt<BlockSize = U16>,
    {
        for seed in 0..64_u8 {
            let bytes = (0..32_u8).map(|i| (i ^ seed).wrapping_mul(0x9d).rotate_left(seed.into()));
            let key: Vec<u8> = bytes.take(C::key_size()).collect();
            let first = 0xf0e1d2c3_b4a59687_00000007_fffffff3_u128 << (seed % 32);
            let counters = (first..).take(50).map(u128::to_be_bytes);
            let mut expected: Vec<_> = counters.map(Array::from).collect();
            C::new_from_slice(&key)
                .unwrap()
                .encrypt_blocks(&mut expected);
            assert_eq!(
                keystream(&Lanes(Aes::new::<KEYS>(&key)), first, 50),
                expected
            );
        }
    }

    #[test]
    fn blocks_are_encrypted_as_by_the_crate_aes() {
        is_as_in_the_crate::<Aes128, 11>();
        is_as_in_the_crate::<Aes192, 13>();
        is_as_in_the_crate::<Aes256, 15>();
    }

    #[test]
    fn the_blocks_of_the_standard_are_encrypted_as_there() {
        // FIPS 197, appendix C: one plaintext, keys of consecutive bytes.
        let plaintext = 0x00112233_44556677_8899aabb_ccddeeff_u128;
        let key: Vec<u8> = (0..32).collect();
        for (cipher, expected) in [
            (
                Aes::new::<11>(&key[..16]),
                0x69c4e0d8_6a7b0430_d8cdb780_70b4c55a_u128,
            ),
            (
                Aes::new::<13>(&key[..24]),
                0xdda97ca4_864cdfe0_6eaf70a0_ec0d7191,
            ),
            (Aes::new::<15>(&key), 0x8ea2b7ca_516745bf_eafc4990_4b496089),
        ] {
            assert_eq!(
                keystream(&Lanes(cipher), plaintext, 1),
                [expected.to_be_bytes()]
            );
        }
    }
}
