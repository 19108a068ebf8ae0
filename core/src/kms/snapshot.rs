//! The state as bytes, and back: protobuf, whose unknown fields survive, so that an older release
//! doesn't lose what a newer one has written.
//!
//! Key material stands in it only as its keeper sealed it. The key of the store stands as it is:
//! what writes a snapshot to a disk seals it as a whole.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::alias::{self, Namespace};
use super::id::Id;
use super::import::{Import, MAX_TOKENS, WrappingAlgorithm};
use super::key::{Key, KeyState, Origin, ProtectionLevel, Version};
use super::material::{KeptMaterial, MaterialKeeper};
use super::policy::Policy;
use super::request::Principal;
use super::rotation::RotationInterval;
use super::state::{Alias, DELETION_WAIT, GivenPolicy, State, Tombstone};
use super::time::Time;
use crate::format::protobuf::{
    Field, Fields, Message, ProtoError, Sink, UnknownFields, put_bytes, put_bytes_always,
    put_entry, put_message, put_number,
};
use crate::secret::SecretBytes;

/// A state as bytes. They hold the key of the store: to be sealed before they go anywhere.
pub struct Snapshot(Zeroizing<Vec<u8>>);

impl Snapshot {
    /// The bytes.
    pub fn danger_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} bytes)", self.0.len())
    }
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASnapshot {
    /// Bytes from the start, where one place is to blame.
    pub at: Option<usize>,
    /// What is wrong.
    pub finding: &'static str,
}

impl fmt::Display for NotASnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the snapshot of the KMS is damaged")?;
        if let Some(at) = self.at {
            write!(f, " at byte {at}")?;
        }
        write!(f, ": {}; restore it from a backup", self.finding)
    }
}

impl core::error::Error for NotASnapshot {}

impl From<ProtoError> for NotASnapshot {
    fn from(error: ProtoError) -> Self {
        Self {
            at: Some(error.at),
            finding: error.what,
        }
    }
}

impl State {
    /// The state as bytes, in a buffer of exactly their size. Equal states give equal bytes.
    pub fn to_snapshot(&self) -> Snapshot {
        Snapshot(Zeroizing::new(self.encode()))
    }

    /// The state that [`State::to_snapshot`] gave, its material loaded by `keeper`. Material that
    /// the keeper can't read makes its version unusable, and no other.
    ///
    /// # Errors
    /// [`NotASnapshot`] when the bytes are no snapshot, or that of a state which can't be.
    pub fn from_snapshot(bytes: &[u8], keeper: &dyn MaterialKeeper) -> Result<Self, NotASnapshot> {
        Self::decode(bytes)?.loaded(keeper)
    }

    /// What was decoded, checked and with its material.
    pub(super) fn loaded(mut self, keeper: &dyn MaterialKeeper) -> Result<Self, NotASnapshot> {
        self.check()
            .map_err(|finding| NotASnapshot { at: None, finding })?;
        for key in Arc::make_mut(&mut self.keys).values_mut() {
            Arc::make_mut(key).load(keeper);
        }
        self.settle(Time::default());
        Ok(self)
    }

