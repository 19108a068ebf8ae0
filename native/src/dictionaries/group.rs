//! Group commit: what comes while the disk is busy waits together, and the first of those who wait then does the work of all.

use std::collections::HashMap;
use std::fmt;

use super::sync::{Mutex, MutexGuard, PoisonError, Thread, thread};

/// How often a turn lets other threads run before it starts: microseconds if they have nothing to do, far less than a disk takes.
const PATIENCE: usize = 32;

/// Requests `R` of many threads, worked off in batches, each with an outcome `O`. In every batch, requests stand in the order they came.
pub(super) struct Group<R, O> {
    state: Mutex<State<R, O>>,
}

struct State<R, O> {
    /// The number of the next request.
    next: u64,
    waiting: Vec<Waiting<R>>,
    /// How many were there when the last turn ended: those it worked for, and those who had come meanwhile.
    crowd: usize,
    /// What has been done, and not yet been told to who asked.
    outcomes: HashMap<u64, O>,
    /// Whether a thread is at work.
    busy: bool,
    /// A thread panicked at work: what it had taken on is lost.
    broken: bool,
}

struct Waiting<R> {
    number: u64,
    request: R,
    thread: Thread,
}

impl<R, O> Group<R, O> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next: 0,
                waiting: Vec::new(),
                crowd: 0,
                outcomes: HashMap::new(),
                busy: false,
                broken: false,
            }),
        }
    }

    /// Returns when `request` has been worked off, by this thread or another. `work` gets a batch and returns as many outcomes.
    ///
    /// `None` once a thread has panicked at work.
    pub(super) fn submit(&self, request: R, work: impl FnOnce(Vec<R>) -> Vec<O>) -> Option<O> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push(Waiting {
            number,
            request,
            thread: thread::current(),
        });
        while state.busy {
            drop(state);
            thread::park();
            state = self.lock();
            if let Some(outcome) = state.outcomes.remove(&number) {
                return Some(outcome);
            }
        }
        if state.broken {
            return None;
        }
        state.busy = true;
        let mut state = self.gather(state);
        let mut turn = Turn {
            group: self,
            asked: Vec::with_capacity(state.waiting.len()),
            outcomes: None,
        };
        let batch = state.waiting.drain(..).map(|waiting| {
            turn.asked.push((waiting.number, waiting.thread));
            waiting.request
        });
        let batch = batch.collect();
        drop(state);

        turn.outcomes = Some(work(batch));
        drop(turn);
        self.lock().outcomes.remove(&number)
    }

    /// Lets those come whom the last turn has told, and who often have another request at once. Without that, threads fall into two halves
    /// that take turns, and the disk works twice for what it could do at once. Who is alone waits for nobody.
    fn gather<'g>(&'g self, mut state: MutexGuard<'g, State<R, O>>) -> MutexGuard<'g, State<R, O>> {
        let crowd = state.crowd;
        for _ in 0..PATIENCE {
            if state.waiting.len() >= crowd {
                break;
            }
            drop(state);
            thread::yield_now();
            state = self.lock();
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<R, O>> {
        // Nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's turn: however it ends, the others hear of it.
struct Turn<'a, R, O> {
    group: &'a Group<R, O>,
    asked: Vec<(u64, Thread)>,
    /// `None` until the work is done.
    outcomes: Option<Vec<O>>,
}

impl<R, O> Drop for Turn<'_, R, O> {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        state.busy = false;
        state.crowd = self.asked.len() + state.waiting.len();
        let numbers = self.asked.iter().map(|(number, _)| *number);
        match self.outcomes.take() {
            Some(outcomes) => state.outcomes.extend(numbers.zip(outcomes)),
            None => state.broken = true,
        }
        // The next first, so that the disk doesn't wait for everyone to be told. Only one of those who wait: it works for all.
        let next = if state.broken { state.waiting.len() } else { 1 };
        let next = state.waiting.iter().take(next);
        let next: Vec<_> = next.map(|waiting| waiting.thread.clone()).collect();
        drop(state);
        let told = self.asked.drain(..).map(|(_, thread)| thread);
        let this = thread::current().id();
        for thread in next.into_iter().chain(told) {
            if thread.id() != this {
                thread.unpark();
            }
        }
    }
}

impl<R, O> fmt::Debug for Group<R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Group")
            .field("waiting", &state.waiting.len())
            .field("busy", &state.busy)
            .finish_non_exhaustive()
    }
}
