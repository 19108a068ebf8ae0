//! Constant time, shown: what the watched program and its watcher share.

pub mod taint;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod tracker;
