//! A disk that loses what was not synced: it records what the file operations of all threads do below a directory, makes any of them
//! fail, and tells every state that a power failure at any moment may leave.
//!
//! - A file's content is durable as of its last sync. Of the changes since then, each sector has seen the first few, and so has the
//!   length, whatever the other sectors have. A sector of which nothing has reached the disk has zeros or stale bytes. After a sync that
//!   failed, no later one makes what it was about durable, but for sectors that are written again.
//! - A directory's names are durable as of its last sync. Each change since then is there or not, whatever happened to the others. A
//!   renaming never loses the file: without the new name, the old one is still there; between directories, both may be.
//! - Names of the same file stay names of the same file.
//!
//! Owners and permissions aren't modelled, but that they can't be changed is.

mod recording;
mod survivors;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use recording::{Failure, Recording, concerned, record};
pub(crate) use survivors::{Content, State, stale};

/// A file or directory, whatever it is called.
type Node = usize;

const ROOT: Node = 0;

/// A name in a directory.
type Place = (Node, OsString);
type Names = BTreeMap<Place, Node>;

/// The content of each node; `None` for a directory.
type Contents = Vec<Option<Arc<Vec<u8>>>>;

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
enum Event {
    Change {
        node: Node,
        change: Change,
    },
    Sync {
        node: Node,
    },
    /// A sync that failed.
    NotSynced {
        node: Node,
    },
    Name(Naming),
    SyncDirectory {
        directory: Node,
    },
}

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    at_first: Contents,
    names_at_first: Names,
    events: Vec<Event>,
}

impl Disk {
    /// How many changes and syncs were recorded: a power failure may come before the first of them, after it, after the second, …
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// What happened, in words.
    pub(crate) fn describe(&self) -> String {
        let names: BTreeMap<Node, String> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Name(Naming {
                    set: Some(((_, name), Some(node))),
                    ..
                }) => Some((*node, name)),
                _ => None,
            })
            .chain(
                self.names_at_first
                    .iter()
                    .map(|((_, name), node)| (*node, name)),
            )
            .map(|(node, name)| (node, name.to_string_lossy().into_owned()))
            .collect();
        let name = |node: &Node| {
            names
                .get(node)
                .cloned()
                .unwrap_or_else(|| format!("#{node}"))
        };
        let place = |(parent, called): &Place| {
            let parent = if *parent == ROOT {
                String::new()
            } else {
                name(parent) + "/"
            };
            format!("{parent}{}", called.to_string_lossy())
        };
        let mut out = String::new();
        for (number, event) in self.events.iter().enumerate() {
            let what = match event {
                Event::Change {
                    node,
                    change: Change::Write { at, bytes },
                } => {
                    format!("write {} at {at}+{}", name(node), bytes.len())
                }
                Event::Change {
                    node,
                    change: Change::SetLen { len },
                } => {
                    format!("cut {} to {len}", name(node))
                }
                Event::Sync { node } => format!("sync {}", name(node)),
                Event::NotSynced { node } => format!("fail to sync {}", name(node)),
                Event::SyncDirectory { directory } if *directory == ROOT => "sync .".into(),
                Event::SyncDirectory { directory } => format!("sync {}/", name(directory)),
                Event::Name(Naming { set, clear }) => match (set, clear) {
                    (Some((to, Some(_))), Some(from)) => {
                        format!("rename {} to {}", place(from), place(to))
                    }
                    (Some((at, Some(node))), None) => format!("name #{node} {}", place(at)),
                    (Some((at, None)), _) => format!("remove {}", place(at)),
                    (None, _) => String::new(),
                },
            };
            out += &format!("{:>4} {what}\n", number + 1);
        }
        out
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
}

fn set_name(names: &mut Names, place: &Place, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(place.clone(), node)),
        None => drop(names.remove(place)),
    }
}

/// What stands at a path below `root`.
fn node_at(names: &Names, root: &Path, path: &Path) -> Option<Node> {
    let parts = path.strip_prefix(root).ok()?;
    parts.iter().try_fold(ROOT, |directory, name| {
        names.get(&(directory, name.to_owned())).copied()
    })
}
