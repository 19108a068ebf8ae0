//! SM4 in constant time without anything of the processor: bitsliced, so that the S-box is a circuit in place of a table.
//!
//! In the linear map L, rotations by whole bytes are rotations of a plane's `u32`s, and the shift inside of the bytes is a renaming of planes.

mod sbox;

use super::bitsliced::{Planes, Planewise, broadcast};
use super::schedule;
use crate::secret::SecretBytes;

/// The planes of a round's key, equal for all lanes. Bytes, since that is what memory for secrets has.
type RoundKey = [[u8; 4]; 8];

/// SM4 with an expanded key. Source: GB/T 32907-2016; draft-ribose-cfrg-sm4-10 in English.
pub(super) struct Sm4 {
    /// A [`RoundKey`] for each round.
    round_keys: SecretBytes,
}

impl Sm4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        // What the S-box adds is added to the round keys, so that no round has to: its input's share directly, its output's share, which
        // stays in every word it comes to, wherever that word is an input. After 32 rounds each word got it eight times: nothing.
        const INPUT: u32 = u32::from_ne_bytes([sbox::INPUT; 4]);
        const OUTPUT: u32 = linear(u32::from_ne_bytes([sbox::OUTPUT; 4]));
        let mut carried = [0; 4];
        let mut round_keys = SecretBytes::zeroed(32 * size_of::<RoundKey>());
        let planes: &mut [RoundKey] = round_keys.bytes_mut().as_chunks_mut().0.as_chunks_mut().0;
        for (planes, round_key) in planes
            .iter_mut()
            .zip(schedule::sm4(key, sbox::sub_word).iter())
        {
            let [a, b, c, d] = carried;
            *planes = broadcast(round_key ^ INPUT ^ b ^ c ^ d).map(u32::to_ne_bytes);
            carried = [b, c, d, a ^ OUTPUT];
        }
        Self { round_keys }
    }
}

impl Planewise for Sm4 {
    fn encrypt<const N: usize>(&self, words: &mut [Planes<N>; 4]) {
        let [a, b, c, d] = words;
        let round_keys: &[RoundKey] = self.round_keys.danger_bytes().as_chunks().0.as_chunks().0;
        for [first, second, third, fourth] in round_keys.as_chunks().0 {
            round(a, b, c, d, first);
            round(b, c, d, a, second);
            round(c, d, a, b, third);
            round(d, a, b, c, fourth);
        }
        words.reverse();
    }
}

/// The linear map behind the S-box.
const fn linear(x: u32) -> u32 {
    x ^ x.rotate_left(2) ^ x.rotate_left(10) ^ x.rotate_left(18) ^ x.rotate_left(24)
}

/// `out ^= L(S(a ^ b ^ c ^ round_key))`, but for what the S-box adds.
#[expect(
    clippy::indexing_slicing,
    reason = "there are 8 planes of N lanes by type, and every index is below these by its loop's bounds"
)]
fn round<const N: usize>(
    out: &mut Planes<N>,
    a: &Planes<N>,
    b: &Planes<N>,
    c: &Planes<N>,
    round_key: &RoundKey,
) {
    for lane in 0..N {
        let mut x = round_key.map(u32::from_ne_bytes);
        for bit in 0..8 {
            x[bit] ^= a[bit][lane] ^ b[bit][lane] ^ c[bit][lane];
        }
        let x = sbox::circuit(x);
        // L(x) = x + x<<<24 + (x + x<<<8 + x<<<16)<<<2. The sum in parentheses is that of all four bytes and x<<<24.
        let (mut sums, mut others) = ([0; 8], [0; 8]);
        for bit in 0..8 {
            let turned = x[bit].rotate_left(24);
            sums[bit] = x[bit] ^ turned;
            others[bit] = sums[bit] ^ sums[bit].rotate_left(16) ^ turned;
        }
        for bit in 0..8 {
            let shifted = match bit {
                0 | 1 => others[bit + 6].rotate_left(8),
                _ => others[bit - 2],
            };
            out[bit][lane] ^= sums[bit] ^ shifted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::bitsliced::{Lanes, tests::keystream};

    #[test]
    fn the_block_of_the_standard_is_encrypted_as_there() {
        // GB/T 32907-2016, appendix A.1: key and plaintext are equal.
        let key = 0x01234567_89abcdef_fedcba98_76543210_u128;
        let block = keystream(&Lanes(Sm4::new(&key.to_be_bytes())), key, 1);
        let expected = 0x681edf34_d206965e_86b3e94f_536e4246_u128;
        assert_eq!(block, [expected.to_be_bytes()]);
    }
}
