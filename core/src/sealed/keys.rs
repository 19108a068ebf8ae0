//! The keys of a sealed object: everything below the data key is derived from it by HKDF-SHA256 and bound to the preamble.
//!
//! The keys stand in [`SecretBytes`] and zeroizing buffers, the hash and HMAC states that hang on them are zeroized when dropped, and the
//! stack behind every derivation is wiped: `Hkdf` and `Hmac` pass pseudorandom and padded keys through plain arrays.

use alloc::vec;
use alloc::vec::Vec;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::TryCryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::context::EncryptionContext;
use crate::error::Error;
use crate::gcm::{self, GcmError};
use crate::master::RawMasterKey;
use crate::secret::SecretBytes;
use crate::stack::wiped;

/// Length in bytes of data keys, key-encryption keys, commitments and authentication codes.
pub(crate) const LEN: usize = 32;

/// Length of a key sealed under a raw master key: salt, ciphertext, tag.
const RAW_BLOB_LEN: usize = LEN + LEN + gcm::TAG_LEN;

const RAW_WRAP_LABEL: &[u8] = b"stillkey/v1/raw-master-key-wrap";

/// The salted digest that the header holds of an encryption context, so that a wrong one can be told from a wrong key.
pub(crate) fn context_digest(
    salt: &[u8; LEN],
    context: &EncryptionContext,
) -> Result<[u8; LEN], Error> {
    let digest = Sha256::new_with_prefix(b"stillkey/v1/context")
        .chain_update(salt)
        .chain_update(context.canonical()?);
    Ok(digest.finalize().into())
}

/// What a data key and a preamble determine.
pub(crate) struct ObjectKeys {
    hkdf: Hkdf<Sha256>,
    preamble: Vec<u8>,
}

impl ObjectKeys {
    pub(crate) fn derive(data_key: &SecretBytes, salt: &[u8; LEN], preamble: Vec<u8>) -> Self {
        Self {
            hkdf: wiped(|| Hkdf::new(Some(salt), data_key.danger_bytes())),
            preamble,
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA256 fails only above 8160 bytes of output"
    )]
    fn expand_into(&self, label: &[u8], key: &mut [u8]) {
        wiped(|| self.hkdf.expand_multi_info(&[label, &self.preamble], key))
            .expect("at most 32 bytes are asked for");
    }

    fn expand(&self, label: &[u8], len: usize) -> SecretBytes {
        let mut key = vec![0; len];
        self.expand_into(label, &mut key);
        SecretBytes::new(key)
    }

    /// Commits to the data key: no other key has the same commitment, since that would be a collision of HKDF-SHA256.
    pub(crate) fn commitment(&self) -> [u8; LEN] {
        let mut commitment = [0; LEN];
        self.expand_into(b"stillkey/v1/commitment", &mut commitment);
        commitment
    }

    pub(crate) fn commits_to(&self, commitment: &[u8; LEN]) -> bool {
        self.commitment().ct_eq(commitment).into()
    }

    pub(crate) fn header_mac(&self, header: &[u8]) -> [u8; LEN] {
        wiped(|| self.mac(header).finalize().into_bytes().into())
    }

    pub(crate) fn verifies(&self, header: &[u8], mac: &[u8; LEN]) -> bool {
        wiped(|| self.mac(header).verify(mac.into()).is_ok())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, header: &[u8]) -> Hmac<Sha256> {
        let key = self.expand(b"stillkey/v1/header-mac", LEN);
        let mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(key.danger_bytes()).expect("any length fits");
        mac.chain_update(header)
    }

    pub(crate) fn body_key(&self, len: usize) -> SecretBytes {
        self.expand(b"stillkey/v1/body", len)
    }
}