    /// What is true of every state.
    fn check(&self) -> Result<(), &'static str> {
        if self.store_key.len() != 32 {
            return Err("the key of the store isn't 32 bytes long");
        }
        if !(DELETION_WAIT.0..=366).contains(&self.longest_deletion_wait) {
            return Err("the longest wait before a deletion is out of its limits");
        }
        for key in self.keys.values() {
            key.check()?;
            if self.tombstones.contains_key(&key.id) {
                return Err("a key is there and was deleted");
            }
        }
        if self.made().any(|time| time > self.last_seen) {
            return Err("something was made after the last change");
        }
        for (name, alias) in self.aliases.iter() {
            alias::check(name).map_err(|_| "an alias has no valid name")?;
            let key = self.keys.get(&alias.key).ok_or("an alias means no key")?;
            let service = key.service.as_deref().map(alias::of_service);
            if service.as_ref().is_some_and(|own| own != name) {
                return Err("the key of a service has another alias");
            }
            if alias::is_reserved(name) && service.is_none() {
                return Err("the alias of a service means a key that is none of it");
            }
        }
        Ok(())
    }

    /// When all that is there was made, and what isn't any more was deleted.
    fn made(&self) -> impl Iterator<Item = Time> {
        let of_key = |key: &Key| {
            key.versions
                .last()
                .map_or(key.created, |newest| newest.created)
        };
        let keys = self.keys.values();
        let keys = keys.flat_map(move |key| [key.created, of_key(key)]);
        let aliases = self.aliases.values().map(|alias| alias.created);
        let tombstones = self.tombstones.values().map(|gone| gone.deleted);
        keys.chain(aliases).chain(tombstones)
    }
}

impl Key {
    fn check(&self) -> Result<(), &'static str> {
        let mut ids = BTreeSet::new();
        if !self.versions.iter().all(|version| ids.insert(version.id)) {
            return Err("a key has a version twice");
        }
        if !self.versions.is_sorted_by_key(|version| version.created) {
            return Err("versions of a key are out of order");
        }
        let complete = self
            .versions
            .iter()
            .all(|version| version.material.is_some());
        match self.origin {
            Origin::Generated if self.versions.is_empty() || !complete => {
                return Err("a key has no version, or one without material");
            }
            Origin::External if self.versions.len() > 1 || self.rotation.is_some() => {
                return Err("a key whose material is imported was rotated");
            }
            Origin::External if self.fingerprint.is_some() == self.versions.is_empty() => {
                return Err("a key has a fingerprint and nothing imported, or the other way round");
            }
            Origin::Generated if self.fingerprint.is_some() || !self.imports.is_empty() => {
                return Err("a key whose material is generated has something imported");
            }
            _ => {}
        }
        let has_material = !self.versions.is_empty() && complete;
        let imported = self.origin == Origin::External && has_material;
        if self.material_expires.is_some() && !imported {
            return Err("material expires that isn't there or wasn't imported");
        }
        let fits = match self.state {
            KeyState::Enabled | KeyState::Disabled => has_material,
            KeyState::PendingImport => !has_material,
            KeyState::PendingDeletion => true,
        };
        if !fits {
            return Err("a key can be used and has no material, or the other way round");
        }
        if (self.state == KeyState::PendingDeletion) != self.delete_at.is_some() {
            return Err("a key is pending deletion without a date, or has one without");
        }
        let managed =
            self.rotation.is_some() || self.versions.len() != 1 || self.origin == Origin::External;
        if self.service.is_some() && (self.state != KeyState::Enabled || managed) {
            return Err("the key of a service was managed");
        }
        if self.imports.len() > MAX_TOKENS {
            return Err("a key has too many import tokens");
        }
        Ok(())
    }

    fn load(&mut self, keeper: &dyn MaterialKeeper) {
        let place = self.place(self.id);
        let load = |id, material: &mut Arc<KeptMaterial>| {
            let place = super::material::Place {
                version: id,
                ..place
            };
            *material = Arc::new(keeper.load(&place, material.sealed().to_owned()));
        };
        for version in &mut self.versions {
            let version = Arc::make_mut(version);
            if let Some(material) = &mut version.material {
                load(version.id, material);
            }
        }
        for import in &mut self.imports {
            load(import.id, &mut import.private_key);
        }
    }
}

