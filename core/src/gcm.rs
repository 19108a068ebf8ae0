//! AES-256-GCM over short messages: envelopes and wrapped keys. Bodies of objects go through [`crate::cipher::AeadKernel`] instead.

use aes::Aes256;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::{AesGcm, KeyInit};

use crate::secret::SecretBytes;
use crate::stack::wiped;

pub(crate) const TAG_LEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GcmError {
    /// The key isn't 32 bytes long.
    KeyLength,
    /// The nonce is neither 12 nor 16 bytes long.
    NonceLength,
    /// The message is longer than GCM allows.
    MessageLength,
    /// The tag doesn't verify.
    Tag,
}

/// Encrypts `data` in place and returns the tag. Source: NIST SP 800-38D §7.1.
pub(crate) fn seal(
    key: &SecretBytes,
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
) -> Result<[u8; TAG_LEN], GcmError> {
    wiped(|| seal_unwiped(key.danger_bytes(), nonce, aad, data))
}

/// As [`seal`], for a caller that wipes the stack behind more than this.
pub(crate) fn seal_unwiped(
    key: &[u8],
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
) -> Result<[u8; TAG_LEN], GcmError> {
    let cipher = AesGcm::<Aes256, U12>::new_from_slice(key).map_err(|_| GcmError::KeyLength)?;
    let tag = cipher
        .encrypt_inout_detached(nonce.into(), aad, data.into())
        .map_err(|_| GcmError::MessageLength)?;
    Ok(tag.into())
}

/// Decrypts `data` in place if `tag` fits; its content is of no use otherwise. A 16-byte nonce goes through GHASH as §7.1 step 2 says.
pub(crate) fn open(
    key: &SecretBytes,
    nonce: &[u8],
    aad: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), GcmError> {
    wiped(|| open_unwiped(key.danger_bytes(), nonce, aad, data, tag))
}

/// As [`open`], for a caller that wipes the stack behind more than this.
pub(crate) fn open_unwiped(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), GcmError> {
    let data = data.into();
    let opened = if let Ok(nonce) = <&[u8; 12]>::try_from(nonce) {
        let cipher = AesGcm::<Aes256, U12>::new_from_slice(key).map_err(|_| GcmError::KeyLength)?;
        cipher.decrypt_inout_detached(nonce.into(), aad, data, tag.into())
    } else if let Ok(nonce) = <&[u8; 16]>::try_from(nonce) {
        let cipher = AesGcm::<Aes256, U16>::new_from_slice(key).map_err(|_| GcmError::KeyLength)?;
        cipher.decrypt_inout_detached(nonce.into(), aad, data, tag.into())
    } else {
        return Err(GcmError::NonceLength);
    };
    opened.map_err(|_| GcmError::Tag)
}
