//! Locks, counters and threads of the system or of shuttle: of the latter if they are made while it
//! runs a test, so that one build has tests of both kinds. The interface is that of the standard
//! library.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::sync::{LockResult, PoisonError};

use crate::testing::schedules;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Either<S, C> {
    System(S),
    Controlled(C),
}

use Either::{Controlled, System};

impl<T, S: Deref<Target = T>, C: Deref<Target = T>> Deref for Either<S, C> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            System(guard) => guard,
            Controlled(guard) => guard,
        }
    }
}

impl<T, S: DerefMut<Target = T>, C: DerefMut<Target = T>> DerefMut for Either<S, C> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            System(guard) => guard,
            Controlled(guard) => guard,
        }
    }
}

fn map<G, E>(locked: LockResult<G>, wrap: impl Fn(G) -> E) -> LockResult<E> {
    match locked {
        Ok(guard) => Ok(wrap(guard)),
        Err(poisoned) => Err(PoisonError::new(wrap(poisoned.into_inner()))),
    }
}

fn either<S, C>(system: impl FnOnce() -> S, controlled: impl FnOnce() -> C) -> Either<S, C> {
    match schedules::is_controlled() {
        true => Controlled(controlled()),
        false => System(system()),
    }
}

#[derive(Debug)]
pub(in super::super) struct Mutex<T>(Either<std::sync::Mutex<T>, shuttle::sync::Mutex<T>>);

pub(in super::super) type MutexGuard<'m, T> =
    Either<std::sync::MutexGuard<'m, T>, shuttle::sync::MutexGuard<'m, T>>;

impl<T> Mutex<T> {
    pub(in super::super) fn new(value: T) -> Self {
        Self(match schedules::is_controlled() {
            true => Controlled(shuttle::sync::Mutex::new(value)),
            false => System(std::sync::Mutex::new(value)),
        })
    }

    pub(in super::super) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match &self.0 {
            System(mutex) => map(mutex.lock(), System),
            Controlled(mutex) => map(mutex.lock(), Controlled),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[derive(Debug)]
pub(in super::super) struct RwLock<T>(Either<std::sync::RwLock<T>, shuttle::sync::RwLock<T>>);

pub(in super::super) type RwLockReadGuard<'l, T> =
    Either<std::sync::RwLockReadGuard<'l, T>, shuttle::sync::RwLockReadGuard<'l, T>>;
pub(in super::super) type RwLockWriteGuard<'l, T> =
    Either<std::sync::RwLockWriteGuard<'l, T>, shuttle::sync::RwLockWriteGuard<'l, T>>;

impl<T> RwLock<T> {
    pub(in super::super) fn new(value: T) -> Self {
        Self(match schedules::is_controlled() {
            true => Controlled(shuttle::sync::RwLock::new(value)),
            false => System(std::sync::RwLock::new(value)),
        })
    }

    pub(in super::super) fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        match &self.0 {
            System(lock) => map(lock.read(), System),
            Controlled(lock) => map(lock.read(), Controlled),
        }
    }

    pub(in super::super) fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        match &self.0 {
            System(lock) => map(lock.write(), System),
            Controlled(lock) => map(lock.write(), Controlled),
        }
    }

    pub(in super::super) fn get_mut(&mut self) -> LockResult<&mut T> {
        match &mut self.0 {
            System(lock) => lock.get_mut(),
            Controlled(lock) => lock.get_mut(),
        }
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// That it is sharded makes it fast and nothing else, so here it isn't.
pub(in super::super) type ShardedLock<T> = RwLock<T>;
pub(in super::super) type ShardedLockReadGuard<'l, T> = RwLockReadGuard<'l, T>;

#[derive(Debug)]
pub(in super::super) struct AtomicU64(
    Either<std::sync::atomic::AtomicU64, shuttle::sync::atomic::AtomicU64>,
);

impl AtomicU64 {
    pub(in super::super) fn new(value: u64) -> Self {
        Self(either(
            || std::sync::atomic::AtomicU64::new(value),
            || shuttle::sync::atomic::AtomicU64::new(value),
        ))
    }

    pub(in super::super) fn load(&self, order: Ordering) -> u64 {
        match &self.0 {
            System(atomic) => atomic.load(order),
            Controlled(atomic) => atomic.load(order),
        }
    }

    pub(in super::super) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        match &self.0 {
            System(atomic) => atomic.fetch_add(value, order),
            Controlled(atomic) => atomic.fetch_add(value, order),
        }
    }
}

#[derive(Clone, Debug)]
pub(in super::super) struct Thread(Either<std::thread::Thread, shuttle::thread::Thread>);

impl Thread {
    pub(in super::super) fn id(&self) -> Either<std::thread::ThreadId, shuttle::thread::ThreadId> {
        match &self.0 {
            System(thread) => System(thread.id()),
            Controlled(thread) => Controlled(thread.id()),
        }
    }

    pub(in super::super) fn unpark(&self) {
        match &self.0 {
            System(thread) => thread.unpark(),
            Controlled(thread) => thread.unpark(),
        }
    }
}

pub(in super::super) mod thread {
    use std::time::Duration;

    use super::*;

    pub(in super::super::super) fn current() -> Thread {
        Thread(either(std::thread::current, shuttle::thread::current))
    }

    pub(in super::super::super) fn park() {
        either(std::thread::park, shuttle::thread::park);
    }

    pub(in super::super::super) fn yield_now() {
        either(std::thread::yield_now, shuttle::thread::yield_now);
    }

    pub(in super::super::super) fn sleep(duration: Duration) {
        either(
            || std::thread::sleep(duration),
            // Nobody sleeps so long that the others don't get anywhere meanwhile.
            shuttle::thread::yield_now,
        );
    }
}
