//! Power failures: every short sequence of operations, and some long ones, on a disk that loses what was not synced. After every operation
//! of the file system the power fails, and in whatever state that leaves, the directory must open by itself, with every file that was
//! acknowledged whole, and none under a wrong key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use rustix::io::Errno;
use stillkey_core::{Cipher, DataKey, FileInfo, Iv, MasterKey, Method, SecretBytes};

use super::super::*;
use super::NOW;
use crate::error::ErrorKind;
use crate::fsops::{self, fault};
use crate::testing::disk::{self, State};
use crate::testing::{Xorshift, master_key};

/// States that are checked after each operation of the file system, where there are more.
const STATES_PER_FAILURE: usize = 24;

/// Up to how many operations, every sequence of them is run.
const EXHAUSTIVE: usize = 3;

/// How many states this has to check at least, to have shown anything.
const FEWEST_STATES: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Link,
    Rename,
    Delete,
    RotateDataKey,
    RotateMasterKey,
    Compact,
    Import,
    Rekey,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::Create,
        Self::Link,
        Self::Rename,
        Self::Delete,
        Self::RotateDataKey,
        Self::RotateMasterKey,
        Self::Compact,
        Self::Import,
        Self::Rekey,
    ];
}

type Files = BTreeMap<&'static str, Vec<u8>>;

/// What a caller knows.
#[derive(Clone, Debug)]
struct Known {
    /// Files whose content was synced.
    files: Files,
    master_key: u8,
}

/// What a failure may leave: all of one or all of the other, but for a file that was being made.
#[derive(Debug)]
struct Expected<'k> {
    before: &'k Known,
    after: &'k Known,
    operation: Operation,
}

struct World {
    root: PathBuf,
    manager: DataKeyManager,
    known: Known,
    foreign: PathBuf,
}

const NAMES: [&str; 4] = ["a", "b", "d/c", "d/e"];

fn content(number: usize) -> Vec<u8> {
    format!("content of file {number}, and so on; ")
        .into_bytes()
        .repeat(20 + number % 7)
}

fn foreign_key() -> DataKey {
    DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16])).unwrap()
}

fn foreign_iv() -> Iv {
    Iv::new([9; 16])
}

fn open(root: &Path, byte: u8) -> Result<DataKeyManager, Error> {
    DataKeyManager::open(root, &key(byte))
}

fn key(byte: u8) -> MasterKey {
    master_key(byte)
}

impl World {
    /// A directory with two files, all of it durable.
    fn new(root: &Path) -> Self {
        let writer = Entries::create(root, &key(1), Method::Aes256Ctr, NOW).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        let mut world = Self {
            root: root.to_owned(),
            manager: DataKeyManager::new(writer).unwrap(),
            known: Known {
                files: Files::new(),
                master_key: 1,
            },
            foreign: root.join("foreign"),
        };
        for (number, name) in ["a", "d/c"].into_iter().enumerate() {
            world.create(name, content(number)).unwrap();
        }
        world
    }

    fn create(&mut self, name: &'static str, content: Vec<u8>) -> Result<(), Error> {
        let created = self.manager.create_file(name)?;
        let file = created.file();
        let path = self.root.join(name);
        let written = file.write_all_at(&content, 0).and_then(|()| file.sync());
        written.map_err(Error::io(&path, "write"))?;
        self.known.files.insert(name, content);
        Ok(())
    }

    /// What stands outside of the manager's care before an import.
    fn place_foreign(&self, number: usize) {
        let mut bytes = content(number);
        let stream = stillkey_core::CtrStream::new(&foreign_key(), foreign_iv());
        stream.apply_at(0, &mut bytes).unwrap();
        // By a program that doesn't wait for the disk.
        fsops::unlink(&self.foreign).unwrap();
        let file = fsops::create_new(&self.foreign).unwrap();
        assert_eq!(fsops::write(&file, &bytes).unwrap(), bytes.len());
    }

