//! What threads did and saw, and whether that can have happened one after the other: each operation
//! at one moment between its beginning and its end. Source: Herlihy and Wing, "Linearizability: A
//! Correctness Condition for Concurrent Objects", ACM TOPLAS 12 (1990).
//!
//! Where a power failure has cut the history off, an operation that had ended must have happened,
//! and one that hadn't may have happened, wholly or in part.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a file holds: so many of this byte as [`LEN`](super::world::LEN) says, or, at 0, nothing.
pub(super) type Byte = u8;

/// A name below the directory.
pub(super) type Name = &'static str;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    /// Opens what it has made for writing.
    Create(Name),
    CreateNew(Name),
    OpenToWrite(Name),
    /// To what the thread has open.
    Write(Byte),
    Close,
    Open(Name),
    /// From what the thread has open.
    Read,
    /// Opens and reads as another process does, without a lock.
    ReadElsewhere(Name),
    Overwrite(Name, Byte),
    Rekey(Name),
    Rename(Name, Name),
    Link(Name, Name),
    Delete(Name),
    MoveDirectory(Name, Name),
    DeleteDirectory(Name),
    RotateDataKey,
    Retire,
    Restore,
    /// Imports the foreign file, with its key.
    Import(Name),
    Compact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Done,
    Content(Byte),
    /// What was read was never written.
    Garbage,
    NotFound,
    Exists,
    /// Refused or given up since others are at work.
    Busy,
}

/// An operation. Moments count what began and ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) thread: usize,
    pub(super) act: Act,
    pub(super) began: usize,
    /// `None` while it is at work.
    pub(super) ended: Option<(usize, Outcome)>,
}

/// What a file holds, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    Known(Byte),
    /// It was being written when the power failed.
    Anything,
}

type File = usize;

/// A directory, as its users think of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Model {
    names: BTreeMap<String, File>,
    files: Vec<Content>,
    directories: BTreeSet<String>,
    /// The file that each thread has open, and whether for writing.
    open: BTreeMap<usize, (File, bool)>,
}

impl Model {
    pub(super) fn new(files: &[(Name, Byte)], directories: &[Name]) -> Self {
        let mut model = Self::default();
        for (name, byte) in files {
            model.make(name, Content::Known(*byte));
        }
        let directories = directories.iter().map(|name| (*name).to_owned());
        model.directories.extend(directories);
        model
    }

