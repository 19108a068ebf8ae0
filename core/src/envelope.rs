//! The envelope around a key dictionary or backup key: `encryptionpb.EncryptedContent`, sealed with AES-256-GCM.
//!
//! The metadata names the method and carries nonce, tag and, behind a key service, the wrapped key. It is not authenticated itself.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::context::EncryptionContext;
use crate::error::{Damage, Error, Finding, Misuse, Part, Unsupported, WrongMasterKey};
use crate::format::protobuf::{self, Fields, Message, ProtoError, Sink, UnknownFields};
use crate::gcm::{self, GcmError};
use crate::master::{MasterKey, WrappedKey, new_key};
use crate::secret::SecretBytes;

const METHOD: &str = "method";
const METHOD_PLAINTEXT: &[u8] = b"plaintext";
const METHOD_AES256_GCM: &[u8] = b"aes256-gcm";
const IV: &str = "iv";
const TAG: &str = "aes_gcm_tag";
const KMS_VENDOR: &str = "kms_vendor";
const KMS_CIPHERTEXT_KEY: &str = "kms_ciphertext_key";
/// Ours: TiKV passes over entries that it doesn't know, and drops them when it seals anew.
const KMS_KEY_VERSION: &str = "stillkey_kms_key_version";

/// Length of the data-encryption key behind a key service, in bytes.
const KEY_LEN: usize = 32;

/// A sealed payload with its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    metadata: BTreeMap<String, Vec<u8>>,
    /// Under [`MasterKey::Plaintext`] this is the payload itself, hence zeroized.
    content: Zeroizing<Vec<u8>>,
    unknown: UnknownFields,
}

/// How an envelope is sealed, as far as it can be told without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealing {
    /// `plaintext`, `aes256-gcm`, or what the envelope says; `None` when it says nothing.
    pub method: Option<String>,
    /// The key service's vendor, where one sealed it.
    pub vendor: Option<String>,
    /// Length of the wrapped key in bytes, where there is one.
    pub wrapped_key_len: Option<usize>,
    /// The version of the key service's master key that wrapped the key, where the service reported one. It isn't authenticated.
    pub key_version: Option<String>,
    /// Length of the payload in bytes.
    pub payload_len: usize,
}

impl Envelope {
    /// Seals `payload` under `master_key`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the key service or `rng` fails.
    pub fn seal<R: TryCryptoRng + ?Sized>(
        payload: &SecretBytes,
        master_key: &MasterKey,
        rng: &mut R,
    ) -> Result<Self, Error> {
        let mut envelope = Self::default();
        match master_key {
            MasterKey::Plaintext => return Ok(Self::in_the_clear(payload)),
            MasterKey::Raw(key) => envelope.seal_under(key.secret(), payload, rng)?,
            MasterKey::Service(service) => {
                let context = EncryptionContext::new();
                let (key, wrapped) = new_key(&**service, KEY_LEN, &context, rng)?;
                envelope.seal_under(&key, payload, rng)?;
                envelope
                    .metadata
                    .insert(KMS_VENDOR.to_owned(), service.vendor().as_bytes().to_vec());
                envelope
                    .metadata
                    .insert(KMS_CIPHERTEXT_KEY.to_owned(), wrapped.blob);
                if !wrapped.version.is_empty() {
                    let version = wrapped.version.into_bytes();
                    envelope
                        .metadata
                        .insert(KMS_KEY_VERSION.to_owned(), version);
                }
            }
        }
        Ok(envelope)
    }

    /// Wraps `payload` without encrypting it: what [`MasterKey::Plaintext`] does, and every file dictionary of version 1.
    pub(crate) fn in_the_clear(payload: &SecretBytes) -> Self {
        Self {
            metadata: [(METHOD.to_owned(), METHOD_PLAINTEXT.to_vec())].into(),
            content: Zeroizing::new(payload.danger_bytes().to_vec()),
            unknown: UnknownFields::default(),
        }
    }

    fn seal_under<R: TryCryptoRng + ?Sized>(
        &mut self,
        key: &SecretBytes,
        payload: &SecretBytes,
        rng: &mut R,
    ) -> Result<(), Error> {
        let iv = crate::random::array(rng)?;
        let mut content = payload.danger_bytes().to_vec();
        let tag =
            gcm::seal(key, &iv, &[], &mut content).map_err(|error| gcm_error(error, key, &iv))?;
        self.metadata
            .insert(METHOD.to_owned(), METHOD_AES256_GCM.to_vec());
        self.metadata.insert(IV.to_owned(), iv.to_vec());
        self.metadata.insert(TAG.to_owned(), tag.to_vec());
        self.content = Zeroizing::new(content);
        Ok(())
    }

