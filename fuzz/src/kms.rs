//! A KMS that is checked at every step: what the targets about requests and snapshots share. The snapshot is read by a reader of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rand_core::{TryCryptoRng, TryRng};
use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::AuditRecord;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::json::Json;
use stillkey_core::kms::key::ProtectionLevel;
use stillkey_core::kms::material::{ImportCipher, KeeperError, MaterialKeeper, SoftwareKeeper};
use stillkey_core::kms::time::{Now, Time};
use stillkey_core::kms::{Caller, Discarded, Face, Operation, Principal, Request, Response, State};
use stillkey_core::{EncryptionContext, SecretBytes};

/// That of the frozen state in `tests/vectors/kms`, so that its material opens.
const KEEPER_KEY: std::ops::Range<u8> = 0x80..0xa0;

/// SplitMix64, which fails once it has given as many draws as it may.
#[derive(Debug)]
pub struct Random {
    state: u64,
    /// Draws until it fails; `None`: it doesn't.
    pub left: Option<u8>,
}

impl Random {
    /// Never fails, until told to.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            left: None,
        }
    }

    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// It gives no more.
#[derive(Debug)]
pub struct Exhausted;

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exhausted")
    }
}

impl std::error::Error for Exhausted {}

impl TryRng for Random {
    type Error = Exhausted;

    fn try_next_u32(&mut self) -> Result<u32, Exhausted> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Exhausted> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Exhausted> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(Exhausted)?;
        }
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Random {}

/// In place of RSA: material is given as it is; `!` at its beginning is bad padding.
#[derive(Debug)]
struct NoRsa;

impl ImportCipher for NoRsa {
    fn generate(&self, _: WrappingAlgorithm) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        Ok((b"public".into(), SecretBytes::copied(b"private")))
    }

    fn unwrap(
        &self,
        _: &SecretBytes,
        _: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        Ok((!wrapped.starts_with(b"!")).then(|| SecretBytes::copied(wrapped)))
    }
}

/// The keeper of the corpus' snapshots.
pub fn keeper() -> SoftwareKeeper {
    let key = SecretBytes::new(KEEPER_KEY.collect());
    SoftwareKeeper::new(key, Some(Arc::new(NoRsa))).expect("a fitting length")
}

/// A KMS without keys.
pub fn empty() -> State {
    let namespace = Namespace::new("cn-hangzhou", "111122223333").expect("fitting names");
    State::new(namespace, SecretBytes::new(vec![0x11; 32])).expect("a fitting length")
}

/// A text that no message has by chance.
pub fn secret_text(random: &mut Random) -> String {
    format!("{:016x}{:016x}", random.number(), random.number())
}

/// A KMS, and what must never be said.
pub struct Kms {
    /// After the last step.
    pub state: State,
    /// What the clock shows.
    pub now: Now,
    /// Of the next steps.
    pub random: Random,
    /// Of the material.
    pub keeper: SoftwareKeeper,
    /// Of the next requests.
    pub caller: Caller,
    wire: Wire,
    secrets: Vec<Vec<u8>>,
}

impl Kms {
    /// Checks the state first.
    pub fn new(state: State, seed: u64) -> Self {
        let keeper = keeper();
        let wire = check_state(&state, &keeper);
        Self {
            now: Now::new(state.last_seen()),
            state,
            random: Random::new(seed),
            keeper,
            caller: Caller::new(Principal::Root, Face::Alibaba),
            wire,
            secrets: Vec::new(),
        }
    }

    /// No message and no record may have this from now on.
    pub fn keep_secret(&mut self, secret: &[u8]) {
        if secret.len() >= 16 {
            self.secrets.push(secret[..16].to_vec());
        }
    }

