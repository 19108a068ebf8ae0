//! The locks, counters and threads that the dictionaries are changed with. They are the system's.
//! In this crate's own tests, what is made while a test chooses the schedule takes part in it
//! instead.

#[cfg(test)]
mod controlled;

#[cfg(not(test))]
pub(super) use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard};
pub(super) use std::sync::PoisonError;
#[cfg(not(test))]
pub(super) use std::sync::atomic::AtomicU64;
#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(test))]
pub(super) use std::thread::{self, Thread};

#[cfg(test)]
pub(super) use controlled::*;
