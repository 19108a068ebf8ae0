//! Placeholder while the first floor is built.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(not(unix))]
compile_error!(
    "stillkey makes files durable by syncing their directory, which it knows how to do on Unix only; stillkey-core builds everywhere"
);

pub mod clock;
#[cfg(feature = "config")]
mod config;
pub mod error;
pub mod file;
mod fsops;
mod install;
mod master;
mod sealed;
#[cfg(test)]
mod testing;

#[cfg(feature = "config")]
pub use config::TikvConfig;
pub use error::{Error, ErrorKind};
pub use file::{EncryptedFile, EncryptedReader, EncryptedWriter};
pub use getrandom::SysRng;
pub use install::{AtomicFile, is_leftover, write_file};
pub use master::{LoadedMasterKey, MasterKeySource, create_master_key_file};
pub use sealed::{SealedFile, SealedReader, SealedWriter};
pub use stillkey_core as core;
