//! Slots of protected memory, by size.
//!
//! Memory comes from the system in regions of 64 KiB and isn't given back; slots are powers of two, and freed ones are used again. So the
//! memory locked is at most twice the largest amount of secrets that ever lived at once, and a region for each size.

use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};
use zeroize::optimization_barrier;

use super::Protection;
use crate::observe;

/// The smallest slot, and the alignment of all: a cache line.
pub(super) const MIN_SLOT: usize = 64;
/// The largest slot that shares a region with others.
const MAX_SLOT: usize = 16 << 10;
const REGION: usize = 64 << 10;
const CLASSES: usize = (MAX_SLOT / MIN_SLOT).ilog2() as usize + 1;

pub(super) static ARENA: Arena = Arena(Mutex::new(State {
    free: [const { Vec::new() }; CLASSES],
    protection: Protection {
        reserved: 0,
        locked: 0,
        refusal: None,
    },
}));

pub(super) struct Arena(Mutex<State>);

struct State {
    /// Zeroed slots that nobody uses, by class: class 0 is the smallest.
    free: [Vec<Address>; CLASSES],
    protection: Protection,
}

/// The first byte of a slot.
struct Address(NonNull<u8>);

// SAFETY: the memory belongs to no thread.
unsafe impl Send for Address {}

impl Arena {
    pub(super) fn protection(&self) -> Protection {
        self.state().protection.clone()
    }

    /// Runs `change`, and then tells what it has made of the memory: a recorder may take its time, and may need secrets itself.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let (reserved, was_refused) = (
            state.protection.reserved,
            state.protection.refusal.is_some(),
        );
        let changed = change(&mut state);
        let after = (state.protection.reserved != reserved).then(|| state.protection.clone());
        drop(state);
        if let Some(after) = after {
            observe::secret_memory(&after);
            if let Some(refusal) = after.refusal.filter(|_| !was_refused) {
                observe::secret_memory_refused(&refusal);
            }
        }
        changed
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the lists half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, size: usize) -> Address {
        let Some(free) = self.free.get_mut(class(size)) else {
            return self.map(size);
        };
        if let Some(address) = free.pop() {
            return address;
        }
        let region = self.map(REGION);
        let slots = (0..REGION / size).map(|slot| {
            // SAFETY: the slot lies within the region.
            Address(unsafe { region.0.add(slot * size) })
        });
        let free = self.free.get_mut(class(size));
        free.and_then(|free| {
            free.extend(slots);
            free.pop()
        })
        .unwrap_or(region)
    }

    fn give_back(&mut self, address: Address, size: usize) {
        match self.free.get_mut(class(size)) {
            Some(free) => free.push(address),
            None => {
                // SAFETY: a slot of this size is a mapping of its own, and its owner is gone.
                let unmapped = unsafe { munmap(address.0.as_ptr().cast(), size) };
                if unmapped.is_ok() {
                    self.protection.reserved -= size;
                    self.protection.locked = self.protection.locked.saturating_sub(size);
                }
            }
        }
    }

    /// A mapping of its own; all bytes zero.
    fn map(&mut self, size: usize) -> Address {
        let flags = MapFlags::PRIVATE;
        // SAFETY: no address is asked for, so nothing that exists is mapped over.
        let mapped = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        };
        let address = mapped
            .ok()
            .and_then(|start| NonNull::new(start.cast::<u8>()));
        let Some(address) = address else {
            // What every other allocation does when memory is exhausted.
            handle_alloc_error(
                Layout::from_size_align(size, MIN_SLOT).unwrap_or(Layout::new::<u8>()),
            );
        };
        self.protection.reserved += size;
        let start = address.as_ptr().cast();
        #[cfg(target_os = "linux")]
        for (action, advice) in [
            ("keep it out of core dumps", Advice::LinuxDontDump),
            // Absent there, and not zero: a process that goes on with a key of zeros would encrypt with it.
            ("keep it from forked processes", Advice::LinuxDontFork),
        ] {
            // SAFETY: the range was mapped above, and the advice doesn't change what this process reads from it.
            let advised = unsafe { madvise(start, size, advice) };
            self.note(action, advised);
        }
        #[cfg(not(target_os = "linux"))]
        self.note(
            "keep it out of core dumps and from forked processes",
            Err(rustix::io::Errno::NOSYS),
        );
        // SAFETY: the range was mapped above.
        let locked = unsafe { mlock(start, size) };
        if locked.is_ok() {
            self.protection.locked += size;
        }
        self.note("lock it in memory", locked);
        Address(address)
    }

    fn note(&mut self, action: &str, result: rustix::io::Result<()>) {
        if let Err(error) = result
            && self.protection.refusal.is_none()
        {
            let error = io::Error::from(error);
            self.protection.refusal = Some(format!("the system doesn't {action}: {error}"));
        }
    }
}

