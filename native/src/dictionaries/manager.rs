//! The writer of a dictionary directory, shared by the threads of a storage engine.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use stillkey_core::error::NotFound;
use stillkey_core::{
    DataKey, FileDictionary, FileInfo, FileLog, KeyDictionary, MasterKey, Method, Record,
    RotationPolicy, RotationReason,
};

use super::group::Group;
use super::lock::Lock;
use super::log_file::LogFile;
use super::sealed_keys::SealedKeys;
use super::writer::{DictionaryWriter, check_protection};
use super::{FileKey, Layout};
use crate::error::Error;

/// Changes the dictionaries of a directory for many threads at once, whose lock it holds for as long as it lives.
///
/// When a method returns, its change is durable; when it fails, the change hasn't happened. Changes that are asked for at the same time share
/// a write and a sync. Looking a file up never waits for the disk.
///
/// As with [`DictionaryWriter`], keep the order that makes crashes harmless: entry before file, file before the removal of its entry.
///
/// ```
/// use stillkey::core::{MasterKey, Method, RawMasterKey};
/// use stillkey::{DataKeyManager, DictionaryWriter, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
/// let writer = DictionaryWriter::create(directory, &master_key, Method::Aes256Ctr, unix_now())?;
/// let manager = DataKeyManager::from(writer);
/// std::thread::scope(|scope| {
///     for name in ["1.log", "2.log", "3.log"] {
///         let manager = &manager;
///         scope.spawn(move || manager.new_file(name));
///     }
/// });
/// assert!(manager.file("2.log").is_ok());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DataKeyManager {
    layout: Layout,
    /// Held while `key.dict` is written.
    sealed_keys: Mutex<SealedKeys>,
    /// What `sealed_keys` holds, for those who must not wait for it.
    keys: RwLock<KeyRing>,
    /// What is durable. Written only by whoever holds `log_file`, and never while the disk is busy.
    log: RwLock<FileLog>,
    /// Held while `file.dict` is written.
    log_file: Mutex<LogFile>,
    group: Group<Request, Result<Option<FileInfo>, Error>>,
    changes: AtomicU64,
    writes: AtomicU64,
    _lock: Lock,
}

/// How often `file.dict` was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commits {
    /// Changes that were made durable.
    pub changes: u64,
    /// Writes, each with one sync, that took. Fewer than changes where threads came together.
    pub writes: u64,
}

#[derive(Debug)]
struct Request {
    name: Box<str>,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// Sets the entry.
    Insert(FileInfo),
    /// Removes the entry, if there is one.
    Remove,
    /// Sets the entry to that of another file, unless it has another already.
    Link { source: Box<str> },
}

impl From<DictionaryWriter> for DataKeyManager {
    fn from(writer: DictionaryWriter) -> Self {
        let (layout, sealed_keys, journal, lock) = writer.into_parts();
        let (log_file, log) = journal.into_parts();
        Self {
            layout,
            keys: RwLock::new(KeyRing::new(&sealed_keys)),
            sealed_keys: Mutex::new(sealed_keys),
            log: RwLock::new(log),
            log_file: Mutex::new(log_file),
            group: Group::new(),
            changes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            _lock: lock,
        }
    }
}

