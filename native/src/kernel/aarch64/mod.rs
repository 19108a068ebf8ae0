//! Kernels for AArch64.

use super::Kernel;

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[];
