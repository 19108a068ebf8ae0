//! Everything that a storage engine does with a dictionary directory, once: for tests of what it leaves in metrics and traces.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use stillkey::clock::unix_now;
use stillkey::core::{DataKey, MasterKey, Method, RotationPolicy, Version};
use stillkey::{DataKeyManager, Names, Startup};

use crate::{data_key, raw_master_key};

/// Plays the scenario in an empty directory, and returns every key that was in it.
///
/// # Panics
/// When a step fails that should not, or the other way round.
pub fn play(directory: &Path) -> Vec<Vec<u8>> {
    let [old, new, last] = ["9d3c57e21b04f6a8", "42b7e95f08d3c16a", "c0de4f91a72e6b35"]
        .map(|digits| raw_master_key(&digits.repeat(4)));
    let imported = data_key(Method::Sm4Ctr, b"\xc3imported key\xfe\x80\x9a");
    let policy = RotationPolicy::default();

    let first = Startup::new(directory, policy.clone(), old.clone());
    let manager = manager(first.start(unix_now()).unwrap());
    change_files(&manager);
    change_keys(&manager, &imported, &new);
    let mut keys = key_bytes(&manager);
    fail_to_commit(manager, directory);

    // A crash in the middle of an append, and another master key than the last time.
    let file_dict = directory.join("file.dict");
    let mut log = OpenOptions::new().append(true).open(&file_dict).unwrap();
    log.write_all(&[0, 1, 2]).unwrap();
    let policy = RotationPolicy {
        method: Method::Aes128Ctr,
        ..policy
    };
    let again = Startup::new(directory, policy, last.clone())
        .with_previous_master_key(|| Ok(new.clone()))
        .with_version(Version::V1);
    let manager = self::manager(again.start(unix_now()).unwrap());
    manager.create_file("last").unwrap();
    keys.extend(key_bytes(&manager));
    drop(manager);
    // Reading a dictionary without a log is measured as well.
    DataKeyManager::open(directory, &last).unwrap();

    for master_key in [old, new, last] {
        if let MasterKey::Raw(key) = master_key {
            keys.push(key.secret().danger_bytes().to_vec());
        }
    }
    keys.push(imported.secret().danger_bytes().to_vec());
    keys
}

fn manager(started: Option<stillkey::Started>) -> DataKeyManager {
    DataKeyManager::new(started.expect("dictionaries are needed").entries)
        .unwrap()
        .with_names(Names::default())
}

fn change_files(manager: &DataKeyManager) {
    for name in ["a", "b", "c"] {
        let file = manager.create_file(name).unwrap();
        file.file().write_all_at(b"content", 0).unwrap();
    }
    manager.rename_file("a", "d").unwrap();
    manager.link_file("b", "e").unwrap();
    manager.delete_file("e").unwrap();
    let written = manager.write_file("directory/f", &mut &b"content"[..], true);
    assert_eq!(written.unwrap(), 7);
    manager.rename_directory("directory", "other").unwrap();
    manager.delete_directory("other").unwrap();
    assert_eq!(manager.rekey_file("b", |_| true).unwrap(), Some(7));
    assert_eq!(manager.rekey_file("c", |_| false).unwrap(), None);
    manager.entries().compact().unwrap();
}

fn change_keys(manager: &DataKeyManager, imported: &DataKey, master_key: &MasterKey) {
    let now = unix_now();
    manager
        .entries()
        .rotate_data_key(Method::Aes256Ctr, now)
        .unwrap();
    manager.entries().import_key(imported, now).unwrap();
    manager.entries().rotate_master_key(master_key).unwrap();
}

fn key_bytes(manager: &DataKeyManager) -> Vec<Vec<u8>> {
    let keys = manager.entries().keys();
    let bytes = keys
        .iter()
        .map(|(_, entry)| entry.key.danger_bytes().to_vec());
    bytes.collect()
}

/// Another program replaces the file behind the manager's back.
fn fail_to_commit(manager: DataKeyManager, directory: &Path) {
    let (file, copy) = (directory.join("file.dict"), directory.join("copy"));
    fs::copy(&file, &copy).unwrap();
    fs::rename(&copy, &file).unwrap();
    manager.create_file("g").unwrap_err();
}
