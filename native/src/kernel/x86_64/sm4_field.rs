//! The S-box of SM4 in the field of the processor's instructions, worked out by the compiler.
//!
//! SM4 inverts modulo x^8+x^7+x^6+x^5+x^4+x^2+1; AESENCLAST and GF2P8AFFINEINVQB invert modulo x^8+x^4+x^3+x+1. Fields of one
//! size are isomorphic, so with linear maps before and behind, their inversion is SM4's. Those maps, and the linear layer L
//! behind the S-box, are 8×8 matrices over bits, and so is every product of them: all that is linear between two inversions is
//! one instruction. Source: Liu et al., "Analysis of the SMS4 Block Cipher", ACISP 2007, §3.

/// The polynomials that the two fields are taken modulo.
const SM4: u16 = 0x1f5;
const AES: u16 = 0x11b;

/// The affine map on both sides of SM4's inversion: a circulant matrix, of which this is the first column, and a constant.
const CIRCULANT: u8 = 0xcb;
pub(super) const CONSTANT: u8 = 0xd3;

/// A linear map of bytes: the image of each bit, that of the lowest first.
#[derive(Clone, Copy)]
pub(super) struct Matrix([u8; 8]);

/// Into the basis that the rounds work in. The state and the round keys are kept there, so that no round has a map in front of
/// its inversion: x becomes `INTO`·x.
pub(super) const INTO: Matrix = ISOMORPHISM.after(AFFINE);

/// Back again.
pub(super) const OUT_OF: Matrix = INTO.inverse();

/// Is added to the sum that goes into the inversion; the round keys carry it.
pub(super) const OFFSET: u8 = ISOMORPHISM.apply(CONSTANT);

/// From the inversion to S: S(x) = `BEHIND`·(`INTO`·x + `OFFSET`)^-1 + `CONSTANT`.
pub(super) const BEHIND: Matrix = AFFINE.after(ISOMORPHISM.inverse());

/// From the inversion to what it adds to the byte at its own place in a word, in the basis of the state.
///
/// L turns a word left by 0, 2, 10, 18, 24 bits and sums. In bytes: each adds itself and itself << 2 in place (`OWN`), its << 2
/// and its >> 6 one place and two places to the left (`LEFT`), and itself and its >> 6 three places to the left (`OWN` + `LEFT`).
pub(super) const OWN: Matrix = INTO.after(SHIFTED_IN_PLACE).after(BEHIND);

/// From the inversion to what it adds to the byte one place and two places to the left.
pub(super) const LEFT: Matrix = INTO.after(SHIFTED_LEFT).after(BEHIND);

/// What [`CONSTANT`] comes to behind L, in the basis of the state. `OWN` goes into each byte twice and `LEFT` three times, so
/// this is right where it is added to every product with `LEFT`, and no matter for `OWN`.
pub(super) const LEFT_CONSTANT: u8 = INTO.after(SHIFTED_LEFT).apply(CONSTANT);

/// The affine map of the AES S-box behind its inversion, and its constant. Source: FIPS 197 §5.1.1.
pub(super) const AES_AFFINE: Matrix = circulant(0x1f);
pub(super) const AES_CONSTANT: u8 = 0x63;

const AFFINE: Matrix = circulant(CIRCULANT);
const ISOMORPHISM: Matrix = isomorphism();
const SHIFTED_IN_PLACE: Matrix = Matrix([0x05, 0x0a, 0x14, 0x28, 0x50, 0xa0, 0x40, 0x80]);
const SHIFTED_LEFT: Matrix = circulant(0x04);

#[expect(
    clippy::indexing_slicing,
    reason = "indices are below 8, and the compiler evaluates this"
)]
impl Matrix {
    pub(super) const fn apply(self, x: u8) -> u8 {
        let (mut sum, mut bit) = (0, 0);
        while bit < 8 {
            sum ^= self.0[bit] * (x >> bit & 1);
            bit += 1;
        }
        sum
    }

    pub(super) const fn after(self, first: Self) -> Self {
        let (mut columns, mut bit) = ([0; 8], 0);
        while bit < 8 {
            columns[bit] = self.apply(first.0[bit]);
            bit += 1;
        }
        Self(columns)
    }

