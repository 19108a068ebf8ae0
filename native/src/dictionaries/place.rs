//! A file is a place, not a spelling: many spellings lead to one file, in a dictionary and in a caller's
//! hands. What must not be done twice to one file, or to the wrong one, goes by its [`Place`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// The location of a file in its plainest form: the path from the directory on, or an absolute path for a
/// file outside of it. Two spellings of one location give equal places, and no place contains `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(PathBuf);

impl Place {
    /// The path from the directory on; `None` outside of it.
    pub(super) fn below_root(&self) -> Option<&Path> {
        (!self.0.is_absolute()).then_some(&*self.0)
    }

    /// Whether this is the directory itself.
    pub(super) fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }

    /// Whether this is one of the files that the dictionaries are kept in.
    pub(super) fn is_own(&self) -> bool {
        let name = self.below_root().and_then(Path::to_str);
        name.is_some_and(super::is_dictionary_file)
    }

    /// The path from `directory` to this place, if it is below it.
    pub(super) fn rest_below(&self, directory: &Self) -> Option<&Path> {
        let rest = self.0.strip_prefix(&directory.0).ok()?;
        let outside = directory.is_root() && self.0.is_absolute();
        (!rest.as_os_str().is_empty() && !outside).then_some(rest)
    }

    /// The last part of the path, as text that may be told from other names and is shown to nobody.
    pub(super) fn file_name(&self) -> Cow<'_, str> {
        self.0.file_name().unwrap_or_default().to_string_lossy()
    }

    /// The same place with an ending.
    pub(super) fn with_ending(&self, ending: &str) -> Self {
        let mut path = self.0.clone().into_os_string();
        path.push(ending);
        Self(path.into())
    }

    pub(super) fn join(&self, rest: &Path) -> Self {
        Self(self.0.join(rest))
    }
}

/// A directory by all of its own spellings: as it was given, absolute, and without links.
#[derive(Clone, Debug)]
pub(super) struct Root {
    directory: PathBuf,
    spellings: Vec<PathBuf>,
}

impl Root {
    pub(super) fn new(directory: &Path) -> Self {
        let mut spellings = Vec::new();
        let absolute = std::path::absolute(directory).ok();
        let absolute = absolute.and_then(|absolute| plain(&absolute));
        // A directory that is still to be made has no links to follow.
        let canonical = directory.canonicalize().ok();
        for spelling in [absolute, canonical].into_iter().flatten() {
            if !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        }
        Self {
            directory: directory.to_owned(),
            spellings,
        }
    }

    /// The place that a path or a dictionary's name leads to: from the directory on, unless it is absolute.
    /// `None` when `..` is in it, since only the file system knows where that leads.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        if path.is_relative() {
            return plain(path).map(Place);
        }
        let path = plain(path)?;
        let mut roots = self.spellings.iter();
        let below = roots.find_map(|root| path.strip_prefix(root).ok());
        Some(Place(below.map(Path::to_owned).unwrap_or(path)))
    }

    /// Where a place is.
    pub(super) fn path(&self, place: &Place) -> PathBuf {
        self.directory.join(&place.0)
    }

    /// The plain names of a place, the relative one first. Where one isn't UTF-8, no dictionary has it.
    pub(super) fn plain_names(&self, place: &Place) -> impl Iterator<Item = String> {
        let itself = std::iter::once(place.0.clone());
        let below = place.below_root().map(Path::to_owned);
        let absolute = below.into_iter().flat_map(|below| {
            let roots = self.spellings.iter();
            roots.map(move |root| root.join(&below))
        });
        let names = itself.chain(absolute);
        names.filter_map(|name| name.into_os_string().into_string().ok())
    }
}

/// The path without `.`, doubled or trailing slashes; `None` for one with `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir => return None,
        }
    }
    Some(plain)
}

