//! Where a caller's path leads, and what the entry of a file there is called.

use std::path::{Path, PathBuf};

use super::super::place::Place;
use super::DataKeyManager;
use super::replacement::is_unfinished;
use crate::error::Error;
use crate::{fsops, install};

/// How new entries are named. Whatever the spelling of an entry or of a path, what leads to the same file is
/// found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// By the path from the data directory, in its plainest spelling, so that the directory can be moved.
    /// The default.
    #[default]
    Relative,
    /// By the path exactly as the caller spells it, as TiKV does: usually absolute.
    AsGiven,
}

/// Where the data file of an entry is: relative names are below the directory, absolute ones, as TiKV makes
/// them, where they say.
///
/// ```
/// use std::path::Path;
/// assert_eq!(stillkey::data_path(Path::new("/data"), "db/1.sst"), Path::new("/data/db/1.sst"));
/// assert_eq!(stillkey::data_path(Path::new("/copy"), "/data/db/1.sst"), Path::new("/data/db/1.sst"));
/// ```
pub fn data_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

/// A file: its place, and what a new entry of it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) place: Place,
    pub(super) path: PathBuf,
    pub(super) name: String,
}

impl Located {
    /// The same file under a second name.
    pub(super) fn with_ending(&self, ending: &str) -> Self {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        Self {
            place: self.place.with_ending(ending),
            path: path.into(),
            name: format!("{}{ending}", self.name),
        }
    }

    /// A file below this directory; `None` if its name isn't UTF-8.
    pub(super) fn join(&self, rest: &Path) -> Option<Self> {
        Some(Self {
            place: self.place.join(rest),
            path: self.path.join(rest),
            name: Path::new(&self.name).join(rest).to_str()?.to_owned(),
        })
    }
}

impl DataKeyManager {
    /// Where a path leads: a relative one from the directory on.
    pub(super) fn locate(&self, path: &Path) -> Result<Located, Error> {
        let root = self.entries.root();
        let because = |why: &str| Error::Usage(format!("{}: {why}", path.display()));
        let refused = |why: &str| {
            because(&format!(
                "{why}; give the path of a file below {}, in UTF-8 and without '..'",
                self.directory().display()
            ))
        };
        let place = root.place(path).ok_or_else(|| refused("has '..' in it"))?;
        let below = place.below_root();
        let name = match (self.names, below) {
            (Names::Relative, Some(below)) => below,
            (Names::Relative, None) => return Err(refused("not below the directory")),
            (Names::AsGiven, _) => path,
        };
        let name = name.to_str().ok_or_else(|| refused("not in UTF-8"))?;
        if place.is_root() {
            return Err(refused("the directory itself"));
        }
        if place.is_own() || is_temporary(&place) {
            return Err(because(
                "a reserved name; choose one that is no dictionary's and looks like no temporary file's, which end \
                 in .stillkey-new, .stillkey-old or, after a dot at the beginning, .tmp",
            ));
        }
        let file = Located {
            path: root.path(&place),
            name: name.to_owned(),
            place,
        };
        self.expect_no_link_on_the_way(&file)?;
        Ok(file)
    }

    /// The file that an entry of this name is about, however new entries are named; `None` if it isn't below
    /// the directory.
    pub(super) fn recorded(&self, name: &str) -> Option<Located> {
        let root = self.entries.root();
        let place = root.place(Path::new(name))?;
        place.below_root().filter(|_| !place.is_root())?;
        Some(Located {
            path: root.path(&place),
            name: name.to_owned(),
            place,
        })
    }

    /// Through a link, a file could be reached by two paths, and be two files to whoever goes by paths. Links
    /// above the data directory are harmless, since all its files are behind them.
    fn expect_no_link_on_the_way(&self, file: &Located) -> Result<(), Error> {
        let outside = file.place.below_root().is_none();
        let way = file.path.ancestors().skip(1);
        let way = way.take_while(|way| outside || *way != self.directory());
        for way in way.filter(|way| !way.as_os_str().is_empty()) {
            if fsops::is_link(way)? {
                return Err(Error::Usage(format!(
                    "{}: {} is a symbolic link, and a file must not be reached by two paths; give the path without it",
                    file.path.display(),
                    way.display()
                )));
            }
        }
        Ok(())
    }
}

/// Whether a file there is taken for what an interruption has left.
fn is_temporary(place: &Place) -> bool {
    let name = place.file_name();
    is_unfinished(&name) || install::is_leftover(&name)
}
