//! The model and the oracle side by side: whatever is done to one is done to the other, and what
//! differs is said.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::Ordering::Relaxed;

use stillkey_core::EncryptionContext;
use stillkey_core::SecretBytes;
use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::Event;
use stillkey_core::kms::id::Id;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::{KeyMetadata, Origin};
use stillkey_core::kms::material::MaterialKeeper;
use stillkey_core::kms::policy::Policy;
use stillkey_core::kms::request::{CreateKey, Decrypt, ImportKeyMaterial, Page};
use stillkey_core::kms::time::Now;
use stillkey_core::kms::{
    Caller, Cause, Discarded, Face, Operation, Principal, Request, Response, State, VersionUse,
};
use stillkey_tests::random::Seeded;

use crate::keeper::{self, Moody};
use crate::oracle::{Books, Cell, Mood, Oracle, face_name, time};
use crate::policies::{ACCOUNT, POOL, REGION};
use crate::steps::{self, Step, What};

/// How often what happened: an operation, by face, with its outcome; each cell of the tables of
/// states; each event of a tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) outcomes: BTreeMap<(Operation, &'static str, &'static str), u64>,
    pub(crate) cells: BTreeMap<Cell, u64>,
    pub(crate) events: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.outcomes {
            *self.outcomes.entry(*what).or_default() += count;
        }
        for (what, count) in &other.cells {
            *self.cells.entry(*what).or_default() += count;
        }
        for (what, count) in &other.events {
            *self.events.entry(what).or_default() += count;
        }
    }
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) oracle: Oracle,
    pub(crate) clock: u64,
    keeper: Moody,
    /// Where the model's randomness comes from; a step has its own.
    random: Seeded,
    pub(crate) seen: Seen,
    /// What was done, one line each, for a sequence that is shown.
    pub(crate) story: Option<Vec<String>>,
}

fn differ<T: Debug + PartialEq>(what: &str, model: T, oracle: T) -> Result<(), String> {
    if model == oracle {
        return Ok(());
    }
    Err(format!("{what}: model {model:?}, oracle {oracle:?}"))
}

/// Whether it is the same refusal. Texts for people, and what was given by the caller, may differ.
fn same_cause(model: &Cause, oracle: &Cause) -> bool {
    use Cause as C;
    let same = match (model, oracle) {
        (C::InvalidParameter { .. }, _) | (C::InvalidBlob { .. }, _) | (C::Unavailable(_), _) => {
            true
        }
        (C::AliasNotFound { .. }, _) | (C::AliasUnsupported { .. }, _) => true,
        (C::InvalidAlias { .. }, _) => true,
        (C::KeyNotFound { deleted: a, .. }, C::KeyNotFound { deleted: b, .. }) => a == b,
        (C::VersionNotFound { key: a, .. }, C::VersionNotFound { key: b, .. }) => a == b,
        (C::ServiceKey { key: a, .. }, C::ServiceKey { key: b, .. }) => a == b,
        (
            C::DamagedMaterial { key, version, .. },
            C::DamagedMaterial {
                key: other,
                version: other_version,
                ..
            },
        ) => key == other && version == other_version,
        (a, b) => a == b,
    };
    same && model.name() == oracle.name()
}

