//! The dictionaries of a directory, `key.dict` and `file.dict`: read by anyone with the master key, written by one writer at a time.
//!
//! [`Dictionaries`] reads without a lock and never writes, so it can look into the directory of a running engine, TiKV's included.
//! [`Entries`] holds `stillkey.lock`, which keeps other Stillkey writers out; TiKV knows nothing of it, so stop TiKV first.
//! [`Startup`] finds or makes them as a storage engine does when it starts. [`DataKeyManager`] keeps a directory's files in step with them.

mod entries;
mod follow;
mod group;
mod log_file;
mod manager;
mod place;
mod reader;
mod repair;
mod retired;
mod sealed_keys;
mod startup;
mod sync;
mod synced;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use stillkey_core::{
    CipherProvider, CtrStream, DataKey, FileDictionary, FileInfo, Iv, KeyDictionary, KeyEntry,
    Method,
};

use crate::SysRng;
use crate::error::Error;

pub use entries::{BackgroundRotation, Bulk, Commits, Entries, RetiredKeys};
pub use manager::{
    DataKeyManager, ManagedFile, ManagerOptions, Mismatches, Names, RekeyProgress, RekeyReport,
    RekeySelection, Untracked, data_path, is_unfinished,
};
pub use reader::{Dictionaries, read_file_dictionary, read_key_dictionary, read_key_envelope};
pub use repair::{Done, Finding, LOST_FOUND, Repair};
pub use retired::read_retired_keys;
pub use startup::{Started, Startup};

const KEY_DICT: &str = "key.dict";
const FILE_DICT: &str = "file.dict";
const LOCK: &str = "stillkey.lock";
const RETIRED_DICT: &str = "retired.dict";
const NEXT_RETIRED_DICT: &str = "retired-next.dict";

const FILE_SYNCED: &str = "file.synced";

/// The files of a dictionary directory that are its own; beside them, those of [`torn_tail_name`].
const OWN: [&str; 6] = [
    KEY_DICT,
    FILE_DICT,
    LOCK,
    RETIRED_DICT,
    NEXT_RETIRED_DICT,
    FILE_SYNCED,
];

const TORN_TAIL: &str = "file.torn-";

/// Where the `n`-th torn end of `file.dict` is kept that was cut off.
fn torn_tail_name(n: u64) -> String {
    format!("{TORN_TAIL}{n}")
}

/// Whether a file of this name in a dictionary directory belongs to the dictionaries: `key.dict`, `file.dict`,
/// the lock, and the side files that Stillkey keeps beside them. Upper and lower case are the same, since
/// there are file systems that don't tell them apart.
///
/// ```
/// assert!(stillkey::is_dictionary_file("key.dict"));
/// assert!(stillkey::is_dictionary_file("file.torn-1"));
/// assert!(stillkey::is_dictionary_file("file.dict.before-repair"));
/// assert!(!stillkey::is_dictionary_file("000001.sst"));
/// ```
pub fn is_dictionary_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let number = name.strip_prefix(TORN_TAIL);
    OWN.contains(&&*name)
        || repair::is_before_repair(&name)
        || number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Where the files of a dictionary directory are.
#[derive(Clone, Debug)]
struct Layout {
    directory: PathBuf,
    key_dict: PathBuf,
    file_dict: PathBuf,
    lock: PathBuf,
}

impl Layout {
    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            key_dict: directory.join(KEY_DICT),
            file_dict: directory.join(FILE_DICT),
            lock: directory.join(LOCK),
        }
    }

    /// What `info` stands for, with its key looked up.
    fn file_key(&self, keys: &KeyDictionary, info: &FileInfo) -> Result<FileKey, Error> {
        let key = keys.data_key(info.key_id, info.method);
        self.file_key_with(info.clone(), key.map(|key| key.map(key_handle)))
    }

    /// As [`Layout::file_key`], with what the look-up of the key has given.
    fn file_key_with(
        &self,
        info: FileInfo,
        key: Result<Option<KeyHandle>, stillkey_core::Error>,
    ) -> Result<FileKey, Error> {
        let cipher = match key.map_err(Error::data(&self.key_dict))? {
            Some(key) => Some((key, info.iv().map_err(Error::data(&self.file_dict))?)),
            None => None,
        };
        Ok(FileKey { info, cipher })
    }

    /// The data key for new files.
    fn current<'k>(&self, keys: &'k KeyDictionary) -> Result<(u64, &'k KeyEntry), Error> {
        let current = keys.current().map_err(Error::data(&self.key_dict))?;
        current.ok_or_else(|| {
            Error::Usage(format!(
                "{}: no data key yet; rotate the data key to make one",
                self.key_dict.display()
            ))
        })
    }

    /// A new file's entry: a random IV under the current data key.
    fn new_info(&self, keys: &KeyDictionary) -> Result<FileInfo, Error> {
        let (id, entry) = self.current(keys)?;
        let method = entry.method.known().map_err(Error::data(&self.key_dict))?;
        Ok(match method {
            Method::Plaintext => FileInfo::plaintext(id),
            method => FileInfo::encrypted(id, Iv::random(&mut SysRng)?, method),
        })
    }

    fn find(
        &self,
        keys: &KeyDictionary,
        files: &FileDictionary,
        name: &str,
    ) -> Result<FileKey, Error> {
        let info = files.get(name).map_err(Error::data(&self.file_dict))?;
        self.file_key(keys, info)
    }
}

/// A data key that is shared by others, some of whom share its count of references, too.
type KeyHandle = Arc<CachePadded<Arc<DataKey>>>;

fn key_handle(key: DataKey) -> KeyHandle {
    Arc::new(CachePadded::new(Arc::new(key)))
}

/// How one file is encrypted, with the key to do it: complete and checked, so that a stream can't fail to be made.
#[derive(Debug)]
pub struct FileKey {
    info: FileInfo,
    cipher: Option<(KeyHandle, Iv)>,
}

impl FileKey {
    /// The file's entry.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The data key; `None` for a file that is recorded as plaintext.
    pub fn data_key(&self) -> Option<&DataKey> {
        let (key, _) = self.cipher.as_ref()?;
        Some(key)
    }

    /// A stream over the file, at position 0; `None` for a file that is recorded as plaintext.
    pub fn stream(&self, provider: &dyn CipherProvider) -> Option<CtrStream> {
        self.stream_with(provider, |iv| iv)
    }

    /// As [`FileKey::stream`], for one file of a TiFlash group, whose name in the dictionary is that of the group.
    /// Source: [`Iv::for_tiflash_file`].
    pub fn tiflash_stream(
        &self,
        provider: &dyn CipherProvider,
        file_name: &str,
    ) -> Option<CtrStream> {
        self.stream_with(provider, |iv| iv.for_tiflash_file(file_name))
    }

    fn stream_with(
        &self,
        provider: &dyn CipherProvider,
        effective: impl Fn(Iv) -> Iv,
    ) -> Option<CtrStream> {
        self.cipher
            .as_ref()
            .map(|(key, iv)| CtrStream::with_provider(provider, key, effective(*iv)))
    }
}
