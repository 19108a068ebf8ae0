//! What the benches share: the buffers, the lengths, and the peers that the answers are compared with.

use cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use stillkey_core::{Cipher, Iv};

/// Buffer lengths in bytes.
pub const LENGTHS: [usize; 5] = [64, 1024, 4096, 16 << 10, 1 << 20];

/// XORs the keystream at byte `offset` over `data` with RustCrypto's own types: the peer, and the oracle.
pub fn rustcrypto(cipher: Cipher, key: &[u8], iv: &Iv, offset: u64, data: &mut [u8]) {
    match cipher {
        Cipher::Aes128 => run::<ctr::Ctr128BE<aes::Aes128>>(key, iv, offset, data),
        Cipher::Aes192 => run::<ctr::Ctr128BE<aes::Aes192>>(key, iv, offset, data),
        Cipher::Aes256 => run::<ctr::Ctr128BE<aes::Aes256>>(key, iv, offset, data),
        Cipher::Sm4 => run::<ctr::Ctr128BE<sm4::Sm4>>(key, iv, offset, data),
    }
}

#[expect(clippy::expect_used, reason = "a bench that can't run should stop")]
fn run<C: KeyIvInit + StreamCipher + StreamCipherSeek>(
    key: &[u8],
    iv: &Iv,
    offset: u64,
    data: &mut [u8],
) {
    let mut cipher = C::new_from_slices(key, iv.as_bytes()).expect("key and IV fit");
    cipher.seek(offset);
    cipher.apply_keystream(data);
}
