//! The ciphertext blob: what Encrypt and GenerateDataKey give and Decrypt takes.
//!
//! Each message has a key of its own, derived from the version's material and a random salt, so
//! that random nonces can't collide however many messages a version encrypts. The whole header is
//! authenticated, so that ids can't be exchanged. The format is for ever.

use alloc::vec::Vec;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;

use super::id::Id;
use super::material::KeeperError;
use super::refusal::Cause;
use crate::format::cursor::Cursor;
use crate::gcm;
use crate::secret::SecretBytes;
use crate::stack::wiped;

/// The longest plaintext in a blob, in bytes.
pub const MAX_PLAINTEXT_LEN: usize = 6144;

const HEADER_LEN: usize = 72;

/// The longest blob, in bytes.
pub const MAX_BLOB_LEN: usize = HEADER_LEN + MAX_PLAINTEXT_LEN + gcm::TAG_LEN;

const MAGIC: [u8; 4] = [0x9a, b'L', b'K', b'M'];
const FORMAT: u8 = 1;

/// How a blob is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobSuite {
    /// AES-256-GCM under a key that HKDF-SHA256 derives for each message.
    Aes256Gcm,
    /// SM4-GCM, likewise. Reserved.
    Sm4Gcm,
    /// AES-256-GCM in a hardware security module, under the version's key itself.
    HsmAes256Gcm,
}

impl BlobSuite {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::Sm4Gcm),
            3 => Some(Self::HsmAes256Gcm),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::Sm4Gcm => 2,
            Self::HsmAes256Gcm => 3,
        }
    }
}

/// What a ciphertext blob says about itself, to anybody.
///
/// ```
/// use stillkey_core::kms::blob::CiphertextBlob;
/// assert!(CiphertextBlob::inspect(b"no blob").is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CiphertextBlob<'a> {
    bytes: &'a [u8],
    suite: BlobSuite,
    key: Id,
    version: Id,
}

impl<'a> CiphertextBlob<'a> {
    /// Reads a blob without a key. What it says is authentic only once it is decrypted.
    ///
    /// # Errors
    /// [`NotABlob`] unless it has exactly this format and length.
    pub fn inspect(bytes: &'a [u8]) -> Result<Self, NotABlob> {
        if bytes.len() > MAX_BLOB_LEN {
            return Err(NotABlob("it is longer than 6232 bytes, which no blob is"));
        }
        let mut cursor = Cursor::new(bytes);
        let mut next = |len| cursor.take(len).ok_or(NotABlob("it is cut off"));
        if next(4)? != MAGIC {
            return Err(NotABlob("it doesn't begin with 9a 4c 4b 4d"));
        }
        let [format, suite, flags, reserved] = next(4)? else {
            return Err(NotABlob("it is cut off"));
        };
        if *format != FORMAT {
            return Err(NotABlob("its format isn't 1; a newer release may know it"));
        }
        let suite = BlobSuite::from_number(*suite).ok_or(NotABlob(
            "its suite isn't 1, 2 or 3; a newer release may know it",
        ))?;
        if (*flags, *reserved) != (0, 0) {
            return Err(NotABlob(
                "its flags aren't 0; a newer release may know them",
            ));
        }
        let (key, version) = (id(next(16)?)?, id(next(16)?)?);
        let salt = next(16)?;
        if suite == BlobSuite::HsmAes256Gcm && salt.iter().any(|byte| *byte != 0) {
            return Err(NotABlob("its suite has no salt, and there is one"));
        }
        next(12)?;
        let len = <[u8; 4]>::try_from(next(4)?).map_err(|_| NotABlob("it is cut off"))?;
        let rest = cursor.rest().len();
        let declared = usize::try_from(u32::from_be_bytes(len)).ok();
        if declared.is_none_or(|len| rest.checked_sub(gcm::TAG_LEN) != Some(len)) {
            return Err(NotABlob("its length isn't the one that it declares"));
        }
        Ok(Self {
            bytes,
            suite,
            key,
            version,
        })
    }

    /// How it is encrypted.
    pub fn suite(&self) -> BlobSuite {
        self.suite
    }

    /// The key that encrypted it.
    pub fn key(&self) -> Id {
        self.key
    }

    /// The version of that key.
    pub fn version(&self) -> Id {
        self.version
    }

    /// Length of the plaintext, in bytes.
    pub fn plaintext_len(&self) -> usize {
        self.bytes.len() - HEADER_LEN - gcm::TAG_LEN
    }

