//! What the KMS answers.

use alloc::string::String;
use alloc::vec::Vec;

use super::id::Id;
use super::key::KeyMetadata;
use super::request::Tag;
use super::time::Time;
use crate::secret::SecretBytes;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// Items on all pages.
    pub total: usize,
}

/// A ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// The key, also where an alias was given.
    pub key: Id,
    /// The version that encrypted it.
    pub version: Id,
    /// What Decrypt takes.
    pub blob: Vec<u8>,
}

/// A plaintext.
#[derive(Debug, PartialEq, Eq)]
pub struct Decrypted {
    /// The key that the blob names.
    pub key: Id,
    /// The version that the blob names.
    pub version: Id,
    /// What was encrypted.
    pub plaintext: SecretBytes,
}

/// A data key.
#[derive(Debug, PartialEq, Eq)]
pub struct GeneratedDataKey {
    /// The data key, to be forgotten after use.
    pub plaintext: SecretBytes,
    /// The same, encrypted: to be kept.
    pub encrypted: Encrypted,
}

/// A ciphertext that took the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReEncrypted {
    /// The key that the old blob named.
    pub source_key: Id,
    /// The version that the old blob named.
    pub source_version: Id,
    /// The new ciphertext.
    pub encrypted: Encrypted,
}

/// For the import of key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportParameters {
    /// The key that they are for.
    pub key: Id,
    /// Proof for ImportKeyMaterial.
    pub token: Vec<u8>,
    /// An RSA public key of 2,048 bits: SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// Until when both are good.
    pub expires: Time,
}

/// A name of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasEntry {
    /// With its prefix `alias/`.
    pub name: String,
    /// The key that it means.
    pub key: Id,
    /// When it was made.
    pub created: Time,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// Its key.
    pub key: Id,
    /// Its id.
    pub version: Id,
    /// When it was made.
    pub created: Time,
    /// The day of its last use, counted from 1970-01-01, as far as the store has noted it.
    pub last_used: Option<u64>,
    /// How often it was used, likewise.
    pub uses: u64,
}

/// The answer to a request: the variant has the name of the operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// The new key.
    CreateKey(KeyMetadata),
    /// Keys by creation, then by id.
    ListKeys(List<Id>),
    /// The key.
    DescribeKey(KeyMetadata),
    /// Done.
    UpdateKeyDescription,
    /// Done.
    EnableKey,
    /// Done.
    DisableKey,
    /// When the key will be gone.
    ScheduleKeyDeletion {
        /// The key.
        key: Id,
        /// From when on it is deleted.
        delete_at: Time,
    },
    /// Called off.
    CancelKeyDeletion {
        /// The key.
        key: Id,
    },
    /// Done.
    SetDeletionProtection,
    /// What the importer needs.
    GetParametersForImport(ImportParameters),
    /// Done.
    ImportKeyMaterial {
        /// The key.
        key: Id,
        /// Its only version.
        version: Id,
    },
    /// Done.
    DeleteKeyMaterial,
    /// The ciphertext.
    Encrypt(Encrypted),
    /// The plaintext.
    Decrypt(Decrypted),
    /// The data key in both forms.
    GenerateDataKey(GeneratedDataKey),
    /// The data key, encrypted.
    GenerateDataKeyWithoutPlaintext(Encrypted),
    /// The new ciphertext.
    ReEncrypt(ReEncrypted),
    /// Random bytes.
    GenerateRandom(SecretBytes),
    /// Done.
    CreateAlias,
    /// Done.
    UpdateAlias,
    /// Done.
    DeleteAlias,
    /// Aliases by creation, then by name.
    ListAliases(List<AliasEntry>),
    /// Aliases by creation, then by name.
    ListAliasesByKeyId(List<AliasEntry>),
    /// Done.
    TagResource,
    /// Done.
    UntagResource,
    /// Tags by their keys.
    ListResourceTags(Vec<Tag>),
    /// Versions, oldest first.
    ListKeyVersions(List<VersionEntry>),
    /// The version.
    DescribeKeyVersion(VersionEntry),
    /// The new version.
    CreateKeyVersion(VersionEntry),
    /// Done.
    UpdateRotationPolicy,
    /// The region of this KMS.
    DescribeRegions(Vec<String>),
}
