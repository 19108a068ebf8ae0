//! The log engine of TiKV on encrypted files: writes a log, forgets most of it, and reads the rest after reopening.
//!
//! ```sh
//! cargo run -p stillkey-raft-engine --example raft_engine DIRECTORY
//! ```

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stillkey::clock::unix_now;
use stillkey::core::Method;
use stillkey::{Entries, MasterKeySource, create_master_key_file};
use stillkey_raft_engine::raft_engine::{Config, Engine, LogBatch, ReadableSize};
use stillkey_raft_engine::{EncryptedFileSystem, Raft, entry};

const REGION: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args_os().nth(1).ok_or("the directory is missing")?);
    let last = {
        let engine = open(&directory)?;
        let first = engine.last_index(REGION).unwrap_or_default() + 1;
        let last = first + 9_999;
        for index in first..=last {
            let mut batch = LogBatch::default();
            let change = format!("set balance of account {} to {index}", index % 7);
            batch.add_entries::<Raft>(REGION, &[entry(index, change.into())])?;
            // A real engine syncs what it acknowledges.
            engine.write(&mut batch, index == last)?;
        }
        engine.compact_to(REGION, last - 2);
        engine.purge_expired_files()?;
        println!("{}: appended {first} to {last}", directory.display());
        last
    };

    let engine = open(&directory)?;
    for index in last - 2..=last {
        let entry = engine.get_entry::<Raft>(REGION, index)?;
        let entry = entry.ok_or("an entry is missing")?;
        let change = String::from_utf8_lossy(entry.get_string_value());
        println!("{index}: {change}");
    }
    for file in fs::read_dir(directory.join("log"))? {
        let file = file?;
        let bytes = fs::read(file.path())?;
        let shown = bytes.windows(7).any(|bytes| bytes == b"balance");
        let found = if shown { "plaintext" } else { "no plaintext" };
        println!("{}: {} B, {found}", file.path().display(), bytes.len());
    }
    Ok(())
}

/// The engine over a directory, which gets a master key and dictionaries if it has none.
fn open(directory: &Path) -> Result<Engine<EncryptedFileSystem>, Box<dyn Error>> {
    let (key_file, keys) = (directory.join("master.key"), directory.join("keys"));
    let entries = if key_file.exists() {
        let master_key = MasterKeySource::File(key_file).load()?.key;
        Entries::open(&keys, &master_key)?
    } else {
        fs::create_dir_all(directory)?;
        // Beside the data for this demonstration only: whoever steals a disk with both on it can read all.
        create_master_key_file(&key_file)?;
        let master_key = MasterKeySource::File(key_file).load()?.key;
        Entries::create(&keys, &master_key, Method::Aes256Ctr, unix_now())?
    };
    let config = Config {
        dir: directory.join("log").display().to_string(),
        target_file_size: ReadableSize::kb(256),
        purge_threshold: ReadableSize::mb(1),
        ..Config::default()
    };
    let files = EncryptedFileSystem::new(Arc::new(entries));
    Ok(Engine::open_with_file_system(config, Arc::new(files))?)
}