    /// Opens the envelope.
    ///
    /// A raw master key opens what a key service sealed if it is that data-encryption key, as in TiKV.
    ///
    /// # Errors
    /// - [`Error::WrongMasterKey`]: another key, another way of sealing, or damage that no checksum caught; TiKV falls back here.
    /// - [`Error::OtherMasterKeyKind`]: a kind or vendor other than the one given; TiKV stops here.
    /// - [`Error::Damaged`]: metadata that is missing or of the wrong length, an unwrapped key of the wrong length; `at` counts from the
    ///   start of the envelope.
    /// - [`Error::Unsupported`]: a method that isn't known.
    /// - [`Error::Unavailable`]: the key service could not answer.
    pub fn open(&self, master_key: &MasterKey) -> Result<SecretBytes, Error> {
        match master_key {
            MasterKey::Plaintext => match self.method()? {
                METHOD_PLAINTEXT => Ok(SecretBytes::copied(&self.content)),
                other => Err(WrongMasterKey::Sealed {
                    method: lossy(other),
                }
                .into()),
            },
            MasterKey::Raw(key) => {
                self.expect_aes256_gcm(master_key.kind())?;
                self.open_under(key.secret())
            }
            MasterKey::Service(service) => {
                // The vendor comes first: without one, even a damaged envelope is "not sealed by a key service".
                let vendor = self
                    .metadata
                    .get(KMS_VENDOR)
                    .ok_or(WrongMasterKey::NoKeyService)?;
                if vendor != service.vendor().as_bytes() {
                    return Err(other_kind(service.vendor(), vendor));
                }
                self.expect_aes256_gcm(service.vendor())?;
                let version = self.metadata.get(KMS_KEY_VERSION);
                let wrapped = WrappedKey {
                    blob: self.metadata(KMS_CIPHERTEXT_KEY)?.to_vec(),
                    version: version.map(|version| lossy(version)).unwrap_or_default(),
                    ..WrappedKey::default()
                };
                self.open_under(&service.unwrap(&wrapped, &EncryptionContext::new())?)
            }
        }
    }

    fn open_under(&self, key: &SecretBytes) -> Result<SecretBytes, Error> {
        let (iv, tag) = (self.metadata(IV)?, self.metadata(TAG)?);
        let tag = tag
            .try_into()
            .map_err(|_| metadata_length(TAG, "16", tag))?;
        let mut payload = SecretBytes::copied(&self.content);
        gcm::open(key, iv, &[], payload.bytes_mut(), tag)
            .map_err(|error| gcm_error(error, key, iv))?;
        Ok(payload)
    }

    /// How it is sealed.
    pub fn sealing(&self) -> Sealing {
        let text = |name| self.metadata.get(name).map(|value| lossy(value));
        Sealing {
            method: text(METHOD),
            vendor: text(KMS_VENDOR),
            wrapped_key_len: self.metadata.get(KMS_CIPHERTEXT_KEY).map(Vec::len),
            key_version: text(KMS_KEY_VERSION),
            payload_len: self.content.len(),
        }
    }

    /// The key that the payload is sealed under, as a key service wrapped it; `None` where none did. Not secret: the service has to unwrap it.
    pub fn wrapped_key(&self) -> Option<&[u8]> {
        self.metadata.get(KMS_CIPHERTEXT_KEY).map(Vec::as_slice)
    }

    /// Reads an envelope that stands alone, as in a log backup's metadata.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the bytes are not such a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::decode(bytes).map_err(|error| error.in_part(Part::Envelope, 0))
    }

    /// Its encoding; equal envelopes have equal encodings.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Where the payload stands in an encoded envelope that has been decoded without an error.
    pub(crate) fn payload_at(encoded: &[u8]) -> usize {
        let payload = Fields::new(encoded)
            .flatten()
            .filter(|field| field.number == 2);
        payload.last().map_or(0, |field| field.value_at())
    }

    fn method(&self) -> Result<&[u8], Error> {
        self.metadata(METHOD)
    }

    fn expect_aes256_gcm(&self, expected_kind: &str) -> Result<(), Error> {
        match self.method()? {
            METHOD_AES256_GCM => Ok(()),
            METHOD_PLAINTEXT => Err(other_kind(expected_kind, METHOD_PLAINTEXT)),
            other => Err(Unsupported::SealingMethod(lossy(other)).into()),
        }
    }

    fn metadata(&self, name: &'static str) -> Result<&[u8], Error> {
        self.metadata
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| damaged(Finding::MetadataMissing(name)))
    }
}

fn damaged(finding: Finding) -> Error {
    Damage {
        part: Part::Envelope,
        at: 0,
        finding,
    }
    .into()
}

fn metadata_length(name: &'static str, expected: &'static str, found: &[u8]) -> Error {
    damaged(Finding::MetadataLength {
        name,
        expected,
        found: found.len(),
    })
}

fn gcm_error(error: GcmError, key: &SecretBytes, iv: &[u8]) -> Error {
    match error {
        GcmError::KeyLength => damaged(Finding::UnwrappedKeyLength {
            expected: KEY_LEN,
            found: key.len(),
        }),
        GcmError::NonceLength => metadata_length(IV, "12 or 16", iv),
        GcmError::MessageLength => Misuse::FieldTooLong("the payload").into(),
        GcmError::Tag => WrongMasterKey::Tag.into(),
    }
}

fn other_kind(expected: &str, found: &[u8]) -> Error {
    Error::OtherMasterKeyKind {
        expected: expected.to_owned(),
        found: lossy(found),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Message for Envelope {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut envelope = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => {
                    let (key, value) = field.entry(|key| key.string(), |value| value.bytes())?;
                    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                    envelope.metadata.insert(key.to_owned(), value.to_vec());
                }
                2 => envelope.content = Zeroizing::new(field.bytes()?.to_vec()),
                _ => envelope.unknown.keep(&field),
            }
        }
        Ok(envelope)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        for (key, value) in &self.metadata {
            protobuf::put_entry(out, 1, |mut out| {
                protobuf::put_bytes_always(&mut out, 1, key.as_bytes());
                protobuf::put_bytes_always(&mut out, 2, value);
            });
        }
        protobuf::put_bytes(out, 2, &self.content);
        self.unknown.encode_to(out);
    }
}
