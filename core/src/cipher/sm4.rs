//! SM4 in constant time without anything of the processor: bitsliced, so that the S-box is a circuit in place of a table.
//!
//! A word of a block is eight planes, one for each bit of its bytes. A plane's `u32` holds that bit of all four bytes of eight blocks, so the
//! rotations by whole bytes in the linear map L are rotations of the `u32`, and the shift inside of the bytes is a renaming of planes.
//! Planes are arrays of `u32`s, and every loop over them is innermost: the compiler makes vector instructions of it wherever there are some.

mod sbox;

use alloc::boxed::Box;

use inout::InOutBuf;
use zeroize::{Zeroizing, optimization_barrier};

use super::{Block, CtrBlocks, schedule};

/// One word of each of `8 * N` blocks: `[bit][lane]`. Bit `8 * byte + j` of a lane belongs to block `N * j + lane`.
type Planes<const N: usize> = [[u32; N]; 8];

/// Four lanes make a 128-bit vector, which is 512 bytes of data. More of them are no faster.
const LANES: usize = 4;

/// The blocks of one lane: as many cost as much as one, and four lanes nearly twice that.
const LANE_BLOCKS: usize = 8;

/// SM4 with an expanded key. Source: GB/T 32907-2016; draft-ribose-cfrg-sm4-10 in English.
pub(super) struct Sm4 {
    /// For each round the planes of its key, equal for all lanes. Boxed, so that moving the kernel leaves no copy behind.
    round_keys: Box<Zeroizing<[[u32; 8]; 32]>>,
}

impl Sm4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        // What the S-box adds is added to the round keys, so that no round has to: its input's share directly, its output's share, which
        // stays in every word it comes to, wherever that word is an input. After 32 rounds each word got it eight times: nothing.
        const INPUT: u32 = u32::from_ne_bytes([sbox::INPUT; 4]);
        const OUTPUT: u32 = linear(u32::from_ne_bytes([sbox::OUTPUT; 4]));
        let mut carried = [0; 4];
        let mut round_keys = Box::new(Zeroizing::new([[0; 8]; 32]));
        for (planes, round_key) in round_keys
            .iter_mut()
            .zip(schedule::sm4(key, sbox::sub_word).iter())
        {
            let [a, b, c, d] = carried;
            *planes = broadcast(round_key ^ INPUT ^ b ^ c ^ d);
            carried = [b, c, d, a ^ OUTPUT];
        }
        Self { round_keys }
    }

    /// XORs the keystream over at most `8 * N` blocks.
    fn apply_to<const N: usize>(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        let mut state = counters::<N>(counter);
        self.encrypt(&mut state);
        for planes in &mut state {
            transpose(planes);
        }
        xor(&state, blocks);
        state = [[[0; N]; 8]; 4];
        optimization_barrier(&state);
    }

    /// Leaves the words in the order of the rounds: the block's last word first.
    fn encrypt<const N: usize>(&self, [a, b, c, d]: &mut [Planes<N>; 4]) {
        for [first, second, third, fourth] in self.round_keys.as_chunks().0 {
            round(a, b, c, d, first);
            round(b, c, d, a, second);
            round(c, d, a, b, third);
            round(d, a, b, c, fourth);
        }
    }
}

impl CtrBlocks for Sm4 {
    fn apply_blocks(&self, mut counter: u128, mut blocks: InOutBuf<'_, '_, Block>) {
        while blocks.len() > LANE_BLOCKS {
            let group_len = blocks.len().min(LANES * LANE_BLOCKS);
            let (group, rest) = blocks.split_at(group_len);
            self.apply_to::<LANES>(counter, group);
            counter = counter.wrapping_add((LANES * LANE_BLOCKS) as u128);
            blocks = rest;
        }
        if !blocks.is_empty() {
            self.apply_to::<1>(counter, blocks);
        }
    }
}

/// The linear map behind the S-box.
const fn linear(x: u32) -> u32 {
    x ^ x.rotate_left(2) ^ x.rotate_left(10) ^ x.rotate_left(18) ^ x.rotate_left(24)
}

