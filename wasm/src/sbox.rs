//! The S-boxes of AES and SM4 as circuits of XOR and AND, derived from the fields that define them.
//!
//! Both are an inversion in GF(2^8) between two affine maps. For the inversion, x is cut into two halves of GF(2^4), a = Tr(ux) and
//! b = Tr(vx), so that x = a u' + b v' with the dual basis u', v'. Up to a factor β, its norm x^17 is c = αa² + ab + γb² in GF(2^4), and
//! 1/x = x^16 / x^17 = (a u'^16 + b v'^16) / βc. So a circuit multiplies three times in GF(2^4), inverts there, and is linear elsewhere:
//! those maps, with the affine ones merged in, are left to [`Xors`].
//!
//! A product in GF(2^4) is nine ANDs: pq = Σ m Tr(sp) Tr(sq) for nine pairs (s, m). There s = rt, where t runs through the three
//! non-zero elements of GF(4), and r through three elements whose ratios are not in GF(4) (Karatsuba's trick, twice).
//!
//! Sources: Itoh, Tsujii, "A fast algorithm for computing multiplicative inverses in GF(2^m) using normal bases", 1988; Canright,
//! "A very compact S-box for AES", CHES 2005; Boyar, Peralta, "A new combinational logic minimization technique with applications to
//! cryptology", SEA 2010.

#![expect(
    clippy::indexing_slicing,
    reason = "fixed sizes, and a constant evaluation that would fail"
)]

mod field;
mod linear;

use field::Field;
use linear::{Matrix, Xors};

pub(crate) use linear::Plane;

/// S(x) = circuit(x + `before`) + `after`. The constants are apart so that kernels can have them in their round keys.
pub(crate) struct Sbox {
    pub(crate) before: u8,
    pub(crate) after: u8,
    /// From x to the nine traces of a, those of b, and the bits of αa² + γb².
    top: Xors<8, 22>,
    /// From the nine products for ab, and those bits, to the bits of c.
    norm: Xors<13, 4>,
    /// From the bits of 1/c to its nine traces.
    spread: Xors<4, 9>,
    /// From the products for a/c, and those for b/c, to S(x).
    bottom: Xors<18, 8>,
}

/// Source: FIPS 197 §5.1.1.
pub(crate) static AES: Sbox = Sbox::new(&Definition {
    field: Field { modulus: 0x11b },
    input: (Rotations(0b0000_0001), 0),
    output: (Rotations(0b0001_1111), 0x63),
    halves: [0x60, 0x10],
    points: [0xed, 0x50, 0x0c],
    bits: [0xb0, 0x5c, 0xed, 0x0d],
});

/// GB/T 32907-2016 has a table. Source of its formula: Liu et al., "Analysis of the SMS4 block cipher", ACISP 2007.
pub(crate) static SM4: Sbox = Sbox::new(&Definition {
    field: Field { modulus: 0x1f5 },
    input: (Rotations(0b1100_1011), 0xd3),
    output: (Rotations(0b1100_1011), 0xd3),
    halves: [0x2a, 0x24],
    points: [0x7a, 0x26, 0x01],
    bits: [0x26, 0x0d, 0x01, 0x5d],
});

/// S(x) is `output` of the inverse of `input` of x; each is a linear map, then a constant to add.
///
/// The rest is a matter of choice: it decides how many gates there are, and not what they compute. These are the best of a search
/// through all halves and points.
struct Definition {
    field: Field,
    input: (Rotations, u8),
    output: (Rotations, u8),
    /// u and v.
    halves: [u8; 2],
    /// The three values of r.
    points: [u8; 3],
    /// The q of [`invert_16`].
    bits: [u8; 4],
}

/// The sum of x turned left by each number whose bit is set.
#[derive(Clone, Copy)]
struct Rotations(u8);

impl Rotations {
    const fn of(self, x: u8) -> u8 {
        let (mut sum, mut turn) = (0, 0);
        while turn < 8 {
            if self.0 >> turn & 1 != 0 {
                sum ^= x.rotate_left(turn);
            }
            turn += 1;
        }
        sum
    }
}