impl DataKeyManager {
    /// Opens the dictionaries of a directory, as [`DictionaryWriter::open`] does.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::open`].
    pub fn open(directory: impl AsRef<Path>, master_key: &MasterKey) -> Result<Self, Error> {
        DictionaryWriter::open(directory, master_key).map(Self::from)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// The data keys, as they are now.
    pub fn keys(&self) -> Arc<KeyDictionary> {
        Arc::clone(&self.key_ring().dictionary)
    }

    fn key_ring(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_key(&self, info: &FileInfo) -> Result<FileKey, Error> {
        let key = self.key_ring().data_key(info);
        self.layout.file_key_with(info, key)
    }

    /// How many files have an entry.
    pub fn len(&self) -> usize {
        self.log().dictionary().len()
    }

    /// Whether no file has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often `file.dict` was written since this was opened.
    pub fn commits(&self) -> Commits {
        Commits {
            changes: self.changes.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    /// How a file is encrypted. The name must be spelled as in the dictionary, byte by byte. Never waits for the disk.
    ///
    /// # Errors
    /// [`Error::Data`]: no entry (such a file is *not* taken for plaintext), no data key of that id, an unusable entry.
    pub fn file(&self, name: &str) -> Result<FileKey, Error> {
        let info = self.log().dictionary().get(name).cloned();
        let info = info.map_err(Error::data(&self.layout.file_dict))?;
        // Keys after the entry: they only become more.
        self.file_key(&info)
    }

    /// Gives a file that is about to be written a new random IV under the current data key; an entry of the same name is replaced. The key
    /// recorded is the key returned, whatever is rotated meanwhile.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::new_file`].
    pub fn new_file(&self, name: &str) -> Result<FileKey, Error> {
        let info = self.layout.new_info(&self.keys())?;
        let key = self.file_key(&info)?;
        self.submit(name, Change::Insert(info))?;
        Ok(key)
    }

    /// Sets the entry of a file that was encrypted elsewhere, and returns how to read it. An entry of the same name is replaced.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::insert`].
    pub fn insert(&self, name: &str, info: FileInfo) -> Result<FileKey, Error> {
        let key = self.file_key(&info)?;
        self.submit(name, Change::Insert(info))?;
        Ok(key)
    }

    /// Removes an entry and returns it; `None`, and nothing written, when there is none. Remove the file first.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::remove`].
    pub fn remove(&self, name: &str) -> Result<Option<FileInfo>, Error> {
        self.submit(name, Change::Remove)
    }

    /// Gives `destination` the entry of `source`: before a file is renamed, or linked. Both then share key *and IV*, so neither may be
    /// written again while the other is kept.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::link`].
    pub fn link(&self, source: &str, destination: &str) -> Result<(), Error> {
        let source = source.into();
        self.submit(destination, Change::Link { source }).map(drop)
    }

    /// Makes a new data key for new files if one is due by `policy`, and returns why. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotation_due`] and [`DictionaryWriter::rotate_data_key`].
    pub fn rotate_if_due(
        &self,
        policy: &RotationPolicy,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        let is_secure = sealed_keys.master_key().is_secure();
        let due = sealed_keys.keys().rotation_due(policy, is_secure, now);
        let due = due.map_err(Error::data(&self.layout.key_dict))?;
        if due.is_some() {
            self.rotate(&mut sealed_keys, policy.method, now)?;
        }
        Ok(due)
    }

    /// Makes a new data key for new files, and returns its id. Old keys and files stay as they are, and files go on being created meanwhile.
    /// `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotate_data_key`].
    pub fn rotate_data_key(&self, method: Method, now: u64) -> Result<u64, Error> {
        self.rotate(&mut held(&self.sealed_keys), method, now)
    }

    fn rotate(&self, sealed_keys: &mut SealedKeys, method: Method, now: u64) -> Result<u64, Error> {
        check_protection(method, sealed_keys.master_key())?;
        let id = sealed_keys.rotate(method, now)?;
        self.publish(sealed_keys);
        Ok(id)
    }

    /// Seals the data keys under another master key, while files go on being created. The old one is dropped once that is durable.
    ///
    /// # Errors
    /// Those of [`DictionaryWriter::rotate_master_key`]; keep the old master key in that case.
    pub fn rotate_master_key(&self, master_key: &MasterKey) -> Result<(), Error> {
        let mut sealed_keys = held(&self.sealed_keys);
        sealed_keys.rotate_master_key(master_key)?;
        self.publish(&sealed_keys);
        Ok(())
    }

    /// Only what is durable: a key that new files use must outlive them.
    fn publish(&self, sealed_keys: &SealedKeys) {
        let keys = KeyRing::new(sealed_keys);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Rewrites `file.dict` without the log records that have been superseded. Files are looked up meanwhile, but not changed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Suspended`].
    pub fn compact(&self) -> Result<(), Error> {
        let mut log_file = held(&self.log_file);
        let bytes = {
            let log = self.log();
            log.dictionary().to_bytes(log.version())
        };
        log_file.replace(&bytes)?;
        self.change_log(FileLog::compacted);
        Ok(())
    }

    fn submit(&self, name: &str, change: Change) -> Result<Option<FileInfo>, Error> {
        let name = name.into();
        let outcome = self
            .group
            .submit(Request { name, change }, |batch| self.commit(&batch));
        outcome.unwrap_or_else(|| {
            Err(Error::Suspended {
                path: self.layout.file_dict.clone(),
                why: "a thread panicked while it wrote the file".into(),
            })
        })
    }

    /// Makes a batch of changes durable. All of them fail together, but for those that can't be done in the first place.
    fn commit(&self, batch: &[Request]) -> Vec<Result<Option<FileInfo>, Error>> {
        let mut log_file = held(&self.log_file);
        let mut outcomes = Vec::with_capacity(batch.len());
        let written = {
            let log = self.log();
            let mut ahead = Ahead::new(log.dictionary());
            for request in batch {
                outcomes.push(ahead.add(request, &self.layout));
            }
            let records = ahead.records;
            if records.is_empty() {
                return outcomes;
            }
            let write = log.prepare_all(&records);
            let write = write.map_err(Error::data(&self.layout.file_dict));
            write
                .and_then(|write| log_file.write(&write, &log))
                .map(|()| records)
        };
        match written {
            Ok(records) => {
                self.changes
                    .fetch_add(records.len() as u64, Ordering::Relaxed);
                self.writes.fetch_add(1, Ordering::Relaxed);
                self.change_log(|log| records.into_iter().for_each(|record| log.commit(record)));
            }
            Err(error) => {
                for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                    *outcome = Err(error.repeated());
                }
            }
        }
        let compaction = self.log().compaction();
        if let Some(bytes) = compaction {
            // The changes are durable with or without it. A failed compaction is due again after the next change.
            if log_file.replace(&bytes).is_ok() {
                self.change_log(FileLog::compacted);
            }
        }
        outcomes
    }

    fn log(&self) -> RwLockReadGuard<'_, FileLog> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_log(&self, change: impl FnOnce(&mut FileLog)) {
        change(&mut self.log.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The data keys, ready to be handed out without a copy.
#[derive(Debug)]
struct KeyRing {
    dictionary: Arc<KeyDictionary>,
    ready: BTreeMap<u64, Arc<DataKey>>,
}

impl KeyRing {
    fn new(sealed_keys: &SealedKeys) -> Self {
        let dictionary = sealed_keys.keys().duplicate();
        let ready = dictionary.iter().filter_map(|(id, entry)| {
            let key = dictionary.data_key(id, entry.method).ok().flatten()?;
            Some((id, Arc::new(key)))
        });
        Self {
            ready: ready.collect(),
            dictionary: Arc::new(dictionary),
        }
    }

    /// The key for a file; `None` for one in plaintext.
    fn data_key(&self, info: &FileInfo) -> Result<Option<Arc<DataKey>>, stillkey_core::Error> {
        match self.ready.get(&info.key_id) {
            Some(key) if info.method == key.cipher().method().into() => Ok(Some(Arc::clone(key))),
            // A file's method may differ from its key's; and an error should say what is wrong.
            _ => {
                let key = self.dictionary.data_key(info.key_id, info.method)?;
                Ok(key.map(Arc::new))
            }
        }
    }
}

/// The dictionary as it will be after the changes of a batch.
struct Ahead<'d, 'r> {
    durable: &'d FileDictionary,
    /// The entries that change; `None` for those that go.
    changed: HashMap<&'r str, Option<FileInfo>>,
    /// What to write.
    records: Vec<Record<'r>>,
}

impl<'d, 'r> Ahead<'d, 'r> {
    fn new(durable: &'d FileDictionary) -> Self {
        Self {
            durable,
            changed: HashMap::new(),
            records: Vec::new(),
        }
    }

    fn find(&self, name: &str) -> Option<&FileInfo> {
        match self.changed.get(name) {
            Some(changed) => changed.as_ref(),
            None => self.durable.find(name),
        }
    }

    /// Adds a change if it can be done, and returns the entry that it replaces.
    fn add(&mut self, request: &'r Request, layout: &Layout) -> Result<Option<FileInfo>, Error> {
        let file_dict = Error::data(&layout.file_dict);
        let name = &*request.name;
        let previous = self.find(name).cloned();
        let info = match &request.change {
            Change::Insert(info) => Some(info.clone()),
            Change::Remove if previous.is_none() => return Ok(None),
            Change::Remove => None,
            Change::Link { source } => {
                let absent = || file_dict(NotFound::File(source.to_string()).into());
                let info = self.find(source).cloned().ok_or_else(absent)?;
                match &previous {
                    Some(there) if *there == info => return Ok(previous),
                    Some(_) => {
                        return Err(Error::NameTaken {
                            path: layout.file_dict.clone(),
                            name: name.into(),
                        });
                    }
                    None => Some(info),
                }
            }
        };
        let record = match info.clone() {
            Some(info) => Record::Insert { name, info },
            None => Record::Remove { name },
        };
        // A name that is too long fails here, alone, and not with the whole batch.
        record.to_bytes().map_err(file_dict)?;
        self.records.push(record);
        self.changed.insert(name, info);
        Ok(previous)
    }
}

/// A panic can't leave what the mutexes here protect half done: it is taken over in one step, at the end.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use stillkey_core::Reading;
    use tempfile::TempDir;

    use super::super::Dictionaries;
    use super::*;
    use crate::error::ErrorKind;
    use crate::fsops::{Op, fault};
    use crate::testing::master_key;

    const NOW: u64 = 1_700_000_000;

    fn manager() -> (TempDir, DataKeyManager) {
        let directory = tempfile::tempdir().unwrap();
        let writer =
            DictionaryWriter::create(&directory, &master_key(1), Method::Aes256Ctr, NOW).unwrap();
        (directory, writer.into())
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let read = Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap();
        let files = read.files().unwrap();
        files.iter().map(|(name, _)| name.to_owned()).collect()
    }

    fn request(name: &str, change: Change) -> Request {
        Request {
            name: name.into(),
            change,
        }
    }

    fn insert(name: &str) -> Request {
        request(name, Change::Insert(FileInfo::plaintext(1)))
    }

    fn link(source: &str, name: &str) -> Request {
        request(
            name,
            Change::Link {
                source: source.into(),
            },
        )
    }

    #[test]
    fn each_change_of_a_batch_sees_those_before_it_and_all_are_one_write() {
        let (directory, manager) = manager();
        let batch = [
            insert("a"),
            link("a", "b"),
            request("a", Change::Remove),
            link("a", "c"),
            insert("d"),
            link("b", "d"),
        ];
        let outcomes = manager.commit(&batch).into_iter();
        let kinds: Vec<_> = outcomes
            .map(|outcome| outcome.err().map(|error| error.kind()))
            .collect();
        let expected = [None, None, None, Some(ErrorKind::NotFound), None, None];
        assert_eq!(kinds, expected, "d has an entry equal to b's");
        assert_eq!(names(&directory), ["b", "d"]);
        let commits = manager.commits();
        assert_eq!((commits.changes, commits.writes), (4, 1));
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        let (_directory, manager) = manager();
        manager.new_file("a").unwrap();
        manager.link("a", "b").unwrap();
        let before = manager.commits();
        manager.link("a", "b").unwrap();
        assert_eq!(manager.remove("c").unwrap(), None);
        assert_eq!(manager.commits(), before);
    }

    #[test]
    fn a_change_that_cannot_be_done_fails_alone() {
        let (directory, manager) = manager();
        manager.new_file("taken").unwrap();
        let long = "n".repeat(65_536);
        let batch = [insert("a"), insert(&long), link("a", "taken"), insert("b")];
        let outcomes = manager.commit(&batch);
        let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, true, false]);
        assert_eq!(names(&directory), ["a", "b", "taken"]);
    }

    #[test]
    fn a_batch_that_does_not_get_durable_has_not_happened_for_anyone() {
        for op in [Op::Append, Op::Sync] {
            let (directory, manager) = manager();
            manager.new_file("a").unwrap();
            fault::fail_next(op);
            let outcomes =
                manager.commit(&[insert("b"), request("a", Change::Remove), insert("c")]);
            for outcome in outcomes {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Io, "{op:?}");
            }
            assert_eq!(names(&directory), ["a"]);
            assert!(manager.file("a").is_ok() && manager.file("b").is_err());
            manager.new_file("d").unwrap();
            assert_eq!(names(&directory), ["a", "d"]);
        }
    }

    #[test]
    fn wherever_the_disk_fails_what_was_acknowledged_stays_and_the_rest_has_not_happened() {
        for step in 0.. {
            let (directory, manager) = manager();
            manager.new_file("a").unwrap();
            manager.new_file("b").unwrap();
            let mut expected = vec!["a", "b"];
            fault::fail_from(step);
            if manager.new_file("c").is_ok() {
                expected.push("c");
            }
            if manager.remove("a").is_ok() {
                expected.remove(0);
            }
            if manager.link("b", "d").is_ok() {
                expected.push("d");
            }
            let rotated = manager.rotate_data_key(Method::Sm4Ctr, NOW);
            let compacted = manager.compact();
            let reached = fault::heal();

            let seen = |name: &str| manager.file(name).is_ok();
            assert!(expected.iter().all(|name| seen(name)), "{step}");
            manager.new_file("e").unwrap();
            expected.push("e");
            assert_eq!(names(&directory), expected, "{step}");
            drop(manager);
            let again = DataKeyManager::open(&directory, &master_key(1)).unwrap();
            for name in expected {
                again.file(name).unwrap();
            }
            if !reached {
                assert!(rotated.is_ok() && compacted.is_ok());
                assert!(step > 8, "the disk was asked for something");
                return;
            }
        }
    }

    #[test]
    fn a_look_up_does_not_wait_for_the_disk() {
        let (_directory, manager) = manager();
        manager.new_file("a").unwrap();
        let busy = held(&manager.log_file);
        thread::scope(|scope| {
            let waits = scope.spawn(|| manager.new_file("b"));
            // Whether it waits for the disk already or not: this doesn't.
            assert!(manager.file("a").is_ok());
            assert!(manager.file("b").is_err(), "not durable yet");
            drop(busy);
            waits.join().unwrap().unwrap();
            assert!(manager.file("b").is_ok());
        });
    }

    #[test]
    fn the_key_handed_out_is_the_key_recorded_while_keys_and_master_keys_are_rotated() {
        const THREADS: usize = 16;
        let (directory, manager) = manager();
        let handed_out: Vec<_> = thread::scope(|scope| {
            let creating: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let manager = &manager;
                    scope.spawn(move || {
                        let mut files = Vec::new();
                        for i in 0..30 {
                            let (name, renamed) =
                                (format!("{thread}/{i}"), format!("r/{thread}/{i}"));
                            let key = manager.new_file(&name).unwrap();
                            match i % 3 {
                                0 => files.push((name, key)),
                                1 => {
                                    manager.link(&name, &renamed).unwrap();
                                    manager.remove(&name).unwrap();
                                    files.push((renamed, key));
                                }
                                _ => assert!(manager.remove(&name).unwrap().is_some()),
                            }
                        }
                        files
                    })
                })
                .collect();
            let rotating = scope.spawn(|| {
                for byte in 2..12 {
                    manager.rotate_data_key(Method::Aes128Ctr, NOW).unwrap();
                    manager.rotate_master_key(&master_key(byte)).unwrap();
                    manager.compact().unwrap();
                }
            });
            rotating.join().unwrap();
            let creating = creating.into_iter();
            creating.flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(manager.len(), handed_out.len());
        drop(manager);
        let read = Dictionaries::read(&directory, &master_key(11), Reading::Strict).unwrap();
        assert_eq!(read.files().unwrap().len(), handed_out.len());
        for (name, key) in handed_out {
            let recorded = read.file(&name).unwrap();
            assert_eq!(recorded.info(), key.info(), "{name}");
            assert_eq!(recorded.data_key(), key.data_key(), "{name}");
        }
    }

    #[test]
    fn a_data_key_is_rotated_when_it_is_due_and_not_before() {
        let (_directory, manager) = manager();
        let policy = RotationPolicy {
            method: Method::Aes256Ctr,
            ..RotationPolicy::default()
        };
        let first = manager.keys().current_key_id();
        assert_eq!(manager.rotate_if_due(&policy, NOW).unwrap(), None);
        let late = NOW + 7 * 24 * 3600;
        let reason = manager.rotate_if_due(&policy, late).unwrap();
        assert!(reason.is_some());
        assert_ne!(manager.keys().current_key_id(), first);
        assert_eq!(manager.rotate_if_due(&policy, late).unwrap(), None);
    }
}
