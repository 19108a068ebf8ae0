//! SM4 with GF2P8AFFINEINVQB, which inverts a byte and applies a matrix in one step, on registers of 128, 256 and 512 bits.

use std::arch::x86_64::*;
use std::sync::Arc;

use stillkey_core::DataKey;
use stillkey_core::cipher::CtrKernel;
use zeroize::optimization_barrier;

use super::registers::{clear_registers256, clear_registers512};
use super::run::Run;
use super::sm4::{Keys, Machine, Strategy, kernel};
use super::sm4_field::{BEHIND, CONSTANT, INTO, LEFT, LEFT_CONSTANT, OFFSET, OUT_OF, OWN};
use super::sm4_gfni512::{Sets, rounds};
use super::sm4_lanes::lanes;
use super::sm4_layouts::{by_bytes, by_words, bytes_of_counters, keystream_of_bytes};
use crate::cpu::{Features, Gfni256, Gfni512};

/// The methods of [`Machine`] that need GFNI.
macro_rules! gfni {
    ($vector:ty, $affine:ident, $inverse:ident, $matrix:ident) => {
        #[inline(always)]
        fn into_basis(self, bytes: $vector) -> $vector {
            // SAFETY: the token in `self` proves the instructions, here and below.
            unsafe { $affine::<0>(bytes, $matrix(const { INTO.rows() })) }
        }

        #[inline(always)]
        fn out_of_basis(self, bytes: $vector) -> $vector {
            // SAFETY: as in `into_basis`.
            unsafe { $affine::<0>(bytes, $matrix(const { OUT_OF.rows() })) }
        }

        #[inline(always)]
        fn own_and_left(self, sum: $vector) -> [$vector; 2] {
            const C: i32 = LEFT_CONSTANT as i32;
            // SAFETY: as in `into_basis`.
            unsafe {
                [
                    $inverse::<0>(sum, $matrix(const { OWN.rows() })),
                    $inverse::<C>(sum, $matrix(const { LEFT.rows() })),
                ]
            }
        }

        #[inline(always)]
        fn s_box(self, bytes: $vector) -> $vector {
            const A: i32 = OFFSET as i32;
            const B: i32 = CONSTANT as i32;
            // SAFETY: as in `into_basis`.
            unsafe {
                let sum = $affine::<A>(bytes, $matrix(const { INTO.rows() }));
                $inverse::<B>(sum, $matrix(const { BEHIND.rows() }))
            }
        }
    };
}

#[derive(Clone, Copy)]
struct Xmm(Gfni256);

impl Machine for Xmm {
    lanes!(128);
    gfni!(
        __m128i,
        _mm_gf2p8affine_epi64_epi8,
        _mm_gf2p8affineinv_epi64_epi8,
        _mm_set1_epi64x
    );
}

#[derive(Clone, Copy)]
struct Ymm(Gfni256);

impl Machine for Ymm {
    lanes!(256);
    gfni!(
        __m256i,
        _mm256_gf2p8affine_epi64_epi8,
        _mm256_gf2p8affineinv_epi64_epi8,
        _mm256_set1_epi64x
    );
}

#[derive(Clone, Copy)]
struct Zmm(Gfni512);

impl Machine for Zmm {
    lanes!(512);
    gfni!(
        __m512i,
        _mm512_gf2p8affine_epi64_epi8,
        _mm512_gf2p8affineinv_epi64_epi8,
        _mm512_set1_epi64
    );
}

/// On 512-bit registers.
#[derive(Clone, Copy)]
struct Wide(Gfni512);

pub(super) fn kernel512(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    kernel(Wide(Gfni512::among(features)?), key)
}

impl Strategy for Wide {
    fn expand(self, keys: &mut Keys, key: &[u8; 16]) {
        // SAFETY: the token proves the features.
        unsafe { expand256(self.0.narrower(), keys, key) }
    }

