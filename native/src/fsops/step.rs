//! Every operation of the file system passes [`step`], so that tests can make any of them fail and record what was done.

use std::fs::{File, Metadata, ReadDir};
use std::io;
use std::path::Path;

/// An operation, and what it is about.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "only tests look at what it is about")
)]
pub(crate) enum Act<'a> {
    Open(&'a Path),
    Read(&'a Path),
    Inspect(&'a Path),
    List(&'a Path),
    Create(&'a Path),
    /// A file without a name, in this directory.
    CreateUnnamed(&'a Path),
    MakeDirectory(&'a Path),
    /// Writes at the end of a file that is open for appending.
    Append(&'a File),
    /// Writes at the file's position.
    Write(&'a File),
    WriteAt(&'a File, u64),
    SetLen(&'a File, u64),
    /// Gives a file another owner or other permissions.
    Own(&'a File),
    Sync(&'a File),
    SyncDirectory(&'a Path),
    /// Gives a file without a name its name.
    Name(&'a File, &'a Path),
    Rename(&'a Path, &'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
}

/// What an operation gives, as far as a record of it needs to know.
#[cfg_attr(not(test), expect(dead_code, reason = "only tests record"))]
pub(crate) trait Outcome {
    /// The file that it made or opened.
    fn file(&self) -> Option<&File> {
        None
    }

    /// How many bytes it wrote or read.
    fn bytes(&self) -> usize {
        0
    }
}

impl Outcome for () {}
impl Outcome for Metadata {}
impl Outcome for ReadDir {}

impl Outcome for File {
    fn file(&self) -> Option<&File> {
        Some(self)
    }
}

impl Outcome for usize {
    fn bytes(&self) -> usize {
        *self
    }
}

#[cfg(not(test))]
pub(crate) fn step<T: Outcome>(
    _: &Act<'_>,
    operation: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    #[cfg(debug_assertions)]
    hesitate();
    operation()
}

/// In builds for debugging, waits up to `STILLKEY_TEST_DELAY` microseconds, so that a test of several processes meets each of them between any
/// two operations.
#[cfg(all(debug_assertions, not(test)))]
fn hesitate() {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;
    use std::time::Duration;
    static LONGEST: LazyLock<u64> = LazyLock::new(|| {
        let delay = std::env::var("STILLKEY_TEST_DELAY").unwrap_or_default();
        delay.parse().unwrap_or_default()
    });
    if *LONGEST > 0 {
        let random = RandomState::new().hash_one(0_u8);
        std::thread::sleep(Duration::from_micros(random % *LONGEST));
    }
}

#[cfg(not(test))]
pub(super) fn limit<'b>(_: &File, bytes: &'b [u8]) -> &'b [u8] {
    bytes
}

#[cfg(test)]
pub(crate) use on_demand::{Op, fault, limit, step};

/// Failures on demand.
#[cfg(test)]
mod on_demand {
    use super::*;
    use crate::testing::{disk, schedules};

    /// The kinds of operations that can be made to fail by their kind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Op {
        Create,
        Append,
        Write,
        Truncate,
        Own,
        Sync,
        SyncDirectory,
        Rename,
        Link,
        Remove,
    }

    impl Act<'_> {
        /// `None` for what changes nothing.
        pub(crate) fn op(&self) -> Option<Op> {
            Some(match self {
                Act::Open(_) | Act::Read(_) | Act::Inspect(_) | Act::List(_) => return None,
                Act::Create(_) | Act::CreateUnnamed(_) | Act::MakeDirectory(_) => Op::Create,
                Act::Append(_) => Op::Append,
                Act::Write(_) | Act::WriteAt(..) => Op::Write,
                Act::SetLen(..) => Op::Truncate,
                Act::Own(_) => Op::Own,
                Act::Sync(_) => Op::Sync,
                Act::SyncDirectory(_) => Op::SyncDirectory,
                Act::Name(..) | Act::Rename(..) => Op::Rename,
                Act::Link(..) => Op::Link,
                Act::Remove(_) => Op::Remove,
            })
        }
    }

    pub(crate) fn step<T: Outcome>(
        act: &Act<'_>,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        schedules::switch();
        if let Some(op) = act.op() {
            fault::refuse(op)?;
        }
        match disk::concerned(act) {
            // While this is recorded, no other thread does anything on the same disk, so the record has the order of events.
            Some(recording) => recording.step(act, operation),
            None => operation(),
        }
    }

    /// What an append gets to write of `bytes`.
    pub(crate) fn limit<'b>(file: &File, bytes: &'b [u8]) -> &'b [u8] {
        let bytes = fault::limit(bytes);
        match disk::concerned(&Act::Append(file)) {
            Some(recording) => recording.limit(bytes),
            None => bytes,
        }
    }

    /// Failures on demand, per thread, so that tests don't disturb each other. Only what changes something counts. Those of a whole
    /// disk, on every thread and in whatever is read, are [`disk::Recording`]'s.
    pub(crate) mod fault {
        use super::*;
        use std::cell::{Cell, RefCell};

        thread_local! {
            static PLAN: RefCell<Vec<(Op, usize)>> = const { RefCell::new(Vec::new()) };
            static SHORT: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
            static REACHED: Cell<bool> = const { Cell::new(false) };
            static COUNT: Cell<usize> = const { Cell::new(0) };
            static FAIL_AT: Cell<Option<usize>> = const { Cell::new(None) };
        }

        /// The next `op` fails, without having done anything.
        pub(crate) fn fail_next(op: Op) {
            fail_nth(op, 0);
        }

        /// The `n`-th next `op`, counted from 0, fails.
        pub(crate) fn fail_nth(op: Op, n: usize) {
            PLAN.with_borrow_mut(|plan| plan.push((op, n)));
        }

        /// The next append writes only `len` bytes.
        pub(crate) fn shorten_next_append(len: usize) {
            SHORT.set(Some((0, len)));
        }

        /// From the `n`-th operation on, counted from 0, every operation fails, until [`heal`].
        pub(crate) fn fail_from(n: usize) {
            COUNT.set(0);
            FAIL_AT.set(Some(n));
        }

        /// Nothing fails any more. Returns whether anything that was planned for the `n`-th operation came to be.
        pub(crate) fn heal() -> bool {
            PLAN.with_borrow_mut(Vec::clear);
            SHORT.set(None);
            let reached = REACHED.replace(false);
            FAIL_AT.take().is_some_and(|n| COUNT.get() > n) || reached
        }

        pub(super) fn limit(bytes: &[u8]) -> &[u8] {
            match SHORT.take() {
                Some((0, len)) => {
                    REACHED.set(true);
                    &bytes[..len.min(bytes.len())]
                }
                later => {
                    SHORT.set(later.map(|(n, len)| (n - 1, len)));
                    bytes
                }
            }
        }

        pub(super) fn refuse(op: Op) -> io::Result<()> {
            let count = COUNT.replace(COUNT.get() + 1);
            let planned = PLAN.with_borrow_mut(|plan| {
                let hit = plan
                    .iter()
                    .position(|(planned, left)| *planned == op && *left == 0);
                for (planned, left) in plan.iter_mut() {
                    if *planned == op {
                        *left = left.saturating_sub(1);
                    }
                }
                hit.map(|at| plan.remove(at)).is_some()
            });
            if planned || FAIL_AT.get().is_some_and(|n| count >= n) {
                return Err(io::Error::other(format!("injected failure of {op:?}")));
            }
            Ok(())
        }
    }
}
