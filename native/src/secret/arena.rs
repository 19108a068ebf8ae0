//! Slots of protected memory, by size.
//!
//! Memory comes from the system in regions of 64 KiB and isn't given back; slots are powers of two from 64 bytes to 16 KiB, and freed ones are
//! used again. So for each size, the memory locked is that of the most slots that ever lived at once, rounded up to a region. What is larger
//! than 16 KiB has a mapping of its own, and gives it back.

use std::alloc::{Layout, handle_alloc_error};
use std::io::{self, Write};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};
use zeroize::optimization_barrier;

use super::{Protection, hidden};
use crate::error::Error;
use crate::observe;

/// The smallest slot, and the alignment of all: a cache line.
pub(super) const MIN_SLOT: usize = 64;
/// The largest slot that shares a region with others.
const MAX_SLOT: usize = 16 << 10;
const REGION: usize = 64 << 10;
const CLASSES: usize = (MAX_SLOT / MIN_SLOT).ilog2() as usize + 1;

pub(super) static ARENA: Arena = Arena::new(hidden::map);

pub(super) struct Arena(Mutex<State>);

struct State {
    /// Where memory is asked for first.
    hidden: fn(usize) -> Option<NonNull<u8>>,
    /// `RLIMIT_MEMLOCK`, in bytes.
    limit: fn() -> u64,
    /// Zeroed slots that nobody uses, by class: class 0 is the smallest.
    free: [Vec<Address>; CLASSES],
    /// Regions that no class has taken yet.
    spare: Vec<Address>,
    /// Whether to stop rather than to give out memory that isn't protected.
    required: bool,
    protection: Protection,
}

/// The first byte of a slot, and what the system granted for the mapping that it lies in.
#[derive(Clone, Copy)]
struct Address(NonNull<u8>, Granted);

/// How many bytes are locked, and how many of them hidden: all or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Granted {
    locked: usize,
    hidden: usize,
}

// SAFETY: the memory belongs to no thread.
unsafe impl Send for Address {}

impl Arena {
    const fn new(hidden: fn(usize) -> Option<NonNull<u8>>) -> Self {
        Self::within(hidden, || {
            getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX)
        })
    }

    const fn within(hidden: fn(usize) -> Option<NonNull<u8>>, limit: fn() -> u64) -> Self {
        Self(Mutex::new(State {
            hidden,
            limit,
            free: [const { Vec::new() }; CLASSES],
            spare: Vec::new(),
            required: false,
            protection: Protection {
                reserved: 0,
                locked: 0,
                hidden: 0,
                refusal: None,
            },
        }))
    }

    /// Sets `reserve` bytes aside, and stops the process from now on if anything is refused.
    pub(super) fn require(&self, reserve: usize) -> Result<Protection, Error> {
        self.change(|state| {
            while state.spare.len() < reserve.div_ceil(REGION) && state.protection.refusal.is_none()
            {
                let region = state.map(REGION);
                state.spare.push(region);
            }
        });
        let mut state = self.state();
        let protection = state.protection.clone();
        match protection.refusal {
            Some(refusal) => Err(Error::Unprotected { refusal }),
            None => {
                state.required = true;
                Ok(protection)
            }
        }
    }

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
        let required = state.required;
        drop(state);
        if let Some(after) = after {
            observe::secret_memory(&after);
            if let Some(refusal) = after.refusal.filter(|_| !was_refused) {
                observe::secret_memory_refused(&refusal);
                if required {
                    stop(refusal);
                }
            }
        }
        changed
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the lists half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the process, as memory that is exhausted does: whoever asked for a slot can't be told no, and a panic could be caught.
fn stop(refusal: String) -> ! {
    let error = Error::Unprotected { refusal };
    // Where nobody listens, there is nobody to tell.
    let _ = writeln!(io::stderr(), "stillkey: {error}");
    std::process::abort()
}

impl State {
    fn take(&mut self, size: usize) -> Address {
        let Some(free) = self.free.get_mut(class(size)) else {
            return self.map(size);
        };
        if let Some(address) = free.pop() {
            return address;
        }
        let region = self.spare.pop().unwrap_or_else(|| self.map(REGION));
        self.divide(region, size)
    }

    /// As [`State::take`], for what can be done without: `None` where that would leave too little for what can't.
    ///
    /// Takes no spare region, maps none beyond half of `RLIMIT_MEMLOCK`, and gives one back that the system doesn't lock.
    fn take_optional(&mut self, size: usize) -> Option<Address> {
        if let Some(address) = self.free.get_mut(class(size))?.pop() {
            return Some(address);
        }
        if (self.protection.reserved + REGION) as u64 > (self.limit)() / 2 {
            return None;
        }
        let (region, refusal) = self.mapping(REGION)?;
        if region.1.locked < REGION || (self.required && refusal.is_some()) {
            // SAFETY: the region was mapped above, and nothing of it has been given out.
            let _ = unsafe { munmap(region.0.as_ptr().cast(), REGION) };
            return None;
        }
        self.account(REGION, region.1, refusal);
        Some(self.divide(region, size))
    }

