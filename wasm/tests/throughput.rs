//! How fast this module encrypts: a measurement, to be run on purpose and with optimisation.
//!
//! ```sh
//! export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(tests/setup --wasm-runner)
//! export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=-Ctarget-feature=+simd128
//! cargo test -p stillkey-wasm --release --target wasm32-unknown-unknown --test throughput -- --include-ignored --nocapture
//! ```

#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used)]

use stillkey_core::{Cipher, CipherProvider, DataKey, Iv, Portable, SecretBytes};
use stillkey_wasm::Simd;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

const LEN: usize = 64 << 10;

#[wasm_bindgen_test]
#[ignore = "a measurement"]
fn throughput() {
    let mut data = vec![0; LEN];
    for cipher in Cipher::ALL {
        let key = DataKey::new(cipher, SecretBytes::new(vec![7; cipher.key_len()])).unwrap();
        let kernels = [Simd.ctr(&key), Portable.ctr(&key)];
        let mut best = [0_f64; 2];
        // In turn, so that what else the machine does hits both alike. The first rounds are those before the host has optimised the code.
        for _ in 0..15 {
            for (kernel, best) in kernels.iter().zip(&mut best) {
                let start = js_sys::Date::now();
                let (mut calls, mut milliseconds) = (0.0, 0.0);
                while milliseconds < 40.0 {
                    kernel.apply(&Iv::new([9; 16]), 0, data.as_mut_slice().into());
                    calls += 1.0;
                    milliseconds = js_sys::Date::now() - start;
                }
                *best = best.max(calls * LEN as f64 / milliseconds / 1e3);
            }
        }
        let [ours, portable] = best;
        let (cipher, ratio) = (cipher.method().name(), ours / portable);
        console_log!(
            "{cipher:<11} {} {ours:4.0} MB/s, portable {portable:4.0}: {ratio:.2}",
            Simd.name(key.cipher())
        );
    }
}
