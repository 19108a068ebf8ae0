//! A key management service as a pure function: state, request, caller, time, randomness and key
//! material in; a reply, the next state and an audit record out.
//!
//! Envelope encryption needs somebody who holds the master key. This is that somebody, with the
//! model of Alibaba Cloud KMS's user guide of 2019-11-08: keys with versions, states, rotation,
//! import, aliases, tags, policies. It does no input or output and knows no clock; what stores the
//! state and what speaks HTTP is built on top.
//!
//! ```
//! use stillkey_core::SecretBytes;
//! use stillkey_core::kms::alias::Namespace;
//! use stillkey_core::kms::material::SoftwareKeeper;
//! use stillkey_core::kms::request::{CreateKey, GenerateDataKey};
//! use stillkey_core::kms::time::{Now, Time};
//! use stillkey_core::kms::{Caller, Face, Principal, Request, Response, State};
//!
//! # struct Rng(u8);
//! # impl rand_core::TryRng for Rng {
//! #     type Error = core::convert::Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { Ok(4) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> { Ok(4) }
//! #     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
//! #         self.0 += 1;
//! #         Ok(bytes.fill(self.0))
//! #     }
//! # }
//! # impl rand_core::TryCryptoRng for Rng {}
//! # let (store_key, keeper_key, mut random) = (vec![1; 32], vec![2; 32], Rng(0));
//! let namespace = Namespace::new("cn-hangzhou", "111122223333").ok_or("not a namespace")?;
//! let state = State::new(namespace, SecretBytes::new(store_key))?;
//! let keeper = SoftwareKeeper::new(SecretBytes::new(keeper_key), None)?;
//! let caller = Caller::new(Principal::Root, Face::Alibaba);
//! let now = Now::new(Time::from_unix(1_798_765_445).ok_or("after the year 9999")?);
//!
//! let request = Request::CreateKey(CreateKey::default());
//! let created = state.handle(&request, &caller, now, &mut random, &keeper);
//! // Here the state is made durable, and the record goes to the audit trail.
//! let state = created.next.ok_or("nothing changed")?;
//! let Response::CreateKey(key) = created.reply? else { unreachable!() };
//!
//! let request = Request::GenerateDataKey(GenerateDataKey {
//!     key: key.key.to_string(),
//!     length: Default::default(),
//!     context: [("tenant", "7")].into_iter().collect(),
//! });
//! let outcome = state.handle(&request, &caller, now, &mut random, &keeper);
//! assert!(outcome.next.is_none());
//! let Response::GenerateDataKey(data_key) = outcome.reply? else { unreachable!() };
//! assert_eq!(data_key.plaintext.len(), 32);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Naming keys
//!
//! A request names a key by its id (`1234abcd-12ab-34cd-56ef-1234567890ab`) or its ARN
//! (`acs:kms:REGION:ACCOUNT:key/ID`; on the AWS face also `arn:aws:kms:…`). DescribeKey, Encrypt,
//! GenerateDataKey, GenerateDataKeyWithoutPlaintext and the destination of ReEncrypt also take an
//! alias, by its whole name (`alias/example`) or its ARN; on the AWS face, so do Decrypt and
//! ReEncrypt where they name the key that is expected.
//!
//! # What policies protect against
//!
//! A policy is a guard-rail for those who ask through [`State::handle`]. It is no isolation: a
//! process that holds the state and its keeper's key has all keys.

pub mod alias;
pub mod audit;
pub mod blob;
pub mod context;
mod handle;
pub mod id;
pub mod import;
pub mod json;
pub mod key;
pub mod material;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod response;
pub mod rotation;
pub mod sealed;
pub mod snapshot;
mod state;
pub mod states;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod time;

pub use handle::Outcome;
pub use refusal::{Cause, Refusal};
pub use request::{Caller, Face, Operation, Principal, Request};
pub use response::Response;
pub use state::{Discarded, State, Ticked, VersionUse};
