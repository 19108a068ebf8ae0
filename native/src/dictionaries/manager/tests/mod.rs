//! Files, as their users see them, and what a power failure leaves of them.

mod crash;
mod files;
mod places;
mod repairs;
mod replacements;
mod schedules;

use std::path::Path;

use stillkey_core::Method;

use super::*;
use crate::testing::master_key;

const NOW: u64 = 1_700_000_000;

fn new_store(directory: &Path) -> DataKeyManager {
    drop(Entries::create(directory, &master_key(1), Method::Aes256Ctr, 1).unwrap());
    DataKeyManager::open(directory, &master_key(1)).unwrap()
}

fn write(manager: &DataKeyManager, path: &str, content: &[u8]) {
    let created = manager.create_file(path).unwrap();
    created.file().write_all_at(content, 0).unwrap();
    created.file().sync().unwrap();
}

fn read(manager: &DataKeyManager, path: &str) -> Vec<u8> {
    let opened = manager.open_file(path).unwrap();
    let mut content = vec![0; opened.file().len().unwrap() as usize];
    opened.file().read_exact_at(&mut content, 0).unwrap();
    content
}
