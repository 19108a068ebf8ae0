//! Encryption at rest for files: master keys, the dictionaries of a directory, encrypted files, atomic installation.
//!
//! - [`MasterKeySource`] gets a master key from a file, an environment variable or a command; [`create_master_key_file`] makes one.
//! - [`DataKeyManager`] looks after the files of a directory: each has an entry that says how it is encrypted, and both change in step.
//!   [`Entries`] is the half of it that knows the dictionaries, `key.dict` and `file.dict`, for engines that handle their files themselves.
//!   [`Dictionaries`] reads without a lock, and its [`open_file`](Dictionaries::open_file) is right next to any writer. They are those of TiKV and TiFlash, bit for bit. [`Startup`] is how a storage engine opens or makes
//!   them, with a previous master key to fall back to.
//! - [`EncryptedReader`], [`EncryptedWriter`] and [`EncryptedFile`] decrypt and encrypt files, from any byte on.
//! - [`AtomicFile`] writes a whole file or none.
//! - [`Native`] picks the fastest kernels that the processor has; [`parallel`] shares large buffers among threads.
//! - [`core`] is `stillkey-core`: the same without files, for browsers and small devices.
//!
//! # Features
//!
//! None is on by default: each costs its users something.
//!
//! - `rayon`: large buffers and the bodies of sealed objects are worked on by all threads of the caller's rayon pool. Nothing changes but the
//!   time; without it, [`parallel`] is the calling thread.
//! - `aws-lc-rs`: AES-256-GCM of sealed objects by AWS-LC, two to four times as fast as the portable one. Builds C code, so it needs a C compiler.
//! - `config`: reads the configuration files of TiKV and TiFlash.
//! - `kms`: an embedded key management service: `kms`.
//! - `metrics`: counts and times for the recorder of the program: see [`metrics`].
//! - `tokio`: `AsyncEncryptedFile` for the files of a manager, and readers and writers on whatever is read and written asynchronously.
//! - `tracing`: spans and events for the subscriber of the program. Names, ids and numbers; never a secret.
//!
//! # Example
//!
//! A data directory with its first encrypted file, which is then read from its middle:
//!
//! ```
//! use stillkey::{DataKeyManager, ManagerOptions, MasterKeySource, create_master_key_file};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # let (key_file, data) = (place.path().join("keys/master.key"), place.path().join("data"));
//! create_master_key_file(&key_file)?;
//! let master_key = MasterKeySource::File(key_file).load()?.key;
//!
//! let manager = DataKeyManager::open_or_create(&data, ManagerOptions::new(master_key))?;
//! let greeting = manager.create_file("greeting")?;
//! greeting.file().write_all_at(b"Hello, encrypted world", 0)?;
//! greeting.file().sync()?;
//!
//! let mut word = [0; 9];
//! manager.open_file("greeting")?.file().read_exact_at(&mut word, 7)?;
//! assert_eq!(&word, b"encrypted");
//! # Ok(()) }
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

#[cfg(not(unix))]
compile_error!(
    "stillkey makes files durable by syncing their directory, which it knows how to do on Unix only; stillkey-core builds everywhere"
);

#[cfg(feature = "aws-lc-rs")]
mod aead;
pub mod clock;
#[cfg(feature = "config")]
mod config;
pub mod cpu;
mod dictionaries;
mod durable;
pub mod error;
pub mod file;
mod fsops;
mod install;
pub mod kernel;
#[cfg(feature = "kms")]
pub mod kms;
mod lock;
mod master;
pub mod metrics;
mod observe;
pub mod parallel;
mod provider;
mod sealed;
pub mod secret;
#[cfg(test)]
mod testing;

#[cfg(feature = "config")]
pub use config::{
    AwsAccessKey, AzureConfig, AzureCredential, ConfigWarning, ConfiguredMasterKey,
    KeyServiceConfig, KeyServiceVendor, TikvConfig, parse_duration,
};
pub use dictionaries::{
    BackgroundRotation, Bulk, Commits, DataKeyManager, Dictionaries, Done, Entries, FileKey,
    Finding, LOST_FOUND, ManagedFile, ManagerOptions, Mismatches, Names, RekeyProgress,
    RekeyReport, RekeySelection, Repair, RetiredKeys, Started, Startup, Untracked, data_path,
    is_dictionary_file, is_unfinished, read_file_dictionary, read_key_dictionary,
    read_key_envelope, read_retired_keys,
};
pub use error::{Error, ErrorKind};
#[cfg(feature = "tokio")]
pub use file::{AsyncEncryptedFile, AsyncEncryptedReader, AsyncEncryptedWriter};
pub use file::{EncryptedFile, EncryptedReader, EncryptedWriter};
pub use getrandom::SysRng;
pub use install::{AtomicFile, is_leftover, write_file};
pub use master::{LoadedMasterKey, MasterKeySource, create_master_key_file};
pub use provider::Native;
pub use sealed::{SealedFile, SealedReader, SealedWriter};
pub use stillkey_core as core;
