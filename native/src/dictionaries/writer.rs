//! The one writer of a dictionary directory.

use std::fs;
use std::path::Path;

use stillkey_core::{
    FileDictionary, FileInfo, KeyDictionary, MasterKey, Method, Reading, Record, RotationPolicy,
    RotationReason, Version,
};

use super::journal::Journal;
use super::lock::Lock;
use super::reader::{Dictionaries, is_unused, read_file_dictionary};
use super::sealed_keys::{self, SealedKeys};
use super::{FileKey, Layout};
use crate::error::{Error, ErrorKind};
use crate::fsops::{self, Access, Pinned};
use crate::{SysRng, install, observe};

/// Changes the dictionaries of a directory, whose lock it holds for as long as it lives.
///
/// When a method returns, its change is durable; when it fails, the change hasn't happened, as far as this writer and every later reader
/// of an intact disk are concerned.
///
/// Keep the order that makes crashes harmless: entry before file, file before the removal of its entry. An entry may lack its file; a
/// file that lacks its entry can't be decrypted any more.
///
/// ```
/// use std::io::Write;
/// use stillkey::core::{MasterKey, Method, RawMasterKey};
/// use stillkey::{DictionaryWriter, EncryptedWriter, Native, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let mut dictionaries = DictionaryWriter::create(directory, &master_key, Method::Aes256Ctr, unix_now())?;
/// let key = dictionaries.new_file("000001.log")?;
/// let file = std::fs::File::create_new(directory.join("000001.log"))?;
/// EncryptedWriter::new(file, key.stream(&Native::detect())).write_all(b"first entry")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DictionaryWriter {
    layout: Layout,
    sealed_keys: SealedKeys,
    journal: Journal,
    lock: Lock,
}

impl DictionaryWriter {
    /// Makes the dictionaries of a directory, with a first data key for `method`. A directory that is missing is made, for its owner only.
    ///
    /// `now`: seconds since 1970-01-01 UTC. If it fails, no half of the pair is left; an empty `file.dict` that an earlier crash left is
    /// taken over, as TiKV does.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there are dictionaries; [`Error::Usage`] when `method` encrypts and the master key is plaintext;
    /// [`Error::Locked`]; [`Error::Io`]; [`Error::Core`] when random numbers or the key service fail.
    pub fn create(
        directory: impl AsRef<Path>,
        master_key: &MasterKey,
        method: Method,
        now: u64,
    ) -> Result<Self, Error> {
        let layout = Layout::new(directory.as_ref());
        check_protection(method, master_key)?;
        layout.check_unused()?;
        fsops::create_directories(&layout.directory)?;
        let mut lock = Lock::create(&layout.lock)?;
        layout.check_unused()?;
        lock.sign()?;

        let mut keys = KeyDictionary::new();
        keys.rotate(method, now, &mut SysRng)?;
        let sealed = sealed_keys::seal(&mut keys, master_key, &layout.key_dict)?;
        let files = FileDictionary::new().to_bytes(Version::V2);
        let installed = install::write_file(&layout.file_dict, &files, true)
            .and_then(|()| install::write_file(&layout.key_dict, &sealed, false));
        if let Err(error) = installed {
            // Once key.dict is there, the pair is whole, and only its durability is in doubt.
            if matches!(fsops::identity_at(&layout.key_dict), Ok(None)) {
                // What this can't remove, the next start takes over.
                let _ = fsops::remove(&layout.file_dict);
            }
            return Err(error);
        }
        let pinned_keys = Pinned::open(&layout.key_dict, Access::Read)?;
        let pinned_files = Pinned::open(&layout.file_dict, Access::Append)?;
        let recovered = read_file_dictionary(&layout.file_dict, Reading::Strict)?;
        observe::created(&layout.directory, method);
        Ok(Self {
            sealed_keys: SealedKeys::open(&layout.key_dict, pinned_keys, keys, master_key),
            journal: Journal::open(&layout.file_dict, pinned_files, recovered)?,
            layout,
            lock,
        })
    }