impl Message for State {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let missing = |what| ProtoError { at: 0, what };
        let (mut region, mut account, mut store_key) = (None, None, None);
        let (mut keys, mut aliases) = (BTreeMap::new(), BTreeMap::new());
        let (mut tombstones, mut policies) = (BTreeMap::new(), BTreeMap::new());
        let mut last_seen = Time::default();
        let mut longest_deletion_wait = DELETION_WAIT.1;
        let mut unknown = UnknownFields::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => region = Some(field.string()?),
                2 => account = Some(field.string()?),
                3 => store_key = Some(SecretBytes::copied(field.bytes()?)),
                4 => last_seen = time(&field)?,
                5 => longest_deletion_wait = small(&field)?,
                6 => {
                    let key: Key = field.message()?;
                    once(&field, keys.insert(key.id, Arc::new(key)))?;
                }
                7 => {
                    let Named { name, item } = field.message()?;
                    once(&field, aliases.insert(name, item))?;
                }
                8 => {
                    let DeletedKey { id, tombstone } = field.message()?;
                    once(&field, tombstones.insert(id, tombstone))?;
                }
                9 => {
                    let (principal, policy) = field.message::<PrincipalPolicy>()?.0;
                    once(&field, policies.insert(principal, Arc::new(policy)))?;
                }
                _ => unknown.keep(&field),
            }
        }
        let namespace = Namespace::new(region.unwrap_or_default(), account.unwrap_or_default())
            .ok_or(missing("region and account aren't valid"))?;
        let store_key = store_key.ok_or(missing("the key of the store is missing"))?;
        Ok(Self {
            namespace: Arc::new(namespace),
            keys: Arc::new(keys),
            aliases: Arc::new(aliases),
            tombstones: Arc::new(tombstones),
            policies: Arc::new(policies),
            store_key: Arc::new(store_key),
            last_seen,
            longest_deletion_wait,
            unknown,
            next_due: None,
        })
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes(out, 1, self.namespace.region().as_bytes());
        put_bytes(out, 2, self.namespace.account().as_bytes());
        put_bytes(out, 3, self.store_key.danger_bytes());
        put_number(out, 4, self.last_seen.unix());
        put_number(out, 5, self.longest_deletion_wait.into());
        for key in self.keys.values() {
            put_message(out, 6, &**key);
        }
        for (name, item) in self.aliases.iter() {
            let (name, item) = (name.clone(), item.clone());
            put_message(out, 7, &Named { name, item });
        }
        for (id, tombstone) in self.tombstones.iter() {
            let (id, tombstone) = (*id, tombstone.clone());
            put_message(out, 8, &DeletedKey { id, tombstone });
        }
        for (principal, policy) in self.policies.iter() {
            let pair = (principal.clone(), GivenPolicy::clone(policy));
            put_message(out, 9, &PrincipalPolicy(pair));
        }
        self.unknown.encode_to(out);
    }
}

impl Message for Key {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let none = Id::from_bytes([0; 16]);
        let mut key = Self::new(
            none,
            Time::default(),
            Origin::Generated,
            ProtectionLevel::Software,
        );
        // What is 0 isn't written.
        key.state = KeyState::Enabled;
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => key.id = id(&field)?,
                2 => key.created = time(&field)?,
                3 => key.service = given(field.string()?.to_owned()),
                4 => key.description = field.string()?.to_owned(),
                5 => key.origin = one_of(&field, &[Origin::Generated, Origin::External])?,
                6 => key.level = one_of(&field, LEVELS)?,
                7 => key.state = one_of(&field, STATES)?,
                8 => key.versions.push(Arc::new(field.message()?)),
                9 => {
                    let interval = |seconds| {
                        RotationInterval::from_seconds(seconds)
                            .ok_or(field.error("an interval of rotation is out of its limits"))
                    };
                    key.rotation = given(field.varint()?).map(interval).transpose()?;
                }
                10 => key.delete_at = given(time(&field)?),
                11 => key.material_expires = given(time(&field)?),
                12 => {
                    let bytes = given(field.bytes()?);
                    key.fingerprint = bytes.map(|_| array(&field)).transpose()?;
                }
                13 => {
                    let (name, value) =
                        field.entry(|name| name.string(), |value| value.string())?;
                    let value = value.unwrap_or_default().to_owned();
                    let name = name.unwrap_or_default().to_owned();
                    once(&field, key.tags.insert(name, value))?;
                }
                14 => key.protection = Some(field.string()?.to_owned()),
                15 => key.imports.push(field.message()?),
                _ => key.unknown.keep(&field),
            }
        }
        Ok(key)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes_always(out, 1, self.id.as_bytes());
        put_number(out, 2, self.created.unix());
        put_bytes(
            out,
            3,
            self.service.as_deref().unwrap_or_default().as_bytes(),
        );
        put_bytes(out, 4, self.description.as_bytes());
        put_number(out, 5, self.origin as u64);
        put_number(out, 6, self.level as u64);
        put_number(out, 7, self.state as u64);
        for version in &self.versions {
            put_message(out, 8, &**version);
        }
        put_number(out, 9, self.rotation.map_or(0, RotationInterval::seconds));
        put_number(out, 10, self.delete_at.map_or(0, Time::unix));
        put_number(out, 11, self.material_expires.map_or(0, Time::unix));
        put_bytes(
            out,
            12,
            self.fingerprint.as_ref().map_or(&[], |bytes| &bytes[..]),
        );
        for (name, value) in &self.tags {
            put_entry(out, 13, |mut put| {
                put_bytes_always(&mut put, 1, name.as_bytes());
                put_bytes_always(&mut put, 2, value.as_bytes());
            });
        }
        if let Some(why) = &self.protection {
            put_bytes_always(out, 14, why.as_bytes());
        }
        for import in &self.imports {
            put_message(out, 15, import);
        }
        self.unknown.encode_to(out);
    }
}

