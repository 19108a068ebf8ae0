//! The oracle: what a KMS answers, written from the tables of its specification, with vectors of
//! plain values and linear searches. It shares the types of requests and answers with the model,
//! and no code. Of an answer it takes over only what is random: ids, blobs, tokens, data keys.

use std::net::IpAddr;

use stillkey_core::EncryptionContext;
use stillkey_core::SecretBytes;
use stillkey_core::kms::id::Id;
use stillkey_core::kms::key::{KeyMetadata, KeyState, Origin, ProtectionLevel};
use stillkey_core::kms::request::{Decrypt, Page, Tag};
use stillkey_core::kms::response::{
    AliasEntry, Decrypted, Encrypted, GeneratedDataKey, ImportParameters, List, ReEncrypted,
    VersionEntry,
};
use stillkey_core::kms::rotation::{AutomaticRotation, RotationInterval};
use stillkey_core::kms::states::StateRule;
use stillkey_core::kms::time::Time;
use stillkey_core::kms::{
    Caller, Cause, Face, Operation, Principal, Refusal, Request, Response, VersionUse,
};

use crate::keeper;
use crate::policies::{self, ACCOUNT, Decision, Question, REGION, Resource};

pub(crate) const DAY: u64 = 86_400;

pub(crate) type Reply = Result<Response, Refusal>;

/// Seconds as the model has them.
pub(crate) fn time(seconds: u64) -> Time {
    Time::from_unix(seconds).unwrap()
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    pub(crate) id: Id,
    pub(crate) created: u64,
    pub(crate) last_used: Option<u64>,
    pub(crate) uses: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expires: u64,
    pub(crate) public_key: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) id: Id,
    pub(crate) external: bool,
    /// The code of the service that it belongs to, in lower case.
    pub(crate) service: Option<String>,
    pub(crate) created: u64,
    pub(crate) state: KeyState,
    pub(crate) description: String,
    /// Oldest first.
    pub(crate) versions: Vec<Version>,
    pub(crate) interval: Option<u64>,
    pub(crate) delete_at: Option<u64>,
    /// Whether its material is there.
    pub(crate) material: bool,
    pub(crate) expires: Option<u64>,
    /// What was imported first.
    pub(crate) first: Option<Vec<u8>>,
    pub(crate) protected: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    /// Oldest first.
    pub(crate) tokens: Vec<Token>,
}

impl Key {
    fn next_rotation(&self) -> Option<u64> {
        Some(self.versions.last()?.created + self.interval?)
    }

    fn due(&self) -> Option<u64> {
        let rotation = self
            .next_rotation()
            .filter(|_| self.state == KeyState::Enabled);
        [rotation, self.delete_at, self.expires]
            .into_iter()
            .flatten()
            .min()
    }
}

/// All that changes. Equal books: nothing has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Books {
    pub(crate) keys: Vec<Key>,
    /// Name, key, time.
    pub(crate) aliases: Vec<(String, Id, u64)>,
    /// Deleted keys, and when.
    pub(crate) gone: Vec<(Id, u64)>,
    /// By number in the pool.
    pub(crate) policies: Vec<(Principal, usize)>,
    pub(crate) longest_wait: u64,
}

/// A blob that was made.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) blob: Vec<u8>,
    pub(crate) context: Vec<(String, String)>,
    /// Which of the secrets it holds.
    secret: usize,
}

/// What goes wrong outside of the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mood {
    /// The keeper makes no material.
    pub(crate) failing: bool,
    /// The keeper neither encrypts nor decrypts, and imports nothing.
    pub(crate) idle: bool,
    /// The keeper can't read any material that was there before.
    pub(crate) damaged: bool,
    /// Nothing is asked for that could change anything.
    pub(crate) looking: bool,
}

/// What the oracle says about a request.
pub(crate) struct Said {
    pub(crate) reply: Result<Response, Cause>,
    /// What the books were, if they have changed.
    pub(crate) before: Option<Books>,
    /// Key and version of material to be destroyed.
    pub(crate) discarded: Vec<(Id, Id)>,
    /// One whose version was never shown, and maybe not even its key.
    pub(crate) discarded_unseen: Option<Option<Id>>,
    /// What of the model's answer can't be.
    pub(crate) complaints: Vec<String>,
}

/// What the oracle says about a tick.
pub(crate) struct SaidOfTick {
    pub(crate) changed: bool,
    /// The names of events, and their keys.
    pub(crate) events: Vec<(&'static str, Id)>,
    pub(crate) discarded: Vec<(Id, Id)>,
    pub(crate) failed: Vec<Id>,
    pub(crate) complaints: Vec<String>,
}

/// A table's cell that was looked at: operation, face, state, whether the key is external.
pub(crate) type Cell = (Operation, &'static str, &'static str, bool);

#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) books: Books,
    pub(crate) last_seen: u64,
    pub(crate) blobs: Vec<Sealed>,
    /// What is in blobs; `None`: a data key that nobody has seen.
    secrets: Vec<Option<Vec<u8>>>,
    /// Every id that was ever seen.
    known: Vec<Id>,
    pub(crate) cells: Vec<Cell>,
    discarded: Vec<(Id, Id)>,
    discarded_unseen: Option<Option<Id>>,
    complaints: Vec<String>,
}

/// Who asks for what, and when.
struct By<'a> {
    op: Operation,
    face: Face,
    principal: &'a Principal,
    source: Option<IpAddr>,
    now: u64,
    mood: Mood,
}

enum Bar {
    State(StateRule),
    Origin,
}

pub(crate) fn face_name(face: Face) -> &'static str {
    match face {
        Face::Alibaba => "Alibaba",
        Face::Aws => "Aws",
        Face::Tencent => "Tencent",
    }
}