impl Sbox {
    #[inline(always)]
    pub(crate) fn circuit<P: Plane>(&self, x: [P; 8]) -> [P; 8] {
        let top = self.top.run(x);
        let (a, b, squares) = (&top[..9], &top[9..18], &top[18..]);
        let mut products = [x[0]; 13];
        for k in 0..9 {
            products[k] = a[k].and(b[k]);
        }
        products[9..].copy_from_slice(squares);
        let inverse = self.spread.run(invert_16(self.norm.run(products)));
        let mut products = [x[0]; 18];
        for k in 0..9 {
            products[k] = inverse[k].and(a[k]);
            products[k + 9] = inverse[k].and(b[k]);
        }
        self.bottom.run(products)
    }

    /// Each of four bytes through the S-box, for a key schedule.
    pub(crate) fn word(&self, word: u32) -> u32 {
        let word = word ^ u32::from_ne_bytes([self.before; 4]);
        let planes = self.circuit(core::array::from_fn(|bit| word >> bit & 0x0101_0101));
        let after = u32::from_ne_bytes([self.after; 4]);
        (0..8).fold(after, |word, bit| word ^ planes[bit] << bit)
    }

    /// The number of gates in the circuit.
    #[cfg(test)]
    fn gates(&self) -> usize {
        let xors = self.top.len() + self.norm.len() + self.spread.len() + self.bottom.len();
        xors + 27 + 17
    }

    const fn new(definition: &Definition) -> Self {
        let Definition {
            field,
            halves: [u, v],
            points,
            bits,
            ..
        } = *definition;
        let products = Products::new(field, points);
        // The dual basis: Tr(uu') = Tr(vv') = 1, Tr(uv') = Tr(vu') = 0.
        let dual = [dual_of(field, u, v), dual_of(field, v, u)];
        let beta = field.trace_to_16(field.multiply(dual[0], field.power(dual[1], 16)));
        let (mut top, mut norm, mut spread, mut bottom) = ([0; 22], [0; 4], [0; 9], [0; 8]);
        let mut half = 0;
        while half < 2 {
            let (w, dual) = ([u, v][half], dual[half]);
            let mut k = 0;
            while k < 9 {
                top[9 * half + k] = definition.trace_of_input(field.multiply(products.s[k], w));
                let image = field.multiply(field.power(dual, 16), field.invert(beta));
                let image = definition.output.0.of(field.multiply(image, products.m[k]));
                set_column(&mut bottom, 9 * half + k, image);
                k += 1;
            }
            let mut j = 0;
            while j < 4 {
                // Tr(qαa²) = Tr(√(qα) a), and the square root in GF(2^4) is the eighth power.
                let alpha = field.multiply(field.power(dual, 17), field.invert(beta));
                let root = field.power(field.multiply(bits[j], alpha), 8);
                top[18 + j] ^= definition.trace_of_input(field.multiply(root, w));
                j += 1;
            }
            half += 1;
        }
        let mut j = 0;
        while j < 4 {
            let mut k = 0;
            while k < 9 {
                norm[j] |= (field.trace_of_16(field.multiply(bits[j], products.m[k])) as u32) << k;
                spread[k] |=
                    (field.trace_of_16(field.multiply(products.s[k], bits[j])) as u32) << j;
                k += 1;
            }
            norm[j] |= 1 << (9 + j);
            j += 1;
        }
        Self {
            before: definition.before(),
            after: definition.output.1,
            top: Xors::new(&top),
            norm: Xors::new(&norm),
            spread: Xors::new(&spread),
            bottom: Xors::new(&bottom),
        }
    }
}

impl Definition {
    /// Tr(wy) as a sum of bits of x, where y is the linear part of `input`.
    const fn trace_of_input(&self, w: u8) -> u32 {
        let (mut row, mut bit) = (0, 0);
        while bit < 8 {
            let y = self.input.0.of(1 << bit);
            row |= (self.field.trace(self.field.multiply(w, y)) as u32) << bit;
            bit += 1;
        }
        row
    }

    /// What the constant of `input` is in front of its linear part.
    const fn before(&self) -> u8 {
        let mut x = 0;
        while self.input.0.of(x) != self.input.1 {
            x += 1;
        }
        x
    }
}

/// The pairs (s, m) of the multiplication in GF(2^4).
struct Products {
    s: [u8; 9],
    m: [u8; 9],
}

