//! Galois/counter mode on top of a kernel for counter mode, so that whoever has a fast cipher has it authenticated too.
//!
//! GCM counts with the last 32 bits of the block only, a [`CtrKernel`] with all 128. With 12-byte nonces the 32 bits begin at 1, and the
//! mode's own limit ends messages before they wrap: until there, both counters agree.

use alloc::sync::Arc;
use core::fmt;

use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use inout::InOutBuf;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{AeadError, AeadKernel, CtrKernel};
use crate::iv::Iv;

/// GCM made of any [`CtrKernel`] of a 128-bit block cipher, without additional data. Source: NIST SP 800-38D §7.
///
/// Hashing runs on the processor's carry-less multiplication where there is one, and on its plain one elsewhere.
///
/// ```
/// use stillkey_core::cipher::{AeadKernel, CipherProvider, CtrGcm, Portable};
/// use stillkey_core::{Cipher, DataKey, SecretBytes};
///
/// let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16]))?;
/// let gcm = CtrGcm::new(Portable.ctr(&key));
/// let mut data = *b"chunk";
/// let tag = gcm.seal(&[1; 12], data.as_mut_slice().into()).unwrap();
/// assert!(gcm.open(&[2; 12], data.as_mut_slice().into(), &tag).is_err());
/// assert!(gcm.open(&[1; 12], data.as_mut_slice().into(), &tag).is_ok());
/// assert_eq!(&data, b"chunk");
/// # Ok::<(), stillkey_core::Error>(())
/// ```
pub struct CtrGcm {
    kernel: Arc<dyn CtrKernel>,
    /// Keyed, and nothing hashed yet.
    hash: GHash,
}

impl CtrGcm {
    /// Over the cipher and the key of `kernel`.
    pub fn new(kernel: Arc<dyn CtrKernel>) -> Self {
        // The key of GHASH is the encryption of the block of zeros.
        let mut key = Zeroizing::new([0; 16]);
        kernel.apply(&Iv::new([0; 16]), 0, key.as_mut_slice().into());
        let hash = GHash::new((&*key).into());
        Self { kernel, hash }
    }

    fn tag(&self, nonce: &[u8; 12], ciphertext: &[u8]) -> [u8; 16] {
        let mut hash = self.hash.clone();
        hash.update_padded(ciphertext);
        // Two lengths in bits, 64 bits each. That of additional data is zero.
        let lengths = 8 * ciphertext.len() as u128;
        hash.update(&[lengths.to_be_bytes().into()]);
        let mut tag: [u8; 16] = hash.finalize().into();
        self.kernel
            .apply(&counter(nonce, 1), 0, tag.as_mut_slice().into());
        tag
    }
}

impl AeadKernel for CtrGcm {
    fn seal(
        &self,
        nonce: &[u8; 12],
        mut data: InOutBuf<'_, '_, u8>,
    ) -> Result<[u8; 16], AeadError> {
        check_length(data.len() as u64)?;
        self.kernel.apply(&counter(nonce, 2), 0, data.reborrow());
        Ok(self.tag(nonce, data.get_out()))
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        data: InOutBuf<'_, '_, u8>,
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        check_length(data.len() as u64)?;
        if !bool::from(self.tag(nonce, data.get_in()).ct_eq(tag)) {
            return Err(AeadError);
        }
        self.kernel.apply(&counter(nonce, 2), 0, data);
        Ok(())
    }
}

impl fmt::Debug for CtrGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtrGcm").finish_non_exhaustive()
    }
}

/// The counter block that ends in `count`: 1 masks the tag, data begins with 2.
fn counter(nonce: &[u8; 12], count: u64) -> Iv {
    let mut block = [0; 16];
    for (byte, of_nonce) in block.iter_mut().zip(nonce) {
        *byte = *of_nonce;
    }
    Iv::new(block).at_block(count)
}

/// Blocks number 2 to 2^32 − 1 are for data.
fn check_length(len: u64) -> Result<(), AeadError> {
    if len > ((1 << 32) - 2) * 16 {
        return Err(AeadError);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::cipher::{Aead, AeadKey, CipherProvider, Portable};
    use crate::secret::SecretBytes;

    #[test]
    fn over_the_counter_mode_of_a_key_it_is_what_the_key_is_for() {
        for aead in [Aead::Aes256Gcm, Aead::Sm4Gcm] {
            let key = SecretBytes::new(vec![9; aead.key_len()]);
            let key = AeadKey::new(aead, key).unwrap();
            let composed = CtrGcm::new(Portable.ctr(&key.ctr_key()));
            for len in [0, 1, 16, 100] {
                let (mut data, mut expected) = (vec![3; len], vec![3; len]);
                let tag = composed.seal(&[1; 12], data.as_mut_slice().into());
                let whole = Portable.aead(&key);
                assert_eq!(tag, whole.seal(&[1; 12], expected.as_mut_slice().into()));
                assert_eq!(data, expected);
            }
        }
    }

    #[test]
    fn messages_end_before_the_32_bit_counter_wraps() {
        let longest = (1 << 36) - 32;
        assert_eq!(check_length(longest), Ok(()));
        assert_eq!(check_length(longest + 1), Err(AeadError));
        let last_block = counter(&[0xff; 12], 2).at_block((longest - 1) / 16);
        assert_eq!(last_block, Iv::new([0xff; 16]));
    }
}
