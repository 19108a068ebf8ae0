//! The embedded KMS on a disk: what is durable, what is logged, and who may open it.

mod crash;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::{AuditVerifier, ChainPosition};
use stillkey_core::kms::key::KeyState;
use stillkey_core::kms::request::{CreateKey, Page};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::time::{DAY, Time};
use stillkey_core::kms::{Caller, Face, Principal};
use stillkey_core::{KeyService, MasterKey, RawMasterKey, SecretBytes};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::testing::snapshot;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600;

/// A clock that a test sets.
#[derive(Debug, Default)]
struct TestClock {
    unix: AtomicU64,
    uptime: AtomicU64,
}

impl TestClock {
    fn new() -> Arc<Self> {
        let clock = Self::default();
        clock.unix.store(START, Ordering::Relaxed);
        Arc::new(clock)
    }

    /// Both go on.
    fn pass(&self, seconds: u64) {
        self.unix.fetch_add(seconds, Ordering::Relaxed);
        self.uptime.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Only what it shows.
    fn leap(&self, seconds: u64) {
        self.unix.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn unix(&self) -> u64 {
        self.unix.load(Ordering::Relaxed)
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.uptime.load(Ordering::Relaxed))
    }
}

fn root() -> Caller {
    Caller::new(Principal::Root, Face::Alibaba)
}

fn raw(byte: u8) -> RootKey {
    RootKey::Raw(RawMasterKey::new(SecretBytes::new(vec![byte; 32])).unwrap())
}

fn options(clock: &Arc<TestClock>) -> EmbeddedKmsOptions {
    EmbeddedKmsOptions::new(raw(7)).clock(clock.clone())
}

fn create(directory: &Path, clock: &Arc<TestClock>) -> EmbeddedKms {
    let namespace = Namespace::new("local", "000000000000").unwrap();
    EmbeddedKms::create(directory, namespace, options(clock)).unwrap()
}

fn key(kms: &EmbeddedKms) -> String {
    let key = kms.create_key(&root(), CreateKey::default()).unwrap();
    key.key.to_string()
}

fn encrypt(kms: &EmbeddedKms, key: &str) -> Vec<u8> {
    let plaintext = SecretBytes::copied(b"plaintext");
    let made = kms.encrypt(&root(), key, plaintext, Default::default());
    made.unwrap().blob
}

fn opens(kms: &EmbeddedKms, blob: &[u8]) -> bool {
    let opened = kms.decrypt(&root(), blob.to_vec(), Default::default());
    opened.is_ok_and(|opened| opened.plaintext.danger_bytes() == b"plaintext")
}

/// The names of the events in the log, file by file, with the chain checked.
fn events(directory: &Path, store_key: &SecretBytes) -> Vec<String> {
    let mut verifier = AuditVerifier::new(store_key, ChainPosition::START);
    let mut events = Vec::new();
    for content in snapshot(&directory.join("audit")).into_values() {
        for line in String::from_utf8(content).unwrap().lines() {
            verifier.check(line).unwrap();
            let json = stillkey_core::kms::json::Json::parse(line).unwrap();
            let name = json.member("eventName").and_then(|name| name.as_str());
            events.push(name.unwrap().to_owned());
        }
    }
    events
}

#[test]
fn what_was_acknowledged_is_there_when_it_is_opened_again_and_so_is_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    let id = key(&kms);
    kms.create_alias(&root(), "alias/a", &id).unwrap();
    let blob = encrypt(&kms, "alias/a");
    let store_key = kms.state().store_key().duplicate();
    drop(kms);
    let kms = EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
    assert!(opens(&kms, &blob));
    let versions = kms
        .list_key_versions(&root(), &id, Page::default())
        .unwrap();
    assert_eq!(versions.items[0].uses, 1);
    drop(kms);
    assert_eq!(
        events(directory.path(), &store_key),
        [
            "CreateKey",
            "CreateAlias",
            "Encrypt",
            "Decrypt",
            "ListKeyVersions"
        ]
    );
}