    fn make(&mut self, name: &str, content: Content) -> File {
        self.files.push(content);
        self.names.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn has_place_for(&self, name: &str) -> bool {
        let directory = name.rsplit_once('/').map(|(directory, _)| directory);
        directory.is_none_or(|directory| self.directories.contains(directory))
    }

    fn has_writer(&self, file: File) -> bool {
        self.open.values().any(|open| *open == (file, true))
    }

    fn open(mut self, thread: usize, name: &str, writable: bool) -> Self {
        let file = self.names[name];
        self.open.insert(thread, (file, writable));
        self
    }

    fn made(mut self, thread: usize, name: &str) -> Self {
        self.make(name, Content::Known(0));
        self.open(thread, name, true)
    }

    fn without(mut self, name: &str) -> Self {
        self.names.remove(name);
        self
    }

    fn linked(mut self, from: &str, to: &str) -> Self {
        self.names.insert(to.to_owned(), self.names[from]);
        self
    }

    /// A file of the same content in the place of this one.
    fn rekeyed(mut self, name: &str) -> Self {
        let content = self.files[self.names[name]];
        self.make(name, content);
        self
    }

    fn holds(&self, file: File, byte: Byte) -> bool {
        matches!(self.files[file], Content::Anything) || self.files[file] == Content::Known(byte)
    }

    /// What the directory may be like after an operation with this outcome; nothing if there can't
    /// be this one.
    fn after(self, operation: &Operation) -> Vec<Self> {
        use Act::*;
        let thread = operation.thread;
        let Some((_, outcome)) = operation.ended else {
            return self.after_part_of(operation);
        };
        match (operation.act, outcome) {
            (_, Outcome::Garbage) => vec![],
            (RotateDataKey | Retire | Restore | Compact, Outcome::Done) => vec![self],
            (Create(name), Outcome::Done) if self.has_place_for(name) => {
                vec![self.made(thread, name)]
            }
            (CreateNew(name), Outcome::Done) if self.has_place_for(name) && !self.has(name) => {
                vec![self.made(thread, name)]
            }
            (CreateNew(name), Outcome::Exists) if self.has(name) => vec![self],
            (Create(name) | CreateNew(name), Outcome::NotFound) if !self.has_place_for(name) => {
                vec![self]
            }
            (OpenToWrite(name), Outcome::Done) if self.has(name) => {
                vec![self.open(thread, name, true)]
            }
            (Open(name), Outcome::Done) if self.has(name) => vec![self.open(thread, name, false)],
            (Write(byte), Outcome::Done) => {
                let mut after = self;
                let (file, _) = after.open[&thread];
                after.files[file] = Content::Known(byte);
                vec![after]
            }
            (Close, Outcome::Done) => {
                let mut after = self;
                after.open.remove(&thread);
                vec![after]
            }
            (Read, Outcome::Content(byte)) if self.holds(self.open[&thread].0, byte) => vec![self],
            (ReadElsewhere(name), Outcome::Content(byte))
                if self.has(name) && self.holds(self.names[name], byte) =>
            {
                vec![self]
            }
            (Overwrite(name, byte), Outcome::Done) => {
                let mut after = self;
                after.make(name, Content::Known(byte));
                vec![after]
            }
            // What is written to the old file after that would be lost.
            (Rekey(name), Outcome::Done)
                if self.has(name) && !self.has_writer(self.names[name]) =>
            {
                vec![self.rekeyed(name)]
            }
            (Rekey(_) | Overwrite(..), Outcome::Busy) => vec![self],
            (MoveDirectory(..) | DeleteDirectory(_), Outcome::Busy) => vec![self],
            (Link(from, to), Outcome::Done) if self.has(from) && !self.has(to) => {
                vec![self.linked(from, to)]
            }
            (Rename(from, to), Outcome::Done) if self.has(from) && !self.has(to) => {
                vec![self.linked(from, to).without(from)]
            }
            (Link(from, to) | Rename(from, to), Outcome::Exists)
                if self.has(from) && self.has(to) =>
            {
                vec![self]
            }
            (Delete(name), Outcome::Done) if self.has(name) => vec![self.without(name)],
            (MoveDirectory(from, to), Outcome::Done)
                if self.directories.contains(from) && !self.directories.contains(to) =>
            {
                vec![self.moved(from, to)]
            }
            (MoveDirectory(from, to), Outcome::Exists)
                if self.directories.contains(from) && self.directories.contains(to) =>
            {
                vec![self]
            }
            (MoveDirectory(from, _), Outcome::NotFound) if !self.directories.contains(from) => {
                vec![self]
            }
            (DeleteDirectory(name), Outcome::Done) => {
                let mut after = self;
                after.names.retain(|below, _| !is_below(below, name));
                after.directories.remove(name);
                vec![after]
            }
            (Import(name), Outcome::Done) if !self.has(name) => {
                let mut after = self;
                after.make(name, Content::Known(super::world::FOREIGN_BYTE));
                vec![after]
            }
            // The key was retired before an entry named it.
            (Import(_), Outcome::NotFound) => vec![self],
            (
                OpenToWrite(name)
                | Open(name)
                | ReadElsewhere(name)
                | Rekey(name)
                | Delete(name)
                | Link(name, _)
                | Rename(name, _),
                Outcome::NotFound,
            ) if !self.has(name) => vec![self],
            (Link(_, to) | Rename(_, to), Outcome::NotFound) if !self.has_place_for(to) => {
                vec![self]
            }
            _ => vec![],
        }
    }

    fn moved(mut self, from: &str, to: &str) -> Self {
        let names = std::mem::take(&mut self.names).into_iter();
        let moved = names.map(|(name, file)| match name.strip_prefix(from) {
            Some(rest) if is_below(&name, from) => (format!("{to}{rest}"), file),
            _ => (name, file),
        });
        self.names = moved.collect();
        self.directories.remove(from);
        self.directories.insert(to.to_owned());
        self
    }

    /// As [`Model::after`], of an operation that was at work when the power failed.
    fn after_part_of(self, operation: &Operation) -> Vec<Self> {
        use Act::*;
        let whole = |outcome| Operation {
            ended: Some((usize::MAX, outcome)),
            ..*operation
        };
        match operation.act {
            Write(_) => {
                let mut after = self;
                let (file, _) = after.open[&operation.thread];
                after.files[file] = Content::Anything;
                vec![after]
            }
            // What was there goes first.
            Create(name) => {
                let mut after = self.clone().after(&whole(Outcome::Done));
                after.push(self.without(name));
                after
            }
            DeleteDirectory(name) => {
                let below = self.names.keys().filter(|below| is_below(below, name));
                let mut after = vec![self.clone()];
                for below in below {
                    for some in after.clone() {
                        after.push(some.without(below));
                    }
                }
                after.extend(self.after(&whole(Outcome::Done)));
                after
            }
            Open(_) | Read | ReadElsewhere(_) | Close => vec![self],
            _ => self.after(&whole(Outcome::Done)),
        }
    }
}

fn is_below(name: &str, directory: &str) -> bool {
    let rest = name.strip_prefix(directory);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// What was found in the end.
pub(super) type Found = BTreeMap<Name, Byte>;

/// Whether operations on what `model` says can have led to what was found, if anything was looked
/// for.
pub(super) fn explains(model: &Model, operations: &[Operation], found: Option<&Found>) -> bool {
    assert!(operations.len() < 64);
    let mut tried = HashSet::new();
    let mut left = vec![(0_u64, model.clone())];
    while let Some((done, model)) = left.pop() {
        if !tried.insert((done, model.clone())) {
            continue;
        }
        let mut rest = operations.iter().enumerate();
        let is_done = |number: usize| done & (1 << number) != 0;
        if rest.all(|(number, operation)| is_done(number) || operation.ended.is_none())
            && found.is_none_or(|found| model.agrees_with(found))
        {
            return true;
        }
        let first_end = operations.iter().enumerate().filter_map(|(number, other)| {
            let (end, _) = other.ended?;
            (!is_done(number)).then_some(end)
        });
        let first_end = first_end.min().unwrap_or(usize::MAX);
        for (number, operation) in operations.iter().enumerate() {
            if !is_done(number) && operation.began < first_end {
                let after = model.clone().after(operation).into_iter();
                left.extend(after.map(|after| (done | 1 << number, after)));
            }
        }
    }
    false
}

impl Model {
    fn agrees_with(&self, found: &Found) -> bool {
        self.names.keys().eq(found.keys())
            && (self.names.values().zip(found.values()))
                .all(|(file, byte)| self.holds(*file, *byte))
    }
}

#[test]
fn a_history_is_explained_if_some_order_within_its_times_is() {
    let model = Model::new(&[("a", 1)], &[]);
    let operation = |thread, act, began, ended, outcome| Operation {
        thread,
        act,
        began,
        ended: Some((ended, outcome)),
    };
    let read = |began, byte| {
        operation(
            1,
            Act::ReadElsewhere("a"),
            began,
            began + 1,
            Outcome::Content(byte),
        )
    };
    let write = [
        operation(0, Act::OpenToWrite("a"), 0, 1, Outcome::Done),
        operation(0, Act::Write(2), 2, 7, Outcome::Done),
    ];
    let with = |reads: &[Operation]| explains(&model, &[&write, reads].concat(), None);
    assert!(with(&[read(3, 1), read(5, 2)]));
    assert!(with(&[read(3, 1), read(5, 1)]));
    assert!(!with(&[read(3, 2), read(5, 1)]), "it was read before");
    assert!(!with(&[read(8, 1)]), "it had been overwritten");
    let rekey = |began| operation(2, Act::Rekey("a"), began, began + 1, Outcome::Done);
    assert!(!with(&[rekey(8)]), "there is a writer");
    // The power fails.
    let mut cut = write;
    cut[1].ended = None;
    for (byte, found) in [(1, true), (2, true), (9, true)] {
        let state = Found::from([("a", byte)]);
        assert_eq!(explains(&model, &cut, Some(&state)), found);
    }
    let state = |byte| Found::from([("a", byte)]);
    assert!(explains(&model, &write, Some(&state(2))));
    assert!(!explains(&model, &write, Some(&state(1))));
    assert!(!explains(&model, &write, Some(&Found::new())));
}
