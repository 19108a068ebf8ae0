//! Kernels for x86-64.

mod aes;
mod registers;
mod run;
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

const AES: &[Cipher] = &[Cipher::Aes128, Cipher::Aes192, Cipher::Aes256];

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "vaes512",
        ciphers: AES,
        needs: &[Feature::AesNi, Feature::Vaes512],
        expand: aes::kernel512,
    },
    Kernel {
        name: "vaes256",
        ciphers: AES,
        needs: &[Feature::AesNi, Feature::Vaes256],
        expand: aes::kernel256,
    },
    Kernel {
        name: "aesni",
        ciphers: AES,
        needs: &[Feature::AesNi],
        expand: aes::kernel128,
    },
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
