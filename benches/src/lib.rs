//! How fast Stillkey is, beside its peers.
//!
//! - `cargo run -p stillkey-benches --release -- table` prints one table of ratios, `-- check` holds them against the [`bars`]; `--quick` takes
//!   less than a minute. Both keep to one pinned thread, let all contenders take turns in one process, and quote each one's best round.
//! - `cargo bench -p stillkey-benches` has criterion's benches, for following one change.
//!
//! Every answer is compared with an oracle before it is timed. Peers are [`peers::all`]: RustCrypto, the system's OpenSSL, AWS-LC,
//! and, where they are installed (`tests/setup peers`), libgcrypt and Intel's Multi-Buffer Crypto for IPsec. The features of this crate
//! leave peers out; what a bar misses then is reported as not measured, never as passed. That goes for the log engine of TiKV, too, which
//! feature `raft-engine` brings.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that can't run should stop"
)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bars;
pub mod check;
pub mod ctr;
mod ffi;
pub mod machine;
pub mod managed;
pub mod measure;
pub mod peers;
#[cfg(feature = "raft-engine")]
pub mod raft_log;
#[cfg(feature = "aws-lc")]
mod sealed;
pub mod soft;
pub mod table;
pub mod task;
mod text;
