//! Memory for key material: locked, so that it is never swapped out; left out of core dumps; not there in forked processes, which
//! end if they use a key; zeroed when freed.
//!
//! [`protect`] makes it the place of all secrets of the process, those of `stillkey-core` included. Expanded keys of the kernels
//! for x86-64 always live here.
//!
//! Unsafe code is allowed here: mapping memory, and handing out parts of it.

#![allow(unsafe_code)]

mod arena;
#[cfg(target_arch = "x86_64")]
mod boxed;

use stillkey_core::secret::{SecretBuffer, SecretPlace, place_secrets};

use arena::{ARENA, Slot};
#[cfg(target_arch = "x86_64")]
pub(crate) use boxed::{SecretBox, Zeroable};

/// From now on, secrets of this process live in protected memory. Call it first, before a key is read; calling it again does nothing.
///
/// ```
/// let protection = stillkey::secret::protect();
/// if let Some(refusal) = protection.refusal {
///     eprintln!("key material can be swapped out: {refusal}");
/// }
/// ```
pub fn protect() -> Protection {
    static PLACE: SecretPlace = SecretPlace {
        allocate: |len| Box::new(Slot::new(&ARENA, len)),
    };
    place_secrets(&PLACE);
    // A slot of the first region: what the system refuses shows at once.
    drop(Slot::new(&ARENA, 1));
    protection()
}

/// What the operating system granted so far.
pub fn protection() -> Protection {
    ARENA.protection()
}

/// How much memory for secrets there is, and what the operating system refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Protection {
    /// Bytes reserved for secrets.
    pub reserved: usize,
    /// Bytes of them that are locked in memory.
    pub locked: usize,
    /// What was refused first: the action and the system's reason.
    pub refusal: Option<String>,
}

impl SecretBuffer for Slot {
    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.as_mut()
    }
}
