//! What had been synced is never taken for torn: the side file `file.synced`, and the torn ends that are kept.

use rustix::io::Errno;
use stillkey_core::{FileDictionary, SyncedLength, UNSYNCED_LIMIT};

use super::super::entries::Change;
use super::*;
use crate::testing::Xorshift;
use crate::testing::disk::{self, Content, Failure, State};

/// A directory with a log of some 3 KB, every record of which was synced.
fn filled() -> (TempDir, Vec<String>) {
    let names: Vec<_> = (0..60).map(|number| format!("{number:06}.sst")).collect();
    let borrowed: Vec<_> = names.iter().map(String::as_str).collect();
    (directory_with(&borrowed), names)
}

fn zero_a_sector(directory: &TempDir) {
    let path = directory.path().join(FILE_DICT);
    let mut file = fs::read(&path).unwrap();
    file[512..1024].fill(0);
    fs::write(&path, file).unwrap();
}

fn cut(directory: &TempDir, len: usize) {
    let path = directory.path().join(FILE_DICT);
    let file = fs::read(&path).unwrap();
    fs::write(&path, &file[..len]).unwrap();
}

#[test]
fn a_sector_lost_among_what_was_synced_is_damage_and_nothing_is_cut_off() {
    let (directory, _) = filled();
    zero_a_sector(&directory);
    let before = snapshot(directory.path());
    let error = Entries::open(&directory, &master_key(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("file.synced"), "{error}");
    let mut after = snapshot(directory.path());
    after.insert(LOCK.into(), before[LOCK].clone());
    assert_eq!(after, before);
    let damaged = read(&directory).files().unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Damaged);
}

#[test]
fn a_log_that_is_shorter_than_it_was_is_damaged_for_readers_too() {
    let (directory, names) = filled();
    let len = fs::metadata(directory.path().join(FILE_DICT))
        .unwrap()
        .len() as usize;
    // Within a record, and between two.
    for shorter in [len - 7, FileDictionary::new().to_bytes(Version::V2).len()] {
        cut(&directory, shorter);
        assert_eq!(
            read(&directory).files().unwrap_err().kind(),
            ErrorKind::Damaged
        );
        let error = Entries::open(&directory, &master_key(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        // TiKV doesn't know better.
        let tikv = Dictionaries::read(&directory, &master_key(1), Reading::Tikv).unwrap();
        assert!(tikv.files().unwrap().len() < names.len());
    }
    // The way out that the message names.
    fs::remove_file(directory.path().join(FILE_SYNCED)).unwrap();
    assert!(open(&directory).is_empty());
}

#[test]
fn a_torn_end_is_kept_before_it_is_cut_off() {
    let (directory, names) = filled();
    // As an older release leaves a directory: nothing says what was synced.
    fs::remove_file(directory.path().join(FILE_SYNCED)).unwrap();
    let whole = fs::read(directory.path().join(FILE_DICT)).unwrap();
    let torn = [&[0; 3], &super::record("torn")[..20]].concat();
    for number in 1..3 {
        append(directory.path(), &torn);
        assert_eq!(open(&directory).len(), names.len());
        let after = snapshot(directory.path());
        assert_eq!(after[FILE_DICT], whole);
        assert_eq!(after[&format!("file.torn-{number}")], torn);
    }
    // Zeros are what a file has that grew before its content came.
    append(directory.path(), &[0; 700]);
    open(&directory);
    let after = snapshot(directory.path());
    assert_eq!(after[FILE_DICT], whole);
    assert!(!after.contains_key("file.torn-3"));
}

#[test]
fn a_full_disk_keeps_nobody_from_opening_and_the_torn_end_waits() {
    let mut waited = 0;
    for n in 0..60 {
        let (directory, names) = filled();
        append(directory.path(), &super::record("torn")[..20]);
        let kept = directory.path().join("file.torn-1");
        let recording = record(directory.path());
        let errno = Errno::NOSPC.raw_os_error();
        recording.plan(Failure::Error { at: n, errno });
        let opened = Entries::open(&directory, &master_key(1));
        recording.stop();
        let Ok(entries) = opened else {
            continue; // A sync has failed.
        };
        waited += u32::from(!kept.exists());
        assert_eq!(entries.len(), names.len());
        entries.remove_entry(&names[0]).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), &super::record("torn")[..20]);
        open_after(entries, &directory);
    }
    assert!(waited > 0);
}

