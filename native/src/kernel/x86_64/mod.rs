//! Kernels for x86-64.

mod aes;

use super::Kernel;

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[aes::VAES512, aes::VAES256, aes::AESNI];
