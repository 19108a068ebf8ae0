//! Memory for key material: locked, so that it is never swapped out; left out of core dumps; zero in forked processes; zeroed when freed.
//!
//! [`protect`] makes it the place of all secrets of the process, those of `stillkey-core` included. Expanded keys of the processor's kernels
//! always live here.
//!
//! Unsafe code is allowed here: mapping memory, and handing out parts of it.

#![allow(unsafe_code)]

mod arena;

use std::fmt;
use std::ops::{Deref, DerefMut};

use stillkey_core::secret::{SecretBuffer, SecretPlace, place_secrets};

use arena::{ARENA, Slot};

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

/// Types for which all bytes zero are a value, and whose alignment is at most 64.
///
/// # Safety
/// The implementer sees to that.
pub(crate) unsafe trait Zeroable {}

/// A value in protected memory.
pub(crate) struct SecretBox<T: Zeroable> {
    slot: Slot,
    marker: std::marker::PhantomData<T>,
}

impl<T: Zeroable> SecretBox<T> {
    /// A value of zeros, to be filled in place: a value that is moved in would leave a copy on the stack.
    pub(crate) fn zeroed() -> Self {
        const { assert!(align_of::<T>() <= arena::MIN_SLOT) };
        Self {
            slot: Slot::new(&ARENA, size_of::<T>()),
            marker: std::marker::PhantomData,
        }
    }
}

impl<T: Zeroable> Deref for SecretBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slot is as large as a T, aligned to 64 bytes, and was a T of zeros at first: `Zeroable`.
        unsafe { &*self.slot.as_ref().as_ptr().cast() }
    }
}

impl<T: Zeroable> DerefMut for SecretBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the slot is borrowed mutably.
        unsafe { &mut *self.slot.as_mut().as_mut_ptr().cast() }
    }
}

impl<T: Zeroable> fmt::Debug for SecretBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBox({} bytes)", size_of::<T>())
    }
}
