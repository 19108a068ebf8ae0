//! A directory whose threads follow scripts, under a schedule, and what must be so afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use shuttle::rand::RngCore;
use shuttle::thread;
use stillkey_core::{
    Cipher, CtrStream, DataKey, FileInfo, Iv, MasterKey, Method, Reading, SecretBytes,
};
use tempfile::TempDir;

use super::super::super::*;
use super::super::NOW;
use super::history::{Act, Byte, Found, Model, Name, Operation, Outcome, explains};
use crate::dictionaries::Dictionaries;
use crate::error::ErrorKind;
use crate::testing::disk::{Disk, Recording, State, record};
use crate::testing::master_key;
use crate::testing::schedules::explore;

/// The length of files.
pub(super) const LEN: usize = 40;

/// What [`Act::Import`] takes in, and what that holds.
const FOREIGN: &str = "foreign";
pub(super) const FOREIGN_BYTE: Byte = 200;

/// A directory before threads come, and what they do there.
#[derive(Clone)]
pub(super) struct Scene {
    state: Arc<State>,
    model: Arc<Model>,
    /// Every name that a file may get.
    names: &'static [Name],
    before: &'static [Act],
    scratch: Arc<TempDir>,
}

impl Scene {
    pub(super) fn new(
        files: &[(Name, Byte)],
        directories: &[Name],
        names: &'static [Name],
    ) -> Self {
        // In memory where there is such a file system.
        let scratch = tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir());
        let scratch = scratch.unwrap();
        let root = scratch.path().join("at first");
        fs::create_dir(&root).unwrap();
        for directory in directories {
            fs::create_dir(root.join(directory)).unwrap();
        }
        let manager = super::super::new_store(&root);
        for (name, byte) in files {
            super::super::write(&manager, name, &[*byte; LEN]);
            // No two files have the same key.
            let entries = manager.entries();
            entries.rotate_data_key(Method::Aes256Ctr, NOW).unwrap();
        }
        drop(manager);
        let mut foreign = [FOREIGN_BYTE; LEN];
        let stream = CtrStream::new(&foreign_key(), Iv::new([9; 16]));
        stream.apply_at(0, &mut foreign).unwrap();
        fs::write(root.join(FOREIGN), foreign).unwrap();
        Self {
            state: Arc::new(State::of(&root)),
            model: Arc::new(Model::new(files, directories)),
            names,
            before: &[],
            scratch: Arc::new(scratch),
        }
    }

    /// What is done before the threads come, by a thread that none of them is.
    pub(super) fn after(mut self, before: &'static [Act]) -> Self {
        self.before = before;
        self
    }

    /// Lets threads follow these scripts under so many schedules, and looks into what comes of it.
    pub(super) fn explore(self, schedules: usize, scripts: &'static [&'static [Act]]) {
        self.explore_each(schedules, move || {
            scripts.iter().map(|acts| acts.to_vec()).collect()
        });
    }

    /// As [`Scene::explore`], with scripts that are made for each schedule.
    pub(super) fn explore_each(
        self,
        schedules: usize,
        scripts: impl Fn() -> Vec<Vec<Act>> + Send + Sync + Clone + 'static,
    ) {
        explore(schedules, move || World::new(&self).play(&scripts()));
    }
}

fn foreign_key() -> DataKey {
    DataKey::new(Cipher::Aes128, SecretBytes::new(vec![7; 16])).unwrap()
}

fn key() -> MasterKey {
    master_key(1)
}

fn open(root: &Path) -> DataKeyManager {
    let manager = DataKeyManager::open(root, &key());
    manager.unwrap_or_else(|error| panic!("it doesn't open: {error}"))
}

/// What has happened, with how many events of the disk had come before each beginning, and before
/// each end.
#[derive(Debug, Default)]
struct History {
    moments: usize,
    operations: Vec<(Operation, usize, usize)>,
}

struct World<'s> {
    scene: &'s Scene,
    root: PathBuf,
    recording: Option<Recording>,
    manager: Option<DataKeyManager>,
    history: Mutex<History>,
}

