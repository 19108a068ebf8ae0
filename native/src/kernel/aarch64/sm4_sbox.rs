//! SM4's S-box, taken apart at compile time so that look-ups in sixteen-byte registers are enough.
//!
//! The S-box is an inversion in GF(2^8) between two affine maps. The inversion runs in an isomorphic field that suits the processor and
//! hands out two nibbles. What follows is a table for each of them, whose entries are XORed. The linear map of a round goes into
//! the same tables, and the state stays in the other field's basis from the first round to the last, so nothing has to be mapped on the way.
//!
//! Source of the algebraic form: F. Liu et al., "Analysis of the SMS4 Block Cipher", ACISP 2007.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "it all runs in the compiler, which refuses an index out of bounds; bytes are counted as usize"
)]

/// Marks infinity where a nibble stands for the inverse of an element: above 15, also after a nibble was XORed to it, so that looking it
/// up gives zero.
const INFINITY: u8 = 0x80;

/// SM4's field and AES's: polynomials, the coefficient of x^0 lowest.
const SM4: u16 = 0x1f5;
const AES: u16 = 0x11b;

/// For each nibble of a byte, the low one first, what it adds to the result.
pub(super) type Nibbles = [[u8; 16]; 2];

/// What surrounds an inversion. "Inner" bytes are in the basis of the inversion's field.
pub(super) struct Sbox {
    /// A byte to an inner byte.
    pub(super) enter: Nibbles,
    /// An inner byte to a byte.
    pub(super) leave: Nibbles,
    /// To be XORed to an inner byte before the inversion.
    pub(super) before: u8,
    /// From the inversion's nibbles: the S-box's byte s, but for `after`.
    pub(super) byte: Nibbles,
    /// To be XORed to what `byte` gives.
    pub(super) after: u8,
    /// From the inversion's nibbles: s ^ (s >> 6), as an inner byte.
    pub(super) stays: Nibbles,
    /// From the inversion's nibbles: s ^ (s << 2), as an inner byte.
    pub(super) moves: Nibbles,
    /// What `after` becomes by a round's linear map, as an inner byte.
    pub(super) round: u8,
}

impl Sbox {
    /// `field` maps SM4's field to the inner basis; `inversion` holds the nibbles for each inner byte. The nibble `neutral` adds nothing
    /// to any result.
    const fn around(field: &Linear, inversion: &[[u8; 2]; 256], neutral: u8) -> Self {
        let before = field.apply(affine(0));
        let mut enter = [0; 8];
        let mut bit = 0;
        while bit < 8 {
            enter[bit] = field.apply(affine(1 << bit)) ^ before;
            bit += 1;
        }
        let enter = Linear(enter);
        let leave = enter.inverse();

        // Both nibbles neutral leave the constant; one of them neutral leaves what the other adds.
        let mut after = 0;
        let mut inner = 0;
        while inner < 256 {
            if inversion[inner][0] == neutral && inversion[inner][1] == neutral {
                after = sm4(leave.apply(inner as u8 ^ before));
            }
            inner += 1;
        }
        let mut byte = [[0; 16]; 2];
        inner = 0;
        while inner < 256 {
            let rest = sm4(leave.apply(inner as u8 ^ before)) ^ after;
            let [low, high] = inversion[inner];
            if high == neutral && low < 16 {
                byte[0][low as usize] = rest;
            }
            if low == neutral && high < 16 {
                byte[1][high as usize] = rest;
            }
            inner += 1;
        }

        let (mut stays, mut moves) = (byte, byte);
        let mut entry = 0;
        while entry < 32 {
            let s = byte[entry / 16][entry % 16];
            stays[entry / 16][entry % 16] = enter.apply(s ^ (s >> 6));
            moves[entry / 16][entry % 16] = enter.apply(s ^ (s << 2));
            entry += 1;
        }
        Self {
            enter: enter.nibbles(),
            leave: leave.nibbles(),
            before,
            byte,
            after,
            stays,
            moves,
            round: enter.apply(after.rotate_left(2)),
        }
    }
}

/// For AESE, which ends with AES's affine map: the nibbles are those of its byte.
pub(super) const VIA_AES: Sbox = {
    // The isomorphism sends x to a root that SM4's polynomial has in AES's field.
    let mut root = 2;
    while evaluate(SM4, root, AES) != 0 {
        root += 1;
    }
    let mut powers = [1; 8];
    let mut i = 1;
    while i < 8 {
        powers[i] = multiply(powers[i - 1], root, AES);
        i += 1;
    }
    let mut inversion = [[0; 2]; 256];
    let mut inner = 0;
    while inner < 256 {
        let byte = aes(inner as u8);
        inversion[inner] = [byte & 15, byte >> 4];
        inner += 1;
    }
    Sbox::around(&Linear(powers), &inversion, 0)
};

/// An inversion made of look-ups: GF(2^8) as pairs over GF(2^4).
///
/// An element is i w + j w', with w and w' conjugate, of norm 1 and trace t. Its byte holds k = i + j low and i high; the result's nibbles
/// stand for two linear combinations of its inverse's coordinates, and each is the inverse of what it stands for.
///
/// Source: M. Hamburg, "Accelerating AES with Vector Permute Instructions", CHES 2009.
pub(super) struct Tower {
    /// 1 / n.
    pub(super) inverse: [u8; 16],
    /// t² / n.
    pub(super) quotient: [u8; 16],
    pub(super) sbox: Sbox,
}