    /// The first slot of a region whose others become free.
    fn divide(&mut self, region: Address, size: usize) -> Address {
        let others = (1..REGION / size).rev().map(|slot| {
            // SAFETY: the slot lies within the region.
            Address(unsafe { region.0.add(slot * size) }, region.1)
        });
        if let Some(free) = self.free.get_mut(class(size)) {
            free.extend(others);
        }
        region
    }

    fn give_back(&mut self, address: Address, size: usize) {
        match self.free.get_mut(class(size)) {
            Some(free) => free.push(address),
            None => {
                // SAFETY: a slot of this size is a mapping of its own, and its owner is gone.
                let unmapped = unsafe { munmap(address.0.as_ptr().cast(), size) };
                if unmapped.is_ok() {
                    self.protection.reserved -= size;
                    self.protection.locked -= address.1.locked;
                    self.protection.hidden -= address.1.hidden;
                }
            }
        }
    }

    /// A mapping of its own; all bytes zero.
    fn map(&mut self, size: usize) -> Address {
        let Some((address, refusal)) = self.mapping(size) else {
            // What every other allocation does when memory is exhausted.
            handle_alloc_error(
                Layout::from_size_align(size, MIN_SLOT).unwrap_or(Layout::new::<u8>()),
            );
        };
        self.account(size, address.1, refusal);
        address
    }

    fn account(&mut self, size: usize, granted: Granted, refusal: Option<String>) {
        self.protection.reserved += size;
        self.protection.locked += granted.locked;
        self.protection.hidden += granted.hidden;
        if self.protection.refusal.is_none() {
            self.protection.refusal = refusal;
        }
    }

    /// Memory, and what the system refused first to do for its protection; `None` where there is none.
    fn mapping(&self, size: usize) -> Option<(Address, Option<String>)> {
        let mut refusal = None;
        let mut note = |action: &str, result: rustix::io::Result<()>| {
            if let Err(error) = result {
                let error = io::Error::from(error);
                refusal.get_or_insert_with(|| format!("the system doesn't {action}: {error}"));
            }
        };
        let hidden = (self.hidden)(size);
        let address = hidden.or_else(|| map_anonymously(size))?;
        let start = address.as_ptr().cast();
        #[cfg(target_os = "linux")]
        for (action, advice) in [
            ("keep it out of core dumps", Advice::LinuxDontDump),
            // Absent there, and not zero: a process that goes on with a key of zeros would encrypt with it.
            ("keep it from forked processes", Advice::LinuxDontFork),
        ] {
            // SAFETY: the range was mapped above, and the advice doesn't change what this process reads from it.
            let advised = unsafe { madvise(start, size, advice) };
            note(action, advised);
        }
        #[cfg(not(target_os = "linux"))]
        note(
            "keep it out of core dumps and from forked processes",
            Err(rustix::io::Errno::NOSYS),
        );
        let granted = if hidden.is_some() {
            // Locked from the start.
            Granted {
                locked: size,
                hidden: size,
            }
        } else {
            // SAFETY: the range was mapped above.
            let locked = unsafe { mlock(start, size) };
            note("lock it in memory", locked);
            Granted {
                locked: if locked.is_ok() { size } else { 0 },
                hidden: 0,
            }
        };
        Some((Address(address, granted), refusal))
    }
}

fn map_anonymously(size: usize) -> Option<NonNull<u8>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: no address is asked for, so nothing that exists is mapped over.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), size, access, MapFlags::PRIVATE) };
    NonNull::new(mapped.ok()?.cast())
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
    address: Address,
    len: usize,
}

