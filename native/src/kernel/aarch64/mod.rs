//! Kernels for AArch64.
//!
//! Most processors have the instructions for AES; those for SM4 are rare, so the kernels without them matter.

mod aes;
mod sm4;
mod sm4_neon;
mod sm4_sbox;
mod vector;

use stillkey_core::Cipher;

use super::Kernel;
use crate::cpu::Feature;

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "aes-armv8",
        ciphers: &[Cipher::Aes128, Cipher::Aes192, Cipher::Aes256],
        needs: &[Feature::ArmAes],
        expand: aes::expand,
    },
    Kernel {
        name: "sm4-armv8",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::ArmSm4],
        expand: sm4::expand,
    },
    Kernel {
        name: "sm4-neon-aes",
        ciphers: &[Cipher::Sm4],
        needs: &[Feature::ArmAes],
        expand: sm4_neon::expand_with_aes,
    },
    Kernel {
        name: "sm4-neon",
        ciphers: &[Cipher::Sm4],
        needs: &[],
        expand: sm4_neon::expand,
    },
];

#[cfg(test)]
mod tests;
