//! Files whose content is replaced, so that an interruption leaves the old content or the new one.
//!
//! The dictionary and the file system can't change in one step, so the old and the new file stand under second names meanwhile, with
//! entries of their own. Whoever opens the directory next finishes or undoes what such names tell of: see `recovery`.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::Path;

use stillkey_core::FileInfo;
use zeroize::Zeroizing;

use super::super::place::Place;
use super::super::sync::Mutex;
use super::located::Located;
use super::{Change, DataKeyManager, FileKey, held};
use crate::error::Error;
use crate::file::{EncryptedReader, EncryptedWriter, implausible};
use crate::fsops::{self, Access, Output};
use crate::install;
use crate::observe;
use crate::provider::Native;

/// The ending of a file that is being written, and of one that is being replaced.
pub(super) const NEW: &str = ".stillkey-new";
pub(super) const OLD: &str = ".stillkey-old";

/// Both, in the order in which a reader that found no file looks for it.
pub(in super::super) const SECOND_NAMES: [&str; 2] = [OLD, NEW];

/// Bytes that are encrypted at a time.
const PIECE: usize = 256 << 10;

/// Whether an entry's name is one that a [`DataKeyManager`] gives while it replaces a file: what an interruption left, until the next
/// opening finishes or undoes it.
///
/// ```
/// assert!(stillkey::is_unfinished("letters/1.stillkey-new"));
/// assert!(!stillkey::is_unfinished("letters/1"));
/// ```
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(OLD)
}

/// The files that are being replaced, by their places.
#[derive(Debug, Default)]
pub(super) struct Replacing(Mutex<HashSet<Place>>);

/// The right to replace a file, until this is dropped.
#[derive(Debug)]
pub(super) struct Replacement<'r> {
    replacing: &'r Replacing,
    place: Place,
}

impl Replacing {
    /// Until the result is dropped, no other thread replaces the file.
    fn enter(&self, file: &Located) -> Result<Replacement<'_>, Error> {
        if held(&self.0).insert(file.place.clone()) {
            return Ok(Replacement {
                replacing: self,
                place: file.place.clone(),
            });
        }
        Err(busy(file, "another thread is replacing it"))
    }

    pub(super) fn has(&self, file: &Located) -> bool {
        held(&self.0).contains(&file.place)
    }

    /// That nothing below a directory is being replaced, which would lose its second names.
    pub(super) fn expect_none_below(&self, directory: &Located) -> Result<(), Error> {
        let is_below = |place: &Place| place.rest_below(&directory.place).is_some();
        if held(&self.0).iter().any(is_below) {
            return Err(busy(directory, "a file below it is being replaced"));
        }
        Ok(())
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        held(&self.replacing.0).remove(&self.place);
    }
}

