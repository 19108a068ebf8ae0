//! What happens below a directory, on whatever thread, written down in the order in which it happens.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::*;
use crate::fsops::{Act, Op, Outcome};

static RECORDINGS: RwLock<Vec<Arc<Recorder>>> = RwLock::new(Vec::new());

/// What is to fail. Operations are counted from when it is planned, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// This operation, be it only to look at something, and no other, with this error of the system.
    Error { at: usize, errno: i32 },
    /// This one if it appends, having written so many bytes of what it should.
    Short { at: usize, len: usize },
    /// This change and everything after it: the process is gone.
    Kill { at: usize },
}

/// A recording, until this is dropped.
#[derive(Debug)]
pub(crate) struct Recording(Arc<Recorder>);

#[derive(Debug)]
pub(crate) struct Recorder {
    root: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    /// The numbers of files that have one.
    numbers: HashMap<(u64, u64), Node>,
    nodes: usize,
    /// As a running process sees it.
    now: Names,
    named_temporaries: bool,
    plan: Option<Failure>,
    /// Since it was planned.
    operations: usize,
    changes: usize,
    came_to_be: bool,
    /// Events before the failure.
    failed_after: usize,
}

/// Records what happens below `root`, where `state` has just been made real and counts as durable. With `named_temporaries`, the file
/// system has no files without names.
pub(crate) fn record(root: &Path, state: &State, named_temporaries: bool) -> Recording {
    let mut inner = Inner {
        disk: Disk {
            root: root.to_owned(),
            at_first: vec![None],
            names_at_first: Names::new(),
            events: Vec::new(),
        },
        numbers: HashMap::new(),
        nodes: 1,
        now: Names::new(),
        named_temporaries,
        plan: None,
        operations: 0,
        changes: 0,
        came_to_be: false,
        failed_after: 0,
    };
    for (path, content) in &state.0 {
        let place = inner.place(&root.join(path)).unwrap();
        let node = match content {
            Content::SameAs(other) => node_at(&inner.now, root, &root.join(other)).unwrap(),
            Content::Directory => {
                inner.disk.at_first.push(None);
                inner.new_node()
            }
            Content::File(bytes) => {
                inner.disk.at_first.push(Some(Arc::clone(bytes)));
                let node = inner.new_node();
                inner
                    .numbers
                    .insert(number(&fs::metadata(root.join(path)).unwrap()), node);
                node
            }
        };
        inner.now.insert(place, node);
    }
    inner.disk.names_at_first = inner.now.clone();
    let recorder = Arc::new(Recorder {
        root: root.to_owned(),
        inner: Mutex::new(inner),
    });
    let mut recordings = RECORDINGS.write().unwrap_or_else(PoisonError::into_inner);
    recordings.push(Arc::clone(&recorder));
    Recording(recorder)
}

impl Recording {
    /// Plans this one failure.
    pub(crate) fn plan(&self, failure: Failure) {
        let mut inner = self.0.lock();
        (inner.plan, inner.operations, inner.changes) = (Some(failure), 0, 0);
        inner.came_to_be = false;
    }

    /// Nothing fails any more. Returns whether what was planned came to be.
    pub(crate) fn heal(&self) -> bool {
        let mut inner = self.0.lock();
        inner.plan = None;
        inner.came_to_be
    }

    /// How many events came before the failure that was planned.
    pub(crate) fn failed_after(&self) -> usize {
        self.0.lock().failed_after
    }

    /// Operations and changes since the last plan.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.0.lock();
        (inner.operations, inner.changes)
    }

    /// As [`Disk::len`], so far.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().disk.len()
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Disk {
        let mut inner = self.0.lock();
        let empty = Disk {
            root: PathBuf::new(),
            at_first: Contents::new(),
            names_at_first: Names::new(),
            events: Vec::new(),
        };
        std::mem::replace(&mut inner.disk, empty)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut recordings = RECORDINGS.write().unwrap_or_else(PoisonError::into_inner);
        recordings.retain(|recorder| !Arc::ptr_eq(recorder, &self.0));
    }
}

/// The recorder of the disk that an operation is about.
pub(crate) fn concerned(act: &Act<'_>) -> Option<Arc<Recorder>> {
    let recordings = RECORDINGS.read().unwrap_or_else(PoisonError::into_inner);
    if recordings.is_empty() {
        return None;
    }
    let is_concerned = |recorder: &&Arc<Recorder>| match act.file() {
        Some(file) => recorder.lock().node_of(file).is_some(),
        None => act
            .path()
            .is_some_and(|path| path.starts_with(&recorder.root)),
    };
    recordings.iter().find(is_concerned).cloned()
}

