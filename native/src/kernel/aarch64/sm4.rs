//! SM4 with the instructions of ARMv8.2: SM4E runs four rounds, SM4EKEY makes four round keys.
//!
//! Rust's intrinsics for them are unstable, so they stand here as assembly.

use std::arch::aarch64::*;
use std::arch::asm;
use std::sync::Arc;

use inout::InOutBuf;
use stillkey_core::DataKey;
use stillkey_core::cipher::{Block, Blockwise, CtrBlocks, CtrKernel};
use zeroize::Zeroizing;

use super::vector::{Counter, Vector};
use crate::cpu::{ArmSm4, Features};

pub(super) fn expand(features: Features, key: &DataKey) -> Option<Arc<dyn CtrKernel>> {
    let token = ArmSm4::among(features)?;
    let key = key.secret().danger_bytes().try_into().ok()?;
    Some(Arc::new(Blockwise(Sm4::new(token, key))))
}

/// An expanded key: the round keys of four rounds each, as the processor's words.
struct Sm4 {
    round_keys: Zeroizing<[[u32; 4]; 8]>,
    _proof: ArmSm4,
}

impl Sm4 {
    fn new(token: ArmSm4, key: &[u8; 16]) -> Self {
        Self {
            // SAFETY: the token proves the SM4 instructions.
            round_keys: unsafe { expand_key(key) },
            _proof: token,
        }
    }
}

impl CtrBlocks for Sm4 {
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        // SAFETY: `self` was made with a token, which proves the SM4 instructions.
        unsafe { apply(&self.round_keys, counter, blocks) }
    }
}

/// Source: GB/T 32907-2016 §7.3.
#[target_feature(enable = "neon,sm4")]
fn expand_key(key: &[u8; 16]) -> Zeroizing<[[u32; 4]; 8]> {
    const SYSTEM: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];
    let fixed = |round: u8| {
        let byte = |j: u8| round.wrapping_mul(28).wrapping_add(7 * j);
        u32::from_be_bytes([0, 1, 2, 3].map(byte))
    };
    let mut state = veorq_u32(words(Vector::load(key)), load(&SYSTEM));
    let mut round_keys = Zeroizing::new([[0; 4]; 8]);
    for (four, first) in round_keys.iter_mut().zip((0..).step_by(4)) {
        let fixed = [first, first + 1, first + 2, first + 3].map(fixed);
        state = sm4ekey(state, load(&fixed));
        // SAFETY: the array is valid for 16 bytes.
        unsafe { vst1q_u32(four.as_mut_ptr(), state) };
    }
    round_keys
}

#[target_feature(enable = "neon,sm4")]
fn apply(round_keys: &[[u32; 4]; 8], counter: u128, blocks: InOutBuf<'_, '_, Block>) {
    let keys = round_keys.each_ref().map(|four| load(four));
    let mut counter = Counter::new(counter);
    let blocks = counter.xor_groups::<8>(blocks, |group| encrypt(&keys, group));
    let blocks = counter.xor_groups::<4>(blocks, |group| encrypt(&keys, group));
    counter.xor_groups::<1>(blocks, |block| encrypt(&keys, block));
}

#[inline]
#[target_feature(enable = "neon,sm4")]
fn encrypt<const N: usize>(keys: &[uint32x4_t; 8], group: [Vector; N]) -> [Vector; N] {
    let mut group = group.map(|block| words(block));
    for four in keys {
        group = group.map(|state| sm4e(state, *four));
    }
    group.map(|state| block(state))
}

/// The words of a block, from big-endian.
#[inline]
#[target_feature(enable = "neon")]
fn words(block: Vector) -> uint32x4_t {
    vreinterpretq_u32_u8(vrev32q_u8(block.0))
}

/// The block of the last four words, which stand in it in reverse order.
#[inline]
#[target_feature(enable = "neon")]
fn block(words: uint32x4_t) -> Vector {
    // Reversing words and turning each to big-endian reverses all sixteen bytes.
    let halves = vrev64q_u8(vreinterpretq_u8_u32(words));
    Vector(vextq_u8::<8>(halves, halves))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(words: &[u32; 4]) -> uint32x4_t {
    // SAFETY: the array is valid for 16 bytes.
    unsafe { vld1q_u32(words.as_ptr()) }
}

/// Four rounds.
#[inline]
#[target_feature(enable = "neon,sm4")]
fn sm4e(mut state: uint32x4_t, round_keys: uint32x4_t) -> uint32x4_t {
    // SAFETY: the instruction exists by the function's target feature, and changes nothing but its first register.
    unsafe {
        // Not `pure`: the scheduler would run the blocks one after the other, and each would wait for itself.
        asm!(
            "sm4e {state:v}.4s, {keys:v}.4s",
            state = inout(vreg) state,
            keys = in(vreg) round_keys,
            options(nomem, nostack, preserves_flags),
        );
    }
    state
}

/// The next four round keys.
#[inline]
#[target_feature(enable = "neon,sm4")]
fn sm4ekey(round_keys: uint32x4_t, fixed: uint32x4_t) -> uint32x4_t {
    let next;
    // SAFETY: the instruction exists by the function's target feature, and changes nothing but its first register.
    unsafe {
        asm!(
            "sm4ekey {next:v}.4s, {keys:v}.4s, {fixed:v}.4s",
            next = lateout(vreg) next,
            keys = in(vreg) round_keys,
            fixed = in(vreg) fixed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    next
}
