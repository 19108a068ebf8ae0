//! The provider of a module: its vector kernels if it was compiled with them, else the portable ones.

use std::sync::Arc;

#[cfg(target_feature = "simd128")]
use stillkey_core::cipher::{AeadKernel, AeadKey, CtrGcm};
use stillkey_core::cipher::{CipherProvider, CtrKernel};
use stillkey_core::{Cipher, DataKey};

/// The fastest kernels that this module has: named `simd128` if it was compiled with that target feature, else those of
/// [`Portable`](stillkey_core::Portable). All are constant-time as far as the host compiles bit operations to such.
///
/// ```
/// use stillkey_wasm::{Cipher, CtrStream, DataKey, Iv, SecretBytes, Simd};
///
/// let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16]))?;
/// let mut page = vec![0; 4096];
/// CtrStream::with_provider(&Simd, &key, Iv::new([9; 16])).apply_at(0, &mut page)?;
/// # Ok::<(), stillkey_wasm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Simd;

#[cfg(target_feature = "simd128")]
impl CipherProvider for Simd {
    fn name(&self, _: Cipher) -> &'static str {
        "simd128"
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        crate::kernel::ctr(key)
    }

    fn aead(&self, key: &AeadKey) -> Box<dyn AeadKernel> {
        Box::new(CtrGcm::new(self.ctr(&key.ctr_key())))
    }
}

#[cfg(not(target_feature = "simd128"))]
impl CipherProvider for Simd {
    fn name(&self, cipher: Cipher) -> &'static str {
        stillkey_core::Portable.name(cipher)
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        stillkey_core::Portable.ctr(key)
    }
}