    /// Does it, and returns whether there was anything to do.
    fn run(&mut self, operation: Operation, number: usize) -> Result<bool, Error> {
        let taken: Vec<_> = self.known.files.keys().copied().collect();
        let mut free = NAMES.into_iter().filter(|name| !taken.contains(name));
        let (last, free) = (taken.last().copied(), free.next());
        let manager = &self.manager;
        match (operation, last, free) {
            (Operation::Create, _, Some(free)) => self.create(free, content(number))?,
            // With no name left, one is made anew.
            (Operation::Create, Some(last), None) => self.create(last, content(number))?,
            (Operation::Link, Some(last), Some(free)) => {
                manager.link_file(last, free)?;
                let content = self.known.files[last].clone();
                self.known.files.insert(free, content);
            }
            (Operation::Rename, Some(last), Some(free)) => {
                manager.rename_file(last, free)?;
                let content = self.known.files.remove(last).unwrap_or_default();
                self.known.files.insert(free, content);
            }
            (Operation::Delete, Some(last), _) => {
                manager.delete_file(last)?;
                self.known.files.remove(last);
            }
            (Operation::RotateDataKey, ..) => {
                manager.entries().rotate_data_key(Method::Aes128Ctr, NOW)?;
            }
            (Operation::RotateMasterKey, ..) => {
                self.known.master_key += 1;
                manager
                    .entries()
                    .rotate_master_key(&key(self.known.master_key))?;
            }
            (Operation::Compact, ..) => manager.entries().compact()?,
            (Operation::Import, _, Some(free)) => {
                let id = manager.entries().import_key(&foreign_key(), NOW)?;
                let info = FileInfo::encrypted(id, foreign_iv(), Method::Sm4Ctr);
                manager.import_file(&self.foreign, free, info)?;
                self.known.files.insert(free, content(number));
            }
            (Operation::Rekey, Some(last), _) => {
                let rekeyed = manager.rekey_file(last, |_| true)?;
                assert!(rekeyed.is_some());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Expected<'_> {
    /// What is wrong with a directory after a failure; `None` when all is well.
    fn violation(&self, root: &Path) -> Option<String> {
        let (manager, byte) = match open(root, self.after.master_key) {
            Ok(manager) => (manager, self.after.master_key),
            Err(error) if error.kind() == ErrorKind::WrongKey => {
                match open(root, self.before.master_key) {
                    Ok(manager) => (manager, self.before.master_key),
                    Err(error) => return Some(format!("opens under neither master key: {error}")),
                }
            }
            Err(error) => return Some(format!("doesn't open: {error}")),
        };
        let (before, after) = (&self.before.files, &self.after.files);
        for (name, content) in before {
            if after.get(name) == Some(content)
                && let Some(found) = differs(&manager, name, content)
            {
                return Some(format!("{name}: {found}"));
            }
        }
        let changed: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
        let changed: Vec<_> = changed
            .into_iter()
            .filter(|name| before.get(name) != after.get(name))
            .collect();
        let is = |files: &Files| {
            changed.iter().all(|name| match files.get(name) {
                Some(content) => differs(&manager, name, content).is_none(),
                None => true,
            })
        };
        let in_the_making = |name: &&str| {
            self.operation == Operation::Create && is_beginning(&manager, name, &after[*name])
        };
        if !is(before) && !is(after) && !changed.iter().all(in_the_making) {
            return Some(format!(
                "{changed:?} are neither as they were nor as they were to be"
            ));
        }
        if let Some(path) = without_entry(root, &manager) {
            return Some(format!("{}: a file without an entry", path.display()));
        }
        // And it goes on.
        let file = match manager.create_file("next") {
            Ok(file) => file,
            Err(error) => return Some(format!("takes no new file: {error}")),
        };
        file.file().write_all_at(b"next", 0).unwrap();
        drop((file, manager));
        match open(root, byte) {
            Ok(manager) => differs(&manager, "next", b"next").map(|found| format!("next: {found}")),
            Err(error) => Some(format!("doesn't open a second time: {error}")),
        }
    }
}

/// How a file is other than it should be.
fn differs(manager: &DataKeyManager, name: &str, content: &[u8]) -> Option<String> {
    let read = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let opened = manager.open_file(name)?;
        let file = opened.file();
        let mut read = vec![0; usize::try_from(file.len()?)?];
        file.read_exact_at(&mut read, 0)?;
        Ok(read)
    };
    match read() {
        Ok(read) if read == content => None,
        Ok(read) => Some(format!("{} bytes that it never held", read.len())),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a file that was never synced holds nothing but what was written, but for sectors that were lost.
fn is_beginning(manager: &DataKeyManager, name: &str, content: &[u8]) -> bool {
    let Ok(opened) = manager.open_file(name) else {
        return true;
    };
    let file = opened.file();
    let mut read = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    let mut raw = read.clone();
    file.read_exact_at(&mut read, 0).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(file.as_file(), &mut raw, 0).unwrap();
    let mut bytes = read.iter().zip(content).zip(&raw);
    read.len() <= content.len() && bytes.all(|((read, written), raw)| read == written || *raw == 0)
}

/// A data file that no entry tells how to read.
fn without_entry(root: &Path, manager: &DataKeyManager) -> Option<PathBuf> {
    let tree = crate::fsops::tree(root).unwrap();
    tree.files.into_iter().find(|path| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        // The foreign file is nobody's until it is imported.
        let is_own = crate::dictionaries::OWN.contains(&name) || name == "foreign";
        !is_own && !crate::is_leftover(name) && manager.entries().entry(name).is_err()
    })
}

/// Runs a sequence on a disk of its own, lets the power fail at every step of its last operations, and checks what is left. That of those
/// before is another sequence's matter.
fn check(sequence: &[Operation], seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Xorshift::new(seed);
    let place = tempfile::tempdir_in(scratch).unwrap();
    let mut world = World::new(place.path());
    for (number, operation) in sequence.iter().enumerate() {
        let is_checked = number + 1 == sequence.len() || number >= EXHAUSTIVE;
        if is_checked {
            disk::start(place.path());
        }
        if *operation == Operation::Import {
            world.place_foreign(number);
        }
        let before = world.known.clone();
        let done = world.run(*operation, number).unwrap();
        if is_checked {
            let disk = disk::stop();
            if done {
                let expected = Expected {
                    before: &before,
                    after: &world.known,
                    operation: *operation,
                };
                check_failures(
                    &disk,
                    &expected,
                    &mut random,
                    scratch,
                    &sequence[..=number],
                    report,
                );
            }
        }
    }
}

fn check_failures(
    disk: &disk::Disk,
    expected: &Expected<'_>,
    random: &mut Xorshift,
    scratch: &Path,
    sequence: &[Operation],
    report: &mut Report,
) {
    // Before the first step, and in the end acknowledged.
    let mut seen = BTreeSet::new();
    for steps in 0..=disk.len() {
        for state in disk.survivors(steps, STATES_PER_FAILURE, &mut || random.next()) {
            let acknowledged = steps == disk.len();
            if !seen.insert((acknowledged, state.clone())) {
                continue;
            }
            let expected = Expected {
                before: if acknowledged {
                    expected.after
                } else {
                    expected.before
                },
                ..*expected
            };
            report.states += 1;
            if let Some(violation) = check_state(&state, &expected, scratch) {
                report.violations.push(format!(
                    "{sequence:?}, power fails after step {steps} of {}: {violation}",
                    disk.len()
                ));
            }
        }
    }
}

fn check_state(state: &State, expected: &Expected<'_>, scratch: &Path) -> Option<String> {
    let place = tempfile::tempdir_in(scratch).unwrap();
    state.materialise(place.path());
    expected.violation(place.path())
}

#[derive(Debug, Default)]
struct Report {
    states: usize,
    violations: Vec<String>,
}

/// Every sequence of up to [`EXHAUSTIVE`] operations, then random longer ones.
fn sequences(random_ones: usize) -> Vec<Vec<Operation>> {
    let mut sequences: Vec<Vec<Operation>> = vec![Vec::new()];
    let mut begin = 0;
    for _ in 0..EXHAUSTIVE {
        let end = sequences.len();
        for i in begin..end {
            for operation in Operation::ALL {
                let mut longer = sequences[i].clone();
                longer.push(operation);
                sequences.push(longer);
            }
        }
        begin = end;
    }
    sequences.remove(0);
    let mut random = Xorshift::new(0x5717_1ce7);
    for _ in 0..random_ones {
        let len = EXHAUSTIVE + 1 + random.below(9);
        sequences.push((0..len).map(|_| Operation::ALL[random.below(9)]).collect());
    }
    sequences
}

#[test]
fn no_power_failure_loses_a_file_or_leaves_a_directory_that_does_not_open() {
    // In memory where there is such a file system: what would be lost on a disk is this test's own doing.
    let shared_memory = Path::new("/dev/shm");
    let scratch = match tempfile::tempdir_in(shared_memory) {
        Ok(scratch) => scratch,
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let sequences = sequences(900);
    let next = Mutex::new(sequences.iter().enumerate());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut total = Report::default();
    thread::scope(|scope| {
        let working: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    fault::pretend_syncs();
                    let mut report = Report::default();
                    loop {
                        let sequence = next.lock().unwrap().next();
                        let Some((number, sequence)) = sequence else {
                            return report;
                        };
                        check(sequence, number as u64 + 1, scratch.path(), &mut report);
                    }
                })
            })
            .collect();
        for thread in working {
            let report = thread.join().unwrap();
            total.states += report.states;
            total.violations.extend(report.violations);
        }
    });
    println!(
        "crash states: {} checked, {} violations",
        total.states,
        total.violations.len()
    );
    for violation in total.violations.iter().take(20) {
        println!("{violation}");
    }
    assert!(total.violations.is_empty());
    assert!(total.states >= FEWEST_STATES, "{} states", total.states);
}

