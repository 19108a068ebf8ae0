//! One method for each operation.

use stillkey_core::kms::id::Id;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::KeyMetadata;
use stillkey_core::kms::request::{
    CreateKey, DataKeyLength, Decrypt, Encrypt, GenerateDataKey, ImportKeyMaterial, Page,
    ReEncrypt, Tag,
};
use stillkey_core::kms::response::{
    AliasEntry, Decrypted, Encrypted, GeneratedDataKey, ImportParameters, List, ReEncrypted,
    VersionEntry,
};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::time::Time;
use stillkey_core::kms::{Caller, Request, Response};
use stillkey_core::{EncryptionContext, SecretBytes};

use super::EmbeddedKms;
use crate::error::Error;

/// Calls, and takes the answer out of its variant. The model answers with the variant of the request.
macro_rules! answer {
    ($kms:expr, $caller:expr, $request:expr, $pattern:pat => $value:expr) => {
        match $kms.call(&$request, $caller)? {
            $pattern => Ok($value),
            _ => Err(Error::Usage("the KMS has answered another request".into())),
        }
    };
}

/// Operations, as [`Request`] has them. Keys are named by id or ARN, and by alias where
/// [the model](stillkey_core::kms) says so. Each fails as [`EmbeddedKms::call`] does.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
impl EmbeddedKms {
    /// CreateKey.
    pub fn create_key(&self, caller: &Caller, request: CreateKey) -> Result<KeyMetadata, Error> {
        answer!(self, caller, Request::CreateKey(request), Response::CreateKey(key) => key)
    }

    /// ListKeys.
    pub fn list_keys(&self, caller: &Caller, page: Page) -> Result<List<Id>, Error> {
        answer!(self, caller, Request::ListKeys(page), Response::ListKeys(list) => list)
    }

    /// DescribeKey.
    pub fn describe_key(&self, caller: &Caller, key: &str) -> Result<KeyMetadata, Error> {
        let key = key.into();
        answer!(self, caller, Request::DescribeKey { key }, Response::DescribeKey(key) => key)
    }

    /// UpdateKeyDescription.
    pub fn update_description(
        &self,
        caller: &Caller,
        key: &str,
        description: &str,
    ) -> Result<(), Error> {
        let request = Request::UpdateKeyDescription {
            key: key.into(),
            description: description.into(),
        };
        answer!(self, caller, request, Response::UpdateKeyDescription => ())
    }

    /// EnableKey.
    pub fn enable_key(&self, caller: &Caller, key: &str) -> Result<(), Error> {
        let key = key.into();
        answer!(self, caller, Request::EnableKey { key }, Response::EnableKey => ())
    }

    /// DisableKey: when it returns, no thread uses the key any more.
    pub fn disable_key(&self, caller: &Caller, key: &str) -> Result<(), Error> {
        let key = key.into();
        answer!(self, caller, Request::DisableKey { key }, Response::DisableKey => ())
    }

    /// ScheduleKeyDeletion: from when on the key is deleted.
    pub fn schedule_key_deletion(
        &self,
        caller: &Caller,
        key: &str,
        days: u32,
    ) -> Result<Time, Error> {
        let key = key.into();
        let request = Request::ScheduleKeyDeletion { key, days };
        answer!(self, caller, request, Response::ScheduleKeyDeletion { delete_at, .. } => delete_at)
    }

    /// CancelKeyDeletion.
    pub fn cancel_key_deletion(&self, caller: &Caller, key: &str) -> Result<(), Error> {
        let key = key.into();
        let request = Request::CancelKeyDeletion { key };
        answer!(self, caller, request, Response::CancelKeyDeletion { .. } => ())
    }

    /// SetDeletionProtection: with a reason, or `None` to end it.
    pub fn protect_key(
        &self,
        caller: &Caller,
        key: &str,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let request = Request::SetDeletionProtection {
            key: key.into(),
            enabled: reason.is_some(),
            description: reason.unwrap_or_default().into(),
        };
        answer!(self, caller, request, Response::SetDeletionProtection => ())
    }

    /// GetParametersForImport.
    pub fn parameters_for_import(
        &self,
        caller: &Caller,
        key: &str,
        algorithm: WrappingAlgorithm,
    ) -> Result<ImportParameters, Error> {
        let key = key.into();
        let request = Request::GetParametersForImport { key, algorithm };
        answer!(self, caller, request, Response::GetParametersForImport(parameters) => parameters)
    }

    /// ImportKeyMaterial: the id of the key's version.
    pub fn import_key_material(
        &self,
        caller: &Caller,
        request: ImportKeyMaterial,
    ) -> Result<Id, Error> {
        let request = Request::ImportKeyMaterial(request);
        answer!(self, caller, request, Response::ImportKeyMaterial { version, .. } => version)
    }

    /// DeleteKeyMaterial.
    pub fn delete_key_material(&self, caller: &Caller, key: &str) -> Result<(), Error> {
        let key = key.into();
        let request = Request::DeleteKeyMaterial { key };
        answer!(self, caller, request, Response::DeleteKeyMaterial => ())
    }

    /// Encrypt.
    pub fn encrypt(
        &self,
        caller: &Caller,
        key: &str,
        plaintext: SecretBytes,
        context: EncryptionContext,
    ) -> Result<Encrypted, Error> {
        let request = Request::Encrypt(Encrypt {
            key: key.into(),
            plaintext,
            context,
        });
        answer!(self, caller, request, Response::Encrypt(made) => made)
    }

