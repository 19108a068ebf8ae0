//! Data keys replaced in the background when they are due.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stillkey_core::{RotationPolicy, RotationReason};

use super::Entries;
use crate::error::Error;

/// How often it is looked whether a data key is due, at the least. Source: TiKV does the same.
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);

/// A thread that replaces the data key of [`Entries`] whenever one is due by a policy: every ten minutes, or every period if that is
/// shorter, it looks whether one is, and whether a key service's master key has moved on
/// ([`renew_wrapped_key`](Entries::renew_wrapped_key)). No other change puts that off. What fails is tried again the next time. Dropping this
/// ends the thread.
///
/// ```
/// use std::sync::Arc;
/// use stillkey::core::{MasterKey, Method, RawMasterKey, RotationPolicy};
/// use stillkey::{BackgroundRotation, Entries, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let entries = Entries::create(directory.path(), &master_key, Method::Aes256Ctr, unix_now())?;
/// let rotation = BackgroundRotation::start(Arc::new(entries), RotationPolicy::default(), unix_now, |outcome| match outcome {
///     Ok(None) => {}
///     Ok(Some(reason)) => eprintln!("a new data key: {reason:?}"),
///     Err(error) => eprintln!("no new data key: {error}"),
/// })?;
/// # drop(rotation);
/// # Ok(()) }
/// ```
pub struct BackgroundRotation {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// How many looks have been asked for, and how many of these were taken.
    asked: u64,
    taken: u64,
}

impl BackgroundRotation {
    /// Starts the thread, which looks for the first time at once. `clock` tells the time in seconds since 1970-01-01 UTC; `report` hears of
    /// every look: of the reason if a key was replaced, and of what failed. If one of them panics, that look is over, and the next one comes.
    ///
    /// # Errors
    /// [`Error::Usage`] when the system has no thread to give.
    pub fn start(
        entries: Arc<Entries>,
        policy: RotationPolicy,
        clock: impl Fn() -> u64 + Send + 'static,
        mut report: impl FnMut(Result<Option<RotationReason>, Error>) + Send + 'static,
    ) -> Result<Self, Error> {
        let signal = Arc::new(Signal::default());
        let heard = Arc::clone(&signal);
        let interval = Duration::from_secs(policy.period.max(1)).min(LONGEST_INTERVAL);
        let look = move || {
            let mut asked = 0;
            loop {
                going_on(|| report(entries.rotate_if_due(&policy, clock())));
                if let Err(error) = entries.renew_wrapped_key() {
                    going_on(|| report(Err(error)));
                }
                match heard.wait(asked, interval) {
                    Some(now_asked) => asked = now_asked,
                    None => return,
                }
            }
        };
        let thread = thread::Builder::new().name("stillkey-rotate".into());
        let thread = thread.spawn(look).map_err(|error| {
            Error::Usage(format!(
                "no thread for the rotation of data keys: {error}; raise the limit of threads"
            ))
        })?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }

    /// Looks now, and returns when that is done: after the clock was set, for example.
    pub fn look_now(&self) {
        let mut state = self.signal.lock();
        state.asked += 1;
        let asked = state.asked;
        self.signal.changed.notify_all();
        while state.taken < asked && !state.stop {
            state = self
                .signal
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Runs the program's code, whose panic, which has been printed, ends nothing but itself.
fn going_on(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}

impl Signal {
    /// Reports the looks that were `asked` for as taken, and waits for the next one. `None` when there is to be none.
    fn wait(&self, asked: u64, interval: Duration) -> Option<u64> {
        let mut state = self.lock();
        state.taken = asked;
        self.changed.notify_all();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, interval, |state| {
                !state.stop && state.asked == state.taken
            })
            .unwrap_or_else(PoisonError::into_inner);
        (!state.stop).then_some(state.asked)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }
}

/// However the thread ends, nobody waits for it.
impl Drop for BackgroundRotation {
    fn drop(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take() {
            // A panic was the report's, and has been printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for BackgroundRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundRotation").finish_non_exhaustive()
    }
}
