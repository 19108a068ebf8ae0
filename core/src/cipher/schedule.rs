//! Key schedules, for kernels that bring a constant-time S-box of their own.
//!
//! A schedule looks key bytes up in the S-box, so whoever expands a key with a table leaks it through the cache. The S-box is therefore
//! an argument: each kernel has one made of the instructions that it is made of.

use zeroize::Zeroizing;

/// The round keys of AES, in order, each as the bytes that are XORed into the state. `KEYS` is the number of rounds and one: 11, 13 or 15.
///
/// `key` is `4 * (KEYS - 7)` bytes long: 16, 24 or 32. `sub_word` puts each of four bytes through the S-box.
/// Source: FIPS 197 §5.2.
///
/// ```
/// # fn sub_word(word: u32) -> u32 { word }
/// let round_keys = stillkey_core::cipher::schedule::aes::<11>(&[7; 16], sub_word);
/// assert_eq!(round_keys[0], [7; 16]);
/// ```
#[expect(
    clippy::indexing_slicing,
    reason = "every index is below the number of words by the loop's own bounds"
)]
pub fn aes<const KEYS: usize>(
    key: &[u8],
    sub_word: impl Fn(u32) -> u32,
) -> Zeroizing<[[u8; 16]; KEYS]> {
    const { assert!(KEYS == 11 || KEYS == 13 || KEYS == 15) };
    let key_words = KEYS - 7;
    debug_assert_eq!(key.len(), 4 * key_words);
    let mut round_keys = Zeroizing::new([[0; 16]; KEYS]);
    let (words, _) = round_keys.as_flattened_mut().as_chunks_mut::<4>();
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = *bytes;
    }
    let mut round_constant = 1_u8;
    for i in key_words..words.len() {
        // Little-endian, so that the first byte is the lowest: RotWord turns right.
        let mut word = u32::from_le_bytes(words[i - 1]);
        if i % key_words == 0 {
            word = sub_word(word.rotate_right(8)) ^ u32::from(round_constant);
            round_constant = (round_constant << 1) ^ (0x1b * (round_constant >> 7));
        } else if key_words > 6 && i % key_words == 4 {
            word = sub_word(word);
        }
        words[i] = (u32::from_le_bytes(words[i - key_words]) ^ word).to_le_bytes();
    }
    round_keys
}

/// The round keys of SM4, in the order of encryption. `sub_word` puts each of four bytes through the S-box.
///
/// Source: GB/T 32907-2016 §7.3.
///
/// ```
/// # fn sub_word(word: u32) -> u32 { word }
/// let round_keys = stillkey_core::cipher::schedule::sm4(&[7; 16], sub_word);
/// assert_eq!(round_keys.len(), 32);
/// ```
pub fn sm4(key: &[u8; 16], sub_word: impl Fn(u32) -> u32) -> Zeroizing<[u32; 32]> {
    const SYSTEM: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];
    let mut state = Zeroizing::new(SYSTEM);
    for (word, bytes) in state.iter_mut().zip(key.as_chunks().0) {
        *word ^= u32::from_be_bytes(*bytes);
    }
    let mut round_keys = Zeroizing::new([0; 32]);
    for (round_key, round) in round_keys.iter_mut().zip(0_u8..) {
        // The fixed key of a round: bytes 7 (4 round + j), modulo 256.
        let fixed = [0, 1, 2, 3].map(|j| round.wrapping_mul(28).wrapping_add(7 * j));
        let [a, b, c, d] = *state;
        let word = sub_word(b ^ c ^ d ^ u32::from_be_bytes(fixed));
        *round_key = a ^ word ^ word.rotate_left(13) ^ word.rotate_left(23);
        *state = [b, c, d, *round_key];
    }
    round_keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::aes::sbox::sub_word;

    #[test]
    fn aes_expands_the_keys_of_the_standard() {
        // FIPS 197, appendix A.1 to A.3: key and last round key.
        let key = 0x603deb10_15ca71be_2b73aef0_857d7781_u128.to_be_bytes();
        let rest = 0x1f352c07_3b6108d7_2d9810a3_0914dff4_u128.to_be_bytes();
        assert_eq!(
            aes::<15>([key, rest].as_flattened(), sub_word)[14],
            0xfe4890d1_e6188d0b_046df344_706c631e_u128.to_be_bytes()
        );
        let key = 0x8e73b0f7_da0e6452_c810f32b_809079e5_u128.to_be_bytes();
        let rest = 0x62f8ead2_522c6b7b_u64.to_be_bytes();
        assert_eq!(
            aes::<13>(&[&key[..], &rest].concat(), sub_word)[12],
            0xe98ba06f_448c773c_8ecc7204_01002202_u128.to_be_bytes()
        );
        let key = 0x2b7e1516_28aed2a6_abf71588_09cf4f3c_u128.to_be_bytes();
        assert_eq!(
            aes::<11>(&key, sub_word)[10],
            0xd014f9a8_c9ee2589_e13f0cc8_b6630ca6_u128.to_be_bytes()
        );
    }
}