#[test]
fn what_is_synced_is_said_of_the_file_that_is_there() {
    let (directory, names) = filled();
    let path = directory.path().join(FILE_DICT);
    let entries = open(&directory);
    let mut waits = 0;
    let mut expect = |unsynced: bool| {
        let file = fs::read(&path).unwrap();
        let said = super::super::synced::read(&path);
        waits = if unsynced { waits } else { file.len() as u64 };
        match SyncedLength::new(*file.first_chunk().unwrap(), waits) {
            Some(expected) => assert_eq!(said, Some(expected)),
            None => assert!(!said.unwrap().reaches_past(0, &file)),
        }
    };
    expect(false);
    entries.remove_entry(&names[1]).unwrap();
    expect(false);
    entries.compact().unwrap();
    expect(false);
    entries.convert(Version::V1).unwrap();
    expect(false);
    entries.new_entry("a").unwrap();
    expect(false);
    entries.convert(Version::V2).unwrap();
    expect(false);
    entries.bulk().new_entry("b").unwrap();
    expect(true);
    entries.bulk().sync_all().unwrap();
    expect(false);
}

fn record(directory: &Path) -> disk::Recording {
    disk::record(directory, &State::of(directory), false)
}

/// States of the disk that a power failure during `change` may leave.
fn states_after(directory: &TempDir, change: impl FnOnce(&disk::Recording)) -> Vec<State> {
    let recording = record(directory.path());
    change(&recording);
    let disk = recording.stop();
    let mut random = Xorshift::new(1);
    let mut states = Vec::new();
    for events in 0..=disk.len() {
        let doubtful = disk.doubtful_after(events);
        states.push(doubtful.survivor(&mut |of| of - 1));
        states.extend((0..16).map(|_| doubtful.survivor(&mut |of| random.below(of))));
    }
    states
}

#[test]
fn what_was_synced_is_known_while_a_file_takes_the_place_of_one_that_could_not_be_synced() {
    let mut replacements = 0;
    for n in 0..12 {
        let (directory, names) = filled();
        let entries = open(&directory);
        // Some of whose records are lost with a sector, and some are not.
        let info = entries.entry(&names[0]).unwrap().info().clone();
        let more = (0..20).map(|number| (format!("more {number}"), Change::Insert(info.clone())));
        let states = states_after(&directory, |recording| {
            let errno = Errno::IO.raw_os_error();
            recording.plan(Failure::Error { at: n, errno });
            replacements += u32::from(entries.change_all(more).is_err());
        });
        for state in states {
            let place = tempfile::tempdir().unwrap();
            state.materialise(place.path());
            let left = open(&place);
            assert!(names.iter().all(|name| left.entry(name).is_ok()));
        }
    }
    assert!(replacements > 0);
}

#[test]
fn after_a_power_failure_nothing_is_said_of_a_file_that_begins_like_the_one_before() {
    let (directory, names) = filled();
    let entries = open(&directory);
    for name in &names {
        entries.remove_entry(name).unwrap();
    }
    // Nothing before the log, and nothing after it.
    let states = states_after(&directory, |_| {
        entries.compact().unwrap();
        entries.new_entry("a").unwrap();
    });
    for state in states {
        let place = tempfile::tempdir().unwrap();
        state.materialise(place.path());
        assert!(open(&place).len() <= 1);
    }
}

#[test]
fn no_more_is_unsynced_than_a_power_failure_can_be_told_from_damage() {
    let (directory, _) = filled();
    let entries = open(&directory);
    let states = states_after(&directory, |_| {
        // Just below what may wait, and then as much again at once.
        for number in 0..4 {
            entries
                .bulk()
                .new_entry(&format!("{number:>65000}"))
                .unwrap();
        }
        let info = entries
            .entry(&format!("{:>65000}", 0))
            .unwrap()
            .info()
            .clone();
        let more =
            (10..15).map(|number| (format!("{number:>65000}"), Change::Insert(info.clone())));
        entries.change_all(more).unwrap();
    });
    let lengths = states
        .iter()
        .map(|state| match &state.0[Path::new(FILE_DICT)] {
            Content::File(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        });
    assert!(lengths.max().unwrap() > UNSYNCED_LIMIT);
    for state in states {
        let place = tempfile::tempdir().unwrap();
        state.materialise(place.path());
        open(&place);
    }
}
