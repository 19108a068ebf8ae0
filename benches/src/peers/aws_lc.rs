//! AWS-LC through `aws-lc-rs`. It has no SM4.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use stillkey_core::{Cipher, DataKey, Iv};

use super::{Stream, from_within_a_block, locked_version};

pub(super) struct Ctr {
    cipher: Cipher,
    key: EncryptingKey,
    iv: Iv,
}

pub(super) fn version() -> String {
    let [rs, sys] = ["aws-lc-rs", "aws-lc-sys"].map(locked_version);
    format!("aws-lc-rs {rs}, aws-lc-sys {sys}")
}

fn expand(cipher: Cipher, key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = match cipher {
        Cipher::Aes128 => &AES_128,
        Cipher::Aes192 => &AES_192,
        Cipher::Aes256 => &AES_256,
        Cipher::Sm4 => return None,
    };
    let key = UnboundCipherKey::new(algorithm, key).expect("the key has its cipher's length");
    Some(EncryptingKey::ctr(key).expect("AES has a counter mode"))
}

impl Ctr {
    pub(super) fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Option<Self> {
        let key = expand(cipher, key)?;
        Some(Self { cipher, key, iv })
    }

    fn run(&self, counter: &[u8; Iv::LEN], data: &mut [u8]) {
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        self.key
            .less_safe_encrypt(data, context)
            .expect("any length will do");
    }
}

impl Stream for Ctr {
    fn rekey(&mut self, key: &DataKey) {
        let key = key.secret().danger_bytes();
        self.key = expand(self.cipher, key).expect("the same cipher as before");
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        from_within_a_block(self.iv, offset, data, |counter, data| {
            self.run(counter, data)
        });
    }
}

/// Raw AES-256-GCM: encrypts in place under `key` and a nonce that counts up, and returns the tag.
pub fn gcm(key: &[u8; 32]) -> impl FnMut(&mut [u8]) -> [u8; 16] + use<> {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key");
    let (key, mut count) = (LessSafeKey::new(key), 0_u64);
    move |data| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&count.to_be_bytes());
        count += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), data);
        tag.expect("short enough")
            .as_ref()
            .try_into()
            .expect("16 bytes")
    }
}