const LEVELS: &[ProtectionLevel] = &[ProtectionLevel::Software, ProtectionLevel::Hsm];

const STATES: &[KeyState] = &[
    KeyState::Enabled,
    KeyState::Disabled,
    KeyState::PendingDeletion,
    KeyState::PendingImport,
];

impl Message for Version {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut version = Self {
            id: Id::from_bytes([0; 16]),
            created: Time::default(),
            material: None,
            last_used: None,
            uses: 0,
            unknown: UnknownFields::default(),
        };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => version.id = id(&field)?,
                2 => version.created = time(&field)?,
                3 => version.material = Some(sealed(&field)?),
                4 => version.last_used = given(field.varint()?),
                5 => version.uses = field.varint()?,
                _ => version.unknown.keep(&field),
            }
        }
        Ok(version)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes_always(out, 1, self.id.as_bytes());
        put_number(out, 2, self.created.unix());
        if let Some(material) = &self.material {
            put_bytes_always(out, 3, material.sealed());
        }
        put_number(out, 4, self.last_used.unwrap_or_default());
        put_number(out, 5, self.uses);
        self.unknown.encode_to(out);
    }
}

impl Message for Import {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut import = Self {
            id: Id::from_bytes([0; 16]),
            algorithm: WrappingAlgorithm::OaepSha256,
            expires: Time::default(),
            private_key: Arc::new(KeptMaterial::new(Vec::new(), None)),
            unknown: UnknownFields::default(),
        };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => import.id = id(&field)?,
                2 => import.expires = time(&field)?,
                3 => import.private_key = sealed(&field)?,
                4 => {
                    import.algorithm = WrappingAlgorithm::from_number(field.varint()?)
                        .ok_or(field.error("a wrapping algorithm is unknown"))?;
                }
                _ => import.unknown.keep(&field),
            }
        }
        Ok(import)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes_always(out, 1, self.id.as_bytes());
        put_number(out, 2, self.expires.unix());
        put_bytes_always(out, 3, self.private_key.sealed());
        put_number(out, 4, self.algorithm.number().into());
        self.unknown.encode_to(out);
    }
}

/// An alias with its name.
struct Named {
    name: String,
    item: Alias,
}

