//! The S-box of AES as a circuit of ANDs and XORs, which puts as many bytes through it as a word has bits, in constant time.
//!
//! S(x) = A·x⁻¹ + 0x63 in GF(2)\[x\] modulo x⁸+x⁴+x³+x+1, where A adds what x is turned left by 0 to 4. Source: FIPS 197 §5.1.1. The inverse is that of
//! [`tower`](crate::cipher::tower), whose bases are, in the standard's field: (W, W²) with W = 0xbc; (Z, Z⁴) with Z = 0xe0; (Y, Y¹⁶) with Y = 0x1e.
//! Of the eight choices that there are, this one's maps to and fro need the fewest XORs.

use crate::cipher::bitsliced::four_bytes;
use crate::cipher::tower::{Bits, Gf16, invert};

/// The S-box without its addition, from the lowest bit to the highest: S(x) = `circuit`(x) + [`OUTPUT`].
// Always inlined: see `tower::invert`.
#[inline(always)]
pub(super) fn circuit(x: [Bits; 8]) -> [Bits; 8] {
    let (high, low) = enter_tower(x);
    leave_tower(invert(high, low))
}

/// What the S-box adds.
pub(super) const OUTPUT: u8 = 0x63;

/// The coordinates of x in the tower.
#[inline(always)]
fn enter_tower([x0, x1, x2, x3, x4, x5, x6, x7]: [Bits; 8]) -> (Gf16, Gf16) {
    let x01 = x0 ^ x1;
    let x02 = x0 ^ x2;
    let x46 = x4 ^ x6;
    let x013 = x01 ^ x3;
    let x0137 = x013 ^ x7;
    let x0146 = x01 ^ x46;
    (
        [[x0137 ^ x2, x02 ^ x7], [x0146 ^ x2 ^ x7, x013 ^ x4]],
        [[x0146, x0137], [x02 ^ x46 ^ x5, x0137 ^ x6]],
    )
}

/// A times the element with these coordinates.
#[inline(always)]
fn leave_tower([[[x0, x1], [x2, x3]], [[x4, x5], [x6, x7]]]: [Gf16; 2]) -> [Bits; 8] {
    let x03 = x0 ^ x3;
    let x46 = x4 ^ x6;
    let x57 = x5 ^ x7;
    let x157 = x1 ^ x57;
    let x246 = x2 ^ x46;
    let x1357 = x157 ^ x3;
    [
        x246,
        x157 ^ x46,
        x03 ^ x4,
        x0,
        x03 ^ x5,
        x246 ^ x57 ^ x0,
        x1357 ^ x2 ^ x6,
        x1357 ^ x46,
    ]
}

/// Puts each of four bytes through the S-box.
pub(in crate::cipher) fn sub_word(word: u32) -> u32 {
    four_bytes(word, circuit) ^ u32::from_ne_bytes([OUTPUT; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_where_the_definition_sends_it() {
        fn multiply(a: u8, b: u8) -> u8 {
            (0..8).rev().fold(0, |product: u8, bit| {
                (product << 1) ^ (0x1b * (product >> 7)) ^ (a * (b >> bit & 1))
            })
        }
        for x in 0..=255 {
            let inverse = (0..254).fold(1, |power, _| multiply(power, x));
            let expected = (0..5).fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn));
            // Its neighbours in the word must not matter.
            let word = sub_word(u32::from_be_bytes([x, !x, x ^ 0x55, x]));
            assert_eq!(word.to_be_bytes()[0], expected, "{x:#x}");
            assert_eq!(word.to_be_bytes()[3], expected, "{x:#x}");
        }
    }
}
