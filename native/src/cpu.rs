//! What the processor can do: the proof that every kernel asks for before it runs.
//!
//! A kernel's constructor takes a token, such as `Vaes512`, and a token can only come from [`Features`] that hold the feature. So no
//! kernel runs where its instructions don't exist, by type.

use std::fmt;

/// A group of processor features that a kernel needs, named as in `STILLKEY_CPU_DISABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// `aesni`: AES-NI and SSE4.1.
    AesNi,
    /// `avx2`: AVX2.
    Avx2,
    /// `vaes256`: VAES on 256-bit registers.
    Vaes256,
    /// `vaes512`: VAES on 512-bit registers, AVX-512 F, BW, VL and VBMI.
    Vaes512,
    /// `gfni256`: GFNI on 256-bit registers, AVX2.
    Gfni256,
    /// `gfni512`: GFNI on 512-bit registers, AVX-512 F, BW and VL.
    Gfni512,
    /// `armaes`: the AES instructions of ARMv8.
    ArmAes,
    /// `armsm4`: the SM4 instructions of ARMv8.2.
    ArmSm4,
}

impl Feature {
    /// Every feature, of every architecture.
    pub const ALL: [Self; 8] = [
        Self::AesNi,
        Self::Avx2,
        Self::Vaes256,
        Self::Vaes512,
        Self::Gfni256,
        Self::Gfni512,
        Self::ArmAes,
        Self::ArmSm4,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesNi => "aesni",
            Self::Avx2 => "avx2",
            Self::Vaes256 => "vaes256",
            Self::Vaes512 => "vaes512",
            Self::Gfni256 => "gfni256",
            Self::Gfni512 => "gfni512",
            Self::ArmAes => "armaes",
            Self::ArmSm4 => "armsm4",
        }
    }

    // std's macro and not the crate cpufeatures: that one denies VAES and GFNI to every processor without AVX-512.
    fn is_detected(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let aes_ni = || has!("aes") && has!("ssse3") && has!("sse4.1");
            let avx512 = || has!("avx512f") && has!("avx512bw") && has!("avx512vl");
            match self {
                Self::AesNi => aes_ni(),
                Self::Avx2 => has!("avx2"),
                Self::Vaes256 => aes_ni() && has!("avx2") && has!("vaes"),
                Self::Vaes512 => {
                    aes_ni() && has!("avx2") && has!("vaes") && avx512() && has!("avx512vbmi")
                }
                Self::Gfni256 => has!("avx2") && has!("gfni"),
                Self::Gfni512 => has!("avx2") && has!("gfni") && avx512(),
                Self::ArmAes | Self::ArmSm4 => false,
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            match self {
                Self::ArmAes => has!("neon") && has!("aes"),
                Self::ArmSm4 => has!("neon") && has!("sm4"),
                _ => false,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        false
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Features that this processor has, or fewer.
///
/// ```
/// use stillkey::cpu::{Feature, Features};
/// let fewer = Features::detect().without(Feature::Vaes512);
/// assert!(!fewer.has(Feature::Vaes512));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(u16);

impl Features {
    /// What the processor has. Builds with debug assertions leave out what the environment variable `STILLKEY_CPU_DISABLE` names:
    /// names of features, separated by commas; `gfni` stands for all whose name is `gfni` and digits, `all` for all.
    pub fn detect() -> Self {
        let detected = Feature::ALL
            .into_iter()
            .filter(|feature| feature.is_detected())
            .fold(Self(0), |all, feature| Self(all.0 | feature.bit()));
        if cfg!(debug_assertions) {
            let disabled = std::env::var("STILLKEY_CPU_DISABLE").unwrap_or_default();
            detected.without_names(&disabled)
        } else {
            detected
        }
    }

    /// No feature at all: what remains are the kernels that need none.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Without `feature`. Others that imply it stay: 512-bit kernels don't ask for the 256-bit feature.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !feature.bit())
    }

    /// Whether `feature` is among them.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    fn without_names(self, names: &str) -> Self {
        let named = |feature: Feature, name: &str| {
            let rest = feature.name().strip_prefix(name);
            name == "all" || rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut left = self;
        for name in names.split(',').map(str::trim) {
            for feature in Feature::ALL {
                if named(feature, name) {
                    left = left.without(feature);
                }
            }
        }
        left
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Feature::ALL
            .into_iter()
            .filter(|feature| self.has(*feature));
        f.debug_set().entries(names.map(Feature::name)).finish()
    }
}

/// Tokens: a value of the type is the proof that the processor has the feature of the same name.
macro_rules! tokens {
    ($arch:literal: $($name:ident)*) => { $(
        #[cfg(target_arch = $arch)]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(());

        #[cfg(target_arch = $arch)]
        impl $name {
            pub(crate) fn among(features: Features) -> Option<Self> {
                features.has(Feature::$name).then_some(Self(()))
            }
        }
    )* };
}

tokens!("x86_64": AesNi Avx2 Vaes256 Vaes512 Gfni256 Gfni512);
#[cfg(target_arch = "x86_64")]
impl Gfni512 {
    /// It asks for all that the 256-bit token asks for.
    pub(crate) fn narrower(self) -> Gfni256 {
        Gfni256(())
    }
}

tokens!("aarch64": ArmAes ArmSm4);

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Features = Features((1 << Feature::ALL.len()) - 1);

    #[test]
    fn a_name_switches_off_its_feature_and_a_stem_all_widths() {
        let left = EVERY.without_names("vaes512, gfni");
        for feature in Feature::ALL {
            let off = matches!(
                feature,
                Feature::Vaes512 | Feature::Gfni256 | Feature::Gfni512
            );
            assert_eq!(left.has(feature), !off, "{feature}");
        }
        assert_eq!(EVERY.without_names(""), EVERY);
        assert_eq!(EVERY.without_names("avx"), EVERY.without(Feature::Avx2));
        assert_eq!(EVERY.without_names("all"), Features::none());
    }
}
