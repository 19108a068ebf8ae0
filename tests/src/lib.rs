//! What the tests of this folder share: vector files, the golden manifest, random numbers, and an independent reader of the formats.

pub mod cli;
pub mod golden;
pub mod hex;
pub mod kms;
pub mod oracle;
pub mod random;
pub mod scenario;
pub mod service;
pub mod small_disk;

use std::path::PathBuf;
use std::sync::Arc;

use proptest::test_runner::Config as ProptestConfig;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_core::cipher::CtrKernel;
use stillkey_core::{DataKey, MasterKey, Method, RawMasterKey, SecretBytes};

/// How many times as much of what is random is to be done: `STILLKEY_LONG`, which `tests/run --long` sets, or once.
pub fn long() -> u32 {
    let factor = std::env::var("STILLKEY_LONG").unwrap_or_else(|_| "1".into());
    let parsed = factor.parse();
    parsed.unwrap_or_else(|_| panic!("STILLKEY_LONG={factor}: expected a whole number"))
}

/// For proptest: so many cases, or times [`long`], with none kept in the source tree.
pub fn cases(number: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(number * long())
    }
}

/// The path of a file below `tests/vectors`.
pub fn vector_path(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "vectors", path]
        .iter()
        .collect()
}

/// The bytes of a file below `tests/vectors`.
pub fn vector(path: &str) -> Vec<u8> {
    let path = vector_path(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The JSON of a file below `tests/vectors`.
pub fn json<T: DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&vector(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// SHA-256 as lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

/// A master key from 64 hexadecimal digits.
pub fn raw_master_key(digits: &str) -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::new(hex::decode(digits))).unwrap())
}

/// A data key for `method`, which is not plaintext.
pub fn data_key(method: Method, bytes: &[u8]) -> DataKey {
    DataKey::new(method.cipher().unwrap(), SecretBytes::copied(bytes)).unwrap()
}

/// Every kernel that runs `key`'s method here, by name.
pub fn kernels(key: &DataKey) -> Vec<(&'static str, Arc<dyn CtrKernel>)> {
    let features = Features::detect();
    let kernels =
        Kernel::all().filter_map(|kernel| Some((kernel.name(), kernel.ctr(features, key)?)));
    let kernels: Vec<_> = kernels.collect();
    assert!(
        !kernels.is_empty(),
        "every method has a kernel that runs everywhere"
    );
    kernels
}

/// README's program, which thus has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