/// `out ^= L(S(a ^ b ^ c ^ round_key))`, but for what the S-box adds.
#[expect(
    clippy::indexing_slicing,
    reason = "there are 8 planes of N lanes by type, and every index is below these by its loop's bounds"
)]
fn round<const N: usize>(
    out: &mut Planes<N>,
    a: &Planes<N>,
    b: &Planes<N>,
    c: &Planes<N>,
    round_key: &[u32; 8],
) {
    for lane in 0..N {
        let mut x = *round_key;
        for bit in 0..8 {
            x[bit] ^= a[bit][lane] ^ b[bit][lane] ^ c[bit][lane];
        }
        let x = sbox::circuit(x);
        // L(x) = x + x<<<24 + (x + x<<<8 + x<<<16)<<<2. The sum in parentheses is that of all four bytes and x<<<24.
        let (mut sums, mut others) = ([0; 8], [0; 8]);
        for bit in 0..8 {
            let turned = x[bit].rotate_left(24);
            sums[bit] = x[bit] ^ turned;
            others[bit] = sums[bit] ^ sums[bit].rotate_left(16) ^ turned;
        }
        for bit in 0..8 {
            let shifted = match bit {
                0 | 1 => others[bit + 6].rotate_left(8),
                _ => others[bit - 2],
            };
            out[bit][lane] ^= sums[bit] ^ shifted;
        }
    }
}

/// The planes of one word that all blocks have in common.
fn broadcast(word: u32) -> [u32; 8] {
    core::array::from_fn(|bit| ((word >> bit) & 0x0101_0101) * 0xff)
}

/// The planes of the words of `8 * N` counters.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "there are 8 planes of N lanes by type, and every index is below these by its loop's bounds; words are cut out of the counter"
)]
fn counters<const N: usize>(first: u128) -> [Planes<N>; 4] {
    let shared = |shift: u32| broadcast((first >> shift) as u32).map(|plane| [plane; N]);
    let (mut third, mut fourth) = ([[0; N]; 8], [[0; N]; 8]);
    for j in 0..8 {
        for lane in 0..N {
            // What wraps here belongs to no block: the caller splits there.
            let low = (first as u64).wrapping_add((N * j + lane) as u64);
            third[j][lane] = (low >> 32) as u32;
            fourth[j][lane] = low as u32;
        }
    }
    transpose(&mut third);
    transpose(&mut fourth);
    [shared(96), shared(64), third, fourth]
}

/// Exchanges a bit's place in its byte with the number of its plane, both ways: eight blocks' words become planes, and planes words.
#[expect(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "there are 8 planes of N lanes by type, and every index is below these by its loop's bounds; lanes are the inner index"
)]
fn transpose<const N: usize>(planes: &mut Planes<N>) {
    for lane in 0..N {
        let mut swap = |i: usize, j: usize, mask: u32| {
            let distance = j - i;
            let changed = ((planes[i][lane] >> distance) ^ planes[j][lane]) & mask;
            planes[i][lane] ^= changed << distance;
            planes[j][lane] ^= changed;
        };
        for i in [0, 2, 4, 6] {
            swap(i, i + 1, 0x5555_5555);
        }
        for i in [0, 1, 4, 5] {
            swap(i, i + 2, 0x3333_3333);
        }
        for i in [0, 1, 2, 3] {
            swap(i, i + 4, 0x0f0f_0f0f);
        }
    }
}

/// XORs the keystream, whose words [`Sm4::encrypt`] left in reverse, over the blocks.
fn xor<const N: usize>(state: &[Planes<N>; 4], blocks: InOutBuf<'_, '_, Block>) {
    let [fourth, third, second, first] = state.each_ref().map(|words| words.as_flattened());
    let words = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (mut block, ((first, second), (third, fourth))) in blocks.into_iter().zip(words) {
        let words = [first, second, third, fourth].map(|word| word.to_be_bytes());
        let mut keystream = Block::default();
        keystream.copy_from_slice(words.as_flattened());
        block.xor_in2out(&keystream);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn keystream(cipher: &Sm4, counter: u128, len: usize) -> Vec<Block> {
        let mut blocks = vec![Block::default(); len];
        cipher.apply_blocks(counter, blocks.as_mut_slice().into());
        blocks
    }

    #[test]
    fn the_block_of_the_standard_is_encrypted_as_there() {
        // GB/T 32907-2016, appendix A.1: key and plaintext are equal.
        let key = 0x01234567_89abcdef_fedcba98_76543210_u128;
        let block = keystream(&Sm4::new(&key.to_be_bytes()), key, 1);
        let expected = 0x681edf34_d206965e_86b3e94f_536e4246_u128;
        assert_eq!(block, [Block::from(expected.to_be_bytes())]);
    }

    #[test]
    fn a_block_is_the_same_alone_and_among_others() {
        let cipher = Sm4::new(&[0x5a; 16]);
        // The low 32 bits wrap on the way, at a different place of a group each time.
        let first = 0xf0e1d2c3_b4a59687_00000007_ffffffd3_u128;
        let alone: Vec<_> = (0..100)
            .flat_map(|i| keystream(&cipher, first + i, 1))
            .collect();
        for from in 0..alone.len() {
            for to in from + 1..alone.len() {
                let among = keystream(&cipher, first + from as u128, to - from);
                assert_eq!(among, alone[from..to], "{from}..{to}");
            }
        }
    }
}
