//! A directory, what its user knows of it, and everything that a user can do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use stillkey_core::{
    Cipher, DataKey, FileInfo, Iv, MasterKey, Method, RotationPolicy, SecretBytes, Version,
};

use super::super::super::*;
use super::super::NOW;
use crate::dictionaries::{Entries, Startup};
use crate::error::Error;
use crate::fsops;
use crate::testing::disk::{Recording, State, record};
use crate::testing::master_key;

/// How long keys are kept after they were put aside, in seconds.
pub(super) const GRACE: u64 = 100;

/// When keys are put aside.
pub(super) const LATER: u64 = NOW + 10 * GRACE;

/// What the files are opened under, where 0 is plaintext.
pub(super) type MasterKeyNumber = u8;

/// What a directory may be like, whatever is done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) names: Names,
    pub(super) version: Version,
    pub(super) named_temporaries: bool,
}

impl Setting {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let names = [Names::Relative, Names::AsGiven];
        names.into_iter().flat_map(|names| {
            [
                (Version::V2, false),
                (Version::V1, true),
                (Version::V2, true),
                (Version::V1, false),
            ]
            .map(|(version, named_temporaries)| Self {
                names,
                version,
                named_temporaries,
            })
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    CreateOver,
    CreateOverOtherName,
    WriteInPlace,
    Import,
    WriteNew,
    Overwrite,
    OverwriteOtherName,
    Rekey,
    RekeyOtherName,
    RekeyAll,
    Rename,
    RenameOtherName,
    RenameAcross,
    Link,
    LinkOtherName,
    Delete,
    DeleteOtherName,
    MakeDirectory,
    DeleteDirectory,
    MoveDirectory,
    MoveDirectoryAcross,
    Reconcile,
    RotateDataKey,
    RotateMasterKey,
    RotateMasterKeyWithRetired,
    ImportKey,
    Retire,
    Restore,
    Forget,
    RetireAfterBulk,
    Bulk,
    CompactWhenDue,
    Compact,
    Convert,
    FirstStart,
    FallBack,
    FallBackFromPlaintext,
    Reopen,
    Repair,
}

pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What a caller knows to be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Files whose content was synced, by their names from the directory.
    pub(super) files: Files,
    /// Entries without a file, as the dictionary names them.
    pub(super) entries: BTreeSet<String>,
    /// Data keys, in use or put aside.
    pub(super) keys: BTreeSet<u64>,
    pub(super) master_key: MasterKeyNumber,
    /// Whether there are dictionaries.
    pub(super) is_started: bool,
    /// A data key that no new file may get once the directory has been opened.
    pub(super) exposed: Option<u64>,
}

/// What a file may be in the middle of an operation, besides what it was before and is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Absent,
    /// It is written without being synced.
    Making(Vec<u8>),
    /// Its bytes are overwritten in place.
    InPlace(Vec<u8>, Vec<u8>),
}

/// What an operation is to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    pub(super) after: Known,
    pub(super) between: Vec<(String, Between)>,
    /// Files that get another name, and must have one of the two meanwhile.
    pub(super) moved: Vec<(String, String)>,
}

pub(super) fn content(number: usize) -> Vec<u8> {
    let line = format!("content of file {number}, and so on; ");
    line.into_bytes().repeat(20 + number % 7)
}

fn foreign_key() -> DataKey {
    DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16])).unwrap()
}

const FOREIGN: &str = "foreign";

pub(super) fn key(number: MasterKeyNumber) -> MasterKey {
    match number {
        0 => MasterKey::Plaintext,
        number => master_key(number),
    }
}

pub(super) struct World {
    pub(super) root: PathBuf,
    pub(super) setting: Setting,
    pub(super) recording: Recording,
    /// `None` before a start.
    pub(super) manager: Option<DataKeyManager>,
    pub(super) known: Known,
}

/// A directory that counts as durable, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub(super) state: State,
    pub(super) known: Known,
}

/// The path of a file as the setting has it spelled.
pub(super) fn path(root: &Path, names: Names, name: &str) -> PathBuf {
    match names {
        Names::Relative => name.into(),
        Names::AsGiven => root.join(name),
    }
}

fn other(names: Names) -> Names {
    match names {
        Names::Relative => Names::AsGiven,
        Names::AsGiven => Names::Relative,
    }
}

