//! Round keys as the kernels want them: each four times over, so that a register of any width loads it as it is.

use std::arch::x86_64::*;

use stillkey_core::cipher::schedule;

use super::lanes::Work;
use crate::cpu::AesNi;
use crate::secret::{SecretBox, Zeroable};

/// `KEYS` is the number of rounds and one: 11, 13, 15.
#[repr(align(64))]
pub(super) struct Schedule<const KEYS: usize>([Broadcast; KEYS]);

/// Four times the same round key.
pub(super) type Broadcast = [u128; 4];

impl<const KEYS: usize> Schedule<KEYS> {
    pub(super) fn keys(&self) -> &[Broadcast; KEYS] {
        &self.0
    }

    /// A copy, if there is room for one.
    pub(super) fn duplicate(&self) -> Option<SecretBox<Self>> {
        let mut copy = SecretBox::<Self>::zeroed_if_there_is_room()?;
        copy.0 = self.0;
        Some(copy)
    }
}

// SAFETY: integers, aligned to 64 bytes.
unsafe impl<const KEYS: usize> Zeroable for Schedule<KEYS> {}

/// Expands a key of `4 * (KEYS - 7)` bytes.
pub(super) struct Expand<'a, const KEYS: usize>(pub(super) &'a [u8]);

impl<const KEYS: usize> Work<AesNi> for Expand<'_, KEYS> {
    type Output = SecretBox<Schedule<KEYS>>;

    #[inline(always)]
    fn run(self, token: AesNi) -> Self::Output {
        let mut schedule = SecretBox::<Schedule<KEYS>>::zeroed();
        let round_keys = schedule::aes::<KEYS>(self.0, |word| sub_word(token, word));
        for (broadcast, key) in schedule.0.iter_mut().zip(round_keys.iter()) {
            *broadcast = [u128::from_ne_bytes(*key); 4];
        }
        schedule
    }
}

/// Four bytes through the S-box.
#[inline(always)]
fn sub_word(_proof: AesNi, word: u32) -> u32 {
    // SAFETY: the token proves AES-NI. Word 0 of the result is SubWord of word 1 of the argument.
    unsafe {
        let word = _mm_set_epi32(0, 0, word.cast_signed(), 0);
        _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(word)).cast_unsigned()
    }
}
