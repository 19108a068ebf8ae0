//! Who may change which file: locks by the file's place, and the writers that files have.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::super::sync::{
    Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use super::held;
use super::located::Located;
use crate::error::Error;
use crate::fsops::{self, FileId};
use crate::lock::Lock;

/// Keeps changes of the same file apart. Files whose places fall together wait for each other, too.
#[derive(Debug)]
pub(super) struct NameLocks {
    /// Held for writing while whole directories change.
    tree: RwLock<()>,
    names: [Mutex<()>; 64],
    hasher: RandomState,
}

impl Default for NameLocks {
    fn default() -> Self {
        Self {
            tree: RwLock::default(),
            names: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct NameGuard<'l> {
    _names: Vec<MutexGuard<'l, ()>>,
    _tree: RwLockReadGuard<'l, ()>,
}

impl NameLocks {
    /// Until the guard is dropped, no other thread changes these files.
    pub(super) fn lock(&self, files: &[&Located]) -> NameGuard<'_> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let slots = self.names.len() as u64;
        let mut slots: Vec<_> = files
            .iter()
            .map(|file| self.hasher.hash_one(&file.place) % slots)
            .collect();
        // In the same order for everyone, so that nobody waits in a circle.
        slots.sort_unstable();
        slots.dedup();
        let names = (0_u64..).zip(&self.names);
        let names = names.filter(|(slot, _)| slots.contains(slot));
        NameGuard {
            _names: names.map(|(_, name)| held(name)).collect(),
            _tree: tree,
        }
    }

    /// Until the guard is dropped, no other thread changes any file.
    pub(super) fn lock_all(&self) -> RwLockWriteGuard<'_, ()> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which files are open for writing, by file and not by name, so that no re-encryption overtakes a writer.
#[derive(Debug, Default)]
pub(super) struct Writers {
    files: Mutex<HashMap<FileId, Count>>,
}

/// What is known of a file that has a writer or a watcher.
#[derive(Debug, Default)]
struct Count {
    open: usize,
    watchers: usize,
    /// How many writers there have been. It never goes back while anyone watches.
    generation: u64,
    /// Held while a file that is watched is replaced; `None` if nobody has watched it.
    gate: Option<Arc<Mutex<()>>>,
}

impl Writers {
    /// Counts a writer of an open file until the result is dropped, which also keeps the directory's `lock`:
    /// else the next manager would take the file for one that nobody writes.
    pub(super) fn register(
        self: &Arc<Self>,
        file: &std::fs::File,
        path: &Path,
        lock: Arc<Lock>,
    ) -> Result<Writing, Error> {
        let file = fsops::identity(file, path)?.id;
        let gate = self.change(file, |count| {
            count.open += 1;
            count.generation += 1;
            count.gate.clone()
        });
        // Whoever replaces one of its names either sees this writer or is done before it writes.
        if let Some(gate) = gate {
            drop(held(&gate));
        }
        Ok(Writing {
            writers: Arc::clone(self),
            file,
            _lock: lock,
        })
    }

    /// Watches a file for writers until the result is dropped. The file must stay open as long, so that its
    /// number doesn't become another file's.
    pub(super) fn watch(self: &Arc<Self>, file: FileId) -> Watch {
        let (since, gate) = self.change(file, |count| {
            count.watchers += 1;
            let since = (count.open == 0).then_some(count.generation);
            (since, Arc::clone(count.gate.get_or_insert_default()))
        });
        Watch {
            writers: Arc::clone(self),
            file,
            since,
            gate,
        }
    }

    fn change<T>(&self, file: FileId, change: impl FnOnce(&mut Count) -> T) -> T {
        let mut files = held(&self.files);
        let count = files.entry(file).or_default();
        let changed = change(count);
        if count.open == 0 && count.watchers == 0 {
            files.remove(&file);
        }
        changed
    }
}

/// A writer of a file, until this is dropped.
#[derive(Debug)]
pub(super) struct Writing {
    writers: Arc<Writers>,
    file: FileId,
    _lock: Arc<Lock>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writers.change(self.file, |count| count.open -= 1);
    }
}

/// A file that is watched for writers, until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    writers: Arc<Writers>,
    file: FileId,
    /// The generation when the watch began; `None` if there was a writer already.
    since: Option<u64>,
    gate: Arc<Mutex<()>>,
}

impl Watch {
    /// Until the result is dropped, no writer of the file gets further than being seen. The lock on a name
    /// doesn't do that, since a file may have others. To be called under it.
    pub(super) fn keep_writers_waiting(&self) -> MutexGuard<'_, ()> {
        held(&self.gate)
    }

    /// Whether the file has or had a writer since the watch began.
    pub(super) fn saw_writer(&self) -> bool {
        let generation = self.writers.change(self.file, |count| count.generation);
        self.since != Some(generation)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.writers.change(self.file, |count| count.watchers -= 1);
    }
}