fn is_cryptography(op: Operation) -> bool {
    use Operation as Op;
    [
        Op::Encrypt,
        Op::Decrypt,
        Op::GenerateDataKey,
        Op::GenerateDataKeyWithoutPlaintext,
        Op::ReEncrypt,
    ]
    .contains(&op)
}

/// Reads about a key.
fn is_read(op: Operation) -> bool {
    use Operation as Op;
    [
        Op::DescribeKey,
        Op::ListAliasesByKeyId,
        Op::ListKeyVersions,
        Op::DescribeKeyVersion,
        Op::ListResourceTags,
    ]
    .contains(&op)
}

/// The two tables of states, by row. AWS's codes: D, P, I are `Rejected`, N is
/// `NotPendingDeletion`, U is an origin that doesn't fit.
fn bar(face: Face, op: Operation, state: KeyState, external: bool) -> Option<Bar> {
    use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
    use Operation as Op;
    let rejected = Some(Bar::State(StateRule::Rejected));
    let cannot = Some(Bar::State(StateRule::CannotModify));
    let not_pending = Some(Bar::State(StateRule::NotPendingDeletion));
    let origin = Some(Bar::Origin);
    let deleting = state == PendingDeletion;
    let row = match (face, op) {
        (_, op) if is_read(op) || op == Op::DeleteAlias => return None,
        (_, op) if is_cryptography(op) => return rejected.filter(|_| state != Enabled),
        (Face::Aws, row) => (true, row),
        (_, row) => (false, row),
    };
    match row {
        (_, Op::UpdateKeyDescription | Op::TagResource | Op::UntagResource) if deleting => rejected,
        (_, Op::UpdateKeyDescription | Op::TagResource | Op::UntagResource) => None,
        (_, Op::CreateKeyVersion) => match state {
            Enabled => origin.filter(|_| external),
            Disabled | PendingDeletion | PendingImport => rejected,
        },
        (_, Op::SetDeletionProtection) => rejected.filter(|_| deleting),
        (aws, Op::EnableKey | Op::DisableKey) => match state {
            Enabled | Disabled => None,
            PendingDeletion | PendingImport if aws => rejected,
            PendingDeletion | PendingImport => cannot,
        },
        (true, Op::ScheduleKeyDeletion | Op::CreateAlias) => rejected.filter(|_| deleting),
        (false, Op::ScheduleKeyDeletion | Op::CreateAlias) => cannot.filter(|_| deleting),
        (true, Op::CancelKeyDeletion) => not_pending.filter(|_| !deleting),
        (false, Op::CancelKeyDeletion) => cannot.filter(|_| !deleting),
        (_, Op::UpdateAlias) => rejected.filter(|_| deleting),
        (_, Op::DeleteKeyMaterial) => origin.filter(|_| !external),
        (false, Op::GetParametersForImport) => origin.filter(|_| !external),
        (false, Op::ImportKeyMaterial) => match deleting {
            true => cannot,
            false => origin.filter(|_| !external),
        },
        (true, Op::GetParametersForImport | Op::ImportKeyMaterial) => match external {
            true => rejected.filter(|_| deleting),
            false => origin,
        },
        (false, Op::UpdateRotationPolicy) => match state {
            Enabled => origin.filter(|_| external),
            Disabled | PendingDeletion | PendingImport => rejected,
        },
        (true, Op::UpdateRotationPolicy) => match (external, state) {
            (true, _) => origin,
            (false, Enabled) => None,
            (false, Disabled | PendingDeletion | PendingImport) => rejected,
        },
        (_, other) => panic!("{other} is about no key's state"),
    }
}

fn unavailable() -> Cause {
    Cause::Unavailable(String::new())
}

fn invalid() -> Cause {
    Cause::InvalidParameter {
        parameter: "",
        expected: "",
    }
}

fn require(holds: bool) -> Result<(), Cause> {
    if holds { Ok(()) } else { Err(invalid()) }
}

fn check_tags(tags: &[Tag]) -> Result<(), Cause> {
    let fits = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/\\_.+=:@-".contains(c);
        text.chars().count() <= 128 && text.chars().all(allowed)
    };
    require(tags.len() <= 20)?;
    for (at, tag) in tags.iter().enumerate() {
        require(fits(&tag.key) && !tag.key.is_empty() && fits(&tag.value))?;
        require(!tag.key.starts_with("aliyun") && !tag.key.starts_with("acs:"))?;
        require(tags[..at].iter().all(|before| before.key != tag.key))?;
    }
    Ok(())
}

fn check_interval(face: Face, interval: Option<RotationInterval>) -> Result<(), Cause> {
    let (least, most) = match face {
        Face::Alibaba => (7, 730),
        Face::Aws => (90, 2560),
        Face::Tencent => (7, 365),
    };
    let seconds = interval.map(RotationInterval::seconds);
    require(seconds.is_none_or(|seconds| (least * DAY..=most * DAY).contains(&seconds)))
}

/// As JSON without blanks it has at most 8,192 characters.
fn check_context(context: &EncryptionContext) -> Result<Vec<(String, String)>, Cause> {
    let len = |text: &str| -> usize {
        let written = |c: char| match c {
            '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
            '\0'..' ' => 6,
            _ => 1,
        };
        text.chars().map(written).sum::<usize>() + 2
    };
    let pairs: Vec<(String, String)> = context
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let members: usize = pairs
        .iter()
        .map(|(name, value)| len(name) + 1 + len(value))
        .sum();
    require(2 + members + pairs.len().saturating_sub(1) <= 8192)?;
    Ok(pairs)
}