#[test]
fn a_wrong_root_key_damage_and_absence_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    drop(create(directory.path(), &clock));
    let open = |root_key| {
        let opened = EmbeddedKms::open(directory.path(), EmbeddedKmsOptions::new(root_key));
        opened.map(drop).unwrap_err()
    };
    assert_eq!(open(raw(8)).kind(), ErrorKind::WrongKey);
    let namespace = Namespace::new("local", "0").unwrap();
    let again = EmbeddedKms::create(directory.path(), namespace, options(&clock));
    assert_eq!(
        again.map(drop).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let passphrase = Arc::new(SecretBytes::copied(b"x"));
    assert_eq!(
        open(RootKey::Passphrase(passphrase)).kind(),
        ErrorKind::WrongKey
    );
    let path = directory.path().join("kms.state");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = open(raw(7));
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("kms.state.previous"), "{error}");
    std::fs::write(&path, b"something else").unwrap();
    assert!(open(raw(7)).to_string().contains("not the state of a KMS"));
    let empty = tempfile::tempdir().unwrap();
    let error = EmbeddedKms::open(empty.path(), options(&clock))
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(snapshot(empty.path()).is_empty());
}

#[test]
fn a_second_process_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let _kms = create(directory.path(), &clock);
    let error = EmbeddedKms::open(directory.path(), options(&clock))
        .map(drop)
        .unwrap_err();
    assert!(matches!(&error, Error::Locked { holder, .. } if holder.contains("process")));
}

#[test]
fn a_passphrase_opens_what_it_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let passphrase = |text: &[u8]| {
        EmbeddedKmsOptions::new(RootKey::Passphrase(Arc::new(SecretBytes::copied(text))))
    };
    let namespace = Namespace::new("local", "0").unwrap();
    let kms = EmbeddedKms::create(directory.path(), namespace, passphrase(b"correct")).unwrap();
    let id = key(&kms);
    drop(kms);
    let wrong = EmbeddedKms::open(directory.path(), passphrase(b"wrong")).map(drop);
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::WrongKey);
    let kms = EmbeddedKms::open(directory.path(), passphrase(b"correct")).unwrap();
    kms.describe_key(&root(), &id).unwrap();
}

#[test]
fn a_kms_opens_by_itself_through_another_one_and_its_root_key_can_change() {
    let (outer, inner) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = TestClock::new();
    let other = Arc::new(create(outer.path(), &clock));
    let id = key(&other);
    let service = RootKey::Service(Arc::new(KmsKey::new(other, id)));
    let kms = create(inner.path(), &clock);
    let id = key(&kms);
    let blob = encrypt(&kms, &id);
    kms.rotate_root_key(&service).unwrap();
    encrypt(&kms, &id);
    let store_key = kms.state().store_key().duplicate();
    drop(kms);
    let by_file = EmbeddedKms::open(inner.path(), options(&clock)).map(drop);
    assert_eq!(by_file.unwrap_err().kind(), ErrorKind::WrongKey);
    let by_service = EmbeddedKmsOptions::new(service).clock(clock.clone());
    let kms = EmbeddedKms::open(inner.path(), by_service).unwrap();
    assert!(opens(&kms, &blob));
    drop(kms);
    assert_eq!(
        events(inner.path(), &store_key),
        ["CreateKey", "Encrypt", "Encrypt", "Decrypt"]
    );
}

#[test]
fn an_old_state_put_back_is_refused_with_both_generations() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    let id = key(&kms);
    let old = std::fs::read(directory.path().join("kms.state")).unwrap();
    kms.create_key_version(&root(), &id).unwrap();
    drop(kms);
    std::fs::write(directory.path().join("kms.state"), &old).unwrap();
    let error = EmbeddedKms::open(directory.path(), options(&clock))
        .map(drop)
        .unwrap_err();
    let Error::KmsRolledBack { found, logged, .. } = error else {
        panic!("{error}");
    };
    assert!(found < logged, "{found} {logged}");
    let accepted = options(&clock).accept_rollback();
    let kms = EmbeddedKms::open(directory.path(), accepted).unwrap();
    kms.create_key_version(&root(), &id).unwrap();
    drop(kms);
    // From then on, it is the newest.
    EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
}

