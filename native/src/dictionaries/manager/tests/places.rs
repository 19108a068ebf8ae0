//! One file, many spellings: whatever a path or an entry is called, the same file has one entry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::*;
use super::{new_store, read, write};
use crate::error::ErrorKind;
use crate::testing::master_key;

fn absolute(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_new_file_displaces_the_entries_of_all_other_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| absolute(directory.path(), name);
    let odd = directory.path().join(".//a").to_str().unwrap().to_owned();
    let manager = new_store(directory.path()).with_names(Names::AsGiven);
    for name in [path("a"), odd, "a".to_owned()] {
        write(&manager, &name, b"old content");
        assert_eq!(manager.entries().len(), 1, "{name}");
    }
    write(&manager, &path("a"), b"old content");
    let manager = manager.with_names(Names::Relative);
    write(&manager, "a", b"new content");
    assert_eq!(read(&manager, "a"), b"new content");
    drop(manager);
    let manager = DataKeyManager::open(directory.path(), &master_key(1)).unwrap();
    let manager = manager.with_names(Names::AsGiven);
    assert_eq!(read(&manager, &path("a")), b"new content");
    manager.delete_file(path("a")).unwrap();
    assert!(manager.entries().is_empty());
}

#[test]
fn an_imported_renamed_or_linked_file_displaces_the_entries_of_a_file_that_is_gone() {
    type Arrive = fn(&DataKeyManager, &Path);
    let arrivals: [Arrive; 3] = [
        |manager, _| manager.rename_file("source", "a").unwrap(),
        |manager, _| manager.link_file("source", "a").unwrap(),
        |manager, directory| {
            let info = manager.find(&manager.locate(Path::new("source")).unwrap());
            fs::rename(directory.join("source"), directory.join("received")).unwrap();
            let received = directory.join("received");
            manager.import_file(received, "a", info.unwrap().1).unwrap();
        },
    ];
    for arrive in arrivals {
        let directory = tempfile::tempdir().unwrap();
        let path = absolute(directory.path(), "a");
        let manager = new_store(directory.path()).with_names(Names::AsGiven);
        write(&manager, &path, b"old content");
        fs::remove_file(&path).unwrap();
        let manager = manager.with_names(Names::Relative);
        write(&manager, "source", b"new content");
        arrive(&manager, directory.path());
        let manager = manager.with_names(Names::AsGiven);
        assert_eq!(read(&manager, &path), b"new content");
    }
}

#[test]
fn a_renamed_directory_takes_the_entry_that_each_file_is_read_by() {
    let directory = tempfile::tempdir().unwrap();
    let manager = new_store(directory.path());
    fs::create_dir(directory.path().join("d")).unwrap();
    write(&manager, "x", b"x");
    let stale = manager.entries().entry("x").unwrap().info().clone();
    // As an older release or another program may have left them: two entries for one file.
    let entries = manager.entries();
    write(&manager, "d/a", b"content");
    let path = absolute(directory.path(), "d/a");
    entries.set_entry(&path, stale).unwrap();
    // Moves the good entry behind the stale one.
    manager.delete_file("x").unwrap();
    manager.rename_directory("d", "e").unwrap();
    assert_eq!(read(&manager, "e/a"), b"content");
    assert_eq!(manager.entries().len(), 1);
}

#[test]
fn a_directory_is_renamed_and_deleted_whatever_its_spelling() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| absolute(directory.path(), name);
    let manager = new_store(directory.path()).with_names(Names::AsGiven);
    fs::create_dir(directory.path().join("d")).unwrap();
    write(&manager, &path("d//a"), b"content");
    manager.rename_directory(path("d/"), path("./e/")).unwrap();
    assert_eq!(manager.mismatches().unwrap(), Mismatches::default());
    assert_eq!(read(&manager, &path("e/a")), b"content");
    manager.delete_directory("e//").unwrap();
    assert!(manager.entries().is_empty());
}

#[test]
fn a_relative_path_finds_and_replaces_what_has_an_absolute_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = absolute(directory.path(), "a");
    let manager = new_store(directory.path()).with_names(Names::AsGiven);
    write(&manager, &path, b"content");
    assert_eq!(read(&manager, "a"), b"content");
    write(&manager, "a", b"once more");
    assert_eq!(read(&manager, &path), b"once more");
}

#[test]
fn the_dictionaries_are_out_of_reach_by_any_spelling() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| absolute(directory.path(), name);
    for names in [Names::Relative, Names::AsGiven] {
        let manager = new_store(directory.path()).with_names(names);
        fs::create_dir_all(directory.path().join("d")).unwrap();
        let before = fs::read(directory.path().join("key.dict")).unwrap();
        for own in [
            "d/../key.dict",
            "./key.dict",
            "key.dict/",
            &path("./file.dict"),
            &path("d/../key.dict"),
        ] {
            let refused = [
                manager.create_file(own).map(drop),
                manager.delete_file(own),
                manager.write_file(own, &mut &b"x"[..], true).map(drop),
                manager.open_file_writable(own).map(drop),
            ];
            for refusal in refused {
                assert_eq!(refusal.unwrap_err().kind(), ErrorKind::Usage, "{own}");
            }
        }
        assert_eq!(fs::read(directory.path().join("key.dict")).unwrap(), before);
        drop(manager);
        fs::remove_file(directory.path().join("key.dict")).unwrap();
        fs::remove_file(directory.path().join("file.dict")).unwrap();
    }
}

#[test]
fn no_file_is_reached_through_a_link_and_none_behind_one_is_deleted() {
    let place = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (place.path().join("data"), place.path().join("elsewhere"));
    let manager = new_store(&data);
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("precious"), b"1").unwrap();
    symlink(&elsewhere, data.join("link")).unwrap();
    let error = manager.delete_directory("link").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    for refused in [
        manager.create_file("link/new").map(drop),
        manager.delete_file("link/precious"),
        manager.rename_directory("link", "moved"),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("link"), "{error}");
    }
    assert!(elsewhere.join("precious").exists());
    assert!(!elsewhere.join("new").exists());
}

#[test]
fn a_data_directory_behind_a_link_has_its_files_by_both_paths() {
    let place = tempfile::tempdir().unwrap();
    let (data, link) = (place.path().join("data"), place.path().join("link"));
    drop(new_store(&data));
    symlink(&data, &link).unwrap();
    let manager = DataKeyManager::open(&link, &master_key(1)).unwrap();
    let manager = manager.with_names(Names::AsGiven);
    write(&manager, &absolute(&link, "a"), b"content");
    assert_eq!(read(&manager, &absolute(&data, "a")), b"content");
    write(&manager, &absolute(&data, "a"), b"once more");
    assert_eq!(read(&manager, "a"), b"once more");
    assert_eq!(manager.entries().len(), 1);
}
