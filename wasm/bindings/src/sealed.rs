//! Sealed objects: the header, and a body chunk by chunk.

use std::sync::{Arc, OnceLock};

use getrandom::SysRng;
use js_sys::Uint8Array;
use stillkey_core::cipher::{Aead, AeadKernel, AeadKey, CipherProvider, CtrKernel};
use stillkey_core::sealed::{Body as CoreBody, Header as CoreHeader, Options, SuiteBody};
use stillkey_core::{
    Cipher, DataKey, EncryptionContext, Iv, MasterKey as CoreMasterKey, SecretBytes,
};
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroizing;

use crate::failure::{Failure, to_number};
use crate::keys::MasterKey;
use crate::stream::CtrStream;
use stillkey_wasm::Simd;

/// Master keys and an encryption context.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct MasterKeys {
    keys: Vec<CoreMasterKey>,
    context: EncryptionContext,
}

#[wasm_bindgen]
impl MasterKeys {
    /// Without any key.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    pub fn push(&mut self, key: &MasterKey) {
        self.keys.push(key.0.clone());
    }

    /// Adds a pair to the context.
    pub fn bind(&mut self, key: String, value: String) {
        self.context.insert(key, value);
    }
}

/// The header of a sealed object.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Header(CoreHeader);

#[wasm_bindgen]
impl Header {
    /// Bytes that tell how long a header is.
    pub fn prefix_len() -> usize {
        CoreHeader::PREFIX_LEN
    }

    /// How long the header is that starts with `prefix`.
    pub fn len_of(prefix: &[u8]) -> Result<usize, Failure> {
        Ok(CoreHeader::len_of(prefix)?)
    }

    /// Reads the header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(CoreHeader::parse(bytes).map(Self)?)
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.as_bytes().len()
    }

    /// Whether it has no bytes, which no header has.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The suite's name.
    pub fn suite(&self) -> String {
        self.0.suite().name().to_owned()
    }

    /// Plaintext bytes in each chunk but the last.
    pub fn chunk_size(&self) -> Option<usize> {
        self.0.chunk_size()
    }

    /// The initialization vector.
    pub fn iv(&self) -> Vec<u8> {
        self.0.iv().as_bytes().to_vec()
    }

    /// The numbers of the recipients' key providers.
    pub fn recipient_providers(&self) -> Vec<u8> {
        let recipients = self.0.recipients().iter();
        recipients.map(|recipient| recipient.provider).collect()
    }

    /// The references of the recipients' master keys.
    pub fn recipient_references(&self) -> Vec<String> {
        let recipients = self.0.recipients().iter();
        recipients
            .map(|recipient| recipient.wrapped.reference.clone())
            .collect()
    }

    /// Opens it.
    pub fn open(&self, keys: &MasterKeys) -> Result<Body, Failure> {
        let provider = Keeping::default();
        let body = self.0.open(&keys.keys, &keys.context, &provider)?;
        Body::new(body, &self.0, provider)
    }

    /// The header with the recipients of `added` as well, and without those whose row `keep` has a 0 for.
    pub fn reseal(
        &self,
        keys: &MasterKeys,
        keep: &[u8],
        added: &MasterKeys,
    ) -> Result<Vec<u8>, Failure> {
        let recipients = self.0.recipients();
        let kept = |recipient: &_| {
            let row = recipients.iter().position(|other| other == recipient);
            row.and_then(|row| keep.get(row))
                .is_some_and(|kept| *kept != 0)
        };
        let added = &added.keys;
        let header = self
            .0
            .reseal(&keys.keys, &keys.context, kept, added, &mut SysRng)?;
        Ok(header.as_bytes().to_vec())
    }
}

/// The module's kernels, and the key that one was made for: WebCrypto and workers have to be given it.
#[derive(Debug, Default)]
struct Keeping(OnceLock<SecretBytes>);

impl Keeping {
    fn keep(&self, key: &SecretBytes) {
        // A body has one key.
        drop(self.0.set(key.duplicate()));
    }
}

impl CipherProvider for Keeping {
    fn name(&self, cipher: Cipher) -> &'static str {
        Simd.name(cipher)
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        self.keep(key.secret());
        Simd.ctr(key)
    }

    fn aead(&self, key: &AeadKey) -> Box<dyn AeadKernel> {
        self.keep(key.secret());
        Simd.aead(key)
    }
}

/// An object's body with its key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Body {
    body: CoreBody,
    key: SecretBytes,
    iv: Iv,
    /// Of a new object, the header.
    header: Vec<u8>,
}

impl Body {
    fn new(body: CoreBody, header: &CoreHeader, keeping: Keeping) -> Result<Self, Failure> {
        let key = keeping.0.into_inner();
        Ok(Self {
            body,
            key: key.ok_or_else(|| Failure::usage("misuse", "a body without a key"))?,
            iv: header.iv(),
            header: Vec::new(),
        })
    }
}

