//! Keys as handles: the bytes stay on this side, zeroized when the handle is freed.

use getrandom::SysRng;
use js_sys::Uint8Array;
use stillkey_core::{
    Cipher, DataKey as CoreDataKey, Error, MasterKey as CoreMasterKey, Method, NotHexadecimal,
    RawMasterKey, SecretBytes,
};
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Digits of a master key in hexadecimal.
const DIGITS: usize = 2 * RawMasterKey::LEN;

/// Secret bytes.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Secret(pub(crate) SecretBytes);

#[wasm_bindgen]
impl Secret {
    /// Takes the bytes over.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes in a new array.
    pub fn danger_export(&self) -> Uint8Array {
        Uint8Array::from(self.0.danger_bytes())
    }
}

/// A master key.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct MasterKey(pub(crate) CoreMasterKey);

#[wasm_bindgen]
impl MasterKey {
    /// Takes over 32 bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Failure> {
        Ok(RawMasterKey::new(SecretBytes::new(bytes)).map(Self::raw)?)
    }

    /// Takes over 64 hexadecimal digits in ASCII, with white space around them.
    pub fn from_hex(digits: Vec<u8>) -> Result<Self, Failure> {
        let digits = Zeroizing::new(digits);
        Ok(RawMasterKey::new(decode(&digits)?).map(Self::raw)?)
    }

    /// A random one.
    pub fn random() -> Result<Self, Failure> {
        Ok(RawMasterKey::random(&mut SysRng).map(Self::raw)?)
    }

    /// The one that protects nothing.
    pub fn plaintext() -> Self {
        Self(CoreMasterKey::Plaintext)
    }

    fn raw(key: RawMasterKey) -> Self {
        Self(CoreMasterKey::Raw(key))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> String {
        self.0.kind().to_owned()
    }

    /// Whether it protects anything.
    pub fn is_secure(&self) -> bool {
        self.0.is_secure()
    }

    /// The name by which sealed objects know it.
    pub fn reference(&self) -> Option<String> {
        match &self.0 {
            CoreMasterKey::Raw(key) => Some(key.reference()),
            _ => None,
        }
    }

    /// The bytes in a new array; none for plaintext.
    pub fn danger_export(&self) -> Uint8Array {
        match &self.0 {
            CoreMasterKey::Raw(key) => Uint8Array::from(key.secret().danger_bytes()),
            _ => Uint8Array::new_with_length(0),
        }
    }
}

/// Positions in messages count from 1, those of the error from 0; neither says what stands there.
fn decode(text: &[u8]) -> Result<SecretBytes, Failure> {
    let before = text.len() - text.trim_ascii_start().len();
    let digits = text.trim_ascii();
    match SecretBytes::from_hex(digits) {
        Ok(bytes) if digits.len() == DIGITS => Ok(bytes),
        Err(NotHexadecimal { at }) if at < digits.len() => {
            let position = before + at;
            let message = format!(
                "master key: character {} is not a hexadecimal digit; a master key is {DIGITS} of them: check the key for a typo",
                position + 1
            );
            Err(Failure::usage("typo", message).at(position as u64))
        }
        _ => {
            let message = format!(
                "master key: {} hexadecimal digits found, expected {DIGITS}; check that the whole key was copied",
                digits.len()
            );
            Err(Failure::usage("typo", message))
        }
    }
}

/// A data key with its cipher.
#[wasm_bindgen]
#[derive(Debug)]
pub struct DataKey(pub(crate) CoreDataKey);

#[wasm_bindgen]
impl DataKey {
    /// Takes the bytes over. `method` is a name.
    pub fn from_bytes(method: &str, bytes: Vec<u8>) -> Result<Self, Failure> {
        let bytes = SecretBytes::new(bytes);
        Ok(CoreDataKey::new(cipher(method)?, bytes).map(Self)?)
    }

    /// A random one.
    pub fn random(method: &str) -> Result<Self, Failure> {
        Ok(CoreDataKey::random(cipher(method)?, &mut SysRng).map(Self)?)
    }

    /// The name of its method.
    pub fn method(&self) -> String {
        self.0.cipher().method().name().to_owned()
    }

    /// The bytes in a new array.
    pub fn danger_export(&self) -> Uint8Array {
        Uint8Array::from(self.0.secret().danger_bytes())
    }
}

fn cipher(method: &str) -> Result<Cipher, Failure> {
    let method: Method = method.parse().map_err(Failure::from)?;
    let misuse = stillkey_core::error::Misuse::PlaintextHasNoStream;
    Ok(method.cipher().ok_or(Error::from(misuse))?)
}
