//! The group commit of `stillkey::DataKeyManager` under schedules that shuttle chooses: at random, and by PCT, which finds bugs that need few
//! but particular switches (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
//!
//! Its source is compiled here once more, with shuttle's threads and locks in place of the system's. A thread that waits forever is a deadlock,
//! which shuttle reports with the schedule that led to it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use group::Group;
use sync::{Mutex, thread};

/// What the source under test finds in place of the standard library's.
mod sync {
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use shuttle::thread::{self, Thread};
    pub(super) use std::sync::PoisonError;
}

#[path = "../../native/src/dictionaries/group.rs"]
mod group;

const RANDOM_SCHEDULES: usize = 12_000;
const PCT_SCHEDULES: usize = 6_000;
/// How many particular switches a bug may need.
const PCT_DEPTH: usize = 4;

const SUBMITTERS: u64 = 4;
const REQUESTS: u64 = 3;

fn explore(test: fn()) {
    run(RandomScheduler::new(RANDOM_SCHEDULES), test);
    run(PctScheduler::new(PCT_DEPTH, PCT_SCHEDULES), test);
}

fn run(scheduler: impl Scheduler + 'static, test: fn()) {
    let schedules = Runner::new(scheduler, Config::default()).run(test);
    println!("{schedules} schedules");
}

/// Who asked, and for the how manyeth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    submitter: u64,
    number: u64,
}

/// The outcome is the request itself and its place among all that were worked off.
type Outcome = (Request, usize);

/// What the batches do: they take down what they get.
#[derive(Default)]
struct Desk {
    at_work: AtomicBool,
    done: Mutex<Vec<Request>>,
}

impl Desk {
    fn work(&self, batch: Vec<Request>) -> Vec<Outcome> {
        assert!(!batch.is_empty(), "nothing to do");
        assert!(
            !self.at_work.swap(true, Ordering::SeqCst),
            "two batches at once"
        );
        let outcomes = batch.into_iter().map(|request| {
            // Locking for each lets others in between.
            let mut done = self.done.lock().unwrap();
            done.push(request);
            (request, done.len() - 1)
        });
        let outcomes = outcomes.collect();
        self.at_work.store(false, Ordering::SeqCst);
        outcomes
    }
}

fn every_request_once() {
    let (group, desk) = (Arc::new(Group::new()), Arc::new(Desk::default()));
    let submitters = (0..SUBMITTERS).map(|submitter| {
        let (group, desk) = (Arc::clone(&group), Arc::clone(&desk));
        thread::spawn(move || {
            let mut places = Vec::new();
            for number in 0..REQUESTS {
                let request = Request { submitter, number };
                let outcome = group.submit(request, |batch| desk.work(batch));
                let (answered, place) = outcome.expect("nobody panicked");
                assert_eq!(answered, request, "another's outcome");
                places.push(place);
            }
            places
        })
    });
    let submitters: Vec<_> = submitters.collect();
    let mut places = Vec::new();
    for submitter in submitters {
        let of_one = submitter.join().unwrap();
        assert!(of_one.is_sorted(), "out of order: {of_one:?}");
        places.extend(of_one);
    }
    places.sort_unstable();
    assert!(
        places
            .iter()
            .copied()
            .eq(0..(SUBMITTERS * REQUESTS) as usize)
    );
    assert_eq!(desk.done.lock().unwrap().len(), places.len());
}

#[test]
fn under_every_schedule_each_request_is_worked_off_once_and_each_gets_its_own_outcome() {
    explore(every_request_once);
}

/// While the first is at work, the others come one after the other.
fn in_the_order_they_came() {
    let group = Arc::new(Group::<u64, u64>::new());
    let done = Arc::new(Mutex::new(Vec::<u64>::new()));
    let mut submitters = Vec::new();
    let first = group.submit(0, |batch| {
        for request in 1..SUBMITTERS {
            let (of_submitter, done) = (Arc::clone(&group), Arc::clone(&done));
            submitters.push(thread::spawn(move || {
                let work = |batch: Vec<u64>| {
                    done.lock().unwrap().extend(&batch);
                    batch
                };
                assert_eq!(of_submitter.submit(request, work), Some(request));
            }));
            while waiting(&group) < request {
                thread::yield_now();
            }
        }
        batch
    });
    assert_eq!(first, Some(0));
    for submitter in submitters {
        submitter.join().unwrap();
    }
    assert_eq!(*done.lock().unwrap(), (1..SUBMITTERS).collect::<Vec<_>>());
}

/// How many requests wait, which only the debugging output tells.
fn waiting(group: &Group<u64, u64>) -> u64 {
    let text = format!("{group:?}");
    let digits = text.chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

#[test]
fn under_every_schedule_requests_are_worked_off_in_the_order_they_came() {
    explore(in_the_order_they_came);
}

/// One of the requests makes whoever works it off panic.
fn one_panics() {
    const FATAL: u64 = 1;
    let group = Arc::new(Group::<u64, u64>::new());
    let panics = Arc::new(AtomicUsize::new(0));
    let submitters = (0..SUBMITTERS).map(|submitter| {
        let (group, panics) = (Arc::clone(&group), Arc::clone(&panics));
        thread::spawn(move || {
            for number in 0..2 {
                let request = submitter + number * SUBMITTERS;
                let submitted = AssertUnwindSafe(|| {
                    group.submit(request, |batch| {
                        // Not a panic, which would be printed for every schedule.
                        if batch.contains(&FATAL) {
                            panics.fetch_add(1, Ordering::SeqCst);
                            resume_unwind(Box::new(FATAL));
                        }
                        batch
                    })
                });
                match catch_unwind(submitted) {
                    Ok(Some(outcome)) => assert_eq!(outcome, request, "another's outcome"),
                    Ok(None) => assert_eq!(panics.load(Ordering::SeqCst), 1, "given up early"),
                    Err(_) => assert_eq!(panics.load(Ordering::SeqCst), 1, "not of our making"),
                }
            }
        })
    });
    for submitter in submitters.collect::<Vec<_>>() {
        submitter.join().unwrap();
    }
    assert_eq!(panics.load(Ordering::SeqCst), 1);
    assert_eq!(group.submit(0, |batch| batch), None, "and so it stays");
}

#[test]
fn under_every_schedule_nobody_waits_forever_for_a_thread_that_panicked() {
    explore(one_panics);
}
