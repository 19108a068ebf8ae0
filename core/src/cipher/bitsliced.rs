//! Counter mode in constant time without anything of the processor: bitsliced, so that the S-boxes are circuits in place of tables.
//!
//! A word of a block is eight planes, one for each bit of its bytes. A plane's `u32` holds that bit of all four bytes of eight blocks. Planes are
//! arrays of `u32`s, and every loop over them is innermost: the compiler makes vector instructions of it wherever there are some.

use alloc::sync::Arc;

use inout::InOutBuf;
use zeroize::optimization_barrier;

use super::aes::Aes;
use super::sm4::Sm4;
use super::{Block, Blockwise, CipherProvider, CtrBlocks, CtrKernel};
use crate::method::Cipher;
use crate::secret::DataKey;
use crate::stack::wiped;

/// The bitsliced kernels, for processors with vectors and without instructions for a cipher: [`Portable`](super::Portable) looks for those of AES first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bitsliced;

impl CipherProvider for Bitsliced {
    fn name(&self, _: Cipher) -> &'static str {
        "bitsliced"
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        let bytes = key.secret().danger_bytes();
        wiped(|| match key.cipher() {
            Cipher::Aes128 => kernel(Aes::new::<11>(bytes)),
            Cipher::Aes192 => kernel(Aes::new::<13>(bytes)),
            Cipher::Aes256 => kernel(Aes::new::<15>(bytes)),
            Cipher::Sm4 => sm4(bytes),
        })
    }
}

/// SM4 alone, so that where no AES is bitsliced, none is linked.
#[expect(
    clippy::expect_used,
    reason = "DataKey and AeadKey have their cipher's key length by construction"
)]
pub(super) fn sm4(key: &[u8]) -> Arc<dyn CtrKernel> {
    let key = key.try_into().expect("the key has its cipher's length");
    kernel(Sm4::new(key))
}

fn kernel(cipher: impl Planewise + 'static) -> Arc<dyn CtrKernel> {
    Arc::new(Blockwise(Lanes(cipher)))
}

/// One word of each of `8 * N` blocks: `[bit][lane]`. Bit `8 * byte + j` of a lane belongs to block `N * j + lane`.
pub(super) type Planes<const N: usize> = [[u32; N]; 8];

/// A cipher over bit planes.
pub(super) trait Planewise: Send + Sync {
    /// Encrypts blocks, given as their big-endian words.
    fn encrypt<const N: usize>(&self, words: &mut [Planes<N>; 4]);
}

/// Four lanes make a 128-bit vector, which is 512 bytes of data. More of them are no faster.
const LANES: usize = 4;

/// The blocks of one lane: as many cost as much as one, and four lanes about twice that.
const LANE_BLOCKS: usize = 8;

/// Counter mode by as many lanes as there are blocks for.
pub(super) struct Lanes<C>(pub(super) C);

impl<C: Planewise> CtrBlocks for Lanes<C> {
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

impl<C: Planewise> Lanes<C> {
    /// XORs the keystream over at most `8 * N` blocks.
    fn apply_to<const N: usize>(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        let mut words = counters::<N>(counter);
        self.0.encrypt(&mut words);
        for planes in &mut words {
            transpose(planes);
        }
        xor(&words, blocks);
        words = [[[0; N]; 8]; 4];
        optimization_barrier(&words);
    }
}

/// The planes of one word that all blocks have in common.
pub(super) fn broadcast(word: u32) -> [u32; 8] {
    core::array::from_fn(|bit| ((word >> bit) & 0x0101_0101) * 0xff)
}

/// Puts each of four bytes through a circuit for planes.
pub(super) fn four_bytes(word: u32, circuit: impl Fn([u32; 8]) -> [u32; 8]) -> u32 {
    let bits = core::array::from_fn(|bit| (word >> bit) & 0x0101_0101);
    let bits = circuit(bits).into_iter().zip(0..);
    bits.fold(0, |sum, (bits, bit)| sum ^ (bits << bit))
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

/// XORs the keystream over the blocks.
fn xor<const N: usize>(words: &[Planes<N>; 4], blocks: InOutBuf<'_, '_, Block>) {
    let [first, second, third, fourth] = words.each_ref().map(|words| words.as_flattened());
    assert!(
        blocks.len() <= first.len(),
        "as much keystream as there are blocks"
    );
    let words = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (mut block, ((first, second), (third, fourth))) in blocks.into_iter().zip(words) {
        let words = [first, second, third, fourth].map(|word| word.to_be_bytes());
        let mut keystream = Block::default();
        keystream.copy_from_slice(words.as_flattened());
        block.xor_in2out(&keystream);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    pub(in crate::cipher) fn keystream(
        kernel: &impl CtrBlocks,
        counter: u128,
        len: usize,
    ) -> Vec<Block> {
        let mut blocks = vec![Block::default(); len];
        kernel.apply_blocks(counter, blocks.as_mut_slice().into());
        blocks
    }

    fn is_the_same_alone_and_among_others(kernel: &impl CtrBlocks) {
        // The low 32 bits wrap on the way, at a different place of a group each time.
        let first = 0xf0e1d2c3_b4a59687_00000007_ffffffd3_u128;
        let alone: Vec<_> = (0..100)
            .flat_map(|i| keystream(kernel, first + i, 1))
            .collect();
        for from in 0..alone.len() {
            for to in from + 1..alone.len() {
                let among = keystream(kernel, first + from as u128, to - from);
                assert_eq!(among, alone[from..to], "{from}..{to}");
            }
        }
    }

    #[test]
    fn a_block_is_the_same_alone_and_among_others() {
        is_the_same_alone_and_among_others(&Lanes(Aes::new::<15>(&[0x5a; 32])));
        is_the_same_alone_and_among_others(&Lanes(Sm4::new(&[0x5a; 16])));
    }
}
