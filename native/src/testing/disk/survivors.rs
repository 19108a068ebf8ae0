//! What a power failure may leave.

use std::fs::{self, File};
use std::io::Write;

use super::*;

/// What a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// What stands on the disk, in the order in which it can be made: a directory before what is in it, and a file under its first name before
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State(pub(crate) BTreeMap<PathBuf, Content>);

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Directory,
    File(Arc<Vec<u8>>),
    /// The same file as at this path, which sorts before.
    SameAs(PathBuf),
}

impl State {
    /// What is below a directory.
    pub(crate) fn of(root: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let tree = crate::fsops::tree(root).unwrap();
        let mut first = BTreeMap::new();
        let mut state = Self::default();
        let relative = |path: &Path| path.strip_prefix(root).unwrap().to_owned();
        for path in tree.directories.iter().skip(1) {
            state.0.insert(relative(path), Content::Directory);
        }
        let mut files = tree.files;
        files.sort();
        for path in files {
            let number = fs::metadata(&path).unwrap().ino();
            let content = match first.get(&number) {
                Some(first) => Content::SameAs(PathBuf::clone(first)),
                None => Content::File(Arc::new(fs::read(&path).unwrap())),
            };
            first.entry(number).or_insert_with(|| relative(&path));
            state.0.insert(relative(&path), content);
        }
        state
    }

    /// Makes it so in an empty directory.
    pub(crate) fn materialise(&self, root: &Path) {
        for (path, content) in &self.0 {
            let path = root.join(path);
            match content {
                Content::Directory => fs::create_dir(path).unwrap(),
                Content::File(bytes) => File::create_new(path).unwrap().write_all(bytes).unwrap(),
                Content::SameAs(other) => fs::hard_link(root.join(other), path).unwrap(),
            }
        }
    }
}

/// How sure it is that a change is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unsynced,
    /// A sync failed, and the next one has nothing to do with it.
    Doubtful,
    Synced,
}

type Changes<'d> = Vec<(&'d Change, Standing)>;

/// What is on the disk for sure at one moment, and what may be.
pub(crate) struct Doubtful<'d> {
    content: Contents,
    changes: BTreeMap<Node, Changes<'d>>,
    names: Names,
    pending: Vec<Naming>,
}

impl Disk {
    /// What is in doubt when the power fails after so many events.
    pub(crate) fn doubtful_after(&self, events: usize) -> Doubtful<'_> {
        let mut doubtful = Doubtful {
            content: self.at_first.clone(),
            changes: BTreeMap::new(),
            names: self.names_at_first.clone(),
            pending: Vec::new(),
        };
        for event in &self.events[..events] {
            doubtful.take_in(event);
        }
        doubtful
    }
}

impl<'d> Doubtful<'d> {
    fn take_in(&mut self, event: &'d Event) {
        match event {
            Event::Change { node, change } => {
                let changes = self.changes.entry(*node).or_default();
                changes.push((change, Standing::Unsynced));
            }
            Event::NotSynced { node } => self.stand(*node, Standing::Doubtful),
            Event::Sync { node } => {
                self.stand(*node, Standing::Synced);
                let changes = self.changes.entry(*node).or_default();
                let sure = changes
                    .iter()
                    .take_while(|(_, standing)| *standing == Standing::Synced);
                let sure = sure.count();
                let content = Arc::make_mut(self.content[*node].as_mut().unwrap());
                for (change, _) in changes.drain(..sure) {
                    change.apply(content);
                }
            }
            Event::Name(naming) => self.pending.push(naming.clone()),
            Event::SyncDirectory { directory } => {
                for naming in &mut self.pending {
                    let set = naming.set.take_if(|((parent, _), _)| parent == directory);
                    if let Some((place, node)) = set {
                        set_name(&mut self.names, &place, node);
                    }
                    // With the new name still in doubt, the file would be lost.
                    if naming.set.is_none()
                        && let Some(place) = naming.clear.take_if(|(parent, _)| parent == directory)
                    {
                        self.names.remove(&place);
                    }
                }
                self.pending
                    .retain(|naming| naming.set.is_some() || naming.clear.is_some());
            }
        }
    }