/// Whether [`plain`] would leave a name as it is.
fn is_plain(name: &str) -> bool {
    let name = name.strip_prefix('/').unwrap_or(name);
    name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The names in a dictionary that aren't plain, by their places. TiKV's are as its own callers spelled them,
/// so there may be a few; the plain ones need no list, since they follow from the place.
#[derive(Debug, Default)]
pub(super) struct OddNames(HashMap<Place, Vec<Box<str>>>);

impl OddNames {
    pub(super) fn of<'n>(root: &Root, names: impl Iterator<Item = &'n str>) -> Self {
        let mut odd = Self::default();
        names.for_each(|name| odd.update(root, name, |_| true));
        odd
    }

    /// Takes note of a name that has come or gone.
    pub(super) fn update(&mut self, root: &Root, name: &str, is_there: impl Fn(&str) -> bool) {
        if is_plain(name) {
            return;
        }
        let Some(place) = root.place(Path::new(name)) else {
            return;
        };
        let names = self.0.entry(place.clone()).or_default();
        names.retain(|known| **known != *name);
        if is_there(name) {
            names.push(name.into());
        } else if names.is_empty() {
            self.0.remove(&place);
        }
    }

    pub(super) fn at(&self, place: &Place) -> impl Iterator<Item = &str> {
        self.0.get(place).into_iter().flatten().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Root, path: &str) -> Option<Place> {
        root.place(Path::new(path))
    }

    #[test]
    fn every_spelling_of_a_location_is_one_place() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let (data, link) = (data.to_str().unwrap(), link.to_str().unwrap());
        for root in [data, link] {
            let root = Root::new(Path::new(root));
            let expected = place(&root, "d/a").unwrap();
            for spelling in [
                "./d/a".to_owned(),
                "d//a/".to_owned(),
                "d/./a".to_owned(),
                format!("{data}/d/a"),
                format!("{data}//d/./a/"),
            ] {
                assert_eq!(
                    place(&root, &spelling).as_ref(),
                    Some(&expected),
                    "{spelling}"
                );
            }
            assert_eq!(place(&root, "d/../d/a"), None);
            assert_eq!(place(&root, &format!("{data}/../data/a")), None);
            assert_ne!(place(&root, "/d/a").unwrap(), expected);
        }
        let root = Root::new(Path::new(link));
        assert_eq!(
            place(&root, &format!("{link}/a")),
            place(&root, &format!("{data}/a"))
        );
    }

    #[test]
    fn names_that_are_not_plain_are_found_by_their_place_until_they_go() {
        let root = Root::new(Path::new("/data"));
        let names = ["a", "/data/b", "/data//b", "./b", "d/../b", "/elsewhere/b"];
        let mut odd = OddNames::of(&root, names.into_iter());
        let b = place(&root, "b").unwrap();
        assert_eq!(odd.at(&b).collect::<Vec<_>>(), ["/data//b", "./b"]);
        odd.update(&root, "./b", |_| true);
        odd.update(&root, "/data//b", |_| false);
        assert_eq!(odd.at(&b).collect::<Vec<_>>(), ["./b"]);
        odd.update(&root, "./b", |_| false);
        assert!(odd.0.is_empty());
    }

    #[test]
    fn own_files_are_known_in_any_spelling_and_nothing_below_a_directory_is() {
        let root = Root::new(Path::new("/data"));
        for own in [
            "key.dict",
            "./KEY.dict",
            "/data//key.dict",
            "/data/stillkey.lock",
        ] {
            assert!(place(&root, own).unwrap().is_own(), "{own}");
        }
        for data in ["d/key.dict", "/key.dict", "key.dict2"] {
            assert!(!place(&root, data).unwrap().is_own(), "{data}");
        }
    }

    #[test]
    fn only_what_is_below_a_directory_has_a_rest_there() {
        let root = Root::new(Path::new("/data"));
        let rest = |path: &str, directory: &str| {
            let (path, directory) = (
                place(&root, path).unwrap(),
                place(&root, directory).unwrap(),
            );
            path.rest_below(&directory).map(Path::to_owned)
        };
        assert_eq!(rest("/data/d//e/f", "d/"), Some("e/f".into()));
        assert_eq!(rest("d/e", ""), Some("d/e".into()));
        assert_eq!(rest("d", "d"), None);
        assert_eq!(rest("de/f", "d"), None);
        assert_eq!(rest("/elsewhere/f", ""), None);
    }
}
