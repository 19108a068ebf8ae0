//! The process that a test kills: it appends to an engine, and says on its standard output what is durable and what may be gone.
//!
//! The line `appended REGION INDEX` follows a sync, `compacting REGION INDEX` precedes the removal of everything before that index.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use stillkey::core::Method;
use stillkey_raft_engine::raft_engine::{Engine, LogBatch};
use stillkey_raft_engine::{EncryptedFileSystem, Raft, entry, testing};

const REGIONS: u64 = 3;
/// Entries that a region keeps.
const KEPT: u64 = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args_os().nth(1).ok_or("the directory is missing")?);
    let dictionary = testing::entries(&directory.join("keys"), Method::Aes256Ctr)?;
    let files = EncryptedFileSystem::new(Arc::new(dictionary));
    let config = testing::small_files(&directory.join("logs"));
    let engine = Engine::open_with_file_system(config, Arc::new(files))?;
    let mut out = io::stdout().lock();
    for round in 1_u64.. {
        for region in 1..=REGIONS {
            let first = engine.last_index(region).unwrap_or_default() + 1;
            let last = first + round % 4;
            let entries = (first..=last).map(|index| entry(index, testing::content(region, index)));
            let mut batch = LogBatch::default();
            batch.add_entries::<Raft>(region, &entries.collect::<Vec<_>>())?;
            engine.write(&mut batch, true)?;
            writeln!(out, "appended {region} {last}")?;
        }
        if round % 8 == 0 {
            for region in 1..=REGIONS {
                let last = engine.last_index(region).unwrap_or_default();
                let to = last.saturating_sub(KEPT);
                writeln!(out, "compacting {region} {to}")?;
                engine.compact_to(region, to);
            }
            engine.purge_expired_files()?;
        }
    }
    Ok(())
}
