//! The group commit among threads of the system; `tests/tests/group_commit.rs` runs it under schedules of its choosing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use super::super::group::Group;

/// How many requests wait, which only its debugging output tells.
fn waiting<R, O>(group: &Group<R, O>) -> usize {
    let text = format!("{group:?}");
    let digits = text.chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
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
        while waiting(&group) < 15 {
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
                    while waiting(&group) < 1 {
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
