//! Vector registers for [`sm4`](super::sm4): what each width calls the same handful of operations.

/// What is the same for every [`Machine`](super::sm4::Machine) with registers of 128, 256 or 512 bits, as items of its `impl`.
macro_rules! lanes {
    (128) => {
        lanes!(
            __m128i,
            1,
            _mm_loadu_si128,
            _mm_storeu_si128,
            _mm_set1_epi32,
            _mm_xor_si128,
            _mm_shuffle_epi8,
            _mm_unpacklo_epi8,
            _mm_unpackhi_epi8,
            _mm_unpacklo_epi32,
            _mm_unpackhi_epi32
        );
    };
    (256) => {
        lanes!(
            __m256i,
            2,
            _mm256_loadu_si256,
            _mm256_storeu_si256,
            _mm256_set1_epi32,
            _mm256_xor_si256,
            _mm256_shuffle_epi8,
            _mm256_unpacklo_epi8,
            _mm256_unpackhi_epi8,
            _mm256_unpacklo_epi32,
            _mm256_unpackhi_epi32
        );
    };
    (512) => {
        lanes!(
            __m512i,
            4,
            _mm512_loadu_si512,
            _mm512_storeu_si512,
            _mm512_set1_epi32,
            _mm512_xor_si512,
            _mm512_shuffle_epi8,
            _mm512_unpacklo_epi8,
            _mm512_unpackhi_epi8,
            _mm512_unpacklo_epi32,
            _mm512_unpackhi_epi32
        );
    };
    ($vector:ty, $blocks:literal, $load:ident, $store:ident, $splat:ident, $xor:ident, $shuffle:ident,
        $low_bytes:ident, $high_bytes:ident, $low_words:ident, $high_words:ident) => {
        type Vector = $vector;
        const BLOCKS: u8 = $blocks;

        #[inline(always)]
        unsafe fn load(self, from: *const u8) -> $vector {
            // SAFETY: the caller vouches for `from`, the token in `self` for the instruction.
            unsafe { $load(from.cast()) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u8, vector: $vector) {
            // SAFETY: the caller vouches for `to`, the token in `self` for the instruction.
            unsafe { $store(to.cast(), vector) }
        }

        #[inline(always)]
        fn splat(self, word: u32) -> $vector {
            // SAFETY: the token in `self` proves the instructions, here and below.
            unsafe { $splat(word.cast_signed()) }
        }

        #[inline(always)]
        fn xor(self, a: $vector, b: $vector) -> $vector {
            // SAFETY: as in `splat`.
            unsafe { $xor(a, b) }
        }

        #[inline(always)]
        fn shuffle(self, vector: $vector, order: $vector) -> $vector {
            // SAFETY: as in `splat`.
            unsafe { $shuffle(vector, order) }
        }

        #[inline(always)]
        fn interleave_bytes(self, a: $vector, b: $vector) -> [$vector; 2] {
            // SAFETY: as in `splat`.
            unsafe { [$low_bytes(a, b), $high_bytes(a, b)] }
        }

        #[inline(always)]
        fn interleave_words(self, a: $vector, b: $vector) -> [$vector; 2] {
            // SAFETY: as in `splat`.
            unsafe { [$low_words(a, b), $high_words(a, b)] }
        }
    };
}

pub(super) use lanes;
