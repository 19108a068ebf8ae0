//! Registers that hold one, two or four blocks of AES, behind one trait: the kernel is written once and compiled for each width.

use std::arch::x86_64::*;

use inout::InOutBuf;

use super::super::registers::{clear_registers128, clear_registers256, clear_registers512};
use super::schedule::{Broadcast, Schedule};
use super::short;
use crate::cpu::{AesNi, Vaes256, Vaes512};

/// A register width. The implementing token proves that the processor has the instructions.
///
/// Everything here is inlined into [`Lanes::enter`], where the instructions are switched on.
pub(super) trait Lanes: Copy + Send + Sync + 'static {
    /// A register.
    type Vector: Copy;

    /// Blocks in a register.
    const BLOCKS: usize;

    /// Runs `work` compiled for this width, and clears the registers behind it.
    fn enter<W: Work<Self>>(self, work: W) -> W::Output;

    /// See [`CtrBlocks::apply_short`].
    fn apply_short<const KEYS: usize>(
        self,
        schedule: &Schedule<KEYS>,
        counter: u128,
        skip: usize,
        data: InOutBuf<'_, '_, u8>,
    ) -> bool {
        let _ = (schedule, counter, skip, data);
        false
    }

    /// Reads a round key, as often as there are blocks in a register.
    fn load(self, key: &Broadcast) -> Self::Vector;

    /// Reads `blocks` blocks, at least one and at most a register full; the others are zero.
    ///
    /// # Safety
    /// `from` can be read for `blocks` blocks.
    unsafe fn read(self, from: *const u8, blocks: usize) -> Self::Vector;

    /// Writes the first `blocks` blocks, at least one and at most a register full.
    ///
    /// # Safety
    /// `to` can be written for `blocks` blocks.
    unsafe fn write(self, to: *mut u8, vector: Self::Vector, blocks: usize);

    /// The counters `counter`, `counter` + 1, …, little-endian.
    fn counters(self, counter: u128) -> Self::Vector;

    /// `counters`, each plus `blocks`; their low 64 bits must not wrap.
    fn advance(self, counters: Self::Vector, blocks: u64) -> Self::Vector;

    /// `blocks` added to the last byte of each of the `big_endian` counters, which must not wrap.
    fn advance_last_byte(self, big_endian: Self::Vector, blocks: u64) -> Self::Vector;

    /// `counters`, each with its lowest byte zero: the group of 256 that it belongs to.
    fn groups(self, counters: Self::Vector) -> Self::Vector;

    /// The bytes of each block in the opposite order: what AES sees of little-endian counters.
    fn big_endian(self, counters: Self::Vector) -> Self::Vector;

    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// One round: `AESENC`.
    fn round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;

    /// The last round: `AESENCLAST`.
    fn last_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;
}

/// Work to be compiled for a register width.
pub(super) trait Work<L> {
    type Output;

    /// Must be `#[inline(always)]`.
    fn run(self, lanes: L) -> Self::Output;
}

impl Lanes for AesNi {
    type Vector = __m128i;

    const BLOCKS: usize = 1;

    #[inline(always)]
    fn enter<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "aes,ssse3,sse4.1")]
        fn inner<W: Work<AesNi>>(token: AesNi, work: W) -> W::Output {
            let output = work.run(token);
            clear_registers128();
            output
        }
        // SAFETY: the token proves AES-NI, SSSE3 and SSE4.1.
        unsafe { inner(self, work) }
    }

    #[inline(always)]
    fn load(self, key: &Broadcast) -> __m128i {
        // SAFETY: the reference is to more than 16 bytes, and SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(key.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn read(self, from: *const u8, _: usize) -> __m128i {
        // SAFETY: the caller holds that a block can be read; SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8, vector: __m128i, _: usize) {
        // SAFETY: the caller holds that a block can be written; SSE2 is part of x86-64.
        unsafe { _mm_storeu_si128(to.cast(), vector) }
    }

    #[inline(always)]
    fn counters(self, counter: u128) -> __m128i {
        block(counter)
    }

    #[inline(always)]
    fn advance(self, counters: __m128i, blocks: u64) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_add_epi64(counters, low(blocks)) }
    }

    #[inline(always)]
    fn advance_last_byte(self, big_endian: __m128i, blocks: u64) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_add_epi64(big_endian, last_byte(blocks)) }
    }

    #[inline(always)]
    fn groups(self, counters: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_andnot_si128(_mm_set_epi64x(0, 0xff), counters) }
    }

    #[inline(always)]
    fn big_endian(self, counters: __m128i) -> __m128i {
        // SAFETY: the token proves SSSE3.
        unsafe { _mm_shuffle_epi8(counters, reversal()) }
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_xor_si128(a, b) }
    }

    #[inline(always)]
    fn round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesenc_si128(state, key) }
    }

    #[inline(always)]
    fn last_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesenclast_si128(state, key) }
    }
}

impl Lanes for Vaes256 {
    type Vector = __m256i;

    const BLOCKS: usize = 2;

