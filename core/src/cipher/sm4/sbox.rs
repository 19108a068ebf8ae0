//! The S-box of SM4 as a circuit of ANDs and XORs, which puts as many bytes through it as a word has bits, in constant time.
//!
//! S(x) = A·(A·x + c)⁻¹ + c in GF(2)\[x\] modulo x⁸+x⁷+x⁶+x⁵+x⁴+x²+1, where c is 0xd3 and row i of the matrix A is 0xa7 turned left by i
//! (Liu et al., "Analysis of the SMS4 Block Cipher", ACISP 2007). The inverse is that of [`tower`](crate::cipher::tower), whose bases are, in
//! the standard's field: (W, W²) with W = 0x5c; (Z, Z⁴) with Z = 0x50; (Y, Y¹⁶) with Y = 0xbe. Hence ν = 0x2b.
//! Of all such towers, this one's maps to and fro need the fewest XORs.

use crate::cipher::bitsliced::four_bytes;
use crate::cipher::tower::{Bits, Gf16, invert};

/// The S-box without its additions, from the lowest bit to the highest: S(x) = `circuit`(x + [`INPUT`]) + [`OUTPUT`].
// Always inlined, with what it calls: the loop around it becomes vector instructions only as a whole.
#[inline(always)]
pub(super) fn circuit(x: [Bits; 8]) -> [Bits; 8] {
    let (high, low) = enter_tower(x);
    leave_tower(invert(high, low))
}

/// The solution of A·x = c: added before the circuit, it stands for the addition of c before the inversion.
pub(super) const INPUT: u8 = 0x75;
/// c itself.
pub(super) const OUTPUT: u8 = 0xd3;

/// The coordinates of A·x in the tower.
#[inline(always)]
fn enter_tower([x0, x1, x2, x3, x4, x5, x6, x7]: [Bits; 8]) -> (Gf16, Gf16) {
    let x46 = x4 ^ x6;
    let x046 = x0 ^ x46;
    let x15 = x1 ^ x5;
    let x367 = x3 ^ x6 ^ x7;
    (
        [[x2 ^ x15, x2 ^ x46], [x1 ^ x7, x5 ^ x367]],
        [[x5 ^ x046, x0 ^ x1 ^ x6], [x046, x2]],
    )
}

/// A times the element with these coordinates.
#[inline(always)]
fn leave_tower([[[x0, x1], [x2, x3]], [[x4, x5], [x6, x7]]]: [Gf16; 2]) -> [Bits; 8] {
    let x45 = x4 ^ x5;
    let x06 = x0 ^ x6;
    let x145 = x1 ^ x45;
    let x1345 = x3 ^ x145;
    let x01345 = x0 ^ x1345;
    [
        x6,
        x2 ^ x4 ^ x6,
        x06 ^ x45,
        x7 ^ x1345,
        x06 ^ x7 ^ x145,
        x2 ^ x01345,
        x1,
        x01345,
    ]
}

/// Puts each of four bytes through the S-box.
pub(super) fn sub_word(word: u32) -> u32 {
    four_bytes(word ^ u32::from_ne_bytes([INPUT; 4]), circuit) ^ u32::from_ne_bytes([OUTPUT; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_where_the_definition_sends_it() {
        fn multiply(a: u8, b: u8) -> u8 {
            (0..8).rev().fold(0, |product: u8, bit| {
                (product << 1) ^ (0xf5 * (product >> 7)) ^ (a * (b >> bit & 1))
            })
        }
        let a = |x: u8| {
            (0..8).fold(0, |sum, i| {
                let row = 0xa7_u8.rotate_left(i);
                let odd = (row & x).count_ones() % 2 == 1;
                sum | u8::from(odd) << i
            })
        };
        for x in 0..=255 {
            let mapped = a(x) ^ 0xd3;
            let inverse = (0..254).fold(1, |power, _| multiply(power, mapped));
            let expected = a(inverse) ^ 0xd3;
            // Its neighbours in the word must not matter.
            let word = sub_word(u32::from_be_bytes([x, !x, x ^ 0x55, x]));
            assert_eq!(word.to_be_bytes()[0], expected, "{x:#x}");
            assert_eq!(word.to_be_bytes()[3], expected, "{x:#x}");
        }
    }
}
