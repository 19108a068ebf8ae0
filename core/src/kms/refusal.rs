//! Why a request is refused, in types. Error codes and HTTP are for those who speak a protocol.

use alloc::string::String;
use core::fmt;

use super::id::Id;
use super::key::{KeyState, Origin, ProtectionLevel};
use super::material::KeeperError;
use super::request::{Operation, Principal};
use super::states::StateRule;
use super::time::Time;

/// A request that was refused: nothing has changed.
///
/// It is shown with the operation, the key, its state and what would have to be true; never with
/// plaintext, key material or tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub operation: Operation,
    /// Why it was refused.
    pub cause: Cause,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The text is the id or ARN of no key.
    KeyNotFound {
        /// What was given, shortened.
        key: String,
        /// When a key of this id was deleted, if there was one.
        deleted: Option<Time>,
    },
    /// No key has this alias.
    AliasNotFound {
        /// What was given, shortened.
        alias: String,
    },
    /// Another key has this alias.
    AliasExists {
        /// The alias.
        alias: String,
    },
    /// Not `alias/` and 1 to 255 characters of `[A-Za-z0-9_/-]`.
    InvalidAlias {
        /// What was given, shortened.
        alias: String,
    },
    /// Its prefix is for the keys of services.
    ReservedAlias {
        /// The alias.
        alias: String,
    },
    /// The operation takes ids and ARNs only.
    AliasUnsupported {
        /// What was given, shortened.
        alias: String,
    },
    /// The key has no such version.
    VersionNotFound {
        /// The key.
        key: Id,
        /// What was given, shortened.
        version: String,
    },
    /// The key is in a state in which this can't be done.
    State {
        /// The key.
        key: Id,
        /// Its state.
        state: KeyState,
        /// In which way the state forbids it.
        rule: StateRule,
    },
    /// Only for keys of the other origin.
    Origin {
        /// The key.
        key: Id,
        /// Its origin.
        origin: Origin,
    },
    /// The key belongs to a service of the cloud, which alone uses it.
    ServiceKey {
        /// The key.
        key: Id,
        /// The service's code.
        service: String,
    },
    /// No policy of the caller allows it, or one forbids it.
    NotAllowed {
        /// The caller.
        principal: Principal,
        /// The action that it needs.
        action: String,
        /// On what.
        resource: String,
        /// The statement of its policy that denies it, counted from 1; `None`: none allows it.
        denied_by: Option<usize>,
    },
    /// The key is protected against deletion.
    DeletionProtected {
        /// The key.
        key: Id,
        /// Why.
        description: String,
    },
    /// A parameter is out of its limits.
    InvalidParameter {
        /// Which one, by the name that it has in requests.
        parameter: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The blob is none of this KMS.
    InvalidBlob {
        /// What is wrong with it.
        finding: &'static str,
    },
    /// The blob, or the encryption context, isn't what it was at encryption.
    Undecryptable {
        /// The key that the blob names.
        key: Id,
    },
    /// The blob names another key than the caller expects.
    OtherKey {
        /// The key that the caller expects.
        expected: Id,
        /// The key that the blob names.
        found: Id,
    },
    /// No token of this key.
    InvalidImportToken {
        /// The key.
        key: Id,
    },
    /// The token was good until then.
    ExpiredImportToken {
        /// The key.
        key: Id,
        /// Until when.
        expired: Time,
    },
    /// What was imported can't be decrypted, isn't 32 bytes long, or isn't what was imported first.
    InvalidKeyMaterial {
        /// The key.
        key: Id,
    },
    /// There is no place for key material of this level.
    ProtectionLevelUnavailable {
        /// The level.
        level: ProtectionLevel,
    },
    /// What keeps the key material, or the random number generator, could not answer.
    Unavailable(String),
    /// The key material of this version is damaged where it is stored.
    DamagedMaterial {
        /// The key.
        key: Id,
        /// The version.
        version: Id,
        /// What is wrong.
        finding: String,
    },
}

