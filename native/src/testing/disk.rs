//! A disk that loses what was not synced: it records what the file operations of a thread do, and tells every state that a power failure
//! at any moment may leave.
//!
//! - A file's content is durable as of its last sync. Each write since then is there whole, up to any byte, in some of its sectors with
//!   zeros in the place of the others, or not at all; so is each change of the length.
//! - A directory's names are durable as of its last sync. Each change since then is there or not, whatever happened to the others. A
//!   renaming never loses the file: without the new name, the old one is still there; between directories, both may be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;

thread_local! {
    static TRACE: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// Records what happens below `root` on this thread, from a state that counts as durable, until [`stop`].
pub(crate) fn start(root: &Path) {
    TRACE.set(Some(Disk::durable(root)));
}

/// Ends the recording.
pub(crate) fn stop() -> Disk {
    TRACE.take().expect("a recording that was started")
}

pub(crate) fn created(file: &File, path: Option<&Path>) {
    note(|disk| {
        let node = disk.adopt(file, Vec::new());
        if let Some(path) = path {
            disk.set_name(path, Some(node));
        }
    });
}

pub(crate) fn appended(file: &File, bytes: &[u8]) {
    wrote(
        file,
        file.metadata().map_or(0, |metadata| metadata.len()),
        bytes,
    );
}

pub(crate) fn wrote(file: &File, at: u64, bytes: &[u8]) {
    let (at, bytes) = (usize::try_from(at).unwrap(), bytes.to_vec());
    note(|disk| disk.change(file, Change::Write { at, bytes }));
}

pub(crate) fn truncated(file: &File, len: u64) {
    let len = usize::try_from(len).unwrap();
    note(|disk| disk.change(file, Change::SetLen { len }));
}

pub(crate) fn synced(file: &File) {
    note(|disk| {
        if let Some(node) = disk.numbers.get(&number(file)) {
            disk.steps.push(Step::Sync { node: *node });
        }
    });
}

pub(crate) fn synced_directory(directory: &Path) {
    note(|disk| {
        if let Some(directory) = disk.node_at(directory) {
            disk.steps.push(Step::SyncDirectory { directory });
        }
    });
}

pub(crate) fn named(file: &File, path: &Path) {
    note(|disk| {
        let node = disk.numbers[&number(file)];
        disk.set_name(path, Some(node));
    });
}

pub(crate) fn removed(path: &Path) {
    note(|disk| disk.set_name(path, None));
}

pub(crate) fn linked(from: &Path, to: &Path) {
    note(|disk| {
        let node = disk.node_at(from);
        disk.set_name(to, node);
    });
}

pub(crate) fn renamed(from: &Path, to: &Path) {
    note(|disk| {
        if let (Some(from), Some(to)) = (disk.place(from), disk.place(to)) {
            let node = disk.now.remove(&from).expect("what was renamed");
            disk.now.insert(to.clone(), node);
            let set = Some((to, Some(node)));
            disk.steps.push(Step::Name(Naming {
                set,
                clear: Some(from),
            }));
        }
    });
}

pub(crate) fn made_directory(path: &Path) {
    note(|disk| {
        let node = disk.new_node(None);
        disk.set_name(path, Some(node));
    });
}

fn note(note: impl FnOnce(&mut Disk)) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(disk) = trace {
            note(disk);
        }
    });
}

fn number(file: &File) -> u64 {
    file.metadata().unwrap().ino()
}

/// A file or directory, whatever it is called.
type Node = usize;

const ROOT: Node = 0;

/// A name in a directory.
type Place = (Node, OsString);
type Names = BTreeMap<Place, Node>;

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen { len: usize },
}

/// Changes of names that come together: `clear` only with `set`.
#[derive(Clone, Debug)]
struct Naming {
    set: Option<(Place, Option<Node>)>,
    clear: Option<Place>,
}