/// The slot size for `len` bytes.
fn slot_size(len: usize) -> usize {
    if len <= MAX_SLOT {
        len.max(MIN_SLOT).next_power_of_two()
    } else {
        len.next_multiple_of(MAX_SLOT)
    }
}

/// Which list the slots of this size are in; past the last one for mappings of their own.
fn class(size: usize) -> usize {
    if size <= MAX_SLOT {
        (size / MIN_SLOT).ilog2() as usize
    } else {
        CLASSES
    }
}

/// Protected memory for one secret, zeroed when it is given back.
pub(super) struct Slot {
    arena: &'static Arena,
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: a slot is the only owner of its memory, and gives it out as references to itself.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// Memory for `len` bytes, all zero.
    pub(super) fn new(arena: &'static Arena, len: usize) -> Self {
        let Address(address) = arena.change(|state| state.take(slot_size(len)));
        Self {
            arena,
            address,
            len,
        }
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the slot has at least `len` bytes, initialised by the system or by an earlier owner's zeroing, and is this value's own.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Slot {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this value is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let bytes = self.as_mut();
        bytes.fill(0);
        optimization_barrier(bytes);
        let address = Address(self.address);
        let size = slot_size(self.len);
        self.arena.change(|state| state.give_back(address, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_zero_aligned_and_as_long_as_asked_for() {
        for len in [
            0,
            1,
            63,
            64,
            65,
            1000,
            4096,
            MAX_SLOT,
            MAX_SLOT + 1,
            100_000,
        ] {
            let mut slot = Slot::new(&ARENA, len);
            assert_eq!(slot.as_ref(), vec![0; len]);
            assert_eq!(slot.address.as_ptr().align_offset(MIN_SLOT), 0);
            slot.as_mut().fill(0xa5);
        }
        // Those that were used above are zero again.
        for len in [1, 64, 1000, MAX_SLOT] {
            let slots: Vec<_> = (0..100).map(|_| Slot::new(&ARENA, len)).collect();
            assert!(slots.iter().all(|slot| slot.as_ref() == vec![0; len]));
        }
    }

    #[test]
    fn slots_do_not_overlap() {
        let mut slots: Vec<_> = (0..2000).map(|i| Slot::new(&ARENA, 1 + i % 300)).collect();
        for (i, slot) in slots.iter_mut().enumerate() {
            slot.as_mut().fill((i % 251) as u8);
        }
        for (i, slot) in slots.iter().enumerate() {
            assert!(slot.as_ref().iter().all(|byte| *byte == (i % 251) as u8));
        }
    }

    /// What the system knows of the mapping that `address` lies in: `VmFlags` of `/proc/self/smaps`.
    #[cfg(target_os = "linux")]
    fn flags_of_mapping(address: usize) -> String {
        let mut inside = false;
        for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
            let range = line
                .split_whitespace()
                .next()
                .and_then(|range| range.split_once('-'));
            if let Some((start, end)) = range
                && let Ok(start) = usize::from_str_radix(start, 16)
                && let Ok(end) = usize::from_str_radix(end, 16)
            {
                inside = (start..end).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.to_owned();
            }
        }
        panic!("no mapping has {address:x}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_slot_is_in_no_core_dump_and_in_no_forked_process() {
        for len in [1, MAX_SLOT + 1] {
            let slot = Slot::new(&ARENA, len);
            let flags = flags_of_mapping(slot.address.as_ptr() as usize);
            for flag in ["dd", "dc"] {
                assert!(
                    flags.split_whitespace().any(|one| one == flag),
                    "{flag}: {flags}"
                );
            }
        }
    }
}
