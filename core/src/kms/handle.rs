//! Judging a request and doing what it asks for.
//!
//! The order is always the same: the form of the parameters, which key is meant, whether it is a
//! service's, what the caller's policy says, what the key's state and origin allow, limits. So a
//! caller learns of a key's state only what it is allowed to.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use subtle::{Choice, ConstantTimeEq};

use super::alias::{self, Reference};
use super::audit::AuditRecord;
use super::blob::CiphertextBlob;
use super::id::Id;
use super::import::{Import, MAX_TOKENS, TOKEN_LIFE, WrappingAlgorithm};
use super::key::{Key, KeyState, Origin, ProtectionLevel, Version};
use super::material::{KeptMaterial, MaterialKeeper, WrappedMaterial};
use super::policy::{Decision, Question};
use super::refusal::{Cause, Refusal, shortened};
use super::request::{
    Caller, CreateKey, DataKeyLength, Decrypt, Encrypt, Face, GenerateDataKey, ImportKeyMaterial,
    Operation, Page, Principal, ReEncrypt, Request, Tag,
};
use super::response::{
    AliasEntry, Decrypted, Encrypted, GeneratedDataKey, ImportParameters, List, ReEncrypted,
    Response, VersionEntry,
};
use super::rotation::RotationInterval;
use super::state::{Alias, DELETION_WAIT, Discarded, State, new_version};
use super::states::{self, Forbidden};
use super::time::{DAY, Now, Time};
use crate::context::EncryptionContext;
use crate::error::Error;
use crate::random::RandomSource;
use crate::secret::SecretBytes;

/// What [`State::handle`] gives.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    /// The answer.
    pub reply: Result<Response, Refusal>,
    /// The state from now on; `None`: as before. The answer may be given once it is durable.
    pub next: Option<State>,
    /// For the audit trail, also of what was refused. DescribeRegions leaves none.
    pub record: Option<AuditRecord>,
    /// To be given to [`MaterialKeeper::destroy`], once `next` is durable.
    pub discarded: Vec<Discarded>,
}

/// Characters of a description.
const MAX_DESCRIPTION_LEN: usize = 8192;

/// Tags of a key.
const MAX_TAGS: usize = 20;

/// Characters of a tag's key, and of its value.
const MAX_TAG_LEN: usize = 128;

impl State {
    /// Answers a request. It changes nothing: what a change leads to is [`Outcome::next`].
    ///
    /// When [`State::next_due`] has passed, [`State::tick`] comes first.
    pub fn handle(
        &self,
        request: &Request,
        caller: &Caller,
        now: Now,
        random: &mut dyn RandomSource,
        keeper: &dyn MaterialKeeper,
    ) -> Outcome {
        let now = now.time.max(self.last_seen);
        let operation = request.operation();
        let mut call = Call {
            state: self,
            caller,
            operation,
            now,
            random,
            keeper,
            next: None,
            discarded: Vec::new(),
            service_key: None,
        };
        let mut event_id = Id::from_bytes([0; 16]);
        let reply = Id::random(call.random)
            .map_err(Cause::from)
            .and_then(|id| {
                event_id = id;
                call.answer(request)
            })
            .map_err(|cause| Refusal { operation, cause });
        if reply.is_err() {
            call.take_back();
        }
        let Call {
            mut next,
            discarded,
            service_key,
            ..
        } = call;
        if let Some(next) = &mut next {
            next.settle(now);
        }
        let record = (operation != Operation::DescribeRegions)
            .then(|| AuditRecord::of_call(event_id, now, request, caller, &reply))
            .map(|record| record.with_service_key(service_key));
        Outcome {
            reply,
            next,
            record,
            discarded,
        }
    }
}

impl From<Error> for Cause {
    /// Of a random number generator, which is all that fails here otherwise.
    fn from(error: Error) -> Self {
        super::material::KeeperError::from(error).into()
    }
}

impl From<super::material::KeeperError> for Cause {
    /// Where no version is concerned yet.
    fn from(error: super::material::KeeperError) -> Self {
        let none = Id::from_bytes([0; 16]);
        Self::of_keeper(error, none, none)
    }
}