#[derive(Clone, Debug)]
enum Step {
    Change { node: Node, change: Change },
    Sync { node: Node },
    Name(Naming),
    SyncDirectory { directory: Node },
}

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// The content of each node at first; `None` for a directory.
    nodes: Vec<Option<Vec<u8>>>,
    numbers: BTreeMap<u64, Node>,
    at_first: Names,
    /// As a running process sees it.
    now: Names,
    steps: Vec<Step>,
}

impl Disk {
    fn durable(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: vec![None],
            numbers: BTreeMap::new(),
            at_first: Names::new(),
            now: Names::new(),
            steps: Vec::new(),
        };
        let mut directories = vec![(root.to_owned(), ROOT)];
        while let Some((directory, parent)) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                let node = if path.is_dir() {
                    let node = disk.new_node(None);
                    directories.push((path, node));
                    node
                } else {
                    let content = fs::read(&path).unwrap();
                    disk.adopt(&File::open(&path).unwrap(), content)
                };
                disk.now.insert((parent, entry.file_name()), node);
            }
        }
        disk.at_first = disk.now.clone();
        disk
    }

    fn new_node(&mut self, content: Option<Vec<u8>>) -> Node {
        self.nodes.push(content);
        self.nodes.len() - 1
    }

    /// A file by its number, which may have been another's before.
    fn adopt(&mut self, file: &File, content: Vec<u8>) -> Node {
        let node = self.new_node(Some(content));
        self.numbers.insert(number(file), node);
        node
    }

    /// What stands at a path; `None` for what isn't below the root.
    fn node_at(&self, path: &Path) -> Option<Node> {
        let parts = path.strip_prefix(&self.root).ok()?;
        parts.iter().try_fold(ROOT, |directory, name| {
            self.now.get(&(directory, name.to_owned())).copied()
        })
    }

    fn place(&self, path: &Path) -> Option<Place> {
        Some((self.node_at(path.parent()?)?, path.file_name()?.to_owned()))
    }

    fn set_name(&mut self, path: &Path, node: Option<Node>) {
        if let Some(place) = self.place(path) {
            set_name(&mut self.now, &place, node);
            let set = Some((place, node));
            self.steps.push(Step::Name(Naming { set, clear: None }));
        }
    }

    fn change(&mut self, file: &File, change: Change) {
        if let Some(node) = self.numbers.get(&number(file)).copied() {
            self.steps.push(Step::Change { node, change });
        }
    }

    /// How many operations were recorded: a power failure may come before the first of them, after it, after the second, …
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// States that a power failure after `steps` operations may leave: all if there are no more than `limit`, and otherwise as many that
    /// `random` picks, with the one in which nothing survives and the one in which everything does among them.
    pub(crate) fn survivors(
        &self,
        steps: usize,
        limit: usize,
        random: &mut impl FnMut() -> u64,
    ) -> BTreeSet<State> {
        let mut content = self.nodes.clone();
        let mut unsynced: BTreeMap<Node, Vec<&Change>> = BTreeMap::new();
        let mut names = self.at_first.clone();
        let mut pending: Vec<Naming> = Vec::new();
        for step in &self.steps[..steps] {
            match step {
                Step::Change { node, change } => unsynced.entry(*node).or_default().push(change),
                Step::Sync { node } => {
                    for change in unsynced.remove(node).unwrap_or_default() {
                        change.apply(content[*node].as_mut().unwrap());
                    }
                }
                Step::Name(naming) => pending.push(naming.clone()),
                Step::SyncDirectory { directory } => {
                    for naming in &mut pending {
                        let set = naming.set.take_if(|((parent, _), _)| parent == directory);
                        if let Some((place, node)) = set {
                            set_name(&mut names, &place, node);
                        }
                        // With the new name still in doubt, the file would be lost.
                        if naming.set.is_none()
                            && let Some(place) =
                                naming.clear.take_if(|(parent, _)| parent == directory)
                        {
                            names.remove(&place);
                        }
                    }
                    pending.retain(|naming| naming.set.is_some() || naming.clear.is_some());
                }
            }
        }
        let doubtful = Doubtful {
            content,
            unsynced,
            names,
            pending,
        };
        let mut states = BTreeSet::new();
        states.insert(doubtful.survivor(&mut |_| 0));
        states.insert(doubtful.survivor(&mut |of| of - 1));
        // Where nothing is in doubt, every attempt gives the same.
        for _ in 0..4 * limit {
            if states.len() >= limit {
                break;
            }
            states.insert(
                doubtful.survivor(&mut |of| usize::try_from(random() % of as u64).unwrap()),
            );
        }
        states
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..][..bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen { len } => content.resize(*len, 0),
        }
    }

    /// What survives of it; `choose` gets a number of possibilities, of which 0 is "nothing" and the last one "everything".
    fn survive(&self, content: &mut Vec<u8>, choose: &mut impl FnMut(usize) -> usize) {
        match (choose(5), self) {
            (0, _) => {}
            (4, _) | (_, Self::SetLen { .. }) => self.apply(content),
            // Torn at a byte.
            (1, Self::Write { at, bytes }) => {
                let bytes = bytes[..choose(bytes.len() + 1)].to_vec();
                Self::Write { at: *at, bytes }.apply(content);
            }
            // The length, and some of the sectors.
            (_, Self::Write { at, bytes }) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                let mut start = *at;
                while start < end {
                    let next = end.min((start / SECTOR + 1) * SECTOR);
                    if choose(2) == 1 {
                        content[start..next].copy_from_slice(&bytes[start - at..next - at]);
                    }
                    start = next;
                }
            }
        }
    }
}

