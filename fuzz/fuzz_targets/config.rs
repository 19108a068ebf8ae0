//! No text makes the reader of TiKV's configuration panic, and no error quotes what may be a secret.
//!
//! Input: a configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey::TikvConfig;

/// Runs of this many bytes are looked for. Everything shorter may stand in a message by chance.
const RUN: usize = 16;

/// What every message may say, whatever the file holds: the rest of it has to come from somewhere else.
const HARMLESS: [&str; 3] = [
    "the configuration can't be read: line  has the wrong form; compare it with TiKV's documentation of [security.encryption]",
    "the configuration can't be read: a value has the wrong form or is missing; compare it with TiKV's documentation of [security.encryption]",
    "the configuration's data-encryption-method is none that there is; use one of plaintext, aes128-ctr, aes192-ctr, aes256-ctr, sm4-ctr",
];

fuzz_target!(|text: &str| {
    let error = match TikvConfig::parse(text) {
        Ok(config) => {
            for key in std::iter::once(&config.master_key).chain(&config.previous_master_key) {
                let _ = key.source();
            }
            return;
        }
        Err(error) => error.to_string(),
    };
    for line in text.lines() {
        for run in line.as_bytes().windows(RUN + 1) {
            let quoted = error
                .as_bytes()
                .windows(RUN + 1)
                .any(|window| window == run);
            let harmless = HARMLESS.iter().any(|message| {
                message
                    .as_bytes()
                    .windows(RUN + 1)
                    .any(|window| window == run)
            });
            assert!(!quoted || harmless, "{error:?} quotes {line:?}");
        }
    }
});
