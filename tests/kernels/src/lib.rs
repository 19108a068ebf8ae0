//! What the tests of kernels share: the kernels that run here, the keystream that they have to give, and a table of what was checked.
//!
//! A new kernel needs no test of its own: everything goes over [`Kernel::all`].

pub mod oracle;
mod page;

use std::collections::BTreeSet;
use std::sync::Arc;

use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_core::cipher::CtrKernel;
use stillkey_core::{Cipher, DataKey, Iv, SecretBytes};

pub use page::{Page, Stream};

/// One kernel with an expanded key.
pub struct Subject {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The cipher that it runs here.
    pub cipher: Cipher,
    /// Its key.
    pub key: Vec<u8>,
    /// Made of `key`.
    pub ctr: Arc<dyn CtrKernel>,
}

impl Subject {
    /// The kernel as it is, and prepared for `stream` where it can be.
    pub fn forms(&self, stream: &Stream) -> Vec<Arc<dyn CtrKernel>> {
        let prepared = self.ctr.prepared(stream.iv());
        [self.ctr.clone()].into_iter().chain(prepared).collect()
    }
}

/// Why `kernel` doesn't run here: the features that the processor lacks. Empty where it runs.
pub fn missing(kernel: &Kernel) -> String {
    let features = Features::detect();
    let missing = kernel.needs().iter().filter(|need| !features.has(**need));
    let names: Vec<_> = missing.map(|need| need.name()).collect();
    names.join(", ")
}

/// The names of the kernels that run here, and fail if one that `STILLKEY_EXPECT_KERNELS` names (separated by commas) isn't among them:
/// whoever sets it knows the machine, and a kernel that silently went untested isn't tested.
pub fn available() -> BTreeSet<&'static str> {
    let available: BTreeSet<_> = Kernel::all()
        .filter(|kernel| missing(kernel).is_empty())
        .map(Kernel::name)
        .collect();
    let expected = std::env::var("STILLKEY_EXPECT_KERNELS").unwrap_or_default();
    for name in expected.split(',').filter(|name| !name.is_empty()) {
        assert!(
            available.contains(name),
            "STILLKEY_EXPECT_KERNELS names {name}, which doesn't run here; these do: {available:?}"
        );
    }
    available
}

/// A key whose bytes all differ.
pub fn key(cipher: Cipher) -> Vec<u8> {
    (1..)
        .map(|i: u8| i.wrapping_mul(0x9d))
        .take(cipher.key_len())
        .collect()
}

/// Runs `check`, which returns the number of its cases, for every kernel that runs here and each of its ciphers; prints what ran and
/// what couldn't.
pub fn for_every_kernel(check: impl Fn(&Subject) -> usize) {
    let available = available();
    println!("compared with {}", oracle::NAME);
    for kernel in Kernel::all() {
        let name = kernel.name();
        if !available.contains(name) {
            println!("{name:<14} not available: needs {}", missing(kernel));
            continue;
        }
        for &cipher in kernel.ciphers() {
            let key = key(cipher);
            let data_key =
                DataKey::new(cipher, SecretBytes::copied(&key)).expect("a fitting length");
            let ctr = kernel
                .ctr(Features::detect(), &data_key)
                .unwrap_or_else(|| {
                    panic!("{name} has all that it needs and doesn't run {cipher:?}")
                });
            let prepared = match ctr.prepared(&Iv::new([0; 16])) {
                Some(_) => ", also prepared",
                None => "",
            };
            let cases = check(&Subject {
                kernel,
                cipher,
                key,
                ctr,
            });
            assert!(cases > 0, "{name} {cipher:?}: nothing was checked");
            println!(
                "{name:<14} {:<11} {cases:>7} cases{prepared}",
                cipher.method().name()
            );
        }
    }
}
