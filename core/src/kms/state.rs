//! The state of a KMS: an immutable value that shares what doesn't change with the one before it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::alias::Namespace;
use super::audit::{AuditRecord, OwnEvent};
use super::id::Id;
use super::key::{Key, KeyState, Version};
use super::material::{KeeperError, KeptMaterial, MaterialKeeper, Place};
use super::policy::Policy;
use super::request::Principal;
use super::time::{Now, Time};
use crate::error::{Error, Misuse};
use crate::format::protobuf::UnknownFields;
use crate::random::RandomSource;
use crate::secret::SecretBytes;

/// All that a KMS knows. A change makes a new value, which shares with the old one what stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(super) namespace: Arc<Namespace>,
    pub(super) keys: Arc<BTreeMap<Id, Arc<Key>>>,
    /// By name, with its prefix.
    pub(super) aliases: Arc<BTreeMap<String, Alias>>,
    /// When keys that are gone were deleted.
    pub(super) tombstones: Arc<BTreeMap<Id, Tombstone>>,
    pub(super) policies: Arc<BTreeMap<Principal, Arc<GivenPolicy>>>,
    /// Makes tokens, fingerprints and the audit chain.
    pub(super) store_key: Arc<SecretBytes>,
    /// The clock never shows less than this.
    pub(super) last_seen: Time,
    pub(super) longest_deletion_wait: u32,
    pub(super) unknown: UnknownFields,
    /// The earliest of all keys.
    pub(super) next_due: Option<Time>,
}

/// What an alias means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) key: Id,
    pub(super) created: Time,
    pub(super) unknown: UnknownFields,
}

impl Alias {
    pub(super) fn new(key: Id, created: Time) -> Self {
        Self {
            key,
            created,
            unknown: UnknownFields::default(),
        }
    }
}

/// What is left of a deleted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) deleted: Time,
    pub(super) unknown: UnknownFields,
}

/// The policy of a user or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenPolicy {
    pub(super) policy: Policy,
    pub(super) unknown: UnknownFields,
}

/// That a version was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionUse {
    /// The key.
    pub key: Id,
    /// Its version.
    pub version: Id,
    /// The day of the last use, counted from 1970-01-01; 0 is not noted.
    pub day: u64,
    /// How often it was used since the last note.
    pub count: u64,
}

/// Material that nothing names any more, once the state is durable that doesn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Whose it was.
    pub place: Place,
    /// To be given to [`MaterialKeeper::destroy`].
    pub material: Arc<KeptMaterial>,
}

/// What [`State::tick`] did.
#[derive(Debug)]
#[must_use]
pub struct Ticked {
    /// The state from now on; `None`: as before.
    pub next: Option<State>,
    /// What was done, in the order in which it was due.
    pub records: Vec<AuditRecord>,
    /// To be destroyed, once `next` is durable.
    pub discarded: Vec<Discarded>,
    /// Keys whose rotation failed: they stay due.
    pub failed: Vec<(Id, KeeperError)>,
}

/// The days, first and last, that ScheduleKeyDeletion takes unless told otherwise.
pub(super) const DELETION_WAIT: (u32, u32) = (7, 30);

impl State {
    /// A KMS without keys. `store_key`, 32 random bytes, makes import tokens, fingerprints of
    /// imported material and the chain of audit records; it never changes.
    ///
    /// # Errors
    /// [`Misuse::KeyLength`].
    ///
    /// ```
    /// use stillkey_core::SecretBytes;
    /// use stillkey_core::kms::State;
    /// use stillkey_core::kms::alias::Namespace;
    ///
    /// let namespace = Namespace::new("cn-hangzhou", "111122223333").unwrap();
    /// # let random_bytes = vec![7; 32];
    /// let state = State::new(namespace, SecretBytes::new(random_bytes))?;
    /// assert_eq!(state.next_due(), None);
    /// # Ok::<(), stillkey_core::Error>(())
    /// ```
    pub fn new(namespace: Namespace, store_key: SecretBytes) -> Result<Self, Error> {
        if store_key.len() != 32 {
            return Err(Misuse::KeyLength {
                cipher: "the KMS's store key",
                expected: 32,
                found: store_key.len(),
            }
            .into());
        }
        Ok(Self {
            namespace: Arc::new(namespace),
            keys: Arc::default(),
            aliases: Arc::default(),
            tombstones: Arc::default(),
            policies: Arc::default(),
            store_key: Arc::new(store_key),
            last_seen: Time::default(),
            longest_deletion_wait: DELETION_WAIT.1,
            unknown: UnknownFields::default(),
            next_due: None,
        })
    }

    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The key that audit chains are made with.
    pub fn store_key(&self) -> &SecretBytes {
        &self.store_key
    }

    /// The number of its keys.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The time of the last change: the KMS's clock never shows less.
    pub fn last_seen(&self) -> Time {
        self.last_seen
    }

    /// The earliest time at which something is due by itself: a rotation, a deletion, the end of
    /// imported material. From then on, [`State::tick`] has to be called before requests.
    pub fn next_due(&self) -> Option<Time> {
        self.next_due
    }

    /// The most days that ScheduleKeyDeletion takes, 7 to 366; 30 unless set.
    ///
    /// # Errors
    /// `None` where it is out of these limits.
    pub fn set_longest_deletion_wait(&self, days: u32) -> Option<Self> {
        (DELETION_WAIT.0..=366).contains(&days).then(|| Self {
            longest_deletion_wait: days,
            ..self.clone()
        })
    }

    /// The policy of a user or service.
    pub fn policy(&self, principal: &Principal) -> Option<&Policy> {
        self.policies.get(principal).map(|given| &given.policy)
    }

