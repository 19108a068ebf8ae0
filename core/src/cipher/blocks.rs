//! Counter mode on top of a kernel that knows whole blocks only.
//!
//! Every kernel has to begin inside a block, end inside one, and carry through all 128 bits of the counter. That is done here, once, so
//! that a kernel is its cipher and nothing else.

use cipher::Array;
use cipher::consts::U16;
use inout::InOutBuf;
use zeroize::optimization_barrier;

use super::CtrKernel;
use crate::iv::Iv;

/// One block of the cipher: 16 bytes, as `[u8; 16]` in memory.
pub type Block = Array<u8, U16>;

/// Length of a [`Block`] in bytes.
pub const BLOCK_LEN: usize = 16;

/// The most bytes that [`CtrBlocks::apply_short`] is called for: those of the widest register.
pub const SHORT_LEN: usize = 4 * BLOCK_LEN;

/// XORs the encryption of consecutive counters over whole blocks. [`Blockwise`] makes a [`CtrKernel`] of it.
pub trait CtrBlocks: Send + Sync {
    /// XORs E(`counter`), E(`counter` + 1), … over `blocks`. The block that is encrypted is the counter in big-endian order.
    ///
    /// The caller sees to it that there is a block, and that the low 64 bits of the counter do not wrap on the way to the last block:
    /// a kernel may add to them alone.
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>);

    /// XORs over at most [`SHORT_LEN`] bytes, which begin `skip` < 16 bytes into the block of `counter`, if there is a faster way to
    /// that than by whole blocks; otherwise does nothing and returns `false`.
    ///
    /// The caller sees to it that the low 64 bits of the counter do not wrap before the last byte.
    fn apply_short(&self, counter: u128, skip: usize, data: InOutBuf<'_, '_, u8>) -> bool {
        let _ = (counter, skip, data);
        false
    }

    /// See [`CtrKernel::prepared`]; `counter` is that of the file's first block.
    fn prepared(&self, counter: u128) -> Option<alloc::sync::Arc<dyn CtrKernel>> {
        let _ = counter;
        None
    }
}

/// Counter mode over any bytes, made of a kernel for whole blocks.
///
/// What is left of whole blocks at either end is staged: copied to the stack, XORed there, copied back. A kernel never sees memory
/// beyond the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Blockwise<B>(pub B);

/// The low half of a counter.
const LOW: u128 = u64::MAX as u128;

/// Up to this many blocks, data that doesn't begin and end with a block is staged as a whole: one call of the kernel in place of three.
const STAGED_BLOCKS: usize = 16;

impl<B: CtrBlocks> CtrKernel for Blockwise<B> {
    fn apply(&self, iv: &Iv, offset: u64, mut data: InOutBuf<'_, '_, u8>) {
        if data.is_empty() {
            return;
        }
        let counter = u128::from_be_bytes(*iv.as_bytes()).wrapping_add(u128::from(offset / 16));
        let skip = (offset % 16) as usize;
        if data.len() <= SHORT_LEN
            && (counter & LOW) + SHORT_LEN as u128 <= LOW
            && self.0.apply_short(counter, skip, data.reborrow())
        {
            return;
        }
        if skip == 0 && data.len().is_multiple_of(BLOCK_LEN) {
            self.whole(counter, data.into_chunks().0);
        } else if skip + data.len() <= STAGED_BLOCKS * BLOCK_LEN {
            self.staged::<STAGED_BLOCKS>(counter, skip, data);
        } else {
            self.long(counter, skip, data);
        }
    }

    fn prepared(&self, iv: &Iv) -> Option<alloc::sync::Arc<dyn CtrKernel>> {
        self.0.prepared(u128::from_be_bytes(*iv.as_bytes()))
    }
}

impl<B: CtrBlocks> Blockwise<B> {
    /// A partial block, whole ones, a partial one.
    #[inline(never)]
    fn long(&self, mut counter: u128, skip: usize, data: InOutBuf<'_, '_, u8>) {
        let head_len = (BLOCK_LEN - skip) % BLOCK_LEN;
        let (head, rest) = data.split_at(head_len);
        if head_len != 0 {
            self.staged::<1>(counter, skip, head);
            counter = counter.wrapping_add(1);
        }
        let (blocks, tail) = rest.into_chunks();
        let behind = counter.wrapping_add(blocks.len() as u128);
        self.whole(counter, blocks);
        if !tail.is_empty() {
            self.staged::<1>(behind, 0, tail);
        }
    }

