//! The two dictionaries of an encrypted directory: which data keys exist, and which key and IV each file has.

mod file_log;
mod files;
mod keys;
mod log;
mod salvage;
mod synced;

pub use file_log::{Batch, Changes, FileLog, Write};
pub use files::{FileDictionary, FileInfo};
pub use keys::{KeyDictionary, KeyEntry, RotationPolicy, RotationReason};
pub use log::{LocatedRecord, LogReader, Reading, Record, Recovered, UNSYNCED_LIMIT, Verdict};
pub use salvage::{Lost, Salvaged};
pub use synced::SyncedLength;
