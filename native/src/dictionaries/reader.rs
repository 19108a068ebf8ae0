//! Reading dictionaries without a lock, next to a writer that may be at work.
//!
//! A writer replaces `key.dict` and `file.dict` by renaming and appends to `file.dict`; before it repairs a failed append, it cuts it off.
//! So a reader may see the file at two moments at once, and takes nothing for damage that it has not read twice alike.

use std::path::Path;

use stillkey_core::{
    Envelope, FileDictionary, KeyDictionary, MasterKey, Reading, Recovered, Verdict,
};
use zeroize::Zeroizing;

use super::{FileKey, Layout, synced};
use crate::error::{Error, ErrorKind};
use crate::fsops;
use crate::observe::{self, Stopwatch};

/// How often a damaged `file.dict` is read again while it keeps changing.
const ATTEMPTS: usize = 8;

/// The dictionaries of a directory as they stood at one moment.
///
/// ```no_run
/// use stillkey::core::Reading;
/// use stillkey::{Dictionaries, EncryptedFile, MasterKeySource, Native};
///
/// let master_key = "file:/etc/stillkey/master.key".parse::<MasterKeySource>()?.load()?.key;
/// let dictionaries = Dictionaries::read("/data/tikv", &master_key, Reading::Strict)?;
/// let name = "/data/tikv/db/000042.sst";
/// let file = EncryptedFile::new(std::fs::File::open(name)?, dictionaries.file(name)?.stream(&Native::detect()));
/// let mut footer = [0; 53];
/// file.read_exact_at(&mut footer, file.len()? - 53)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dictionaries {
    layout: Layout,
    keys: KeyDictionary,
    files: Recovered,
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
        let files = read_file_dictionary(&layout.file_dict, reading);
        let keys = read_key_dictionary(&layout.key_dict, master_key);
        let (files, keys) = match (files, keys) {
            (Ok(files), Ok(keys)) => (files, keys),
            // A first start may have made both between the two reads.
            (Err(error), Ok(keys)) if error.kind() == ErrorKind::NotFound => {
                (read_file_dictionary(&layout.file_dict, reading)?, keys)
            }
            (Err(error), Ok(_)) => return Err(error),
            (Ok(files), Err(error)) if error.kind() == ErrorKind::NotFound && is_unused(&files) => {
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
        Ok(Self {
            layout,
            keys,
            files,
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

    /// How a file is encrypted. The name must be spelled as in the dictionary, byte by byte.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an unusable entry, a damaged log.
    pub fn file(&self, name: &str) -> Result<FileKey, Error> {
        self.layout.find(&self.keys, self.files()?, name)
    }

    pub(super) fn into_parts(self) -> (KeyDictionary, Recovered) {
        (self.keys, self.files)
    }
}

impl Layout {
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
    let path = path.as_ref();
    let mut before: Option<Zeroizing<Vec<u8>>> = None;
    let mut attempts = 0..ATTEMPTS;
    loop {
        let watch = Stopwatch::start();
        // First what has been synced, then the file, which has at least that.
        let synced = synced::read(path).filter(|_| reading != Reading::Tikv);
        let file = fsops::read(path)?;
        let recovered = FileDictionary::recover(&file, reading).map_err(Error::data(path));
        let recovered = recovered.map(|recovered| match synced {
            Some(synced) => synced.judge(&file, reading, recovered),
            None => recovered,
        });
        let damaged = match &recovered {
            Ok(recovered) => matches!(recovered.verdict, Verdict::Corrupt { .. }),
            Err(_) => true,
        };
        if let Ok(recovered) = &recovered {
            observe::file_dictionary_read(recovered.version, watch);
        }
        if !damaged || attempts.next().is_none() || before.as_ref() == Some(&file) {
            return recovered;
        }
        before = Some(file);
    }
}