fn check_alias(alias: &str, face: Face) -> Result<(), Cause> {
    let name = alias.strip_prefix("alias/").unwrap_or("");
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/' || c == '-';
    let fits = !name.is_empty() && name.len() <= 255 && name.chars().all(allowed);
    if !fits || face == Face::Aws && alias.len() > 256 {
        return Err(Cause::InvalidAlias {
            alias: alias.into(),
        });
    }
    let reserved = alias == "alias/acs"
        || alias.starts_with("alias/acs/")
        || face == Face::Aws && alias.starts_with("alias/aws/");
    if reserved {
        return Err(Cause::ReservedAlias {
            alias: alias.into(),
        });
    }
    Ok(())
}

/// The key and version that a blob names.
fn parse_blob(blob: &[u8]) -> Result<(Id, Id), Cause> {
    let wrong = Err(Cause::InvalidBlob { finding: "" });
    if blob.len() < 88 || blob[..5] != [0x9a, 0x4c, 0x4b, 0x4d, 1] || blob[6..8] != [0, 0] {
        return wrong;
    }
    let len = u32::from_be_bytes(blob[68..72].try_into().unwrap()) as usize;
    if !(1..=3).contains(&blob[5]) || len > 6144 || blob.len() != 88 + len {
        return wrong;
    }
    let id = |at: usize| Id::from_bytes(blob[at..at + 16].try_into().unwrap());
    Ok((id(8), id(24)))
}

/// Whether a new blob's header is as it must be.
fn is_blob(blob: &[u8], key: Id, version: Id, len: usize) -> bool {
    parse_blob(blob) == Ok((key, version)) && blob[5] == 1 && blob.len() == 88 + len
}

/// What is behind this KMS's own prefix in an ARN.
fn within_arn(text: &str, face: Face) -> Option<&str> {
    let own = format!("kms:{REGION}:{ACCOUNT}:");
    let rest = if let Some(rest) = text.strip_prefix("acs:") {
        rest
    } else if face == Face::Aws {
        let partitions = ["arn:aws:", "arn:aws-cn:", "arn:aws-us-gov:"];
        partitions
            .iter()
            .find_map(|partition| text.strip_prefix(partition))?
    } else {
        return None;
    };
    rest.strip_prefix(&own)
}

