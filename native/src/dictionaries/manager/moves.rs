//! Files that get another name, a second one, or their first: the entry under the new name comes before the
//! file, the file before the removal of the old entry.

use std::path::Path;

use stillkey_core::FileInfo;

use super::DataKeyManager;
use super::located::Located;
use crate::error::Error;
use crate::fsops::{self, Access};
use crate::observe;

impl DataKeyManager {
    /// Gives a file another name. Its key and IV go with it. What is at `to` is not replaced: delete it first.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `to`; [`Error::Data`] when `from` has no entry
    /// (unless [`Untracked::Plaintext`](crate::Untracked::Plaintext) is set); [`Error::Io`];
    /// [`Error::Suspended`]; [`Error::Usage`]. After a failure the file is still at `from`, unless nothing but
    /// the sync of its new name or the removal of its old entry failed.
    pub fn rename_file(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let _span =
            observe::span!(DEBUG, "rename_file", from => from.display(), to => to.display());
        self.transfer(from, to, |from, to| {
            fsops::rename(&from.path, &to.path)?;
            self.forget_entries(from)
        })
    }

    /// Gives a file a second name. Both share key *and IV*, so neither may be written again while the other is kept.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::rename_file`].
    pub fn link_file(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let (from, to) = (source.as_ref(), destination.as_ref());
        let _span = observe::span!(DEBUG, "link_file", from => from.display(), to => to.display());
        self.transfer(from, to, |from, to| fsops::link(&from.path, &to.path))
    }

    /// Gives `to` the entry of `from`, and then does what makes it true.
    fn transfer(
        &self,
        from: &Path,
        to: &Path,
        transfer: impl FnOnce(&Located, &Located) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        let _locks = self.name_locks.lock(&[&from, &to]);
        self.settle(&from)?;
        self.settle(&to)?;
        let entry = self.find(&from);
        if entry.is_none() {
            self.expect_untracked_allowed(&from)?;
        }
        fsops::expect_file(&from.path)?;
        self.expect_nothing_at(&to)?;
        // An entry there is that of a file which is gone: it must not be taken for that of this one.
        match entry {
            Some((_, info)) => self.set_entry(&to, info)?,
            None => self.forget_entries(&to)?,
        }
        transfer(&from, &to).inspect_err(|_| {
            self.directories.forget(fsops::parent(&from.path));
            self.forget_entries_of_missing(&to);
        })
    }

    /// Takes in a file that was encrypted elsewhere with a key that
    /// [`Entries::import_key`](crate::Entries::import_key) knows by the id in `info`: moves it from `source`,
    /// which must be on the same file system and is outside the manager's care, to `destination`.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is something at `destination`; [`Error::Data`] when `info` can't be used with the data keys here;
    /// [`Error::Io`]; [`Error::Suspended`]; [`Error::Usage`].
    pub fn import_file(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
        info: FileInfo,
    ) -> Result<(), Error> {
        let (source, to) = (source.as_ref(), self.locate(destination.as_ref())?);
        let _span = observe::span!(DEBUG, "import_file", file = to.name.as_str());
        let _locks = self.name_locks.lock(&[&to]);
        self.settle(&to)?;
        fsops::expect_file(source)?;
        self.expect_nothing_at(&to)?;
        // What an entry vouches for must be on the disk.
        fsops::sync(&fsops::open(source, Access::Read)?, source)?;
        self.set_entry(&to, info)?;
        fsops::rename(source, &to.path).inspect_err(|_| self.forget_entries_of_missing(&to))
    }

    /// That a file can come to be there, durably.
    fn expect_nothing_at(&self, to: &Located) -> Result<(), Error> {
        if fsops::exists(&to.path)? {
            return Err(Error::AlreadyExists {
                path: to.path.clone(),
            });
        }
        self.directories.expect(fsops::parent(&to.path))?;
        self.directories.prove_absent(to, self.find(to).is_some())
    }
}
