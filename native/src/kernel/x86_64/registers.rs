//! Leaving no keystream and no round keys behind in vector registers: the operating system stores them with the thread's state,
//! and a function that saves registers may store what it never wrote.

use std::arch::asm;

/// XORs each register with itself: in two operands as `pxor`, in three as the others.
macro_rules! zero {
    (@ $(($($line:tt)*) $register:tt)*) => {
        asm!($($($line)*,)* $(out($register) _,)* options(nomem, nostack, preserves_flags))
    };
    ("pxor" $($register:tt)*) => {
        zero!(@ $((concat!("pxor ", $register, ", ", $register)) $register)*)
    };
    ($instruction:tt $($register:tt)*) => {
        zero!(@ $((concat!($instruction, " ", $register, ", ", $register, ", ", $register)) $register)*)
    };
}

/// Zeroes the vector registers that SSE has.
#[inline]
#[target_feature(enable = "sse2")]
#[rustfmt::skip]
pub(super) fn clear_registers128() {
    // SAFETY: SSE2 has the instruction, and all registers are declared as changed.
    unsafe {
        zero!("pxor"
            "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7"
            "xmm8" "xmm9" "xmm10" "xmm11" "xmm12" "xmm13" "xmm14" "xmm15");
    }
}

/// Zeroes the vector registers that AVX has.
#[inline]
#[target_feature(enable = "avx")]
#[rustfmt::skip]
pub(super) fn clear_registers256() {
    // Not VZEROALL, which is slower. A write of 128 bits zeroes what is above them.
    // SAFETY: AVX has the instruction, and all registers are declared as changed.
    unsafe {
        zero!("vpxor"
            "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7"
            "xmm8" "xmm9" "xmm10" "xmm11" "xmm12" "xmm13" "xmm14" "xmm15");
    }
}

/// Zeroes the vector registers that AVX-512 has.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
#[rustfmt::skip]
pub(super) fn clear_registers512() {
    clear_registers256();
    // SAFETY: AVX-512 VL has the instruction, and all registers are declared as changed.
    unsafe {
        zero!("vpxord"
            "xmm16" "xmm17" "xmm18" "xmm19" "xmm20" "xmm21" "xmm22" "xmm23"
            "xmm24" "xmm25" "xmm26" "xmm27" "xmm28" "xmm29" "xmm30" "xmm31");
    }
}
