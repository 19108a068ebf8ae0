//! Who keeps key material, and does the cryptography with it.
//!
//! The model decides; a [`MaterialKeeper`] generates, seals, opens and imports. What it keeps is a
//! closed box to the model: bytes for the snapshot, and what the keeper itself put beside them.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::blob::{self, BlobHeader, BlobSuite, CiphertextBlob};
use super::id::Id;
use super::import::{self, WrappingAlgorithm};
use super::key::ProtectionLevel;
use crate::error::Error;
use crate::gcm;
use crate::random::RandomSource;
use crate::secret::SecretBytes;

const MATERIAL_LEN: usize = 32;

/// Which material it is: keepers bind what they keep to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The key.
    pub key: Id,
    /// Its version; of an import's private key, the id of its token.
    pub version: Id,
    /// Where it has to be.
    pub level: ProtectionLevel,
}

/// Key material as its keeper keeps it.
pub struct KeptMaterial {
    sealed: Vec<u8>,
    secret: Option<SecretBytes>,
}

impl KeptMaterial {
    /// What a keeper keeps: `sealed` goes to the snapshot as it is, so nobody but the keeper may
    /// be able to read it; `secret` stays in memory.
    pub fn new(sealed: Vec<u8>, secret: Option<SecretBytes>) -> Self {
        Self { sealed, secret }
    }

    /// What goes to the snapshot.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// What only memory has; `None` where the keeper put nothing, or could not read `sealed`.
    pub fn secret(&self) -> Option<&SecretBytes> {
        self.secret.as_ref()
    }
}

impl fmt::Debug for KeptMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptMaterial({} bytes sealed)", self.sealed.len())
    }
}

impl PartialEq for KeptMaterial {
    /// By what goes to the snapshot.
    fn eq(&self, other: &Self) -> bool {
        self.sealed == other.sealed
    }
}

impl Eq for KeptMaterial {}

/// Why a keeper couldn't do it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeeperError {
    /// Ciphertext, context or material don't belong together. It doesn't say which.
    NotAuthentic,
    /// The keeper can't answer now: a module is gone, a random number generator failed.
    Unavailable(String),
    /// The material is damaged where it is stored.
    Damaged(String),
    /// No import with this algorithm; what there is instead.
    UnsupportedAlgorithm(&'static str),
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthentic => {
                f.write_str("ciphertext, encryption context and key don't belong together")
            }
            Self::Unavailable(why) => write!(f, "{why}; try again"),
            Self::Damaged(finding) => write!(f, "the key material is damaged: {finding}"),
            Self::UnsupportedAlgorithm(instead) => {
                write!(f, "no import with this algorithm; expected {instead}")
            }
        }
    }
}

impl core::error::Error for KeeperError {}

impl From<Error> for KeeperError {
    /// Of a random number generator, which is all that fails here otherwise.
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) => Self::Unavailable(why),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A pair of keys for an import.
#[derive(Debug)]
pub struct ImportPair {
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// As the keeper keeps it.
    pub private_key: KeptMaterial,
}

/// What came out of an import.
#[derive(Debug)]
pub struct Unwrapped {
    /// The material; random bytes where `valid` is false.
    pub material: KeptMaterial,
    /// Tells it from others: the same for the same material under the same key, always.
    pub fingerprint: [u8; 32],
    /// Whether it decrypted, to as many bytes as expected.
    pub valid: bool,
}

/// Keeps key material and does the cryptography with it. The software one is [`SoftwareKeeper`].
pub trait MaterialKeeper: Send + Sync + fmt::Debug {
    /// Whether there is a place for material of this level.
    fn offers(&self, level: ProtectionLevel) -> bool;

    /// New material: 32 random bytes.
    ///
    /// # Errors
    /// [`KeeperError::Unavailable`].
    fn generate(
        &self,
        place: &Place,
        random: &mut dyn RandomSource,
    ) -> Result<KeptMaterial, KeeperError>;

    /// What [`KeptMaterial::sealed`] gave, read back from a snapshot. Where it can't be read, the
    /// material is kept without its secret, so that the rest stays usable.
    fn load(&self, place: &Place, sealed: Vec<u8>) -> KeptMaterial;

    /// Encrypts into a blob. `context` is in its canonical form.
    ///
    /// # Errors
    /// [`KeeperError::Unavailable`], [`KeeperError::Damaged`].
    fn seal(
        &self,
        place: &Place,
        material: &KeptMaterial,
        plaintext: &[u8],
        context: &[u8],
        random: &mut dyn RandomSource,
    ) -> Result<Vec<u8>, KeeperError>;

