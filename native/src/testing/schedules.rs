//! Threads that take turns as a test chooses: at random, and by PCT, which finds bugs that need few
//! but particular switches. Source: Burckhardt et al., "A Randomized Scheduler with Probabilistic
//! Guarantees of Finding Bugs", ASPLOS 2010.
//!
//! They switch at the locks of `dictionaries::sync` and before every operation of the file system.
//! A thread that waits forever is a deadlock, which is reported with the schedule that led to it.
//! Initialization vectors and keys are random in every run, so a schedule leads to the same failure
//! but for these.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use super::from_environment;

/// How many particular switches a bug may need.
const PCT_DEPTH: usize = 4;

/// File operations and cryptography need more than what shuttle gives.
const STACK: usize = 1 << 19;

/// Whether this thread takes its turns from a schedule.
pub(crate) fn is_controlled() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

/// Lets another thread have its turn, if there are turns.
pub(crate) fn switch() {
    if is_controlled() {
        shuttle::thread::sleep(std::time::Duration::ZERO);
    }
}

/// Runs `test` under so many schedules at random and as many of PCT, or `STILLKEY_LONG` times as
/// many. `STILLKEY_SCHEDULES`: how many of each instead.
pub(crate) fn explore(schedules: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let factor = from_environment("STILLKEY_LONG").unwrap_or(1);
    let schedules = from_environment("STILLKEY_SCHEDULES").unwrap_or(schedules * factor);
    run("random", RandomScheduler::new(schedules), test.clone());
    run("PCT", PctScheduler::new(PCT_DEPTH, schedules), test);
}

fn run(kind: &str, scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::default();
    config.stack_size = STACK;
    // About orders weaker than sequential, which only counters have.
    config.silence_warnings = true;
    let started = std::time::Instant::now();
    let schedules = Runner::new(scheduler, config).run(test);
    println!("{schedules} schedules, {kind}, {:?}", started.elapsed());
}
