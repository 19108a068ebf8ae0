//! The provider of this machine: for each cipher the first kernel of the table that the processor can run.

use std::sync::{Arc, LazyLock};

use stillkey_core::cipher::{
    Aead, AeadKernel, AeadKey, CipherProvider, CtrGcm, CtrKernel, Portable,
};
use stillkey_core::{Cipher, DataKey};

use crate::cpu::Features;
use crate::kernel::{Kernel, PORTABLE};

/// The fastest kernels that this processor has. Copying it costs nothing.
///
/// ```
/// use stillkey::core::{Cipher, CtrStream, DataKey, Iv};
/// use stillkey::{Native, SysRng};
///
/// let key = DataKey::random(Cipher::Sm4, &mut SysRng)?;
/// let mut page = vec![0; 4096];
/// CtrStream::with_provider(&Native::detect(), &key, Iv::random(&mut SysRng)?).apply_at(0, &mut page)?;
/// # Ok::<(), stillkey::core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Native {
    features: Features,
}

impl Native {
    /// With all that the processor has; looked up once per process.
    pub fn detect() -> Self {
        static DETECTED: LazyLock<Features> = LazyLock::new(Features::detect);
        Self::with_features(*DETECTED)
    }

    /// With these features only: for tests, and for measuring what lesser machines get.
    pub const fn with_features(features: Features) -> Self {
        Self { features }
    }

    /// Name of what it would pick for authenticated encryption: for AES `aws-lc-rs` where that feature is on, for SM4 the kernel of its
    /// counter mode.
    pub fn aead_name(&self, aead: Aead) -> &'static str {
        match aead {
            Aead::Aes256Gcm if cfg!(feature = "aws-lc-rs") => "aws-lc-rs",
            Aead::Sm4Gcm => self.name(Cipher::Sm4),
            _ => "portable",
        }
    }

    fn kernel(&self, cipher: Cipher) -> &'static Kernel {
        Kernel::all()
            .find(|kernel| kernel.suits(self.features, cipher))
            .unwrap_or(&PORTABLE)
    }
}

impl CipherProvider for Native {
    fn name(&self, cipher: Cipher) -> &'static str {
        self.kernel(cipher).name()
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        self.kernel(key.cipher())
            .ctr(self.features, key)
            .unwrap_or_else(|| Portable.ctr(key))
    }

    fn aead(&self, key: &AeadKey) -> Box<dyn AeadKernel> {
        match key.aead() {
            Aead::Sm4Gcm => Box::new(CtrGcm::new(self.ctr(&key.ctr_key()))),
            #[cfg(feature = "aws-lc-rs")]
            Aead::Aes256Gcm => crate::aead::aes_256_gcm(key).unwrap_or_else(|| Portable.aead(key)),
            _ => Portable.aead(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillkey_core::SecretBytes;

    #[test]
    fn a_kernel_runs_exactly_where_its_features_are() {
        for kernel in Kernel::all() {
            for cipher in Cipher::ALL {
                let key =
                    DataKey::new(cipher, SecretBytes::new(vec![1; cipher.key_len()])).unwrap();
                let all = Features::detect();
                let runs = kernel.ctr(all, &key).is_some();
                assert_eq!(runs, kernel.suits(all, cipher), "{kernel:?} {cipher:?}");
                for need in kernel.needs() {
                    let fewer = kernel.ctr(all.without(*need), &key);
                    assert!(fewer.is_none(), "{kernel:?} runs without {need}");
                }
            }
        }
    }

    #[test]
    fn without_any_feature_only_kernels_that_need_none_are_chosen() {
        let native = Native::with_features(Features::none());
        for cipher in Cipher::ALL {
            let kernel = native.kernel(cipher);
            assert!(kernel.needs().is_empty(), "{kernel:?} {cipher:?}");
        }
        assert_eq!(native.name(Cipher::Aes256), "portable");
    }

    /// The gate knows its processors and names their kernels, so that none is passed over in silence.
    #[test]
    fn the_kernels_that_the_gate_expects_are_the_ones_that_run() {
        let features = Features::detect();
        let suits = |kernel: &&Kernel| {
            Cipher::ALL
                .iter()
                .any(|cipher| kernel.suits(features, *cipher))
        };
        let kernels: Vec<_> = Kernel::all().filter(suits).map(Kernel::name).collect();
        let kernels = kernels.join(",");
        println!("kernels: {kernels}");
        if let Ok(expected) = std::env::var("STILLKEY_EXPECT_KERNELS") {
            assert_eq!(kernels, expected);
        }
    }
}