    /// Decrypts a blob that names this key and version. `context` is in its canonical form.
    ///
    /// # Errors
    /// [`KeeperError::NotAuthentic`] whether blob or context were changed; also
    /// [`KeeperError::Unavailable`], [`KeeperError::Damaged`].
    fn open(
        &self,
        place: &Place,
        material: &KeptMaterial,
        blob: &CiphertextBlob<'_>,
        context: &[u8],
    ) -> Result<SecretBytes, KeeperError>;

    /// A new 2,048-bit RSA pair for the import of material. `place` has the id of its token.
    ///
    /// # Errors
    /// [`KeeperError::UnsupportedAlgorithm`], [`KeeperError::Unavailable`].
    fn import_pair(
        &self,
        place: &Place,
        algorithm: WrappingAlgorithm,
        random: &mut dyn RandomSource,
    ) -> Result<ImportPair, KeeperError>;

    /// Decrypts imported material. Whatever is wrong with it, the same work is done: random bytes
    /// take its place, and the caller refuses them later, where it refuses other material, too.
    ///
    /// # Errors
    /// [`KeeperError::UnsupportedAlgorithm`], [`KeeperError::Unavailable`],
    /// [`KeeperError::Damaged`]: never about what was imported.
    fn unwrap_import(
        &self,
        import: &WrappedMaterial<'_>,
        place: &Place,
        store_key: &SecretBytes,
        random: &mut dyn RandomSource,
    ) -> Result<Unwrapped, KeeperError>;

    /// Destroys material that nothing durable names any more. What is destroyed already is fine.
    ///
    /// # Errors
    /// [`KeeperError::Unavailable`].
    fn destroy(&self, place: &Place, material: &KeptMaterial) -> Result<(), KeeperError>;
}

/// What is imported.
#[derive(Clone, Copy, Debug)]
pub struct WrappedMaterial<'a> {
    /// Of [`ImportPair`].
    pub private_key: &'a KeptMaterial,
    /// Where that is.
    pub place: &'a Place,
    /// How the material is encrypted.
    pub algorithm: WrappingAlgorithm,
    /// The material, encrypted.
    pub wrapped: &'a [u8],
}

/// The part of an import that needs RSA, which is not in this crate.
pub trait ImportCipher: Send + Sync + fmt::Debug {
    /// A new pair of 2,048 bits: the public key as SubjectPublicKeyInfo, the private key as PKCS#8,
    /// both in DER.
    ///
    /// # Errors
    /// [`KeeperError::UnsupportedAlgorithm`] where the algorithm isn't offered,
    /// [`KeeperError::Unavailable`].
    fn generate(&self, algorithm: WrappingAlgorithm)
    -> Result<(Vec<u8>, SecretBytes), KeeperError>;

    /// Decrypts. `None` whatever is wrong with `wrapped`, and without telling by time what.
    ///
    /// # Errors
    /// [`KeeperError::Damaged`] where the private key can't be read,
    /// [`KeeperError::UnsupportedAlgorithm`], [`KeeperError::Unavailable`].
    fn unwrap(
        &self,
        private_key: &SecretBytes,
        algorithm: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError>;
}

/// Keeps material of the level SOFTWARE: in this process in [`SecretBytes`], and in snapshots
/// sealed with AES-256-GCM, each version's by itself and bound to its key and version.
#[derive(Debug)]
pub struct SoftwareKeeper {
    key: SecretBytes,
    rsa: Option<Arc<dyn ImportCipher>>,
}

const NONCE_LEN: usize = 12;

impl SoftwareKeeper {
    /// A keeper whose snapshots only the holder of `key`, 32 bytes, can read. Without `rsa`,
    /// nothing can be imported.
    ///
    /// # Errors
    /// [`crate::error::Misuse::KeyLength`].
    pub fn new(key: SecretBytes, rsa: Option<Arc<dyn ImportCipher>>) -> Result<Self, Error> {
        let key = crate::secret::DataKey::new(crate::method::Cipher::Aes256, key)?;
        Ok(Self {
            key: key.secret().duplicate(),
            rsa,
        })
    }

    fn keep(
        &self,
        place: &Place,
        secret: SecretBytes,
        random: &mut dyn RandomSource,
    ) -> Result<KeptMaterial, KeeperError> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        // Encrypted where secrets live: no copy of the plaintext is made elsewhere.
        let mut body = secret.duplicate();
        let tag = gcm::seal(&self.key, &nonce, &bound_to(place), body.bytes_mut())
            .map_err(|_| KeeperError::Damaged("it is too long".into()))?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + body.len() + gcm::TAG_LEN);
        sealed.extend(nonce);
        sealed.extend_from_slice(body.danger_bytes());
        sealed.extend(tag);
        Ok(KeptMaterial::new(sealed, Some(secret)))
    }

    fn unseal(&self, place: &Place, sealed: &[u8]) -> Option<SecretBytes> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let (body, tag) = rest.split_at_checked(rest.len().checked_sub(gcm::TAG_LEN)?)?;
        let mut secret = SecretBytes::copied(body);
        let tag = tag.try_into().ok()?;
        gcm::open(&self.key, nonce, &bound_to(place), secret.bytes_mut(), tag).ok()?;
        Some(secret)
    }

    fn rsa(&self) -> Result<&dyn ImportCipher, KeeperError> {
        self.rsa.as_deref().ok_or(KeeperError::UnsupportedAlgorithm(
            "a KMS that can import, which this one is built without",
        ))
    }
}

