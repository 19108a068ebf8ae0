//! Group commit: what comes while the disk is busy waits together, and the first of those who wait then does the work of all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Requests `R` of many threads, worked off in batches, each with an outcome `O`. In every batch, requests stand in the order they came.
pub(super) struct Group<R, O> {
    state: Mutex<State<R, O>>,
    batch_done: Condvar,
}

struct State<R, O> {
    /// The number of the next request.
    next: u64,
    waiting: Vec<(u64, R)>,
    /// What has been done, and not yet been told to who asked.
    outcomes: HashMap<u64, O>,
    /// Whether a thread is at work.
    busy: bool,
    /// A thread panicked at work: what it had taken on is lost.
    broken: bool,
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
            batch_done: Condvar::new(),
        }
    }

    /// Returns when `request` has been worked off, by this thread or another. `work` gets a batch and returns as many outcomes.
    ///
    /// `None` once a thread has panicked at work.
    pub(super) fn submit(&self, request: R, work: impl FnOnce(Vec<R>) -> Vec<O>) -> Option<O> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push((number, request));
        while state.busy {
            state = self
                .batch_done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(outcome) = state.outcomes.remove(&number) {
                return Some(outcome);
            }
        }
        if state.broken {
            return None;
        }
        state.busy = true;
        let (numbers, batch): (Vec<_>, Vec<_>) = state.waiting.drain(..).unzip();
        drop(state);

        let mut turn = Turn {
            group: self,
            done: None,
        };
        let outcomes = work(batch);
        turn.done = Some(numbers.into_iter().zip(outcomes).collect());
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
    /// `None` until the work is done.
    done: Option<Vec<(u64, O)>>,
}

impl<R, O> Drop for Turn<'_, R, O> {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        state.busy = false;
        match self.done.take() {
            Some(done) => state.outcomes.extend(done),
            None => state.broken = true,
        }
        drop(state);
        self.group.batch_done.notify_all();
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