fn places(discarded: &[Discarded]) -> Vec<(Id, Id)> {
    let places = discarded
        .iter()
        .map(|one| (one.place.key, one.place.version));
    let mut places: Vec<_> = places.collect();
    places.sort();
    places
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

impl World {
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new(REGION, ACCOUNT).unwrap();
        let mut state = State::new(namespace, SecretBytes::new(vec![0x11; 32])).unwrap();
        let mut oracle = Oracle::new();
        // To begin with, one user is allowed everything.
        let user = Principal::User("ann".into());
        let policy = Policy::parse(POOL[0].0).unwrap();
        state = state.with_policy(user.clone(), Some(policy));
        oracle.books.policies.push((user, 0));
        Self {
            state,
            oracle,
            // 2027-01-01T01:04:05Z.
            clock: 1_798_765_445,
            keeper: Moody::new(),
            random: Seeded(0),
            seen: Seen::default(),
            story: None,
        }
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.random.number().is_multiple_of(many)
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// Does a step and all checks that belong to it.
    pub(crate) fn step(&mut self, seed: u64) -> Result<(), String> {
        let mut random = Seeded(seed);
        self.random = Seeded(random.number());
        let step = steps::draw(&mut random, self);
        self.clock = step.clock;
        if step.ticks {
            self.tick(&step)?;
        }
        match &step.what {
            What::Ask(asked) => {
                for (request, caller) in asked {
                    self.ask(request, caller, &step, true)?;
                }
            }
            What::Imported(caller, expires) => self.import(caller, *expires, &step)?,
            What::Damaged(request, caller) => self.ask_damaged(request, caller, &step)?,
            What::Tick => self.tick(&step)?,
            What::Policy(principal, number) => {
                self.tell(|| format!("policy of {principal}: {number:?}"));
                let policy = number.map(|number| Policy::parse(POOL[number].0).unwrap());
                self.state = self.state.with_policy(principal.clone(), policy);
                let policies = &mut self.oracle.books.policies;
                policies.retain(|(other, _)| other != principal);
                policies.extend(number.map(|number| (principal.clone(), number)));
                self.check_state()?;
            }
            What::Uses(uses) => self.note(uses)?,
            What::LongestWait(days) => {
                self.tell(|| format!("longest wait: {days} days"));
                let next = self.state.set_longest_deletion_wait(*days);
                let right = (7..=366).contains(days);
                differ("longest wait", next.is_some(), right)?;
                if let Some(next) = next {
                    self.state = next;
                    self.oracle.books.longest_wait = u64::from(*days);
                    self.check_state()?;
                }
            }
        }
        if let Some(blob) = random.number().checked_rem(self.oracle.blobs.len() as u64) {
            self.open(blob as usize, &mut random)?;
        }
        Ok(())
    }

    fn import(&mut self, caller: &Caller, expires: Option<u64>, step: &Step) -> Result<(), String> {
        let external = CreateKey {
            origin: Origin::External,
            ..CreateKey::default()
        };
        self.ask(&Request::CreateKey(external), caller, step, true)?;
        let Some(key) = self.oracle.books.keys.last().map(|key| key.id.to_string()) else {
            return Err("no key was created".into());
        };
        let parameters = Request::GetParametersForImport {
            key: key.clone(),
            algorithm: WrappingAlgorithm::OaepSha256,
        };
        self.ask(&parameters, caller, step, true)?;
        let tokens = self.oracle.books.keys.last().map(|key| &key.tokens[..]);
        // None, where the keeper is idle.
        let Some([token]) = tokens else {
            return Ok(());
        };
        let import = Request::ImportKeyMaterial(ImportKeyMaterial {
            key,
            wrapped: keeper::wrap(&token.public_key, &[0x61; 32]),
            token: token.bytes.clone(),
            expires: expires.map(time),
        });
        self.ask(&import, caller, step, true)
    }

    fn note(&mut self, uses: &[VersionUse]) -> Result<(), String> {
        self.tell(|| format!("uses: {uses:?}"));
        self.state = self.state.with_uses(uses.iter().copied());
        self.oracle.note(uses);
        self.check_state()?;
        for noted in uses {
            self.look_at(noted.key)?;
        }
        Ok(())
    }

    fn tick(&mut self, step: &Step) -> Result<(), String> {
        self.keeper.failing.store(step.mood.failing, Relaxed);
        self.keeper.idle.store(step.mood.idle, Relaxed);
        let now = Now {
            time: time(self.clock),
            irreversible: !step.doubtful,
        };
        let ticked = self.state.tick(now, &mut self.random, &self.keeper);
        let shown = now.time.max(self.state.last_seen());
        let next = ticked.next.as_ref().unwrap_or(&self.state);
        let root = Caller::new(Principal::Root, Face::Alibaba);
        let primary = |key: Id| {
            let request = Request::DescribeKey {
                key: key.to_string(),
            };
            let mut random = Seeded(1);
            match next
                .handle(&request, &root, now, &mut random, &self.keeper)
                .reply
            {
                Ok(Response::DescribeKey(key)) => key.primary_version,
                _ => None,
            }
        };
        let before = self.oracle.books.clone();
        let said = self
            .oracle
            .tick(self.clock, !step.doubtful, step.mood.failing, &primary);
        self.tell(|| format!("tick at {now:?}: {:?}", said.events));
        no_complaints(&said.complaints)?;
        let events: Vec<_> = ticked
            .records
            .iter()
            .map(|record| record.event().name())
            .collect();
        let expected: Vec<_> = said.events.iter().map(|(name, _)| *name).collect();
        differ("events of the tick", events, expected)?;
        for (record, (name, key)) in ticked.records.iter().zip(&said.events) {
            let event = self.seen.events.entry(name).or_default();
            *event += 1;
            differ("error of the tick's record", record.error(), None)?;
            differ("time of the tick's record", record.time(), shown)?;
            if record.event() == Event::Call(Operation::CreateKey) {
                return Err("the tick's record is that of a request".into());
            }
            let body = record.body(self.state.namespace());
            differ(name, body.contains(&key.to_string()), true)?;
        }
        let failed = ticked.failed.iter().map(|(key, _)| *key).collect();
        differ("failed rotations", failed, said.failed.clone())?;
        if !said.failed.is_empty() {
            *self.seen.events.entry("failed").or_default() += 1;
        }
        differ(
            "discarded",
            places(&ticked.discarded),
            sorted(said.discarded),
        )?;
        differ("a tick's next state", ticked.next.is_some(), said.changed)?;
        if let Some(next) = ticked.next {
            self.state = next;
            self.check_state()?;
            self.look_at_changes(&before)?;
        }
        Ok(())
    }

    /// Asks model and oracle.
    fn ask(
        &mut self,
        request: &Request,
        caller: &Caller,
        step: &Step,
        counts: bool,
    ) -> Result<(), String> {
        self.keeper.failing.store(step.mood.failing, Relaxed);
        self.keeper.idle.store(step.mood.idle, Relaxed);
        let now = Now {
            time: time(self.clock),
            irreversible: !step.doubtful,
        };
        let outcome = self
            .state
            .handle(request, caller, now, &mut self.random, &self.keeper);
        let shown = now.time.max(self.state.last_seen());
        let said = self
            .oracle
            .handle(request, caller, self.clock, step.mood, &outcome.reply);
        self.tell(|| told(step, request, caller, &outcome.reply));
        no_complaints(&said.complaints)?;
        let operation = request.operation();
        let name = match (&outcome.reply, &said.reply) {
            (Ok(model), Ok(oracle)) if model == oracle => None,
            (Err(model), Err(oracle)) if same_cause(&model.cause, oracle) => {
                differ("operation of the refusal", model.operation, operation)?;
                Some(oracle.name())
            }
            (model, oracle) => return Err(format!("model {model:?}, oracle {oracle:?}")),
        };
        if counts {
            let what = (operation, face_name(caller.face), name.unwrap_or("ok"));
            *self.seen.outcomes.entry(what).or_default() += 1;
            for cell in self.oracle.cells.drain(..) {
                *self.seen.cells.entry(cell).or_default() += 1;
            }
        } else {
            self.oracle.cells.clear();
        }
        match &outcome.record {
            None => differ("no record", operation, Operation::DescribeRegions)?,
            Some(record) => {
                differ("event", record.event(), Event::Call(operation))?;
                differ("error of the record", record.error(), name)?;
                differ("time of the record", record.time(), shown)?;
            }
        }
        if operation == Operation::DescribeRegions {
            differ(
                "DescribeRegions leaves a record",
                outcome.record.is_some(),
                false,
            )?;
        }
        let discarded = places(&outcome.discarded);
        match said.discarded_unseen {
            Some(key) => {
                let keys: Vec<Id> = discarded.iter().map(|(key, _)| *key).collect();
                let expected = key.or(keys.first().copied());
                differ("discarded", keys, expected.into_iter().collect())?;
                differ("something is discarded", discarded.len(), 1)?;
            }
            None => differ("discarded", discarded, sorted(said.discarded))?,
        }
        differ(
            "a next state",
            outcome.next.is_some(),
            said.before.is_some(),
        )?;
        if let (Some(next), Some(before)) = (outcome.next, said.before) {
            self.state = next;
            self.check_state()?;
            self.look_at_changes(&before)?;
        }
        Ok(())
    }

    /// Asks a state whose material can't be read. What it leads to is forgotten.
    fn ask_damaged(
        &mut self,
        request: &Request,
        caller: &Caller,
        step: &Step,
    ) -> Result<(), String> {
        let snapshot = self.state.to_snapshot();
        let damaged = State::from_snapshot(snapshot.danger_bytes(), &keeper::stranger());
        let damaged = damaged.map_err(|error| format!("with another keeper: {error}"))?;
        let oracle = self.oracle.clone();
        let sound = std::mem::replace(&mut self.state, damaged);
        let mood = Mood {
            damaged: true,
            ..Mood::default()
        };
        let step = Step {
            mood,
            clock: step.clock,
            doubtful: step.doubtful,
            ticks: false,
            what: What::Tick,
        };
        let asked = self.ask(request, caller, &step, true);
        self.state = sound;
        self.oracle = oracle;
        asked
    }

    /// Asks as the root, what changes nothing.
    fn look(&mut self, request: &Request) -> Result<(), String> {
        let root = Caller::new(Principal::Root, Face::Alibaba);
        let step = Step::looking(self.clock);
        let story = self.story.take();
        let looked = self.ask(request, &root, &step, false);
        self.story = story;
        looked.map_err(|error| format!("then, {}: {error}", request.operation()))
    }

    fn look_at(&mut self, key: Id) -> Result<(), String> {
        let key = || key.to_string();
        let page = Page::new(1, 100).unwrap();
        self.look(&Request::DescribeKey { key: key() })?;
        self.look(&Request::ListKeyVersions { key: key(), page })?;
        self.look(&Request::ListResourceTags { key: key() })
    }

    /// Everything that the oracle's change touched, and one more.
    fn look_at_changes(&mut self, before: &Books) -> Result<(), String> {
        let books = &self.oracle.books;
        let mut keys = Vec::new();
        for key in &books.keys {
            match before.keys.iter().find(|before| before.id == key.id) {
                Some(before) if before == key => {}
                Some(before) => {
                    let versions = before.versions != key.versions;
                    keys.push((key.id, versions, before.tags != key.tags));
                }
                None => keys.push((key.id, true, true)),
            }
        }
        if books.gone != before.gone {
            keys.extend(books.gone.last().map(|(id, _)| (*id, false, false)));
        }
        let aliases = books.aliases != before.aliases;
        let other = self.random.number().checked_rem(books.keys.len() as u64);
        if let Some(key) = other.map(|at| books.keys[at as usize].id) {
            keys.push((key, self.one_in(4), self.one_in(4)));
        }
        let page = Page::new(1, 100).unwrap();
        for (key, versions, tags) in keys {
            let key = || key.to_string();
            self.look(&Request::DescribeKey { key: key() })?;
            if versions {
                self.look(&Request::ListKeyVersions { key: key(), page })?;
            }
            if tags {
                self.look(&Request::ListResourceTags { key: key() })?;
            }
        }
        if aliases {
            self.look(&Request::ListAliases(page))?;
        }
        Ok(())
    }

    /// What is true of the state after each change.
    fn check_state(&mut self) -> Result<(), String> {
        let state = &self.state;
        let due = state.next_due().map(|time| time.unix());
        differ("next due", due, self.oracle.next_due())?;
        differ("last seen", state.last_seen().unix(), self.oracle.last_seen)?;
        differ("keys", state.key_count(), self.oracle.books.keys.len())?;
        differ(
            "policies",
            state.principals().count(),
            self.oracle.books.policies.len(),
        )?;
        for (principal, number) in &self.oracle.books.policies {
            let text = state.policy(principal).map(|policy| policy.text());
            differ("policy", text, Some(POOL[*number].0))?;
        }
        let snapshot = state.to_snapshot();
        let bytes = snapshot.danger_bytes();
        let keeper: &dyn MaterialKeeper = &self.keeper;
        let loaded = State::from_snapshot(bytes, keeper).map_err(|error| error.to_string())?;
        differ("the snapshot's state is the state", &loaded == state, true)?;
        // Equal states give equal bytes, which takes the longest to show.
        if self.one_in(4) {
            let again = loaded.to_snapshot();
            differ(
                "its snapshot is the same",
                again.danger_bytes() == bytes,
                true,
            )?;
        }
        // From here on it is the one that came from bytes, every other time.
        if self.one_in(2) {
            self.state = loaded;
        }
        Ok(())
    }

    /// Opens a blob with its own context, or with a wrong one.
    fn open(&mut self, at: usize, random: &mut Seeded) -> Result<(), String> {
        let made = &self.oracle.blobs[at];
        let mut pairs = made.context.clone();
        if random.within(0..=2) == 0 {
            steps::spoil(random, &mut pairs);
        }
        // In the order of insertion that isn't the canonical one.
        let context = pairs
            .iter()
            .rev()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.look(&Request::Decrypt(Decrypt {
            blob: made.blob.clone(),
            context: context.collect::<EncryptionContext>(),
            key: None,
        }))
    }

    /// At the end of a sequence: every blob, every list, and the invariants.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let mut random = self.random.clone();
        for at in 0..self.oracle.blobs.len() {
            self.open(at, &mut random)?;
            self.open(at, &mut random)?;
        }
        let page = Page::new(1, 100).unwrap();
        self.look(&Request::ListKeys(page))?;
        self.look(&Request::ListAliases(page))?;
        for key in self
            .oracle
            .books
            .keys
            .iter()
            .map(|key| key.id)
            .collect::<Vec<_>>()
        {
            self.look_at(key)?;
            let key = key.to_string();
            self.look(&Request::ListAliasesByKeyId { key, page })?;
        }
        for key in self
            .oracle
            .books
            .gone
            .iter()
            .map(|(id, _)| *id)
            .collect::<Vec<_>>()
        {
            self.look_at(key)?;
        }
        self.invariants()
    }

    /// §7.1, by what the model itself answers.
    fn invariants(&self) -> Result<(), String> {
        let root = Caller::new(Principal::Root, Face::Alibaba);
        let now = Now::new(time(self.clock));
        let ask = |request: &Request| {
            let mut random = Seeded(2);
            self.state
                .handle(request, &root, now, &mut random, &self.keeper)
                .reply
        };
        let page = Page::new(1, 100).unwrap();
        let (Ok(Response::ListKeys(keys)), Ok(Response::ListAliases(aliases))) = (
            ask(&Request::ListKeys(page)),
            ask(&Request::ListAliases(page)),
        ) else {
            return Err("the root may not list".into());
        };
        for alias in &aliases.items {
            let there = keys.items.contains(&alias.key);
            differ("an alias means a key that is there", there, true)?;
            let same = aliases
                .items
                .iter()
                .filter(|other| other.name == alias.name)
                .count();
            differ("an alias is there once", same, 1)?;
        }
        for id in &keys.items {
            let key = || id.to_string();
            let (Ok(Response::DescribeKey(about)), Ok(Response::ListKeyVersions(versions))) = (
                ask(&Request::DescribeKey { key: key() }),
                ask(&Request::ListKeyVersions { key: key(), page }),
            ) else {
                return Err("the root may not describe".into());
            };
            let KeyMetadata {
                origin,
                primary_version,
                ..
            } = about;
            if origin == Origin::Generated {
                differ("a generated key has a version", versions.total > 0, true)?;
            } else {
                differ("an imported key has one version", versions.total <= 1, true)?;
            }
            let newest = versions.items.last().map(|version| version.version);
            if versions.total <= 100 {
                differ("the newest version is the primary", primary_version, newest)?;
            }
        }
        Ok(())
    }
}

fn no_complaints(complaints: &[String]) -> Result<(), String> {
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("; "))
    }
}

fn told(step: &Step, request: &Request, caller: &Caller, reply: &crate::oracle::Reply) -> String {
    let reply = match reply {
        Ok(_) => "ok".into(),
        Err(refusal) => format!("{}: {refusal}", refusal.cause.name()),
    };
    let mut request = format!("{request:?}");
    if request.len() > 600 {
        request = request.chars().take(600).chain("…".chars()).collect();
    }
    let mood = match step.mood {
        Mood { failing: true, .. } => " (the keeper makes no material)",
        Mood { idle: true, .. } => " (the keeper is idle)",
        Mood { damaged: true, .. } => " (the material is damaged)",
        _ => "",
    };
    let (principal, face, source) = (&caller.principal, caller.face, caller.source);
    let clock = step.clock;
    format!("{clock} {principal} {face:?} {source:?}{mood}: {request} -> {reply}")
}
