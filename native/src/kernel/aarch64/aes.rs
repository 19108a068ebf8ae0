//! AES with the instructions of ARMv8.
//!
//! AESE is AddRoundKey, SubBytes and ShiftRows; AESMC is MixColumns, and processors fuse the two where they stand together. Eight blocks
//! in flight hide their latency, and leave enough of the 32 registers for the round keys, of which there are 15 at most.

use std::arch::aarch64::*;
use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::cipher::{Block, Blockwise, CtrBlocks, CtrKernel, schedule};
use stillkey_core::{Cipher, DataKey};
use zeroize::Zeroizing;

use super::vector::{Counter, Vector};
use crate::cpu::{ArmAes, Features};

pub(super) fn expand(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let token = ArmAes::among(features)?;
    let bytes = key.secret().danger_bytes();
    Some(match key.cipher() {
        Cipher::Aes128 => Arc::new(Blockwise(Aes::<11>::new(token, bytes))),
        Cipher::Aes192 => Arc::new(Blockwise(Aes::<13>::new(token, bytes))),
        Cipher::Aes256 => Arc::new(Blockwise(Aes::<15>::new(token, bytes))),
        Cipher::Sm4 => return None,
    })
}

/// An expanded key; `KEYS` is the number of rounds and one.
struct Aes<const KEYS: usize> {
    round_keys: Zeroizing<[[u8; 16]; KEYS]>,
    _proof: ArmAes,
}

impl<const KEYS: usize> Aes<KEYS> {
    fn new(token: ArmAes, key: &[u8]) -> Self {
        Self {
            // SAFETY: the token proves the AES instructions.
            round_keys: schedule::aes(key, |word| unsafe { sub_word(word) }),
            _proof: token,
        }
    }
}

impl<const KEYS: usize> CtrBlocks for Aes<KEYS> {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        // SAFETY: `self` was made with a token, which proves the AES instructions.
        unsafe { apply(&self.round_keys, counter, blocks) }
    }
}

#[target_feature(enable = "neon,aes")]
fn apply<const KEYS: usize>(
    round_keys: &[[u8; 16]; KEYS],
    counter: u128,
    blocks: InOutBuf<'_, '_, Block>,
) {
    let keys = round_keys.each_ref().map(Vector::load);
    let mut counter = Counter::new(counter);
    let blocks = counter.xor_groups::<8>(blocks, |group| encrypt(&keys, group));
    let blocks = counter.xor_groups::<4>(blocks, |group| encrypt(&keys, group));
    counter.xor_groups::<1>(blocks, |block| encrypt(&keys, block));
}

#[inline]
#[target_feature(enable = "neon,aes")]
fn encrypt<const KEYS: usize, const N: usize>(
    keys: &[Vector; KEYS],
    mut group: [Vector; N],
) -> [Vector; N] {
    let [full_rounds @ .., before_last, last] = keys.as_slice() else {
        unreachable!("there are 11 round keys or more");
    };
    for key in full_rounds {
        group = group.map(|block| Vector(vaesmcq_u8(vaeseq_u8(block.0, key.0))));
    }
    group.map(|block| Vector(vaeseq_u8(block.0, before_last.0)) ^ *last)
}

/// AESE's S-box. ShiftRows does nothing where all columns are alike.
#[target_feature(enable = "neon,aes")]
fn sub_word(word: u32) -> u32 {
    Vector(vaeseq_u8(Vector::splat_word(word).0, Vector::splat(0).0)).first_word()
}
