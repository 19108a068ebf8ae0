//! The joint between Stillkey and the code that runs ciphers: faster kernels plug in here, and nowhere else.

mod portable;

use alloc::boxed::Box;
use alloc::sync::Arc;

use inout::InOutBuf;

pub use portable::Portable;

use crate::iv::Iv;
use crate::method::Cipher;
use crate::secret::{DataKey, SecretBytes};

/// XORs a counter-mode keystream over data: one key schedule, any number of positions.
///
/// Implementations handle an unaligned start, a short end and the full 128-bit counter themselves.
/// Source: NIST SP 800-38A §6.5.
pub trait CtrKernel: Send + Sync {
    /// XORs the keystream of `iv` over `data`, whose first byte stands at byte `offset` of the file.
    ///
    /// In place and source-to-destination are the same call. Callers see to it that `offset + data.len()` fits in a `u64`
    /// ([`CtrStream`](crate::CtrStream) checks it).
    fn apply(&self, iv: &Iv, offset: u64, data: InOutBuf<'_, '_, u8>);
}

/// Galois/counter mode over whole messages with 12-byte nonces and 16-byte tags. Source: NIST SP 800-38D.
pub trait AeadKernel: Send + Sync {
    /// Encrypts `data` and returns the tag. `nonce` must not repeat under one key.
    ///
    /// # Errors
    /// [`AeadError`] when `data` is longer than the mode allows (2^36 − 32 bytes).
    fn seal(&self, nonce: &[u8; 12], data: InOutBuf<'_, '_, u8>) -> Result<[u8; 16], AeadError>;

    /// Decrypts `data` if `tag` fits; the output is unspecified when it doesn't.
    ///
    /// # Errors
    /// [`AeadError`] when the tag doesn't belong to this key, nonce and data.
    fn open(
        &self,
        nonce: &[u8; 12],
        data: InOutBuf<'_, '_, u8>,
        tag: &[u8; 16],
    ) -> Result<(), AeadError>;
}

/// Authenticated encryption failed: a tag doesn't fit, or a message is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AeadError;

/// The ciphers that [`AeadKernel`]s exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aead {
    /// AES-256-GCM, 32-byte key.
    Aes256Gcm,
    /// SM4-GCM, 16-byte key. Source: RFC 8998.
    Sm4Gcm,
}

impl Aead {
    /// Key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes256Gcm => 32,
            Self::Sm4Gcm => 16,
        }
    }
}

/// A source of kernels: [`Portable`] in this crate, processor-specific ones elsewhere.
pub trait CipherProvider: Send + Sync {
    /// Name of the kernel that it would pick for `cipher`, for example `portable` or `vaes512`.
    fn name(&self, cipher: Cipher) -> &'static str;

    /// Expands `key` for counter mode.
    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel>;

    /// Expands `key` for authenticated encryption; `None` when its length isn't [`Aead::key_len`], or for a cipher that the provider
    /// doesn't have: it should then ask [`Portable`].
    fn aead(&self, aead: Aead, key: &SecretBytes) -> Option<Box<dyn AeadKernel>> {
        Portable.aead(aead, key)
    }
}