    fn apply(self, keys: &Keys, data: Run<'_>) {
        // SAFETY: the token proves the features.
        unsafe { apply512(self.0, keys, data) }
    }
}

// The arms are where the next form begins to win. Measured on a Xeon with Sapphire Rapids cores, in place and in cache, best of
// many: 4 blocks 143 ns; 16, 32, 48 and 64 by words 148, 198, 233 and 286 ns; two sets by bytes 430 ns, however many of their 128
// blocks are used. (One set of 64 by bytes takes 287 ns, so there is no use for it.)
#[target_feature(enable = "gfni,avx2,avx512f,avx512bw,avx512vl")]
fn apply512(token: Gfni512, keys: &Keys, mut data: Run<'_>) {
    let (zmm, xmm) = (Zmm(token), Xmm(token.narrower()));
    if data.blocks() > 64 {
        two_sets(zmm, keys, &mut data);
    }
    match data.blocks() {
        0 => {}
        1..=4 => by_words::<_, 1>(xmm, keys, &mut data),
        5..=16 => by_words::<_, 1>(zmm, keys, &mut data),
        17..=32 => by_words::<_, 2>(zmm, keys, &mut data),
        33..=48 => by_words::<_, 3>(zmm, keys, &mut data),
        _ => by_words::<_, 4>(zmm, keys, &mut data),
    }
    clear_registers512();
}

/// Until no more than 64 blocks are left.
#[target_feature(enable = "gfni,avx2,avx512f,avx512bw,avx512vl")]
fn two_sets(zmm: Zmm, keys: &Keys, data: &mut Run<'_>) {
    let mut sets = Sets([[[zmm.splat(0); 4]; 4]; 2]);
    while data.blocks() > 64 {
        sets.0 = bytes_of_counters(zmm, data.counter());
        rounds(keys, &mut sets);
        let Sets([first, second]) = sets;
        data.xor(zmm, keystream_of_bytes(zmm, first));
        data.xor(zmm, keystream_of_bytes(zmm, second));
    }
    // They hold the keystream, but for a linear map.
    sets.0 = [[[zmm.splat(0); 4]; 4]; 2];
    optimization_barrier(&sets);
}

/// On 256-bit registers.
#[derive(Clone, Copy)]
struct Narrow(Gfni256);

pub(super) fn kernel256(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    kernel(Narrow(Gfni256::among(features)?), key)
}

impl Strategy for Narrow {
    fn expand(self, keys: &mut Keys, key: &[u8; 16]) {
        // SAFETY: the token proves the features.
        unsafe { expand256(self.0, keys, key) }
    }

    fn apply(self, keys: &Keys, data: Run<'_>) {
        // SAFETY: the token proves the features.
        unsafe { apply256(self.0, keys, data) }
    }
}

#[target_feature(enable = "gfni,avx2")]
fn expand256(token: Gfni256, keys: &mut Keys, key: &[u8; 16]) {
    keys.expand(Xmm(token), key);
}

// Measured as above: 4 blocks 160 ns; 8 and 16 by words 170 and 199 ns; 32 and 64 by bytes 227 and 450 ns. Two sets of 32 at once
// take a tenth less than one after the other where many follow, and lose below 49 blocks.
#[target_feature(enable = "gfni,avx2")]
fn apply256(token: Gfni256, keys: &Keys, mut data: Run<'_>) {
    let (ymm, xmm) = (Ymm(token), Xmm(token));
    loop {
        match data.blocks() {
            0 => break,
            1..=4 => by_words::<_, 1>(xmm, keys, &mut data),
            5..=8 => by_words::<_, 1>(ymm, keys, &mut data),
            9..=16 => by_words::<_, 2>(ymm, keys, &mut data),
            17..=48 => by_bytes::<_, 1>(ymm, keys, &mut data),
            _ => by_bytes::<_, 2>(ymm, keys, &mut data),
        }
    }
    clear_registers256();
}
