//! The KMS in a process: requests in, replies out, each change durable before its reply.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_utils::sync::ShardedLock;
use stillkey_core::SecretBytes;
use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::AuditRecord;
use stillkey_core::kms::id::Id;
use stillkey_core::kms::material::{ImportCipher, MaterialKeeper, SoftwareKeeper};
use stillkey_core::kms::policy::Policy;
use stillkey_core::kms::sealed::{self, RootKeyDescription, SealedState, SealedStateError};
use stillkey_core::kms::stored::{Stored, StoredExtra};
use stillkey_core::kms::time::{Now, Time};
use stillkey_core::kms::{Caller, Discarded, Outcome, Principal, Request, Response, State};

use super::audit_log::{self, AuditLog, AuditReport, Found};
use super::clock::{self, Anchor, Clock, SystemClock};
use super::ledger::Ledger;
use super::root_key::{RootKey, random};
use super::store::{DirectoryStore, Kept, Revision, STATE, StateStore, Swapped};
use crate::SysRng;
use crate::error::Error;

/// When records of requests that change nothing are on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditMode {
    /// After a second, or 1,000 of them: a crash loses those since.
    #[default]
    Buffered,
    /// Before the reply.
    Synced,
}

/// How an embedded KMS is made and opened.
#[derive(Clone, Debug)]
pub struct EmbeddedKmsOptions {
    root_key: RootKey,
    audit: AuditMode,
    clock: Arc<dyn Clock>,
    import: Option<Arc<dyn ImportCipher>>,
    accept_rollback: bool,
    accept_clock_jump: bool,
}

impl EmbeddedKmsOptions {
    /// A KMS whose state is sealed under this root key.
    pub fn new(root_key: RootKey) -> Self {
        Self {
            root_key,
            audit: AuditMode::default(),
            clock: Arc::new(SystemClock::default()),
            import: None,
            accept_rollback: false,
            accept_clock_jump: false,
        }
    }

    /// When records of requests that change nothing are on the disk.
    #[must_use]
    pub fn audit(mut self, mode: AuditMode) -> Self {
        self.audit = mode;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What imports key material. Without it, GetParametersForImport is refused.
    #[must_use]
    pub fn import(mut self, cipher: Arc<dyn ImportCipher>) -> Self {
        self.import = Some(cipher);
        self
    }

    /// Opens a state that is older than its audit log: versions of keys that were made since are
    /// lost, and what they encrypted can't be decrypted.
    #[must_use]
    pub fn accept_rollback(mut self) -> Self {
        self.accept_rollback = true;
        self
    }

    /// Believes a clock that is more than a day ahead of the last use: what is due by it is deleted.
    #[must_use]
    pub fn accept_clock_jump(mut self) -> Self {
        self.accept_clock_jump = true;
        self
    }
}

/// An embedded key management service. It can be shared by threads: requests that change nothing wait
/// for no disk.
///
/// ```
/// use stillkey::kms::{EmbeddedKms, EmbeddedKmsOptions, RootKey};
/// use stillkey::core::kms::alias::Namespace;
/// use stillkey::core::kms::request::CreateKey;
/// use stillkey::core::kms::{Caller, Face, Principal};
/// use stillkey::{MasterKeySource, create_master_key_file};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let (root_key_file, directory) = (place.path().join("root.key"), place.path().join("kms"));
/// let root_key = RootKey::Raw(create_master_key_file(&root_key_file)?);
/// let namespace = Namespace::new("local", "000000000000").ok_or("no namespace")?;
/// let kms = EmbeddedKms::create(&directory, namespace, EmbeddedKmsOptions::new(root_key))?;
///
/// let root = Caller::new(Principal::Root, Face::Alibaba);
/// let key = kms.create_key(&root, CreateKey::default())?.key.to_string();
/// let made = kms.generate_data_key(&root, &key, Default::default(), Default::default())?;
/// let opened = kms.decrypt(&root, made.encrypted.blob, Default::default())?;
/// assert_eq!(opened.plaintext, made.plaintext);
/// # Ok(()) }
/// ```
pub struct EmbeddedKms {
    directory: PathBuf,
    inner: Arc<Inner>,
    /// Writes what waits for the audit log.
    scribe: Option<JoinHandle<()>>,
}

impl fmt::Debug for EmbeddedKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedKms")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

struct Inner {
    store: Box<dyn StateStore>,
    keeper: SoftwareKeeper,
    live: ShardedLock<Live>,
    writer: Mutex<Writer>,
    ledger: Mutex<Ledger>,
    /// Taken after `writer`, before `ledger`.
    log: Mutex<AuditLog>,
    clock: Arc<dyn Clock>,
    accept_clock_jump: AtomicBool,
    /// Before this, in seconds, what is due isn't tried again.
    not_before: AtomicU64,
    mode: AuditMode,
    /// Whether it is being dropped; wakes the scribe.
    closing: (Mutex<bool>, Condvar),
}

/// What requests see.
#[derive(Clone)]
struct Live {
    state: Arc<State>,
    anchor: Anchor,
}

/// What only changes need.
struct Writer {
    revision: Option<Revision>,
    /// The newest that was given to the store, whatever became of it.
    tried: u64,
    description: RootKeyDescription,
    root_key: SecretBytes,
    keeper_key: SecretBytes,
    instance: Id,
    /// Records of changes that aren't in the log yet.
    unlogged: Vec<String>,
    unknown: StoredExtra,
}

/// What goes with a new state.
#[derive(Default)]
struct Change<'a> {
    records: &'a [AuditRecord],
    discarded: Vec<Discarded>,
    /// Whether the state's time is the clock's.
    is_timed: bool,
    /// Another root key.
    root: Option<(SecretBytes, RootKeyDescription)>,
}