/// How a start under `master_key` is configured, with the one before as the previous one.
fn startup(
    root: &Path,
    master_key: MasterKeyNumber,
    previous: MasterKeyNumber,
) -> Startup<'static> {
    let policy = RotationPolicy {
        method: Method::Aes256Ctr,
        ..RotationPolicy::default()
    };
    let startup = Startup::new(root, policy, key(master_key));
    startup.with_previous_master_key(move || Ok(key(previous)))
}

/// Opens a directory as its user does who expects this master key.
pub(super) fn open(
    root: &Path,
    names: Names,
    known: MasterKeyNumber,
    exposed: bool,
) -> Result<DataKeyManager, Error> {
    let entries = if exposed {
        startup(root, known, 0).start(NOW + 1)?.unwrap().entries
    } else {
        Entries::open(root, &key(known))?
    };
    Ok(DataKeyManager::new(entries)?.with_names(names))
}

/// As an engine starts that may not have started before.
pub(super) fn start(root: &Path, names: Names) -> Result<DataKeyManager, Error> {
    let started = startup(root, 1, 1).start(NOW)?.unwrap();
    Ok(DataKeyManager::new(started.entries)?.with_names(names))
}

impl Beginning {
    /// A directory for an operation, made at `root`, which is empty then again.
    pub(super) fn of(operation: Operation, setting: Setting, root: &Path) -> Self {
        fs::create_dir(root).unwrap();
        let known = match operation {
            Operation::FirstStart => Known::default(),
            _ => prepare(operation, setting, root),
        };
        let state = State::of(root);
        fs::remove_dir_all(root).unwrap();
        Self { state, known }
    }
}