impl<'s> World<'s> {
    fn new(scene: &'s Scene) -> Self {
        let root = scene.scratch.path().join("directory");
        // A schedule that failed has left it.
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).unwrap();
        scene.state.materialise(&root);
        let recording = record(&root, &scene.state, false);
        Self {
            scene,
            manager: Some(open(&root)),
            root,
            recording: Some(recording),
            history: Mutex::default(),
        }
    }

    fn manager(&self) -> &DataKeyManager {
        self.manager.as_ref().unwrap()
    }

    fn play(mut self, scripts: &[Vec<Act>]) {
        let world = &self;
        world.follow(scripts.len(), world.scene.before);
        thread::scope(|scope| {
            for (number, script) in scripts.iter().enumerate() {
                scope.spawn(move || world.follow(number, script));
            }
        });
        self.expect_sound();
        let found = self.find();
        self.expect_explained(&self.operations(), Some(&found), "after all");
        self.manager = None;
        self.expect_readable();
        let disk = self.recording.take().unwrap().stop();
        self.manager = Some(open(&self.root));
        assert_eq!(self.find(), found, "opened again");
        self.fail_power(&disk);
    }

    fn follow(&self, thread: usize, script: &[Act]) {
        let mut actor = Actor {
            world: self,
            open: None,
            elsewhere: Dictionaries::read(&self.root, &key(), Reading::Strict).unwrap(),
        };
        for act in script {
            let needs_file = matches!(act, Act::Write(_) | Act::Read | Act::Close);
            if needs_file && actor.open.is_none() {
                continue;
            }
            let number = self.begin(thread, *act);
            let outcome = actor.perform(*act);
            self.end(number, outcome);
        }
    }

    fn events(&self) -> usize {
        self.recording.as_ref().unwrap().len()
    }

    fn begin(&self, thread: usize, act: Act) -> usize {
        let mut history = self.history.lock().unwrap();
        let began = history.moments;
        history.moments += 1;
        let operation = Operation {
            thread,
            act,
            began,
            ended: None,
        };
        history
            .operations
            .push((operation, self.events(), usize::MAX));
        history.operations.len() - 1
    }

    fn end(&self, number: usize, outcome: Outcome) {
        let mut history = self.history.lock().unwrap();
        let ended = history.moments;
        history.moments += 1;
        let events = self.events();
        let (operation, _, last_event) = &mut history.operations[number];
        operation.ended = Some((ended, outcome));
        *last_event = events;
    }

    fn operations(&self) -> Vec<Operation> {
        let history = self.history.lock().unwrap();
        let operations = history.operations.iter();
        operations.map(|(operation, ..)| *operation).collect()
    }

    fn expect_explained(&self, operations: &[Operation], found: Option<&Found>, when: &str) {
        if !explains(&self.scene.model, operations, found) {
            let operations: Vec<_> = operations.iter().map(|one| format!("{one:?}\n")).collect();
            panic!(
                "{when}: no order explains {found:?} after\n{}",
                operations.concat()
            );
        }
    }

    /// Every file with its content.
    fn find(&self) -> Found {
        let found =
            self.scene
                .names
                .iter()
                .filter_map(|name| match read(self.manager().open_file(name)) {
                    Outcome::Content(byte) => Some((*name, byte)),
                    Outcome::NotFound => None,
                    other => panic!("{name}: {other:?}"),
                });
        found.collect()
    }

    /// That entries and files go together, and nothing is left of a replacement.
    fn expect_sound(&self) {
        let mut mismatches = self.manager().mismatches().unwrap();
        let files = &mut mismatches.files_without_entry;
        files.retain(|path| *path != self.root.join(FOREIGN));
        assert_eq!(mismatches, Mismatches::default());
        let unfinished = self.manager().entries().survey(|files| {
            let names = files.unsorted().map(|(name, _)| name.to_owned());
            names.filter(|name| is_unfinished(name)).collect::<Vec<_>>()
        });
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }

    /// That another process finds the key of every entry.
    fn expect_readable(&self) {
        let read = Dictionaries::read(&self.root, &key(), Reading::Strict).unwrap();
        for (name, _) in read.files().unwrap().iter() {
            let found = read.file(name);
            found.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// What a power failure would have left at one moment of it.
    fn fail_power(mut self, disk: &Disk) {
        let mut random = shuttle::rand::thread_rng();
        let mut below = |end: usize| usize::try_from(random.next_u64() % end as u64).unwrap();
        let events = below(disk.len() + 1);
        let left = disk.doubtful_after(events).survivor(&mut below);
        self.manager = None;
        fs::remove_dir_all(&self.root).unwrap();
        fs::create_dir(&self.root).unwrap();
        left.materialise(&self.root);
        self.manager = Some(open(&self.root));
        // What crashed may leave an entry without a file, never the reverse.
        let files = self.manager().mismatches().unwrap().files_without_entry;
        let ours = files.iter().filter(|path| !path.ends_with(FOREIGN));
        assert_eq!(ours.count(), 0, "{files:?}");
        let history = self.history.lock().unwrap();
        let before = history
            .operations
            .iter()
            .filter(|(_, began, _)| *began <= events);
        let operations: Vec<_> = before
            .map(|(operation, _, last_event)| Operation {
                ended: operation.ended.filter(|_| *last_event <= events),
                ..*operation
            })
            .collect();
        drop(history);
        let found = self.find_after_power_failure(&operations);
        self.expect_explained(&operations, Some(&found), "after a power failure");
    }

    /// As [`World::find`], where what was being written may hold anything.
    fn find_after_power_failure(&self, operations: &[Operation]) -> Found {
        let is_writing = |operation: &Operation| {
            operation.ended.is_none() && matches!(operation.act, Act::Write(_))
        };
        let may_be_torn = operations.iter().any(is_writing);
        let found =
            self.scene
                .names
                .iter()
                .filter_map(|name| match read(self.manager().open_file(name)) {
                    Outcome::Content(byte) => Some((*name, byte)),
                    Outcome::Garbage if may_be_torn => Some((*name, Byte::MAX)),
                    Outcome::NotFound => None,
                    other => {
                        panic!("after a power failure: {name}: {other:?} after {operations:?}")
                    }
                });
        found.collect()
    }
}

/// A thread.
struct Actor<'w> {
    world: &'w World<'w>,
    open: Option<ManagedFile>,
    elsewhere: Dictionaries,
}

