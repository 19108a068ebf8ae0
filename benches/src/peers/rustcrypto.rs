//! RustCrypto's stream types, and with them the oracle that every other answer is compared with.

use aes::{Aes128, Aes192, Aes256};
use cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use ctr::Ctr128BE;
use sm4::Sm4;
use stillkey_core::{Cipher, DataKey, Iv};

use super::{Stream, locked_version};

pub(super) struct Ctr {
    iv: Iv,
    stream: Any,
}

/// No trait object, as in a program that knows its ciphers: 64 bytes shouldn't pay for ours.
enum Any {
    Aes128(Ctr128BE<Aes128>),
    Aes192(Ctr128BE<Aes192>),
    Aes256(Ctr128BE<Aes256>),
    Sm4(Ctr128BE<Sm4>),
}

pub(super) fn version() -> String {
    let [aes, sm4, ctr] = ["aes", "sm4", "ctr"].map(locked_version);
    format!("aes {aes}, sm4 {sm4}, ctr {ctr}")
}

impl Any {
    fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Self {
        match cipher {
            Cipher::Aes128 => Self::Aes128(keyed(key, iv)),
            Cipher::Aes192 => Self::Aes192(keyed(key, iv)),
            Cipher::Aes256 => Self::Aes256(keyed(key, iv)),
            Cipher::Sm4 => Self::Sm4(keyed(key, iv)),
        }
    }

    fn cipher(&self) -> Cipher {
        match self {
            Self::Aes128(_) => Cipher::Aes128,
            Self::Aes192(_) => Cipher::Aes192,
            Self::Aes256(_) => Cipher::Aes256,
            Self::Sm4(_) => Cipher::Sm4,
        }
    }
}

fn keyed<C: KeyIvInit>(key: &[u8], iv: Iv) -> C {
    C::new_from_slices(key, iv.as_bytes()).expect("the key has its cipher's length")
}

fn run(stream: &mut (impl StreamCipher + StreamCipherSeek), offset: u64, data: &mut [u8]) {
    stream.seek(offset);
    stream.apply_keystream(data);
}

impl Ctr {
    pub(super) fn new(cipher: Cipher, key: &[u8], iv: Iv) -> Option<Self> {
        let stream = Any::new(cipher, key, iv);
        Some(Self { iv, stream })
    }
}

impl Stream for Ctr {
    fn rekey(&mut self, key: &DataKey) {
        let key = key.secret().danger_bytes();
        self.stream = Any::new(self.stream.cipher(), key, self.iv);
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        match &mut self.stream {
            Any::Aes128(stream) => run(stream, offset, data),
            Any::Aes192(stream) => run(stream, offset, data),
            Any::Aes256(stream) => run(stream, offset, data),
            Any::Sm4(stream) => run(stream, offset, data),
        }
    }
}

/// What every contender's answer has to equal.
pub(crate) fn oracle(key: &DataKey, iv: Iv, offset: u64, data: &mut [u8]) {
    let bytes = key.secret().danger_bytes();
    if let Some(mut stream) = Ctr::new(key.cipher(), bytes, iv) {
        stream.apply(offset, data);
    }
}
