//! Counter mode over a buffer that stays: JavaScript copies a piece in, has it encrypted or decrypted, and copies it out.
//!
//! So a call allocates nothing, memory never grows with the data, and no copy of it is left to the allocator.

use js_sys::Uint8Array;
use stillkey_core::{CipherProvider, CtrStream as CoreCtrStream, Iv, SecretBytes};
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::keys::DataKey;
use stillkey_wasm::Simd;

/// The name of this module's kernels: `simd128` or `portable`.
#[wasm_bindgen]
pub fn kernel_name() -> String {
    Simd.name(stillkey_core::Cipher::Aes256).to_owned()
}

/// A buffer at an address that doesn't change.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Scratch(Zeroizing<Vec<u8>>);

#[wasm_bindgen]
impl Scratch {
    /// A buffer of `len` bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(len: usize) -> Self {
        Self(Zeroizing::new(vec![0; len]))
    }

    /// Its address in this module's memory.
    pub fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Overwrites the first `len` bytes with zeros.
    pub fn clear(&mut self, len: usize) {
        let len = len.min(self.0.len());
        if let Some(bytes) = self.0.get_mut(..len) {
            zeroize::Zeroize::zeroize(bytes);
        }
    }
}

/// A counter-mode stream.
#[wasm_bindgen]
#[derive(Debug)]
pub struct CtrStream {
    stream: CoreCtrStream,
    /// For WebCrypto and workers, which have to be given it.
    key: SecretBytes,
}

impl CtrStream {
    /// A stream that exists, and its key.
    pub(crate) fn with_key(stream: CoreCtrStream, key: SecretBytes) -> Self {
        Self { stream, key }
    }
}

#[wasm_bindgen]
impl CtrStream {
    /// A stream for one file.
    #[wasm_bindgen(constructor)]
    pub fn new(key: &DataKey, iv: &[u8]) -> Result<Self, Failure> {
        let iv = Iv::try_from(iv)?;
        Ok(Self {
            stream: CoreCtrStream::with_provider(&Simd, &key.0, iv),
            key: key.0.secret().duplicate(),
        })
    }

    /// The key in a new array.
    pub fn danger_key(&self) -> Uint8Array {
        Uint8Array::from(self.key.danger_bytes())
    }

    /// Encrypts or decrypts the first `len` bytes of `scratch`, which stand at byte `offset` of the file.
    pub fn apply_at(&self, offset: u64, scratch: &mut Scratch, len: usize) -> Result<(), Failure> {
        let Some(data) = scratch.0.get_mut(..len) else {
            return Err(Failure::usage("misuse", "more bytes than the buffer has"));
        };
        Ok(self.stream.apply_at(offset, data)?)
    }
}

/// The counter block of a file's byte `offset`, which starts a block.
#[wasm_bindgen]
pub fn counter_at(iv: &[u8], offset: u64) -> Result<Vec<u8>, Failure> {
    Ok(Iv::try_from(iv)?.at_block(offset / 16).as_bytes().to_vec())
}

/// The vector of one file in a TiFlash group.
#[wasm_bindgen]
pub fn iv_for_tiflash_file(iv: &[u8], file_name: &str) -> Result<Vec<u8>, Failure> {
    let iv = Iv::try_from(iv)?.for_tiflash_file(file_name);
    Ok(iv.as_bytes().to_vec())
}
