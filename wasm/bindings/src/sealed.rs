//! Sealed objects: the header, and a body piece by piece or by place.

use getrandom::SysRng;
use js_sys::Uint8Array;
use stillkey_core::sealed::{
    Body as CoreBody, Header as CoreHeader, Opener as CoreOpener, Options, Sealer as CoreSealer,
};
use stillkey_core::{EncryptionContext, MasterKey as CoreMasterKey};
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
        let body = self.0.open(&keys.keys, &keys.context, &Simd)?;
        Ok(Body(body))
    }
}

/// An object's body with its key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Body(CoreBody);

#[wasm_bindgen]
impl Body {
    /// The stream of a body without integrity.
    pub fn stream(&self) -> Option<CtrStream> {
        match &self.0 {
            CoreBody::Stream(stream) => Some(CtrStream::keyless(stream.clone())),
            _ => None,
        }
    }

    /// Length of the plaintext in a body of `body_len` bytes.
    pub fn plaintext_len(&self, body_len: u64) -> Result<f64, Failure> {
        Ok(to_number(match &self.0 {
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
        let CoreBody::Chunked(chunks) = &self.0 else {
            return Err(Failure::usage("misuse", "a stream has no chunks"));
        };
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        chunks.open(number, last, sealed, &mut plaintext)?;
        Ok(Uint8Array::from(plaintext.as_slice()))
    }

    /// Goes through it from its start.
    pub fn opener(self) -> Opener {
        Opener(Some(CoreOpener::new(self.0)))
    }
}

/// Opens a body piece by piece.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Opener(Option<CoreOpener>);

#[wasm_bindgen]
impl Opener {
    /// Takes bytes of the body in and gives out plaintext.
    pub fn push(&mut self, body: &[u8]) -> Result<Uint8Array, Failure> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(body.len()));
        let opener = self.0.as_mut().ok_or_else(ended)?;
        opener.push(body, &mut plaintext)?;
        Ok(Uint8Array::from(plaintext.as_slice()))
    }

    /// The end of the body: gives out the last of the plaintext.
    pub fn finish(&mut self) -> Result<Uint8Array, Failure> {
        let mut plaintext = Zeroizing::new(Vec::new());
        let opener = self.0.take().ok_or_else(ended)?;
        opener.finish(&mut plaintext)?;
        Ok(Uint8Array::from(plaintext.as_slice()))
    }
}

/// Seals an object piece by piece.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Sealer {
    sealer: Option<CoreSealer>,
    /// The header, until it has been given out.
    header: Vec<u8>,
}

#[wasm_bindgen]
impl Sealer {
    /// Starts an object. `suite` is a name.
    #[wasm_bindgen(constructor)]
    pub fn new(suite: &str, chunk_exponent: u8, keys: &MasterKeys) -> Result<Self, Failure> {
        let options = Options {
            suite: suite.parse()?,
            chunk_exponent,
        };
        let mut header = Vec::new();
        let sealer = CoreSealer::new(
            &options,
            &keys.keys,
            &keys.context,
            &Simd,
            &mut SysRng,
            &mut header,
        )?;
        let sealer = Some(sealer);
        Ok(Self { sealer, header })
    }

    /// Takes plaintext over and gives out what is sealed, the header first.
    pub fn push(&mut self, plaintext: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let plaintext = Zeroizing::new(plaintext);
        let mut out = std::mem::take(&mut self.header);
        let sealer = self.sealer.as_mut().ok_or_else(ended)?;
        out.reserve(plaintext.len() + plaintext.len() / 64);
        sealer.push(&plaintext, &mut out)?;
        Ok(out)
    }

    /// The end of the plaintext: gives out the rest of the object.
    pub fn finish(&mut self) -> Result<Vec<u8>, Failure> {
        let mut out = std::mem::take(&mut self.header);
        let sealer = self.sealer.take().ok_or_else(ended)?;
        sealer.finish(&mut out)?;
        Ok(out)
    }
}

fn ended() -> Failure {
    Failure::usage("misuse", "the end was declared before")
}
