//! Portable AES beside RustCrypto's soft backend.
//!
//! The crate `aes` picks its backend for a whole build, by `--cfg aes_backend="soft"`. So this one comparison needs a build of its own; within it,
//! both still take turns in one process.

use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};
use stillkey_core::Cipher;

use crate::ctr::{CtrWork, Start, ours_by};
use crate::measure::{Effort, Pages, interleaved};
use crate::peers::{self, RUSTCRYPTO};
use crate::task::Times;

/// What the other process is asked to measure, as its only argument after the subcommand.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    method: String,
    len: usize,
    rounds: u32,
    slice_us: u64,
}

/// The subcommand of this program by which it answers an order.
pub const SUBCOMMAND: &str = "soft-aes";

/// Builds this program with the soft backend, if cargo hasn't yet, and lets it measure.
///
/// # Errors
/// Why it can't.
pub fn measure(cipher: Cipher, len: usize, effort: Effort) -> Result<Times, String> {
    let cargo = std::env::var_os("CARGO").ok_or("only cargo can build the soft backend")?;
    let order = Order {
        method: cipher.method().name().to_owned(),
        len,
        rounds: effort.rounds,
        slice_us: u64::try_from(effort.slice.as_micros()).unwrap_or(u64::MAX),
    };
    let order = serde_json::to_string(&order).map_err(|error| error.to_string())?;
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let output = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--release",
            "--locked",
            "--no-default-features",
        ])
        .args(["--package", env!("CARGO_PKG_NAME"), "--target-dir"])
        .arg(target_dir()?)
        .args(["--", SUBCOMMAND, &order])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", format!("{flags} --cfg aes_backend=\"soft\""))
        .output()
        .map_err(|error| format!("cargo doesn't start: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().last().unwrap_or_default();
        return Err(format!("the soft backend's program failed: {last}"));
    }
    serde_json::from_slice(&output.stdout)
        .map(Times)
        .map_err(|error| error.to_string())
}

/// Beside this program.
fn target_dir() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(program.with_file_name("aes-soft"))
}

/// Answers `order` in JSON: the other process's part.
///
/// # Errors
/// When this build isn't one with the soft backend, or the order isn't one.
pub fn answer(order: &str) -> Result<String, String> {
    if !cfg!(aes_backend = "soft") {
        return Err("this build has RustCrypto's default backend".to_owned());
    }
    let order: Order = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let cipher = Cipher::ALL
        .into_iter()
        .find(|cipher| cipher.method().name() == order.method)
        .ok_or("no such method")?;
    let mut contenders = CtrWork::new(cipher, order.len, Start::Page).contenders(&peers::all());
    let wanted = [ours_by("portable"), RUSTCRYPTO.to_owned()];
    contenders.retain(|contender| wanted.iter().any(|name| name == contender.name()));
    let effort = Effort {
        rounds: order.rounds,
        slice: std::time::Duration::from_micros(order.slice_us),
    };
    let times = interleaved(&mut contenders, Pages::new(order.len).bytes(), effort);
    let names = contenders.iter().map(|contender| contender.name());
    let answer: Vec<_> = names.zip(times).collect();
    serde_json::to_string(&answer).map_err(|error| error.to_string())
}
