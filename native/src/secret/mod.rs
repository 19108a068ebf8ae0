//! Memory for key material: locked, so that it is never swapped out; left out of core dumps; not there in forked processes, which
//! end if they use a key; zeroed when freed. Where Linux offers `memfd_secret`, even the kernel doesn't have it mapped; system calls that
//! pin pages, such as direct and registered input and output, then fail on it, and the system doesn't hibernate.
//!
//! [`protect`] makes it the place of all secrets of the process, those of `stillkey-core` included, and goes on where the system refuses
//! something; [`require_protection`] doesn't. Expanded keys of the kernels for x86-64 always live here.
//!
//! **How much.** A secret takes the next power of two, at least 64 bytes; from 16 KiB on, a multiple of 16 KiB. Sizes up to 16 KiB are taken from
//! regions of 64 KiB, a region for one size, which are kept: so for each size, it is as much as ever lived at once, rounded up to a region. 10,000
//! data keys are 640 KiB. On x86-64, each open file has its expanded key, 1 KiB. A file that is used past its first 256 KiB gets 5 KiB more, which make
//! AES faster, but only while no more than half of `RLIMIT_MEMLOCK` is in use. The limit has to allow for all that (`ulimit -l`, or `LimitMEMLOCK=` of systemd):
//! 8 MiB, a usual one, are enough for thousands of open files.
//!
//! Unsafe code is allowed here: mapping memory, and handing out parts of it.

#![allow(unsafe_code)]

mod arena;
#[cfg(target_arch = "x86_64")]
mod boxed;
mod hidden;

use stillkey_core::secret::{SecretBuffer, SecretPlace, place_secrets};

use arena::{ARENA, Slot};
#[cfg(target_arch = "x86_64")]
pub(crate) use boxed::{SecretBox, Zeroable};

use crate::error::Error;

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

/// As [`protect`], but refuses to go on without protection.
///
/// If the system refuses something later, since a limit is reached, the process is aborted with a message on stderr, as when memory is
/// exhausted: a secret has to live somewhere, and a place that isn't protected is what was ruled out. `reserve`: bytes to be had from the
/// start, so that a limit that is too low shows now; they serve secrets up to 16 KiB, in whole regions.
///
/// Calling it again requires more, never less.
///
/// ```no_run
/// // Before anything else in `main`.
/// let protection = stillkey::secret::require_protection(1 << 20)?;
/// assert_eq!(protection.locked, protection.reserved);
/// # Ok::<(), stillkey::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unprotected`] when the system has refused anything so far; the process then stands as after [`protect`]. Always on systems other
/// than Linux, which can't keep memory from core dumps and forked processes.
pub fn require_protection(reserve: usize) -> Result<Protection, Error> {
    protect();
    ARENA.require(reserve)
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
    /// Bytes of those that the kernel doesn't have mapped, either: `memfd_secret`.
    pub hidden: usize,
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