#[wasm_bindgen]
impl Body {
    /// A new object's body. `suite` is a name.
    pub fn create(suite: &str, chunk_exponent: u8, keys: &MasterKeys) -> Result<Self, Failure> {
        let options = Options {
            suite: suite.parse()?,
            chunk_exponent,
        };
        let provider = Keeping::default();
        let (header, body) =
            CoreHeader::create(&options, &keys.keys, &keys.context, &provider, &mut SysRng)?;
        let mut created = Self::new(body, &header, provider)?;
        created.header = header.as_bytes().to_vec();
        Ok(created)
    }

    /// The header of a new object.
    pub fn header(&self) -> Vec<u8> {
        self.header.clone()
    }

    /// The initialization vector; of chunks, the nonces' prefix is its beginning.
    pub fn iv(&self) -> Vec<u8> {
        self.iv.as_bytes().to_vec()
    }

    /// The body's key in a new array.
    pub fn danger_key(&self) -> Uint8Array {
        Uint8Array::from(self.key.danger_bytes())
    }

    /// The stream of a body without integrity.
    pub fn stream(&self) -> Option<CtrStream> {
        match &self.body {
            CoreBody::Stream(stream) => {
                Some(CtrStream::with_key(stream.clone(), self.key.duplicate()))
            }
            _ => None,
        }
    }

    /// Seals one chunk.
    pub fn seal_chunk(
        &self,
        number: u64,
        last: bool,
        plaintext: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let plaintext = Zeroizing::new(plaintext);
        let CoreBody::Chunked(chunks) = &self.body else {
            return Err(Failure::usage("misuse", "a stream has no chunks"));
        };
        let mut sealed = Vec::new();
        chunks.seal(number, last, &plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Length of the plaintext in a body of `body_len` bytes.
    pub fn plaintext_len(&self, body_len: u64) -> Result<f64, Failure> {
        Ok(to_number(match &self.body {
            CoreBody::Chunked(chunks) => chunks.layout(body_len)?.plaintext_len,
            _ => body_len,
        }))
    }

    /// Opens one chunk.
    pub fn open_chunk(
        &self,
        number: u64,
        last: bool,
        sealed: &[u8],
    ) -> Result<Uint8Array, Failure> {
        let CoreBody::Chunked(chunks) = &self.body else {
            return Err(Failure::usage("misuse", "a stream has no chunks"));
        };
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        chunks.open(number, last, sealed, &mut plaintext)?;
        Ok(Uint8Array::from(plaintext.as_slice()))
    }
}

/// A suite's authenticated cipher with its key, for whoever knows the nonces: a worker.
#[wasm_bindgen]
pub struct ChunkCipher(Box<dyn AeadKernel>);

#[wasm_bindgen]
impl ChunkCipher {
    /// Takes the key over. `suite` is a name.
    #[wasm_bindgen(constructor)]
    pub fn new(suite: &str, key: Vec<u8>) -> Result<Self, Failure> {
        let key = SecretBytes::new(key);
        let aead: Aead = match suite.parse::<stillkey_core::sealed::Suite>()?.body() {
            SuiteBody::Chunked(aead) => aead,
            _ => return Err(Failure::usage("misuse", "a stream has no chunks")),
        };
        Ok(Self(Simd.aead(&AeadKey::new(aead, key)?)))
    }

    /// Seals a chunk: ciphertext and tag.
    pub fn seal(&self, nonce: &[u8], plaintext: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let mut chunk = Zeroizing::new(plaintext);
        let tag = self
            .0
            .seal(&nonce_of(nonce)?, chunk.as_mut_slice().into())
            .map_err(|_| Failure::usage("misuse", "this chunk is too long"))?;
        let mut sealed = std::mem::take(&mut *chunk);
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens a chunk; none when its tag doesn't fit.
    pub fn open(&self, nonce: &[u8], sealed: &[u8]) -> Result<Option<Uint8Array>, Failure> {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<16>() else {
            return Ok(None);
        };
        let mut chunk = Zeroizing::new(ciphertext.to_vec());
        let data = chunk.as_mut_slice().into();
        let opened = self.0.open(&nonce_of(nonce)?, data, tag).is_ok();
        Ok(opened.then(|| Uint8Array::from(chunk.as_slice())))
    }
}

impl std::fmt::Debug for ChunkCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkCipher")
    }
}

fn nonce_of(nonce: &[u8]) -> Result<[u8; 12], Failure> {
    let wrong = |_| Failure::usage("misuse", "a nonce has 12 bytes");
    nonce.try_into().map_err(wrong)
}