impl<'a> Change<'a> {
    fn of_call(records: &'a [AuditRecord], discarded: Vec<Discarded>) -> Self {
        Self {
            records,
            discarded,
            is_timed: true,
            root: None,
        }
    }

    fn of_root_key(root: (SecretBytes, RootKeyDescription)) -> Self {
        Self {
            root: Some(root),
            ..Self::default()
        }
    }
}

/// The directory of the audit log, in that of the KMS.
const AUDIT: &str = "audit";

/// Between two looks at what waits for the audit log.
const SCRIBE_EVERY: Duration = Duration::from_secs(1);

/// So many records are written without waiting longer.
const SCRIBE_AT: usize = 1000;

/// Uses of versions are saved after so many looks of the scribe: an hour.
const SAVE_USES_EVERY: u32 = 3600;

/// Seconds until what is due, and failed or has to wait, is tried again.
const TRY_AGAIN_AFTER: u64 = 60;

impl EmbeddedKms {
    /// Makes a KMS without keys in a directory that has none.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Locked`]; [`Error::Io`].
    pub fn create(
        directory: impl Into<PathBuf>,
        namespace: Namespace,
        options: EmbeddedKmsOptions,
    ) -> Result<Self, Error> {
        let store = DirectoryStore::open(directory)?;
        let directory = store.directory().to_owned();
        if store.read()?.is_some() {
            return Err(Error::AlreadyExists {
                path: directory.join(STATE),
            });
        }
        let (root_key, description) = options.root_key.describe(random()?)?;
        let keeper_key = SecretBytes::random(&mut SysRng, 32)?;
        let stored = Stored {
            keeper_key: keeper_key.duplicate(),
            instance: Id::random(&mut SysRng)?,
            state: State::new(namespace, SecretBytes::random(&mut SysRng, 32)?)?,
            unlogged: Vec::new(),
            unknown: StoredExtra::default(),
        };
        let file = sealed::seal(&stored, 1, &description, &root_key, &mut SysRng)?;
        store.swap(None, &file)?;
        let keeper = SoftwareKeeper::new(keeper_key, options.import.clone())?;
        Self::start(
            store,
            &directory,
            stored,
            keeper,
            description,
            root_key,
            options,
        )
    }

