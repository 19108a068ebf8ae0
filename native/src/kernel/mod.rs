//! The counter-mode kernels: one module per architecture, one table of what there is.
//!
//! This is one of the two places with unsafe code: loads, stores, and calls of functions that need a processor feature, each behind a
//! token of [`crate::cpu`] that proves the feature.

#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::fmt;
use std::sync::Arc;

use stillkey_core::cipher::{CipherProvider, CtrKernel};
use stillkey_core::{Cipher, DataKey};

use crate::cpu::{Feature, Features};

#[cfg(target_arch = "aarch64")]
use aarch64::KERNELS;
#[cfg(target_arch = "x86_64")]
use x86_64::KERNELS;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const KERNELS: &[Kernel] = &[];

// With AES by instructions in the table, the last row is for processors without them; elsewhere `Portable` looks for some itself.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use stillkey_core::cipher::Bitsliced as Last;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use stillkey_core::cipher::Portable as Last;

/// A way to run counter mode on this architecture.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    ciphers: &'static [Cipher],
    needs: &'static [Feature],
    /// `None` where a feature is missing.
    expand: fn(Features, &DataKey) -> Option<Arc<dyn CtrKernel>>,
}

impl Kernel {
    /// Every kernel that this build has for this architecture, for each cipher the fastest first and the portable one last.
    ///
    /// ```
    /// use stillkey::kernel::Kernel;
    /// assert_eq!(Kernel::all().last().map(Kernel::name), Some("portable"));
    /// ```
    pub fn all() -> impl Iterator<Item = &'static Self> {
        KERNELS.iter().chain([&PORTABLE])
    }

    /// Its name, such as `vaes512`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The ciphers that it runs.
    pub const fn ciphers(&self) -> &'static [Cipher] {
        self.ciphers
    }

    /// The features without which it doesn't run.
    pub const fn needs(&self) -> &'static [Feature] {
        self.needs
    }

    /// Expands `key`; `None` where `features` miss one that it needs, or where it doesn't run the key's cipher.
    pub fn ctr(&self, features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
        if !self.ciphers.contains(&key.cipher()) {
            return None;
        }
        (self.expand)(features, key)
    }

    /// Whether it runs `cipher` on a processor with `features`.
    pub(crate) fn suits(&self, features: Features, cipher: Cipher) -> bool {
        self.ciphers.contains(&cipher) && self.needs.iter().all(|need| features.has(*need))
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .field("ciphers", &self.ciphers)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

pub(crate) const PORTABLE: Kernel = Kernel {
    name: "portable",
    ciphers: &Cipher::ALL,
    needs: &[],
    expand: |_, key| Some(Last.ctr(key)),
};