    /// Opens the dictionaries of a directory for changes. No program that doesn't know the lock, such as TiKV, may be using them.
    ///
    /// Nothing is written before both dictionaries have been read with the master key. Then a torn tail of `file.dict` is trimmed, and
    /// temporary files that interrupted writers left are removed. The log is read as [`Reading::AfterCrash`] says: TiKV would take some damage
    /// for a torn tail, and trimming it would lose records; and some of what a power failure leaves, for damage. The form of `file.dict` stays: see [`DictionaryWriter::convert`].
    ///
    /// # Errors
    /// [`Error::Locked`], which names the other writer; those of [`Dictionaries::read`]; [`Error::Data`] for a damaged log, too.
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let read = || Dictionaries::read(directory, master_key, Reading::AfterCrash);
        Proven::read(directory, read)?.open(master_key, None)
    }

    /// Compacts the log by itself once more than `removes` entries have been removed since the last time; 1,000,000 unless set.
    #[must_use]
    pub fn with_rewrite_threshold(mut self, removes: u64) -> Self {
        self.journal.set_rewrite_threshold(removes);
        self
    }

    pub(super) fn into_parts(self) -> (Layout, SealedKeys, Journal, Lock) {
        (self.layout, self.sealed_keys, self.journal, self.lock)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The data keys.
    pub fn keys(&self) -> &KeyDictionary {
        self.sealed_keys.keys()
    }

    /// The files' entries.
    pub fn files(&self) -> &FileDictionary {
        self.journal.dictionary()
    }

    /// The form of `file.dict`.
    pub fn version(&self) -> Version {
        self.journal.version()
    }

    /// How a file is encrypted. The name must be spelled as in the dictionary, byte by byte.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an unusable entry.
    pub fn file(&self, name: &str) -> Result<FileKey, Error> {
        self.layout.find(self.keys(), self.files(), name)
    }

    /// Gives a file that is about to be written a new random IV under the current data key; an entry of the same name is replaced.
    ///
    /// # Errors
    /// [`Error::Data`] when the current key is missing or the name too long; [`Error::Io`]; [`Error::Suspended`]; [`Error::Core`] when
    /// random numbers fail.
    pub fn new_file(&mut self, name: &str) -> Result<FileKey, Error> {
        let info = self.layout.new_info(self.keys())?;
        self.insert(name, info)
    }

    /// Sets the entry of a file that was encrypted elsewhere, and returns how to read it. An entry of the same name is replaced.
    ///
    /// # Errors
    /// [`Error::Data`] for an entry that can't be used with the data keys here, or a name that is too long; [`Error::Io`]; [`Error::Suspended`].
    pub fn insert(&mut self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        let key = self.layout.file_key(self.keys(), &info)?;
        self.journal.apply(Record::Insert { name, info })?;
        Ok(key)
    }

    /// Removes an entry and returns it; `None`, and nothing written, when there is none. Remove the file first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn remove(&mut self, name: &str) -> Result<Option<FileInfo>, Error> {
        let Some(info) = self.files().find(name).cloned() else {
            return Ok(None);
        };
        self.journal.apply(Record::Remove { name })?;
        Ok(Some(info))
    }

    /// Gives `destination` the entry of `source`: before a file is renamed, or linked. Both then share key *and IV*, so neither may be
    /// written again while the other is kept.
    ///
    /// # Errors
    /// [`Error::Data`] when `source` has no entry; [`Error::NameTaken`] when `destination` has another; [`Error::Io`]; [`Error::Suspended`].
    pub fn link(&mut self, source: &str, destination: &str) -> Result<(), Error> {
        let info = self
            .files()
            .get(source)
            .map_err(Error::data(&self.layout.file_dict))?
            .clone();
        match self.files().find(destination) {
            Some(there) if *there == info => return Ok(()),
            Some(_) => {
                return Err(Error::NameTaken {
                    path: self.layout.file_dict.clone(),
                    name: destination.into(),
                });
            }
            None => {}
        }
        self.journal.apply(Record::Insert {
            name: destination,
            info,
        })
    }

    /// Whether new files need another data key, and why. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Error::Data`] when `key.dict` doesn't hold the key that it calls current.
    pub fn rotation_due(
        &self,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        self.keys()
            .rotation_due(policy, self.sealed_keys.master_key().is_secure(), now)
            .map_err(Error::data(&self.layout.key_dict))
    }

    /// Makes a new data key for new files, and returns its id. Old keys and files stay as they are. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Error::Usage`] when `method` encrypts and the master key is plaintext, or when a key service sealed `key.dict` and the master key is
    /// only the key that it wrapped; [`Error::Io`]; [`Error::Suspended`]; [`Error::Core`] when random numbers or the key service fail.
    pub fn rotate_data_key(&mut self, method: Method, now: u64) -> Result<u64, Error> {
        self.rotate_data_key_for(None, method, now)
    }

    pub(super) fn rotate_data_key_for(
        &mut self,
        reason: Option<RotationReason>,
        method: Method,
        now: u64,
    ) -> Result<u64, Error> {
        check_protection(method, self.sealed_keys.master_key())?;
        self.sealed_keys.rotate(method, now, reason)
    }

    /// Seals the data keys under another master key. They stay the same, and so does `file.dict`; only the master key changes.
    ///
    /// Keep the old master key until this has returned: when it fails, `key.dict` is under one of the two.
    /// Under [`MasterKey::Plaintext`], every data key counts as exposed from then on.
    ///
    /// # Errors
    /// [`Error::Data`] when the new master key can't open what it has sealed, before anything is written; [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Core`].
    pub fn rotate_master_key(&mut self, master_key: &MasterKey) -> Result<(), Error> {
        self.sealed_keys.rotate_master_key(master_key)
    }

    /// Rewrites `file.dict` without the log records that have been superseded.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn compact(&mut self) -> Result<(), Error> {
        self.journal.rewrite(self.version())
    }

    /// Rewrites `file.dict` in the form `version`: [`Version::V2`] is an upgrade, [`Version::V1`] is for a TiKV before 4.0.9 or with its log
    /// switched off.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn convert(&mut self, version: Version) -> Result<(), Error> {
        self.journal.rewrite(version)
    }
}

