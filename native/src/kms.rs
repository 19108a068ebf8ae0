//! An embedded key management service: [`EmbeddedKms`] keeps the model of
//! [`core::kms`](stillkey_core::kms) in a directory, with an audit trail.
//!
//! - `kms.state`: keys, aliases and policies, sealed under a [`RootKey`]; replaced as a whole with
//!   each change. `kms.state.previous` is the state before the last change.
//! - `audit/`: one line for each request, also for those that were refused. The encryption context
//!   stands in it as it is; ciphertext as its SHA-256; plaintext and key material never.
//! - `kms.lock`: keeps a second process out.

mod audit_log;
mod clock;
mod embedded;
mod ledger;
mod operations;
mod root_key;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use audit_log::AuditReport;
pub use clock::{Clock, SystemClock};
pub use embedded::{AuditMode, EmbeddedKms, EmbeddedKmsOptions};
pub use root_key::RootKey;
pub use service::KmsKey;
pub use store::{DirectoryStore, Kept, Revision, StateStore, Swapped};
