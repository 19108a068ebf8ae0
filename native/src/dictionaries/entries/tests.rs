//! Entries and keys, as many threads see them.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;

use stillkey_core::{
    EncryptionContext, Iv, KeyService, MasterKey, Method, Reading, RotationPolicy, RotationReason,
    SecretBytes, UNSYNCED_LIMIT, WrappedKey,
};
use tempfile::TempDir;

use super::commit::{Change, Request};
use super::*;
use crate::SysRng;
use crate::dictionaries::{Dictionaries, read_key_envelope, read_retired_keys};
use crate::error::ErrorKind;
use crate::fsops::{Op, fault};
use crate::testing::master_key;

const NOW: u64 = 1_700_000_000;

fn entries() -> (TempDir, Entries) {
    let directory = tempfile::tempdir().unwrap();
    let entries = Entries::create(&directory, &master_key(1), Method::Aes256Ctr, NOW).unwrap();
    (directory, entries)
}

fn names(directory: &TempDir) -> Vec<String> {
    let read = Dictionaries::read(directory, &master_key(1), Reading::Strict).unwrap();
    let files = read.files().unwrap();
    files.iter().map(|(name, _)| name.to_owned()).collect()
}

fn request(name: &str, change: Change) -> Request {
    Request::new(name, change, Durability::Now)
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
    let (directory, entries) = entries();
    let batch = [
        insert("a"),
        link("a", "b"),
        request("a", Change::Remove),
        link("a", "c"),
        insert("d"),
        link("b", "d"),
    ];
    let outcomes = entries.commit(&batch).into_iter();
    let kinds: Vec<_> = outcomes
        .map(|outcome| outcome.err().map(|error| error.kind()))
        .collect();
    let expected = [None, None, None, Some(ErrorKind::NotFound), None, None];
    assert_eq!(kinds, expected, "d has an entry equal to b's");
    assert_eq!(names(&directory), ["b", "d"]);
    let commits = entries.commits();
    assert_eq!((commits.changes, commits.writes), (4, 1));
}

#[test]
fn what_is_so_already_is_not_written() {
    let (_directory, entries) = entries();
    entries.new_entry("a").unwrap();
    entries.link_entry("a", "b").unwrap();
    let before = entries.commits();
    entries.link_entry("a", "b").unwrap();
    assert_eq!(entries.remove_entry("c").unwrap(), None);
    assert_eq!(entries.commits(), before);
}

#[test]
fn a_change_that_cannot_be_done_fails_alone() {
    let (directory, entries) = entries();
    entries.new_entry("taken").unwrap();
    let long = "n".repeat(65_536);
    let batch = [insert("a"), insert(&long), link("a", "taken"), insert("b")];
    let outcomes = entries.commit(&batch);
    let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, true, false]);
    assert_eq!(names(&directory), ["a", "b", "taken"]);
}

#[test]
fn a_batch_that_does_not_get_durable_has_not_happened_for_anyone() {
    for op in [Op::Append, Op::Sync] {
        let (directory, entries) = entries();
        entries.new_entry("a").unwrap();
        fault::fail_next(op);
        let outcomes = entries.commit(&[insert("b"), request("a", Change::Remove), insert("c")]);
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Io, "{op:?}");
        }
        assert_eq!(names(&directory), ["a"]);
        assert!(entries.entry("a").is_ok() && entries.entry("b").is_err());
        entries.new_entry("d").unwrap();
        assert_eq!(names(&directory), ["a", "d"]);
    }
}