impl Message for Named {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut name = String::new();
        let mut item = Alias::new(Id::from_bytes([0; 16]), Time::default());
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => name = field.string()?.to_owned(),
                2 => item.key = id(&field)?,
                3 => item.created = time(&field)?,
                _ => item.unknown.keep(&field),
            }
        }
        Ok(Self { name, item })
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes(out, 1, self.name.as_bytes());
        put_bytes_always(out, 2, self.item.key.as_bytes());
        put_number(out, 3, self.item.created.unix());
        self.item.unknown.encode_to(out);
    }
}

struct DeletedKey {
    id: Id,
    tombstone: Tombstone,
}

impl Message for DeletedKey {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut deleted = Self {
            id: Id::from_bytes([0; 16]),
            tombstone: Tombstone::default(),
        };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => deleted.id = id(&field)?,
                2 => deleted.tombstone.deleted = time(&field)?,
                _ => deleted.tombstone.unknown.keep(&field),
            }
        }
        Ok(deleted)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes_always(out, 1, self.id.as_bytes());
        put_number(out, 2, self.tombstone.deleted.unix());
        self.tombstone.unknown.encode_to(out);
    }
}

struct PrincipalPolicy((Principal, GivenPolicy));

impl Message for PrincipalPolicy {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let (mut kind, mut name, mut policy) = (0, String::new(), None);
        let mut unknown = UnknownFields::default();
        let error = |what| ProtoError { at: 0, what };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => name = field.string()?.to_owned(),
                2 => kind = field.varint()?,
                3 => {
                    let parsed = Policy::parse(field.string()?);
                    policy = Some(parsed.map_err(|_| field.error("a policy is none"))?);
                }
                _ => unknown.keep(&field),
            }
        }
        let principal = match kind {
            0 => Principal::Root,
            1 => Principal::User(name),
            2 => Principal::Service(name),
            _ => return Err(error("a principal is of an unknown kind")),
        };
        let policy = policy.ok_or(error("a policy is missing"))?;
        Ok(Self((principal, GivenPolicy { policy, unknown })))
    }

    fn encode_to(&self, out: &mut impl Sink) {
        let Self((principal, given)) = self;
        let (kind, name) = match principal {
            Principal::Root => (0, ""),
            Principal::User(name) => (1, name.as_str()),
            Principal::Service(code) => (2, code.as_str()),
        };
        put_bytes(out, 1, name.as_bytes());
        put_number(out, 2, kind);
        put_bytes_always(out, 3, given.policy.text().as_bytes());
        given.unknown.encode_to(out);
    }
}

fn array<const N: usize>(field: &Field<'_>) -> Result<[u8; N], ProtoError> {
    let bytes = field.bytes()?;
    bytes
        .try_into()
        .map_err(|_| field.error("an id or fingerprint has another length"))
}

fn id(field: &Field<'_>) -> Result<Id, ProtoError> {
    array(field).map(Id::from_bytes)
}

fn time(field: &Field<'_>) -> Result<Time, ProtoError> {
    Time::from_unix(field.varint()?).ok_or(field.error("a time is after the year 9999"))
}

/// What is 0 or empty isn't there: proto3 doesn't tell them apart.
fn given<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

fn small(field: &Field<'_>) -> Result<u32, ProtoError> {
    u32::try_from(field.varint()?).map_err(|_| field.error("a number is too large"))
}

fn sealed(field: &Field<'_>) -> Result<Arc<KeptMaterial>, ProtoError> {
    Ok(Arc::new(KeptMaterial::new(field.bytes()?.to_owned(), None)))
}

/// Of an enum whose variants are numbered in this order.
fn one_of<T: Copy>(field: &Field<'_>, all: &[T]) -> Result<T, ProtoError> {
    usize::try_from(field.varint()?)
        .ok()
        .and_then(|number| all.get(number))
        .copied()
        .ok_or(field.error("a kind or state is unknown; a newer release may know it"))
}

/// Refuses what was there already.
fn once<T>(field: &Field<'_>, before: Option<T>) -> Result<(), ProtoError> {
    before.map_or(Ok(()), |_| Err(field.error("something is there twice")))
}