    /// Decrypt.
    pub fn decrypt(
        &self,
        caller: &Caller,
        blob: Vec<u8>,
        context: EncryptionContext,
    ) -> Result<Decrypted, Error> {
        let request = Request::Decrypt(Decrypt {
            blob,
            context,
            key: None,
        });
        answer!(self, caller, request, Response::Decrypt(opened) => opened)
    }

    /// GenerateDataKey.
    pub fn generate_data_key(
        &self,
        caller: &Caller,
        key: &str,
        length: DataKeyLength,
        context: EncryptionContext,
    ) -> Result<GeneratedDataKey, Error> {
        let request = Request::GenerateDataKey(GenerateDataKey {
            key: key.into(),
            length,
            context,
        });
        answer!(self, caller, request, Response::GenerateDataKey(made) => made)
    }

    /// GenerateDataKeyWithoutPlaintext.
    pub fn generate_data_key_without_plaintext(
        &self,
        caller: &Caller,
        key: &str,
        length: DataKeyLength,
        context: EncryptionContext,
    ) -> Result<Encrypted, Error> {
        let request = Request::GenerateDataKeyWithoutPlaintext(GenerateDataKey {
            key: key.into(),
            length,
            context,
        });
        answer!(self, caller, request, Response::GenerateDataKeyWithoutPlaintext(made) => made)
    }

    /// ReEncrypt.
    pub fn re_encrypt(&self, caller: &Caller, request: ReEncrypt) -> Result<ReEncrypted, Error> {
        let request = Request::ReEncrypt(request);
        answer!(self, caller, request, Response::ReEncrypt(made) => made)
    }

    /// GenerateRandom.
    pub fn generate_random(
        &self,
        caller: &Caller,
        length: DataKeyLength,
    ) -> Result<SecretBytes, Error> {
        let request = Request::GenerateRandom(length);
        answer!(self, caller, request, Response::GenerateRandom(bytes) => bytes)
    }

    /// CreateAlias.
    pub fn create_alias(&self, caller: &Caller, alias: &str, key: &str) -> Result<(), Error> {
        let (alias, key) = (alias.into(), key.into());
        answer!(self, caller, Request::CreateAlias { alias, key }, Response::CreateAlias => ())
    }

    /// UpdateAlias.
    pub fn update_alias(&self, caller: &Caller, alias: &str, key: &str) -> Result<(), Error> {
        let (alias, key) = (alias.into(), key.into());
        answer!(self, caller, Request::UpdateAlias { alias, key }, Response::UpdateAlias => ())
    }

    /// DeleteAlias.
    pub fn delete_alias(&self, caller: &Caller, alias: &str) -> Result<(), Error> {
        let alias = alias.into();
        answer!(self, caller, Request::DeleteAlias { alias }, Response::DeleteAlias => ())
    }

    /// ListAliases.
    pub fn list_aliases(&self, caller: &Caller, page: Page) -> Result<List<AliasEntry>, Error> {
        answer!(self, caller, Request::ListAliases(page), Response::ListAliases(list) => list)
    }

    /// ListAliasesByKeyId.
    pub fn list_aliases_of(
        &self,
        caller: &Caller,
        key: &str,
        page: Page,
    ) -> Result<List<AliasEntry>, Error> {
        let key = key.into();
        let request = Request::ListAliasesByKeyId { key, page };
        answer!(self, caller, request, Response::ListAliasesByKeyId(list) => list)
    }

    /// TagResource.
    pub fn tag_key(&self, caller: &Caller, key: &str, tags: Vec<Tag>) -> Result<(), Error> {
        let key = key.into();
        answer!(self, caller, Request::TagResource { key, tags }, Response::TagResource => ())
    }

    /// UntagResource.
    pub fn untag_key(&self, caller: &Caller, key: &str, names: Vec<String>) -> Result<(), Error> {
        let key = key.into();
        answer!(self, caller, Request::UntagResource { key, names }, Response::UntagResource => ())
    }

    /// ListResourceTags.
    pub fn list_tags(&self, caller: &Caller, key: &str) -> Result<Vec<Tag>, Error> {
        let key = key.into();
        let request = Request::ListResourceTags { key };
        answer!(self, caller, request, Response::ListResourceTags(tags) => tags)
    }

    /// ListKeyVersions.
    pub fn list_key_versions(
        &self,
        caller: &Caller,
        key: &str,
        page: Page,
    ) -> Result<List<VersionEntry>, Error> {
        let key = key.into();
        let request = Request::ListKeyVersions { key, page };
        answer!(self, caller, request, Response::ListKeyVersions(list) => list)
    }

    /// DescribeKeyVersion.
    pub fn describe_key_version(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
    ) -> Result<VersionEntry, Error> {
        let (key, version) = (key.into(), version.into());
        let request = Request::DescribeKeyVersion { key, version };
        answer!(self, caller, request, Response::DescribeKeyVersion(entry) => entry)
    }

    /// CreateKeyVersion: rotates a key now.
    pub fn create_key_version(&self, caller: &Caller, key: &str) -> Result<VersionEntry, Error> {
        let key = key.into();
        let request = Request::CreateKeyVersion { key };
        answer!(self, caller, request, Response::CreateKeyVersion(entry) => entry)
    }

    /// UpdateRotationPolicy: `None` ends automatic rotation.
    pub fn update_rotation_policy(
        &self,
        caller: &Caller,
        key: &str,
        interval: Option<RotationInterval>,
    ) -> Result<(), Error> {
        let key = key.into();
        let request = Request::UpdateRotationPolicy { key, interval };
        answer!(self, caller, request, Response::UpdateRotationPolicy => ())
    }
}
