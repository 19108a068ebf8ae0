//! The log engine of TiKV, [`raft_engine`], over files that Stillkey encrypts: how an engine with a file system of its own is joined to a
//! [`Entries`](stillkey::Entries).
//!
//! [`EncryptedFileSystem`] is what the engine asks for files. Its documentation says in which order a file and its entry change, and what
//! overwriting costs. Copy it for an engine of yours; it is a crate of this workspace, so that users of the library don't build this engine.
//!
//! ```
//! use std::sync::Arc;
//!
//! use raft_engine::{Config, Engine, LogBatch};
//! use stillkey::core::{MasterKey, Method, RawMasterKey};
//! use stillkey::{Entries, clock::unix_now};
//! use stillkey_raft_engine::EncryptedFileSystem;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # let (keys, logs) = (place.path().join("keys"), place.path().join("logs"));
//! let master_key = MasterKey::Raw(RawMasterKey::random(&mut stillkey::SysRng)?);
//! let entries = Entries::create(keys, &master_key, Method::Aes256Ctr, unix_now())?;
//! let files = EncryptedFileSystem::new(Arc::new(entries));
//! let config = Config { dir: logs.display().to_string(), ..Config::default() };
//! let engine = Engine::open_with_file_system(config, Arc::new(files))?;
//! let mut batch = LogBatch::default();
//! batch.put(1, b"leader".to_vec(), b"3".to_vec())?;
//! engine.write(&mut batch, true)?;
//! assert_eq!(engine.get(1, b"leader").as_deref(), Some(&b"3"[..]));
//! # Ok(()) }
//! ```

mod entries;
mod file;
mod file_system;
mod message;
pub mod testing;

pub use file::{Cursor, LogFile};
pub use file_system::EncryptedFileSystem;
pub use message::{Entry, Raft, entry};
/// The engine itself, in the version that all of this is made for.
pub use raft_engine;