impl<'a> Act<'a> {
    fn path(&self) -> Option<&'a Path> {
        match *self {
            Act::Open(path)
            | Act::Read(path)
            | Act::Inspect(path)
            | Act::List(path)
            | Act::Create(path)
            | Act::CreateUnnamed(path)
            | Act::MakeDirectory(path)
            | Act::SyncDirectory(path)
            | Act::Rename(path, _)
            | Act::Link(path, _)
            | Act::Remove(path) => Some(path),
            Act::Append(_)
            | Act::Write(_)
            | Act::WriteAt(..)
            | Act::SetLen(..)
            | Act::Own(_)
            | Act::Sync(_)
            | Act::Name(..) => None,
        }
    }

    fn file(&self) -> Option<&'a File> {
        match *self {
            Act::Append(file)
            | Act::Write(file)
            | Act::WriteAt(file, _)
            | Act::SetLen(file, _)
            | Act::Own(file)
            | Act::Sync(file)
            | Act::Name(file, _) => Some(file),
            _ => None,
        }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn step<T: Outcome>(
        &self,
        act: &Act<'_>,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut inner = self.lock();
        inner.refuse(act)?;
        let done = operation()?;
        inner.record(act, &done);
        Ok(done)
    }

    pub(crate) fn limit<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let mut inner = self.lock();
        match inner.plan {
            Some(Failure::Short { at, len }) if at == inner.operations => {
                inner.fail();
                &bytes[..len.min(bytes.len())]
            }
            _ => bytes,
        }
    }
}

impl Inner {
    fn new_node(&mut self) -> Node {
        self.nodes += 1;
        self.nodes - 1
    }

    fn node_of(&self, file: &File) -> Option<Node> {
        self.numbers
            .get(&number(&file.metadata().unwrap()))
            .copied()
    }

    fn node_at(&self, path: &Path) -> Option<Node> {
        node_at(&self.now, &self.disk.root, path)
    }

    fn place(&self, path: &Path) -> Option<Place> {
        Some((self.node_at(path.parent()?)?, path.file_name()?.to_owned()))
    }

    fn fail(&mut self) {
        if !self.came_to_be {
            self.came_to_be = true;
            self.failed_after = self.disk.len();
        }
    }

    fn refuse(&mut self, act: &Act<'_>) -> io::Result<()> {
        if self.named_temporaries && matches!(act, Act::CreateUnnamed(_)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (operation, change) = (self.operations, self.changes);
        self.operations += 1;
        self.changes += usize::from(act.op().is_some());
        match self.plan {
            Some(Failure::Error { at, errno }) if at == operation => {
                self.fail();
                if act.op() == Some(Op::Sync)
                    && let Some(node) = act.file().and_then(|file| self.node_of(file))
                {
                    self.disk.events.push(Event::NotSynced { node });
                }
                Err(io::Error::from_raw_os_error(errno))
            }
            Some(Failure::Kill { at }) if change > at || change == at && act.op().is_some() => {
                self.fail();
                Err(io::Error::other("the process is gone"))
            }
            _ => Ok(()),
        }
    }

    fn record<T: Outcome>(&mut self, act: &Act<'_>, done: &T) {
        match *act {
            Act::Open(_) | Act::Read(_) | Act::Inspect(_) | Act::List(_) | Act::Own(_) => {}
            Act::Create(path) => {
                let node = self.adopt(done.file().unwrap());
                self.set_name(path, Some(node));
            }
            Act::CreateUnnamed(_) => drop(self.adopt(done.file().unwrap())),
            Act::MakeDirectory(path) => {
                self.disk.at_first.push(None);
                let node = self.new_node();
                self.set_name(path, Some(node));
            }
            Act::Append(file) | Act::Write(file) => {
                let mut cursor = file;
                let end = io::Seek::stream_position(&mut cursor).unwrap();
                self.wrote(
                    file,
                    usize::try_from(end).unwrap() - done.bytes(),
                    done.bytes(),
                );
            }
            Act::WriteAt(file, at) => {
                self.wrote(file, usize::try_from(at).unwrap(), done.bytes());
            }
            Act::SetLen(file, len) => {
                let len = usize::try_from(len).unwrap();
                self.change(file, Change::SetLen { len });
            }
            Act::Sync(file) => {
                if let Some(node) = self.node_of(file) {
                    self.disk.events.push(Event::Sync { node });
                }
            }
            Act::SyncDirectory(path) => {
                if let Some(directory) = self.node_at(path) {
                    self.disk.events.push(Event::SyncDirectory { directory });
                }
            }
            Act::Name(file, path) => {
                let node = self.node_of(file);
                self.set_name(path, node);
            }
            Act::Link(from, to) => {
                let node = self.node_at(from);
                self.set_name(to, node);
            }
            Act::Remove(path) => self.set_name(path, None),
            Act::Rename(from, to) => {
                if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
                    let node = self.now.remove(&from).expect("what was renamed");
                    self.now.insert(to.clone(), node);
                    let (set, clear) = (Some((to, Some(node))), Some(from));
                    self.disk.events.push(Event::Name(Naming { set, clear }));
                }
            }
        }
    }

    /// A new file by its number, which may have been another's before.
    fn adopt(&mut self, file: &File) -> Node {
        self.disk.at_first.push(Some(Arc::default()));
        let node = self.new_node();
        self.numbers.insert(number(&file.metadata().unwrap()), node);
        node
    }

    fn set_name(&mut self, path: &Path, node: Option<Node>) {
        if let Some(place) = self.place(path) {
            set_name(&mut self.now, &place, node);
            let set = Some((place, node));
            self.disk
                .events
                .push(Event::Name(Naming { set, clear: None }));
        }
    }

    fn wrote(&mut self, file: &File, at: usize, len: usize) {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at as u64).unwrap();
        self.change(file, Change::Write { at, bytes });
    }

    fn change(&mut self, file: &File, change: Change) {
        if let Some(node) = self.node_of(file) {
            self.disk.events.push(Event::Change { node, change });
        }
    }
}

fn number(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
