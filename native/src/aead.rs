//! AES-256-GCM by AWS-LC, through `aws-lc-rs`: the one cipher that Stillkey has from C code.
//!
//! Counter mode and GHASH have to be interleaved instruction by instruction to be fast, and AWS-LC's assembly does that on every common
//! processor. Its key schedule lies in memory of AWS-LC's own allocator, which overwrites whatever it frees.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use inout::InOutBuf;
use stillkey_core::cipher::{AeadError, AeadKernel, AeadKey};

struct AwsLc(LessSafeKey);

/// `None` for a key that isn't 32 bytes long.
pub(crate) fn aes_256_gcm(key: &AeadKey) -> Option<Box<dyn AeadKernel>> {
    let key = UnboundKey::new(&AES_256_GCM, key.secret().danger_bytes()).ok()?;
    Some(Box::new(AwsLc(LessSafeKey::new(key))))
}

fn failed(_: Unspecified) -> AeadError {
    AeadError
}

impl AeadKernel for AwsLc {
    fn seal(&self, nonce: &[u8; 12], data: InOutBuf<'_, '_, u8>) -> Result<[u8; 16], AeadError> {
        let mut tag = [0; 16];
        // Copies only what isn't in place already.
        let data = data.into_out_with_copied_in();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_in_place_scatter(nonce, Aad::empty(), data, &[], &mut tag)
            .map_err(failed)?;
        Ok(tag)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        data: InOutBuf<'_, '_, u8>,
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        let data = data.into_out_with_copied_in();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::empty(), tag, data)
            .map(drop)
            .map_err(failed)
    }

    fn seal_to(
        &self,
        nonce: &[u8; 12],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; 16], AeadError> {
        let mut tag = [0; 16];
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_out_of_place_scatter(nonce, Aad::empty(), plaintext, ciphertext, &[], &mut tag)
            .map_err(failed)?;
        Ok(tag)
    }

    fn open_to(
        &self,
        nonce: &[u8; 12],
        ciphertext: &[u8],
        plaintext: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_separate_gather(nonce, Aad::empty(), ciphertext, tag, plaintext)
            .map_err(failed)
    }
}