/// A request on its way.
struct Call<'a> {
    state: &'a State,
    caller: &'a Caller,
    operation: Operation,
    now: Time,
    random: &'a mut dyn RandomSource,
    keeper: &'a dyn MaterialKeeper,
    next: Option<State>,
    discarded: Vec<Discarded>,
    /// That was made on its first use.
    service_key: Option<Id>,
}

type Answer<T = Response> = Result<T, Cause>;

impl<'a> Call<'a> {
    fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::CreateKey(request) => self.create_key(request),
            Request::ListKeys(page) => self.list_keys(*page),
            Request::DescribeKey { key } => self.describe_key(key),
            Request::UpdateKeyDescription { key, description } => {
                self.update_description(key, description)
            }
            Request::EnableKey { key } => {
                self.set_state(key, KeyState::Enabled, Response::EnableKey)
            }
            Request::DisableKey { key } => {
                self.set_state(key, KeyState::Disabled, Response::DisableKey)
            }
            Request::ScheduleKeyDeletion { key, days } => self.schedule_deletion(key, *days),
            Request::CancelKeyDeletion { key } => self.cancel_deletion(key),
            Request::SetDeletionProtection {
                key,
                enabled,
                description,
            } => self.set_deletion_protection(key, *enabled, description),
            Request::GetParametersForImport { key, algorithm } => {
                self.parameters_for_import(key, *algorithm)
            }
            Request::ImportKeyMaterial(request) => self.import_material(request),
            Request::DeleteKeyMaterial { key } => self.delete_material(key),
            Request::Encrypt(request) => self.encrypt(request),
            Request::Decrypt(request) => self.decrypt(request),
            Request::GenerateDataKey(request) => {
                let (plaintext, encrypted) = self.data_key(request)?;
                Ok(Response::GenerateDataKey(GeneratedDataKey {
                    plaintext,
                    encrypted,
                }))
            }
            Request::GenerateDataKeyWithoutPlaintext(request) => {
                let (_, encrypted) = self.data_key(request)?;
                Ok(Response::GenerateDataKeyWithoutPlaintext(encrypted))
            }
            Request::ReEncrypt(request) => self.re_encrypt(request),
            Request::GenerateRandom(length) => self.generate_random(*length),
            Request::CreateAlias { alias, key } => self.create_alias(alias, key),
            Request::UpdateAlias { alias, key } => self.update_alias(alias, key),
            Request::DeleteAlias { alias } => self.delete_alias(alias),
            Request::ListAliases(page) => self.list_aliases(*page),
            Request::ListAliasesByKeyId { key, page } => self.list_aliases_of(key, *page),
            Request::TagResource { key, tags } => self.tag(key, tags),
            Request::UntagResource { key, names } => self.untag(key, names),
            Request::ListResourceTags { key } => self.list_tags(key),
            Request::ListKeyVersions { key, page } => self.list_versions(key, *page),
            Request::DescribeKeyVersion { key, version } => self.describe_version(key, version),
            Request::CreateKeyVersion { key } => self.create_version(key),
            Request::UpdateRotationPolicy { key, interval } => self.update_rotation(key, *interval),
            Request::DescribeRegions => Ok(Response::DescribeRegions(vec![
                self.state.namespace.region().into(),
            ])),
        }
    }

    // Which key is meant, and whether the caller may.

    fn by_id(&self, id: Id) -> Answer<&'a Arc<Key>> {
        let state = self.state;
        state.keys.get(&id).ok_or_else(|| Cause::KeyNotFound {
            key: alloc::format!("{id}"),
            deleted: state.tombstones.get(&id).map(|tombstone| tombstone.deleted),
        })
    }

    fn find(&self, text: &str) -> Answer<&'a Arc<Key>> {
        match Reference::parse(text, &self.state.namespace, self.caller.face)? {
            Reference::Key(id) => self.by_id(id),
            Reference::Alias(name) if !self.operation.takes_alias(self.caller.face) => {
                Err(Cause::AliasUnsupported {
                    alias: shortened(name),
                })
            }
            Reference::Alias(name) => self.by_id(self.alias(name)?.key),
        }
    }

    /// As [`Call::find`], of the destination of ReEncrypt, where an alias may always stand.
    fn find_destination(&self, text: &str) -> Answer<&'a Arc<Key>> {
        match Reference::parse(text, &self.state.namespace, self.caller.face)? {
            Reference::Key(id) => self.by_id(id),
            Reference::Alias(name) => self.by_id(self.alias(name)?.key),
        }
    }

    fn alias(&self, name: &str) -> Answer<&'a Alias> {
        let state = self.state;
        state.aliases.get(name).ok_or_else(|| Cause::AliasNotFound {
            alias: shortened(name),
        })
    }

    /// Whether the caller may do `action` with this key, as far as its state doesn't matter.
    fn admit(&self, key: &Key, action: &str) -> Answer<()> {
        if let Some(service) = &key.service {
            let own = matches!(&self.caller.principal, Principal::Service(code)
                if code.eq_ignore_ascii_case(service));
            if self.operation.is_cryptographic() && own {
                return Ok(());
            }
            if !self.operation.only_reads() {
                return Err(Cause::ServiceKey {
                    key: key.id,
                    service: service.clone(),
                });
            }
        }
        let tags = self.operation.is_cryptographic().then_some(&key.tags);
        self.authorise(action, || self.state.namespace.key_arn(key.id), tags)
    }

    fn authorise(
        &self,
        action: &str,
        resource: impl FnOnce() -> String,
        tags: Option<&BTreeMap<String, String>>,
    ) -> Answer<()> {
        if self.caller.principal == Principal::Root {
            return Ok(());
        }
        let resource = resource();
        let decision = match self.state.policy(&self.caller.principal) {
            Some(policy) => policy.decide(&Question {
                action,
                resource: &resource,
                now: self.now,
                source: self.caller.source,
                tags,
            }),
            None => Decision::NotAllowed,
        };
        let denied_by = match decision {
            Decision::Allowed { .. } => return Ok(()),
            Decision::Denied { statement } => Some(statement),
            Decision::NotAllowed => None,
        };
        Err(Cause::NotAllowed {
            principal: self.caller.principal.clone(),
            action: action.into(),
            resource,
            denied_by,
        })
    }

    fn authorise_on_keys(&self) -> Answer<()> {
        self.authorise(
            self.operation.action(),
            || self.state.namespace.key_container(),
            None,
        )
    }

    fn authorise_alias(&self, alias: &str) -> Answer<()> {
        self.authorise(
            self.operation.action(),
            || self.state.namespace.alias_arn(alias),
            None,
        )
    }

    fn judge(&self, key: &Key) -> Answer<()> {
        let (face, operation) = (self.caller.face, self.operation);
        states::judge(face, operation, key.state, key.origin).map_err(|forbidden| match forbidden {
            Forbidden::State(rule) => Cause::State {
                key: key.id,
                state: key.state,
                rule,
            },
            Forbidden::Origin => Cause::Origin {
                key: key.id,
                origin: key.origin,
            },
        })
    }

    /// The key that an operation is about, if it is allowed.
    fn key(&self, text: &str) -> Answer<&'a Arc<Key>> {
        let key = self.find(text)?;
        self.admit(key, self.operation.action())?;
        self.judge(key)?;
        Ok(key)
    }

    // Changes.

    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Key)) {
        let mut changed = key.clone();
        change(&mut changed);
        if changed != *key {
            self.next().put(changed);
        }
    }

    fn next(&mut self) -> &mut State {
        self.next.get_or_insert_with(|| self.state.clone())
    }

    fn discard(&mut self, key: &Key, version: Id, material: Arc<KeptMaterial>) {
        self.discarded.push(Discarded {
            place: key.place(version),
            material,
        });
    }

    /// A request that is refused has changed nothing, not even a service's key that it made.
    fn take_back(&mut self) {
        let made = self.service_key.take().zip(self.next.take());
        let Some(key) = made.and_then(|(id, next)| next.keys.get(&id).cloned()) else {
            return;
        };
        for version in &key.versions {
            if let Some(material) = &version.material {
                self.discard(&key, version.id, material.clone());
            }
        }
    }

    // Keys.

    fn new_key(&mut self, origin: Origin, level: ProtectionLevel) -> Answer<Key> {
        if !self.keeper.offers(level) {
            return Err(Cause::ProtectionLevelUnavailable { level });
        }
        let id = Id::random(self.random)?;
        if self.state.keys.contains_key(&id) || self.state.tombstones.contains_key(&id) {
            return Err(Cause::Unavailable(
                "the random number generator repeats itself".into(),
            ));
        }
        let mut key = Key::new(id, self.now, origin, level);
        if origin == Origin::Generated {
            let version = new_version(&key, self.now, self.random, self.keeper)?;
            key.push(version);
            key.state = KeyState::Enabled;
        }
        Ok(key)
    }

    fn create_key(&mut self, request: &CreateKey) -> Answer {
        check_description(&request.description, "Description")?;
        let tags = checked_tags(&request.tags)?;
        self.check_interval(request.rotation)?;
        if request.origin == Origin::External && request.rotation.is_some() {
            return Err(Cause::InvalidParameter {
                parameter: "EnableAutomaticRotation",
                expected: "false, since the material of this key is imported",
            });
        }
        self.authorise_on_keys()?;
        let mut key = self.new_key(request.origin, request.protection)?;
        key.description.clone_from(&request.description);
        key.tags = tags;
        key.rotation = request.rotation;
        let metadata = key.metadata(self.state.namespace.account());
        self.next().put(key);
        Ok(Response::CreateKey(metadata))
    }

    fn list_keys(&self, page: Page) -> Answer {
        self.authorise_on_keys()?;
        let mut keys: Vec<_> = self.state.keys.values().collect();
        keys.sort_by_key(|key| (key.created, key.id));
        Ok(Response::ListKeys(paged(&keys, page, |key| key.id)))
    }

    fn describe_key(&self, text: &str) -> Answer {
        let key = self.key(text)?;
        let metadata = key.metadata(self.state.namespace.account());
        Ok(Response::DescribeKey(metadata))
    }

    fn update_description(&mut self, text: &str, description: &str) -> Answer {
        check_description(description, "Description")?;
        let key = self.key(text)?;
        self.change(key, |key| key.description = description.into());
        Ok(Response::UpdateKeyDescription)
    }

    fn set_state(&mut self, text: &str, state: KeyState, done: Response) -> Answer {
        let key = self.key(text)?;
        self.change(key, |key| key.state = state);
        Ok(done)
    }

    fn schedule_deletion(&mut self, text: &str, days: u32) -> Answer {
        let (first, last) = (DELETION_WAIT.0, self.state.longest_deletion_wait);
        if !(first..=last).contains(&days) {
            return Err(Cause::InvalidParameter {
                parameter: "PendingWindowInDays",
                expected: "7 to 30 days, or to the maximum that this KMS is set to",
            });
        }
        let key = self.key(text)?;
        if let Some(description) = &key.protection {
            return Err(Cause::DeletionProtected {
                key: key.id,
                description: description.clone(),
            });
        }
        let delete_at = self.now.plus(u64::from(days) * DAY);
        self.change(key, |key| {
            key.state = KeyState::PendingDeletion;
            key.delete_at = Some(delete_at);
        });
        Ok(Response::ScheduleKeyDeletion {
            key: key.id,
            delete_at,
        })
    }

    fn cancel_deletion(&mut self, text: &str) -> Answer {
        let key = self.key(text)?;
        let state = match self.caller.face {
            _ if !key.has_material() => KeyState::PendingImport,
            Face::Alibaba => KeyState::Enabled,
            Face::Aws | Face::Tencent => KeyState::Disabled,
        };
        self.change(key, |key| {
            key.state = state;
            key.delete_at = None;
        });
        Ok(Response::CancelKeyDeletion { key: key.id })
    }

    fn set_deletion_protection(&mut self, text: &str, enabled: bool, description: &str) -> Answer {
        check_description(description, "DeletionProtectionDescription")?;
        let key = self.key(text)?;
        self.change(key, |key| {
            key.protection = enabled.then(|| description.into());
        });
        Ok(Response::SetDeletionProtection)
    }

    // Versions and rotation.

    fn create_version(&mut self, text: &str) -> Answer {
        let key = self.key(text)?;
        let version = new_version(key, self.now, self.random, self.keeper)?;
        let entry = entry_of(key, &version);
        self.change(key, |key| key.push(version));
        Ok(Response::CreateKeyVersion(entry))
    }

    fn list_versions(&self, text: &str, page: Page) -> Answer {
        let key = self.key(text)?;
        let list = paged(&key.versions, page, |version| entry_of(key, version));
        Ok(Response::ListKeyVersions(list))
    }

    fn describe_version(&self, text: &str, version: &str) -> Answer {
        let key = self.key(text)?;
        let found = version.parse().ok().and_then(|id| key.version(id));
        let found = found.ok_or_else(|| Cause::VersionNotFound {
            key: key.id,
            version: shortened(version),
        })?;
        Ok(Response::DescribeKeyVersion(entry_of(key, found)))
    }

    fn update_rotation(&mut self, text: &str, interval: Option<RotationInterval>) -> Answer {
        self.check_interval(interval)?;
        let key = self.key(text)?;
        self.change(key, |key| key.rotation = interval);
        Ok(Response::UpdateRotationPolicy)
    }

    fn check_interval(&self, interval: Option<RotationInterval>) -> Answer<()> {
        let face = self.caller.face;
        if interval.is_none_or(|interval| interval.is_within(face)) {
            return Ok(());
        }
        Err(Cause::InvalidParameter {
            parameter: "RotationInterval",
            expected: match face {
                Face::Alibaba => "7 to 730 days",
                Face::Aws => "90 to 2560 days",
                Face::Tencent => "7 to 365 days",
            },
        })
    }

    // Import.

    fn parameters_for_import(&mut self, text: &str, algorithm: WrappingAlgorithm) -> Answer {
        let key = self.key(text)?;
        // No UUID: only the token has it.
        let mut id = [0; 16];
        self.random.fill(&mut id)?;
        let id = Id::from_bytes(id);
        let pair = self
            .keeper
            .import_pair(&key.place(id), algorithm, self.random)
            .map_err(|error| Cause::of_keeper(error, key.id, id))?;
        let import = Import {
            id,
            algorithm,
            expires: self.now.plus(TOKEN_LIFE),
            private_key: Arc::new(pair.private_key),
            unknown: Default::default(),
        };
        let parameters = ImportParameters {
            key: key.id,
            token: import.token(&self.state.store_key, key.id),
            public_key: pair.public_key,
            expires: import.expires,
        };
        let mut changed = Key::clone(key);
        changed.imports.push(import);
        while changed.imports.len() > MAX_TOKENS {
            let oldest = changed.imports.remove(0);
            self.discard(key, oldest.id, oldest.private_key);
        }
        self.next().put(changed);
        Ok(Response::GetParametersForImport(parameters))
    }

    fn import_material(&mut self, request: &ImportKeyMaterial) -> Answer {
        if request.expires.is_some_and(|expires| expires <= self.now) {
            return Err(Cause::InvalidParameter {
                parameter: "KeyMaterialExpireUnix",
                expected: "a time to come, or 0 for material that doesn't expire",
            });
        }
        let key = self.key(&request.key)?;
        let store_key = &self.state.store_key;
        let import = Import::find(&key.imports, &request.token, store_key, key.id)
            .ok_or(Cause::InvalidImportToken { key: key.id })?;
        if import.expires < self.now {
            return Err(Cause::ExpiredImportToken {
                key: key.id,
                expired: import.expires,
            });
        }
        // The first import gives the version its id, for good.
        let version = match key.primary() {
            Some(version) => version.id,
            None => Id::random(self.random)?,
        };
        let wrapped = WrappedMaterial {
            private_key: &import.private_key,
            place: &key.place(import.id),
            algorithm: import.algorithm,
            wrapped: &request.wrapped,
        };
        let unwrapped = self
            .keeper
            .unwrap_import(&wrapped, &key.place(version), store_key, self.random)
            .map_err(|error| Cause::of_keeper(error, key.id, version))?;
        let same = key
            .fingerprint
            .map_or(Choice::from(1), |first| first.ct_eq(&unwrapped.fingerprint));
        let material = Arc::new(unwrapped.material);
        if !bool::from(same & Choice::from(u8::from(unwrapped.valid))) {
            self.discard(key, version, material);
            return Err(Cause::InvalidKeyMaterial { key: key.id });
        }
        if key.has_material() {
            self.discard(key, version, material.clone());
        }
        let now = self.now;
        self.change(key, |key| {
            key.material_expires = request.expires;
            key.fingerprint = Some(unwrapped.fingerprint);
            match key.versions.last_mut() {
                None => key.push(Version::new(version, now, material)),
                Some(version) if version.material.is_none() => {
                    Arc::make_mut(version).material = Some(material);
                }
                // There already, and the same.
                Some(_) => {}
            }
            if key.state == KeyState::PendingImport {
                key.state = KeyState::Enabled;
            }
        });
        Ok(Response::ImportKeyMaterial {
            key: key.id,
            version,
        })
    }

    fn delete_material(&mut self, text: &str) -> Answer {
        let key = self.key(text)?;
        let erased = Cell::new(None);
        self.change(key, |key| erased.set(key.erase_material()));
        if let Some((material, version)) = erased.take().zip(key.primary()) {
            self.discard(key, version.id, material);
        }
        Ok(Response::DeleteKeyMaterial)
    }

    // Cryptography.

    fn encrypt(&mut self, request: &Encrypt) -> Answer {
        let expected = match self.caller.face.max_plaintext_len() {
            len if request.plaintext.len() <= len => None,
            4096 => Some("at most 4096 bytes"),
            _ => Some("at most 6144 bytes"),
        };
        if let Some(expected) = expected {
            return Err(Cause::InvalidParameter {
                parameter: "Plaintext",
                expected,
            });
        }
        let context = checked_context(&request.context)?;
        let key = self.key_of_encryption(&request.key)?;
        let encrypted = self.seal(&key, request.plaintext.danger_bytes(), &context)?;
        Ok(Response::Encrypt(encrypted))
    }

    fn data_key(&mut self, request: &GenerateDataKey) -> Answer<(SecretBytes, Encrypted)> {
        let context = checked_context(&request.context)?;
        let key = self.key_of_encryption(&request.key)?;
        let mut plaintext = SecretBytes::zeroed(request.length.bytes());
        self.random.fill(plaintext.bytes_mut())?;
        let encrypted = self.seal(&key, plaintext.danger_bytes(), &context)?;
        Ok((plaintext, encrypted))
    }

    /// The key to encrypt with. A service's own key is made when it is first used.
    fn key_of_encryption(&mut self, text: &str) -> Answer<Arc<Key>> {
        let missing = match self.key(text) {
            Err(Cause::AliasNotFound { alias }) => alias,
            other => return other.cloned(),
        };
        match &self.caller.principal {
            Principal::Service(code) if missing == alias::of_service(code) => {
                alias::check(&missing)?;
                let mut key = self.new_key(Origin::Generated, ProtectionLevel::Software)?;
                key.service = Some(code.to_ascii_lowercase());
                self.service_key = Some(key.id);
                let now = self.now;
                let next = self.next();
                Arc::make_mut(&mut next.aliases).insert(missing, Alias::new(key.id, now));
                next.put(key.clone());
                Ok(Arc::new(key))
            }
            _ => Err(Cause::AliasNotFound { alias: missing }),
        }
    }

    fn seal(&mut self, key: &Key, plaintext: &[u8], context: &[u8]) -> Answer<Encrypted> {
        // A key that may be used has material; otherwise its snapshot was damaged.
        let (version, material) = key
            .primary()
            .and_then(|version| Some((version.id, version.material.as_ref()?)))
            .ok_or_else(|| no_material(key, key.id))?;
        let place = key.place(version);
        let blob = self
            .keeper
            .seal(&place, material, plaintext, context, self.random)
            .map_err(|error| Cause::of_keeper(error, key.id, version))?;
        Ok(Encrypted {
            key: key.id,
            version,
            blob,
        })
    }

    /// The blob, and its key: the caller may do `action` with it.
    fn source<'b>(
        &self,
        request: &'b Decrypt,
        action: &str,
    ) -> Answer<(CiphertextBlob<'b>, &'a Arc<Key>)> {
        let blob = CiphertextBlob::inspect(&request.blob)?;
        if let Some(expected) = &request.key {
            let expected = self.find(expected)?.id;
            if expected != blob.key() {
                return Err(Cause::OtherKey {
                    expected,
                    found: blob.key(),
                });
            }
        }
        let key = self.by_id(blob.key())?;
        self.admit(key, action)?;
        Ok((blob, key))
    }

    fn open(&self, blob: &CiphertextBlob<'_>, key: &Key, context: &[u8]) -> Answer<SecretBytes> {
        let version = blob.version();
        let found = key.version(version).ok_or_else(|| Cause::VersionNotFound {
            key: key.id,
            version: alloc::format!("{version}"),
        })?;
        let material = found
            .material
            .as_ref()
            .ok_or_else(|| no_material(key, version))?;
        self.keeper
            .open(&key.place(version), material, blob, context)
            .map_err(|error| Cause::of_keeper(error, key.id, version))
    }

    fn decrypt(&self, request: &Decrypt) -> Answer {
        let context = checked_context(&request.context)?;
        let (blob, key) = self.source(request, self.operation.action())?;
        self.judge(key)?;
        Ok(Response::Decrypt(Decrypted {
            key: key.id,
            version: blob.version(),
            plaintext: self.open(&blob, key, &context)?,
        }))
    }

    fn re_encrypt(&mut self, request: &ReEncrypt) -> Answer {
        let from = checked_context(&request.source.context)?;
        let to = checked_context(&request.destination_context)?;
        let (blob, source) = self.source(&request.source, "kms:ReEncryptFrom")?;
        let destination = self.find_destination(&request.destination_key)?;
        self.admit(destination, "kms:ReEncryptTo")?;
        self.judge(source)?;
        self.judge(destination)?;
        let plaintext = self.open(&blob, source, &from)?;
        Ok(Response::ReEncrypt(ReEncrypted {
            source_key: source.id,
            source_version: blob.version(),
            encrypted: self.seal(destination, plaintext.danger_bytes(), &to)?,
        }))
    }

    fn generate_random(&mut self, length: DataKeyLength) -> Answer {
        self.authorise_on_keys()?;
        let mut bytes = SecretBytes::zeroed(length.bytes());
        self.random.fill(bytes.bytes_mut())?;
        Ok(Response::GenerateRandom(bytes))
    }

    // Aliases.

    fn create_alias(&mut self, name: &str, text: &str) -> Answer {
        alias::check_for_users(name, self.caller.face)?;
        let key = self.find(text)?;
        self.admit(key, self.operation.action())?;
        self.authorise_alias(name)?;
        self.judge(key)?;
        if self.state.aliases.contains_key(name) {
            return Err(Cause::AliasExists { alias: name.into() });
        }
        let alias = Alias::new(key.id, self.now);
        Arc::make_mut(&mut self.next().aliases).insert(name.into(), alias);
        Ok(Response::CreateAlias)
    }

    fn update_alias(&mut self, name: &str, text: &str) -> Answer {
        alias::check_for_users(name, self.caller.face)?;
        let alias = self.alias(name)?;
        let before = self.by_id(alias.key)?;
        let key = self.find(text)?;
        self.admit(before, self.operation.action())?;
        self.admit(key, self.operation.action())?;
        self.authorise_alias(name)?;
        self.judge(key)?;
        if key.id != alias.key {
            let alias = Alias {
                key: key.id,
                ..alias.clone()
            };
            Arc::make_mut(&mut self.next().aliases).insert(name.into(), alias);
        }
        Ok(Response::UpdateAlias)
    }

    fn delete_alias(&mut self, name: &str) -> Answer {
        alias::check_for_users(name, self.caller.face)?;
        let key = self.by_id(self.alias(name)?.key)?;
        self.admit(key, self.operation.action())?;
        self.authorise_alias(name)?;
        self.judge(key)?;
        Arc::make_mut(&mut self.next().aliases).remove(name);
        Ok(Response::DeleteAlias)
    }

    fn list_aliases(&self, page: Page) -> Answer {
        let container = || self.state.namespace.alias_container();
        self.authorise(self.operation.action(), container, None)?;
        let list = self.aliases(page, |_| true);
        Ok(Response::ListAliases(list))
    }

    fn list_aliases_of(&self, text: &str, page: Page) -> Answer {
        let key = self.key(text)?.id;
        let list = self.aliases(page, |alias| alias.key == key);
        Ok(Response::ListAliasesByKeyId(list))
    }

    fn aliases(&self, page: Page, wanted: impl Fn(&Alias) -> bool) -> List<AliasEntry> {
        let aliases = self.state.aliases.iter();
        let mut aliases: Vec<_> = aliases.filter(|(_, alias)| wanted(alias)).collect();
        aliases.sort_by_key(|(name, alias)| (alias.created, *name));
        paged(&aliases, page, |(name, alias)| AliasEntry {
            name: (*name).clone(),
            key: alias.key,
            created: alias.created,
        })
    }

    // Tags.

    fn tag(&mut self, text: &str, tags: &[Tag]) -> Answer {
        let mut tags = checked_tags(tags)?;
        let key = self.key(text)?;
        let mut all = key.tags.clone();
        all.append(&mut tags);
        if all.len() > MAX_TAGS {
            return Err(TOO_MANY_TAGS);
        }
        self.change(key, |key| key.tags = all);
        Ok(Response::TagResource)
    }

    fn untag(&mut self, text: &str, names: &[String]) -> Answer {
        if names.len() > MAX_TAGS {
            return Err(TOO_MANY_TAGS);
        }
        let key = self.key(text)?;
        self.change(key, |key| key.tags.retain(|name, _| !names.contains(name)));
        Ok(Response::UntagResource)
    }

    fn list_tags(&self, text: &str) -> Answer {
        let tags = self.key(text)?.tags.iter().map(|(key, value)| Tag {
            key: key.clone(),
            value: value.clone(),
        });
        Ok(Response::ListResourceTags(tags.collect()))
    }
}