    /// Users and services with policies.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.policies.keys()
    }

    /// Gives a user or service a policy, or takes it away. The account's root is allowed
    /// everything, whatever policy it has.
    #[must_use]
    pub fn with_policy(&self, principal: Principal, policy: Option<Policy>) -> Self {
        let mut next = self.clone();
        let policies = Arc::make_mut(&mut next.policies);
        match policy {
            Some(policy) => {
                let unknown = UnknownFields::default();
                policies.insert(principal, Arc::new(GivenPolicy { policy, unknown }))
            }
            None => policies.remove(&principal),
        };
        next
    }

    /// Notes when and how often versions were used. What isn't there any more is passed over.
    #[must_use]
    pub fn with_uses(&self, uses: impl IntoIterator<Item = VersionUse>) -> Self {
        let mut next = self.clone();
        for used in uses {
            let Some(key) = next.keys.get(&used.key) else {
                continue;
            };
            let mut key = Key::clone(key);
            let version = key
                .versions
                .iter_mut()
                .find(|version| version.id == used.version);
            if let Some(version) = version {
                let version = Arc::make_mut(version);
                let day = Some(used.day).filter(|day| *day > 0);
                version.last_used = version.last_used.max(day);
                version.uses = version.uses.saturating_add(used.count);
                next.put(key);
            }
        }
        next
    }

    pub(super) fn put(&mut self, key: Key) {
        Arc::make_mut(&mut self.keys).insert(key.id, Arc::new(key));
    }

    /// To be called on each state that was changed.
    pub(super) fn settle(&mut self, now: Time) {
        self.last_seen = now.max(self.last_seen);
        self.next_due = self.keys.values().filter_map(|key| key.next_due()).min();
    }

    /// Takes a key away with all that belongs to it. Returns its material.
    fn delete(&mut self, key: &Key, now: Time) -> Vec<Discarded> {
        Arc::make_mut(&mut self.keys).remove(&key.id);
        Arc::make_mut(&mut self.aliases).retain(|_, alias| alias.key != key.id);
        let tombstone = Tombstone {
            deleted: now,
            unknown: UnknownFields::default(),
        };
        Arc::make_mut(&mut self.tombstones).insert(key.id, tombstone);
        let versions = key
            .versions
            .iter()
            .filter_map(|version| Some((version.id, version.material.clone()?)));
        let imports = key
            .imports
            .iter()
            .map(|import| (import.id, import.private_key.clone()));
        versions
            .chain(imports)
            .map(|(id, material)| Discarded {
                place: key.place(id),
                material,
            })
            .collect()
    }

    /// Does all that is due: rotates keys, erases imported material, deletes keys. With a clock
    /// that is in doubt, it only rotates.
    ///
    /// What was missed is not made up: a key is rotated once, however long ago that was due.
    pub fn tick(
        &self,
        now: Now,
        random: &mut dyn RandomSource,
        keeper: &dyn MaterialKeeper,
    ) -> Ticked {
        let time = now.time.max(self.last_seen);
        let mut ticked = Ticked {
            next: None,
            records: Vec::new(),
            discarded: Vec::new(),
            failed: Vec::new(),
        };
        if self.next_due.is_none_or(|due| due > time) {
            return ticked;
        }
        let mut due: Vec<_> = self
            .keys
            .values()
            .filter_map(|key| Some((key.next_due().filter(|due| *due <= time)?, key)))
            .collect();
        due.sort_by_key(|(due, key)| (*due, key.id));
        let mut next = self.clone();
        for (_, key) in due {
            let now = Now { time, ..now };
            if let Err(error) = next.tick_key(key, now, random, keeper, &mut ticked) {
                ticked.failed.push((key.id, error));
            }
        }
        if !ticked.records.is_empty() {
            next.settle(time);
            ticked.next = Some(next);
        }
        ticked
    }

    fn tick_key(
        &mut self,
        key: &Arc<Key>,
        now: Now,
        random: &mut dyn RandomSource,
        keeper: &dyn MaterialKeeper,
        ticked: &mut Ticked,
    ) -> Result<(), KeeperError> {
        let is_due = |due: Option<Time>| due.is_some_and(|due| due <= now.time);
        let mut record = |event, version, random: &mut dyn RandomSource| {
            let id = Id::random(random)?;
            ticked
                .records
                .push(AuditRecord::own(id, now.time, event, key.id, version));
            Ok::<_, KeeperError>(())
        };
        if now.irreversible && is_due(key.delete_at) {
            record(OwnEvent::DeleteKey, None, random)?;
            ticked.discarded.extend(self.delete(key, now.time));
            return Ok(());
        }
        let mut changed = Key::clone(key);
        if now.irreversible && is_due(key.material_expires) && key.has_material() {
            let version = key.primary().map(|version| version.id);
            record(OwnEvent::DeleteExpiredKeyMaterial, version, random)?;
            let material = changed.erase_material();
            ticked
                .discarded
                .extend(version.zip(material).map(|(version, material)| Discarded {
                    place: key.place(version),
                    material,
                }));
        }
        if changed.state == KeyState::Enabled && is_due(changed.next_rotation()) {
            let version = new_version(&changed, now.time, random, keeper)?;
            record(OwnEvent::RotateKey, Some(version.id), random)?;
            changed.push(version);
        }
        self.put(changed);
        Ok(())
    }
}

/// A version with material of its own.
pub(super) fn new_version(
    key: &Key,
    now: Time,
    random: &mut dyn RandomSource,
    keeper: &dyn MaterialKeeper,
) -> Result<Version, KeeperError> {
    let id = Id::random(random)?;
    if key.version(id).is_some() {
        return Err(KeeperError::Unavailable(
            "the random number generator repeats itself".into(),
        ));
    }
    let material = keeper.generate(&key.place(id), random)?;
    Ok(Version::new(id, now, Arc::new(material)))
}
