//! Counter mode on 128-bit vectors.
//!
//! The ciphers are bitsliced: a vector holds one bit of 128 bytes, an S-box is a circuit of XOR and AND, and neither key nor data ever
//! select an address or a branch. To look an S-box up with `i8x16.swizzle`, nibble by nibble, would be constant-time as well. But it takes
//! more than 30 instructions for 16 bytes, where a circuit takes some 120 for 128.
//!
//! How the code is cut into loops suits V8, which has 16 registers for vectors and spills them badly where one loop has several S-boxes.
//! Nothing here is unsafe: on this target, vector instructions are safe functions.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "arrays of fixed sizes, and loops and lanes that count within them"
)]

mod aes;
mod planes;
mod sm4;

use std::sync::Arc;

use stillkey_core::cipher::{Blockwise, CtrKernel};
use stillkey_core::{Cipher, DataKey};

use aes::Aes;
use planes::Strides;
use sm4::Sm4;

/// Expands `key`.
#[expect(
    clippy::expect_used,
    reason = "DataKey has its cipher's key length by construction"
)]
pub(crate) fn ctr(key: &DataKey) -> Arc<dyn CtrKernel> {
    let bytes = key.secret().danger_bytes();
    match key.cipher() {
        Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => {
            Arc::new(Blockwise(Strides(Aes::new(bytes))))
        }
        Cipher::Sm4 => {
            let key = bytes.try_into().expect("the key has its cipher's length");
            Arc::new(Blockwise(Strides(Sm4::new(key))))
        }
    }
}
