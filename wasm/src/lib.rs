//! `stillkey-core` for WebAssembly hosts: the core itself, and [`Simd`], which runs its ciphers on 128-bit vectors.
//!
//! A WebAssembly module can't ask its host what it is able to do: a module with vector instructions either loads or doesn't. So whether
//! there are any is settled at compile time, by the target feature `simd128`, and a package has to bring two modules.
//!
//! For JavaScript, `wasm/bindings` makes the modules of the npm package `stillkey` out of it, and `wasm/npm` the package.

#[cfg(target_feature = "simd128")]
mod kernel;
mod provider;
#[cfg(any(test, target_feature = "simd128"))]
mod sbox;

pub use provider::Simd;
pub use stillkey_core::*;