    pub(super) const fn inverse(self) -> Self {
        let (mut columns, mut bit) = ([0; 8], 0);
        while bit < 8 {
            while self.apply(columns[bit]) != 1 << bit {
                columns[bit] += 1;
            }
            bit += 1;
        }
        Self(columns)
    }

    /// As GF2P8AFFINEQB takes it: one row per byte, that of the highest bit lowest.
    pub(super) const fn rows(self) -> i64 {
        let (mut rows, mut at) = (0, 0);
        while at < 64 {
            let (row, column) = (7 - at / 8, at % 8);
            rows |= ((self.0[column] >> row & 1) as i64) << at;
            at += 1;
        }
        rows
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "indices are below 8, and the compiler evaluates this"
)]
const fn circulant(first: u8) -> Matrix {
    let (mut columns, mut bit) = ([0; 8], 0);
    while bit < 8 {
        columns[bit] = first.rotate_left(bit as u32);
        bit += 1;
    }
    Matrix(columns)
}

/// From SM4's field into that of AES: x goes to a root of SM4's polynomial, and so x^i to its powers.
#[expect(
    clippy::indexing_slicing,
    reason = "indices are below 8, and the compiler evaluates this"
)]
const fn isomorphism() -> Matrix {
    let mut root = 2;
    loop {
        let (mut powers, mut power, mut value, mut bit) = ([0; 8], 1, 0, 0);
        while bit <= 8 {
            if bit < 8 {
                powers[bit] = power;
            }
            value ^= power * (SM4 >> bit & 1) as u8;
            power = multiply(power, root, AES);
            bit += 1;
        }
        if value == 0 {
            return Matrix(powers);
        }
        root += 1;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "reduced below 2^8")]
const fn multiply(a: u8, b: u8, modulus: u16) -> u8 {
    let (mut product, mut bit) = (0_u16, 8);
    while bit > 0 {
        bit -= 1;
        product <<= 1;
        product ^= modulus * (product >> 8);
        product ^= a as u16 * (b >> bit & 1) as u16;
    }
    product as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x^254, which is the inverse.
    fn invert(x: u8, modulus: u16) -> u8 {
        (0..254).fold(1, |power, _| multiply(power, x, modulus))
    }

    /// The S-box as its designers made it, in its own field.
    fn sm4_sbox(x: u8) -> u8 {
        AFFINE.apply(invert(AFFINE.apply(x) ^ CONSTANT, SM4)) ^ CONSTANT
    }

    #[test]
    fn the_s_box_has_the_entries_of_the_standard() {
        // GB/T 32907-2016 §6.2: the first row, and the example S(ef) = 84.
        let row = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map(sm4_sbox);
        assert_eq!(
            u128::from_be_bytes(row),
            0xd690e9fe_cce13db7_16b614c2_28fb2c05
        );
        assert_eq!(sm4_sbox(0xef), 0x84);
    }

    #[test]
    fn the_maps_around_the_inversion_of_aes_make_the_s_box() {
        for x in 0..=255 {
            let inverse = invert(INTO.apply(x) ^ OFFSET, AES);
            assert_eq!(BEHIND.apply(inverse) ^ CONSTANT, sm4_sbox(x), "{x:x}");
            assert_eq!(OUT_OF.apply(INTO.apply(x)), x);
        }
    }

    #[test]
    fn the_three_maps_make_the_linear_layer() {
        for word in (0..4).flat_map(|byte| (0..=255).map(move |x: u32| x << (8 * byte))) {
            let expected = [2, 10, 18, 24]
                .iter()
                .fold(word, |sum, turn| sum ^ word.rotate_left(*turn));
            let own = word.to_be_bytes().map(|x| SHIFTED_IN_PLACE.apply(x));
            let left = word.to_be_bytes().map(|x| SHIFTED_LEFT.apply(x));
            let found: [u8; 4] = std::array::from_fn(|i| {
                let at = |bytes: [u8; 4], places: usize| bytes[(i + places) % 4];
                at(own, 0) ^ at(left, 1) ^ at(left, 2) ^ at(own, 3) ^ at(left, 3)
            });
            assert_eq!(u32::from_be_bytes(found), expected, "{word:x}");
        }
    }
}