impl Actor<'_> {
    fn perform(&mut self, act: Act) -> Outcome {
        use Act::*;
        let manager = self.world.manager();
        let entries = manager.entries();
        match act {
            Create(name) => self.keep(manager.create_file(name)),
            CreateNew(name) => self.keep(manager.create_new_file(name)),
            OpenToWrite(name) => self.keep(manager.open_file_writable(name)),
            Open(name) => self.keep(manager.open_file(name)),
            Write(byte) => {
                let file = self.open.as_ref().unwrap().file();
                file.write_all_at(&[byte; LEN], 0).unwrap();
                file.sync().unwrap();
                Outcome::Done
            }
            Close => {
                self.open = None;
                Outcome::Done
            }
            Read => read_open(self.open.as_ref().unwrap().file()),
            ReadElsewhere(name) => match self.elsewhere.open_file(name) {
                Ok((file, key)) => {
                    let stream = key.stream(&crate::Native::detect());
                    read_open(&crate::EncryptedFile::new(file, stream))
                }
                Err(error) => refused(&error),
            },
            Overwrite(name, byte) => done(manager.write_file(name, &mut &[byte; LEN][..], true)),
            Rekey(name) => match manager.rekey_file(name, |_| true) {
                Ok(None) => Outcome::Busy,
                rekeyed => done(rekeyed),
            },
            Rename(from, to) => done(manager.rename_file(from, to)),
            Link(from, to) => done(manager.link_file(from, to)),
            Delete(name) => done(manager.delete_file(name)),
            MoveDirectory(from, to) => done(manager.rename_directory(from, to)),
            DeleteDirectory(name) => done(manager.delete_directory(name)),
            RotateDataKey => done(entries.rotate_data_key(Method::Aes256Ctr, NOW)),
            Retire => done(entries.retire_keys(0, NOW)),
            Restore => done(entries.restore_keys()),
            Compact => done(entries.compact()),
            Import(name) => {
                let id = entries.import_key(&foreign_key(), NOW).unwrap();
                let info = FileInfo::encrypted(id, Iv::new([9; 16]), Method::Aes128Ctr);
                done(manager.import_file(self.world.root.join(FOREIGN), name, info))
            }
        }
    }

    fn keep(&mut self, opened: Result<ManagedFile, Error>) -> Outcome {
        self.open = None;
        match opened {
            Ok(file) => {
                self.open = Some(file);
                Outcome::Done
            }
            Err(error) => refused(&error),
        }
    }
}

fn done<T>(result: Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) => refused(&error),
    }
}

/// What may be refused. Whatever else fails is a defect: no operation of the system does.
fn refused(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::NotFound => Outcome::NotFound,
        ErrorKind::AlreadyExists if !matches!(error, Error::Unfinished { .. }) => Outcome::Exists,
        ErrorKind::Locked => Outcome::Busy,
        _ => panic!("{error}"),
    }
}

fn read(opened: Result<ManagedFile, Error>) -> Outcome {
    match opened {
        Ok(file) => read_open(file.file()),
        Err(error) => refused(&error),
    }
}

fn read_open(file: &crate::EncryptedFile) -> Outcome {
    let mut content = [0; LEN];
    match file.len().unwrap() {
        0 => return Outcome::Content(0),
        len if len == LEN as u64 => file.read_exact_at(&mut content, 0).unwrap(),
        _ => return Outcome::Garbage,
    }
    match content.iter().all(|byte| *byte == content[0]) {
        true => Outcome::Content(content[0]),
        false => Outcome::Garbage,
    }
}
