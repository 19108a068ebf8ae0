//! SM4 on vector registers: what all its kernels here share.
//!
//! A [`Machine`] is a width of registers and a way to invert bytes. [`sm4_layouts`](super::sm4_layouts) makes the cipher of it,
//! and a [`Strategy`] chooses between layouts and machines by length.

use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::DataKey;
use stillkey_core::cipher::{BLOCK_LEN, Block, Blockwise, CtrBlocks, CtrKernel, schedule};
use zeroize::optimization_barrier;

use super::run::Run;
use super::sm4_field::OFFSET;
use crate::secret::{SecretBox, Zeroable};

/// Vector registers and the instructions that SM4 is made of. A value holds the token that proves that they exist.
///
/// The bytes of a word stand in memory order, the highest first, so that a rotation of the word to the left by 8 bits moves each
/// byte one place down.
pub(super) trait Machine: Copy + Send + Sync + 'static {
    type Vector: Copy;

    /// Blocks of 16 bytes in a register: 1, 2 or 4.
    const BLOCKS: u8;

    /// # Safety
    /// There are `BLOCKS` blocks to read at `from`, at any alignment.
    unsafe fn load(self, from: *const u8) -> Self::Vector;

    /// # Safety
    /// There are `BLOCKS` blocks to write at `to`, at any alignment.
    unsafe fn store(self, to: *mut u8, vector: Self::Vector);

    /// `word` in every lane, its lowest byte first.
    fn splat(self, word: u32) -> Self::Vector;
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each 16 bytes, the bytes of `vector` that `order` names.
    fn shuffle(self, vector: Self::Vector, order: Self::Vector) -> Self::Vector;
    /// The lower, and the upper, halves of each 16 bytes, alternating by bytes.
    fn interleave_bytes(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];
    /// The same, alternating by words.
    fn interleave_words(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];

    /// [`INTO`](super::sm4_field::INTO) of each byte.
    fn into_basis(self, bytes: Self::Vector) -> Self::Vector;
    /// [`OUT_OF`](super::sm4_field::OUT_OF) of each byte.
    fn out_of_basis(self, bytes: Self::Vector) -> Self::Vector;
    /// Inverts each byte, and multiplies with [`OWN`](super::sm4_field::OWN) and with [`LEFT`](super::sm4_field::LEFT).
    fn own_and_left(self, sum: Self::Vector) -> [Self::Vector; 2];
    /// The S-box on each byte, in the standard's own basis: for the key schedule.
    fn s_box(self, bytes: Self::Vector) -> Self::Vector;

    #[inline(always)]
    fn of_bytes(self, lanes: &[u8; 64]) -> Self::Vector {
        const { assert!(Self::BLOCKS <= 4) };
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.load(lanes.as_ptr()) }
    }

    #[inline(always)]
    fn of_words(self, lanes: &[u32; 16]) -> Self::Vector {
        const { assert!(Self::BLOCKS <= 4) };
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.load(lanes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn to_words(self, vector: Self::Vector) -> [u32; 16] {
        const { assert!(Self::BLOCKS <= 4) };
        let mut words = [0; 16];
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.store(words.as_mut_ptr().cast(), vector) };
        words
    }

    #[inline(always)]
    fn to_bytes(self, vector: Self::Vector) -> [u8; 64] {
        const { assert!(Self::BLOCKS <= 4) };
        let mut bytes = [0; 64];
        // SAFETY: the array is long enough, as just proven.
        unsafe { self.store(bytes.as_mut_ptr(), vector) };
        bytes
    }

    #[inline(always)]
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.xor(self.xor(a, b), c)
    }
}

/// A choice of machines and of layouts by length: one way to run SM4.
pub(super) trait Strategy: Copy + Send + Sync + 'static {
    fn expand(self, keys: &mut Keys, key: &[u8; 16]);
    /// XORs the keystream over all of `data`.
    fn apply(self, keys: &Keys, data: Run<'_>);
}

/// SM4 in counter mode, in one way to run it.
struct Sm4<S> {
    strategy: S,
    keys: SecretBox<Keys>,
}

impl<S: Strategy> CtrBlocks for Sm4<S> {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        self.strategy.apply(&self.keys, Run::new(counter, blocks));
    }
}

/// Expands `key` where it will stay, so that no copies of the round keys are left on the way; `None` for the key of another
/// cipher.
pub(super) fn kernel<S: Strategy>(strategy: S, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let bytes = key.secret().danger_bytes().try_into().ok()?;
    let mut keys = SecretBox::<Keys>::zeroed();
    strategy.expand(&mut keys, bytes);
    Some(Arc::new(Blockwise(Sm4 { strategy, keys })))
}

