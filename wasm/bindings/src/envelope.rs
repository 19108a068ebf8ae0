//! Envelopes: `encryptionpb.EncryptedContent`, as log backups and key dictionaries have it.

use getrandom::SysRng;
use stillkey_core::{Envelope as CoreEnvelope, Sealing as CoreSealing, SecretBytes};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::Failure;
use crate::keys::{MasterKey, Secret};

/// A sealed payload with its metadata.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Envelope(CoreEnvelope);

#[wasm_bindgen]
impl Envelope {
    /// Reads one that stands alone.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Failure> {
        // Under the plaintext master key, these bytes are the payload.
        let bytes = SecretBytes::new(bytes);
        Ok(CoreEnvelope::from_bytes(bytes.danger_bytes()).map(Self)?)
    }

    /// Seals a payload, which is taken over.
    pub fn seal(payload: Vec<u8>, master_key: &MasterKey) -> Result<Self, Failure> {
        let payload = SecretBytes::new(payload);
        Ok(CoreEnvelope::seal(&payload, &master_key.0, &mut SysRng).map(Self)?)
    }

    /// Opens it.
    pub fn open(&self, master_key: &MasterKey) -> Result<Secret, Failure> {
        Ok(self.0.open(&master_key.0).map(Secret)?)
    }

    /// How it is sealed.
    pub fn sealing(&self) -> Sealing {
        Sealing(self.0.sealing())
    }

    /// Its encoding.
    pub fn to_bytes(&self) -> js_sys::Uint8Array {
        let bytes = SecretBytes::new(self.0.to_bytes());
        js_sys::Uint8Array::from(bytes.danger_bytes())
    }
}

/// How an envelope is sealed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Sealing(pub(crate) CoreSealing);

#[wasm_bindgen]
impl Sealing {
    /// The method that it names.
    pub fn method(&self) -> Option<String> {
        self.0.method.clone()
    }

    /// The key service's vendor.
    pub fn vendor(&self) -> Option<String> {
        self.0.vendor.clone()
    }

    /// Length of the wrapped key in bytes.
    pub fn wrapped_key_len(&self) -> Option<usize> {
        self.0.wrapped_key_len
    }

    /// Length of the payload in bytes.
    pub fn payload_len(&self) -> usize {
        self.0.payload_len
    }
}
