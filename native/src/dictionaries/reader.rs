//! Reading dictionaries without a lock, next to a writer that may be at work.
//!
//! A writer replaces `key.dict` and `file.dict` by renaming and appends to `file.dict`; before it repairs a failed append, it cuts it off.
//! So a reader may see the file at two moments at once, and takes nothing for damage that it has not read twice alike.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use stillkey_core::error::NotFound;
use stillkey_core::{
    Envelope, FileDictionary, FileInfo, KeyDictionary, MasterKey, Reading, Recovered, Verdict,
};
use zeroize::Zeroizing;

use super::follow::{self, Followed, Since};
use super::manager::{SECOND_NAMES as SECOND, data_path};
use super::place::Root;
use super::sync::thread;
use super::{FileKey, Layout};
use crate::error::{Error, ErrorKind};
use crate::fsops;
use crate::observe::{self, Stopwatch};

/// How long a file is tried again to be opened while its directory keeps changing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a file that has an entry is looked for while it is being replaced.
const LOOKS: u32 = 8;

/// The dictionaries of a directory as they stood at one moment, and its files as they are.
///
/// ```no_run
/// use stillkey::core::Reading;
/// use stillkey::{Dictionaries, EncryptedFile, MasterKeySource, Native};
///
/// let master_key = "file:/etc/stillkey/master.key".parse::<MasterKeySource>()?.load()?.key;
/// let mut dictionaries = Dictionaries::read("/data/tikv", &master_key, Reading::Strict)?;
/// let (file, key) = dictionaries.open_file("/data/tikv/db/000042.sst")?;
/// let file = EncryptedFile::new(file, key.stream(&Native::detect()));
/// let mut footer = [0; 53];
/// file.read_exact_at(&mut footer, file.len()? - 53)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dictionaries {
    layout: Layout,
    keys: KeyDictionary,
    files: Recovered,
    followed: Followed,
    root: Root,
    master_key: MasterKey,
    reading: Reading,
}