    /// The answer, or the name of the cause for which there is none.
    pub fn ask(&mut self, request: &Request) -> Result<Response, &'static str> {
        let outcome = self.state.handle(
            request,
            &self.caller,
            self.now,
            &mut self.random,
            &self.keeper,
        );
        match &outcome.record {
            None => assert_eq!(request.operation(), Operation::DescribeRegions),
            Some(record) => {
                let error = outcome.reply.as_ref().err();
                assert_eq!(record.error(), error.map(|refusal| refusal.cause.name()));
                self.check_record(record);
            }
        }
        if let Err(refusal) = &outcome.reply {
            assert!(outcome.next.is_none(), "refused, and changed: {refusal}");
            assert_eq!(refusal.operation, request.operation());
            let shown = refusal.to_string();
            // Twice a policy's longest description, and names.
            assert!(shown.len() < 70_000, "{} bytes", shown.len());
            self.check_text(&shown);
            self.check_text(&format!("{refusal:?}"));
        }
        self.check_discarded(&outcome.discarded);
        if let Some(next) = outcome.next {
            let made = outcome.record.as_ref().is_some_and(|record| {
                let body = record.body(self.state.namespace());
                body.contains("CreatedServiceKeyId")
            });
            assert!(made || changes(request.operation()), "{request:?}");
            self.change(next);
        }
        outcome.reply.map_err(|refusal| refusal.cause.name())
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let ticked = self.state.tick(self.now, &mut self.random, &self.keeper);
        assert_eq!(ticked.next.is_some(), !ticked.records.is_empty());
        for record in &ticked.records {
            assert_eq!(record.error(), None);
            self.check_record(record);
        }
        self.check_discarded(&ticked.discarded);
        if let Some(next) = ticked.next {
            self.change(next);
        }
        if self.now.irreversible && ticked.failed.is_empty() {
            let time = self.now.time.max(self.state.last_seen());
            let due = self.state.next_due();
            assert!(due.is_none_or(|due| due > time), "{due:?} at {time}");
        }
    }

    /// Takes a state that something else than a request has led to.
    pub fn change(&mut self, next: State) {
        assert_ne!(next, self.state);
        assert!(next.last_seen() >= self.state.last_seen());
        let wire = check_state(&next, &self.keeper);
        check_step(&self.wire, &wire);
        (self.state, self.wire) = (next, wire);
    }

    /// Reads the state back under a keeper that can't open its material.
    pub fn lose_material(&mut self) {
        let key = SecretBytes::new(vec![1; 32]);
        self.keeper = SoftwareKeeper::new(key, None).expect("a fitting length");
        let bytes = self.state.to_snapshot();
        self.state = State::from_snapshot(bytes.danger_bytes(), &self.keeper).expect("ours");
    }

    fn check_record(&self, record: &AuditRecord) {
        let body = record.body(self.state.namespace());
        let json = Json::parse(&body).expect("a record is JSON");
        let event = json.member("eventName").and_then(Json::as_str);
        assert_eq!(event, Some(record.event().name()));
        self.check_text(&body);
    }

    fn check_discarded(&self, discarded: &[Discarded]) {
        for discarded in discarded {
            self.check_text(&format!("{discarded:?}"));
            let destroyed = self.keeper.destroy(&discarded.place, &discarded.material);
            assert_eq!(destroyed, Ok(()));
        }
    }

    fn check_text(&self, text: &str) {
        for secret in &self.secrets {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
            let raw = String::from_utf8(secret.clone()).ok();
            for form in [Some(hex), Some(decimal.join(", ")), raw]
                .into_iter()
                .flatten()
            {
                assert!(!text.contains(&form), "a secret in: {text}");
            }
        }
    }
}

/// Whether an operation may change the state. First uses of services' keys aside, none that encrypts or lists does.
fn changes(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::ListKeys
            | Operation::DescribeKey
            | Operation::Encrypt
            | Operation::Decrypt
            | Operation::GenerateDataKey
            | Operation::GenerateDataKeyWithoutPlaintext
            | Operation::ReEncrypt
            | Operation::GenerateRandom
            | Operation::ListAliases
            | Operation::ListAliasesByKeyId
            | Operation::ListResourceTags
            | Operation::ListKeyVersions
            | Operation::DescribeKeyVersion
            | Operation::DescribeRegions
    )
}

/// Short contexts, and one that is too long.
pub fn context(choice: u8, text: &str) -> EncryptionContext {
    match choice % 5 {
        0 | 1 => EncryptionContext::new(),
        2 => [("Key1", "Value1"), ("Key2", "Value2")]
            .into_iter()
            .collect(),
        3 => [("a", text)].into_iter().collect(),
        _ => [(text.repeat(9000 / text.len().max(1)), "")]
            .into_iter()
            .collect(),
    }
}

