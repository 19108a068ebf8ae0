//! The root key: what the state of an embedded KMS is sealed under.

use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use stillkey_core::kms::sealed::{RootKeyDescription, RootKeyKind};
use stillkey_core::{EncryptionContext, Error as CoreError, KeyService, RawMasterKey, SecretBytes};

use crate::SysRng;
use crate::error::Error;

/// What opens the state of an embedded KMS.
#[derive(Clone)]
pub enum RootKey {
    /// 32 bytes: from a file, for example.
    Raw(RawMasterKey),
    /// A passphrase, stretched by Argon2id with 64 MiB and 3 passes.
    Passphrase(Arc<SecretBytes>),
    /// 32 random bytes that a key service wraps: the KMS opens by itself where the service can be
    /// asked.
    Service(Arc<dyn KeyService>),
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// Costs of Argon2id. Source: RFC 9106 §4, second recommendation, with one lane.
const MEMORY: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The most that a file may make us spend.
const MOST_MEMORY: u32 = 4 << 20;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 64;

impl RootKey {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Raw(_) => "a 32-byte root key",
            Self::Passphrase(_) => "a passphrase",
            Self::Service(_) => "a key service",
        }
    }

    /// The root key of a store, and how it is to be had from now on.
    pub(super) fn describe(
        &self,
        store: [u8; 16],
    ) -> Result<(SecretBytes, RootKeyDescription), Error> {
        let (root_key, kind) = match self {
            Self::Raw(key) => (key.secret().duplicate(), RootKeyKind::Raw),
            Self::Passphrase(passphrase) => {
                let salt = random()?;
                let kind = RootKeyKind::Passphrase {
                    salt,
                    memory: MEMORY,
                    passes: PASSES,
                    lanes: LANES,
                };
                (stretch(passphrase, &salt, [MEMORY, PASSES, LANES])?, kind)
            }
            Self::Service(service) => {
                let context = context(&store);
                let made = service.generate(32, &context)?;
                let (root_key, wrapped) = match made {
                    Some(made) => made,
                    None => {
                        let root_key = SecretBytes::random(&mut SysRng, 32)?;
                        let wrapped = service.wrap(&root_key, &context)?;
                        (root_key, wrapped)
                    }
                };
                let provider = service.provider();
                (root_key, RootKeyKind::Service { provider, wrapped })
            }
        };
        Ok((root_key, RootKeyDescription { store, kind }))
    }

    /// The root key of a store that describes it so.
    pub(super) fn recover(&self, description: &RootKeyDescription) -> Result<SecretBytes, Error> {
        match (self, &description.kind) {
            (Self::Raw(key), RootKeyKind::Raw) => Ok(key.secret().duplicate()),
            (
                Self::Passphrase(passphrase),
                RootKeyKind::Passphrase {
                    salt,
                    memory,
                    passes,
                    lanes,
                },
            ) => stretch(passphrase, salt, [*memory, *passes, *lanes]),
            (Self::Service(service), RootKeyKind::Service { wrapped, .. }) => {
                Ok(service.unwrap(wrapped, &context(&description.store))?)
            }
            (given, kind) => Err(CoreError::OtherMasterKeyKind {
                expected: given.kind().into(),
                found: match kind {
                    RootKeyKind::Raw => "a 32-byte root key".into(),
                    RootKeyKind::Passphrase { .. } => "a passphrase".into(),
                    RootKeyKind::Service { provider, .. } => {
                        format!("a key service, number {provider}")
                    }
                },
            }
            .into()),
        }
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    stillkey_core::RandomSource::fill(&mut SysRng, &mut bytes)?;
    Ok(bytes)
}

fn context(store: &[u8; 16]) -> EncryptionContext {
    let store: String = store.iter().map(|byte| format!("{byte:02x}")).collect();
    [("stillkey", "kms root key".to_owned()), ("store", store)]
        .into_iter()
        .collect()
}

fn stretch(
    passphrase: &SecretBytes,
    salt: &[u8; 16],
    [memory, passes, lanes]: [u32; 3],
) -> Result<SecretBytes, Error> {
    if memory > MOST_MEMORY || passes > MOST_PASSES || lanes > MOST_LANES {
        return Err(Error::Usage(format!(
            "the store asks for Argon2id with {memory} KiB, {passes} passes and {lanes} lanes, \
             which is more than this release spends"
        )));
    }
    let impossible = |error: argon2::Error| {
        Error::Usage(format!("Argon2id can't stretch the passphrase: {error}"))
    };
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(impossible)?;
    let mut key = zeroize::Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.danger_bytes(), salt, &mut *key)
        .map_err(impossible)?;
    Ok(SecretBytes::copied(&*key))
}
