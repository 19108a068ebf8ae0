//! What the tests of the KMS share: chosen "random" bytes, RSA by OpenSSL, a second reader of snapshots, and files that a
//! release has written.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use openssl::encrypt::{Decrypter, Encrypter};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::{Padding, Rsa};
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};
use stillkey_core::SecretBytes;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::material::{ImportCipher, KeeperError, MaterialKeeper};
use stillkey_core::kms::request::Page;
use stillkey_core::kms::time::{Now, Time};
use stillkey_core::kms::{Caller, Face, Principal, Request, Response, State};

/// Gives these bytes, one after the other. Fails the test that draws more.
#[derive(Debug)]
pub struct Draws(VecDeque<u8>);

impl Draws {
    /// These, joined.
    pub fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat().into())
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0.pop_front().expect("more is drawn than was chosen");
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// The RSA of an import, by OpenSSL. Not constant-time where that matters: for tests.
#[derive(Debug)]
pub struct OpenSslRsa;

impl ImportCipher for OpenSslRsa {
    fn generate(&self, _: WrappingAlgorithm) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        let pair = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let private_key = SecretBytes::new(pair.private_key_to_pkcs8().unwrap());
        Ok((pair.public_key_to_der().unwrap(), private_key))
    }

    fn unwrap(
        &self,
        private_key: &SecretBytes,
        algorithm: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        let pair = PKey::private_key_from_der(private_key.danger_bytes())
            .map_err(|error| KeeperError::Damaged(error.to_string()))?;
        Ok(decrypt(&pair, algorithm, wrapped)
            .ok()
            .map(SecretBytes::new))
    }
}

fn decrypt(
    pair: &PKey<Private>,
    algorithm: WrappingAlgorithm,
    wrapped: &[u8],
) -> Result<Vec<u8>, ErrorStack> {
    let mut decrypter = Decrypter::new(pair)?;
    decrypter.set_rsa_padding(padding(algorithm))?;
    if let Some(digest) = digest(algorithm) {
        decrypter.set_rsa_oaep_md(digest)?;
        decrypter.set_rsa_mgf1_md(digest)?;
    }
    let mut material = vec![0; decrypter.decrypt_len(wrapped)?];
    let len = decrypter.decrypt(wrapped, &mut material)?;
    material.truncate(len);
    Ok(material)
}

/// Wraps material for ImportKeyMaterial, as its owner does. `public_key`: SubjectPublicKeyInfo.
pub fn wrap_material(public_key: &[u8], algorithm: WrappingAlgorithm, material: &[u8]) -> Vec<u8> {
    let public_key: PKey<Public> = PKey::public_key_from_der(public_key).unwrap();
    let mut encrypter = Encrypter::new(&public_key).unwrap();
    encrypter.set_rsa_padding(padding(algorithm)).unwrap();
    if let Some(digest) = digest(algorithm) {
        encrypter.set_rsa_oaep_md(digest).unwrap();
        encrypter.set_rsa_mgf1_md(digest).unwrap();
    }
    let mut wrapped = vec![0; encrypter.encrypt_len(material).unwrap()];
    let len = encrypter.encrypt(material, &mut wrapped).unwrap();
    wrapped.truncate(len);
    wrapped
}

fn padding(algorithm: WrappingAlgorithm) -> Padding {
    match algorithm {
        WrappingAlgorithm::Pkcs1V15 => Padding::PKCS1,
        WrappingAlgorithm::OaepSha1 | WrappingAlgorithm::OaepSha256 => Padding::PKCS1_OAEP,
    }
}

fn digest(algorithm: WrappingAlgorithm) -> Option<MessageDigest> {
    match algorithm {
        WrappingAlgorithm::OaepSha1 => Some(MessageDigest::sha1()),
        WrappingAlgorithm::OaepSha256 => Some(MessageDigest::sha256()),
        WrappingAlgorithm::Pkcs1V15 => None,
    }
}

/// Snapshots by `prost`: the numbers of the fields are frozen here a second time.
pub mod wire {
    use std::collections::BTreeMap;

    use prost::Message;

