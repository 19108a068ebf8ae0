//! The caller's data on its way through a kernel.

use std::marker::PhantomData;

use inout::InOutBuf;
use stillkey_core::cipher::{BLOCK_LEN, Block};

/// Whole blocks that are left to be done, and the counter of the first.
pub(super) struct Run<'a> {
    counter: u128,
    /// `blocks` blocks can be read here, and written at `to`. Both are the same, or apart.
    from: *const u8,
    to: *mut u8,
    blocks: usize,
    buffer: PhantomData<InOutBuf<'a, 'a, Block>>,
}

impl<'a> Run<'a> {
    #[inline(always)]
    pub(super) fn new(counter: u128, blocks: InOutBuf<'a, 'a, Block>) -> Self {
        let len = blocks.len();
        let (from, to) = blocks.into_raw();
        Self {
            counter,
            from: from.cast(),
            to: to.cast(),
            blocks: len,
            buffer: PhantomData,
        }
    }

    /// Of the first block that is left.
    #[inline(always)]
    pub(super) fn counter(&self) -> u128 {
        self.counter
    }

    /// How many blocks are left: so many can be read at [`Run::from`] and written at [`Run::to`].
    #[inline(always)]
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Where the first block that is left is read.
    #[inline(always)]
    pub(super) fn from(&self) -> *const u8 {
        self.from
    }

    /// Where it is written.
    #[inline(always)]
    pub(super) fn to(&self) -> *mut u8 {
        self.to
    }

    /// Leaves `blocks` blocks behind, no more than are left.
    #[inline(always)]
    pub(super) fn advance(&mut self, blocks: usize) {
        debug_assert!(blocks <= self.blocks);
        self.from = self.from.wrapping_add(blocks * BLOCK_LEN);
        self.to = self.to.wrapping_add(blocks * BLOCK_LEN);
        self.blocks -= blocks;
        self.counter = self.counter.wrapping_add(blocks as u128);
    }

    /// Takes the first `blocks` blocks off, or all that are left.
    #[inline(always)]
    pub(super) fn take(&mut self, blocks: usize) -> Self {
        let first = Self {
            blocks: blocks.min(self.blocks),
            ..*self
        };
        self.advance(first.blocks);
        first
    }
}