    /// Opens the KMS of a directory.
    ///
    /// # Errors
    /// [`Error::KmsState`] for a wrong root key or damage; [`Error::KmsRolledBack`]; [`Error::Locked`];
    /// [`Error::NotFound`](crate::ErrorKind::NotFound) where there is none; [`Error::Io`].
    pub fn open(directory: impl Into<PathBuf>, options: EmbeddedKmsOptions) -> Result<Self, Error> {
        let directory = directory.into();
        let path = directory.join(STATE);
        // Opening the store would make the directory.
        crate::fsops::expect_file(&path)?;
        let store = DirectoryStore::open(&directory)?;
        let Kept { bytes, .. } = store
            .read()?
            .ok_or_else(|| Error::io(&path, "open")(std::io::ErrorKind::NotFound.into()))?;
        let state_error = |source| Error::KmsState {
            path: path.clone(),
            source,
        };
        let sealed = SealedState::parse(&bytes).map_err(state_error)?;
        let root_key = options.root_key.recover(sealed.description())?;
        let content = sealed.open(&root_key).map_err(state_error)?;
        let import = options.import.clone();
        let opened = Stored::from_bytes(&content, |key| {
            SoftwareKeeper::new(key.duplicate(), import).ok()
        });
        let (stored, keeper) = opened.map_err(|error| {
            state_error(SealedStateError::Damaged {
                finding: error.to_string(),
            })
        })?;
        let description = sealed.description().clone();
        Self::start(
            store,
            &directory,
            stored,
            keeper,
            description,
            root_key,
            options,
        )
    }

    fn start(
        store: DirectoryStore,
        directory: &Path,
        stored: Stored,
        keeper: SoftwareKeeper,
        description: RootKeyDescription,
        root_key: SecretBytes,
        options: EmbeddedKmsOptions,
    ) -> Result<Self, Error> {
        let Stored {
            keeper_key,
            instance,
            state,
            unlogged,
            unknown,
        } = stored;
        let revision = store.read()?.map(|kept| kept.revision);
        let generation = revision.map_or(0, |Revision(generation)| generation);
        let (mut log, found) = AuditLog::open(
            &directory.join(AUDIT),
            state.store_key(),
            state.namespace(),
            instance,
            generation,
        )?;
        if found.generation > generation && !options.accept_rollback {
            return Err(Error::KmsRolledBack {
                path: directory.join(STATE),
                found: generation,
                logged: found.generation,
            });
        }
        let anchor = Anchor {
            time: state.last_seen(),
            uptime: options.clock.uptime(),
        };
        // A state that was put back goes on above the generations that the log has seen.
        let generation = generation.max(found.generation);
        log.set_generation(generation);
        let time = state.last_seen();
        log_what_a_crash_left(&mut log, &unlogged, &found, time)?;
        let inner = Arc::new(Inner {
            store: Box::new(store),
            keeper,
            live: ShardedLock::new(Live {
                state: Arc::new(state),
                anchor,
            }),
            writer: Mutex::new(Writer {
                revision,
                tried: generation,
                description,
                root_key,
                keeper_key,
                instance,
                unlogged: Vec::new(),
                unknown,
            }),
            ledger: Mutex::default(),
            log: Mutex::new(log),
            clock: options.clock,
            accept_clock_jump: AtomicBool::new(options.accept_clock_jump),
            not_before: AtomicU64::new(0),
            mode: options.audit,
            closing: Default::default(),
        });
        let scribe = Arc::downgrade(&inner);
        let scribe = std::thread::Builder::new()
            .name("stillkey-kms-audit".into())
            .spawn(move || write_down(&scribe))
            .map_err(Error::io(directory, "start a thread for the audit log of"))?;
        Ok(Self {
            directory: directory.to_owned(),
            inner,
            scribe: Some(scribe),
        })
    }

    /// Answers a request. A change is durable, with its audit record, when this returns.
    ///
    /// # Errors
    /// [`Error::KmsRefused`]: nothing has changed. [`Error::InDoubt`]: a power failure may leave the
    /// change made or not, and it isn't seen until then. Any other error: nothing has changed; but when
    /// the audit log could not be written, the change has been made, and its record follows with the
    /// next one.
    pub fn call(&self, request: &Request, caller: &Caller) -> Result<Response, Error> {
        self.inner.call(request, caller)
    }

    /// What is known now: a state that no later change touches.
    pub fn state(&self) -> Arc<State> {
        self.inner.live().state
    }

    /// Does what is due: rotations, deletions, the end of imported material. Requests do that, too,
    /// before they are answered. Returns what was done.
    ///
    /// # Errors
    /// Those of the store and of the audit log.
    pub fn tick(&self) -> Result<Vec<AuditRecord>, Error> {
        self.inner.tick()
    }

    /// Whether deletions that are due wait, since the clock is more than a day ahead of the last use.
    pub fn doubts_clock(&self) -> bool {
        !self.inner.now(&self.inner.live()).irreversible
    }