    /// A state.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct State {
        /// In every ARN.
        #[prost(string, tag = "1")]
        pub region: String,
        /// In every ARN.
        #[prost(string, tag = "2")]
        pub account: String,
        /// 32 bytes.
        #[prost(bytes = "vec", tag = "3")]
        pub store_key: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "4")]
        pub last_seen: u64,
        /// Days.
        #[prost(uint32, tag = "5")]
        pub longest_deletion_wait: u32,
        /// Sorted by id.
        #[prost(message, repeated, tag = "6")]
        pub keys: Vec<Key>,
        /// Sorted by name.
        #[prost(message, repeated, tag = "7")]
        pub aliases: Vec<Alias>,
        /// Sorted by id.
        #[prost(message, repeated, tag = "8")]
        pub tombstones: Vec<Tombstone>,
        /// Sorted by principal.
        #[prost(message, repeated, tag = "9")]
        pub policies: Vec<Policy>,
    }

    /// A key.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Key {
        /// A UUID.
        #[prost(bytes = "vec", tag = "1")]
        pub id: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "2")]
        pub created: u64,
        /// The code of the service that owns it.
        #[prost(string, tag = "3")]
        pub service: String,
        /// In its owner's words.
        #[prost(string, tag = "4")]
        pub description: String,
        /// 0 generated, 1 external.
        #[prost(uint64, tag = "5")]
        pub origin: u64,
        /// 0 SOFTWARE, 1 HSM.
        #[prost(uint64, tag = "6")]
        pub level: u64,
        /// 0 Enabled, 1 Disabled, 2 PendingDeletion, 3 PendingImport.
        #[prost(uint64, tag = "7")]
        pub state: u64,
        /// Oldest first; the last is the primary.
        #[prost(message, repeated, tag = "8")]
        pub versions: Vec<Version>,
        /// Seconds; 0: never.
        #[prost(uint64, tag = "9")]
        pub rotation: u64,
        /// Unix seconds; 0: not.
        #[prost(uint64, tag = "10")]
        pub delete_at: u64,
        /// Unix seconds; 0: never.
        #[prost(uint64, tag = "11")]
        pub material_expires: u64,
        /// Of what was imported first.
        #[prost(bytes = "vec", tag = "12")]
        pub fingerprint: Vec<u8>,
        /// By key.
        #[prost(btree_map = "string, string", tag = "13")]
        pub tags: BTreeMap<String, String>,
        /// Why it must not be deleted.
        #[prost(string, optional, tag = "14")]
        pub protection: Option<String>,
        /// Oldest first.
        #[prost(message, repeated, tag = "15")]
        pub imports: Vec<Import>,
    }

    /// A version of a key.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Version {
        /// A UUID.
        #[prost(bytes = "vec", tag = "1")]
        pub id: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "2")]
        pub created: u64,
        /// Nonce (12 bytes), ciphertext, tag (16 bytes): AES-256-GCM under the keeper's key, with the ids of key and version as
        /// additional data. `None`: erased.
        #[prost(bytes = "vec", optional, tag = "3")]
        pub material: Option<Vec<u8>>,
        /// Days since 1970-01-01; 0: not noted.
        #[prost(uint64, tag = "4")]
        pub last_used: u64,
        /// As often as was noted.
        #[prost(uint64, tag = "5")]
        pub uses: u64,
    }

    /// What is kept of an answer to GetParametersForImport.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Import {
        /// The first half of the token.
        #[prost(bytes = "vec", tag = "1")]
        pub id: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "2")]
        pub expires: u64,
        /// PKCS #8, sealed like material, with the ids of key and token.
        #[prost(bytes = "vec", tag = "3")]
        pub private_key: Vec<u8>,
        /// 1 OAEP with SHA-1, 2 OAEP with SHA-256, 3 PKCS #1 v1.5.
        #[prost(uint64, tag = "4")]
        pub algorithm: u64,
    }

    /// A name of a key.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Alias {
        /// With its prefix.
        #[prost(string, tag = "1")]
        pub name: String,
        /// A UUID.
        #[prost(bytes = "vec", tag = "2")]
        pub key: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "3")]
        pub created: u64,
    }

    /// What is left of a deleted key.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Tombstone {
        /// A UUID.
        #[prost(bytes = "vec", tag = "1")]
        pub id: Vec<u8>,
        /// Unix seconds.
        #[prost(uint64, tag = "2")]
        pub deleted: u64,
    }

    /// The policy of a principal.
    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Policy {
        /// Of the user, or the code of the service.
        #[prost(string, tag = "1")]
        pub name: String,
        /// 0 the account's root, 1 a user, 2 a service.
        #[prost(uint64, tag = "2")]
        pub kind: u64,
        /// As it was given.
        #[prost(string, tag = "3")]
        pub text: String,
    }
}

/// `state-*.json`: what a release wrote beside a snapshot of a state with one of everything.
#[derive(Debug, Serialize, Deserialize)]
pub struct Written {
    /// Which release.
    pub release: String,
    /// Hexadecimal: of the keeper that sealed the material.
    pub keeper_key: String,
    /// Hexadecimal.
    pub store_key: String,
    /// Of the state.
    pub region: String,
    /// Of the state.
    pub account: String,
    /// When it was written, in Unix seconds.
    pub time: u64,
    /// The snapshot's file.
    pub state: String,
    /// The audit trail's file.
    pub audit: String,
    /// Where the chain in it ends.
    pub audit_end: ChainEnd,
    /// Every key, as the release described it.
    pub keys: Vec<KnownKey>,
    /// Keys that are gone.
    pub deleted: Vec<Gone>,
    /// Policies, by principal as [`principal_name`] has it.
    pub policies: BTreeMap<String, String>,
    /// Blobs of its keys.
    pub blobs: Vec<KnownBlob>,
    /// Material that one of its tokens imports.
    pub import: KnownImport,
}

/// Where an audit chain ends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEnd {
    /// Number of the last line.
    pub seq: u64,
    /// Its code, hexadecimal.
    pub mac: String,
}

