//! The keystream by an implementation that shares no code with the kernels. Source of the mode: NIST SP 800-38A §6.5.

use aes::{Aes128, Aes192, Aes256};
use cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
use sm4::Sm4;
use stillkey_core::Cipher;

/// Whose keystream [`keystream`] is.
pub const NAME: &str = if cfg!(feature = "openssl") {
    "OpenSSL"
} else {
    "RustCrypto"
};

/// The encryption of `blocks` consecutive counters, from `first` on, modulo 2^128.
pub fn keystream(cipher: Cipher, key: &[u8], first: u128, blocks: usize) -> Vec<u8> {
    #[cfg(feature = "openssl")]
    return by_openssl(cipher, key, first, blocks);
    #[cfg(not(feature = "openssl"))]
    return by_rust_crypto(cipher, key, first, blocks);
}

#[cfg(feature = "openssl")]
fn by_openssl(cipher: Cipher, key: &[u8], first: u128, blocks: usize) -> Vec<u8> {
    let symm = match cipher {
        Cipher::Aes128 => openssl::symm::Cipher::aes_128_ctr(),
        Cipher::Aes192 => openssl::symm::Cipher::aes_192_ctr(),
        Cipher::Aes256 => openssl::symm::Cipher::aes_256_ctr(),
        Cipher::Sm4 => openssl::symm::Cipher::sm4_ctr(),
    };
    openssl::symm::encrypt(symm, key, Some(&first.to_be_bytes()), &vec![0; 16 * blocks])
        .expect("OpenSSL knows the cipher")
}

/// As [`keystream`], by RustCrypto's block ciphers alone.
pub fn by_rust_crypto(cipher: Cipher, key: &[u8], first: u128, blocks: usize) -> Vec<u8> {
    fn encrypted<C>(key: &[u8], first: u128, blocks: usize) -> Vec<u8>
    where
        C: KeyInit + BlockCipherEncrypt<BlockSize = U16>,
    {
        let cipher = C::new_from_slice(key).expect("a fitting length");
        let counters =
            (0..blocks as u128).map(|i| Array::from(first.wrapping_add(i).to_be_bytes()));
        let mut stream: Vec<_> = counters.collect();
        cipher.encrypt_blocks(&mut stream);
        stream.into_iter().flatten().collect()
    }
    match cipher {
        Cipher::Aes128 => encrypted::<Aes128>(key, first, blocks),
        Cipher::Aes192 => encrypted::<Aes192>(key, first, blocks),
        Cipher::Aes256 => encrypted::<Aes256>(key, first, blocks),
        Cipher::Sm4 => encrypted::<Sm4>(key, first, blocks),
    }
}

#[cfg(all(test, feature = "openssl"))]
mod tests {
    use super::*;

    #[test]
    fn both_oracles_give_the_same_keystream() {
        for cipher in Cipher::ALL {
            let key = crate::key(cipher);
            let first = u128::MAX - 50;
            assert_eq!(
                by_openssl(cipher, &key, first, 100),
                by_rust_crypto(cipher, &key, first, 100),
                "{cipher:?}"
            );
        }
    }
}
