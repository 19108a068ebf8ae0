//! The inversion that is the heart of the S-boxes of AES and SM4, as a circuit of ANDs and XORs in the tower GF(((2²)²)²) over normal bases.
//!
//! The bases are (W, W²), (Z, Z⁴) and (Y, Y¹⁶), with 1 = W + W² = Z + Z⁴ = Y + Y¹⁶, Z·Z⁴ = W², and Y·Y¹⁶ = ν = Z + W·Z⁴. There is only one field of 256
//! elements, however it is written: each S-box says which of its own elements these are, and has its own maps to and fro.
//! Source: Canright, "A Very Compact S-Box for AES", CHES 2005.

/// A bit of each byte. Each bit of the `u32` belongs to another byte.
pub(super) type Bits = u32;

/// x₀W + x₁W².
type Gf4 = [Bits; 2];
/// x₀Z + x₁Z⁴.
pub(super) type Gf16 = [Gf4; 2];

/// The coordinates of 1/(aY + bY¹⁶), and 0 of 0.
// Always inlined, with what it calls: the loop around it becomes vector instructions only as a whole.
#[inline(always)]
pub(super) fn invert(a: Gf16, b: Gf16) -> [Gf16; 2] {
    // 1/(aY + bY¹⁶) = (bY + aY¹⁶) / (ν(a + b)² + ab)
    let norm = add16(square_times_nu(add16(a, b)), multiply16(a, b));
    let inverse = invert16(norm);
    [multiply16(b, inverse), multiply16(a, inverse)]
}

#[inline(always)]
fn add4(a: Gf4, b: Gf4) -> Gf4 {
    [a[0] ^ b[0], a[1] ^ b[1]]
}

#[inline(always)]
fn add16(a: Gf16, b: Gf16) -> Gf16 {
    [add4(a[0], b[0]), add4(a[1], b[1])]
}

/// Three products in place of four: Karatsuba's.
#[inline(always)]
fn multiply4(a: Gf4, b: Gf4) -> Gf4 {
    let both = (a[0] ^ a[1]) & (b[0] ^ b[1]);
    [both ^ (a[0] & b[0]), both ^ (a[1] & b[1])]
}

/// The square, which is the inverse too.
#[inline(always)]
fn square4([x0, x1]: Gf4) -> Gf4 {
    [x1, x0]
}

/// W²x.
#[inline(always)]
fn times_w2([x0, x1]: Gf4) -> Gf4 {
    [x0 ^ x1, x0]
}

#[inline(always)]
fn multiply16(a: Gf16, b: Gf16) -> Gf16 {
    let both = times_w2(multiply4(add4(a[0], a[1]), add4(b[0], b[1])));
    [
        add4(both, multiply4(a[0], b[0])),
        add4(both, multiply4(a[1], b[1])),
    ]
}

/// 1/(aZ + bZ⁴) = (bZ + aZ⁴) / (W²(a + b)² + ab)
#[inline(always)]
fn invert16([a, b]: Gf16) -> Gf16 {
    let norm = add4(times_w2(square4(add4(a, b))), multiply4(a, b));
    let inverse = square4(norm);
    [multiply4(b, inverse), multiply4(a, inverse)]
}

/// νx², which is linear.
#[inline(always)]
fn square_times_nu([[x0, x1], [x2, x3]]: Gf16) -> Gf16 {
    [[x3, x2], [x0 ^ x1 ^ x3, x1 ^ x2]]
}
