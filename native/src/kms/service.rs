//! A key of an embedded KMS as a master key.

use std::fmt;
use std::sync::Arc;

use stillkey_core::error::WrongMasterKey;
use stillkey_core::kms::blob::CiphertextBlob;
use stillkey_core::kms::request::DataKeyLength;
use stillkey_core::kms::{Caller, Cause, Face, Principal};
use stillkey_core::{EncryptionContext, Error as CoreError, KeyService, SecretBytes, WrappedKey};

use super::EmbeddedKms;
use crate::error::Error;

/// A key of an embedded KMS as a master key: [`KeyService`] for everything that Stillkey seals.
#[derive(Clone)]
pub struct KmsKey {
    kms: Arc<EmbeddedKms>,
    caller: Caller,
    key: String,
}

impl KmsKey {
    /// The key of this id, ARN or alias, used by the account's root.
    pub fn new(kms: Arc<EmbeddedKms>, key: impl Into<String>) -> Self {
        Self::used_by(kms, key, Caller::new(Principal::Root, Face::Alibaba))
    }

    /// The same, used by somebody else.
    pub fn used_by(kms: Arc<EmbeddedKms>, key: impl Into<String>, caller: Caller) -> Self {
        Self {
            kms,
            caller,
            key: key.into(),
        }
    }
}

impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KmsKey({} of an embedded KMS)", self.key)
    }
}

impl KeyService for KmsKey {
    fn vendor(&self) -> &str {
        "stillkey"
    }

    fn provider(&self) -> u8 {
        2
    }

    fn current_version(&self) -> Result<String, CoreError> {
        let key = self
            .kms
            .describe_key(&self.caller, &self.key)
            .map_err(error)?;
        let version = key.primary_version;
        Ok(version
            .map(|version| version.to_string())
            .unwrap_or_default())
    }

    fn generate(
        &self,
        len: usize,
        context: &EncryptionContext,
    ) -> Result<Option<(SecretBytes, WrappedKey)>, CoreError> {
        let Some(length) = u16::try_from(len).ok().and_then(DataKeyLength::new) else {
            return Ok(None);
        };
        let made = self
            .kms
            .generate_data_key(&self.caller, &self.key, length, context.clone())
            .map_err(error)?;
        let wrapped = WrappedKey {
            reference: made.encrypted.key.to_string(),
            version: made.encrypted.version.to_string(),
            blob: made.encrypted.blob,
        };
        Ok(Some((made.plaintext, wrapped)))
    }

    fn wrap(
        &self,
        key: &SecretBytes,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, CoreError> {
        let made = self
            .kms
            .encrypt(&self.caller, &self.key, key.duplicate(), context.clone())
            .map_err(error)?;
        Ok(WrappedKey {
            reference: made.key.to_string(),
            version: made.version.to_string(),
            blob: made.blob,
        })
    }

    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, CoreError> {
        // A blob names its key; that it is this one, or was when an alias meant another, is no matter.
        if CiphertextBlob::inspect(&wrapped.blob).is_err() {
            let why = "the wrapped key is no blob of an embedded KMS".into();
            return Err(WrongMasterKey::Refused(why).into());
        }
        let opened = self
            .kms
            .decrypt(&self.caller, wrapped.blob.clone(), context.clone())
            .map_err(error)?;
        Ok(opened.plaintext)
    }
}

/// Only a blob that isn't this KMS's may lead to another master key; all else is an outage.
fn error(error: Error) -> CoreError {
    let is_foreign = matches!(&error, Error::KmsRefused(refusal) if matches!(
        refusal.cause,
        Cause::KeyNotFound { deleted: None, .. }
            | Cause::VersionNotFound { .. }
            | Cause::Undecryptable { .. }
    ));
    match is_foreign {
        true => WrongMasterKey::Refused(error.to_string()).into(),
        false => CoreError::Unavailable(error.to_string()),
    }
}
