//! Power failures after every change of the disk, and failures of every operation, in whatever is done
//! to a KMS: it opens by itself, what was acknowledged is there, and logged exactly once.
//!
//! `STILLKEY_KMS_CRASH_STATES`: how many states to check; `STILLKEY_LONG` multiplies it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use stillkey_core::kms::State;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::json::Json;
use stillkey_core::kms::key::Origin;
use stillkey_core::kms::material::{ImportCipher, KeeperError};
use stillkey_core::kms::request::ImportKeyMaterial;

use super::*;
use crate::testing::disk::{self, Disk, Failure, Recording};
use crate::testing::{Xorshift, from_environment};

/// The material as it is, in place of RSA.
#[derive(Debug)]
struct NoRsa;

impl ImportCipher for NoRsa {
    fn generate(&self, _: WrappingAlgorithm) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        Ok((Vec::new(), SecretBytes::copied(b"private")))
    }

    fn unwrap(
        &self,
        _: &SecretBytes,
        _: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        Ok(Some(SecretBytes::copied(wrapped)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    CreateKey,
    CreateAlias,
    Rotate,
    Disable,
    Schedule,
    Import,
    DeleteMaterial,
    TickWithAllDue,
    RotateRootKey,
    RollAudit,
    Encrypt,
}

use Operation::*;

const ALL: [Operation; 11] = [
    CreateKey,
    CreateAlias,
    Rotate,
    Disable,
    Schedule,
    Import,
    DeleteMaterial,
    TickWithAllDue,
    RotateRootKey,
    RollAudit,
    Encrypt,
];

/// A KMS with one key of each kind, as it was before anything was recorded.
struct World {
    clock: Arc<TestClock>,
    main: String,
    external: String,
    token: Vec<u8>,
    blobs: Vec<Vec<u8>>,
    made: usize,
    root_key: u8,
}

fn crash_options(clock: &Arc<TestClock>, root_key: u8) -> EmbeddedKmsOptions {
    // What is buffered is written by a thread of its own, whenever it comes to it.
    EmbeddedKmsOptions::new(raw(root_key))
        .clock(clock.clone())
        .import(Arc::new(NoRsa))
        .audit(AuditMode::Synced)
}

impl World {
    fn make(directory: &Path) -> Self {
        let clock = TestClock::new();
        let namespace = Namespace::new("local", "0").unwrap();
        let kms = EmbeddedKms::create(directory, namespace, crash_options(&clock, 7)).unwrap();
        let create = |request| {
            let key = kms.create_key(&root(), request).unwrap();
            key.key.to_string()
        };
        let main = create(super::CreateKey {
            rotation: RotationInterval::from_seconds(7 * DAY),
            ..Default::default()
        });
        let external = create(super::CreateKey {
            origin: Origin::External,
            ..Default::default()
        });
        let doomed = create(Default::default());
        kms.schedule_key_deletion(&root(), &doomed, 7).unwrap();
        let algorithm = WrappingAlgorithm::OaepSha256;
        let parameters = kms.parameters_for_import(&root(), &external, algorithm);
        let blobs = vec![encrypt(&kms, &main)];
        Self {
            clock,
            main,
            external,
            token: parameters.unwrap().token,
            blobs,
            made: 0,
            root_key: 7,
        }
    }

    fn apply(&mut self, kms: &EmbeddedKms, operation: Operation) -> Result<(), Error> {
        self.made += 1;
        let caller = root();
        match operation {
            CreateKey => drop(kms.create_key(&caller, Default::default())?),
            CreateAlias => {
                kms.create_alias(&caller, &format!("alias/{}", self.made), &self.main)?;
            }
            Rotate => {
                kms.create_key_version(&caller, &self.main)?;
            }
            Disable => kms.disable_key(&caller, &self.main)?,
            Schedule => {
                kms.schedule_key_deletion(&caller, &self.external, 7)?;
            }
            Import => {
                kms.import_key_material(
                    &caller,
                    ImportKeyMaterial {
                        key: self.external.clone(),
                        wrapped: vec![0x5a; 32],
                        token: self.token.clone(),
                        expires: None,
                    },
                )?;
            }
            DeleteMaterial => kms.delete_key_material(&caller, &self.external)?,
            TickWithAllDue => {
                self.clock.pass(7 * DAY);
                drop(kms.tick()?);
            }
            RotateRootKey => {
                let next = self.root_key ^ 1;
                kms.rotate_root_key(&raw(next))?;
                self.root_key = next;
            }
            RollAudit => {
                kms.roll_audit_at(1);
                let rolled = encrypt_or_error(kms, &self.main);
                kms.roll_audit_at(64 << 20);
                self.blobs.push(rolled?);
            }
            Encrypt => self.blobs.push(encrypt_or_error(kms, &self.main)?),
        }
        Ok(())
    }
}

fn encrypt_or_error(kms: &EmbeddedKms, key: &str) -> Result<Vec<u8>, Error> {
    let plaintext = SecretBytes::copied(b"plaintext");
    Ok(kms
        .encrypt(&root(), key, plaintext, Default::default())?
        .blob)
}

/// Refused by the state that an earlier operation has led to: nothing has happened.
fn is_refusal(done: &Result<(), Error>) -> bool {
    matches!(done, Err(Error::KmsRefused(_)))
}

/// What a log says: how often each event stands in it. What is torn is passed over, if the chain goes
/// on behind it.
fn logged(directory: &Path, store_key: &SecretBytes) -> Result<BTreeMap<String, usize>, String> {
    let mut verifier = AuditVerifier::new(store_key, ChainPosition::START);
    let mut events = BTreeMap::new();
    let mut torn = None;
    for (name, content) in snapshot(&directory.join("audit")) {
        let content = String::from_utf8_lossy(&content);
        for line in content.split_inclusive('\n') {
            let Some(whole) = line.strip_suffix('\n') else {
                break;
            };
            if verifier.check(whole).is_err() {
                torn = Some(name.clone());
                break;
            }
            // What is torn was the end of the log, and the chain goes on in the next file.
            torn = None;
            let json = Json::parse(whole).unwrap();
            if let Some(id) = json.member("eventId").and_then(Json::as_str) {
                *events.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    match torn {
        Some(name) => Err(format!("{name}: the chain is broken, and doesn't go on")),
        None => Ok(events),
    }
}

/// What is to be found after a crash: before it, so much was acknowledged.
#[derive(Clone)]
struct Expected {
    /// Changes and syncs before it.
    at: usize,
    state: Arc<State>,
    events: Vec<String>,
    blobs: usize,
    root_key: u8,
}

struct Played {
    disk: Disk,
    expected: Vec<Expected>,
    world: World,
    script: String,
}

fn play(place: &Path, script: &[Operation], named_temporaries: bool) -> Played {
    let directory = place.join("played");
    std::fs::create_dir(&directory).unwrap();
    let mut world = World::make(&directory);
    let base = disk::State::of(&directory);
    let recording = disk::record(&directory, &base, named_temporaries);
    let kms = EmbeddedKms::open(&directory, crash_options(&world.clock, 7)).unwrap();
    let store_key = kms.state().store_key().duplicate();
    let known = |recording: &Recording, kms: &EmbeddedKms, world: &World| Expected {
        at: recording.len(),
        state: kms.state(),
        events: logged(&directory, &store_key)
            .unwrap()
            .into_keys()
            .collect(),
        blobs: world.blobs.len(),
        root_key: world.root_key,
    };
    let mut expected = vec![known(&recording, &kms, &world)];
    for operation in script {
        let done = world.apply(&kms, *operation);
        assert!(done.is_ok() || is_refusal(&done), "{operation:?} {done:?}");
        expected.push(known(&recording, &kms, &world));
    }
    let disk = recording.stop();
    drop(kms);
    std::fs::remove_dir_all(&directory).unwrap();
    Played {
        disk,
        expected,
        world,
        script: format!("{script:?}"),
    }
}

/// What is wrong with what a power failure has left; `None`: nothing.
fn violation(place: &Path, left: &disk::State, played: &Played, cut: usize) -> Option<String> {
    let directory = place.join("left");
    std::fs::create_dir(&directory).unwrap();
    left.materialise(&directory);
    let found = look(&directory, played, cut);
    std::fs::remove_dir_all(&directory).unwrap();
    found.err()
}

fn look(directory: &Path, played: &Played, cut: usize) -> Result<(), String> {
    let acknowledged = played.expected.iter().rposition(|known| known.at <= cut);
    let before = &played.expected[acknowledged.unwrap_or(0)];
    let after = &played.expected[(acknowledged.unwrap_or(0) + 1).min(played.expected.len() - 1)];
    let clock = &played.world.clock;
    let opened = EmbeddedKms::open(directory, crash_options(clock, before.root_key));
    let opened = match opened {
        Err(error) if error.kind() == ErrorKind::WrongKey && after.root_key != before.root_key => {
            EmbeddedKms::open(directory, crash_options(clock, after.root_key))
        }
        other => other,
    };
    let kms = opened.map_err(|error| format!("it doesn't open: {error}"))?;
    let state = kms.state();
    let is_after = *state == *after.state;
    if !is_after && *state != *before.state {
        return Err("the state is neither that before nor that after".into());
    }
    let events = logged(directory, state.store_key())?;
    let count = |id: &String| events.get(id).copied().unwrap_or_default();
    if let Some(id) = before.events.iter().find(|id| count(id) != 1) {
        return Err(format!(
            "an acknowledged event is logged {} times: {id}",
            count(id)
        ));
    }
    let is_new = |id: &&String| !before.events.contains(id);
    // Whether the one in between changed anything, its state tells.
    let changes = *after.state != *before.state;
    for id in after.events.iter().filter(is_new) {
        let most = count(id) <= 1;
        let exactly = !changes || (count(id) == 1) == is_after;
        if !most || !exactly {
            return Err(format!(
                "the event in between is logged {} times: {id}",
                count(id)
            ));
        }
    }
    // The blobs that were handed out open, once their key may be used.
    let _ = kms.enable_key(&root(), &played.world.main);
    for blob in &played.world.blobs[..before.blobs] {
        if !opens(&kms, blob) {
            return Err("a blob that was handed out doesn't open".into());
        }
    }
    let made = key(&kms);
    drop(kms);
    let again = EmbeddedKms::open(directory, crash_options(clock, before.root_key))
        .or_else(|_| EmbeddedKms::open(directory, crash_options(clock, after.root_key)))
        .map_err(|error| format!("it doesn't open again: {error}"))?;
    again
        .describe_key(&root(), &made)
        .map_err(|error| format!("what was made after the crash is gone: {error}"))?;
    logged(directory, state.store_key()).map(drop)
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

#[test]
fn no_power_failure_loses_or_doubles_a_change_of_a_kms() {
    let factor = from_environment("STILLKEY_LONG").unwrap_or(1);
    let wanted = factor * from_environment("STILLKEY_KMS_CRASH_STATES").unwrap_or(20_000);
    let place = scratch();
    let mut random = Xorshift::new(18);
    let mut scripts: Vec<Vec<Operation>> = ALL.map(|operation| vec![operation]).into();
    scripts.extend(
        ALL.iter()
            .flat_map(|first| ALL.map(|second| vec![*first, second])),
    );
    let (mut checked, mut violations) = (0, 0);
    let mut number = 0;
    while checked < wanted {
        // All of length one and two, then as many of three as it takes.
        let script = match scripts.get(number) {
            Some(script) => script.clone(),
            None => (0..3).map(|_| ALL[random.below(ALL.len())]).collect(),
        };
        number += 1;
        let played = play(place.path(), &script, number.is_multiple_of(2));
        let mut seen = std::collections::HashSet::new();
        for cut in 0..=played.disk.len() {
            let doubtful = played.disk.doubtful_after(cut);
            for bias in 0..6 {
                let left = doubtful.survivor(&mut |of| match bias {
                    0 => 0,
                    1 => of - 1,
                    _ => random.below(of),
                });
                let mut hasher = DefaultHasher::new();
                (
                    &left,
                    played.expected.iter().rposition(|known| known.at <= cut),
                )
                    .hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                checked += 1;
                if let Some(why) = violation(place.path(), &left, &played, cut) {
                    violations += 1;
                    if violations <= 5 {
                        println!(
                            "{}, after {cut} of {}: {why}",
                            played.script,
                            played.disk.len()
                        );
                    }
                }
            }
        }
    }
    println!("kms: crash states: {checked} checked, {violations} violations");
    assert_eq!(violations, 0);
}

#[test]
fn no_failure_of_the_disk_leaves_another_state_than_the_one_that_is_told() {
    let place = scratch();
    let mut cases = 0;
    for operation in ALL {
        for errno in [5, 28] {
            let mut at = 0;
            loop {
                let failure = Failure::Error { at, errno };
                if !fails(place.path(), operation, failure) {
                    break;
                }
                at += 1;
                cases += 1;
            }
        }
        for at in 0..40 {
            for len in [0, 1, 300] {
                cases += usize::from(fails(place.path(), operation, Failure::Short { at, len }));
            }
        }
    }
    println!("kms: {cases} failures");
    assert!(cases > 200, "{cases}");
}

/// Whether the failure came to be.
fn fails(place: &Path, operation: Operation, failure: Failure) -> bool {
    let directory = place.join("failing");
    std::fs::create_dir(&directory).unwrap();
    let mut world = World::make(&directory);
    let base = disk::State::of(&directory);
    let recording = disk::record(&directory, &base, false);
    let kms = EmbeddedKms::open(&directory, crash_options(&world.clock, 7)).unwrap();
    let before = kms.state();
    recording.plan(failure);
    let done = world.apply(&kms, operation);
    let came_to_be = recording.heal();
    let what = format!("{operation:?} {failure:?} {done:?}");
    if !came_to_be {
        assert!(done.is_ok() || is_refusal(&done), "{what}");
    }
    let state = kms.state();
    if let Err(error) = &done
        && error.is_for_want_of_space()
        && *state != *before
    {
        // Only the log may have missed it.
        assert!(
            matches!(error, Error::Io { path, .. } if path.starts_with(directory.join("audit")))
        );
    }
    // It goes on: the next change is durable, and what was missing in the log follows.
    let made = key(&kms);
    let state = kms.state();
    drop(recording);
    drop(kms);
    let kms = EmbeddedKms::open(&directory, crash_options(&world.clock, world.root_key))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(*kms.state(), *state, "{what}");
    kms.describe_key(&root(), &made).unwrap();
    let events = logged(&directory, state.store_key()).unwrap();
    assert!(events.values().all(|count| *count == 1), "{what}");
    drop(kms);
    std::fs::remove_dir_all(&directory).unwrap();
    came_to_be
}