pub(super) const TOWER: Tower = {
    let mut w = 2;
    while power(w, 17, SM4) != 1 {
        w += 1;
    }
    let conjugate = power(w, 16, SM4);
    let trace = w ^ conjugate;
    // θ generates GF(2^4), since it lies in it, but not in GF(2^2).
    let mut theta = 2;
    while power(theta, 16, SM4) != theta || power(theta, 4, SM4) == theta {
        theta += 1;
    }
    // i w + (i + k) w' = i t + k w'.
    let (mut nibble, mut pair) = ([0; 8], [0; 8]);
    let mut i = 0;
    while i < 4 {
        nibble[i] = power(theta, i, SM4);
        pair[i] = multiply(nibble[i], conjugate, SM4);
        pair[i + 4] = multiply(nibble[i], trace, SM4);
        i += 1;
    }
    let nibble = Linear(nibble);
    let field = Linear(pair).inverse();

    let (mut inverse, mut quotient) = ([INFINITY; 16], [INFINITY; 16]);
    let mut n = 1;
    while n < 16 {
        // An element of GF(2^4), times t, is a pair with k = 0.
        let reciprocal = power(nibble.apply(n), 254, SM4);
        let times_t = multiply(reciprocal, trace, SM4);
        inverse[n as usize] = field.apply(times_t) >> 4;
        quotient[n as usize] = field.apply(multiply(times_t, power(trace, 2, SM4), SM4)) >> 4;
        n += 1;
    }

    let mut inversion = [[0; 2]; 256];
    let mut inner = 0;
    while inner < 256 {
        let (k, i) = (inner as u8 & 15, inner as u8 >> 4);
        let (j, ratio) = (i ^ k, quotient[k as usize]);
        inversion[inner] = [
            or_infinity(look_up(&inverse, look_up(&inverse, i) ^ ratio) ^ j),
            or_infinity(look_up(&inverse, look_up(&inverse, j) ^ ratio) ^ i),
        ];
        inner += 1;
    }
    Tower {
        inverse,
        quotient,
        sbox: Sbox::around(&field, &inversion, INFINITY),
    }
};

const fn look_up(table: &[u8; 16], index: u8) -> u8 {
    if index < 16 { table[index as usize] } else { 0 }
}

const fn or_infinity(nibble: u8) -> u8 {
    if nibble < 16 { nibble } else { INFINITY }
}

/// The S-box of SM4.
const fn sm4(byte: u8) -> u8 {
    affine(power(affine(byte), 254, SM4))
}

/// The affine map on both sides of the inversion.
const fn affine(x: u8) -> u8 {
    x ^ x.rotate_left(1) ^ x.rotate_left(3) ^ x.rotate_left(6) ^ x.rotate_left(7) ^ 0xd3
}

/// The S-box of AES. Source: FIPS 197 §5.1.1.
const fn aes(byte: u8) -> u8 {
    let x = power(byte, 254, AES);
    x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63
}

/// The product in the field of a polynomial of degree 8.
const fn multiply(a: u8, b: u8, field: u16) -> u8 {
    let mut product = 0;
    let mut bit = 8;
    while bit > 0 {
        bit -= 1;
        product = (product << 1) ^ (field * (product >> 7)) ^ (a as u16 * (b as u16 >> bit & 1));
    }
    product as u8
}

const fn power(base: u8, exponent: usize, field: u16) -> u8 {
    if exponent == 0 {
        return 1;
    }
    let root = power(base, exponent / 2, field);
    let square = multiply(root, root, field);
    if exponent % 2 == 1 {
        multiply(square, base, field)
    } else {
        square
    }
}

/// The value of a polynomial of degree 8 over GF(2).
const fn evaluate(polynomial: u16, at: u8, field: u16) -> u8 {
    let mut value = 0;
    let mut degree = 9;
    while degree > 0 {
        degree -= 1;
        value = multiply(value, at, field) ^ (polynomial >> degree & 1) as u8;
    }
    value
}

/// A linear map of bytes over GF(2): the images of the bits, lowest first.
struct Linear([u8; 8]);

impl Linear {
    const fn apply(&self, byte: u8) -> u8 {
        let mut image = 0;
        let mut bit = 0;
        while bit < 8 {
            image ^= self.0[bit] * (byte >> bit & 1);
            bit += 1;
        }
        image
    }

    const fn inverse(&self) -> Self {
        let mut inverse = [0; 8];
        let mut bit = 0;
        while bit < 8 {
            while self.apply(inverse[bit]) != 1 << bit {
                inverse[bit] += 1;
            }
            bit += 1;
        }
        Self(inverse)
    }

    const fn nibbles(&self) -> Nibbles {
        let mut nibbles = [[0; 16]; 2];
        let mut n = 0;
        while n < 16 {
            nibbles[0][n] = self.apply(n as u8);
            nibbles[1][n] = self.apply((n as u8) << 4);
            n += 1;
        }
        nibbles
    }
}
