//! Arithmetic in GF(2^8), at compile time: what the S-boxes are derived from.

/// Polynomials over GF(2) modulo one of degree 8. An element is its coefficients, the lowest in the lowest bit.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) modulus: u16,
}

impl Field {
    pub(super) const fn multiply(self, a: u8, b: u8) -> u8 {
        let (mut product, mut bit) = (0_u16, 8);
        while bit > 0 {
            bit -= 1;
            product <<= 1;
            if product >> 8 != 0 {
                product ^= self.modulus;
            }
            if b >> bit & 1 != 0 {
                product ^= a as u16;
            }
        }
        product.to_le_bytes()[0]
    }

    pub(super) const fn power(self, base: u8, exponent: u8) -> u8 {
        let (mut power, mut bit) = (1, 8);
        while bit > 0 {
            bit -= 1;
            power = self.multiply(power, power);
            if exponent >> bit & 1 != 0 {
                power = self.multiply(power, base);
            }
        }
        power
    }

    /// The inverse; 0 for 0.
    pub(super) const fn invert(self, a: u8) -> u8 {
        self.power(a, 254)
    }

    /// The trace to GF(2). Every linear map to one bit is `x` ↦ `trace(w * x)` for one `w`.
    pub(super) const fn trace(self, a: u8) -> bool {
        self.trace_of_16(self.trace_to_16(a))
    }

    /// The trace to the subfield GF(2^4).
    pub(super) const fn trace_to_16(self, a: u8) -> u8 {
        a ^ self.power(a, 16)
    }

    /// The trace from that subfield to GF(2).
    pub(super) const fn trace_of_16(self, a: u8) -> bool {
        let to_4 = a ^ self.power(a, 4);
        to_4 ^ self.power(to_4, 2) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_of_aes_multiplies_and_inverts_as_the_standard_says() {
        let field = Field { modulus: 0x11b };
        // FIPS 197 §4.2; its S-box takes 53 to ed, the image of the inverse ca.
        assert_eq!(field.multiply(0x57, 0x83), 0xc1);
        assert_eq!(field.invert(0x53), 0xca);
        for modulus in [0x11b, 0x1f5] {
            let field = Field { modulus };
            assert!((1..=255).all(|a| field.multiply(a, field.invert(a)) == 1));
            assert_eq!((0..=255).filter(|a| field.trace(*a)).count(), 128);
        }
    }
}