impl Products {
    /// In GF(4), pq = Σ t Tr(tp) Tr(tq). Over it, with f(p) = rp + (rp)^4, f(p) f(q) is quadratic in r^3 but for a factor r^2: so
    /// pq is what Lagrange's interpolation gives at 0.
    const fn new(field: Field, points: [u8; 3]) -> Self {
        let (mut s, mut m) = ([0; 9], [0; 9]);
        let third = cube_root_of_1(field);
        let mut i = 0;
        while i < 3 {
            let r = points[i];
            let mut weight = field.invert(field.power(r, 2));
            let mut j = 0;
            while j < 3 {
                if j != i {
                    let other = field.power(points[j], 3);
                    let distance = other ^ field.power(r, 3);
                    weight = field.multiply(weight, field.multiply(other, field.invert(distance)));
                }
                j += 1;
            }
            let mut j = 0;
            while j < 3 {
                let t = field.power(third, [1, 2, 3][j]);
                s[3 * i + j] = field.multiply(r, t);
                m[3 * i + j] = field.multiply(weight, t);
                j += 1;
            }
            i += 1;
        }
        Self { s, m }
    }
}

const fn cube_root_of_1(field: Field) -> u8 {
    let mut root = 2;
    while field.power(root, 3) != 1 {
        root += 1;
    }
    root
}

/// The element whose product with `v` has the trace 0 in GF(2^4), and with `u` 1.
const fn dual_of(field: Field, u: u8, v: u8) -> u8 {
    let quotient = field.multiply(u, field.invert(v));
    field.invert(field.multiply(v, field.trace_to_16(quotient)))
}

const fn set_column(matrix: &mut Matrix<8>, column: usize, bits: u8) {
    let mut row = 0;
    while row < 8 {
        matrix[row] |= (bits as u32 >> row & 1) << column;
        row += 1;
    }
}

/// Inverts c in GF(2^4): from the bits Tr(qc), for four q, to those bits by which the q add up to 1/c. It takes a suitable basis of q.
/// Source: Boyar, Peralta, 2010.
#[inline(always)]
fn invert_16<P: Plane>([a, b, c, d]: [P; 4]) -> [P; 4] {
    let ab = a.xor(b);
    let ac = a.and(c);
    let e = d.xor(ac);
    let z = ab.and(e).xor(b);
    let x = b.xor(ac).and(c.xor(d)).xor(d);
    let f = d.and(e.xor(x));
    let w = c.xor(x).xor(f);
    let y = ab.xor(z.and(e.xor(f)));
    [w, x, y, z]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substitute(sbox: &Sbox, x: u8) -> u8 {
        let word = sbox.word(u32::from_ne_bytes([x, 0, x, !x]));
        let [y, _, again, other] = word.to_ne_bytes();
        assert_eq!(
            (y, other),
            (again, sbox.word(u32::from(!x)).to_ne_bytes()[0])
        );
        y
    }

    /// x^254 by the definition, and the affine maps by it.
    fn defined(modulus: u16, rotations: [u8; 2], constants: [u8; 2], x: u8) -> u8 {
        let field = Field { modulus };
        let x = Rotations(rotations[0]).of(x) ^ constants[0];
        let inverse = (0..254).fold(1, |power, _| field.multiply(power, x));
        Rotations(rotations[1]).of(inverse) ^ constants[1]
    }

    #[test]
    fn aes_is_its_definition_for_every_byte() {
        for x in 0..=255 {
            let expected = defined(0x11b, [1, 0x1f], [0, 0x63], x);
            assert_eq!(substitute(&AES, x), expected, "{x:02x}");
        }
        // FIPS 197, table 4: the corners.
        let corners = [0x00, 0x0f, 0xf0, 0xff].map(|x| substitute(&AES, x));
        assert_eq!(corners, [0x63, 0x76, 0x8c, 0x16]);
    }

    #[test]
    fn sm4_is_its_definition_for_every_byte() {
        for x in 0..=255 {
            let expected = defined(0x1f5, [0xcb; 2], [0xd3; 2], x);
            assert_eq!(substitute(&SM4, x), expected, "{x:02x}");
        }
        // GB/T 32907-2016, table 1: the corners.
        let corners = [0x00, 0x0f, 0xf0, 0xff].map(|x| substitute(&SM4, x));
        assert_eq!(corners, [0xd6, 0x05, 0x18, 0x48]);
    }

    #[test]
    fn the_circuits_stay_about_as_small_as_the_best_that_are_known() {
        // AES: 115 in Boyar, Peralta, 2010.
        assert_eq!([AES.gates(), SM4.gates()], [115, 118]);
    }
}
