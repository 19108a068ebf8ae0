//! Wiping the stack behind work on secrets.
//!
//! A library that expands a key moves it, and every move may leave a copy on the stack, which no destructor knows of.

use zeroize::optimization_barrier;

/// More than AES-GCM and HKDF take, and little enough for the stacks of small devices.
const DEPTH: usize = if cfg!(target_pointer_width = "64") {
    16 << 10
} else {
    3 << 10
};

/// Does `work`, then overwrites the stack that it used.
#[inline(never)]
pub(crate) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let result = separately(work);
    wipe();
    result
}

/// In a frame of its own, below that of [`wiped`], where [`wipe`] will be.
#[inline(never)]
fn separately<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    // A variable: a constant would not stand on the stack.
    let zeros = [0_u64; DEPTH / 8];
    optimization_barrier(&zeros);
}
