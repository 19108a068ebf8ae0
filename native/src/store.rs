//! Named files in a dictionary directory: put, rename and remove them so that an interruption leaves the old state or the new one.
//!
//! The dictionary and the file system can't change in one step, so a file that is replaced stands under a second name meanwhile, with an
//! entry of its own. Whoever opens the store next finishes or undoes what such names tell of.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use stillkey_core::MasterKey;
use zeroize::Zeroizing;

use crate::dictionaries::DictionaryWriter;
use crate::error::Error;
use crate::file::EncryptedWriter;
use crate::provider::Native;
use crate::{fsops, install};

/// The ending of a file that is being written, and of one that is being replaced.
const NEW: &str = ".stillkey-new";
const OLD: &str = ".stillkey-old";

/// Files that no entry may be named after.
const RESERVED: [&str; 3] = ["key.dict", "file.dict", "stillkey.lock"];

/// Bytes that are encrypted at a time.
const PIECE: usize = 256 << 10;

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

/// Whether an entry's name is one that a [`Store`] gives while it puts a file: what an interruption left, until the next opening finishes
/// or undoes it.
///
/// ```
/// assert!(stillkey::is_unfinished("letters/1.stillkey-new"));
/// assert!(!stillkey::is_unfinished("letters/1"));
/// ```
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(OLD)
}

/// A dictionary directory with its data files below it, under relative names. Holds the directory's lock.
///
/// ```
/// use stillkey::core::{MasterKey, Method, RawMasterKey};
/// use stillkey::{DictionaryWriter, Store, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// drop(DictionaryWriter::create(directory, &master_key, Method::Aes256Ctr, unix_now())?);
///
/// let mut store = Store::open(directory, &master_key)?;
/// store.put("letters/1", &mut &b"plaintext"[..], false)?;
/// assert_ne!(std::fs::read(directory.join("letters/1"))?, b"plaintext");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Store {
    dictionaries: DictionaryWriter,
}