impl Cause {
    /// A word for it, for audit records and metrics. Stable.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyNotFound { .. } => "KeyNotFound",
            Self::AliasNotFound { .. } => "AliasNotFound",
            Self::AliasExists { .. } => "AliasExists",
            Self::InvalidAlias { .. } => "InvalidAlias",
            Self::ReservedAlias { .. } => "ReservedAlias",
            Self::AliasUnsupported { .. } => "AliasUnsupported",
            Self::VersionNotFound { .. } => "VersionNotFound",
            Self::State { state, rule, .. } => match (rule, state) {
                (StateRule::CannotModify, _) => "StateModifiedFailed",
                (StateRule::NotPendingDeletion, _) => "NotPendingDeletion",
                (StateRule::Unsupported, _) => "Unsupported",
                (StateRule::Rejected, KeyState::Disabled) => "Disabled",
                (StateRule::Rejected, KeyState::PendingDeletion) => "PendingDeletion",
                (StateRule::Rejected, KeyState::PendingImport) => "PendingImport",
                (StateRule::Rejected, KeyState::Enabled) => "Enabled",
            },
            Self::Origin { .. } => "UnsupportedOrigin",
            Self::ServiceKey { .. } => "ServiceKey",
            Self::NotAllowed { .. } => "NotAllowed",
            Self::DeletionProtected { .. } => "DeletionProtected",
            Self::InvalidParameter { .. } => "InvalidParameter",
            Self::InvalidBlob { .. } => "InvalidBlob",
            Self::Undecryptable { .. } => "Undecryptable",
            Self::OtherKey { .. } => "OtherKey",
            Self::InvalidImportToken { .. } => "InvalidImportToken",
            Self::ExpiredImportToken { .. } => "ExpiredImportToken",
            Self::InvalidKeyMaterial { .. } => "InvalidKeyMaterial",
            Self::ProtectionLevelUnavailable { .. } => "ProtectionLevelUnavailable",
            Self::Unavailable(_) => "Unavailable",
            Self::DamagedMaterial { .. } => "DamagedMaterial",
        }
    }

    /// What the keeper of a version's material says.
    pub(super) fn of_keeper(error: KeeperError, key: Id, version: Id) -> Self {
        match error {
            KeeperError::NotAuthentic => Self::Undecryptable { key },
            KeeperError::Unavailable(why) => Self::Unavailable(why),
            KeeperError::Damaged(finding) => Self::DamagedMaterial {
                key,
                version,
                finding,
            },
            KeeperError::UnsupportedAlgorithm(what) => Self::InvalidParameter {
                parameter: "WrappingAlgorithm",
                expected: what,
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused: {}", self.operation, self.cause)
    }
}

impl core::error::Error for Refusal {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyNotFound { key, deleted: None } => write!(
                f,
                "there is no key {key:?}; give a key's id or ARN, as ListKeys shows them, or an \
                 alias with its prefix 'alias/'"
            ),
            Self::KeyNotFound {
                key,
                deleted: Some(at),
            } => write!(f, "key {key:?} was deleted at {at}, with all its versions"),
            Self::AliasNotFound { alias } => {
                write!(
                    f,
                    "no key has the alias {alias:?}; ListAliases shows those there are"
                )
            }
            Self::AliasExists { alias } => write!(
                f,
                "the alias {alias:?} is taken; UpdateAlias has it mean another key"
            ),
            Self::InvalidAlias { alias } => write!(
                f,
                "{alias:?} is no alias, which is 'alias/' and 1 to 255 letters, digits, '_', '-' \
                 or '/'"
            ),
            Self::ReservedAlias { alias } => write!(
                f,
                "the alias {alias:?} is reserved for keys of services; choose another prefix"
            ),
            Self::AliasUnsupported { alias } => write!(
                f,
                "{alias:?} is an alias, and this operation takes the key's id or ARN; DescribeKey \
                 of the alias shows both"
            ),
            Self::VersionNotFound { key, version } => write!(
                f,
                "key {key} has no version {version:?}; ListKeyVersions shows those it has"
            ),
            Self::State { key, state, rule } => {
                write!(f, "key {key} is {state}, and {}", rule.remedy(*state))
            }
            Self::Origin { key, origin } => match origin {
                Origin::Generated => write!(
                    f,
                    "the material of key {key} was generated, and this is for imported keys"
                ),
                Origin::External => write!(
                    f,
                    "the material of key {key} is imported, and this is for keys whose material \
                     is generated; to rotate it, create a key and point its alias there"
                ),
            },
            Self::ServiceKey { key, service } => write!(
                f,
                "key {key} belongs to the service {service:?}, which alone uses it; nobody \
                 manages it"
            ),
            Self::NotAllowed {
                principal,
                action,
                resource,
                denied_by,
            } => {
                write!(f, "{principal} needs {action} on {resource}, and ")?;
                match denied_by {
                    Some(statement) => write!(f, "statement {statement} of its policy denies it"),
                    None => f.write_str("no policy allows it"),
                }
            }
            Self::DeletionProtected { key, description } => write!(
                f,
                "key {key} is protected against deletion ({description:?}); SetDeletionProtection \
                 ends that"
            ),
            Self::InvalidParameter {
                parameter,
                expected,
            } => write!(f, "{parameter}: expected {expected}"),
            Self::InvalidBlob { finding } => {
                write!(f, "the ciphertext blob is none of this KMS: {finding}")
            }
            Self::Undecryptable { key } => write!(
                f,
                "key {key} doesn't open the blob: the blob was changed, or the encryption context \
                 is another one than at encryption"
            ),
            Self::OtherKey { expected, found } => write!(
                f,
                "the blob was encrypted with key {found}, and key {expected} was expected"
            ),
            Self::InvalidImportToken { key } => write!(
                f,
                "the import token is none of key {key}, or newer ones have taken its place; \
                 GetParametersForImport gives one"
            ),
            Self::ExpiredImportToken { key, expired } => write!(
                f,
                "the import token of key {key} was good until {expired}; GetParametersForImport \
                 gives a new one"
            ),
            Self::InvalidKeyMaterial { key } => write!(
                f,
                "the material for key {key} doesn't decrypt to 32 bytes, or to others than were \
                 imported first; use the public key, the token and the algorithm of one \
                 GetParametersForImport, and the same material as the first time"
            ),
            Self::ProtectionLevelUnavailable { level } => write!(
                f,
                "there is no place for key material of protection level {level}; create the key \
                 with level SOFTWARE, or configure a hardware security module"
            ),
            Self::Unavailable(why) => write!(f, "{why}; try again"),
            Self::DamagedMaterial {
                key,
                version,
                finding,
            } => write!(
                f,
                "the material of key {key}, version {version}, is damaged ({finding}); restore the \
                 store from a backup"
            ),
        }
    }
}

/// The beginning of a text from outside, for a message.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
