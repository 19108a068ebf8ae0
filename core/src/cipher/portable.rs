//! The provider that runs everywhere: the bitsliced kernels, and RustCrypto's `aes`, in its `ctr` where there are instructions for AES or no vectors
//! at all, and in its `aes-gcm`.
//!
//! All of it is constant-time on every processor, by such instructions or by bitslicing.

use alloc::boxed::Box;
use alloc::sync::Arc;

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit};
use cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, StreamCipherCore, consts::U16};
use ctr::{CtrCore, flavors::Ctr64BE};
use inout::InOutBuf;

use super::{
    Aead, AeadError, AeadKernel, AeadKey, Bitsliced, Block, Blockwise, CipherProvider, CtrBlocks,
    CtrGcm, CtrKernel, bitsliced,
};
use crate::method::Cipher;
use crate::secret::DataKey;
use crate::stack::wiped;

/// Kernels that need nothing of the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl CipherProvider for Portable {
    fn name(&self, _: Cipher) -> &'static str {
        "portable"
    }

    fn ctr(&self, key: &DataKey) -> Arc<dyn CtrKernel> {
        let bytes = key.secret().danger_bytes();
        match key.cipher() {
            Cipher::Aes128 if by_crate() => ctr_kernel::<Aes128>(bytes),
            Cipher::Aes192 if by_crate() => ctr_kernel::<Aes192>(bytes),
            Cipher::Aes256 if by_crate() => ctr_kernel::<Aes256>(bytes),
            Cipher::Sm4 => wiped(|| bitsliced::sm4(bytes)),
            _ => Bitsliced.ctr(key),
        }
    }

    fn aead(&self, key: &AeadKey) -> Box<dyn AeadKernel> {
        let bytes = key.secret().danger_bytes();
        wiped(|| match key.aead() {
            Aead::Aes256Gcm => {
                Box::new(expand::<AesGcm<Aes256, U12>>(bytes)) as Box<dyn AeadKernel>
            }
            Aead::Sm4Gcm => Box::new(CtrGcm::new(bitsliced::sm4(bytes))),
        })
    }
}

/// Whether the compiler makes vector instructions of the lanes of [`Bitsliced`]. In general registers, the crate `aes` is the faster one.
const VECTORS: bool = cfg!(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
));

/// Whether the crate `aes` is for counter mode here.
fn by_crate() -> bool {
    !VECTORS || has_aes()
}

/// Whether the crate `aes` finds instructions for AES.
fn has_aes() -> bool {
    #[cfg(all(
        not(aes_backend = "soft"),
        any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")
    ))]
    {
        cpufeatures::new!(instructions, "aes");
        instructions::get()
    }
    #[cfg(not(all(
        not(aes_backend = "soft"),
        any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")
    )))]
    false
}

fn ctr_kernel<C>(key: &[u8]) -> Arc<dyn CtrKernel>
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync + 'static,
{
    wiped(|| Arc::new(Blockwise(Ctr(expand::<C>(key)))) as _)
}

#[expect(
    clippy::expect_used,
    reason = "DataKey and AeadKey have their cipher's key length by construction"
)]
fn expand<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("the key has its cipher's length")
}

struct Ctr<C>(C);

impl<C> CtrBlocks for Ctr<C>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn apply_blocks(&self, counter: u128, blocks: InOutBuf<'_, '_, Block>) {
        // 64 bits to add to are enough: they don't wrap on the way.
        let counter = counter.to_be_bytes();
        CtrCore::<&C, Ctr64BE>::inner_iv_init(&self.0, (&counter).into())
            .apply_keystream_blocks_inout(blocks);
    }
}

impl<C> AeadKernel for AesGcm<C, U12>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; 12], data: InOutBuf<'_, '_, u8>) -> Result<[u8; 16], AeadError> {
        self.encrypt_inout_detached(nonce.into(), &[], data)
            .map(Into::into)
            .map_err(|_| AeadError)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        data: InOutBuf<'_, '_, u8>,
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        self.decrypt_inout_detached(nonce.into(), &[], data, tag.into())
            .map_err(|_| AeadError)
    }
}