/// Seals a key-encryption key under a raw master key: a key derived from a random salt seals exactly one message, so its nonce is zero.
pub(crate) fn wrap_raw<R: TryCryptoRng + ?Sized>(
    master_key: &RawMasterKey,
    key: &SecretBytes,
    context: &EncryptionContext,
    rng: &mut R,
) -> Result<Vec<u8>, Error> {
    let salt: [u8; LEN] = crate::random::array(rng)?;
    let mut wrapped = Zeroizing::new(key.danger_bytes().to_vec());
    let tag = gcm::seal(
        &raw_wrapping_key(master_key, &salt),
        &[0; 12],
        &context.canonical()?,
        &mut wrapped,
    )
    .map_err(|_| crate::error::Misuse::FieldTooLong("the key"))?;
    Ok([&salt[..], &wrapped, &tag].concat())
}

/// Undoes [`wrap_raw`]; `None` when the blob was not made under this key and context, or was changed.
pub(crate) fn unwrap_raw(
    master_key: &RawMasterKey,
    blob: &[u8],
    context: &EncryptionContext,
) -> Result<Option<SecretBytes>, Error> {
    let Ok(blob) = <&[u8; RAW_BLOB_LEN]>::try_from(blob) else {
        return Ok(None);
    };
    let context = context.canonical()?;
    Ok((|| {
        let (salt, rest) = blob.split_first_chunk::<LEN>()?;
        let (wrapped, tag) = rest.split_first_chunk::<LEN>()?;
        let mut key = SecretBytes::copied(wrapped);
        gcm::open(
            &raw_wrapping_key(master_key, salt),
            &[0; 12],
            &context,
            key.bytes_mut(),
            tag.try_into().ok()?,
        )
        .ok()?;
        Some(key)
    })())
}

#[expect(
    clippy::expect_used,
    reason = "HKDF-SHA256 fails only above 8160 bytes of output"
)]
fn raw_wrapping_key(master_key: &RawMasterKey, salt: &[u8; LEN]) -> SecretBytes {
    let mut key = vec![0; LEN];
    wiped(|| {
        Hkdf::<Sha256>::new(Some(salt), master_key.secret().danger_bytes())
            .expand(RAW_WRAP_LABEL, &mut key)
            .expect("32 bytes are few enough");
    });
    SecretBytes::new(key)
}

/// Length of a data key sealed under a key-encryption key: nonce, ciphertext, tag.
pub(crate) const SEALED_DATA_KEY_LEN: usize = 12 + LEN + gcm::TAG_LEN;

/// Seals the data key under a recipient's key-encryption key, bound to `aad`.
pub(crate) fn seal_data_key<R: TryCryptoRng + ?Sized>(
    kek: &SecretBytes,
    data_key: &SecretBytes,
    aad: &[u8],
    rng: &mut R,
) -> Result<[u8; SEALED_DATA_KEY_LEN], Error> {
    let mut sealed = [0; SEALED_DATA_KEY_LEN];
    let nonce: [u8; 12] = crate::random::array(rng)?;
    let mut wrapped = Zeroizing::new(data_key.danger_bytes().to_vec());
    let tag = gcm::seal(kek, &nonce, aad, &mut wrapped)
        .map_err(|_| crate::error::Misuse::FieldTooLong("the data key"))?;
    nonce
        .iter()
        .chain(wrapped.iter())
        .chain(&tag)
        .zip(&mut sealed)
        .for_each(|(from, to)| *to = *from);
    Ok(sealed)
}

/// Undoes [`seal_data_key`].
pub(crate) fn open_data_key(
    kek: &SecretBytes,
    sealed: &[u8; SEALED_DATA_KEY_LEN],
    aad: &[u8],
) -> Result<SecretBytes, GcmError> {
    let (nonce, rest) = sealed
        .split_first_chunk::<12>()
        .ok_or(GcmError::NonceLength)?;
    let (wrapped, tag) = rest
        .split_first_chunk::<LEN>()
        .ok_or(GcmError::MessageLength)?;
    let mut key = SecretBytes::copied(wrapped);
    gcm::open(
        kek,
        nonce,
        aad,
        key.bytes_mut(),
        tag.try_into().map_err(|_| GcmError::Tag)?,
    )?;
    Ok(key)
}
