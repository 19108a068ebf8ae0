//! What JavaScript calls: the core's operations over bytes, numbers and handles.
//!
//! Not for people: `wasm/npm/src` wraps every function in the documented, typed API. So arguments are the plainest that say what is
//! meant, large results are columns instead of one object per row, and every failure is a `Failure`.
//!
//! Secrets come in as `Vec<u8>`, which the core's `SecretBytes` takes over and zeroizes, and go out into an array of
//! the caller's: `wasm-bindgen` would leave a copy behind of what is returned or borrowed.

#![cfg(target_arch = "wasm32")]

mod envelope;
mod failure;
mod file_dictionary;
mod file_log;
mod key_dictionary;
mod keys;
mod sealed;
mod stream;

pub use envelope::{Envelope, Sealing};
pub use failure::Failure;
pub use file_dictionary::{FileDictionary, Infos, Salvaged};
pub use file_log::FileLog;
pub use key_dictionary::KeyDictionary;
pub use keys::{DataKey, MasterKey, Secret};
pub use sealed::{Body, ChunkCipher, Header, MasterKeys};
pub use stream::{CtrStream, Scratch, counter_at, iv_for_tiflash_file, kernel_name};
