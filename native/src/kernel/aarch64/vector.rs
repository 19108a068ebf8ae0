//! One 16-byte register, and counter mode over groups of them: what the kernels of this architecture share.
//!
//! The functions here are inlined into kernels that need more than NEON. That is why they don't carry `#[target_feature]`, which would
//! forbid `#[inline(always)]`, and why they can be safe all the same: every AArch64 target with a standard library has NEON.

use std::arch::aarch64::*;
use std::array;
use std::ops::{BitAnd, BitXor};

use inout::{InOut, InOutBuf};
use stillkey_core::cipher::{BLOCK_LEN, Block};

// The order: bytes, words and halves of one register are taken for each other.
const _: () = assert!(cfg!(all(target_feature = "neon", target_endian = "little")));

/// Sixteen bytes in a register.
#[derive(Clone, Copy)]
pub(super) struct Vector(pub(super) uint8x16_t);

impl Vector {
    #[inline(always)]
    pub(super) fn load(bytes: &[u8; BLOCK_LEN]) -> Self {
        // SAFETY: the reference is valid for 16 bytes, and the load needs no alignment. NEON: see the top.
        Self(unsafe { vld1q_u8(bytes.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8; BLOCK_LEN]) {
        // SAFETY: the reference is valid for 16 bytes, and the store needs no alignment. NEON: see the top.
        unsafe { vst1q_u8(bytes.as_mut_ptr(), self.0) }
    }

    /// `byte`, sixteen times.
    #[inline(always)]
    pub(super) fn splat(byte: u8) -> Self {
        // SAFETY: NEON: see the top.
        Self(unsafe { vdupq_n_u8(byte) })
    }

    /// The byte there, sixteen times, without a detour through the processor's other registers.
    #[inline(always)]
    pub(super) fn splat_at(byte: &u8) -> Self {
        // SAFETY: the reference is valid for a byte. NEON: see the top.
        Self(unsafe { vld1q_dup_u8(byte) })
    }

    /// The bytes of `word`, four times.
    #[inline(always)]
    pub(super) fn splat_word(word: u32) -> Self {
        // SAFETY: NEON: see the top.
        Self(unsafe { vreinterpretq_u8_u32(vdupq_n_u32(word)) })
    }

    /// Its first four bytes.
    #[inline(always)]
    pub(super) fn first_word(self) -> u32 {
        // SAFETY: NEON: see the top.
        unsafe { vgetq_lane_u32::<0>(vreinterpretq_u32_u8(self.0)) }
    }

    /// The low nibble of each byte, and the high one.
    #[inline(always)]
    pub(super) fn nibbles(self) -> [Self; 2] {
        // SAFETY: NEON: see the top.
        let high = Self(unsafe { vshrq_n_u8::<4>(self.0) });
        [self & Self::splat(0x0f), high]
    }

    /// For each byte the byte of `self` that it numbers, and zero where it is above 15.
    ///
    /// This moves bytes between registers, in a time that doesn't depend on them: no memory is read.
    #[inline(always)]
    pub(super) fn look_up(self, indices: Self) -> Self {
        // SAFETY: NEON: see the top.
        Self(unsafe { vqtbl1q_u8(self.0, indices.0) })
    }

    /// The first halves of both, byte by byte in turn, and likewise the second halves.
    #[inline(always)]
    pub(super) fn interleave(self, other: Self) -> [Self; 2] {
        // SAFETY: NEON: see the top.
        unsafe {
            [
                Self(vzip1q_u8(self.0, other.0)),
                Self(vzip2q_u8(self.0, other.0)),
            ]
        }
    }
}

impl BitXor for Vector {
    type Output = Self;

    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        // SAFETY: NEON: see the top.
        Self(unsafe { veorq_u8(self.0, other.0) })
    }
}

impl BitAnd for Vector {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        // SAFETY: NEON: see the top.
        Self(unsafe { vandq_u8(self.0, other.0) })
    }
}

/// The counter of counter mode, its two halves in the order of the processor.
#[derive(Clone, Copy)]
pub(super) struct Counter(uint64x2_t);

impl Counter {
    #[inline(always)]
    pub(super) fn new(counter: u128) -> Self {
        let Vector(block) = Vector::load(&counter.to_be_bytes());
        // SAFETY: NEON: see the top.
        Self(unsafe { vreinterpretq_u64_u8(vrev64q_u8(block)) })
    }

    /// The next `N` counters as blocks, big-endian. It counts in the low 64 bits alone, which [`CtrBlocks`] allows.
    ///
    /// [`CtrBlocks`]: stillkey_core::cipher::CtrBlocks
    #[inline(always)]
    pub(super) fn next<const N: usize>(&mut self) -> [Vector; N] {
        let one = [0, 1];
        array::from_fn(|_| {
            // SAFETY: the array is valid for 16 bytes. NEON: see the top.
            unsafe {
                let block = vrev64q_u8(vreinterpretq_u8_u64(self.0));
                self.0 = vaddq_u64(self.0, vld1q_u64(one.as_ptr()));
                Vector(block)
            }
        })
    }

    /// XORs the encryption of the next counters over `blocks`, as long as there are `N` of them, and returns the rest.
    #[inline(always)]
    pub(super) fn xor_groups<'input, 'output, const N: usize>(
        &mut self,
        mut blocks: InOutBuf<'input, 'output, Block>,
        encrypt: impl Fn([Vector; N]) -> [Vector; N],
    ) -> InOutBuf<'input, 'output, Block> {
        while blocks.len() >= N {
            let (group, rest) = blocks.split_at(N);
            for (block, keystream) in group.into_iter().zip(encrypt(self.next())) {
                xor(block, keystream);
            }
            blocks = rest;
        }
        blocks
    }
}

#[inline(always)]
pub(super) fn xor(mut block: InOut<'_, '_, Block>, keystream: Vector) {
    (Vector::load(block.get_in().into()) ^ keystream).store(block.get_out().into());
}
