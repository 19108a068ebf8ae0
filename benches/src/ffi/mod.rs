//! C libraries as peers, and the processor's own limit: the only unsafe code outside of the kernels. Nothing here is shipped.
//!
//! libgcrypt and Intel's library are loaded when the program runs, so that it builds and runs without them and says so.

#![allow(unsafe_code)]

#[cfg(all(feature = "ipsec-mb", target_arch = "x86_64"))]
pub(crate) mod ipsec_mb;
#[cfg(feature = "libgcrypt")]
pub(crate) mod libgcrypt;
pub(crate) mod limit;
pub(crate) mod openssl;

/// Why a library can't be a peer.
#[cfg(any(feature = "libgcrypt", feature = "ipsec-mb"))]
fn absent(file: &str) -> String {
    format!("{file} can't be loaded; tests/setup peers installs it")
}