    /// Believes the clock from now on, however far it is ahead.
    pub fn accept_clock_jump(&self) {
        self.inner.accept_clock_jump.store(true, Ordering::Relaxed);
        self.inner.not_before.store(0, Ordering::Relaxed);
    }

    /// Gives a user or service a policy, or takes it away, durably.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_policy(&self, principal: Principal, policy: Option<Policy>) -> Result<(), Error> {
        self.inner
            .change(|state| state.with_policy(principal.clone(), policy.clone()))
    }

    /// Sets the most days that ScheduleKeyDeletion takes: 7 to 366.
    ///
    /// # Errors
    /// [`Error::Usage`]; those of the store.
    pub fn set_longest_deletion_wait(&self, days: u32) -> Result<(), Error> {
        let state = self.inner.live().state;
        let limits = || Error::Usage(format!("{days} days; expected 7 to 366"));
        state.set_longest_deletion_wait(days).ok_or_else(limits)?;
        self.inner.change(|state| {
            let changed = state.set_longest_deletion_wait(days);
            changed.unwrap_or_else(|| state.clone())
        })
    }

    /// Seals the state under another root key, durably. Tokens, blobs and the audit chain go on.
    ///
    /// # Errors
    /// Those of the store and of the key service.
    pub fn rotate_root_key(&self, root_key: &RootKey) -> Result<(), Error> {
        let mut writer = self.inner.writer();
        let root = root_key.describe(writer.description.store)?;
        let state = State::clone(&self.inner.live().state);
        self.inner
            .commit(&mut writer, state, Change::of_root_key(root))
    }

    /// Checks every record of the audit log, of all that were written before this.
    ///
    /// # Errors
    /// Those of the log's files. What is wrong with the records is in the report.
    pub fn verify_audit(&self) -> Result<AuditReport, Error> {
        self.inner.write_log(&[], true)?;
        let _quiet = self.inner.log();
        let state = self.inner.live().state;
        audit_log::verify(&self.directory.join(AUDIT), state.store_key())
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes what waits for the audit log, and saves how often versions were used.
    ///
    /// # Errors
    /// Those of the store and of the audit log.
    pub fn flush(&self) -> Result<(), Error> {
        self.inner.save_uses()?;
        self.inner.write_log(&[], true)
    }
}

#[cfg(test)]
impl EmbeddedKms {
    pub(super) fn roll_audit_at(&self, len: u64) {
        self.inner.log().set_roll_at(len);
    }
}

impl Drop for EmbeddedKms {
    fn drop(&mut self) {
        let (closing, wake) = &self.inner.closing;
        *closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
        if let Some(scribe) = self.scribe.take() {
            // It ends by itself, and has nothing to say when it doesn't.
            let _ = scribe.join();
        }
        // What can't be written now is lost, as in a crash.
        let _ = self.inner.save_uses();
        let _ = self.inner.write_log(&[], true);
    }
}

fn write_down(kms: &Weak<Inner>) {
    for round in 1_u32.. {
        let Some(kms) = kms.upgrade() else {
            return;
        };
        let (closing, wake) = &kms.closing;
        let closing = closing.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = wake.wait_timeout_while(closing, SCRIBE_EVERY, |closing| !*closing);
        let (closing, _) = woken.unwrap_or_else(PoisonError::into_inner);
        if *closing {
            return;
        }
        drop(closing);
        // What fails stays, and is tried again.
        let _ = kms.write_log(&[], true);
        if round.is_multiple_of(SAVE_USES_EVERY) {
            let _ = kms.save_uses();
        }
    }
}

/// Appends the records of the last change, unless they are in the log; and that its end was torn.
fn log_what_a_crash_left(
    log: &mut AuditLog,
    unlogged: &[String],
    found: &Found,
    time: Time,
) -> Result<(), Error> {
    let is_logged = |body: &String| found.events.iter().any(|id| body.contains(id.as_str()));
    let missing: Vec<_> = unlogged.iter().filter(|body| !is_logged(body)).collect();
    let torn = found.was_torn.then_some(time);
    if missing.is_empty() && torn.is_none() {
        return Ok(());
    }
    log.append(
        |chain| {
            let torn = torn.map(|time| chain.append_gap(0, time));
            let missing = missing.iter().map(|body| chain.append_body(body));
            lines(torn.into_iter().chain(missing))
        },
        true,
    )
}