/// What the system may say to any operation.
const REFUSALS: [Errno; 3] = [Errno::IO, Errno::NOSPC, Errno::INTR];

/// One operation of the file system fails, or writes less than it should: the first, then the second, and so on in each operation of ours.
#[test]
fn no_failure_of_the_disk_loses_a_file_or_stops_the_manager_for_good() {
    fault::pretend_syncs();
    let scratch = tempfile::tempdir().unwrap();
    let mut failures = 0;
    for operation in Operation::ALL {
        for refusal in REFUSALS.map(Some).into_iter().chain([None]) {
            for n in 0.. {
                let place = tempfile::tempdir_in(scratch.path()).unwrap();
                let mut world = World::new(place.path());
                world.place_foreign(0);
                let before = world.known.clone();
                match refusal {
                    Some(errno) => fault::refuse_nth(n, errno.raw_os_error()),
                    None => fault::shorten_nth_append(n, n * 7),
                }
                let done = world.run(operation, 0);
                let reached = fault::heal();
                let what = || format!("{operation:?}, {refusal:?} at {n}");
                if !reached {
                    assert!(done.unwrap(), "{}", what());
                    assert!(
                        n > 0 || refusal.is_none(),
                        "{}: the disk was asked for nothing",
                        what()
                    );
                    break;
                }
                failures += 1;
                let after = match done {
                    Ok(_) => world.known.clone(),
                    // What was refused may have been done all the same, if the refusal came late.
                    Err(_) => intended(operation, &before),
                };
                let acknowledged = if done.is_ok() { &after } else { &before };
                for (name, content) in &acknowledged.files {
                    if after.files.get(name) == Some(content) {
                        let found = differs(&world.manager, name, content);
                        assert_eq!(found, None, "{}: {name}, without a restart", what());
                    }
                }
                drop(world);
                let expected = Expected {
                    before: acknowledged,
                    after: &after,
                    operation,
                };
                assert_eq!(expected.violation(place.path()), None, "{}", what());
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

/// What an operation makes of a directory, found out by doing it.
fn intended(operation: Operation, before: &Known) -> Known {
    let place = tempfile::tempdir().unwrap();
    let mut world = World::new(place.path());
    assert_eq!(world.known.files, before.files);
    world.place_foreign(0);
    world.run(operation, 0).unwrap();
    world.known.clone()
}
