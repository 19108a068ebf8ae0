//! Linear maps over GF(2), and how to compute one with few XORs.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "fixed sizes that a constant evaluation checks"
)]

/// Bits that an S-box is computed on, the same bit of many bytes at once.
pub(crate) trait Plane: Copy {
    fn xor(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
}

impl Plane for u32 {
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    fn and(self, other: Self) -> Self {
        self & other
    }
}

/// `OUT` sums of bits: bit `i` of row `o` says that input `i` belongs to output `o`.
pub(super) type Matrix<const OUT: usize> = [u32; OUT];

/// The XORs that a [`Matrix`] with `IN` columns needs. Wires `0..IN` are the inputs, and each step adds the XOR of two wires as the next.
#[derive(Clone, Copy)]
pub(super) struct Xors<const IN: usize, const OUT: usize> {
    steps: [(u8, u8); MAX_STEPS],
    len: usize,
    outputs: [u8; OUT],
}

const MAX_STEPS: usize = 32;
const MAX_WIRES: usize = 64;

impl<const IN: usize, const OUT: usize> Xors<IN, OUT> {
    /// Adds those two wires first that occur together in most outputs, once for all of them, and so on.
    /// Source: Paar, "Optimized arithmetic for Reed-Solomon encoders", ISIT 1997.
    pub(super) const fn new(matrix: &Matrix<OUT>) -> Self {
        // To which outputs a wire still has to be added.
        let mut uses = [0_u32; MAX_WIRES];
        let mut o = 0;
        while o < OUT {
            let mut i = 0;
            while i < IN {
                uses[i] |= (matrix[o] >> i & 1) << o;
                i += 1;
            }
            o += 1;
        }
        let (mut steps, mut len) = ([(0, 0); MAX_STEPS], 0);
        while let Some((a, b)) = most_frequent_pair(&uses, IN + len) {
            let both = uses[a] & uses[b];
            uses[a] ^= both;
            uses[b] ^= both;
            uses[IN + len] = both;
            steps[len] = (a as u8, b as u8);
            len += 1;
        }
        // Now each output has one wire.
        let mut outputs = [0; OUT];
        let mut wire = 0;
        while wire < IN + len {
            let mut o = 0;
            while o < OUT {
                if uses[wire] >> o & 1 != 0 {
                    outputs[o] = wire as u8;
                }
                o += 1;
            }
            wire += 1;
        }
        Self {
            steps,
            len,
            outputs,
        }
    }

    /// How many XORs there are.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    // Where `self` is known to the compiler, only the XORs are left of this. It doesn't unroll a loop that is so long, and inside of one
    // every wire would be a load: so the steps are written out.
    #[inline(always)]
    pub(super) fn run<P: Plane>(&self, inputs: [P; IN]) -> [P; OUT] {
        let mut wires = [inputs[0]; MAX_WIRES];
        wires[..IN].copy_from_slice(&inputs);
        macro_rules! steps { ($($i:literal)*) => { $( if $i < self.len {
            let (a, b) = self.steps[$i];
            wires[IN + $i] = wires[a as usize].xor(wires[b as usize]);
        } )* } }
        steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        let mut outputs = [inputs[0]; OUT];
        macro_rules! outputs { ($($o:literal)*) => { $( if $o < OUT {
            outputs[$o] = wires[self.outputs[$o] as usize];
        } )* } }
        outputs!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21);
        outputs
    }
}

/// Of the first `wires`, the two that are still to be added to the most outputs; `None` when no output needs two.
const fn most_frequent_pair(uses: &[u32; MAX_WIRES], wires: usize) -> Option<(usize, usize)> {
    let (mut most, mut pair) = (0, None);
    let mut a = 0;
    while a < wires {
        let mut b = 0;
        while b < a {
            let together = (uses[a] & uses[b]).count_ones();
            if together > most {
                (most, pair) = (together, Some((a, b)));
            }
            b += 1;
        }
        a += 1;
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xors_compute_the_matrix() {
        const MATRIX: Matrix<5> = [
            0b1101_0110,
            0b0101_0110,
            0b1000_0000,
            0b1111_1111,
            0b0000_0110,
        ];
        const XORS: Xors<8, 5> = Xors::new(&MATRIX);
        for x in 0..=255_u32 {
            let bits = XORS.run(std::array::from_fn(|i| x >> i & 1));
            assert_eq!(bits, MATRIX.map(|row| (row & x).count_ones() & 1), "{x:x}");
        }
    }

    #[test]
    fn what_outputs_share_is_added_once() {
        const SHARED: Xors<4, 3> = Xors::new(&[0b0111, 0b1111, 0b0011]);
        assert_eq!(SHARED.len(), 3);
    }
}
