//! `stillkey-core` for WebAssembly hosts.
//!
//! Today this is the core re-exported and nothing more: it keeps the direction of dependencies (`wasm → core`) true and built. The JavaScript
//! bindings, the npm package and the inspector page are not written yet.

pub use stillkey_core::*;