impl Store {
    /// Opens a directory for changes, and finishes or undoes a replacement that was interrupted.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::open`]; [`Error::Io`].
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        let mut store = Self {
            dictionaries: DictionaryWriter::open(directory, master_key)?,
        };
        store.recover()?;
        Ok(store)
    }

    /// The dictionaries.
    pub fn dictionaries(&self) -> &DictionaryWriter {
        &self.dictionaries
    }

    /// Encrypts everything that `content` reads into the file `name`, under the current data key and a fresh IV, and returns its length.
    /// With `overwrite`, it replaces a file of that name, which stays readable until the new one is whole.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] and [`Error::NameTaken`] without `overwrite`; [`Error::Usage`] for a name that doesn't lie below the directory;
    /// those of `content` and of [`DictionaryWriter::new_file`]. The store then holds the file that it held before; after a failure past the
    /// point where the new one was durable, it holds the new one.
    pub fn put(
        &mut self,
        name: &str,
        content: &mut impl Read,
        overwrite: bool,
    ) -> Result<u64, Error> {
        let path = self.changeable(name)?;
        if !overwrite {
            self.expect_free(name, &path)?;
        }
        let done = self.try_put(name, &path, content);
        if done.is_err() {
            // What this can't undo now, the next opening does.
            let _ = self.recover();
        }
        done
    }

    fn try_put(&mut self, name: &str, path: &Path, content: &mut impl Read) -> Result<u64, Error> {
        let (new_name, old_name) = (format!("{name}{NEW}"), format!("{name}{OLD}"));
        let (new_path, old_path) = (self.path(&new_name), self.path(&old_name));
        fsops::create_directories(fsops::parent(path))?;

        let key = self.dictionaries.new_file(&new_name)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new_path)
            .map_err(Error::io(&new_path, "create"))?;
        let mut writer = EncryptedWriter::new(&file, key.stream(&Native::detect()));
        let len = copy(content, &mut writer, &new_path)?;
        fsops::sync(&file, &new_path)?;
        fsops::sync_parent(&new_path)?;

        let replaced = self.dictionaries.files().find(name).cloned();
        if let Some(replaced) = replaced
            && exists(path)?
        {
            self.dictionaries.insert(&old_name, replaced)?;
            rename(path, &old_path)?;
        }
        self.dictionaries.insert(name, key.info().clone())?;
        rename(&new_path, path)?;

        self.dictionaries.remove(&new_name)?;
        self.forget(&old_name)?;
        Ok(len)
    }

    /// Renames a file. Its key and IV go with it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] and [`Error::NameTaken`] when there is something at `to`; [`Error::Data`] when `from` has no entry;
    /// [`Error::Usage`]; [`Error::Io`].
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let (source, destination) = (self.changeable(from)?, self.changeable(to)?);
        self.dictionaries.file(from)?;
        self.expect_free(to, &destination)?;
        fsops::create_directories(fsops::parent(&destination))?;
        self.dictionaries.link(from, to)?;
        if let Err(error) = rename(&source, &destination) {
            // The entry without a file would only be in the way.
            if matches!(exists(&destination), Ok(false)) {
                let _ = self.dictionaries.remove(to);
            }
            return Err(error);
        }
        self.dictionaries.remove(from).map(drop)
    }

    /// Removes a file, then its entry. A file that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Data`] when `name` has no entry; [`Error::Usage`]; [`Error::Io`].
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        self.changeable(name)?;
        self.dictionaries.file(name)?;
        self.forget(name)
    }

    /// Removes file and entry, in this order, where they exist.
    fn forget(&mut self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        if exists(&path)? {
            fsops::remove(&path)?;
        }
        self.dictionaries.remove(name).map(drop)
    }

    /// Finishes or undoes what the second names tell of: a replacement whose new file stands is done, any other never happened.
    fn recover(&mut self) -> Result<(), Error> {
        for name in self.names_before(OLD) {
            let old = format!("{name}{OLD}");
            let (path, old_path) = (self.path(&name), self.path(&old));
            if !exists(&path)? && exists(&old_path)? {
                let info = self.dictionaries.file(&old)?.info().clone();
                self.dictionaries.insert(&name, info)?;
                rename(&old_path, &path)?;
            }
            self.forget(&old)?;
        }
        for name in self.names_before(NEW) {
            let new = format!("{name}{NEW}");
            let files = self.dictionaries.files();
            let announced = files.find(&name) == files.find(&new);
            // While the new file stands under its second name, whatever is at `name` isn't what the entry is about.
            let never_renamed = exists(&self.path(&new))? || !exists(&self.path(&name))?;
            if announced && never_renamed {
                self.dictionaries.remove(&name)?;
            }
            self.forget(&new)?;
        }
        Ok(())
    }

    /// The names that stand before `ending` in entries.
    fn names_before(&self, ending: &str) -> Vec<String> {
        let names = self
            .dictionaries
            .files()
            .iter()
            .filter_map(|(name, _)| name.strip_suffix(ending));
        names
            .filter(|name| self.changeable(name).is_ok())
            .map(str::to_owned)
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        data_path(self.dictionaries.directory(), name)
    }

    /// The path of a file that may be changed: below the directory, and not one of the store's own.
    fn changeable(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = !name.is_empty()
            && !name.ends_with('/')
            && Path::new(name)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        // `a//b` and `a/./b` name the same file as `a/b`, but not the same entry.
        let normal = plain
            && Path::new(name)
                .components()
                .collect::<PathBuf>()
                .as_os_str()
                == name;
        let file_name = name.rsplit('/').next().unwrap_or_default();
        // In any case, for file systems that fold it.
        let reserved = RESERVED
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(name))
            || is_unfinished(name)
            || install::is_leftover(file_name);
        if !normal || reserved {
            return Err(Error::Usage(format!(
                "{name:?}: not a name for a file in the store; use a relative path without '.', '..' or a name that the store itself uses"
            )));
        }
        Ok(self.path(name))
    }

    fn expect_free(&self, name: &str, path: &Path) -> Result<(), Error> {
        if exists(path)? {
            return Err(Error::AlreadyExists {
                path: path.to_owned(),
            });
        }
        match self.dictionaries.files().find(name) {
            Some(_) => Err(Error::NameTaken {
                path: self.path("file.dict"),
                name: name.into(),
            }),
            None => Ok(()),
        }
    }
}

/// Whether anything is there. That it can't be told is not an answer: an entry must not be removed because a disk is failing.
fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename => Ok(false),
            _ => Err(Error::io(path, "inspect")(error)),
        },
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fsops::renamed(|| fs::rename(from, to)).map_err(Error::io(from, "rename"))?;
    fsops::sync_parent(to)
}

