//! The two dictionaries of an encrypted directory: which data keys exist, and which key and IV each file has.

mod files;
mod keys;
mod log;

pub use files::{FileDictionary, FileInfo};
pub use keys::{KeyDictionary, KeyEntry, RotationPolicy, RotationReason};
pub use log::{FileLog, LocatedRecord, LogReader, Reading, Record, Recovered, Verdict, Write};
