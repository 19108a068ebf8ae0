//! What this crate's own tests share.

pub(crate) mod disk;
pub(crate) mod schedules;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use stillkey_core::{MasterKey, RawMasterKey, SecretBytes};

/// A whole number that a person may set.
pub(crate) fn from_environment(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    let parsed = value.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{name}={value}: expected a whole number")))
}

/// For proptest: so many cases, or `STILLKEY_LONG` times as many, with none kept in the source tree.
pub(crate) fn cases(number: usize) -> proptest::test_runner::Config {
    let number = number * from_environment("STILLKEY_LONG").unwrap_or(1);
    proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::with_cases(number as u32)
    }
}

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

/// Numbers that look random, the same for the same seed. Source: G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (2003).
pub(crate) struct Xorshift(u64);

impl Xorshift {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}