/// The round keys, in the basis of the state and with [`OFFSET`] added: as words, and each byte in all four places of a word.
#[repr(C, align(64))]
pub(super) struct Keys {
    /// One row more than there are rounds, which may be read and means nothing.
    by_bytes: [[u32; 4]; ROUNDS + 1],
    by_words: [u32; ROUNDS],
}

pub(super) const ROUNDS: usize = 32;

impl Keys {
    #[inline(always)]
    pub(super) fn by_words(&self) -> &[u32; ROUNDS] {
        &self.by_words
    }

    #[inline(always)]
    pub(super) fn by_bytes(&self) -> &[[u32; 4]; ROUNDS + 1] {
        &self.by_bytes
    }

    #[inline(always)]
    pub(super) fn expand<M: Machine>(&mut self, machine: M, key: &[u8; 16]) {
        let round_keys = schedule::sm4(key, |word| {
            let words = machine.of_words(&[word, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let [word, ..] = machine.to_words(machine.s_box(words));
            word
        });
        let rows = self.by_bytes.as_chunks_mut::<4>().0.iter_mut();
        let words = self.by_words.as_chunks_mut::<4>().0.iter_mut();
        for ((rows, words), round_keys) in rows.zip(words).zip(round_keys.as_chunks().0) {
            *words = mapped(machine, *round_keys)
                .map(|bytes| u32::from_le_bytes(bytes) ^ everywhere(OFFSET));
            *rows = words.map(|word| word.to_le_bytes().map(everywhere));
        }
    }
}

// SAFETY: integers, aligned to 64 bytes.
unsafe impl Zeroable for Keys {}

/// `byte` in all four places of a word.
pub(super) const fn everywhere(byte: u8) -> u32 {
    u32::from_ne_bytes([byte; 4])
}

impl Run<'_> {
    /// XORs `keystream` over as many blocks as it has, or as there are.
    #[inline(always)]
    pub(super) fn xor<M: Machine, const N: usize>(
        &mut self,
        machine: M,
        keystream: [M::Vector; N],
    ) {
        let per_vector = usize::from(M::BLOCKS);
        if self.blocks() >= N * per_vector {
            for (at, vector) in keystream.into_iter().enumerate() {
                // SAFETY: `at` is below N, and N times `M::BLOCKS` blocks are left at both places.
                unsafe { self.xor_at(machine, at, vector) };
            }
            self.advance(N * per_vector);
            return;
        }
        let vectors = self.blocks() / per_vector;
        for (at, vector) in keystream.into_iter().enumerate() {
            if at < vectors {
                // SAFETY: `at` is below the number of whole vectors that are left.
                unsafe { self.xor_at(machine, at, vector) };
            } else if at == vectors {
                self.advance(vectors * per_vector);
                self.xor_last_blocks(machine.to_bytes(vector));
                break;
            }
        }
    }

    /// # Safety
    /// More than `at` times `M::BLOCKS` blocks are left.
    #[inline(always)]
    unsafe fn xor_at<M: Machine>(&self, machine: M, at: usize, vector: M::Vector) {
        let at = at * usize::from(M::BLOCKS) * BLOCK_LEN;
        // SAFETY: the caller vouches for the place.
        unsafe {
            let sum = machine.xor(machine.load(self.from().add(at)), vector);
            machine.store(self.to().add(at), sum);
        }
    }

    /// All that is left, when that is less than a register has.
    #[inline(always)]
    fn xor_last_blocks(&mut self, mut keystream: [u8; 64]) {
        for block in keystream.as_chunks().0.iter().take(self.blocks()) {
            let block = u128::from_ne_bytes(*block);
            let (from, to) = (
                self.from().cast::<[u8; BLOCK_LEN]>(),
                self.to().cast::<[u8; BLOCK_LEN]>(),
            );
            // SAFETY: there is a block left, and arrays of bytes take any alignment.
            unsafe { to.write((u128::from_ne_bytes(from.read()) ^ block).to_ne_bytes()) };
            self.advance(1);
        }
        keystream.fill(0);
        optimization_barrier(&keystream);
    }
}

/// The bytes of `words` in the basis of the state.
#[inline(always)]
pub(super) fn mapped<M: Machine>(machine: M, words: [u32; 4]) -> [[u8; 4]; 4] {
    let [a, b, c, d] = words.map(u32::swap_bytes);
    let words = machine.of_words(&[a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let [a, b, c, d, ..] = machine.to_words(machine.into_basis(words));
    [a, b, c, d].map(u32::to_le_bytes)
}

/// The words of the counter, the highest first.
#[expect(clippy::cast_possible_truncation, reason = "it is taken apart")]
pub(super) const fn words(counter: u128) -> [u32; 4] {
    [
        (counter >> 96) as u32,
        (counter >> 64) as u32,
        (counter >> 32) as u32,
        counter as u32,
    ]
}

#[cfg(test)]
mod tests {
    use stillkey_core::cipher::{CipherProvider, Portable};
    use stillkey_core::{Cipher, Iv, SecretBytes};

    use super::*;
    use crate::cpu::Features;
    use crate::kernel::{KERNELS, Kernel};

    const KEY: u128 = 0x01234567_89abcdef_fedcba98_76543210;

    /// Longer than four times what any kernel takes at once.
    const MOST_BLOCKS: usize = 4 * 128 + 70;

    fn key() -> DataKey {
        DataKey::new(Cipher::Sm4, SecretBytes::new(KEY.to_be_bytes().to_vec())).unwrap()
    }

    /// Those of this architecture that run here.
    fn kernels() -> impl Iterator<Item = (&'static str, Arc<dyn CtrKernel>)> {
        let expand = |kernel: &'static Kernel| {
            Some((kernel.name(), kernel.ctr(Features::detect(), &key())?))
        };
        KERNELS.iter().filter_map(expand)
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn the_standards_example_comes_out() {
        // GB/T 32907-2016, A.1: the block is the key.
        for (name, kernel) in kernels() {
            let mut block = [0; 16];
            let data = block.as_mut_slice().into();
            kernel.apply(&Iv::new(KEY.to_be_bytes()), 0, data);
            let expected = 0x681edf34_d206965e_86b3e94f_536e4246;
            assert_eq!(u128::from_be_bytes(block), expected, "{name}");
        }
    }

    #[test]
    fn every_number_of_blocks_is_as_portable_in_place_and_to_a_destination() {
        let portable = Portable.ctr(&key());
        let text = text(16 * MOST_BLOCKS + 2);
        for (name, kernel) in kernels() {
            for blocks in 1..=MOST_BLOCKS {
                // A carry out of the lowest byte, and out of the lowest word, somewhere on the way.
                let iv = Iv::new((u128::from(u32::MAX) - blocks as u128 * 5 / 7).to_be_bytes());
                let source = &text[1..][..16 * blocks];
                let mut expected = source.to_vec();
                portable.apply(&iv, 0, expected.as_mut_slice().into());

                let mut found = text.clone();
                let unaligned = &mut found[1..][..16 * blocks];
                kernel.apply(&iv, 0, unaligned.into());
                assert!(*unaligned == expected, "{name}: {blocks} blocks in place");
                let behind = 1 + 16 * blocks;
                assert_eq!(found[behind..], text[behind..], "{name}: {blocks} blocks");

                if blocks > 150 && blocks % 7 != 0 {
                    continue;
                }
                let mut found = vec![0xee; source.len() + 3];
                let both = InOutBuf::new(source, &mut found[3..]).unwrap();
                kernel.apply(&iv, 0, both);
                assert!(found[3..] == expected, "{name}: {blocks} blocks apart");
                assert_eq!(found[..3], [0xee; 3], "{name}: {blocks} blocks");
            }
        }
    }

    #[test]
    fn the_counter_carries_in_every_lane() {
        let portable = Portable.ctr(&key());
        let beside = |end: u128, step| (0..130).step_by(step).map(move |before| end - before);
        let ivs = beside(u128::from(u32::MAX), 1)
            .chain(beside((1 << 40) - 1, 23))
            .chain(beside(u128::from(u64::MAX), 23))
            .chain(beside(u128::MAX, 23));
        let ivs: Vec<_> = ivs.map(|iv| Iv::new(iv.to_be_bytes())).collect();
        for (name, kernel) in kernels() {
            for (iv, blocks) in ivs
                .iter()
                .flat_map(|iv| [3, 13, 30, 45, 64, 131].map(|blocks| (iv, blocks)))
            {
                let (mut expected, mut found) = (text(16 * blocks), text(16 * blocks));
                portable.apply(iv, 0, expected.as_mut_slice().into());
                kernel.apply(iv, 0, found.as_mut_slice().into());
                assert!(found == expected, "{name}: {iv:?}, {blocks} blocks");
            }
        }
    }

    #[test]
    fn every_byte_can_be_the_first_and_the_last() {
        let portable = Portable.ctr(&key());
        let iv = Iv::new([0xfe; 16]);
        for (name, kernel) in kernels() {
            for (offset, len) in
                (0..18).flat_map(|offset| (0..300).step_by(7).map(move |len| (offset, len)))
            {
                let (mut expected, mut found) = (text(len), text(len));
                portable.apply(&iv, offset, expected.as_mut_slice().into());
                kernel.apply(&iv, offset, found.as_mut_slice().into());
                assert_eq!(found, expected, "{name}: {offset}+{len}");
            }
        }
    }
}
