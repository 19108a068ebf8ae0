//! Which entry a path stands for, and which path an entry.

use std::path::{Component, Path, PathBuf};

use super::super::OWN;
use super::DataKeyManager;
use super::replacement::is_unfinished;
use crate::error::Error;
use crate::install;

/// How entries are named. Both kinds are always found; this says which one new entries get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// By the path from the dictionary directory, in its plainest spelling, so that the directory can be moved. The default.
    #[default]
    Relative,
    /// By the path exactly as the caller spells it, as TiKV does: usually absolute.
    AsGiven,
}

/// Where the data file of an entry is: relative names are below the directory, absolute ones, as TiKV makes them, where they say.
///
/// ```
/// use std::path::Path;
/// assert_eq!(stillkey::data_path(Path::new("/data"), "db/1.sst"), Path::new("/data/db/1.sst"));
/// assert_eq!(stillkey::data_path(Path::new("/copy"), "/data/db/1.sst"), Path::new("/data/db/1.sst"));
/// ```
pub fn data_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

/// A file, and what its entry may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    /// The name that a new entry gets.
    pub(super) name: String,
    /// The other kind of name, which an older entry may have.
    pub(super) other: Option<String>,
}

impl DataKeyManager {
    /// Where a file is that a caller names: relative paths are below the dictionary directory.
    pub(super) fn locate(&self, path: &Path) -> Result<Located, Error> {
        let directory = &self.layout().directory;
        let refused = |why: &str| {
            Error::Usage(format!(
                "{}: {why}; give the path of a file below {}, in UTF-8 and without '..'",
                path.display(),
                directory.display()
            ))
        };
        let full = directory.join(path);
        let names = self.both_names(&full);
        let given = path.to_str().ok_or_else(|| refused("not in UTF-8"))?;
        let is_own = |name: &String| {
            // In any case: there are file systems that fold it.
            OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        let is_own = names.as_ref().is_some_and(|(relative, _)| is_own(relative));
        let (name, other) = match (self.names, names) {
            (Names::Relative, Some(names)) => names,
            (Names::Relative, None) => return Err(refused("not below the directory")),
            (Names::AsGiven, names) => (given.to_owned(), names.map(|(relative, _)| relative)),
        };
        if name.is_empty() || is_own || is_temporary(&name) {
            return Err(refused("not a name for a data file"));
        }
        Ok(Located {
            path: full,
            other: other.filter(|other| *other != name),
            name,
        })
    }

    /// The relative name of a file and, where it is UTF-8, the absolute one; `None` if it isn't below the directory.
    fn both_names(&self, path: &Path) -> Option<(String, Option<String>)> {
        let directory = &self.layout().directory;
        let relative = path.strip_prefix(directory).ok().and_then(plain)?;
        let absolute = directory.join(&relative).into_os_string().into_string();
        Some((relative, absolute.ok()))
    }

    /// The file of an entry of this name, however names are given now; `None` if it isn't below the directory.
    pub(super) fn recorded(&self, name: &str) -> Option<Located> {
        let path = data_path(&self.layout().directory, name);
        let (relative, absolute) = self.both_names(&path)?;
        if relative.is_empty() {
            return None;
        }
        let mut names = [Some(relative), absolute].into_iter().flatten();
        Some(Located {
            other: names.find(|other| other != name),
            name: name.to_owned(),
            path,
        })
    }
}

/// The path in its plainest spelling; `None` for one that leads out of where it starts.
fn plain(path: &Path) -> Option<String> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    plain.into_os_string().into_string().ok()
}

/// Whether a file of that name is taken for what an interruption has left.
fn is_temporary(name: &str) -> bool {
    is_unfinished(name) || install::is_leftover(name.rsplit('/').next().unwrap_or_default())
}