fn prepare(operation: Operation, setting: Setting, root: &Path) -> Known {
    let started = startup(root, 1, 1)
        .with_version(setting.version)
        .start(NOW)
        .unwrap();
    let mut manager = DataKeyManager::new(started.unwrap().entries).unwrap();
    let mut known = Known {
        master_key: 1,
        is_started: true,
        ..Known::default()
    };
    for directory in ["d", "x"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    let names = setting.names;
    for (number, (name, names)) in [
        ("a", names),
        ("m", other(names)),
        ("d/c", names),
        ("d/m", other(names)),
    ]
    .into_iter()
    .enumerate()
    {
        manager = manager.with_names(names);
        let created = manager.create_file(path(root, names, name)).unwrap();
        let file = created.file();
        file.write_all_at(&content(number), 0).unwrap();
        known.files.insert(name.into(), content(number));
        manager
            .entries()
            .rotate_data_key(Method::Aes256Ctr, NOW)
            .unwrap();
    }
    manager
        .entries()
        .rotate_data_key(Method::Sm4Ctr, NOW)
        .unwrap();
    let keys = manager.entries().keys();
    known.keys = keys.iter().map(|(id, _)| id).collect();
    match operation {
        Operation::Restore | Operation::Forget | Operation::RotateMasterKeyWithRetired => {
            let retired = manager.entries().retire_keys(GRACE, LATER).unwrap().retired;
            assert!(!retired.is_empty());
        }
        Operation::FallBackFromPlaintext => {
            // Current, and due for nothing.
            manager
                .entries()
                .rotate_data_key(Method::Aes256Ctr, NOW)
                .unwrap();
            let keys = manager.entries().keys();
            let id = keys.current_key_id();
            known.keys.insert(id);
            // Somebody who could write here has put in a key that they know.
            fs::write(root.join("key.dict"), in_plaintext(&keys)).unwrap();
            known.exposed = Some(id);
            known.master_key = 0;
        }
        Operation::Bulk | Operation::RetireAfterBulk => {
            manager.entries().new_entry("e0").unwrap();
            known.entries.insert("e0".into());
            // No other file has this one's key.
            manager
                .entries()
                .rotate_data_key(Method::Aes256Ctr, NOW)
                .unwrap();
            known.keys.insert(manager.entries().keys().current_key_id());
        }
        _ => {}
    }
    known
}

impl World {
    /// A directory at `root`, opened.
    pub(super) fn new(root: &Path, setting: Setting, beginning: &Beginning) -> Self {
        fs::create_dir(root).unwrap();
        beginning.state.materialise(root);
        let recording = record(root, &beginning.state, setting.named_temporaries);
        let mut world = Self {
            root: root.to_owned(),
            setting,
            recording,
            manager: None,
            known: beginning.known.clone(),
        };
        if world.known.is_started && world.known.master_key != 0 {
            world.reopen(world.known.master_key).unwrap();
        }
        world
    }

    fn manager(&self) -> &DataKeyManager {
        self.manager.as_ref().expect("a manager that was opened")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        path(&self.root, self.setting.names, name)
    }

    pub(super) fn reopen(&mut self, master_key: MasterKeyNumber) -> Result<(), Error> {
        self.manager = None;
        let exposed = self.known.exposed.is_some();
        self.manager = Some(open(&self.root, self.setting.names, master_key, exposed)?);
        Ok(())
    }

    /// Makes a file as the last of all operations that matter here.
    pub(super) fn create(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let created = self.manager().create_file(self.path(name))?;
        let file = created.file();
        let written = file.write_all_at(content, 0).and_then(|()| file.sync());
        written.map_err(Error::io(&self.root.join(name), "write"))
    }

    fn write_in_place(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let opened = self.manager().open_file_writable(self.path(name))?;
        let file = opened.file();
        let written = file.write_all_at(content, 0).and_then(|()| file.sync());
        written.map_err(Error::io(&self.root.join(name), "write"))
    }

    /// What happens behind the manager's back before an operation, by a program that doesn't wait for the disk.
    pub(super) fn happen_before(&self, operation: Operation) {
        match operation {
            Operation::Import => {
                let mut bytes = content(9);
                let stream = stillkey_core::CtrStream::new(&foreign_key(), Iv::new([9; 16]));
                stream.apply_at(0, &mut bytes).unwrap();
                let file = fsops::create_new(&self.root.join(FOREIGN)).unwrap();
                assert_eq!(fsops::write(&file, &bytes).unwrap(), bytes.len());
            }
            Operation::Reconcile | Operation::Repair => {
                fsops::unlink(&self.root.join("d/c")).unwrap();
            }
            _ => {}
        }
    }

    /// A program whose file could not be synced writes it again, since another sync would prove nothing.
    pub(super) fn happen_before_retry(&self, operation: Operation) {
        let foreign = self.root.join(FOREIGN);
        if operation == Operation::Import && foreign.exists() {
            fsops::unlink(&foreign).unwrap();
            self.happen_before(operation);
        }
    }

    /// Whether there is what an operation needs, and nothing in its way.
    pub(super) fn is_possible(&self, operation: Operation) -> bool {
        use Operation::*;
        let known = &self.known;
        let has = |name: &str| known.files.contains_key(name);
        match operation {
            Create | Import => !has("b"),
            CreateOver | Overwrite | Rekey | Delete => has("a"),
            CreateOverOtherName | OverwriteOtherName | RekeyOtherName | DeleteOtherName => has("m"),
            // Not while it has another name, whose content would change, too.
            WriteInPlace => known.files.get("a") == Some(&content(0)) && !has("b"),
            Rename | Link => has("a") && !has("b"),
            RenameOtherName => has("m") && !has("b"),
            RenameAcross => has("d/c") && !has("b"),
            LinkOtherName => has("m") && has("d/m") && !has("d/b"),
            WriteNew => !has("n/x"),
            MakeDirectory => !has("y/z/b"),
            DeleteDirectory => has("d/m"),
            MoveDirectory | MoveDirectoryAcross => has("d/c") && has("d/m") && !has("d/b"),
            Reconcile => has("d/c"),
            Repair => has("d/c") && known.master_key == 1,
            Reopen => known.master_key == 1,
            CompactWhenDue => known.master_key == 1 && has("a"),
            FirstStart => !known.is_started,
            FallBackFromPlaintext => known.exposed.is_some(),
            FallBack => known.exposed.is_none(),
            RekeyAll
            | RotateDataKey
            | RotateMasterKey
            | RotateMasterKeyWithRetired
            | ImportKey
            | Retire
            | Restore
            | Forget
            | RetireAfterBulk
            | Bulk
            | Compact
            | Convert => true,
        }
    }

    pub(super) fn run(&mut self, operation: Operation) -> Result<(), Error> {
        use Operation::*;
        let path = |name: &str| path(&self.root, self.setting.names, name);
        if matches!(
            operation,
            FirstStart | FallBack | FallBackFromPlaintext | CompactWhenDue | Reopen | Repair
        ) {
            return self.start_anew(operation);
        }
        let manager = self.manager();
        match operation {
            Create => self.create("b", &content(9))?,
            CreateOver => self.create("a", &content(9))?,
            CreateOverOtherName => self.create("m", &content(9))?,
            WriteInPlace => self.write_in_place("a", &overwriting())?,
            Import => {
                let id = manager.entries().import_key(&foreign_key(), NOW)?;
                let info = FileInfo::encrypted(id, Iv::new([9; 16]), Method::Sm4Ctr);
                manager.import_file(self.root.join(FOREIGN), path("b"), info)?;
            }
            WriteNew => {
                manager.write_file(path("n/x"), &mut &content(9)[..], false)?;
            }
            Overwrite => {
                manager.write_file(path("a"), &mut &content(9)[..], true)?;
            }
            OverwriteOtherName => {
                manager.write_file(path("m"), &mut &content(9)[..], true)?;
            }
            Rekey => {
                manager.rekey_file(path("a"), |_| true)?;
            }
            RekeyOtherName => {
                manager.rekey_file(path("m"), |_| true)?;
            }
            RekeyAll => {
                let report = manager.rekey(&RekeySelection::default(), None, |_| {
                    std::ops::ControlFlow::Continue(())
                })?;
                if let Some((_, error)) = report.failed.into_iter().next() {
                    return Err(error);
                }
            }
            Rename => manager.rename_file(path("a"), path("b"))?,
            RenameOtherName => manager.rename_file(path("m"), path("b"))?,
            RenameAcross => manager.rename_file(path("d/c"), path("b"))?,
            Link => manager.link_file(path("a"), path("b"))?,
            LinkOtherName => manager.link_file(path("m"), path("d/b"))?,
            Delete => manager.delete_file(path("a"))?,
            DeleteOtherName => manager.delete_file(path("m"))?,
            MakeDirectory => {
                manager.create_directory(path("y/z"))?;
                self.create("y/z/b", &content(9))?;
            }
            DeleteDirectory => manager.delete_directory(path("d"))?,
            MoveDirectory => manager.rename_directory(path("d"), path("g"))?,
            MoveDirectoryAcross => manager.rename_directory(path("d"), path("x/g"))?,
            Reconcile => {
                manager.reconcile()?;
            }
            RotateDataKey => {
                manager.entries().rotate_data_key(Method::Aes128Ctr, NOW)?;
            }
            RotateMasterKey | RotateMasterKeyWithRetired => {
                manager.entries().rotate_master_key(&key(2))?
            }
            ImportKey => {
                manager.entries().import_key(&foreign_key(), NOW)?;
            }
            Retire => {
                manager.entries().retire_keys(GRACE, LATER)?;
            }
            Restore => {
                manager.entries().restore_keys()?;
            }
            Forget => {
                manager.entries().retire_keys(GRACE, LATER + 2 * GRACE)?;
            }
            RetireAfterBulk => {
                manager.entries().bulk().remove_entry("e0")?;
                manager.entries().retire_keys(GRACE, LATER)?;
            }
            Bulk => {
                let bulk = manager.entries().bulk();
                for name in ["e1", "e2", "e3"] {
                    bulk.new_entry(name)?;
                }
                bulk.remove_entry("e0")?;
                bulk.sync_all()?;
            }
            Compact => manager.entries().compact()?,
            Convert => manager.entries().convert(match self.setting.version {
                Version::V1 => Version::V2,
                _ => Version::V1,
            })?,
            FirstStart | FallBack | FallBackFromPlaintext | CompactWhenDue | Reopen | Repair => {}
        }
        Ok(())
    }

    /// Operations that end the manager and begin another.
    fn start_anew(&mut self, operation: Operation) -> Result<(), Error> {
        self.manager = None;
        let root = &self.root;
        if operation == Operation::Repair {
            crate::Repair::look(root, &key(1))?.carry_out(false)?;
        }
        let startup = match operation {
            Operation::FirstStart => startup(root, 1, 1).with_version(self.setting.version),
            Operation::FallBack => startup(root, 2, 1),
            Operation::FallBackFromPlaintext => startup(root, 2, 0),
            Operation::CompactWhenDue => startup(root, 1, 1).with_rewrite_threshold(0),
            _ => startup(root, 1, 1),
        };
        let entries = startup.start(NOW)?.unwrap().entries;
        let manager = DataKeyManager::new(entries)?.with_names(self.setting.names);
        self.manager = Some(manager);
        if operation == Operation::CompactWhenDue {
            self.manager().delete_file(self.path("a"))?;
        }
        Ok(())
    }

    /// What an operation is to do.
    pub(super) fn intend(&self, operation: Operation) -> Effect {
        use Operation::*;
        let mut effect = Effect {
            after: self.known.clone(),
            ..Effect::default()
        };
        let before = &self.known.files;
        let files = &mut effect.after.files;
        let mut set = |name: &str, content: Vec<u8>| drop(files.insert(name.into(), content));
        match operation {
            Create | MakeDirectory => {
                let name = if operation == Create { "b" } else { "y/z/b" };
                set(name, content(9));
                effect
                    .between
                    .push((name.into(), Between::Making(content(9))));
            }
            CreateOver | CreateOverOtherName => {
                let name = if operation == CreateOver { "a" } else { "m" };
                set(name, content(9));
                effect.between.push((name.into(), Between::Absent));
                effect
                    .between
                    .push((name.into(), Between::Making(content(9))));
            }
            WriteInPlace => {
                set("a", overwriting());
                let between = Between::InPlace(before["a"].clone(), overwriting());
                effect.between.push(("a".into(), between));
            }
            Import => set("b", content(9)),
            WriteNew => set("n/x", content(9)),
            Overwrite => set("a", content(9)),
            OverwriteOtherName => set("m", content(9)),
            Rename | RenameOtherName | RenameAcross | MoveDirectory | MoveDirectoryAcross => {
                let moved: &[(&str, &str)] = match operation {
                    Rename => &[("a", "b")],
                    RenameOtherName => &[("m", "b")],
                    RenameAcross => &[("d/c", "b")],
                    MoveDirectory => &[("d/c", "g/c"), ("d/m", "g/m")],
                    _ => &[("d/c", "x/g/c"), ("d/m", "x/g/m")],
                };
                for (from, to) in moved {
                    let content = files.remove(*from).unwrap();
                    files.insert((*to).into(), content);
                    effect.moved.push(((*from).into(), (*to).into()));
                }
            }
            Link => set("b", before["a"].clone()),
            LinkOtherName => set("d/b", before["m"].clone()),
            Delete | CompactWhenDue => drop(files.remove("a")),
            DeleteOtherName => drop(files.remove("m")),
            DeleteDirectory => files.retain(|name, _| !name.starts_with("d/")),
            Reconcile | Repair => {
                files.remove("d/c");
                effect.after.entries.clear();
            }
            RotateMasterKey | RotateMasterKeyWithRetired | FallBack | FallBackFromPlaintext => {
                effect.after.master_key = 2;
            }
            Forget => {
                let in_use: BTreeSet<u64> = self
                    .manager()
                    .entries()
                    .keys()
                    .iter()
                    .map(|(id, _)| id)
                    .collect();
                effect.after.keys = in_use;
            }
            RetireAfterBulk => {
                effect.after.entries.remove("e0");
            }
            Bulk => {
                effect.after.entries.remove("e0");
                effect
                    .after
                    .entries
                    .extend(["e1", "e2", "e3"].map(String::from));
            }
            FirstStart => {
                effect.after.is_started = true;
                effect.after.master_key = 1;
            }
            Rekey | RekeyOtherName | RekeyAll | RotateDataKey | ImportKey | Retire | Restore
            | Compact | Convert | Reopen => {}
        }
        effect
    }

    /// The data keys that are there after an operation that was acknowledged.
    pub(super) fn note_keys(&mut self) {
        if let Some(manager) = &self.manager {
            self.known
                .keys
                .extend(manager.entries().keys().iter().map(|(id, _)| id));
        }
    }
}

/// What overwrites the first file in place.
fn overwriting() -> Vec<u8> {
    content(0).iter().map(u8::to_ascii_uppercase).collect()
}

/// A `key.dict` that anybody could have written, with keys that were never exposed, as it says.
fn in_plaintext(keys: &stillkey_core::KeyDictionary) -> Vec<u8> {
    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        bytes.push(number.to_le_bytes()[0]);
        bytes
    }
    let field = |number: u8, value: &[u8]| {
        [&[number << 3 | 2], &varint(value.len() as u64)[..], value].concat()
    };
    let number = |field: u8, value: u64| [&[field << 3], &varint(value)[..]].concat();
    let mut payload = Vec::new();
    for (id, entry) in keys.iter() {
        let key = field(1, entry.key.danger_bytes());
        let method = number(2, u64::try_from(entry.method.0).unwrap());
        let entry = [key, method, number(3, entry.creation_time)].concat();
        payload.extend(field(1, &[number(1, id), field(2, &entry)].concat()));
    }
    payload.extend(number(2, keys.current_key_id()));
    let method = [field(1, b"method"), field(2, b"plaintext")].concat();
    let content = [field(1, &method), field(2, &payload)].concat();
    let crc = crc32fast::hash(&content).to_be_bytes();
    let len = (content.len() as u64).to_be_bytes();
    [&[1, 0, 0, 0], &crc[..], &len[..], &content[..]].concat()
}