/// Copies to the file at `path`, and tells what couldn't be read from what couldn't be written.
fn copy(from: &mut impl Read, to: &mut impl io::Write, path: &Path) -> Result<u64, Error> {
    let mut buffer = Zeroizing::new(vec![0; PIECE]);
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                to.flush().map_err(Error::io(path, "write"))?;
                return Ok(copied);
            }
            Ok(read) => {
                to.write_all(buffer.get(..read).unwrap_or_default())
                    .map_err(Error::io(path, "write"))?;
                copied += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, "read what is to be written to it")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use stillkey_core::{Method, Reading};

    use std::fs::File;

    use super::*;
    use crate::error::ErrorKind;
    use crate::fsops::fault;
    use crate::testing::master_key;
    use crate::{Dictionaries, EncryptedReader};

    fn new_store(directory: &Path) -> Store {
        drop(DictionaryWriter::create(directory, &master_key(1), Method::Aes256Ctr, 1).unwrap());
        Store::open(directory, &master_key(1)).unwrap()
    }

    fn content(directory: &Path, name: &str) -> Option<Vec<u8>> {
        let dictionaries = Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap();
        let stream = dictionaries.file(name).ok()?.stream(&Native::detect());
        let mut content = Vec::new();
        EncryptedReader::new(File::open(directory.join(name)).ok()?, stream)
            .read_to_end(&mut content)
            .unwrap();
        Some(content)
    }

    #[test]
    fn files_are_put_renamed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        assert_eq!(store.put("a/b", &mut &b"one"[..], false).unwrap(), 3);
        assert_eq!(content(directory.path(), "a/b").unwrap(), b"one");
        assert_eq!(
            store
                .put("a/b", &mut &b"two"[..], false)
                .unwrap_err()
                .kind(),
            ErrorKind::AlreadyExists
        );
        store.put("a/b", &mut &b"two"[..], true).unwrap();
        store.rename("a/b", "c").unwrap();
        assert_eq!(
            (
                content(directory.path(), "a/b"),
                content(directory.path(), "c").unwrap()
            ),
            (None, b"two".to_vec())
        );
        store.remove("c").unwrap();
        assert!(store.dictionaries().files().is_empty());
        assert_eq!(store.remove("c").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_replaced_file_gets_a_new_initialization_vector() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        store.put("a", &mut &b"same"[..], false).unwrap();
        let first = store
            .dictionaries()
            .files()
            .find("a")
            .unwrap()
            .iv()
            .unwrap();
        store.put("a", &mut &b"same"[..], true).unwrap();
        assert_ne!(
            store
                .dictionaries()
                .files()
                .find("a")
                .unwrap()
                .iv()
                .unwrap(),
            first
        );
    }

    #[test]
    fn names_outside_the_directory_or_of_the_store_itself_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        for name in [
            "",
            "/etc/x",
            "../x",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "key.dict",
            "file.dict",
            "stillkey.lock",
            "a.stillkey-old",
            "a/key.1.tmp",
        ] {
            assert_eq!(
                store.put(name, &mut io::empty(), true).unwrap_err().kind(),
                ErrorKind::Usage,
                "{name:?}"
            );
        }
    }

    #[test]
    fn names_of_the_store_are_refused_in_any_case() {
        // On a file system that folds case, KEY.DICT is key.dict.
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        for name in ["KEY.DICT", "File.dict", "Stillkey.Lock"] {
            let error = store.put(name, &mut io::empty(), true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{name}");
        }
    }

    #[test]
    fn a_stored_file_is_its_owners_alone() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        store.put("a", &mut &b"new"[..], false).unwrap();
        let mode = fs::metadata(directory.path().join("a")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_name_too_long_for_the_file_system_leaves_the_store_usable() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = new_store(directory.path());
        for len in [245, 300] {
            let error = store.put(&"n".repeat(len), &mut io::empty(), false);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Io);
        }
        drop(store);
        let store = Store::open(directory.path(), &master_key(1)).unwrap();
        assert!(store.dictionaries().files().is_empty());
    }

    /// The bytes of a file that the store knows nothing of must not be taken for those of the new entry.
    #[test]
    fn an_interrupted_put_over_a_file_without_entry_leaves_it_without_entry() {
        for n in 0..200 {
            let directory = tempfile::tempdir().unwrap();
            let mut store = new_store(directory.path());
            fs::write(directory.path().join("a"), b"untracked").unwrap();
            fault::fail_from(n);
            let _ = store.put("a", &mut &b"new"[..], true);
            let failed = fault::heal();
            drop(store);
            drop(Store::open(directory.path(), &master_key(1)).unwrap());
            match content(directory.path(), "a") {
                Some(content) => assert_eq!(content, b"new", "operation {n}"),
                None => {
                    let left = fs::read(directory.path().join("a")).unwrap();
                    assert_eq!(left, b"untracked", "operation {n}");
                }
            }
            if !failed {
                return;
            }
        }
        panic!("the end was never reached");
    }

    /// Every operation from the n-th on fails, as when the process is killed; then the store is opened anew.
    #[test]
    fn interrupted_anywhere_a_file_is_the_old_or_the_new_one() {
        for overwrite in [false, true] {
            let mut reached_the_end = false;
            for n in 0..200 {
                let directory = tempfile::tempdir().unwrap();
                let mut store = new_store(directory.path());
                if overwrite {
                    store.put("a", &mut &b"old"[..], false).unwrap();
                }
                fault::fail_from(n);
                let done = store.put("a", &mut &b"new"[..], overwrite);
                let failed = fault::heal();
                drop(store);
                drop(Store::open(directory.path(), &master_key(1)).unwrap());

                let found = content(directory.path(), "a");
                let old = overwrite.then(|| b"old".to_vec());
                let new = Some(b"new".to_vec());
                assert!(found == old || found == new, "operation {n}: {found:?}");
                if done.is_ok() {
                    assert_eq!(found, new, "operation {n}");
                }
                let dictionaries =
                    Dictionaries::read(directory.path(), &master_key(1), Reading::Strict).unwrap();
                let names: Vec<_> = dictionaries
                    .files()
                    .unwrap()
                    .iter()
                    .map(|(name, _)| name.to_owned())
                    .collect();
                assert_eq!(
                    names,
                    Vec::from_iter(found.map(|_| "a".to_owned())),
                    "operation {n}: nothing is left over"
                );
                if !failed {
                    reached_the_end = true;
                    break;
                }
            }
            assert!(reached_the_end);
        }
    }
}
