//! Key dictionaries: what is known about each key in columns, the keys themselves as handles.

use getrandom::SysRng;
use js_sys::Uint8Array;
use stillkey_core::{
    KeyDictionary as CoreKeyDictionary, Method, MethodNumber, RotationPolicy, RotationReason,
};
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroizing;

use crate::envelope::Sealing;
use crate::failure::Failure;
use crate::keys::{DataKey, MasterKey};

/// All data keys of a `key.dict`.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct KeyDictionary(CoreKeyDictionary);

#[wasm_bindgen]
impl KeyDictionary {
    /// One without keys.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a `key.dict`, which is taken over: in one that isn't sealed, there are keys.
    pub fn open(file: Vec<u8>, master_key: &MasterKey) -> Result<Self, Failure> {
        let file = Zeroizing::new(file);
        Ok(CoreKeyDictionary::open(&file, &master_key.0).map(Self)?)
    }

    /// How a `key.dict` is sealed.
    pub fn sealing(file: Vec<u8>) -> Result<Sealing, Failure> {
        let file = Zeroizing::new(file);
        Ok(Sealing(CoreKeyDictionary::envelope(&file)?.sealing()))
    }

    /// The bytes of a `key.dict`.
    pub fn seal(&mut self, master_key: &MasterKey) -> Result<Uint8Array, Failure> {
        let file = Zeroizing::new(self.0.seal(&master_key.0, &mut SysRng)?);
        Ok(Uint8Array::from(file.as_slice()))
    }

    /// The ids, ascending; the other columns are in this order.
    pub fn ids(&self) -> Vec<u64> {
        self.0.iter().map(|(id, _)| id).collect()
    }

    /// Numbers of the methods.
    pub fn methods(&self) -> Vec<i32> {
        self.0.iter().map(|(_, entry)| entry.method.0).collect()
    }

    /// Creation times in seconds since 1970.
    pub fn creation_times(&self) -> Vec<u64> {
        self.0
            .iter()
            .map(|(_, entry)| entry.creation_time)
            .collect()
    }

    /// 1 for each key that was ever stored unprotected, else 0.
    pub fn exposed(&self) -> Vec<u8> {
        self.0
            .iter()
            .map(|(_, entry)| u8::from(entry.was_exposed))
            .collect()
    }

    /// Lengths of the keys in bytes.
    pub fn key_lens(&self) -> Vec<u32> {
        let lens = self.0.iter().map(|(_, entry)| entry.key.len());
        lens.map(|len| u32::try_from(len).unwrap_or(u32::MAX))
            .collect()
    }

    /// The id of the key for new files; 0 for none.
    pub fn current_key_id(&self) -> u64 {
        self.0.current_key_id()
    }

    /// The key for files of `method`, a number; none for plaintext.
    pub fn data_key(&self, id: u64, method: i32) -> Result<Option<DataKey>, Failure> {
        Ok(self.0.data_key(id, MethodNumber(method))?.map(DataKey))
    }

    /// Why a new key is due: a reason's name, or none.
    pub fn rotation_due(
        &self,
        method: &str,
        period: u64,
        master_key_is_secure: bool,
        now: u64,
    ) -> Result<Option<String>, Failure> {
        let method = method.parse()?;
        let policy = RotationPolicy { method, period };
        let reason = self.0.rotation_due(&policy, master_key_is_secure, now)?;
        Ok(reason.map(|reason| name(reason).to_owned()))
    }

    /// Adds a key that was made elsewhere and returns its id; one that is there already has one.
    pub fn import(&mut self, key: &DataKey, now: u64) -> Result<u64, Failure> {
        if let Some(id) = self.0.id_of(&key.0) {
            return Ok(id);
        }
        let (secret, method) = (key.0.secret().duplicate(), key.0.cipher().method());
        Ok(self.0.add(secret, method, now, &mut SysRng)?)
    }

    /// Makes a new key current and returns its id.
    pub fn rotate(&mut self, method: &str, now: u64) -> Result<u64, Failure> {
        let method: Method = method.parse()?;
        Ok(self.0.rotate(method, now, &mut SysRng)?)
    }
}

fn name(reason: RotationReason) -> &'static str {
    match reason {
        RotationReason::NoCurrentKey => "no-current-key",
        RotationReason::MethodChanged => "method-changed",
        RotationReason::Exposed => "exposed",
        RotationReason::Expired { .. } => "expired",
        RotationReason::CreatedInTheFuture => "created-in-the-future",
        _ => "other",
    }
}