fn set_name(names: &mut Names, place: &Place, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(place.clone(), node)),
        None => drop(names.remove(place)),
    }
}

struct Doubtful<'d> {
    content: Vec<Option<Vec<u8>>>,
    unsynced: BTreeMap<Node, Vec<&'d Change>>,
    names: Names,
    pending: Vec<Naming>,
}

impl Doubtful<'_> {
    fn survivor(&self, choose: &mut impl FnMut(usize) -> usize) -> State {
        let mut names = self.names.clone();
        for naming in &self.pending {
            let has_new_name = match &naming.set {
                Some((place, node)) => {
                    let survives = choose(2) == 1;
                    if survives {
                        set_name(&mut names, place, *node);
                    }
                    survives
                }
                None => true,
            };
            if let Some(place) = &naming.clear {
                let set = naming.set.as_ref();
                let in_same_directory = set.is_some_and(|((parent, _), _)| *parent == place.0);
                if has_new_name && (in_same_directory || choose(2) == 1) {
                    names.remove(place);
                }
            }
        }
        let mut content = self.content.clone();
        for (node, changes) in &self.unsynced {
            for change in changes {
                change.survive(content[*node].as_mut().unwrap(), choose);
            }
        }
        let mut state = BTreeMap::new();
        let mut directories = vec![(ROOT, PathBuf::new())];
        while let Some((directory, path)) = directories.pop() {
            for ((_, name), node) in
                names.range((directory, OsString::new())..(directory + 1, OsString::new()))
            {
                let path = path.join(name);
                if content[*node].is_none() {
                    directories.push((*node, path.clone()));
                }
                state.insert(path, content[*node].clone());
            }
        }
        State(state)
    }
}

/// What stands on the disk: every path with its content, `None` for a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State(pub(crate) BTreeMap<PathBuf, Option<Vec<u8>>>);

impl State {
    /// Makes it so in an empty directory.
    pub(crate) fn materialise(&self, root: &Path) {
        for (path, content) in &self.0 {
            let path = root.join(path);
            match content {
                None => fs::create_dir(path).unwrap(),
                Some(content) => File::create(path)
                    .unwrap()
                    .write_all_at(content, 0)
                    .unwrap(),
            }
        }
    }
}