fn lines(lines: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

impl Inner {
    fn live(&self) -> Live {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone()
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, AuditLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, live: &Live) -> Now {
        let believed = self.accept_clock_jump.load(Ordering::Relaxed);
        clock::now(&*self.clock, live.anchor, believed)
    }

    fn call(&self, request: &Request, caller: &Caller) -> Result<Response, Error> {
        let mut live = self.live();
        let mut now = self.now(&live);
        let is_due =
            |live: &Live, now: Now| live.state.next_due().is_some_and(|due| due <= now.time);
        if is_due(&live, now) && now.time.unix() >= self.not_before.load(Ordering::Relaxed) {
            // A disk that is full must not keep anybody from decrypting.
            let _ = self.tick();
            live = self.live();
            now = self.now(&live);
        }
        let outcome = self.handle(&live, request, caller, now);
        if outcome.next.is_none() {
            return self.conclude(outcome, now);
        }
        // A change is judged once more, by the state that it will follow.
        let mut writer = self.writer();
        let live = self.live();
        let now = self.now(&live);
        let mut outcome = self.handle(&live, request, caller, now);
        let Some(next) = outcome.next.take() else {
            drop(writer);
            return self.conclude(outcome, now);
        };
        let records: Vec<_> = outcome.record.take().into_iter().collect();
        let discarded = std::mem::take(&mut outcome.discarded);
        self.commit(&mut writer, next, Change::of_call(&records, discarded))?;
        if let Ok(response) = &outcome.reply {
            self.ledger().note_use(response, now.time.day());
        }
        outcome
            .reply
            .map_err(|refusal| Error::KmsRefused(Box::new(refusal)))
    }

    fn handle(&self, live: &Live, request: &Request, caller: &Caller, now: Now) -> Outcome {
        live.state
            .handle(request, caller, now, &mut SysRng, &self.keeper)
    }

    /// Notes a request that changed nothing, and answers it.
    fn conclude(&self, outcome: Outcome, now: Now) -> Result<Response, Error> {
        let waiting = {
            let mut ledger = self.ledger();
            if let Ok(response) = &outcome.reply {
                ledger.note_use(response, now.time.day());
            }
            outcome.record.map_or(0, |record| ledger.note(record))
        };
        match self.mode {
            AuditMode::Synced => self.write_log(&[], true)?,
            // Every so often, so that a log that can't be written isn't tried for each.
            AuditMode::Buffered if waiting > 0 && waiting % SCRIBE_AT == 0 => {
                let _ = self.write_log(&[], false);
            }
            AuditMode::Buffered => {}
        }
        outcome
            .reply
            .map_err(|refusal| Error::KmsRefused(Box::new(refusal)))
    }

    fn tick(&self) -> Result<Vec<AuditRecord>, Error> {
        let mut writer = self.writer();
        let live = self.live();
        let now = self.now(&live);
        let ticked = live.state.tick(now, &mut SysRng, &self.keeper);
        let again = now.time.plus(TRY_AGAIN_AFTER).unix();
        self.not_before.store(again, Ordering::Relaxed);
        if let Some(next) = ticked.next {
            let change = Change::of_call(&ticked.records, ticked.discarded);
            self.commit(&mut writer, next, change)?;
            if ticked.failed.is_empty() && now.irreversible {
                self.not_before.store(0, Ordering::Relaxed);
            }
        }
        Ok(ticked.records)
    }

    /// A change that leaves no record.
    fn change(&self, change: impl Fn(&State) -> State) -> Result<(), Error> {
        let mut writer = self.writer();
        let next = change(&self.live().state);
        self.commit(&mut writer, next, Change::default())
    }

    fn save_uses(&self) -> Result<(), Error> {
        if self.ledger().uses().is_empty() {
            return Ok(());
        }
        self.change(State::clone)
    }

    /// Makes the next state durable, then shows it to requests, then logs what happened.
    fn commit(&self, writer: &mut Writer, next: State, change: Change<'_>) -> Result<(), Error> {
        let uses = self.ledger().uses();
        let next = next.with_uses(uses.iter().copied());
        let bodies = change
            .records
            .iter()
            .map(|record| record.body(next.namespace()));
        let unlogged = writer.unlogged.iter().cloned().chain(bodies).collect();
        let (state, unlogged) = self.swap(writer, next, unlogged, change.root.as_ref())?;
        if let Some((root_key, description)) = change.root {
            (writer.root_key, writer.description) = (root_key, description);
        }
        self.ledger().settle_uses(&uses);
        {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            if change.is_timed {
                live.anchor = Anchor {
                    time: state.last_seen(),
                    uptime: self.clock.uptime(),
                };
            }
            live.state = Arc::new(state);
        }
        for Discarded { place, material } in change.discarded {
            // What stays is no harm to anybody but the keeper.
            let _ = self.keeper.destroy(&place, &material);
        }
        writer.unlogged = unlogged;
        let logged = self.log_changes(writer.tried, &writer.unlogged);
        if writer.unlogged.is_empty() {
            // Nothing of this change is missing in the log.
            return Ok(());
        }
        logged?;
        writer.unlogged.clear();
        Ok(())
    }

    /// Puts a state in the place of the one that is stored.
    fn swap(
        &self,
        writer: &mut Writer,
        state: State,
        unlogged: Vec<String>,
        root: Option<&(SecretBytes, RootKeyDescription)>,
    ) -> Result<(State, Vec<String>), Error> {
        let stored = Stored {
            keeper_key: writer.keeper_key.duplicate(),
            instance: writer.instance,
            state,
            unlogged,
            unknown: writer.unknown.clone(),
        };
        let generation = writer.tried + 1;
        let now = (&writer.root_key, &writer.description);
        let (root_key, description) = root.map_or(now, |(key, description)| (key, description));
        let file = sealed::seal(&stored, generation, description, root_key, &mut SysRng)?;
        writer.tried = generation;
        match self.store.swap(writer.revision, &file) {
            Ok(Swapped::Done(revision)) => writer.revision = Some(revision),
            Ok(Swapped::Conflict) => {
                return Err(Error::Usage(
                    "another process has changed the state of the KMS; open it again".into(),
                ));
            }
            Err(error) => {
                if let Error::InDoubt { path, source } = &error
                    && self.go_back(writer).is_ok()
                {
                    let (path, source) = (path.clone(), source.clone());
                    let action = "sync the directory of";
                    return Err(Error::Io {
                        path,
                        action,
                        source,
                    });
                }
                return Err(error);
            }
        }
        Ok((stored.state, stored.unlogged))
    }

    /// Stores again what requests see, after a swap that a power failure might undo or not: a key that
    /// was disabled, or a version that was made, must not depend on that.
    fn go_back(&self, writer: &mut Writer) -> Result<(), Error> {
        let stored = Stored {
            keeper_key: writer.keeper_key.duplicate(),
            instance: writer.instance,
            state: State::clone(&self.live().state),
            unlogged: writer.unlogged.clone(),
            unknown: writer.unknown.clone(),
        };
        let generation = writer.tried + 1;
        let (root_key, description) = (&writer.root_key, &writer.description);
        let file = sealed::seal(&stored, generation, description, root_key, &mut SysRng)?;
        writer.tried = generation;
        if let Swapped::Done(revision) = self.store.swap(writer.revision, &file)? {
            writer.revision = Some(revision);
        }
        Ok(())
    }

    fn log_changes(&self, generation: u64, bodies: &[String]) -> Result<(), Error> {
        // Requests that came before go to the log before, as of the state that they saw.
        self.write_log(&[], false)?;
        self.log().set_generation(generation);
        self.write_log(bodies, true)
    }

    /// Writes what waits, then these records.
    fn write_log(&self, bodies: &[String], durably: bool) -> Result<(), Error> {
        let mut log = self.log();
        let page = self.ledger().take();
        if page.records.is_empty() && page.lost == 0 && bodies.is_empty() {
            return match durably {
                true => log.sync(),
                false => Ok(()),
            };
        }
        let time = page
            .records
            .last()
            .map(AuditRecord::time)
            .unwrap_or_default();
        let written = log.append(
            |chain| {
                let mut all: Vec<_> = page
                    .records
                    .iter()
                    .map(|record| chain.append(record))
                    .collect();
                if page.lost > 0 {
                    all.push(chain.append_gap(page.lost, time));
                }
                all.extend(bodies.iter().map(|body| chain.append_body(body)));
                lines(all)
            },
            durably,
        );
        if written.is_err() {
            self.ledger().put_back(page);
        }
        written
    }
}