#[test]
fn nothing_is_destroyed_by_a_clock_that_leapt() {
    for leap in [DAY + 1 + 8 * DAY, 3650 * DAY] {
        let directory = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let kms = create(directory.path(), &clock);
        let id = key(&kms);
        kms.schedule_key_deletion(&root(), &id, 7).unwrap();
        clock.leap(leap);
        assert!(kms.doubts_clock());
        assert!(kms.tick().unwrap().is_empty());
        let state = kms.describe_key(&root(), &id).unwrap().state;
        assert_eq!(state, KeyState::PendingDeletion);
        drop(kms);
        let kms = EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
        assert!(kms.describe_key(&root(), &id).is_ok());
        kms.accept_clock_jump();
        assert_eq!(kms.tick().unwrap()[0].event().name(), "DeleteKey");
        assert!(kms.describe_key(&root(), &id).is_err());
    }
}

#[test]
fn what_is_due_is_done_before_a_request_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    let request = CreateKey {
        rotation: RotationInterval::from_seconds(7 * DAY),
        ..CreateKey::default()
    };
    let rotated = kms.create_key(&root(), request).unwrap().key.to_string();
    let doomed = key(&kms);
    kms.schedule_key_deletion(&root(), &doomed, 7).unwrap();
    let blob = encrypt(&kms, &rotated);
    clock.pass(7 * DAY);
    let described = kms.describe_key(&root(), &rotated).unwrap();
    assert_eq!(described.last_rotation, Time::from_unix(START + 7 * DAY));
    let gone = kms.describe_key(&root(), &doomed).unwrap_err();
    assert!(gone.to_string().contains("was deleted"), "{gone}");
    assert!(opens(&kms, &blob));
    clock.leap(0);
    let store_key = kms.state().store_key().duplicate();
    drop(kms);
    let events: BTreeSet<_> = events(directory.path(), &store_key).into_iter().collect();
    assert!(events.contains("RotateKey") && events.contains("DeleteKey"));
}

#[test]
fn a_clock_that_goes_back_shows_the_last_change() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    key(&kms);
    clock.unix.store(START - 3650 * DAY, Ordering::Relaxed);
    let id = key(&kms);
    let created = kms.describe_key(&root(), &id).unwrap().created;
    assert_eq!(created.unix(), START);
}

#[test]
fn a_disabled_key_is_used_by_no_thread_once_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = Arc::new(create(directory.path(), &clock));
    let id = key(&kms);
    let blob = encrypt(&kms, &id);
    let disabled = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(5));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (kms, id, blob) = (kms.clone(), id.clone(), blob.clone());
            let (disabled, barrier) = (disabled.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                for _ in 0..2000 {
                    let before = disabled.load(Ordering::SeqCst);
                    let opened = opens(&kms, &blob);
                    let made =
                        kms.generate_data_key(&root(), &id, Default::default(), Default::default());
                    assert!(before == 0 || !opened && made.is_err());
                }
            })
        })
        .collect();
    barrier.wait();
    for _ in 0..5 {
        kms.create_key_version(&root(), &id).unwrap();
    }
    kms.disable_key(&root(), &id).unwrap();
    disabled.store(1, Ordering::SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_key_of_the_kms_is_a_master_key_that_follows_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = Arc::new(create(directory.path(), &clock));
    let id = key(&kms);
    kms.create_alias(&root(), "alias/stillkey", &id).unwrap();
    let service = Arc::new(KmsKey::new(kms.clone(), "alias/stillkey"));
    let before = service.current_version().unwrap();
    let payload = SecretBytes::copied(b"payload");
    let master_key = MasterKey::Service(service.clone());
    let envelope =
        stillkey_core::Envelope::seal(&payload, &master_key, &mut crate::SysRng).unwrap();
    assert_eq!(envelope.sealing().key_version, Some(before.clone()));
    kms.create_key_version(&root(), &id).unwrap();
    assert_ne!(service.current_version().unwrap(), before);
    assert_eq!(envelope.open(&master_key).unwrap(), payload);
    // An outage, and no reason to try another master key.
    kms.disable_key(&root(), &id).unwrap();
    let error = envelope.open(&master_key).unwrap_err();
    assert!(
        matches!(error, stillkey_core::Error::Unavailable(_)),
        "{error}"
    );
}

