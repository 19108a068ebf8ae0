//! Up to 64 bytes at any place, by one 512-bit register of data: no detour through the stack for what isn't whole blocks.

use std::arch::x86_64::*;

use inout::InOutBuf;

use super::super::registers::clear_registers512;
use super::lanes::Lanes;
use super::schedule::Schedule;
use crate::cpu::Vaes512;

/// Bytes in the register.
const REGISTER: usize = 64;

/// See [`CtrBlocks::apply_short`](stillkey_core::cipher::CtrBlocks::apply_short).
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of the counter; up to 64 bytes"
)]
pub(super) fn apply<const KEYS: usize>(
    token: Vaes512,
    schedule: &Schedule<KEYS>,
    counter: u128,
    skip: usize,
    data: InOutBuf<'_, '_, u8>,
) -> bool {
    let len = data.len();
    let (from, to) = data.into_raw();
    if len != REGISTER && !(len < REGISTER && in_one_page(from) && in_one_page(to)) {
        return false;
    }
    // The counter in halves: a vector that is read from where two registers were just written has to wait for both.
    // SAFETY: the token proves AES-NI, AVX2, VAES, and AVX-512 F, BW, VL and VBMI; `len` bytes, at most 64, can be read at `from` and
    // written at `to`, and both are the same, or apart.
    unsafe {
        xor(
            token,
            schedule,
            (counter >> 64) as u64,
            counter as u64,
            skip as u8,
            len as u8,
            from,
            to,
        );
    }
    true
}

/// Whether a register that begins here ends in the same page. A masked load or store is slow when it touches a page that isn't there,
/// even where it is masked.
#[inline(always)]
fn in_one_page(start: *const u8) -> bool {
    const PAGE: usize = 4096;
    start.addr() % PAGE <= PAGE - REGISTER
}

/// # Safety
/// The processor has the features; `len` bytes, at most 64, can be read at `from` and written at `to`.
#[target_feature(enable = "aes,avx2,vaes,avx512f,avx512bw,avx512vl,avx512vbmi")]
#[expect(clippy::too_many_arguments, reason = "in registers, each of them")]
unsafe fn xor<const KEYS: usize>(
    lanes: Vaes512,
    schedule: &Schedule<KEYS>,
    high: u64,
    low: u64,
    skip: u8,
    len: u8,
    from: *const u8,
    to: *mut u8,
) {
    let counters = lanes.counters(u128::from(high) << 64 | u128::from(low));
    let (first, second) = if usize::from(skip + len) <= REGISTER {
        let [only] = encrypt(lanes, schedule, [counters]);
        (only, only)
    } else {
        let [first, second] = encrypt(
            lanes,
            schedule,
            [counters, lanes.advance(counters, Vaes512::BLOCKS as u64)],
        );
        (first, second)
    };
    let places = _mm512_add_epi8(from_zero(), _mm512_set1_epi8(skip.cast_signed()));
    let keystream = _mm512_permutex2var_epi8(first, places, second);
    // SAFETY: the caller holds that so many bytes can be read and written.
    unsafe {
        if usize::from(len) == REGISTER {
            let data = _mm512_loadu_si512(from.cast());
            _mm512_storeu_si512(to.cast(), _mm512_xor_si512(data, keystream));
        } else {
            let mask = (1 << len) - 1;
            let data = _mm512_maskz_loadu_epi8(mask, from.cast());
            _mm512_mask_storeu_epi8(to.cast(), mask, _mm512_xor_si512(data, keystream));
        }
    }
    clear_registers512();
}

#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "bounds are constants: the number of keys"
)]
fn encrypt<const KEYS: usize, const N: usize>(
    lanes: Vaes512,
    schedule: &Schedule<KEYS>,
    counters: [__m512i; N],
) -> [__m512i; N] {
    let keys = schedule.keys();
    let first = lanes.load(&keys[0]);
    let mut state = counters.map(|counters| lanes.xor(lanes.big_endian(counters), first));
    for key in &keys[1..KEYS - 1] {
        let key = lanes.load(key);
        state = state.map(|state| lanes.round(state, key));
    }
    let last = lanes.load(&keys[KEYS - 1]);
    state.map(|state| lanes.last_round(state, last))
}

/// 0, 1, …, 63.
#[inline]
#[target_feature(enable = "avx512f")]
fn from_zero() -> __m512i {
    _mm512_set_epi64(
        0x3f3e_3d3c_3b3a_3938,
        0x3736_3534_3332_3130,
        0x2f2e_2d2c_2b2a_2928,
        0x2726_2524_2322_2120,
        0x1f1e_1d1c_1b1a_1918,
        0x1716_1514_1312_1110,
        0x0f0e_0d0c_0b0a_0908,
        0x0706_0504_0302_0100,
    )
}
