//! What the tests, the process that they kill and the benches agree on.

use std::error::Error;
use std::path::Path;

use raft_engine::{Config, ReadableSize};
use stillkey::core::{MasterKey, Method, RawMasterKey, SecretBytes};
use stillkey::{Entries, clock::unix_now};

/// In every entry; no encrypted file may hold it.
pub const MARKER: &[u8] = b"nobody but the engine reads this";

/// What the entry of a region at an index holds: different for each, and of different lengths.
pub fn content(region: u64, index: u64) -> Vec<u8> {
    let mut content = MARKER.to_vec();
    content.extend(region.to_le_bytes());
    content.extend(index.to_le_bytes());
    let filler = (region + index).to_le_bytes().into_iter().cycle();
    content.extend(filler.take(usize::try_from(index * 37 % 1500).unwrap_or_default()));
    content
}

/// Files so small that a few hundred entries fill, purge and recycle some; uncompressed, so that a marker that is written is found.
pub fn small_files(directory: &Path) -> Config {
    Config {
        dir: directory.display().to_string(),
        target_file_size: ReadableSize::kb(32),
        purge_threshold: ReadableSize::kb(128),
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    }
}

/// The entries of a directory, which gets dictionaries if it has none, under a key that everybody knows.
///
/// # Errors
/// Those of [`Entries::create`] and [`Entries::open`].
pub fn entries(directory: &Path, method: Method) -> Result<Entries, Box<dyn Error>> {
    let master_key = MasterKey::Raw(RawMasterKey::new(SecretBytes::copied(&[7; 32]))?);
    if directory.join("key.dict").exists() {
        return Ok(Entries::open(directory, &master_key)?);
    }
    Ok(Entries::create(directory, &master_key, method, unix_now())?)
}
