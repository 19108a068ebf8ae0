//! The joint between Stillkey and the code that runs ciphers: faster kernels plug in here, and nowhere else.

mod aes;
mod bitsliced;
mod blocks;
mod gcm;
mod portable;
pub mod schedule;
mod sm4;
mod tower;

use alloc::boxed::Box;
use alloc::sync::Arc;

use inout::InOutBuf;

pub use bitsliced::Bitsliced;
pub use blocks::{BLOCK_LEN, Block, Blockwise, CtrBlocks, SHORT_LEN};
pub use gcm::CtrGcm;
pub use portable::Portable;

use crate::error::{Error, Misuse};
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

    /// This kernel with what it can compute in advance for one file: worth it where a file stays open for many calls.
    ///
    /// `None` when there is nothing to gain. The result gives the same bytes as `self` for every `iv`, and is faster for this one.
    fn prepared(&self, iv: &Iv) -> Option<Arc<dyn CtrKernel>> {
        let _ = iv;
        None
    }
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

    /// As [`AeadKernel::seal`], from one buffer into another: for kernels that have no pointers to give away, but a call for two slices.
    ///
    /// # Errors
    /// As [`AeadKernel::seal`]; also when the lengths differ.
    fn seal_to(
        &self,
        nonce: &[u8; 12],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; 16], AeadError> {
        let data = InOutBuf::new(plaintext, ciphertext).map_err(|_| AeadError)?;
        self.seal(nonce, data)
    }

    /// As [`AeadKernel::open`], from one buffer into another.
    ///
    /// # Errors
    /// As [`AeadKernel::open`]; also when the lengths differ.
    fn open_to(
        &self,
        nonce: &[u8; 12],
        ciphertext: &[u8],
        plaintext: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        let data = InOutBuf::new(ciphertext, plaintext).map_err(|_| AeadError)?;
        self.open(nonce, data, tag)
    }
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
    /// Its name: `aes256-gcm` or `sm4-gcm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes256-gcm",
            Self::Sm4Gcm => "sm4-gcm",
        }
    }

    /// Key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes256Gcm => 32,
            Self::Sm4Gcm => 16,
        }
    }
}

/// A key of the right length for its [`Aead`]; the only form in which a provider takes one.
#[derive(Debug, PartialEq, Eq)]
pub struct AeadKey {
    aead: Aead,
    bytes: SecretBytes,
}

impl AeadKey {
    /// Pairs key bytes with their cipher.
    ///
    /// # Errors
    /// [`Misuse::KeyLength`] when `bytes` isn't [`Aead::key_len`] long.
    pub fn new(aead: Aead, bytes: SecretBytes) -> Result<Self, Error> {
        let (expected, found) = (aead.key_len(), bytes.len());
        if found != expected {
            return Err(Misuse::KeyLength {
                cipher: aead.name(),
                expected,
                found,
            }
            .into());
        }
        Ok(Self { aead, bytes })
    }

    /// Its cipher.
    pub fn aead(&self) -> Aead {
        self.aead
    }

    /// Its bytes, [`Aead::key_len`] long.
    pub fn secret(&self) -> &SecretBytes {
        &self.bytes
    }

    /// A copy of it for the counter mode inside of its [`Aead`]: what [`CtrGcm`] needs a kernel for.
    #[expect(
        clippy::expect_used,
        reason = "the key has its cipher's length by construction"
    )]
    pub fn ctr_key(&self) -> DataKey {
        let cipher = match self.aead {
            Aead::Aes256Gcm => Cipher::Aes256,
            Aead::Sm4Gcm => Cipher::Sm4,
        };
        DataKey::new(cipher, self.bytes.duplicate()).expect("the key has its cipher's length")
    }
}

/// A source of kernels: [`Portable`] in this crate, processor-specific ones elsewhere.
pub trait CipherProvider: Send + Sync {
    /// Name of the kernel that it would pick for `cipher`, for example `portable` or `vaes512`.
    fn name(&self, cipher: Cipher) -> &'static str;

    /// Expands `key` for counter mode.
    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel>;

    /// Expands `key` for authenticated encryption. A provider without kernels of its own for it leaves this to [`Portable`].
    fn aead(&self, key: &AeadKey) -> Box<dyn AeadKernel> {
        Portable.aead(key)
    }
}
