//! Group commit: what comes while the disk is busy waits together, and the first of those who wait then does the work of all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// Requests `R` of many threads, worked off in batches, each with an outcome `O`. In every batch, requests stand in the order they came.
pub(super) struct Group<R, O> {
    state: Mutex<State<R, O>>,
}

struct State<R, O> {
    /// The number of the next request.
    next: u64,
    waiting: Vec<Waiting<R>>,
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    impl<R, O> Group<R, O> {
        fn waiting(&self) -> usize {
            self.lock().waiting.len()
        }
    }

    #[test]
    fn what_comes_while_one_is_at_work_is_done_at_once_and_each_gets_its_own_outcome() {
        let group = Group::new();
        let (begun, wait_begun) = channel();
        let (go_on, wait_go_on) = channel();
        let batches = Mutex::new(Vec::new());
        let work = |batch: Vec<u32>| {
            let outcomes = batch.iter().map(|request| request * 10).collect();
            batches.lock().unwrap().push(batch.len());
            outcomes
        };
        thread::scope(|scope| {
            let (in_first, do_work) = (&group, &work);
            let first = scope.spawn(move || {
                in_first.submit(0, |batch| {
                    begun.send(()).unwrap();
                    wait_go_on.recv().unwrap();
                    do_work(batch)
                })
            });
            wait_begun.recv().unwrap();
            let rest: Vec<_> = (1..=15)
                .map(|request| {
                    let (group, work) = (&group, &work);
                    scope.spawn(move || (request, group.submit(request, work)))
                })
                .collect();
            while group.waiting() < 15 {
                thread::yield_now();
            }
            go_on.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Some(0));
            for thread in rest {
                let (request, outcome) = thread.join().unwrap();
                assert_eq!(outcome, Some(request * 10));
            }
        });
        assert_eq!(*batches.lock().unwrap(), [1, 15]);
    }

    #[test]
    fn nobody_waits_forever_for_a_thread_that_panicked() {
        let group = Group::<u32, u32>::new();
        let (begun, wait_begun) = channel();
        thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let submitted = AssertUnwindSafe(|| {
                    group.submit(0, |_| {
                        begun.send(()).unwrap();
                        while group.waiting() < 1 {
                            thread::yield_now();
                        }
                        panic!("at work")
                    })
                });
                catch_unwind(submitted).is_err()
            });
            wait_begun.recv().unwrap();
            assert_eq!(group.submit(1, |batch| batch), None);
            assert!(panics.join().unwrap());
        });
        assert_eq!(group.submit(2, |batch| batch), None);
    }
}
