//! Expanded keys in protected memory.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::arena::{ARENA, MIN_SLOT, Slot};

/// Types for which all bytes zero are a value, and whose alignment is at most 64.
///
/// # Safety
/// The implementer sees to that.
pub(crate) unsafe trait Zeroable {}

/// A value in protected memory.
pub(crate) struct SecretBox<T: Zeroable> {
    slot: Slot,
    marker: PhantomData<T>,
}

impl<T: Zeroable> SecretBox<T> {
    /// A value of zeros, to be filled in place: a value that is moved in would leave a copy on the stack.
    pub(crate) fn zeroed() -> Self {
        Self::in_slot(Slot::new(&ARENA, size_of::<T>()))
    }

    /// As [`SecretBox::zeroed`], for what can be done without: `None` where locked memory is short.
    pub(crate) fn zeroed_if_there_is_room() -> Option<Self> {
        Slot::optional(&ARENA, size_of::<T>()).map(Self::in_slot)
    }

    fn in_slot(slot: Slot) -> Self {
        const { assert!(align_of::<T>() <= MIN_SLOT) };
        Self {
            slot,
            marker: PhantomData,
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