    /// The blob itself.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The 12-byte nonce.
    pub fn nonce(&self) -> &'a [u8] {
        self.bytes.get(56..68).unwrap_or_default()
    }

    /// The plaintext encrypted, and the 16-byte tag.
    pub fn sealed(&self) -> (&'a [u8], &'a [u8]) {
        let sealed = self.bytes.get(HEADER_LEN..).unwrap_or_default();
        sealed
            .split_at_checked(self.plaintext_len())
            .unwrap_or_default()
    }

    /// What authenticates it besides the ciphertext: the header and the context's canonical bytes.
    pub fn aad(&self, context: &[u8]) -> Vec<u8> {
        aad(self.bytes.get(..HEADER_LEN).unwrap_or_default(), context)
    }

    fn salt(&self) -> &'a [u8] {
        self.bytes.get(40..56).unwrap_or_default()
    }
}

impl fmt::Debug for CiphertextBlob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CiphertextBlob")
            .field("suite", &self.suite)
            .field("key", &self.key)
            .field("version", &self.version)
            .field("plaintext_len", &self.plaintext_len())
            .finish_non_exhaustive()
    }
}

fn id(bytes: &[u8]) -> Result<Id, NotABlob> {
    <[u8; 16]>::try_from(bytes)
        .map(Id::from_bytes)
        .map_err(|_| NotABlob("it is cut off"))
}

/// Why bytes are no ciphertext blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotABlob(pub(super) &'static str);

impl fmt::Display for NotABlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no ciphertext blob: {}", self.0)
    }
}

impl core::error::Error for NotABlob {}

impl From<NotABlob> for Cause {
    fn from(error: NotABlob) -> Self {
        Self::InvalidBlob { finding: error.0 }
    }
}

/// What a blob is made with. The salt of suite 3 is zero.
pub(super) struct BlobHeader {
    pub(super) suite: BlobSuite,
    pub(super) key: Id,
    pub(super) version: Id,
    pub(super) salt: [u8; 16],
    pub(super) nonce: [u8; 12],
}

/// Encrypts with a version's material, suite 1. `context` is in its canonical form.
pub(super) fn seal(
    material: &SecretBytes,
    header: &BlobHeader,
    context: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, KeeperError> {
    let len = u32::try_from(plaintext.len())
        .ok()
        .filter(|_| plaintext.len() <= MAX_PLAINTEXT_LEN)
        .ok_or_else(|| KeeperError::Damaged("the plaintext is longer than a blob holds".into()))?;
    let mut blob = Vec::with_capacity(HEADER_LEN + plaintext.len() + gcm::TAG_LEN);
    blob.extend(MAGIC);
    blob.extend([FORMAT, header.suite.number(), 0, 0]);
    blob.extend(header.key.as_bytes());
    blob.extend(header.version.as_bytes());
    blob.extend(header.salt);
    blob.extend(header.nonce);
    blob.extend(len.to_be_bytes());
    let aad = aad(&blob, context);
    blob.extend_from_slice(plaintext);
    let body = blob.get_mut(HEADER_LEN..).unwrap_or_default();
    let tag = wiped(|| {
        let key = message_key(material, &header.salt, header.key, header.version)?;
        gcm::seal_unwiped(&*key, &header.nonce, &aad, body).map_err(|_| not_32_bytes())
    })?;
    blob.extend(tag);
    Ok(blob)
}

/// Decrypts with a version's material, suite 1. `context` is in its canonical form.
pub(super) fn open(
    material: &SecretBytes,
    blob: &CiphertextBlob<'_>,
    context: &[u8],
) -> Result<SecretBytes, KeeperError> {
    let aad = blob.aad(context);
    let (ciphertext, tag) = blob.sealed();
    let tag = tag.try_into().map_err(|_| KeeperError::NotAuthentic)?;
    let mut plaintext = SecretBytes::copied(ciphertext);
    wiped(|| {
        let key = message_key(material, blob.salt(), blob.key, blob.version)?;
        gcm::open_unwiped(&*key, blob.nonce(), &aad, plaintext.bytes_mut(), tag)
            .map_err(|_| KeeperError::NotAuthentic)
    })?;
    Ok(plaintext)
}

fn aad(header: &[u8], context: &[u8]) -> Vec<u8> {
    const LABEL: &[u8] = b"lkms/v1/aad";
    let mut aad = Vec::with_capacity(LABEL.len() + header.len() + context.len());
    for part in [LABEL, header, context] {
        aad.extend_from_slice(part);
    }
    aad
}

/// The key of one message. Source: RFC 5869.
fn message_key(
    material: &SecretBytes,
    salt: &[u8],
    key: Id,
    version: Id,
) -> Result<zeroize::Zeroizing<[u8; 32]>, KeeperError> {
    if material.len() != 32 {
        return Err(not_32_bytes());
    }
    let mut derived = zeroize::Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), material.danger_bytes())
        .expand_multi_info(
            &[b"lkms/v1/msg-key", key.as_bytes(), version.as_bytes()],
            &mut *derived,
        )
        .map_err(|_| not_32_bytes())?;
    Ok(derived)
}

