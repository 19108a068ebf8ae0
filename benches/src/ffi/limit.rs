//! The most that AES in counter mode could do on this processor if memory and counters cost nothing: rounds that never leave registers.

use std::hint::black_box;

use stillkey::cpu::Features;
use stillkey_core::Cipher;

use crate::measure::Contender;

/// The shortest data for which the limit means something: a call of its own costs nanoseconds.
const MIN_LEN: usize = 4096;
/// Independent chains: more than any processor's latency times its units.
const CHAINS: usize = 8;

/// As many rounds of AES as `len` bytes in `cipher` need. `None` for SM4, and where no AES instruction is known here.
pub(crate) fn contender(
    name: &str,
    features: Features,
    cipher: Cipher,
    len: usize,
) -> Option<Contender> {
    let (_, [aes128, aes192, aes256]) = *arch::widest(features)?;
    let run = match cipher {
        Cipher::Aes128 => aes128,
        Cipher::Aes192 => aes192,
        Cipher::Aes256 => aes256,
        Cipher::Sm4 => return None,
    };
    (len >= MIN_LEN).then(|| Contender::new(name, move |_| run(len / 16)))
}

/// The instructions of which the limit is made.
pub(crate) fn instruction(features: Features) -> Option<&'static str> {
    Some(arch::widest(features)?.0)
}

/// Their name, and what runs 10, 12 and 14 rounds over that many blocks.
type Width = (&'static str, [fn(usize); 3]);

/// A loop over `$chains` vectors of `$lanes` blocks each, for every number of rounds. A `Width` of it is only made where its features are.
macro_rules! width {
    ($width:ident, $loop:ident, $name:literal, $features:literal, $lanes:literal, $zero:expr, $round:expr, $last:expr) => {
        #[target_feature(enable = $features)]
        fn $loop<const ROUNDS: usize>(blocks: usize) {
            let key = black_box($zero);
            let mut chains = [black_box($zero); CHAINS];
            for _ in 0..blocks / (CHAINS * $lanes) {
                for _ in 1..ROUNDS {
                    for chain in &mut chains {
                        *chain = $round(*chain, key);
                    }
                }
                for chain in &mut chains {
                    *chain = $last(*chain, key);
                }
            }
            black_box(chains);
        }

        // SAFETY: `widest` hands these out only for features that the processor has.
        const $width: Width = unsafe {
            (
                $name,
                [
                    |blocks| $loop::<10>(blocks),
                    |blocks| $loop::<12>(blocks),
                    |blocks| $loop::<14>(blocks),
                ],
            )
        };
    };
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::x86_64::{
        _mm_aesenc_si128, _mm_aesenclast_si128, _mm_setzero_si128, _mm256_aesenc_epi128,
        _mm256_aesenclast_epi128, _mm256_setzero_si256, _mm512_aesenc_epi128,
        _mm512_aesenclast_epi128, _mm512_setzero_si512,
    };

    use stillkey::cpu::Feature;

    use super::{CHAINS, Features, Width, black_box};

    width!(
        ZMM,
        zmm,
        "VAESENC zmm",
        "vaes,avx512f",
        4,
        _mm512_setzero_si512(),
        _mm512_aesenc_epi128,
        _mm512_aesenclast_epi128
    );
    width!(
        YMM,
        ymm,
        "VAESENC ymm",
        "vaes,avx2",
        2,
        _mm256_setzero_si256(),
        _mm256_aesenc_epi128,
        _mm256_aesenclast_epi128
    );
    width!(
        XMM,
        xmm,
        "AESENC xmm",
        "aes,sse2",
        1,
        _mm_setzero_si128(),
        _mm_aesenc_si128,
        _mm_aesenclast_si128
    );

    pub(super) fn widest(features: Features) -> Option<&'static Width> {
        let widths = [
            (Feature::Vaes512, &ZMM),
            (Feature::Vaes256, &YMM),
            (Feature::AesNi, &XMM),
        ];
        let mut here = widths.into_iter().filter(|(need, _)| features.has(*need));
        here.next().map(|(_, width)| width)
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::aarch64::{vaeseq_u8, vaesmcq_u8, vdupq_n_u8};

    use stillkey::cpu::Feature;

    use super::{CHAINS, Features, Width, black_box};

    width!(
        NEON,
        neon,
        "AESE and AESMC",
        "neon,aes",
        1,
        vdupq_n_u8(0),
        |chain, key| vaesmcq_u8(vaeseq_u8(chain, key)),
        vaeseq_u8
    );

    pub(super) fn widest(features: Features) -> Option<&'static Width> {
        features.has(Feature::ArmAes).then_some(&NEON)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) fn widest(_: super::Features) -> Option<&'static super::Width> {
        None
    }
}
