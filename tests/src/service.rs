//! A key service that knows exactly one wrapped key.

use std::sync::Arc;

use stillkey_core::error::WrongMasterKey;
use stillkey_core::{EncryptionContext, Error, KeyService, MasterKey, SecretBytes, WrappedKey};

/// Unwraps `blob` to `key` and what it wrapped itself; refuses everything else.
#[derive(Debug)]
pub struct MockService {
    /// As stored in dictionaries.
    pub vendor: String,
    /// The wrapped key that it knows.
    pub blob: Vec<u8>,
    /// What that unwraps to.
    pub key: SecretBytes,
}

impl MockService {
    /// As a master key.
    pub fn master_key(vendor: &str, blob: &[u8], key: &[u8]) -> MasterKey {
        MasterKey::Service(Arc::new(Self {
            vendor: vendor.to_owned(),
            blob: blob.to_vec(),
            key: SecretBytes::copied(key),
        }))
    }
}

impl KeyService for MockService {
    fn vendor(&self) -> &str {
        &self.vendor
    }

    fn provider(&self) -> u8 {
        0
    }

    /// The blob is the key itself behind a mark: a mock can do without secrecy.
    fn wrap(&self, key: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
        Ok(WrappedKey {
            blob: [b"mock:", key.danger_bytes()].concat(),
            ..WrappedKey::default()
        })
    }

    fn unwrap(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<SecretBytes, Error> {
        if wrapped.blob == self.blob {
            return Ok(self.key.duplicate());
        }
        match wrapped.blob.strip_prefix(b"mock:") {
            Some(key) => Ok(SecretBytes::copied(key)),
            None => Err(WrongMasterKey::Refused("not my ciphertext".to_owned()).into()),
        }
    }
}