    #[inline(always)]
    fn enter<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "aes,avx2,vaes")]
        fn inner<W: Work<Vaes256>>(token: Vaes256, work: W) -> W::Output {
            let output = work.run(token);
            clear_registers256();
            output
        }
        // SAFETY: the token proves AES-NI, AVX2 and VAES.
        unsafe { inner(self, work) }
    }

    #[inline(always)]
    fn load(self, key: &Broadcast) -> __m256i {
        // SAFETY: the reference is to more than 32 bytes, and the token proves AVX.
        unsafe { _mm256_loadu_si256(key.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn read(self, from: *const u8, blocks: usize) -> __m256i {
        // SAFETY: the caller holds that the blocks can be read; the token proves AVX.
        unsafe {
            match blocks {
                1 => _mm256_zextsi128_si256(_mm_loadu_si128(from.cast())),
                _ => _mm256_loadu_si256(from.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8, vector: __m256i, blocks: usize) {
        // SAFETY: the caller holds that the blocks can be written; the token proves AVX.
        unsafe {
            match blocks {
                1 => _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(vector)),
                _ => _mm256_storeu_si256(to.cast(), vector),
            }
        }
    }

    #[inline(always)]
    fn counters(self, counter: u128) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            let all = _mm256_broadcastsi128_si256(block(counter));
            _mm256_add_epi64(all, _mm256_set_epi64x(0, 1, 0, 0))
        }
    }

    #[inline(always)]
    fn advance(self, counters: __m256i, blocks: u64) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi64(counters, _mm256_broadcastsi128_si256(low(blocks))) }
    }

    #[inline(always)]
    fn advance_last_byte(self, big_endian: __m256i, blocks: u64) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi64(big_endian, _mm256_broadcastsi128_si256(last_byte(blocks))) }
    }

    #[inline(always)]
    fn groups(self, counters: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_andnot_si256(_mm256_set_epi64x(0, 0xff, 0, 0xff), counters) }
    }

    #[inline(always)]
    fn big_endian(self, counters: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_shuffle_epi8(counters, _mm256_broadcastsi128_si256(reversal())) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: the token proves VAES.
        unsafe { _mm256_aesenc_epi128(state, key) }
    }

    #[inline(always)]
    fn last_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: the token proves VAES.
        unsafe { _mm256_aesenclast_epi128(state, key) }
    }
}

impl Lanes for Vaes512 {
    type Vector = __m512i;

    const BLOCKS: usize = 4;

    #[inline(always)]
    fn enter<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512vl,avx512vbmi")]
        fn inner<W: Work<Vaes512>>(token: Vaes512, work: W) -> W::Output {
            let output = work.run(token);
            clear_registers512();
            output
        }
        // SAFETY: the token proves AES-NI, AVX2, VAES, and AVX-512 F, BW, VL and VBMI.
        unsafe { inner(self, work) }
    }

    #[inline(always)]
    fn apply_short<const KEYS: usize>(
        self,
        schedule: &Schedule<KEYS>,
        counter: u128,
        skip: usize,
        data: InOutBuf<'_, '_, u8>,
    ) -> bool {
        short::apply(self, schedule, counter, skip, data)
    }

    #[inline(always)]
    fn load(self, key: &Broadcast) -> __m512i {
        // SAFETY: the reference is to 64 bytes, and the token proves AVX-512.
        unsafe { _mm512_loadu_si512(key.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn read(self, from: *const u8, blocks: usize) -> __m512i {
        // Exact loads rather than masked ones: a masked load that touches a page which isn't there is slow, even where it is masked.
        // SAFETY: the caller holds that the blocks can be read; the token proves AVX-512.
        unsafe {
            let two = || _mm512_zextsi256_si512(_mm256_loadu_si256(from.cast()));
            match blocks {
                1 => _mm512_zextsi128_si512(_mm_loadu_si128(from.cast())),
                2 => two(),
                3 => _mm512_inserti32x4::<2>(two(), _mm_loadu_si128(from.add(32).cast())),
                _ => _mm512_loadu_si512(from.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8, vector: __m512i, blocks: usize) {
        // SAFETY: the caller holds that the blocks can be written; the token proves AVX-512.
        unsafe {
            match blocks {
                1 => _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(vector)),
                2 => _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(vector)),
                3 => {
                    _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(vector));
                    let third = _mm512_extracti32x4_epi32::<2>(vector);
                    _mm_storeu_si128(to.add(32).cast(), third);
                }
                _ => _mm512_storeu_si512(to.cast(), vector),
            }
        }
    }

    #[inline(always)]
    fn counters(self, counter: u128) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let all = _mm512_broadcast_i32x4(block(counter));
            _mm512_add_epi64(all, _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0))
        }
    }

    #[inline(always)]
    fn advance(self, counters: __m512i, blocks: u64) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_add_epi64(counters, _mm512_broadcast_i32x4(low(blocks))) }
    }

    #[inline(always)]
    fn advance_last_byte(self, big_endian: __m512i, blocks: u64) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_add_epi64(big_endian, _mm512_broadcast_i32x4(last_byte(blocks))) }
    }

    #[inline(always)]
    fn groups(self, counters: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe {
            _mm512_andnot_si512(
                _mm512_set_epi64(0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff),
                counters,
            )
        }
    }

    #[inline(always)]
    fn big_endian(self, counters: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { _mm512_shuffle_epi8(counters, _mm512_broadcast_i32x4(reversal())) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn round(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: the token proves VAES and AVX-512.
        unsafe { _mm512_aesenc_epi128(state, key) }
    }

    #[inline(always)]
    fn last_round(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: the token proves VAES and AVX-512.
        unsafe { _mm512_aesenclast_epi128(state, key) }
    }
}

/// A little-endian counter.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves, in two lanes"
)]
fn block(counter: u128) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_set_epi64x((counter >> 64) as i64, counter as i64) }
}

/// A little-endian number of blocks.
#[inline(always)]
fn low(blocks: u64) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_set_epi64x(0, blocks.cast_signed()) }
}

/// A number of blocks in the last byte.
#[inline(always)]
fn last_byte(blocks: u64) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_set_epi64x((blocks << 56).cast_signed(), 0) }
}

/// The order that turns a block round.
#[inline(always)]
fn reversal() -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f) }
}
