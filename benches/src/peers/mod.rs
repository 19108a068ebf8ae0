//! Other people's counter mode, each called in its fastest honest way: a key that is expanded once, and per call no more than its
//! interface needs to start at another byte.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod rustcrypto;

use std::fmt;

pub(crate) use rustcrypto::oracle;
use stillkey_core::{Cipher, DataKey, Iv};

use crate::ctr::CtrWork;
use crate::ffi;
use crate::measure::Contender;

/// Counter mode over one file.
pub(crate) trait Stream: 'static {
    /// Goes over to another key of the same cipher, and so of the same length.
    fn rekey(&mut self, key: &DataKey);

    /// XORs the keystream over `data`, whose first byte stands at byte `offset` of the file.
    fn apply(&mut self, offset: u64, data: &mut [u8]);
}

/// The counter of the block in which byte `offset` lies, and how many bytes of it come before that.
pub fn position(iv: Iv, offset: u64) -> ([u8; Iv::LEN], usize) {
    let counter = *iv.at_block(offset / 16).as_bytes();
    (counter, (offset % 16) as usize)
}

/// For interfaces that begin with a whole block and take one buffer per call: what stands before the data goes before it, on the stack.
#[cfg(any(feature = "aws-lc", feature = "ipsec-mb"))]
pub(crate) fn from_within_a_block(
    iv: Iv,
    offset: u64,
    data: &mut [u8],
    mut run: impl FnMut(&[u8; Iv::LEN], &mut [u8]),
) {
    const STAGE: usize = 128;
    let (counter, skip) = position(iv, offset);
    if skip == 0 {
        return run(&counter, data);
    }
    let (head, rest) = match data.len() {
        len if len <= STAGE - skip => (data, &mut [][..]),
        _ => data.split_at_mut(16 - skip),
    };
    let mut stage = [0; STAGE];
    let staged = &mut stage[..skip + head.len()];
    staged[skip..].copy_from_slice(head);
    run(&counter, staged);
    head.copy_from_slice(&staged[skip..]);
    if !rest.is_empty() {
        let (counter, _) = position(iv, offset + head.len() as u64);
        run(&counter, rest);
    }
}

/// An implementation to compare with.
pub struct Peer {
    /// Its name in tables and bars.
    pub name: &'static str,
    /// Its version, or why it isn't here.
    pub version: Result<String, String>,
    open: Box<Open>,
}

/// Makes it a contender, if it has the cipher.
type Open = dyn Fn(&CtrWork) -> Option<Contender>;

impl Peer {
    /// `open` takes a key of the cipher's length, and gives `None` when it doesn't have the cipher.
    fn new<S: Stream>(
        name: &'static str,
        version: Result<String, String>,
        open: fn(Cipher, &[u8], Iv) -> Option<S>,
    ) -> Self {
        let contender = move |work: &CtrWork| {
            let stream = open(work.cipher, work.key.secret().danger_bytes(), work.iv)?;
            Some(work.contender_of(name, stream))
        };
        Self {
            name,
            version,
            open: Box::new(contender),
        }
    }

    /// One that only says its version, or why it isn't here.
    #[cfg(any(
        test,
        not(all(feature = "aws-lc", feature = "libgcrypt", feature = "ipsec-mb"))
    ))]
    pub(crate) fn without_ciphers(name: &'static str, version: Result<&str, &str>) -> Self {
        Self {
            name,
            version: version.map(str::to_owned).map_err(str::to_owned),
            open: Box::new(|_| None),
        }
    }

    /// Ready to do `work`; `None` when it isn't here or doesn't have the cipher.
    pub fn contender(&self, work: &CtrWork) -> Option<Contender> {
        self.version.as_ref().ok()?;
        (self.open)(work)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer")
            .field(&self.name)
            .field(&self.version)
            .finish()
    }
}

/// RustCrypto's `aes` and `sm4` with `ctr`.
pub const RUSTCRYPTO: &str = "rustcrypto";
/// The system's OpenSSL.
pub const OPENSSL: &str = "openssl";
/// AWS-LC through `aws-lc-rs`.
pub const AWS_LC: &str = "aws-lc";
/// The system's libgcrypt.
pub const LIBGCRYPT: &str = "libgcrypt";
/// Intel's Multi-Buffer Crypto for IPsec, for x86-64 only.
pub const IPSEC_MB: &str = "ipsec-mb";

/// The names of all of them.
pub const PEERS: [&str; 5] = [RUSTCRYPTO, OPENSSL, AWS_LC, LIBGCRYPT, IPSEC_MB];

/// All of them, here or not.
pub fn all() -> Vec<Peer> {
    vec![
        Peer::new(RUSTCRYPTO, Ok(rustcrypto::version()), rustcrypto::Ctr::new),
        Peer::new(OPENSSL, Ok(ffi::openssl::version()), ffi::openssl::Ctr::new),
        #[cfg(feature = "aws-lc")]
        Peer::new(AWS_LC, Ok(aws_lc::version()), aws_lc::Ctr::new),
        #[cfg(not(feature = "aws-lc"))]
        Peer::without_ciphers(AWS_LC, Err("built without feature aws-lc")),
        #[cfg(feature = "libgcrypt")]
        Peer::new(
            LIBGCRYPT,
            ffi::libgcrypt::version(),
            ffi::libgcrypt::Ctr::new,
        ),
        #[cfg(not(feature = "libgcrypt"))]
        Peer::without_ciphers(LIBGCRYPT, Err("built without feature libgcrypt")),
        #[cfg(all(feature = "ipsec-mb", target_arch = "x86_64"))]
        Peer::new(IPSEC_MB, ffi::ipsec_mb::version(), ffi::ipsec_mb::Ctr::new),
        #[cfg(all(not(feature = "ipsec-mb"), target_arch = "x86_64"))]
        Peer::without_ciphers(IPSEC_MB, Err("built without feature ipsec-mb")),
    ]
}

/// The version of a crate as the workspace has locked it.
fn locked_version(name: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    lock.split_once(&entry)
        .and_then(|(_, behind)| behind.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}

/// Raw AES-256-GCM over one message in place, without associated data: what sealed bodies are compared with.
#[cfg(feature = "aws-lc")]
pub use aws_lc::gcm;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(locked_version("sm4").starts_with("0."));
        assert_eq!(locked_version("no such crate"), "unknown");
    }
}
