//! A key management service as a pure function: state, request, caller, time, randomness and key
//! material in; a reply, the next state and an audit record out.
//!
//! Envelope encryption needs somebody who holds the master key. This is that somebody, with the
//! model of Alibaba Cloud KMS's user guide of 2019-11-08: keys with versions, states, rotation,
//! import, aliases, tags, policies. It does no input or output and knows no clock; what stores the
//! state and what speaks HTTP is built on top.

pub mod context;
pub mod id;
pub mod json;
pub mod policy;
pub mod time;
