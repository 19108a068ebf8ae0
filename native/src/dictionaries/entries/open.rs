//! How entries come into memory: made, or read and proven before anything is written.

use std::fs;
use std::path::Path;

use stillkey_core::{FileDictionary, KeyDictionary, MasterKey, Method, Reading, Version};

use super::super::Layout;
use super::super::log_file::LogFile;
use super::super::reader::{Dictionaries, is_unused, read_file_dictionary};
use super::super::sealed_keys::{self, SealedKeys};
use super::Entries;
use crate::error::{Error, ErrorKind};
use crate::fsops::{self, Access, Pinned};
use crate::lock::Lock;
use crate::{SysRng, install, observe};

impl Entries {
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
        lock.sign();

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
        let sealed_keys = SealedKeys::open(&layout.key_dict, pinned_keys, keys, master_key);
        let log = LogFile::open(&layout.file_dict, pinned_files, recovered)?;
        Ok(Self::new(layout, sealed_keys, log, lock))
    }

    /// Opens the dictionaries of a directory for changes. No program that doesn't know the lock, such as TiKV, may be using them.
    ///
    /// Nothing is written before both dictionaries have been read with the master key. Then a torn tail of `file.dict` is trimmed, and
    /// temporary files that interrupted writers left are removed. The log is read as [`Reading::AfterCrash`] says: TiKV would take some damage
    /// for a torn tail, and trimming it would lose records; and some of what a power failure leaves, for damage. The form of `file.dict` stays: see [`Entries::convert`].
    ///
    /// # Errors
    /// [`Error::Locked`], which names the other writer; those of [`Dictionaries::read`]; [`Error::Data`] for a damaged log, too.
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let read = || Dictionaries::read(directory, master_key, Reading::AfterCrash);
        Proven::read(directory, read)?.open(master_key, None)
    }
}

/// Dictionaries that a master key has opened and in which nothing is damaged, under the lock, before anything is written.
#[derive(Debug)]
pub(in super::super) struct Proven {
    layout: Layout,
    lock: Lock,
    pinned_keys: Pinned,
    pinned_files: Pinned,
    dictionaries: Dictionaries,
}

impl Proven {
    /// `read` is called twice in a directory without a lock file, which gets one only if the first time succeeds.
    pub(in super::super) fn read(
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

    /// Goes on to the entries. `master_key` is the one that has opened the key dictionary; with another one in `seal_under`, that comes first.
    pub(in super::super) fn open(
        mut self,
        master_key: &MasterKey,
        seal_under: Option<&MasterKey>,
    ) -> Result<Entries, Error> {
        let layout = self.layout;
        self.lock.sign();
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
        sealed_keys.restore_used(&recovered.dictionary)?;
        let log = LogFile::open(&layout.file_dict, self.pinned_files, recovered)?;
        layout.remove_leftovers()?;
        Ok(Entries::new(layout, sealed_keys, log, self.lock))
    }
}

/// TiKV refuses this, too: data keys stored in the clear protect nothing.
pub(in super::super) fn check_protection(
    method: Method,
    master_key: &MasterKey,
) -> Result<(), Error> {
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