/// What is true of every state, by what its snapshot says; and that the snapshot says it all.
fn check_state(state: &State, keeper: &SoftwareKeeper) -> Wire {
    let bytes = state.to_snapshot();
    let again = State::from_snapshot(bytes.danger_bytes(), keeper)
        .unwrap_or_else(|error| panic!("its own snapshot: {error}\n{state:?}"));
    assert_eq!(again, *state);
    assert_eq!(again.next_due(), state.next_due());
    assert_eq!(
        again.to_snapshot().danger_bytes(),
        bytes.danger_bytes(),
        "equal states have equal bytes"
    );
    let wire = Wire::read(bytes.danger_bytes());
    assert_eq!(wire.keys.len(), state.key_count());
    for key in wire.keys.values() {
        let some = key
            .versions
            .iter()
            .filter(|version| version.material)
            .count();
        let all = key.versions.len();
        let external = key.origin == 1;
        if external {
            assert!(all <= 1 && key.rotation == 0);
            assert_eq!(key.fingerprint.is_empty(), all == 0);
        } else {
            assert!(all >= 1 && some == all, "a version without material");
            assert!(key.fingerprint.is_empty() && key.expires == 0 && key.imports == 0);
        }
        match key.state {
            0 | 1 => assert!(some == all && all > 0),
            2 => {}
            3 => assert!(external && some == 0),
            other => panic!("no state: {other}"),
        }
        assert_eq!(key.state == 2, key.delete_at != 0);
        assert!(key.imports <= 16);
        assert!(key.expires == 0 || some == 1);
        let ids: BTreeSet<_> = key.versions.iter().map(|version| version.id).collect();
        assert_eq!(ids.len(), all, "a version twice");
        let times = key.versions.iter().map(|version| version.created);
        assert!(times.clone().is_sorted());
        assert!(
            times
                .chain([key.created])
                .all(|time| time <= wire.last_seen)
        );
        if !key.service.is_empty() {
            assert!(key.state == 0 && !external && all == 1 && key.rotation == 0);
        }
    }
    for alias in wire.aliases.values() {
        assert!(wire.keys.contains_key(&alias.0), "an alias of no key");
    }
    for gone in wire.tombstones.keys() {
        assert!(!wire.keys.contains_key(gone), "there and deleted");
    }
    wire
}

/// What no change may do.
fn check_step(before: &Wire, after: &Wire) {
    assert_eq!(before.store_key, after.store_key);
    for (id, key) in &before.keys {
        let Some(now) = after.keys.get(id) else {
            assert!(key.state == 2 && after.tombstones.contains_key(id));
            assert!(after.aliases.values().all(|alias| alias.0 != *id));
            continue;
        };
        let fixed = |key: &WireKey| (key.created, key.origin, key.level, key.service.clone());
        assert_eq!(fixed(key), fixed(now));
        assert!(now.versions.len() >= key.versions.len());
        for (version, now) in key.versions.iter().zip(&now.versions) {
            assert_eq!((version.id, version.created), (now.id, now.created));
            assert!(version.last_used <= now.last_used && version.uses <= now.uses);
            if key.origin == 0 {
                assert_eq!(version.sealed, now.sealed, "material changed");
            }
        }
        assert!(key.fingerprint.is_empty() || key.fingerprint == now.fingerprint);
    }
    for (id, deleted) in &before.tombstones {
        assert_eq!(after.tombstones.get(id), Some(deleted));
    }
}

/// A snapshot, read by nobody's rules but those of this file.
#[derive(Default)]
struct Wire {
    store_key: Vec<u8>,
    last_seen: u64,
    keys: BTreeMap<[u8; 16], WireKey>,
    /// Key and time, by name.
    aliases: BTreeMap<Vec<u8>, ([u8; 16], u64)>,
    tombstones: BTreeMap<[u8; 16], u64>,
}

#[derive(Default)]
struct WireKey {
    created: u64,
    service: Vec<u8>,
    origin: u64,
    level: u64,
    state: u64,
    versions: Vec<WireVersion>,
    rotation: u64,
    delete_at: u64,
    expires: u64,
    fingerprint: Vec<u8>,
    imports: usize,
}

