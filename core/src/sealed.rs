//! Sealed objects: one self-describing file, opened by any of several master keys. `core/FORMAT.md` is the specification.
//!
//! The body is either a counter-mode stream (same length as the plaintext, seekable to the byte, *without integrity*) or a sequence of
//! authenticated chunks (seekable by chunk; truncation, reordering, duplication and extension are detected).

mod body;
mod chunks;
mod header;
mod keys;
mod object;
mod stretch;
mod suite;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use chunks::{Chunks, Layout};
pub use header::{Header, Options, Recipient};
pub use object::{Opener, Pushed, Sealer, open, seal};
pub use stretch::{BadChunk, OneThread, Stretch, Workers};
pub use suite::{Suite, SuiteBody};