/// Refuses what lives elsewhere, and not as damaged: a module that is missing can come back.
fn in_software(place: &Place) -> Result<(), KeeperError> {
    match place.level {
        ProtectionLevel::Software => Ok(()),
        ProtectionLevel::Hsm => Err(KeeperError::Unavailable(
            "the key is in a hardware security module, and none is configured".into(),
        )),
    }
}

/// Key id and version id.
fn bound_to(place: &Place) -> [u8; 32] {
    let mut aad = [0; 32];
    let (key, version) = aad.split_at_mut(16);
    key.copy_from_slice(place.key.as_bytes());
    version.copy_from_slice(place.version.as_bytes());
    aad
}

fn secret_of(material: &KeptMaterial) -> Result<&SecretBytes, KeeperError> {
    material
        .secret()
        .ok_or_else(|| KeeperError::Damaged("it doesn't open under the key of its keeper".into()))
}

impl MaterialKeeper for SoftwareKeeper {
    fn offers(&self, level: ProtectionLevel) -> bool {
        level == ProtectionLevel::Software
    }

    fn generate(
        &self,
        place: &Place,
        random: &mut dyn RandomSource,
    ) -> Result<KeptMaterial, KeeperError> {
        in_software(place)?;
        let mut secret = SecretBytes::zeroed(MATERIAL_LEN);
        random.fill(secret.bytes_mut())?;
        self.keep(place, secret, random)
    }

    fn load(&self, place: &Place, sealed: Vec<u8>) -> KeptMaterial {
        let secret = self.unseal(place, &sealed);
        KeptMaterial::new(sealed, secret)
    }

    fn seal(
        &self,
        place: &Place,
        material: &KeptMaterial,
        plaintext: &[u8],
        context: &[u8],
        random: &mut dyn RandomSource,
    ) -> Result<Vec<u8>, KeeperError> {
        in_software(place)?;
        let mut header = BlobHeader {
            suite: BlobSuite::Aes256Gcm,
            key: place.key,
            version: place.version,
            salt: [0; 16],
            nonce: [0; 12],
        };
        let mut drawn = [0; 28];
        random.fill(&mut drawn)?;
        let (salt, nonce) = drawn.split_at(16);
        header.salt.copy_from_slice(salt);
        header.nonce.copy_from_slice(nonce);
        blob::seal(secret_of(material)?, &header, context, plaintext)
    }

    fn open(
        &self,
        place: &Place,
        material: &KeptMaterial,
        blob: &CiphertextBlob<'_>,
        context: &[u8],
    ) -> Result<SecretBytes, KeeperError> {
        in_software(place)?;
        if blob.suite() != BlobSuite::Aes256Gcm {
            return Err(KeeperError::NotAuthentic);
        }
        blob::open(secret_of(material)?, blob, context)
    }

    fn import_pair(
        &self,
        place: &Place,
        algorithm: WrappingAlgorithm,
        random: &mut dyn RandomSource,
    ) -> Result<ImportPair, KeeperError> {
        in_software(place)?;
        let (public_key, private_key) = self.rsa()?.generate(algorithm)?;
        Ok(ImportPair {
            public_key,
            private_key: self.keep(place, private_key, random)?,
        })
    }

    fn unwrap_import(
        &self,
        import: &WrappedMaterial<'_>,
        place: &Place,
        store_key: &SecretBytes,
        random: &mut dyn RandomSource,
    ) -> Result<Unwrapped, KeeperError> {
        in_software(place)?;
        // Drawn before anybody knows whether it is needed.
        let mut substitute = SecretBytes::zeroed(MATERIAL_LEN);
        random.fill(substitute.bytes_mut())?;
        let private_key = secret_of(import.private_key)?;
        let unwrapped = self
            .rsa()?
            .unwrap(private_key, import.algorithm, import.wrapped)?;
        let (secret, valid) = match unwrapped {
            Some(secret) if secret.len() == MATERIAL_LEN => (secret, true),
            _ => (substitute, false),
        };
        Ok(Unwrapped {
            fingerprint: import::fingerprint(store_key, place.key, &secret),
            material: self.keep(place, secret, random)?,
            valid,
        })
    }

    fn destroy(&self, _: &Place, _: &KeptMaterial) -> Result<(), KeeperError> {
        // Dropping it zeroizes the only copy; snapshots that have it sealed are the store's.
        Ok(())
    }
}
