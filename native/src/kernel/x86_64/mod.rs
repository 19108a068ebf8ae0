//! Kernels for x86-64.

use super::Kernel;

/// For each cipher, the fastest first.
pub(super) const KERNELS: &[Kernel] = &[];