impl Dictionaries {
    /// Reads both dictionaries. Nothing is written, not even a lock.
    ///
    /// # Errors
    /// - [`Error::Data`]: another master key is needed, or a dictionary is damaged. Damage in the log of `file.dict` isn't an error here, but
    ///   in [`Dictionaries::files`] and [`Dictionaries::file`]; [`Dictionaries::recovered`] shows what stands before it.
    /// - [`Error::NoDictionaries`]: there are none, or only the empty `file.dict` of a first start that was cut short.
    /// - [`Error::Io`], [`Error::NotAFile`]: also when only one of the two is there. What is wrong with `key.dict` comes first.
    pub fn read(
        directory: impl AsRef<Path>,
        master_key: &MasterKey,
        reading: Reading,
    ) -> Result<Self, Error> {
        let layout = Layout::new(directory.as_ref());
        // Files first: keys only ever become more, so every key that these files name is in the key dictionary read after them.
        let files = follow::read(&layout.file_dict, reading);
        let keys = read_key_dictionary(&layout.key_dict, master_key);
        let (files, keys) = match (files, keys) {
            (Ok(files), Ok(keys)) => (files, keys),
            // A first start may have made both between the two reads.
            (Err(error), Ok(keys)) if error.kind() == ErrorKind::NotFound => {
                (follow::read(&layout.file_dict, reading)?, keys)
            }
            (Err(error), Ok(_)) => return Err(error),
            (Ok(files), Err(error))
                if error.kind() == ErrorKind::NotFound && is_unused(&files.0) =>
            {
                return Err(layout.none());
            }
            (Err(file_error), Err(error))
                if error.kind() == ErrorKind::NotFound
                    && file_error.kind() == ErrorKind::NotFound =>
            {
                return Err(layout.none());
            }
            (_, Err(error)) => return Err(error),
        };
        let (files, followed) = files;
        let root = Root::new(&layout.directory);
        Ok(Self {
            layout,
            keys,
            files,
            followed,
            root,
            master_key: master_key.clone(),
            reading,
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The data keys.
    pub fn keys(&self) -> &KeyDictionary {
        &self.keys
    }

    /// The file dictionary with how its log ends, damaged or not.
    pub fn recovered(&self) -> &Recovered {
        &self.files
    }

    /// The files' entries.
    ///
    /// # Errors
    /// [`Error::Data`] when the log is damaged: any entry may have been replaced behind the damage.
    pub fn files(&self) -> Result<&FileDictionary, Error> {
        match &self.files.verdict {
            Verdict::Complete | Verdict::TornTail { .. } => Ok(&self.files.dictionary),
            Verdict::Corrupt { why, .. } => {
                Err(Error::data(&self.layout.file_dict)(why.clone().into()))
            }
        }
    }

    /// How a file was encrypted when the dictionaries were read. The name must be spelled as in the dictionary, byte by byte.
    ///
    /// A file that is opened by its path may have been replaced since, and this would decrypt it to garbage: [`Dictionaries::open_file`]
    /// gives a file and its key that belong together.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an unusable entry, a damaged log.
    pub fn file(&self, name: &str) -> Result<FileKey, Error> {
        self.layout.find(&self.keys, self.files()?, name)
    }

    /// Opens a file for reading, with the key that its content was written under, whatever writers of this or other processes do meanwhile.
    /// What has been opened stays as it is, even when the file is replaced or removed.
    ///
    /// The dictionaries are brought up to date, for which only what was appended to `file.dict` is read. In the middle of a replacement, and
    /// after one that was interrupted, the file is found under its second name.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry, no data key of that id, an unusable entry, a damaged log; [`Error::NoFile`]: an entry, but no file;
    /// [`Error::NotAFile`]; [`Error::Io`]; [`Error::Busy`] when `file.dict` is rewritten faster than it can be read.
    pub fn open_file(&mut self, name: &str) -> Result<(File, FileKey), Error> {
        let path = data_path(&self.layout.directory, name);
        self.open_file_at(name, &path).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Error::NoFile {
                path,
                name: name.into(),
            },
            error => error,
        })
    }

    /// As [`Dictionaries::open_file`], for a file that isn't where its name says, in a directory that was copied elsewhere for example.
    ///
    /// # Errors
    /// Those of [`Dictionaries::open_file`], but [`Error::Io`] when there is no file at `path`.
    pub fn open_file_at(
        &mut self,
        name: &str,
        path: impl AsRef<Path>,
    ) -> Result<(File, FileKey), Error> {
        let path = path.as_ref();
        let (started, mut looks) = (Instant::now(), 0);
        let mut pause = Duration::from_millis(1);
        loop {
            let info = self.files()?.find(name).cloned();
            let opened = info.as_ref().map(|info| self.open_as(name, info, path));
            // A writer changes an entry before or after it changes the file, never both at once. So if nobody has changed the entry up to now,
            // it was that of the file when the file was opened.
            let is_current = self.catch_up(name)?;
            match (is_current, info, opened) {
                (true, Some(info), Some(Ok(file))) => return Ok((file, self.key_of(&info)?)),
                (true, Some(info), Some(Err(error))) => {
                    let is_moving = error.kind() == ErrorKind::NotFound
                        && self.second_names(name, &info).next().is_some();
                    looks += 1;
                    if !is_moving || looks == LOOKS {
                        return Err(error);
                    }
                }
                (true, ..) => return Err(self.layout.no_entry(name)),
                (false, ..) => {}
            }
            if started.elapsed() > PATIENCE {
                return Err(Error::Busy {
                    path: self.layout.file_dict.clone(),
                    why: "the file dictionary is being rewritten faster than it can be read",
                });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Opens what an entry is about: the file, or while it is being replaced, the one that has its entry under a second name.
    fn open_as(&self, name: &str, info: &FileInfo, path: &Path) -> Result<File, Error> {
        let opened = fsops::open_data(path);
        let Err(missing) = &opened else { return opened };
        if missing.kind() != ErrorKind::NotFound {
            return opened;
        }
        for ending in self.second_names(name, info) {
            let mut second = path.to_owned().into_os_string();
            second.push(ending);
            match fsops::open_data(second.as_ref()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
        }
        opened
    }

    /// The endings of the second names under which the content of an entry may be. They may be spelled otherwise than its own.
    fn second_names(&self, name: &str, info: &FileInfo) -> impl Iterator<Item = &'static str> {
        let place = self.root.place(Path::new(name));
        SECOND.into_iter().filter(move |ending| {
            let place = place.as_ref().map(|place| place.with_ending(ending));
            let plain = place.iter().flat_map(|place| self.root.plain_names(place));
            let mut names = [format!("{name}{ending}")].into_iter().chain(plain);
            names.any(|name| self.files.dictionary.find(&name) == Some(info))
        })
    }

    /// Whether a change of an entry may be one of this file: of its own, or of one under which its content is for a while.
    fn may_be_about(root: &Root, name: &str, changed: &str) -> bool {
        let first = SECOND
            .iter()
            .find_map(|ending| changed.strip_suffix(ending));
        let place = |name: &str| root.place(Path::new(name));
        let is_it =
            |changed| changed == name || (place(name).is_some() && place(changed) == place(name));
        is_it(changed) || first.is_some_and(is_it)
    }

    /// Reads what has changed since, and returns whether all of it is known, and nothing of it is about the file.
    fn catch_up(&mut self, name: &str) -> Result<bool, Error> {
        if let Since::Appended(tail) = self.followed.since()? {
            let mut concerned = false;
            let at = self.followed.at();
            self.files.read_on(&tail, at, self.reading, |located| {
                concerned |= Self::may_be_about(&self.root, name, located.record.name());
            });
            if !matches!(self.files.verdict, Verdict::Corrupt { .. }) {
                self.followed.advance(&tail, &self.files.verdict);
                let is_torn = matches!(self.files.verdict, Verdict::TornTail { .. });
                if !is_torn || self.reading == Reading::Tikv || !self.followed.lacks_synced() {
                    return Ok(!concerned);
                }
            }
        }
        (self.files, self.followed) = follow::read(&self.layout.file_dict, self.reading)?;
        Ok(false)
    }

    /// What an entry stands for. A key that is newer than what was read of `key.dict` is read then.
    fn key_of(&mut self, info: &FileInfo) -> Result<FileKey, Error> {
        match self.layout.file_key(&self.keys, info) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.keys = read_key_dictionary(&self.layout.key_dict, &self.master_key)?;
                self.layout.file_key(&self.keys, info)
            }
            found => found,
        }
    }

    pub(super) fn into_parts(self) -> (KeyDictionary, Recovered) {
        (self.keys, self.files)
    }
}

impl Layout {
    fn no_entry(&self, name: &str) -> Error {
        Error::data(&self.file_dict)(NotFound::File(name.into()).into())
    }

    fn none(&self) -> Error {
        Error::NoDictionaries {
            path: self.directory.clone(),
        }
    }
}

/// Whether a file dictionary has never been used: what a first start leaves that was cut short before `key.dict` was there.
pub(super) fn is_unused(files: &Recovered) -> bool {
    files.dictionary.is_empty() && !matches!(files.verdict, Verdict::Corrupt { .. })
}

/// Reads the `key.dict` at `path`, wherever it is.
///
/// # Errors
/// [`Error::Data`], [`Error::NotAFile`], [`Error::Io`], as [`Dictionaries::read`]; [`Error::Core`] when a key service fails.
pub fn read_key_dictionary(
    path: impl AsRef<Path>,
    master_key: &MasterKey,
) -> Result<KeyDictionary, Error> {
    let (path, watch) = (path.as_ref(), Stopwatch::start());
    let keys = KeyDictionary::open(&read_keys(path)?, master_key).map_err(Error::data(path))?;
    observe::key_dictionary_read(watch);
    Ok(keys)
}

/// Reads the envelope of the `key.dict` at `path`: how it is sealed can be told without a master key.
///
/// # Errors
/// [`Error::Data`], [`Error::NotAFile`], [`Error::Io`].
pub fn read_key_envelope(path: impl AsRef<Path>) -> Result<Envelope, Error> {
    let path = path.as_ref();
    KeyDictionary::envelope(&read_keys(path)?).map_err(Error::data(path))
}

/// Some million keys, which is more than anybody has had a reason to make.
const LONGEST_KEY_DICT: u64 = 64 << 20;

fn read_keys(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    fsops::read_up_to(path, LONGEST_KEY_DICT)
}

/// Reads the `file.dict` at `path`, wherever it is; it takes no master key. Damage in its log is a verdict, not an error.
/// What `file.synced` beside it says to have been synced must be there, unless it is read as TiKV reads it.
///
/// # Errors
/// [`Error::Data`] when header or content can't be read; [`Error::NotAFile`], [`Error::Io`].
pub fn read_file_dictionary(path: impl AsRef<Path>, reading: Reading) -> Result<Recovered, Error> {
    follow::read(path.as_ref(), reading).map(|(recovered, _)| recovered)
}
