//! No text makes the reader of configurations panic, and no error quotes what may be a secret: all that it says comes from a short list.
//!
//! Input: a configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey::TikvConfig;

/// The keys that an error can be about, and the tables that they are in.
const KEYS: [&str; 37] = [
    "storage",
    "data-dir",
    "flash",
    "proxy",
    "config",
    "stillkey",
    "file-names",
    "untracked",
    "security",
    "encryption",
    "data-encryption-method",
    "data-key-rotation-period",
    "enable-file-dictionary-log",
    "file-dictionary-rewrite-threshold",
    "master-key",
    "previous-master-key",
    "type",
    "path",
    "vendor",
    "key-id",
    "region",
    "endpoint",
    "aws",
    "access-key",
    "secret-access-key",
    "azure",
    "tenant-id",
    "client-id",
    "keyvault-url",
    "hsm-name",
    "hsm-url",
    "client-certificate",
    "client-certificate-path",
    "client-certificate-password",
    "client-secret",
    "gcp",
    "credential-file-path",
];
const TYPES: [&str; 7] = [
    "string", "integer", "float", "boolean", "datetime", "array", "table",
];
const EXPECTED: [&str; 9] = [
    "a table",
    "a string",
    "true or false",
    "a whole number from 0 on",
    "one of plaintext, aes128-ctr, aes192-ctr, aes256-ctr, sm4-ctr",
    "a duration such as \"7d\" or \"1h30m\": numbers with d, h, m, s, ms, us or ns, in this order",
    "\"plaintext\", \"file\" or \"kms\"",
    "\"relative\" or \"absolute\"",
    "\"refuse\" or \"plaintext\"",
];

fuzz_target!(|text: &str| {
    match TikvConfig::parse(text) {
        Ok(config) => {
            let _ = (config.rotation_policy(), format!("{config:?}"));
            for key in std::iter::once(&config.master_key).chain(&config.previous_master_key) {
                let _ = (key.source(), key.to_string());
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(is_harmless(&error).is_some(), "{error:?}");
        }
    }
});

/// `Some` for what an error may say, whatever the file holds.
fn is_harmless(error: &str) -> Option<()> {
    const NOT_TOML: &str = " isn't TOML; check its quotes and brackets";
    if error.strip_prefix("it") == Some(NOT_TOML) {
        return Some(());
    }
    let behind_line = error.strip_prefix("line ")?;
    let behind_line = behind_line.trim_start_matches(|c: char| c.is_ascii_digit());
    if behind_line == NOT_TOML {
        return Some(());
    }
    let (path, what) = behind_line.strip_prefix(": ")?.split_once(": ")?;
    if !path.split('.').all(|key| KEYS.contains(&key)) {
        return None;
    }
    if what == "missing; set it to \"plaintext\", \"file\" or \"kms\"" {
        return Some(());
    }
    let (found, expected) = what.strip_prefix("this ")?.split_once(" isn't ")?;
    (TYPES.contains(&found) && EXPECTED.contains(&expected)).then_some(())
}