fn page<T>(items: Vec<T>, page: Page) -> List<T> {
    let total = items.len();
    let before = (page.number() as usize - 1) * page.size() as usize;
    let items = items.into_iter().skip(before).take(page.size() as usize);
    List {
        items: items.collect(),
        total,
    }
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let mut oracle = Self::default();
        oracle.books.longest_wait = 30;
        oracle
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.books.keys.iter().filter_map(Key::due).min()
    }

    /// What the KMS has to answer, when it has answered `seen`.
    pub(crate) fn handle(
        &mut self,
        request: &Request,
        caller: &Caller,
        clock: u64,
        mood: Mood,
        seen: &Reply,
    ) -> Said {
        // Copying the books takes time, and a look at what there is comes most often.
        let before = (!mood.looking).then(|| self.books.clone());
        let by = By {
            op: request.operation(),
            face: caller.face,
            principal: &caller.principal,
            source: caller.source,
            now: clock.max(self.last_seen),
            mood,
        };
        let reply = self.answer(request, &by, seen);
        let before = before.filter(|before| self.books != *before);
        if before.is_some() {
            assert!(reply.is_ok(), "the oracle refuses and changes");
            self.last_seen = by.now;
        }
        Said {
            reply,
            before,
            discarded: std::mem::take(&mut self.discarded),
            discarded_unseen: self.discarded_unseen.take(),
            complaints: std::mem::take(&mut self.complaints),
        }
    }

    /// What a tick has to do. `primary` tells the primary version of a key after it.
    pub(crate) fn tick(
        &mut self,
        clock: u64,
        trusted: bool,
        failing: bool,
        primary: &dyn Fn(Id) -> Option<Id>,
    ) -> SaidOfTick {
        let before = self.books.clone();
        let now = clock.max(self.last_seen);
        let mut due: Vec<(u64, Id)> = Vec::new();
        for key in &self.books.keys {
            due.extend(key.due().filter(|at| *at <= now).map(|at| (at, key.id)));
        }
        due.sort();
        let (mut events, mut failed) = (Vec::new(), Vec::new());
        for (_, id) in due {
            let at = self.books.keys.iter().position(|key| key.id == id).unwrap();
            let passed = |time: Option<u64>| time.is_some_and(|time| time <= now);
            if trusted && passed(self.books.keys[at].delete_at) {
                events.push(("DeleteKey", id));
                self.delete(at, now);
                continue;
            }
            if trusted && passed(self.books.keys[at].expires) {
                events.push(("DeleteExpiredKeyMaterial", id));
                self.erase(at);
            }
            let key = &self.books.keys[at];
            if key.state == KeyState::Enabled && passed(key.next_rotation()) {
                if failing {
                    failed.push(id);
                } else {
                    events.push(("RotateKey", id));
                    self.add_version(at, now, primary(id));
                }
            }
        }
        let changed = self.books != before;
        if changed {
            self.last_seen = now;
        }
        SaidOfTick {
            changed,
            events,
            failed,
            discarded: std::mem::take(&mut self.discarded),
            complaints: std::mem::take(&mut self.complaints),
        }
    }

    pub(crate) fn note(&mut self, uses: &[VersionUse]) {
        for noted in uses {
            let keys = self.books.keys.iter_mut().filter(|key| key.id == noted.key);
            for version in keys.flat_map(|key| &mut key.versions) {
                if version.id == noted.version {
                    version.last_used = version.last_used.max(Some(noted.day));
                    version.uses += noted.count;
                }
            }
        }
    }

    fn delete(&mut self, at: usize, now: u64) {
        let key = self.books.keys.remove(at);
        if key.material {
            self.discarded
                .extend(key.versions.iter().map(|version| (key.id, version.id)));
        }
        for token in &key.tokens {
            self.discard_pair(key.id, token);
        }
        self.books
            .aliases
            .retain(|(_, target, _)| *target != key.id);
        self.books.gone.push((key.id, now));
    }

    fn discard_pair(&mut self, key: Id, token: &Token) {
        let id = token.bytes[..16].try_into().unwrap();
        self.discarded.push((key, Id::from_bytes(id)));
    }

    fn erase(&mut self, at: usize) {
        let key = &mut self.books.keys[at];
        if !key.material {
            return;
        }
        key.material = false;
        key.expires = None;
        if key.state != KeyState::PendingDeletion {
            key.state = KeyState::PendingImport;
        }
        let erased = key.versions.iter().map(|version| (key.id, version.id));
        self.discarded.extend(erased);
    }

    /// An id that the model drew: a random UUID.
    fn fresh(&mut self, seen: Option<Id>) -> Id {
        let id = seen.unwrap_or(Id::from_bytes([0; 16]));
        let bytes = id.as_bytes();
        if bytes[6] >> 4 != 4 || bytes[8] >> 6 != 2 {
            self.complaints.push(format!("{id} is no random UUID"));
        }
        self.unseen(id);
        id
    }

    fn unseen(&mut self, id: Id) {
        if self.known.contains(&id) {
            self.complaints.push(format!("{id} was there before"));
        }
        self.known.push(id);
    }

    fn add_version(&mut self, at: usize, now: u64, seen: Option<Id>) {
        let id = self.fresh(seen);
        self.books.keys[at].versions.push(Version {
            id,
            created: now,
            last_used: None,
            uses: 0,
        });
    }

    fn add_key(&mut self, now: u64, external: bool, ids: (Option<Id>, Option<Id>)) -> usize {
        let key = Key {
            id: self.fresh(ids.0),
            external,
            service: None,
            created: now,
            state: KeyState::PendingImport,
            description: String::new(),
            versions: Vec::new(),
            interval: None,
            delete_at: None,
            material: false,
            expires: None,
            first: None,
            protected: None,
            tags: Vec::new(),
            tokens: Vec::new(),
        };
        self.books.keys.push(key);
        let at = self.books.keys.len() - 1;
        if !external {
            self.books.keys[at].state = KeyState::Enabled;
            self.books.keys[at].material = true;
            self.add_version(at, now, ids.1);
        }
        at
    }

    fn by_id(&self, id: Id) -> Result<usize, Cause> {
        if let Some(at) = self.books.keys.iter().position(|key| key.id == id) {
            return Ok(at);
        }
        let gone = self.books.gone.iter().find(|(gone, _)| *gone == id);
        Err(Cause::KeyNotFound {
            key: id.to_string(),
            deleted: gone.map(|(_, at)| time(*at)),
        })
    }

    fn alias_position(&self, name: &str) -> Result<usize, Cause> {
        let mut names = self.books.aliases.iter();
        let found = names.position(|(alias, _, _)| alias == name);
        found.ok_or_else(|| Cause::AliasNotFound { alias: name.into() })
    }

    /// The key that a text names.
    fn find(&self, text: &str, aliases: bool, face: Face) -> Result<usize, Cause> {
        let unknown = || Cause::KeyNotFound {
            key: text.into(),
            deleted: None,
        };
        let resource = within_arn(text, face);
        let name = resource.unwrap_or(text);
        if name.starts_with("alias/") {
            if !aliases {
                return Err(Cause::AliasUnsupported { alias: name.into() });
            }
            let (_, id, _) = self.books.aliases[self.alias_position(name)?];
            return self.by_id(id);
        }
        let id = match resource {
            Some(resource) => resource.strip_prefix("key/").ok_or_else(unknown)?,
            None => text,
        };
        let shape = |(at, c): (usize, char)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        };
        if id.len() != 36 || !id.chars().enumerate().all(shape) {
            return Err(unknown());
        }
        let digits: String = id.chars().filter(|c| *c != '-').collect();
        let number = u128::from_str_radix(&digits, 16).unwrap();
        self.by_id(Id::from_bytes(number.to_be_bytes()))
    }

    /// Whether the caller's policy allows it.
    fn may(
        &self,
        action: &str,
        resource: Resource<'_>,
        tags: Option<&[(String, String)]>,
        by: &By<'_>,
    ) -> Result<(), Cause> {
        if *by.principal == Principal::Root {
            return Ok(());
        }
        let mut given = self.books.policies.iter();
        let policy = given.find(|(principal, _)| principal == by.principal);
        let decision = policy.map_or(Decision::Silent, |(_, number)| {
            policies::POOL[*number].1(&Question {
                action,
                resource,
                now: by.now,
                source: by.source,
                tags,
            })
        });
        let denied_by = match decision {
            Decision::Allowed => return Ok(()),
            Decision::Denied(statement) => Some(statement),
            Decision::Silent => None,
        };
        Err(Cause::NotAllowed {
            principal: by.principal.clone(),
            action: action.into(),
            resource: resource.arn(),
            denied_by,
        })
    }

    /// Whether the caller may do that with this key: whose it is, and policies.
    fn may_with(&self, at: usize, action: &str, by: &By<'_>) -> Result<(), Cause> {
        let key = &self.books.keys[at];
        if let Some(service) = &key.service {
            let own = matches!(by.principal, Principal::Service(code)
                if code.to_lowercase() == *service);
            if is_cryptography(by.op) && own {
                return Ok(());
            }
            if !is_read(by.op) {
                return Err(Cause::ServiceKey {
                    key: key.id,
                    service: service.clone(),
                });
            }
        }
        let tags = is_cryptography(by.op).then_some(&key.tags[..]);
        self.may(action, Resource::Key(key.id), tags, by)
    }

    /// Whether its state and origin allow the operation.
    fn can(&mut self, at: usize, by: &By<'_>) -> Result<(), Cause> {
        let key = &self.books.keys[at];
        let cell = (by.op, face_name(by.face), key.state.name(), key.external);
        self.cells.push(cell);
        match bar(by.face, by.op, key.state, key.external) {
            None => Ok(()),
            Some(Bar::Origin) => Err(Cause::Origin {
                key: key.id,
                origin: match key.external {
                    true => Origin::External,
                    false => Origin::Generated,
                },
            }),
            Some(Bar::State(rule)) => Err(Cause::State {
                key: key.id,
                state: key.state,
                rule,
            }),
        }
    }

    /// The key of an operation whose action has its name.
    fn allowed(&mut self, text: &str, by: &By<'_>) -> Result<usize, Cause> {
        let at = self.find(text, by.op == Operation::DescribeKey, by.face)?;
        self.may_with(at, &format!("kms:{:?}", by.op), by)?;
        self.can(at, by)?;
        Ok(at)
    }

    /// The key to encrypt with: a service's own one is made on its first use.
    fn encrypting(
        &mut self,
        text: &str,
        by: &By<'_>,
        seen: Option<&Encrypted>,
    ) -> Result<usize, Cause> {
        let name = within_arn(text, by.face).unwrap_or(text);
        if let Principal::Service(code) = by.principal {
            let own = format!("alias/acs/{}", code.to_lowercase());
            if name == own && self.alias_position(&own).is_err() {
                // The key is made, and then it can't be used: it is taken back.
                if by.mood.idle && !by.mood.failing {
                    self.discarded_unseen = Some(None);
                }
                if by.mood.failing || by.mood.idle {
                    return Err(unavailable());
                }
                let ids = (seen.map(|seen| seen.key), seen.map(|seen| seen.version));
                let at = self.add_key(by.now, false, ids);
                self.books.keys[at].service = Some(code.to_lowercase());
                self.books
                    .aliases
                    .push((own, self.books.keys[at].id, by.now));
                return Ok(at);
            }
        }
        let at = self.find(text, true, by.face)?;
        self.may_with(at, &format!("kms:{:?}", by.op), by)?;
        self.can(at, by)?;
        if by.mood.damaged {
            return Err(self.damaged(at, self.books.keys[at].versions.last().unwrap().id));
        }
        if by.mood.idle {
            return Err(unavailable());
        }
        Ok(at)
    }

    fn damaged(&self, at: usize, version: Id) -> Cause {
        Cause::DamagedMaterial {
            key: self.books.keys[at].id,
            version,
            finding: String::new(),
        }
    }

    /// Notes a blob that the model made with the primary version.
    fn sealed(
        &mut self,
        at: usize,
        context: Vec<(String, String)>,
        (secret, len): (usize, usize),
        seen: Option<&Encrypted>,
    ) -> Encrypted {
        let key = &self.books.keys[at];
        let (id, version) = (key.id, key.versions.last().unwrap().id);
        let blob = seen.map(|seen| seen.blob.clone()).unwrap_or_default();
        if !is_blob(&blob, id, version, len) {
            self.complaints
                .push(format!("no blob of {id} {version} with {len} bytes"));
        }
        self.blobs.push(Sealed {
            blob: blob.clone(),
            context,
            secret,
        });
        Encrypted {
            key: id,
            version,
            blob,
        }
    }

    /// The blob's key, which the caller may use for `action`, and the version that it names.
    fn opening(&mut self, ask: &Decrypt, action: &str, by: &By<'_>) -> Result<(usize, Id), Cause> {
        let (key, version) = parse_blob(&ask.blob)?;
        if let Some(text) = &ask.key {
            let expected = self.find(text, by.face == Face::Aws, by.face)?;
            let expected = self.books.keys[expected].id;
            if expected != key {
                return Err(Cause::OtherKey {
                    expected,
                    found: key,
                });
            }
        }
        let at = self.by_id(key)?;
        self.may_with(at, action, by)?;
        Ok((at, version))
    }

    fn open(
        &self,
        (at, version): (usize, Id),
        ask: &Decrypt,
        context: &[(String, String)],
        by: &By<'_>,
    ) -> Result<usize, Cause> {
        let key = &self.books.keys[at];
        if !key.versions.iter().any(|one| one.id == version) {
            return Err(Cause::VersionNotFound {
                key: key.id,
                version: version.to_string(),
            });
        }
        if by.mood.idle {
            return Err(unavailable());
        }
        if by.mood.damaged && ask.blob[5] == 1 {
            return Err(self.damaged(at, version));
        }
        let made = self.blobs.iter().find(|made| made.blob == ask.blob);
        match made.filter(|made| made.context == context) {
            Some(made) => Ok(made.secret),
            None => Err(Cause::Undecryptable { key: key.id }),
        }
    }

    pub(crate) fn metadata(&self, at: usize) -> KeyMetadata {
        let key = &self.books.keys[at];
        KeyMetadata {
            key: key.id,
            state: key.state,
            origin: if key.external {
                Origin::External
            } else {
                Origin::Generated
            },
            protection: ProtectionLevel::Software,
            creator: match &key.service {
                Some(code) => code.to_uppercase(),
                None => ACCOUNT.into(),
            },
            created: time(key.created),
            description: key.description.clone(),
            delete_at: key.delete_at.map(time),
            deletion_protection: key.protected.clone(),
            material_expires: key.expires.map(time),
            automatic_rotation: match (key.interval, key.state) {
                (None, _) => AutomaticRotation::Disabled,
                (Some(_), KeyState::Enabled) => AutomaticRotation::Enabled,
                (Some(_), _) => AutomaticRotation::Suspended,
            },
            rotation_interval: key.interval.and_then(RotationInterval::from_seconds),
            next_rotation: key.next_rotation().map(time),
            last_rotation: key.versions.last().map(|version| time(version.created)),
            primary_version: key.versions.last().map(|version| version.id),
            last_used: key
                .versions
                .iter()
                .filter_map(|version| version.last_used)
                .max(),
        }
    }

    fn version(&self, at: usize, version: &Version) -> VersionEntry {
        VersionEntry {
            key: self.books.keys[at].id,
            version: version.id,
            created: time(version.created),
            last_used: version.last_used,
            uses: version.uses,
        }
    }

    fn aliases_of(&self, key: Option<Id>) -> Vec<AliasEntry> {
        let mut found: Vec<(u64, &str, Id)> = Vec::new();
        for (name, id, created) in &self.books.aliases {
            if key.is_none_or(|key| key == *id) {
                found.push((*created, name, *id));
            }
        }
        found.sort();
        let entries = found.into_iter().map(|(created, name, key)| AliasEntry {
            name: name.into(),
            key,
            created: time(created),
        });
        entries.collect()
    }

    fn answer(&mut self, request: &Request, by: &By<'_>, seen: &Reply) -> Result<Response, Cause> {
        let seen = seen.as_ref().ok();
        match request {
            Request::CreateKey(ask) => {
                let external = ask.origin == Origin::External;
                require(ask.description.chars().count() <= 8192)?;
                check_tags(&ask.tags)?;
                check_interval(by.face, ask.rotation)?;
                require(!external || ask.rotation.is_none())?;
                self.may("kms:CreateKey", Resource::Keys, None, by)?;
                if ask.protection == ProtectionLevel::Hsm {
                    return Err(Cause::ProtectionLevelUnavailable {
                        level: ask.protection,
                    });
                }
                if !external && by.mood.failing {
                    return Err(unavailable());
                }
                let ids = match seen {
                    Some(Response::CreateKey(key)) => (Some(key.key), key.primary_version),
                    _ => (None, None),
                };
                let at = self.add_key(by.now, external, ids);
                let key = &mut self.books.keys[at];
                key.description.clone_from(&ask.description);
                key.interval = ask.rotation.map(RotationInterval::seconds);
                key.tags = pairs(&ask.tags);
                key.tags.sort();
                Ok(Response::CreateKey(self.metadata(at)))
            }
            Request::ListKeys(which) => {
                self.may("kms:ListKeys", Resource::Keys, None, by)?;
                let keys = self.books.keys.iter();
                let mut keys: Vec<(u64, Id)> = keys.map(|key| (key.created, key.id)).collect();
                keys.sort();
                let ids = keys.into_iter().map(|(_, id)| id).collect();
                Ok(Response::ListKeys(page(ids, *which)))
            }
            Request::DescribeKey { key } => {
                let at = self.allowed(key, by)?;
                Ok(Response::DescribeKey(self.metadata(at)))
            }
            Request::UpdateKeyDescription { key, description } => {
                require(description.chars().count() <= 8192)?;
                let at = self.allowed(key, by)?;
                self.books.keys[at].description.clone_from(description);
                Ok(Response::UpdateKeyDescription)
            }
            Request::EnableKey { key } => {
                let at = self.allowed(key, by)?;
                self.books.keys[at].state = KeyState::Enabled;
                Ok(Response::EnableKey)
            }
            Request::DisableKey { key } => {
                let at = self.allowed(key, by)?;
                self.books.keys[at].state = KeyState::Disabled;
                Ok(Response::DisableKey)
            }
            Request::ScheduleKeyDeletion { key, days } => {
                let days = u64::from(*days);
                require((7..=self.books.longest_wait).contains(&days))?;
                let at = self.allowed(key, by)?;
                let key = &mut self.books.keys[at];
                if let Some(description) = &key.protected {
                    return Err(Cause::DeletionProtected {
                        key: key.id,
                        description: description.clone(),
                    });
                }
                let delete_at = by.now + days * DAY;
                key.state = KeyState::PendingDeletion;
                key.delete_at = Some(delete_at);
                Ok(Response::ScheduleKeyDeletion {
                    key: key.id,
                    delete_at: time(delete_at),
                })
            }
            Request::CancelKeyDeletion { key } => {
                let at = self.allowed(key, by)?;
                let key = &mut self.books.keys[at];
                key.delete_at = None;
                key.state = match by.face {
                    _ if !key.material => KeyState::PendingImport,
                    Face::Alibaba => KeyState::Enabled,
                    Face::Aws | Face::Tencent => KeyState::Disabled,
                };
                Ok(Response::CancelKeyDeletion { key: key.id })
            }
            Request::SetDeletionProtection {
                key,
                enabled,
                description,
            } => {
                require(description.chars().count() <= 8192)?;
                let at = self.allowed(key, by)?;
                self.books.keys[at].protected = enabled.then(|| description.clone());
                Ok(Response::SetDeletionProtection)
            }
            Request::GetParametersForImport { key, .. } => {
                let at = self.allowed(key, by)?;
                if by.mood.idle {
                    return Err(unavailable());
                }
                let (token, public_key) = match seen {
                    Some(Response::GetParametersForImport(seen)) => {
                        (seen.token.clone(), seen.public_key.clone())
                    }
                    _ => (vec![0; 48], vec![0; 8]),
                };
                if token.len() != 48 {
                    self.complaints
                        .push(format!("a token of {} bytes", token.len()));
                }
                let id = token.first_chunk().copied().unwrap_or([0; 16]);
                self.unseen(Id::from_bytes(id));
                let expires = by.now + 24 * 3600;
                let key = &mut self.books.keys[at];
                key.tokens.push(Token {
                    bytes: token.clone(),
                    expires,
                    public_key: public_key.clone(),
                });
                let id = key.id;
                if key.tokens.len() > 16 {
                    let oldest = key.tokens.remove(0);
                    self.discard_pair(id, &oldest);
                }
                Ok(Response::GetParametersForImport(ImportParameters {
                    key: id,
                    token,
                    public_key,
                    expires: time(expires),
                }))
            }
            Request::ImportKeyMaterial(ask) => {
                let expires = ask.expires.map(Time::unix);
                require(expires.is_none_or(|expires| expires > by.now))?;
                let at = self.allowed(&ask.key, by)?;
                let key = &mut self.books.keys[at];
                let id = key.id;
                let token = key.tokens.iter().find(|token| token.bytes == ask.token);
                let token = token.ok_or(Cause::InvalidImportToken { key: id })?;
                if by.now > token.expires {
                    return Err(Cause::ExpiredImportToken {
                        key: id,
                        expired: time(token.expires),
                    });
                }
                if by.mood.idle {
                    return Err(unavailable());
                }
                let material = keeper::unwrap(&token.public_key, &ask.wrapped);
                let fits = |material: &Vec<u8>| {
                    let same = key.first.as_ref().is_none_or(|first| first == material);
                    same && material.len() == 32
                };
                let material = material.filter(fits);
                // What comes out of an import is destroyed, unless it is what a version lacks.
                if material.is_none() || key.material {
                    match key.versions.first() {
                        Some(version) => self.discarded.push((id, version.id)),
                        None => self.discarded_unseen = Some(Some(id)),
                    }
                }
                let material = material.ok_or(Cause::InvalidKeyMaterial { key: id })?;
                key.material = true;
                key.first = Some(material);
                key.expires = expires;
                if key.state == KeyState::PendingImport {
                    key.state = KeyState::Enabled;
                }
                if key.versions.is_empty() {
                    let version = match seen {
                        Some(Response::ImportKeyMaterial { version, .. }) => Some(*version),
                        _ => None,
                    };
                    self.add_version(at, by.now, version);
                }
                Ok(Response::ImportKeyMaterial {
                    key: id,
                    version: self.books.keys[at].versions[0].id,
                })
            }
            Request::DeleteKeyMaterial { key } => {
                let at = self.allowed(key, by)?;
                self.erase(at);
                Ok(Response::DeleteKeyMaterial)
            }
            Request::Encrypt(ask) => {
                let longest = if by.face == Face::Alibaba { 6144 } else { 4096 };
                require(ask.plaintext.len() <= longest)?;
                let context = check_context(&ask.context)?;
                let seen = match seen {
                    Some(Response::Encrypt(seen)) => Some(seen),
                    _ => None,
                };
                let at = self.encrypting(&ask.key, by, seen)?;
                let secret = self.secret(Some(ask.plaintext.danger_bytes().to_vec()));
                let len = ask.plaintext.len();
                Ok(Response::Encrypt(self.sealed(
                    at,
                    context,
                    (secret, len),
                    seen,
                )))
            }
            Request::GenerateDataKey(ask) => {
                let context = check_context(&ask.context)?;
                let data_key = match seen {
                    Some(Response::GenerateDataKey(seen)) => Some(seen),
                    _ => None,
                };
                let seen = data_key.map(|seen| &seen.encrypted);
                let at = self.encrypting(&ask.key, by, seen)?;
                let plaintext = data_key.map(|seen| seen.plaintext.danger_bytes().to_vec());
                let plaintext = self.random(plaintext, ask.length.bytes());
                let secret = self.secret(Some(plaintext.clone()));
                let encrypted = self.sealed(at, context, (secret, plaintext.len()), seen);
                Ok(Response::GenerateDataKey(GeneratedDataKey {
                    plaintext: SecretBytes::new(plaintext),
                    encrypted,
                }))
            }
            Request::GenerateDataKeyWithoutPlaintext(ask) => {
                let context = check_context(&ask.context)?;
                let seen = match seen {
                    Some(Response::GenerateDataKeyWithoutPlaintext(seen)) => Some(seen),
                    _ => None,
                };
                let at = self.encrypting(&ask.key, by, seen)?;
                let secret = self.secret(None);
                let made = self.sealed(at, context, (secret, ask.length.bytes()), seen);
                Ok(Response::GenerateDataKeyWithoutPlaintext(made))
            }
            Request::Decrypt(ask) => {
                let context = check_context(&ask.context)?;
                let opening = self.opening(ask, "kms:Decrypt", by)?;
                self.can(opening.0, by)?;
                let secret = self.open(opening, ask, &context, by)?;
                let seen = match seen {
                    Some(Response::Decrypt(seen)) => Some(seen.plaintext.danger_bytes().to_vec()),
                    _ => None,
                };
                let plaintext = match self.secrets[secret].clone() {
                    Some(known) => known,
                    // From now on this is what these blobs hold.
                    None => {
                        let learnt = self.random(seen, ask.blob.len() - 88);
                        self.secrets[secret] = Some(learnt.clone());
                        learnt
                    }
                };
                Ok(Response::Decrypt(Decrypted {
                    key: self.books.keys[opening.0].id,
                    version: opening.1,
                    plaintext: SecretBytes::new(plaintext),
                }))
            }
            Request::ReEncrypt(ask) => {
                let context = check_context(&ask.source.context)?;
                let new_context = check_context(&ask.destination_context)?;
                let source = self.opening(&ask.source, "kms:ReEncryptFrom", by)?;
                let at = self.find(&ask.destination_key, true, by.face)?;
                self.may_with(at, "kms:ReEncryptTo", by)?;
                self.can(source.0, by)?;
                self.can(at, by)?;
                let secret = self.open(source, &ask.source, &context, by)?;
                let encrypted = match seen {
                    Some(Response::ReEncrypt(seen)) => Some(&seen.encrypted),
                    _ => None,
                };
                let len = ask.source.blob.len() - 88;
                let encrypted = self.sealed(at, new_context, (secret, len), encrypted);
                Ok(Response::ReEncrypt(ReEncrypted {
                    source_key: self.books.keys[source.0].id,
                    source_version: source.1,
                    encrypted,
                }))
            }
            Request::GenerateRandom(len) => {
                self.may("kms:GenerateRandom", Resource::Keys, None, by)?;
                let seen = match seen {
                    Some(Response::GenerateRandom(seen)) => Some(seen.danger_bytes().to_vec()),
                    _ => None,
                };
                let bytes = self.random(seen, len.bytes());
                Ok(Response::GenerateRandom(SecretBytes::new(bytes)))
            }
            Request::CreateAlias { alias, key } => {
                check_alias(alias, by.face)?;
                let at = self.find(key, false, by.face)?;
                self.may_with(at, "kms:CreateAlias", by)?;
                self.may("kms:CreateAlias", Resource::Alias(alias), None, by)?;
                self.can(at, by)?;
                if self.alias_position(alias).is_ok() {
                    return Err(Cause::AliasExists {
                        alias: alias.clone(),
                    });
                }
                let key = self.books.keys[at].id;
                self.books.aliases.push((alias.clone(), key, by.now));
                Ok(Response::CreateAlias)
            }
            Request::UpdateAlias { alias, key } => {
                check_alias(alias, by.face)?;
                let position = self.alias_position(alias)?;
                let old = self.by_id(self.books.aliases[position].1)?;
                let new = self.find(key, false, by.face)?;
                self.may_with(old, "kms:UpdateAlias", by)?;
                self.may_with(new, "kms:UpdateAlias", by)?;
                self.may("kms:UpdateAlias", Resource::Alias(alias), None, by)?;
                self.can(new, by)?;
                self.books.aliases[position].1 = self.books.keys[new].id;
                Ok(Response::UpdateAlias)
            }
            Request::DeleteAlias { alias } => {
                check_alias(alias, by.face)?;
                let position = self.alias_position(alias)?;
                let at = self.by_id(self.books.aliases[position].1)?;
                self.may_with(at, "kms:DeleteAlias", by)?;
                self.may("kms:DeleteAlias", Resource::Alias(alias), None, by)?;
                self.can(at, by)?;
                self.books.aliases.remove(position);
                Ok(Response::DeleteAlias)
            }
            Request::ListAliases(which) => {
                self.may("kms:ListAliases", Resource::Aliases, None, by)?;
                Ok(Response::ListAliases(page(self.aliases_of(None), *which)))
            }
            Request::ListAliasesByKeyId { key, page: which } => {
                let at = self.allowed(key, by)?;
                let aliases = self.aliases_of(Some(self.books.keys[at].id));
                Ok(Response::ListAliasesByKeyId(page(aliases, *which)))
            }
            Request::TagResource { key, tags } => {
                check_tags(tags)?;
                let at = self.allowed(key, by)?;
                let mut all = self.books.keys[at].tags.clone();
                for (name, value) in pairs(tags) {
                    all.retain(|(other, _)| *other != name);
                    all.push((name, value));
                }
                require(all.len() <= 20)?;
                all.sort();
                self.books.keys[at].tags = all;
                Ok(Response::TagResource)
            }
            Request::UntagResource { key, names } => {
                let at = self.allowed(key, by)?;
                self.books.keys[at]
                    .tags
                    .retain(|(name, _)| !names.contains(name));
                Ok(Response::UntagResource)
            }
            Request::ListResourceTags { key } => {
                let at = self.allowed(key, by)?;
                let tags = self.books.keys[at].tags.iter().map(|(key, value)| Tag {
                    key: key.clone(),
                    value: value.clone(),
                });
                Ok(Response::ListResourceTags(tags.collect()))
            }
            Request::ListKeyVersions { key, page: which } => {
                let at = self.allowed(key, by)?;
                let versions = self.books.keys[at].versions.iter();
                let versions = versions.map(|version| self.version(at, version)).collect();
                Ok(Response::ListKeyVersions(page(versions, *which)))
            }
            Request::DescribeKeyVersion { key, version } => {
                let at = self.allowed(key, by)?;
                let key = &self.books.keys[at];
                let is = |one: &&Version| one.id.to_string() == version.to_lowercase();
                match key.versions.iter().find(is) {
                    Some(found) => Ok(Response::DescribeKeyVersion(self.version(at, found))),
                    None => Err(Cause::VersionNotFound {
                        key: key.id,
                        version: version.clone(),
                    }),
                }
            }
            Request::CreateKeyVersion { key } => {
                let at = self.allowed(key, by)?;
                if by.mood.failing {
                    return Err(unavailable());
                }
                let version = match seen {
                    Some(Response::CreateKeyVersion(seen)) => Some(seen.version),
                    _ => None,
                };
                self.add_version(at, by.now, version);
                let newest = self.books.keys[at].versions.last().unwrap();
                Ok(Response::CreateKeyVersion(self.version(at, newest)))
            }
            Request::UpdateRotationPolicy { key, interval } => {
                check_interval(by.face, *interval)?;
                let at = self.allowed(key, by)?;
                self.books.keys[at].interval = interval.map(RotationInterval::seconds);
                Ok(Response::UpdateRotationPolicy)
            }
            Request::DescribeRegions => Ok(Response::DescribeRegions(vec![REGION.into()])),
        }
    }

    /// Random bytes of the model's.
    fn random(&mut self, seen: Option<Vec<u8>>, len: usize) -> Vec<u8> {
        let bytes = seen.unwrap_or_else(|| vec![0; len]);
        if bytes.len() != len || len >= 16 && bytes.iter().all(|byte| *byte == bytes[0]) {
            self.complaints
                .push(format!("not {len} random bytes: {bytes:?}"));
        }
        bytes
    }

    fn secret(&mut self, plaintext: Option<Vec<u8>>) -> usize {
        self.secrets.push(plaintext);
        self.secrets.len() - 1
    }
}

fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let pairs = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone()));
    pairs.collect()
}
