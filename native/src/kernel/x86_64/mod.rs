//! Kernels for x86-64.

mod registers;
mod sm4;
mod sm4_aesni;
mod sm4_field;
mod sm4_gfni;
mod sm4_gfni512;
mod sm4_lanes;
mod sm4_layouts;

use stillkey_core::Cipher;

use super::Kernel;
use crate::cpu::Feature;

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "sm4-gfni512",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::Gfni512],
        expand: sm4_gfni::kernel512,
    },
    Kernel {
        name: "sm4-gfni256",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::Gfni256],
        expand: sm4_gfni::kernel256,
    },
    Kernel {
        name: "sm4-avx2",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::AesNi, Feature::Avx2],
        expand: sm4_aesni::kernel256,
    },
    Kernel {
        name: "sm4-sse",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::AesNi],
        expand: sm4_aesni::kernel128,
    },
];