/// What DescribeKey, ListKeyVersions, ListResourceTags and ListAliasesByKeyId say of a key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as in KeyMetadata")]
pub struct KnownKey {
    pub id: String,
    pub description: String,
    pub state: String,
    pub origin: String,
    pub protection: String,
    pub creator: String,
    pub created: String,
    pub delete_at: Option<String>,
    pub deletion_protection: Option<String>,
    pub material_expires: Option<String>,
    pub automatic_rotation: String,
    pub rotation_interval: Option<String>,
    pub next_rotation: Option<String>,
    pub last_rotation: Option<String>,
    pub primary_version: Option<String>,
    pub last_used: Option<u64>,
    pub versions: Vec<KnownVersion>,
    pub tags: BTreeMap<String, String>,
    pub aliases: Vec<String>,
}

/// A version of a key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as in VersionEntry")]
pub struct KnownVersion {
    pub id: String,
    pub created: String,
    pub last_used: Option<u64>,
    pub uses: u64,
}

/// A deleted key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Its id.
    pub id: String,
    /// When it was deleted.
    pub deleted: String,
}

/// A blob, and what it opens to.
#[derive(Debug, Serialize, Deserialize)]
pub struct KnownBlob {
    /// What is special about it.
    pub name: String,
    /// Who may open it, as [`principal_name`] has it.
    pub principal: String,
    /// What Decrypt says at first: "opened", or why it is refused.
    pub at_first: String,
    /// As at encryption.
    pub context: BTreeMap<String, String>,
    /// Hexadecimal.
    pub plaintext: String,
    /// Hexadecimal.
    pub blob: String,
}

/// An import that is still to be done, with RSAES_OAEP_SHA_256.
#[derive(Debug, Serialize, Deserialize)]
pub struct KnownImport {
    /// The key.
    pub key: String,
    /// Hexadecimal.
    pub token: String,
    /// Hexadecimal: the material as it is.
    pub material: String,
    /// Hexadecimal: the material for ImportKeyMaterial.
    pub wrapped: String,
}

/// `root`, `user NAME` or `service CODE`.
pub fn principal_name(principal: &Principal) -> String {
    match principal {
        Principal::Root => "root".into(),
        Principal::User(name) => format!("user {name}"),
        Principal::Service(code) => format!("service {code}"),
    }
}

/// The principal that [`principal_name`] names so.
pub fn principal(name: &str) -> Principal {
    match name.split_once(' ') {
        None => Principal::Root,
        Some(("user", name)) => Principal::User(name.into()),
        Some(("service", code)) => Principal::Service(code.into()),
        Some(_) => panic!("no principal: {name}"),
    }
}

/// Every key of a state.
pub fn known_keys(state: &State, now: Time, keeper: &dyn MaterialKeeper) -> Vec<KnownKey> {
    let ask = |request: &Request| {
        let caller = Caller::new(Principal::Root, Face::Alibaba);
        let mut random = crate::random::SysRng;
        let outcome = state.handle(request, &caller, Now::new(now), &mut random, keeper);
        assert!(outcome.next.is_none());
        outcome.reply.unwrap()
    };
    let page = Page::new(1, Page::MAX_SIZE).unwrap();
    let Response::ListKeys(keys) = ask(&Request::ListKeys(page)) else {
        panic!("another response");
    };
    assert_eq!(keys.items.len(), state.key_count());
    let describe = |id: &stillkey_core::kms::id::Id| {
        let key = id.to_string();
        let Response::DescribeKey(known) = ask(&Request::DescribeKey { key: key.clone() }) else {
            panic!("another response");
        };
        let request = Request::ListKeyVersions {
            key: key.clone(),
            page,
        };
        let Response::ListKeyVersions(versions) = ask(&request) else {
            panic!("another response");
        };
        let request = Request::ListResourceTags { key: key.clone() };
        let Response::ListResourceTags(tags) = ask(&request) else {
            panic!("another response");
        };
        let Response::ListAliasesByKeyId(aliases) = ask(&Request::ListAliasesByKeyId { key, page })
        else {
            panic!("another response");
        };
        let text = |time: Option<Time>| time.map(|time| time.to_string());
        let versions = versions.items.iter().map(|version| KnownVersion {
            id: version.version.to_string(),
            created: version.created.to_string(),
            last_used: version.last_used,
            uses: version.uses,
        });
        KnownKey {
            id: known.key.to_string(),
            description: known.description,
            state: known.state.name().into(),
            origin: format!("{:?}", known.origin),
            protection: known.protection.name().into(),
            creator: known.creator,
            created: known.created.to_string(),
            delete_at: text(known.delete_at),
            deletion_protection: known.deletion_protection,
            material_expires: text(known.material_expires),
            automatic_rotation: known.automatic_rotation.name().into(),
            rotation_interval: known.rotation_interval.map(|interval| interval.to_string()),
            next_rotation: text(known.next_rotation),
            last_rotation: text(known.last_rotation),
            primary_version: known.primary_version.map(|id| id.to_string()),
            last_used: known.last_used,
            versions: versions.collect(),
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            aliases: aliases.items.into_iter().map(|alias| alias.name).collect(),
        }
    };
    keys.items.iter().map(describe).collect()
}