    /// XORs `data`, which begins `skip` bytes into the block of `counter` and ends within `N` blocks.
    #[inline(never)]
    #[expect(
        clippy::indexing_slicing,
        reason = "data that doesn't fit must not pass for encrypted"
    )]
    fn staged<const N: usize>(&self, counter: u128, skip: usize, data: InOutBuf<'_, '_, u8>) {
        let mut stage = [Block::default(); N];
        let end = skip + data.len();
        let used = &mut stage[..end.div_ceil(BLOCK_LEN)];
        let bytes = Array::slice_as_flattened_mut(used);
        bytes[skip..end].copy_from_slice(data.get_in());
        self.whole(counter, (&mut *used).into());
        let bytes = Array::slice_as_flattened(used);
        data.into_out().copy_from_slice(&bytes[skip..end]);
        // Beside the data, the stage holds bare keystream.
        used.fill(Block::default());
        optimization_barrier(used);
    }

    /// Splits where the low 64 bits of the counter wrap, so that kernels need not look.
    fn whole(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        let until_wrap = (1 << 64) - (counter & LOW);
        match usize::try_from(until_wrap) {
            Ok(before) if before < blocks.len() => {
                let (before_wrap, behind) = blocks.split_at(before);
                self.0.apply_blocks(counter, before_wrap);
                self.0
                    .apply_blocks(counter.wrapping_add(before as u128), behind);
            }
            _ => self.0.apply_blocks(counter, blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// The keystream of counter c is c itself: what a kernel was asked for can be read from the output.
    struct Counters;

    impl CtrBlocks for Counters {
        fn apply_blocks(&self, counter: u128, mut blocks: InOutBuf<'_, '_, Block>) {
            assert!(!blocks.is_empty(), "there is a block");
            let last = blocks.len() as u64 - 1;
            assert!(
                (counter & u128::from(u64::MAX)) + u128::from(last) < 1 << 64,
                "the low 64 bits don't wrap"
            );
            for (i, mut block) in blocks.reborrow().into_iter().enumerate() {
                let keystream = Block::from((counter + i as u128).to_be_bytes());
                block.xor_in2out(&keystream);
            }
        }
    }

    fn expected(iv: u128, offset: u64, len: usize) -> Vec<u8> {
        (offset..)
            .take(len)
            .map(|at| iv.wrapping_add(u128::from(at / 16)).to_be_bytes()[(at % 16) as usize])
            .collect()
    }

    #[test]
    fn every_start_and_end_within_a_block_gets_its_bytes_of_the_keystream() {
        for offset in 0..33 {
            for len in 0..600 {
                let (mut in_place, mut copied) = (vec![0; len], vec![0xee; len]);
                let kernel = Blockwise(Counters);
                let iv = Iv::new(7_u128.to_be_bytes());
                kernel.apply(&iv, offset, in_place.as_mut_slice().into());
                let source = vec![0; len];
                let both = InOutBuf::new(&source, &mut copied).unwrap();
                kernel.apply(&iv, offset, both);
                assert_eq!(in_place, expected(7, offset, len), "{offset}+{len}");
                assert_eq!(copied, in_place);
            }
        }
    }

    #[test]
    fn the_counter_carries_through_all_128_bits() {
        let near = [u128::from(u32::MAX), u128::from(u64::MAX), u128::MAX];
        for iv in near.into_iter().flat_map(|end| end - 40..=end) {
            for (offset, len) in [(0, 1024), (5, 100), (16, 160), (31, 1000)] {
                let mut data = vec![0; len];
                Blockwise(Counters).apply(
                    &Iv::new(iv.to_be_bytes()),
                    offset,
                    data.as_mut_slice().into(),
                );
                assert_eq!(data, expected(iv, offset, len), "{iv:x} {offset}+{len}");
            }
        }
    }
}
