//! Encryption at rest without `std`: bytes in, bytes out; no I/O, no clock, no random numbers of its own.
//!
//! - [`CtrStream`] encrypts and decrypts a file from any byte on: AES-128/192/256-CTR and SM4-CTR.
//! - [`KeyDictionary`] and [`FileDictionary`] are the `key.dict` and `file.dict` of TiKV and TiFlash, bit for bit.
//! - [`Envelope`] seals a key dictionary under a [`MasterKey`].
//! - [`sealed`] makes self-describing objects out of single files.
//! - With the feature `kms`, the module `kms` is a key management service as a pure function.
//! - [`CipherProvider`] is where faster ciphers plug in.
//!
//! What each file read from a directory needs, from its dictionaries to its plaintext:
//!
//! ```
//! use stillkey_core::{CtrStream, Error, FileDictionary, KeyDictionary, MasterKey};
//!
//! fn read(key_dict: &[u8], file_dict: &[u8], master_key: &MasterKey, name: &str, ciphertext: &mut [u8]) -> Result<(), Error> {
//!     let keys = KeyDictionary::open(key_dict, master_key)?;
//!     let files = FileDictionary::open(file_dict)?;
//!     let info = files.get(name)?;
//!     if let Some(key) = keys.data_key(info.key_id, info.method)? {
//!         CtrStream::new(&key, info.iv()?).apply_at(0, ciphertext)?;
//!     }
//!     Ok(())
//! }
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cipher;
mod context;
mod dict;
mod envelope;
pub mod error;
mod format;
mod gcm;
mod iv;
#[cfg(feature = "kms")]
pub mod kms;
mod master;
mod method;
mod random;
pub mod sealed;
pub mod secret;
mod stack;
mod stream;
#[cfg(test)]
mod testing;

pub use cipher::{CipherProvider, CtrKernel, Portable};
pub use context::EncryptionContext;
pub use dict::{
    Batch, Changes, FileDictionary, FileInfo, FileLog, KeyDictionary, KeyEntry, LocatedRecord,
    LogReader, Lost, Reading, Record, Recovered, RotationPolicy, RotationReason, Salvaged,
    SyncedLength, UNSYNCED_LIMIT, Verdict, Write,
};
pub use envelope::{Envelope, Sealing};
pub use error::Error;
pub use format::header::Version;
pub use iv::Iv;
pub use master::{KeyService, MasterKey, RawMasterKey, WrappedKey};
pub use method::{Cipher, Method, MethodNumber};
#[cfg(feature = "kms")]
pub use random::RandomSource;
pub use secret::{DataKey, NotHexadecimal, SecretBytes};
pub use stream::CtrStream;