fn not_32_bytes() -> KeeperError {
    KeeperError::Damaged("it isn't 32 bytes long".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn header() -> BlobHeader {
        BlobHeader {
            suite: BlobSuite::Aes256Gcm,
            key: "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap(),
            version: "2ab1a983-7072-4bbc-a582-584b5bd8ecf3".parse().unwrap(),
            salt: core::array::from_fn(|at| u8::try_from(at).unwrap()),
            nonce: core::array::from_fn(|at| 100 + u8::try_from(at).unwrap()),
        }
    }

    fn material() -> SecretBytes {
        SecretBytes::new((0..32).collect())
    }

    fn finding(bytes: &[u8]) -> &'static str {
        CiphertextBlob::inspect(bytes).unwrap_err().0
    }

    #[test]
    fn a_blob_says_what_it_was_made_with_and_has_no_spare_capacity() {
        let header = header();
        for len in [0, 1, 32, MAX_PLAINTEXT_LEN] {
            let bytes = seal(&material(), &header, b"c", &vec![42; len]).unwrap();
            assert_eq!(bytes.len(), bytes.capacity());
            let blob = CiphertextBlob::inspect(&bytes).unwrap();
            assert_eq!((blob.key(), blob.version()), (header.key, header.version));
            assert_eq!(
                (blob.suite(), blob.plaintext_len()),
                (BlobSuite::Aes256Gcm, len)
            );
            let opened = open(&material(), &blob, b"c").unwrap();
            assert_eq!(opened.danger_bytes(), vec![42; len]);
        }
        let longer = vec![42; MAX_PLAINTEXT_LEN + 1];
        assert!(seal(&material(), &header, b"c", &longer).is_err());
    }

    #[test]
    fn no_byte_of_a_blob_can_be_changed_and_none_left_out() {
        let bytes = seal(&material(), &header(), b"c", &[42; 5]).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                // Where it still is a blob, its ids and all else are authenticated.
                if let Ok(blob) = CiphertextBlob::inspect(&changed)
                    && blob.suite() == BlobSuite::Aes256Gcm
                {
                    let opened = open(&material(), &blob, b"c");
                    assert_eq!(opened, Err(KeeperError::NotAuthentic), "{at}");
                }
            }
            assert!(CiphertextBlob::inspect(&bytes[..at]).is_err());
        }
        assert_eq!(
            finding(&[bytes.as_slice(), &[0]].concat()),
            "its length isn't the one that it declares"
        );
        let blob = CiphertextBlob::inspect(&bytes).unwrap();
        assert_eq!(
            open(&material(), &blob, b"d"),
            Err(KeeperError::NotAuthentic)
        );
    }

    #[test]
    fn a_refusal_names_the_field_that_is_wrong() {
        let bytes = seal(&material(), &header(), b"c", &[42; 5]).unwrap();
        let changed = |at: usize, byte| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            finding(&changed)
        };
        assert!(changed(0, 1).contains("begin"));
        assert!(changed(4, 2).contains("format"));
        assert!(changed(5, 0).contains("suite") && changed(5, 4).contains("suite"));
        assert!(changed(6, 1).contains("flags") && changed(7, 1).contains("flags"));
        assert!(changed(68, 0xff).contains("length") && changed(71, 6).contains("length"));
        assert!(changed(5, 3).contains("salt"));
        assert!(finding(&vec![0x9a; MAX_BLOB_LEN + 1]).contains("6232"));
        let message = CiphertextBlob::inspect(b"AQID").unwrap_err().to_string();
        assert!(
            message.starts_with("this is no ciphertext blob: "),
            "{message}"
        );
    }
}