fn entry_of(key: &Key, version: &Version) -> VersionEntry {
    VersionEntry {
        key: key.id,
        version: version.id,
        created: version.created,
        last_used: version.last_used,
        uses: version.uses,
    }
}

fn paged<T, U>(all: &[T], page: Page, item: impl Fn(&T) -> U) -> List<U> {
    let size = usize::try_from(page.size()).unwrap_or(usize::MAX);
    List {
        items: all.iter().skip(page.first()).take(size).map(item).collect(),
        total: all.len(),
    }
}

fn no_material(key: &Key, version: Id) -> Cause {
    Cause::DamagedMaterial {
        key: key.id,
        version,
        finding: "there is none".into(),
    }
}

fn check_description(text: &str, parameter: &'static str) -> Answer<()> {
    // What has so few bytes need not be counted.
    if text.len() <= MAX_DESCRIPTION_LEN || text.chars().count() <= MAX_DESCRIPTION_LEN {
        return Ok(());
    }
    Err(Cause::InvalidParameter {
        parameter,
        expected: "at most 8192 characters",
    })
}

const TOO_MANY_TAGS: Cause = Cause::InvalidParameter {
    parameter: "Tags",
    expected: "at most 20 tags on a key",
};

fn checked_tags(tags: &[Tag]) -> Answer<BTreeMap<String, String>> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/\\_.+=:@-".contains(&byte);
    let fits = |text: &str| text.len() <= MAX_TAG_LEN && text.bytes().all(allowed);
    let invalid = |parameter, expected| {
        Err(Cause::InvalidParameter {
            parameter,
            expected,
        })
    };
    if tags.len() > MAX_TAGS {
        return Err(TOO_MANY_TAGS);
    }
    let mut checked = BTreeMap::new();
    for Tag { key, value } in tags {
        if key.is_empty() || !fits(key) {
            return invalid(
                "TagKey",
                "1 to 128 letters, digits and characters of / \\ _ . + = : @ -",
            );
        }
        if key.starts_with("aliyun") || key.starts_with("acs:") {
            return invalid("TagKey", "no 'aliyun' or 'acs:' at its beginning");
        }
        if !fits(value) {
            return invalid(
                "TagValue",
                "at most 128 letters, digits and characters of / \\ _ . + = : @ -",
            );
        }
        if checked.insert(key.clone(), value.clone()).is_some() {
            return invalid("TagKey", "each key once");
        }
    }
    Ok(checked)
}

/// A context in its canonical form, if it isn't longer than one in JSON may be.
fn checked_context(context: &EncryptionContext) -> Answer<Vec<u8>> {
    const TOO_LONG: Cause = Cause::InvalidParameter {
        parameter: "EncryptionContext",
        expected: "at most 8192 characters in JSON",
    };
    let quoted = |text: &str| 2 + text.chars().map(json_len).sum::<usize>();
    let pairs = context
        .iter()
        .map(|(key, value)| quoted(key) + quoted(value) + 2);
    // Braces, and no comma behind the last pair.
    let len = 2 + pairs.sum::<usize>() - usize::from(!context.is_empty());
    if len > super::context::MAX_CONTEXT_LEN {
        return Err(TOO_LONG);
    }
    context.canonical().map_err(|_| TOO_LONG)
}

/// Characters that stand for this one in compact JSON.
const fn json_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => 1,
    }
}