#[derive(Default)]
struct WireVersion {
    id: [u8; 16],
    created: u64,
    material: bool,
    sealed: Vec<u8>,
    last_used: u64,
    uses: u64,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl Wire {
    fn read(bytes: &[u8]) -> Self {
        let mut wire = Self::default();
        for (number, value) in fields(bytes) {
            match number {
                3 => wire.store_key = value.bytes().to_vec(),
                4 => wire.last_seen = value.number(),
                6 => {
                    let (id, key) = WireKey::read(value.bytes());
                    assert!(wire.keys.insert(id, key).is_none());
                }
                7 => {
                    let (mut name, mut key, mut created) = (Vec::new(), [0; 16], 0);
                    for (number, value) in fields(value.bytes()) {
                        match number {
                            1 => name = value.bytes().to_vec(),
                            2 => key = value.id(),
                            3 => created = value.number(),
                            _ => {}
                        }
                    }
                    assert!(wire.aliases.insert(name, (key, created)).is_none());
                }
                8 => {
                    let (mut id, mut deleted) = ([0; 16], 0);
                    for (number, value) in fields(value.bytes()) {
                        match number {
                            1 => id = value.id(),
                            2 => deleted = value.number(),
                            _ => {}
                        }
                    }
                    assert!(wire.tombstones.insert(id, deleted).is_none());
                }
                _ => {}
            }
        }
        wire
    }
}

impl WireKey {
    fn read(bytes: &[u8]) -> ([u8; 16], Self) {
        let (mut id, mut key) = ([0; 16], Self::default());
        for (number, value) in fields(bytes) {
            match number {
                1 => id = value.id(),
                2 => key.created = value.number(),
                3 => key.service = value.bytes().to_vec(),
                5 => key.origin = value.number(),
                6 => key.level = value.number(),
                7 => key.state = value.number(),
                8 => key.versions.push(WireVersion::read(value.bytes())),
                9 => key.rotation = value.number(),
                10 => key.delete_at = value.number(),
                11 => key.expires = value.number(),
                12 => key.fingerprint = value.bytes().to_vec(),
                15 => key.imports += 1,
                _ => {}
            }
        }
        (id, key)
    }
}

impl WireVersion {
    fn read(bytes: &[u8]) -> Self {
        let mut version = Self::default();
        for (number, value) in fields(bytes) {
            match number {
                1 => version.id = value.id(),
                2 => version.created = value.number(),
                3 => {
                    version.material = true;
                    version.sealed = value.bytes().to_vec();
                }
                4 => version.last_used = value.number(),
                5 => version.uses = value.number(),
                _ => {}
            }
        }
        version
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a field that this release doesn't write.
    Other,
}

impl<'a> Value<'a> {
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            _ => panic!("no number"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => panic!("no bytes"),
        }
    }

    fn id(&self) -> [u8; 16] {
        self.bytes().try_into().expect("16 bytes")
    }
}

/// The fields of a message that was written by us: by their numbers, in their order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (number, value) = field(&mut bytes);
        found.push((number, value));
    }
    found
}

fn field<'a>(bytes: &mut &'a [u8]) -> (u64, Value<'a>) {
    let tag = varint(bytes);
    let value = match tag & 7 {
        0 => Value::Number(varint(bytes)),
        2 => {
            let len = usize::try_from(varint(bytes)).expect("a length");
            let (value, rest) = bytes.split_at(len);
            *bytes = rest;
            Value::Bytes(value)
        }
        1 => {
            *bytes = &bytes[8..];
            Value::Other
        }
        5 => {
            *bytes = &bytes[4..];
            Value::Other
        }
        3 => {
            // An unknown group, up to its end.
            while bytes[0] & 7 != 4 || peeked(bytes) != (tag & !7) + 4 {
                field(bytes);
            }
            varint(bytes);
            Value::Other
        }
        other => panic!("wire type {other}"),
    };
    (tag >> 3, value)
}

fn peeked(mut bytes: &[u8]) -> u64 {
    varint(&mut bytes)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in 0..10 {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << (7 * shift);
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// So many seconds after the clock's time, or before it.
pub fn moved(time: Time, seconds: i64) -> Time {
    let unix = time.unix().saturating_add_signed(seconds);
    Time::from_unix(unix).unwrap_or(Time::MAX)
}

/// The levels that there are.
pub const LEVELS: [ProtectionLevel; 2] = [ProtectionLevel::Software, ProtectionLevel::Hsm];
