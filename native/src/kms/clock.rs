//! What time it is for a KMS, and whether to believe it.

use std::fmt;
use std::time::{Duration, Instant};

use stillkey_core::kms::time::{DAY, Now, Time};

/// A clock.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Seconds since 1970-01-01 UTC, as the system shows them.
    fn unix(&self) -> u64;

    /// A time that only goes on: how long something has been running.
    fn uptime(&self) -> Duration;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn unix(&self) -> u64 {
        crate::clock::unix_now()
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A moment that was believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) time: Time,
    pub(super) uptime: Duration,
}

/// What the clock shows. It is in doubt when it is more than a day ahead of where it should be, by
/// the last moment that was believed and the time that has passed since.
pub(super) fn now(clock: &dyn Clock, anchor: Anchor, believed: bool) -> Now {
    let time = Time::from_unix(clock.unix()).unwrap_or(Time::MAX);
    let passed = clock.uptime().saturating_sub(anchor.uptime).as_secs();
    let expected = anchor.time.plus(passed);
    // A KMS that was never changed has nothing to be destroyed, and no time to compare with.
    let is_new = anchor.time == Time::default();
    if believed || is_new || time <= expected.plus(DAY) {
        Now::new(time)
    } else {
        Now::doubtful(time)
    }
}