    fn stand(&mut self, node: Node, standing: Standing) {
        for (_, now) in self.changes.entry(node).or_default() {
            if *now == Standing::Unsynced {
                *now = standing;
            }
        }
    }

    /// One of the states that may be left. `choose` gets a number of possibilities, of which 0 is "nothing" and the last one
    /// "everything".
    pub(crate) fn survivor(&self, choose: &mut dyn FnMut(usize) -> usize) -> State {
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
        for (node, changes) in &self.changes {
            if let Some(content) = &mut content[*node]
                && !changes.is_empty()
            {
                *content = Arc::new(survivor(content, changes, choose));
            }
        }
        State::from_nodes(&names, &content)
    }
}

impl State {
    fn from_nodes(names: &Names, contents: &Contents) -> Self {
        let mut found = BTreeMap::new();
        let mut directories = vec![(ROOT, PathBuf::new())];
        while let Some((directory, path)) = directories.pop() {
            let end = (directory + 1, OsString::new());
            for ((_, name), node) in names.range((directory, OsString::new())..end) {
                let path = path.join(name);
                if contents[*node].is_none() {
                    directories.push((*node, path.clone()));
                }
                found.insert(path, *node);
            }
        }
        let mut first = BTreeMap::new();
        let mut state = Self::default();
        for (path, node) in found {
            let content = match (&contents[node], first.get(&node)) {
                (None, _) => Content::Directory,
                (Some(_), Some(first)) => Content::SameAs(PathBuf::clone(first)),
                (Some(bytes), None) => Content::File(Arc::clone(bytes)),
            };
            first.entry(node).or_insert_with(|| path.clone());
            state.0.insert(path, content);
        }
        state
    }
}

/// What is left of a file. Each sector is as it was after one of the changes since it is known for sure, whatever the others are; and the
/// length as it was after one of them, or in the middle of the last.
fn survivor(sure: &[u8], changes: &Changes<'_>, choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let mut images = vec![sure.to_vec()];
    for (change, _) in changes {
        let mut next = images[images.len() - 1].clone();
        change.apply(&mut next);
        images.push(next);
    }
    let is_synced = |(_, standing): &&(&Change, Standing)| *standing == Standing::Synced;
    let last = changes.len();
    // A later sync makes the length durable, and, of what an earlier one has failed for, the sectors that were written again.
    let first = last
        - changes
            .iter()
            .rev()
            .take_while(|change| !is_synced(change))
            .count();
    let len = match choose(last - first + 2) {
        chosen if first + chosen < last => images[first + chosen].len(),
        chosen if first + chosen == last && last > first => {
            let [before, after] = [last - 1, last].map(|image| images[image].len());
            before.min(after) + choose(before.abs_diff(after) + 1)
        }
        _ => images[last].len(),
    };
    let is_stale = choose(3) == 1;
    let mut left = Vec::with_capacity(len);
    while left.len() < len {
        let start = left.len();
        let end = len.min(start + SECTOR);
        let is_sure = |change: &&(&Change, Standing)| is_synced(change) && change.0.touches(start);
        let first = changes
            .iter()
            .rposition(|change| is_sure(&change))
            .map_or(0, |at| at + 1);
        let image = &images[first + choose(last - first + 1)];
        left.extend(image.get(start..end.min(image.len())).unwrap_or_default());
        if left.len() == start && is_stale && start >= sure.len() {
            left.extend(&stale(start)[..end - start]);
        }
        left.resize(end, 0);
    }
    left
}

impl Change {
    /// Whether it writes to the sector that starts there.
    fn touches(&self, sector: usize) -> bool {
        match self {
            Self::Write { at, bytes } => *at < sector + SECTOR && sector < at + bytes.len(),
            Self::SetLen { .. } => false,
        }
    }
}

/// What another file has left in a sector: nothing like a record, and no zeros.
pub(crate) fn stale(start: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut random = crate::testing::Xorshift::new(start as u64 + 1);
    bytes.fill_with(|| random.next().to_le_bytes()[0] | 1);
    bytes
}