impl DataKeyManager {
    /// Encrypts everything that `content` reads into a file, under the current data key and a fresh IV, and returns its length. A file that
    /// stands there already is replaced if `overwrite` is set, and stays readable until the new one is whole. Directories that are missing are made.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] and [`Error::NameTaken`] without `overwrite`; [`Error::Busy`] when the same file is being replaced already;
    /// [`Error::Usage`]; those of `content` and of [`Entries::new_entry`](crate::Entries::new_entry). The file is then as it was; after a failure past the point
    /// where the new one was durable, it is the new one.
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        content: &mut impl Read,
        overwrite: bool,
    ) -> Result<u64, Error> {
        let file = self.locate(path.as_ref())?;
        let _span = observe::span!(DEBUG, "write_file", file = file.name.as_str());
        if !overwrite {
            self.expect_free(&file)?;
        }
        let replacement = self.begin_replacement(&file)?;
        self.directories.create(fsops::parent(&file.path))?;
        self.replace(
            &replacement,
            &file,
            |new, path| copy(content, new, path),
            |_| {
                if overwrite {
                    Ok(())
                } else {
                    self.expect_free(&file)
                }
            },
        )
    }

    /// Encrypts a file anew: the same content under the current data key and a fresh IV. The file is only read meanwhile, and returned is its
    /// length; `Ok(None)`, and nothing changed, when the file was open for writing at any time meanwhile, or was changed otherwise.
    ///
    /// `progress` is told how many bytes have been read each time some have, and stops the work by returning `false`, which gives `Ok(None)`.
    ///
    /// # Errors
    /// Those of [`DataKeyManager::open_file`] and [`DataKeyManager::write_file`].
    pub fn rekey_file(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(u64) -> bool,
    ) -> Result<Option<u64>, Error> {
        let file = self.locate(path.as_ref())?;
        let _span = observe::span!(DEBUG, "rekey_file", file = file.name.as_str());
        self.expect_entry(&file)?;
        // First of all, so that an attempt that is refused leaves no trace on one that is at work.
        let replacement = self.begin_replacement(&file)?;
        let opened = fsops::open(&file.path, Access::Read)?;
        let before = fsops::identity(&opened, &file.path)?;
        let watch = self.writers.watch(before.id);
        let info = self.expect_entry(&file)?;
        if watch.saw_writer() {
            return Ok(None);
        }
        let key = self.entries.file_key(info.clone())?;
        // No farther than it reached: a file that grows must not keep this at work.
        let mut reader =
            EncryptedReader::new(&opened, key.stream(&Native::detect())).take(before.len);
        let stopped = Cell::new(false);
        let replaced = self.replace(
            &replacement,
            &file,
            |new, path| {
                let mut buffer = Zeroizing::new(vec![0; PIECE]);
                let mut copied = 0;
                loop {
                    let read = copy_piece(&mut reader, new, &mut buffer, path)?;
                    copied += read as u64;
                    observe::rekey_progress(read as u64);
                    if read == 0 {
                        let old = opened.metadata();
                        old.and_then(|old| install::adopt(new.inner().0, &old))
                            .map_err(Error::io(path, "take over owner and permissions of"))?;
                        return Ok(copied);
                    }
                    if !progress(read as u64) {
                        stopped.set(true);
                        return Err(busy(&file, "its re-encryption was stopped"));
                    }
                }
            },
            |current| {
                let no_writer = watch.keep_writers_waiting();
                let is_same = current == Some(&info)
                    && fsops::identity_at(&file.path)? == Some(before)
                    && fsops::identity(&opened, &file.path)? == before
                    && !watch.saw_writer();
                if is_same {
                    return Ok(no_writer);
                }
                stopped.set(true);
                Err(busy(&file, "it is being written"))
            },
        );
        let len = match replaced {
            Ok(len) => Some(len),
            Err(Error::Busy { .. }) if stopped.get() => None,
            Err(error) => return Err(error),
        };
        observe::rekeyed(len);
        Ok(len)
    }

    /// Takes the right to replace a file, and finishes or undoes what an interrupted replacement has left.
    fn begin_replacement(&self, file: &Located) -> Result<Replacement<'_>, Error> {
        if file.place.below_root().is_none() {
            return Err(Error::Usage(format!(
                "{}: only files below {} can be replaced, since no others are looked at after a crash; copy it there first",
                file.path.display(),
                self.directory().display()
            )));
        }
        let replacement = self.replacing.enter(file)?;
        let _locks = self.name_locks.lock(&[file]);
        self.recover_file(file)?;
        Ok(replacement)
    }

    /// Writes a new file by `write`, and puts it in the place of the old one if `may_switch`, which gets the old one's entry, then still allows it.
    /// What that returns is kept until it is done.
    fn replace<G>(
        &self,
        _replacement: &Replacement<'_>,
        file: &Located,
        write: impl FnOnce(&mut EncryptedWriter<Output<'_>>, &Path) -> Result<u64, Error>,
        may_switch: impl FnOnce(Option<&FileInfo>) -> Result<G, Error>,
    ) -> Result<u64, Error> {
        let written = self.write_new(file, write).and_then(|(key, len)| {
            let _locks = self.name_locks.lock(&[file]);
            let _permit = may_switch(self.find(file).as_ref().map(|(_, info)| info))?;
            self.switch(file, &key)?;
            Ok(len)
        });
        if written.is_err() {
            let _locks = self.name_locks.lock(&[file]);
            // What this can't finish or undo now, the next change of the file does, or the next opening.
            let _ = self.recover_file(file);
        }
        written
    }

    fn write_new(
        &self,
        file: &Located,
        write: impl FnOnce(&mut EncryptedWriter<Output<'_>>, &Path) -> Result<u64, Error>,
    ) -> Result<(FileKey, u64), Error> {
        let new = file.with_ending(NEW);
        let key = self.entries.new_entry(&new.name)?;
        // A file there has lost its entry, so nothing can read it any more.
        fsops::unlink(&new.path)?;
        let created = fsops::create_new(&new.path)?;
        let mut writer = EncryptedWriter::new(Output(&created), key.stream(&Native::detect()));
        let len = write(&mut writer, &new.path)?;
        writer.flush().map_err(Error::io(&new.path, "write"))?;
        fsops::sync(&created, &new.path)?;
        fsops::sync_parent(&new.path)?;
        Ok((key, len))
    }

    /// Puts a new file, which is whole, in the place of the old one. The change of the file's entry decides:
    /// an interruption before it is undone, one after it is finished.
    fn switch(&self, file: &Located, key: &FileKey) -> Result<(), Error> {
        let (new, old) = (file.with_ending(NEW), file.with_ending(OLD));
        let replaced = self.find(file);
        if fsops::exists(&file.path)? {
            // Without an entry it stays without one if this is undone; the second name needs some.
            let info = replaced.as_ref().map(|(_, info)| info.clone());
            let info = info.unwrap_or_else(|| FileInfo::plaintext(key.info().key_id));
            self.set_entry(&old, info)?;
            fsops::rename(&file.path, &old.path)?;
        } else {
            self.directories.prove_absent(file, replaced.is_some())?;
        }
        // The file keeps the name that it has.
        let name = replaced.map_or_else(|| file.name.clone(), |(name, _)| name);
        let file = Located {
            name,
            ..file.clone()
        };
        self.set_entry(&file, key.info().clone())?;
        fsops::rename(&new.path, &file.path)?;
        self.end_replacement(&file)
    }

    /// After a switch: removes what was replaced, and then the entries that told of it.
    pub(super) fn end_replacement(&self, file: &Located) -> Result<(), Error> {
        let (new, old) = (file.with_ending(NEW), file.with_ending(OLD));
        if self.find(&old).is_some() {
            fsops::remove(&old.path)?;
        }
        let entries = [&new, &old].map(|file| self.entries.at(&file.place, &file.name));
        let names = entries.into_iter().flatten().map(|(name, _)| name);
        self.entries
            .change_all(names.map(|name| (name, Change::Remove)))
    }

    fn expect_entry(&self, file: &Located) -> Result<FileInfo, Error> {
        match self.find(file) {
            Some((_, info)) => Ok(info),
            None => Err(self.without_entry(file)),
        }
    }

    fn expect_free(&self, file: &Located) -> Result<(), Error> {
        if fsops::exists(&file.path)? {
            return Err(Error::AlreadyExists {
                path: file.path.clone(),
            });
        }
        match self.find(file) {
            Some((name, _)) => Err(Error::NameTaken {
                path: self.layout().file_dict.clone(),
                name,
            }),
            None => Ok(()),
        }
    }
}

fn busy(file: &Located, why: &'static str) -> Error {
    Error::Busy {
        path: file.path.clone(),
        why,
    }
}

/// Copies to the file at `path`, and tells what couldn't be read from what couldn't be written.
fn copy(from: &mut impl Read, to: &mut impl Write, path: &Path) -> Result<u64, Error> {
    let mut buffer = Zeroizing::new(vec![0; PIECE]);
    let mut copied = 0;
    loop {
        match copy_piece(from, to, &mut buffer, path)? {
            0 => return Ok(copied),
            read => copied += read as u64,
        }
    }
}

/// Copies what one reading gives, and returns its length; 0 at the end.
fn copy_piece(
    from: &mut impl Read,
    to: &mut impl Write,
    buffer: &mut [u8],
    path: &Path,
) -> Result<usize, Error> {
    loop {
        match from.read(buffer) {
            Ok(read) => {
                let bytes = buffer.get(..read).ok_or_else(implausible);
                let bytes = bytes.map_err(Error::io(path, "read what is to be written to it"))?;
                to.write_all(bytes).map_err(Error::io(path, "write"))?;
                return Ok(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, "read what is to be written to it")(error)),
        }
    }
}