#[test]
fn wherever_the_disk_fails_what_was_acknowledged_stays_and_the_rest_has_not_happened() {
    for step in 0.. {
        let (directory, entries) = entries();
        entries.new_entry("a").unwrap();
        entries.new_entry("b").unwrap();
        let mut expected = vec!["a", "b"];
        fault::fail_from(step);
        if entries.new_entry("c").is_ok() {
            expected.push("c");
        }
        if entries.remove_entry("a").is_ok() {
            expected.remove(0);
        }
        if entries.link_entry("b", "d").is_ok() {
            expected.push("d");
        }
        let rotated = entries.rotate_data_key(Method::Sm4Ctr, NOW);
        let compacted = entries.compact();
        let reached = fault::heal();

        let seen = |name: &str| entries.entry(name).is_ok();
        assert!(expected.iter().all(|name| seen(name)), "{step}");
        entries.new_entry("e").unwrap();
        expected.push("e");
        assert_eq!(names(&directory), expected, "{step}");
        drop(entries);
        let again = Entries::open(&directory, &master_key(1)).unwrap();
        for name in expected {
            again.entry(name).unwrap();
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
    let (directory, entries) = entries();
    entries.new_entry("a").unwrap();
    let busy = held(&entries.log_file);
    thread::scope(|scope| {
        let rotates = scope.spawn(|| entries.rotate_data_key(Method::Sm4Ctr, 1));
        // As a commit does while the disk is busy.
        let view = entries.view();
        let waits = scope.spawn(|| entries.new_entry("b"));
        while Dictionaries::read(directory.path(), &master_key(1), Reading::Strict)
            .is_ok_and(|read| read.keys().len() == 1)
        {
            thread::yield_now();
        }
        // The new key is durable, and waits to be taken over; this doesn't.
        assert!(entries.entry("a").is_ok());
        drop(view);
        assert!(entries.entry("b").is_err(), "not durable yet");
        drop(busy);
        waits.join().unwrap().unwrap();
        rotates.join().unwrap().unwrap();
        assert!(entries.entry("b").is_ok());
    });
}

#[test]
fn the_key_handed_out_is_the_key_recorded_while_keys_and_master_keys_are_rotated() {
    const THREADS: usize = 16;
    let (directory, entries) = entries();
    let handed_out: Vec<_> = thread::scope(|scope| {
        let creating: Vec<_> = (0..THREADS)
            .map(|thread| {
                let entries = &entries;
                scope.spawn(move || {
                    let mut files = Vec::new();
                    for i in 0..30 {
                        let (name, renamed) = (format!("{thread}/{i}"), format!("r/{thread}/{i}"));
                        let key = entries.new_entry(&name).unwrap();
                        match i % 3 {
                            0 => files.push((name, key)),
                            1 => {
                                entries.link_entry(&name, &renamed).unwrap();
                                entries.remove_entry(&name).unwrap();
                                files.push((renamed, key));
                            }
                            _ => assert!(entries.remove_entry(&name).unwrap().is_some()),
                        }
                    }
                    files
                })
            })
            .collect();
        let rotating = scope.spawn(|| {
            for byte in 2..12 {
                entries.rotate_data_key(Method::Aes128Ctr, NOW).unwrap();
                entries.rotate_master_key(&master_key(byte)).unwrap();
                entries.compact().unwrap();
            }
        });
        rotating.join().unwrap();
        let creating = creating.into_iter();
        creating.flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(entries.len(), handed_out.len());
    drop(entries);
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
    let (_directory, entries) = entries();
    let policy = RotationPolicy {
        method: Method::Aes256Ctr,
        ..RotationPolicy::default()
    };
    let first = entries.keys().current_key_id();
    assert_eq!(entries.rotate_if_due(&policy, NOW).unwrap(), None);
    let late = NOW + 7 * 24 * 3600;
    let reason = entries.rotate_if_due(&policy, late).unwrap();
    assert!(reason.is_some());
    assert_ne!(entries.keys().current_key_id(), first);
    assert_eq!(entries.rotate_if_due(&policy, late).unwrap(), None);
}

#[test]
fn a_data_key_that_becomes_due_is_rotated_in_the_background_and_a_failure_is_tried_again() {
    let (directory, entries) = entries();
    let entries = Arc::new(entries);
    let time = Arc::new(AtomicU64::new(NOW));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (clock, report) = (Arc::clone(&time), Arc::clone(&heard));
    let policy = RotationPolicy {
        method: Method::Aes256Ctr,
        period: 100,
    };
    let rotation = BackgroundRotation::start(
        Arc::clone(&entries),
        policy,
        move || clock.load(Ordering::Relaxed),
        move |outcome| {
            report
                .lock()
                .unwrap()
                .push(outcome.map_err(|error| error.kind()))
        },
    );
    let rotation = rotation.unwrap();
    let first = entries.keys().current_key_id();
    rotation.look_now();
    assert_eq!(entries.keys().current_key_id(), first, "not due");
    // Another program replaces key.dict: what is read from it must not be overwritten.
    time.store(NOW + 100, Ordering::Relaxed);
    let path = directory.path().join("key.dict");
    let (saved, aside) = (
        std::fs::read(&path).unwrap(),
        directory.path().join("aside"),
    );
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, &saved).unwrap();
    rotation.look_now();
    assert_eq!(entries.keys().current_key_id(), first);
    std::fs::rename(&aside, &path).unwrap();
    rotation.look_now();
    assert_ne!(entries.keys().current_key_id(), first);
    drop(rotation);
    let heard = heard.lock().unwrap();
    assert!(matches!(heard.first(), Some(Ok(None))));
    let failed = heard
        .iter()
        .position(|outcome| *outcome == Err(ErrorKind::Io))
        .unwrap();
    let expired = Ok(Some(RotationReason::Expired { age: 100 }));
    assert!(heard[failed..].contains(&expired), "{heard:?}");
}

#[test]
fn a_report_or_clock_that_panics_does_not_end_the_rotation_in_the_background() {
    let (_directory, entries) = entries();
    let entries = Arc::new(entries);
    let looks = Arc::new(AtomicU64::new(0));
    let (clock, reports) = (Arc::clone(&looks), Arc::new(AtomicU64::new(0)));
    let heard = Arc::clone(&reports);
    let rotation = BackgroundRotation::start(
        entries,
        RotationPolicy::default(),
        move || {
            assert_ne!(clock.fetch_add(1, Ordering::Relaxed), 1, "the second time");
            NOW
        },
        move |_| {
            assert_ne!(heard.fetch_add(1, Ordering::Relaxed), 0, "the first time");
        },
    );
    let rotation = rotation.unwrap();
    for _ in 0..4 {
        rotation.look_now();
    }
    assert!(looks.load(Ordering::Relaxed) >= 4);
    assert!(reports.load(Ordering::Relaxed) >= 3);
}

/// A key service whose master key gets new versions; each wraps by XOR. Version 0: it doesn't answer.
#[derive(Debug)]
struct Versions(AtomicU64);

impl Versions {
    fn current(&self) -> Result<u64, stillkey_core::Error> {
        match self.0.load(Ordering::Relaxed) {
            0 => Err(stillkey_core::Error::Unavailable(
                "no answer within 10 s".into(),
            )),
            version => Ok(version),
        }
    }
}

impl KeyService for Versions {
    fn vendor(&self) -> &str {
        "TEST"
    }

    fn provider(&self) -> u8 {
        200
    }

    fn current_version(&self) -> Result<String, stillkey_core::Error> {
        self.current().map(|version| version.to_string())
    }

    fn wrap(
        &self,
        key: &SecretBytes,
        _: &EncryptionContext,
    ) -> Result<WrappedKey, stillkey_core::Error> {
        let version = self.current()?;
        Ok(WrappedKey {
            version: version.to_string(),
            blob: key.danger_bytes().iter().map(|byte| byte ^ 1).collect(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        _: &EncryptionContext,
    ) -> Result<SecretBytes, stillkey_core::Error> {
        Ok(SecretBytes::new(
            wrapped.blob.iter().map(|byte| byte ^ 1).collect(),
        ))
    }
}

#[test]
fn a_key_is_wrapped_anew_when_its_services_master_key_has_moved_on_and_only_then() {
    let (directory, entries) = entries();
    assert!(!entries.renew_wrapped_key().unwrap(), "no key service");
    let service = Arc::new(Versions(AtomicU64::new(1)));
    let master_key = MasterKey::Service(Arc::<Versions>::clone(&service));
    entries.rotate_master_key(&master_key).unwrap();
    assert!(
        !entries.renew_wrapped_key().unwrap(),
        "wrapped by this version"
    );

    let path = directory.path().join("key.dict");
    let before = std::fs::read(&path).unwrap();
    service.0.store(0, Ordering::Relaxed);
    let error = entries.renew_wrapped_key().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeySource, "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    service.0.store(2, Ordering::Relaxed);
    let entries = Arc::new(entries);
    let policy = RotationPolicy::default();
    let rotation = BackgroundRotation::start(Arc::clone(&entries), policy, || NOW, |_| {});
    rotation.unwrap().look_now();
    let version = || read_key_envelope(&path).unwrap().sealing().key_version;
    assert_eq!(version().as_deref(), Some("2"));
    assert!(!entries.renew_wrapped_key().unwrap());
    drop(entries);
    Entries::open(&directory, &master_key).unwrap();
}

/// A key service that permits what TiKV asks for, to generate data keys and to decrypt, and denies
/// all else.
#[derive(Debug)]
struct DataKeysOnly;

impl DataKeysOnly {
    fn denied<T>(operation: &str) -> Result<T, stillkey_core::Error> {
        let why = format!("access denied: {operation}");
        Err(stillkey_core::Error::Unavailable(why))
    }
}

impl KeyService for DataKeysOnly {
    fn vendor(&self) -> &str {
        "TEST"
    }

    fn provider(&self) -> u8 {
        200
    }

    fn current_version(&self) -> Result<String, stillkey_core::Error> {
        Self::denied("DescribeKey")
    }

    fn generate(
        &self,
        len: usize,
        _: &EncryptionContext,
    ) -> Result<Option<(SecretBytes, WrappedKey)>, stillkey_core::Error> {
        let key = SecretBytes::random(&mut SysRng, len)?;
        let wrapped = WrappedKey {
            blob: key.danger_bytes().iter().map(|byte| byte ^ 1).collect(),
            ..WrappedKey::default()
        };
        Ok(Some((key, wrapped)))
    }

    fn wrap(
        &self,
        _: &SecretBytes,
        _: &EncryptionContext,
    ) -> Result<WrappedKey, stillkey_core::Error> {
        Self::denied("Encrypt")
    }

    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        _: &EncryptionContext,
    ) -> Result<SecretBytes, stillkey_core::Error> {
        Ok(SecretBytes::new(
            wrapped.blob.iter().map(|byte| byte ^ 1).collect(),
        ))
    }
}

#[test]
fn a_key_service_that_only_generates_data_keys_and_decrypts_keeps_an_engine_running() {
    let (directory, entries) = entries();
    let master_key = MasterKey::Service(Arc::new(DataKeysOnly));
    entries.rotate_master_key(&master_key).unwrap();
    entries.new_entry("a").unwrap();
    let first = entries.keys().current_key_id();

    let entries = Arc::new(entries);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let policy = RotationPolicy {
        period: 100,
        ..RotationPolicy::default()
    };
    let report = move |outcome: Result<_, Error>| {
        let outcome = outcome.map_err(|error| error.to_string());
        told.lock().unwrap().push(outcome);
    };
    let clock = || NOW + 100;
    let rotation = BackgroundRotation::start(Arc::clone(&entries), policy, clock, report).unwrap();
    rotation.look_now();
    rotation.look_now();
    drop(rotation);
    assert_ne!(entries.keys().current_key_id(), first);
    // Each look reports that the version can't be read, after replacing a data key that is due.
    let heard = heard.lock().unwrap();
    let [replaced, denied, Ok(None), again, ..] = &heard[..] else {
        panic!("{heard:?}")
    };
    let expired = Some(RotationReason::Expired { age: 100 });
    assert_eq!(*replaced, Ok(expired));
    for denied in [denied, again] {
        let error = denied.as_ref().unwrap_err();
        assert!(error.contains("access denied: DescribeKey"), "{error}");
    }
    drop(entries);
    let entries = Entries::open(&directory, &master_key).unwrap();
    entries.entry("a").unwrap();
}

#[test]
fn keys_that_no_file_uses_are_put_aside_come_back_and_are_forgotten_in_the_end() {
    const GRACE: u64 = 1000;
    let (directory, entries) = entries();
    let used = entries.new_entry("a").unwrap().info().key_id;
    let unused = entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
    let current = entries.rotate_data_key(Method::Aes256Ctr, NOW).unwrap();
    let keys = || {
        entries
            .keys()
            .iter()
            .map(|(id, _)| id)
            .collect::<BTreeSet<_>>()
    };
    let all = BTreeSet::from([used, unused, current]);
    assert_eq!(
        entries.retire_keys(GRACE, NOW + 1).unwrap(),
        RetiredKeys::default(),
        "too young"
    );
    let key = entries
        .keys()
        .data_key(unused, Method::Sm4Ctr.into())
        .unwrap();

    let late = NOW + GRACE;
    let planned = entries.retirable_keys(GRACE, late).unwrap();
    assert_eq!(planned.retired, [unused]);
    assert_eq!(keys(), all, "only planned");
    assert!(!directory.path().join("retired.dict").exists());
    let aside = |key| read_retired_keys(directory.path(), &master_key(key));
    assert!(aside(1).unwrap().is_empty());
    assert_eq!(entries.retire_keys(GRACE, late).unwrap().retired, [unused]);
    assert_eq!(keys(), BTreeSet::from([used, current]));
    assert_eq!(
        aside(1).unwrap().get(unused).unwrap().retired_at,
        Some(late)
    );
    assert_eq!(aside(2).unwrap_err().kind(), ErrorKind::WrongKey);
    let sealed = std::fs::read(directory.path().join("retired.dict")).unwrap();
    // The side file follows the master key.
    entries.rotate_master_key(&master_key(2)).unwrap();
    assert_eq!(aside(2).unwrap().len(), 1);
    // As in the middle of that change.
    let path = |name| directory.path().join(name);
    std::fs::rename(path("retired.dict"), path("retired-next.dict")).unwrap();
    assert_eq!(aside(2).unwrap().len(), 1);
    std::fs::write(path("retired.dict"), sealed).unwrap();
    assert_eq!(aside(2).unwrap().len(), 1);
    assert_eq!(aside(1).unwrap().len(), 1);
    assert_eq!(entries.restore_keys().unwrap(), [unused]);
    assert_eq!(
        (
            keys(),
            entries
                .keys()
                .data_key(unused, Method::Sm4Ctr.into())
                .unwrap()
        ),
        (all, key)
    );

    entries.retire_keys(GRACE, late).unwrap();
    assert_eq!(
        entries.retire_keys(GRACE, late + GRACE - 1).unwrap(),
        RetiredKeys::default()
    );
    assert_eq!(
        entries.retire_keys(GRACE, late + GRACE).unwrap().forgotten,
        [unused]
    );
    assert!(entries.restore_keys().unwrap().is_empty());
    assert!(!directory.path().join("retired.dict").exists());
    let error = entries.set_entry(
        "b",
        FileInfo::encrypted(unused, Iv::new([0; 16]), Method::Sm4Ctr),
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(entries.entry("a").is_ok());
}

#[test]
fn a_key_that_entries_name_again_is_back_when_the_directory_is_opened_and_never_forgotten() {
    const GRACE: u64 = 10;
    let (directory, entries) = entries();
    let open = || Entries::open(&directory, &master_key(1)).unwrap();
    let path = directory.path().join("file.dict");
    let used = entries.new_entry("a").unwrap().info().key_id;
    entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
    drop(entries);
    let backup = std::fs::read(&path).unwrap();
    let entries = open();
    entries.remove_entry("a").unwrap();
    let retired = entries.retire_keys(GRACE, NOW + GRACE).unwrap().retired;
    assert_eq!(retired, [used]);
    drop(entries);
    // An older one is put there on purpose.
    std::fs::write(&path, backup).unwrap();
    std::fs::remove_file(directory.path().join("file.synced")).unwrap();
    assert!(open().entry("a").is_ok());
    for later in 2..4 {
        let changed = open().retire_keys(GRACE, NOW + later * GRACE).unwrap();
        assert_eq!(changed, RetiredKeys::default());
        assert!(open().entry("a").is_ok());
    }
    assert!(!directory.path().join("retired.dict").exists());
}

/// A key service that says when it is asked to wrap, and then waits to be told to go on.
#[derive(Debug)]
struct Hesitant {
    asked: Mutex<mpsc::Sender<()>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl KeyService for Hesitant {
    fn vendor(&self) -> &str {
        "TEST"
    }

    fn provider(&self) -> u8 {
        200
    }

    fn wrap(
        &self,
        key: &SecretBytes,
        _: &EncryptionContext,
    ) -> Result<WrappedKey, stillkey_core::Error> {
        self.asked.lock().unwrap().send(()).unwrap();
        let told = self.go_on.lock().unwrap().recv_timeout(PATIENCE);
        told.map_err(|_| stillkey_core::Error::Unavailable("nobody said go on".into()))?;
        Ok(WrappedKey {
            blob: key.danger_bytes().to_vec(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        _: &EncryptionContext,
    ) -> Result<SecretBytes, stillkey_core::Error> {
        Ok(SecretBytes::new(wrapped.blob.clone()))
    }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn entries_are_made_while_a_key_service_takes_its_time_over_the_keys_that_are_put_aside() {
    let (_directory, entries) = entries();
    entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
    let ((asked, is_asked), (go_on, told)) = (mpsc::channel(), mpsc::channel());
    let service = Hesitant {
        asked: Mutex::new(asked),
        go_on: Mutex::new(told),
    };
    go_on.send(()).unwrap();
    let service = MasterKey::Service(Arc::new(service));
    entries.rotate_master_key(&service).unwrap();
    is_asked.recv_timeout(PATIENCE).unwrap();
    thread::scope(|scope| {
        let retired = scope.spawn(|| entries.retire_keys(0, NOW + 1));
        // One for each of the two files.
        for name in ["a", "b"] {
            is_asked.recv_timeout(PATIENCE).unwrap();
            entries.new_entry(name).unwrap();
            go_on.send(()).unwrap();
        }
        assert_eq!(retired.join().unwrap().unwrap().retired.len(), 1);
    });
}

#[test]
fn a_key_that_an_entry_gets_while_keys_are_put_aside_stays() {
    let (_directory, entries) = entries();
    let info = entries.new_entry("a").unwrap().info().clone();
    entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
    entries.remove_entry("a").unwrap();
    let ((asked, is_asked), (go_on, told)) = (mpsc::channel(), mpsc::channel());
    let service = Hesitant {
        asked: Mutex::new(asked),
        go_on: Mutex::new(told),
    };
    go_on.send(()).unwrap();
    let service = MasterKey::Service(Arc::new(service));
    entries.rotate_master_key(&service).unwrap();
    is_asked.recv_timeout(PATIENCE).unwrap();
    thread::scope(|scope| {
        let retired = scope.spawn(|| entries.retire_keys(0, NOW + 1));
        // By now it has looked which keys are in use.
        is_asked.recv_timeout(PATIENCE).unwrap();
        entries.set_entry("b", info).unwrap();
        for _ in 0..8 {
            go_on.send(()).unwrap();
        }
        let retired = retired.join().unwrap().unwrap().retired;
        assert!(retired.is_empty(), "{retired:?}");
    });
    assert!(entries.entry("b").is_ok());
}

#[test]
fn wherever_the_disk_fails_retired_keys_are_in_one_of_the_two_places_under_the_master_key() {
    for step in 0.. {
        let (directory, entries) = entries();
        let unused = entries.keys().current_key_id();
        entries.rotate_data_key(Method::Sm4Ctr, NOW).unwrap();
        fault::fail_from(step);
        let done = entries
            .retire_keys(0, NOW)
            .and_then(|_| entries.rotate_master_key(&master_key(2)));
        let reached = fault::heal();
        drop(entries);
        let again = Entries::open(&directory, &master_key(2));
        let again = again
            .or_else(|_| Entries::open(&directory, &master_key(1)))
            .unwrap();
        again.restore_keys().unwrap();
        assert!(again.keys().get(unused).is_ok(), "step {step}");
        if !reached {
            done.unwrap();
            assert!(step > 8);
            return;
        }
    }
}

#[test]
fn bulk_changes_are_durable_with_the_next_sync_and_a_failed_one_is_not_taken_for_done() {
    let (directory, entries) = entries();
    let bulk = entries.bulk();
    fault::fail_next(Op::Sync);
    bulk.new_entry("a").unwrap();
    bulk.new_entry("b").unwrap();
    assert!(entries.entry("b").is_ok(), "they count at once");
    // The failure that was waiting for it; then the file is written anew.
    assert_eq!(bulk.sync_all().unwrap_err().kind(), ErrorKind::Io);
    bulk.remove_entry("a").unwrap();
    fault::fail_next(Op::Sync);
    assert!(
        entries.new_entry("c").is_err(),
        "a durable change syncs what has waited"
    );
    bulk.sync_all().unwrap();
    assert_eq!(names(&directory), ["b"]);
    fault::fail_next(Op::Sync);
    bulk.sync_all().unwrap();
    fault::heal();
}

#[test]
fn that_there_is_nothing_to_do_rests_on_nothing_that_a_crash_takes_back() {
    let (_directory, entries) = entries();
    entries.new_entry("a").unwrap();
    entries.bulk().remove_entry("a").unwrap();
    fault::fail_next(Op::Sync);
    assert_eq!(
        entries.remove_entry("a").unwrap_err().kind(),
        ErrorKind::Io,
        "its removal is not durable yet"
    );
    assert_eq!(entries.remove_entry("a").unwrap(), None);
    // What may wait doesn't sync for that.
    fault::fail_next(Op::Sync);
    assert_eq!(entries.bulk().remove_entry("a").unwrap(), None);
    fault::heal();
}

#[test]
fn bulk_changes_wait_only_as_long_as_a_crash_among_them_can_be_told_from_damage() {
    let (_directory, entries) = entries();
    let name = |number: usize| format!("{number:>60000}");
    fault::fail_next(Op::Sync);
    let refused = (0..10).find(|number| entries.bulk().new_entry(&name(*number)).is_err());
    assert_eq!(refused, Some(UNSYNCED_LIMIT / 2 / 60_000));
    assert_eq!(entries.len(), UNSYNCED_LIMIT / 2 / 60_000);
}