#[test]
fn an_audit_log_that_is_full_rolls_over_with_its_chain() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    kms.roll_audit_at(2000);
    let id = key(&kms);
    for _ in 0..10 {
        encrypt(&kms, &id);
        kms.flush().unwrap();
    }
    let store_key = kms.state().store_key().duplicate();
    drop(kms);
    let kms = EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
    encrypt(&kms, &id);
    drop(kms);
    assert!(snapshot(&directory.path().join("audit")).len() > 3);
    assert_eq!(events(directory.path(), &store_key).len(), 12);
}

#[test]
fn a_torn_end_of_the_log_stays_where_it_is_and_the_chain_goes_on_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    key(&kms);
    key(&kms);
    drop(kms);
    let name = snapshot(&directory.path().join("audit"))
        .into_keys()
        .next()
        .unwrap();
    let path = directory.path().join("audit").join(name);
    let mut log = std::fs::read(&path).unwrap();
    log.truncate(log.len() - 20);
    std::fs::write(&path, &log).unwrap();
    let kms = EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
    let store_key = kms.state().store_key().duplicate();
    drop(kms);
    assert_eq!(std::fs::read(&path).unwrap(), log);
    let files: Vec<_> = snapshot(&directory.path().join("audit"))
        .into_values()
        .collect();
    let whole = String::from_utf8(log).unwrap();
    let whole = whole.lines().next().unwrap();
    let mut verifier = AuditVerifier::new(&store_key, ChainPosition::START);
    verifier.check(whole).unwrap();
    // The second key's record was torn; it is there again, from the state.
    for line in String::from_utf8(files[1].clone()).unwrap().lines() {
        verifier.check(line).unwrap();
    }
    let again = String::from_utf8(files[1].clone()).unwrap();
    assert!(
        again.contains("AuditGap") && again.contains("CreateKey"),
        "{again}"
    );
}

#[test]
fn what_was_changed_left_out_or_reordered_in_the_log_is_named_and_what_a_crash_tore_is_not_blamed()
{
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    kms.roll_audit_at(1500);
    for _ in 0..6 {
        key(&kms);
    }
    let whole = kms.verify_audit().unwrap();
    assert_eq!((whole.records, whole.broken), (6, None));
    let audit = directory.path().join("audit");
    let files = snapshot(&audit);
    assert!(files.len() > 2, "{}", files.len());
    let mut found = BTreeSet::new();
    for (name, content) in &files {
        let text = String::from_utf8(content.clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let changed = text.replacen("CreateKey", "DeleteKey", 1);
        let left_out = lines[1..].join("\n") + "\n";
        let repeated = format!("{}\n{text}", lines[0]);
        for content in [changed, left_out, repeated] {
            std::fs::write(audit.join(name), &content).unwrap();
            let report = kms.verify_audit().unwrap();
            let is_last = files.keys().next_back() == Some(name);
            // A file that lost all its lines at the end of the log is a log that ends earlier.
            assert!(
                report.broken.is_some() || content.len() <= 1 && is_last,
                "{name} {content}"
            );
            found.extend(report.broken.map(|(path, line, _)| (path, line)));
        }
        std::fs::write(audit.join(name), content).unwrap();
    }
    assert!(found.len() > 3, "{found:?}");
    assert_eq!(kms.verify_audit().unwrap().broken, None);
    drop(kms);
    let (last, content) = files.iter().next_back().unwrap();
    std::fs::write(audit.join(last), &content[..content.len() - 5]).unwrap();
    let kms = EmbeddedKms::open(directory.path(), options(&clock)).unwrap();
    let report = kms.verify_audit().unwrap();
    assert_eq!((report.broken, report.torn.len()), (None, 1));
}

#[test]
fn no_file_holds_material_and_no_line_holds_plaintext() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = create(directory.path(), &clock);
    let id = key(&kms);
    let made = kms
        .generate_data_key(&root(), &id, Default::default(), Default::default())
        .unwrap();
    encrypt(&kms, &id);
    drop(kms);
    let secret = made.plaintext.danger_bytes();
    let mut files = snapshot(directory.path());
    files.extend(snapshot(&directory.path().join("audit")));
    for (name, content) in files {
        let holds = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(&secret[..9]) && !holds(b"plaintext"), "{name}");
        assert!(!holds(&[7; 9]), "{name}");
    }
}