/// Dictionaries that a master key has opened and in which nothing is damaged, under the lock, before anything is written.
#[derive(Debug)]
pub(super) struct Proven {
    layout: Layout,
    lock: Lock,
    pinned_keys: Pinned,
    pinned_files: Pinned,
    dictionaries: Dictionaries,
}

impl Proven {
    /// `read` is called twice in a directory without a lock file, which gets one only if the first time succeeds.
    pub(super) fn read(
        directory: &Path,
        mut read: impl FnMut() -> Result<Dictionaries, Error>,
    ) -> Result<Self, Error> {
        let layout = Layout::new(directory);
        let lock = match Lock::existing(&layout.lock)? {
            Some(lock) => lock,
            None => {
                read()?.files()?;
                Lock::create(&layout.lock)?
            }
        };
        let pinned_keys = Pinned::open(&layout.key_dict, Access::Read);
        let pinned_files = Pinned::open(&layout.file_dict, Access::Append);
        let dictionaries = read()?;
        dictionaries.files()?;
        Ok(Self {
            layout,
            lock,
            pinned_keys: pinned_keys?,
            pinned_files: pinned_files?,
            dictionaries,
        })
    }

    /// Goes on to a writer. `master_key` is the one that has opened the key dictionary; with another one in `seal_under`, that comes first.
    pub(super) fn open(
        mut self,
        master_key: &MasterKey,
        seal_under: Option<&MasterKey>,
    ) -> Result<DictionaryWriter, Error> {
        let layout = self.layout;
        self.lock.sign()?;
        // A writer that crashed may have left what we have just read in the page cache only; files that build on it must not outlive it.
        fsops::sync(&self.pinned_keys.file, &layout.key_dict)?;
        fsops::sync(&self.pinned_files.file, &layout.file_dict)?;
        fsops::sync_parent(&layout.file_dict)?;
        let (keys, recovered) = self.dictionaries.into_parts();
        let mut sealed_keys =
            SealedKeys::open(&layout.key_dict, self.pinned_keys, keys, master_key);
        if let Some(master_key) = seal_under {
            sealed_keys.rotate_master_key(master_key)?;
        }
        let journal = Journal::open(&layout.file_dict, self.pinned_files, recovered)?;
        layout.remove_leftovers()?;
        Ok(DictionaryWriter {
            sealed_keys,
            layout,
            journal,
            lock: self.lock,
        })
    }
}

/// TiKV refuses this, too: data keys stored in the clear protect nothing.
pub(super) fn check_protection(method: Method, master_key: &MasterKey) -> Result<(), Error> {
    if method != Method::Plaintext && !master_key.is_secure() {
        return Err(Error::Usage(format!(
            "{method} under the master key 'plaintext' protects nothing; give a real master key, or use the method 'plaintext'"
        )));
    }
    Ok(())
}

impl Layout {
    /// That a first start may go ahead here.
    fn check_unused(&self) -> Result<(), Error> {
        if fsops::identity_at(&self.key_dict)?.is_some() {
            return Err(Error::AlreadyExists {
                path: self.key_dict.clone(),
            });
        }
        match read_file_dictionary(&self.file_dict, Reading::AfterCrash) {
            Ok(files) if is_unused(&files) => Ok(()),
            Ok(_) => Err(Error::AlreadyExists {
                path: self.file_dict.clone(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Temporary files are never read, so they are only litter, but litter that may hold keys under an old master key.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let listed = Error::io(&self.directory, "list");
        for entry in fs::read_dir(&self.directory).map_err(&listed)? {
            let entry = entry.map_err(&listed)?;
            let name = entry.file_name();
            let is_leftover = name.to_str().is_some_and(install::is_dictionary_leftover);
            if is_leftover && entry.file_type().map_err(&listed)?.is_file() {
                fsops::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}