// SAFETY: a slot is the only owner of its memory, and gives it out as references to itself.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// Memory for `len` bytes, all zero.
    pub(super) fn new(arena: &'static Arena, len: usize) -> Self {
        let address = arena.change(|state| state.take(slot_size(len)));
        Self {
            arena,
            address,
            len,
        }
    }

    /// As [`Slot::new`], for what can be done without: `None` where locked memory is short. Never ends the process.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "for a kernel of that processor")
    )]
    pub(super) fn optional(arena: &'static Arena, len: usize) -> Option<Self> {
        let address = arena.change(|state| state.take_optional(slot_size(len)))?;
        Some(Self {
            arena,
            address,
            len,
        })
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the slot has at least `len` bytes, initialised by the system or by an earlier owner's zeroing, and is this value's own.
        unsafe { std::slice::from_raw_parts(self.address.0.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Slot {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this value is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address.0.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let bytes = self.as_mut();
        bytes.fill(0);
        optimization_barrier(bytes);
        let (address, size) = (self.address, slot_size(self.len));
        self.arena.change(|state| state.give_back(address, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a system without `memfd_secret`.
    static PLAIN: Arena = Arena::new(|_| None);

    #[test]
    fn a_slot_is_zero_aligned_and_as_long_as_asked_for() {
        for arena in [&ARENA, &PLAIN] {
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
                let mut slot = Slot::new(arena, len);
                assert_eq!(slot.as_ref(), vec![0; len]);
                assert_eq!(slot.address.0.as_ptr().align_offset(MIN_SLOT), 0);
                slot.as_mut().fill(0xa5);
            }
            // Those that were used above are zero again.
            for len in [1, 64, 1000, MAX_SLOT] {
                let slots: Vec<_> = (0..100).map(|_| Slot::new(arena, len)).collect();
                assert!(slots.iter().all(|slot| slot.as_ref() == vec![0; len]));
            }
        }
    }

    #[test]
    fn slots_do_not_overlap() {
        for arena in [&ARENA, &PLAIN] {
            let mut slots: Vec<_> = (0..2000).map(|i| Slot::new(arena, 1 + i % 300)).collect();
            for (i, slot) in slots.iter_mut().enumerate() {
                slot.as_mut().fill((i % 251) as u8);
            }
            for (i, slot) in slots.iter().enumerate() {
                assert!(slot.as_ref().iter().all(|byte| *byte == (i % 251) as u8));
            }
        }
    }

    #[test]
    fn as_much_is_locked_as_is_documented_and_large_slots_are_given_back() {
        static ALONE: [Arena; 2] = [Arena::new(hidden::map), Arena::new(|_| None)];
        for arena in &ALONE {
            let small: Vec<_> = (0..1025).map(|_| Slot::new(arena, 32)).collect();
            let before = arena.protection();
            assert_eq!(before.reserved, 2 * REGION, "1025 slots of 64 bytes");
            let large = Slot::new(arena, MAX_SLOT + 1);
            let with_large = arena.protection();
            assert_eq!(with_large.reserved, before.reserved + 2 * MAX_SLOT);
            assert!(with_large.locked >= before.locked && with_large.hidden <= with_large.locked);
            drop(large);
            assert_eq!(arena.protection(), before);
            drop(small);
            let _again: Vec<_> = (0..2048).map(|_| Slot::new(arena, 64)).collect();
            assert_eq!(arena.protection(), before);
        }
        assert_eq!(ALONE[1].protection().hidden, 0);
    }

    #[test]
    fn what_was_set_aside_is_used_first() {
        static ALONE: Arena = Arena::new(hidden::map);
        // Where the limit is too low for this, there is nothing to see.
        let Ok(required) = ALONE.require(2 * REGION + 1) else {
            return;
        };
        assert_eq!(
            (required.reserved, required.locked),
            (3 * REGION, 3 * REGION)
        );
        let _slots = [64, 128, 256].map(|len| Slot::new(&ALONE, len));
        assert_eq!(ALONE.protection(), required);
        let _slot = Slot::new(&ALONE, 512);
        assert_eq!(ALONE.protection().locked, 4 * REGION);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_can_be_done_without_leaves_half_of_the_limit_and_what_was_set_aside() {
        static ALONE: Arena = Arena::within(|_| None, || 8 * REGION as u64);
        let Ok(required) = ALONE.require(REGION) else {
            return;
        };
        let slots: Vec<_> = std::iter::from_fn(|| Slot::optional(&ALONE, 4096)).collect();
        assert_eq!(slots.len(), 3 * REGION / 4096);
        assert!(slots.iter().all(|slot| slot.as_ref() == [0; 4096]));
        assert_eq!(ALONE.protection().reserved, 4 * REGION);
        let _spare = Slot::new(&ALONE, 512);
        assert_eq!(ALONE.protection().reserved, 4 * REGION);
        assert_eq!(required.reserved, REGION);
        drop(slots);
        assert!(
            Slot::optional(&ALONE, 4096).is_some(),
            "freed ones are used"
        );
    }

    /// What the system knows of the mapping that `slot` lies in, of `/proc/self/smaps`: its name and `VmFlags`.
    #[cfg(target_os = "linux")]
    fn mapping_of(slot: &Slot) -> (String, String) {
        let address = slot.address.0.as_ptr() as usize;
        let (mut name, mut inside) = (String::new(), false);
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
                line.clone_into(&mut name);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return (name, flags.to_owned());
            }
        }
        panic!("no mapping has {address:x}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_slot_is_in_no_core_dump_and_in_no_forked_process() {
        for (arena, len) in [
            (&ARENA, 1),
            (&PLAIN, 1),
            (&ARENA, MAX_SLOT + 1),
            (&PLAIN, MAX_SLOT + 1),
        ] {
            let slot = Slot::new(arena, len);
            let granted = slot.address.1;
            println!("{len} bytes: {granted:?}");
            let (name, flags) = mapping_of(&slot);
            assert_eq!(name.contains("/secretmem"), granted.hidden > 0, "{name}");
            let locked = (granted.locked > 0).then_some("lo");
            for flag in ["dd", "dc"].into_iter().chain(locked) {
                assert!(
                    flags.split_whitespace().any(|one| one == flag),
                    "{flag}: {flags}"
                );
            }
        }
    }
}
