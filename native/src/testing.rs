//! What this crate's own tests share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use stillkey_core::{MasterKey, RawMasterKey, SecretBytes};

/// Every file of a directory with its content.
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let content = fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), content)
        })
        .collect()
}

/// A master key of 32 equal bytes.
pub(crate) fn master_key(byte: u8) -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::new(vec![byte; 32])).unwrap())
}
