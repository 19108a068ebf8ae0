//! A body of authenticated chunks: the STREAM construction with GCM.
//!
//! Each chunk's nonce is a per-object prefix, the chunk's number, and whether it is the last. So a chunk that is moved, repeated, dropped
//! or followed by another fails to open. Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance" (CRYPTO 2015), with the nonce layout of Tink's streaming AEAD.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use inout::InOutBuf;
use zeroize::Zeroize;

use crate::cipher::AeadKernel;
use crate::error::{Damage, Error, Finding, Misuse, Part};
use crate::gcm::TAG_LEN;
use crate::iv::Iv;

/// Seals and opens single chunks, by number, in any order.
pub struct Chunks {
    kernel: Box<dyn AeadKernel>,
    nonce_prefix: [u8; 7],
    chunk_size: usize,
    /// Where the body starts in the file, for error messages.
    body_at: u64,
}

/// How a body of a given length divides into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of chunks, at least 1.
    pub chunks: u64,
    /// Length of the plaintext in bytes.
    pub plaintext_len: u64,
}

impl Chunks {
    /// Bytes that a chunk grows by.
    pub const OVERHEAD: usize = TAG_LEN;

    pub(crate) fn new(
        kernel: Box<dyn AeadKernel>,
        iv: &Iv,
        chunk_size: usize,
        body_at: u64,
    ) -> Self {
        let [a, b, c, d, e, f, g, ..] = *iv.as_bytes();
        Self {
            kernel,
            nonce_prefix: [a, b, c, d, e, f, g],
            chunk_size,
            body_at,
        }
    }

    /// Plaintext bytes in each chunk but the last.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Bytes of a sealed chunk that isn't the last.
    pub fn sealed_chunk_size(&self) -> usize {
        self.chunk_size + Self::OVERHEAD
    }

    /// How a body of `body_len` bytes divides.
    ///
    /// # Errors
    /// [`Error::Damaged`] when no body has that length: it was cut inside a chunk.
    pub fn layout(&self, body_len: u64) -> Result<Layout, Error> {
        let sealed = self.sealed_chunk_size() as u64;
        let (whole, rest) = (body_len / sealed, body_len % sealed);
        let chunks = whole + u64::from(rest != 0);
        let overhead = Self::OVERHEAD as u64;
        // A last chunk may be empty only if it is the only one.
        let cut = if chunks <= 1 {
            body_len < overhead
        } else {
            rest != 0 && rest <= overhead
        };
        if cut || chunks > 1 << 32 {
            return Err(self.damaged(chunks.saturating_sub(1), Finding::Truncated));
        }
        Ok(Layout {
            chunks,
            plaintext_len: body_len - chunks * overhead,
        })
    }

    /// Seals chunk `number` and appends it to `out`. Every chunk but the last is exactly [`Chunks::chunk_size`] long.
    ///
    /// # Errors
    /// [`Misuse::ChunkLength`], [`Misuse::TooManyChunks`].
    pub fn seal(
        &self,
        number: u64,
        last: bool,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if plaintext.len() > self.chunk_size || (!last && plaintext.len() != self.chunk_size) {
            return Err(Misuse::ChunkLength {
                expected: self.chunk_size,
                found: plaintext.len(),
            }
            .into());
        }
        let nonce = self.nonce(number, last)?;
        let start = out.len();
        out.resize(start + plaintext.len(), 0);
        let sealed = InOutBuf::new(plaintext, out.get_mut(start..).unwrap_or_default())
            .map_err(|_| Misuse::TooManyChunks)?;
        let tag = self
            .kernel
            .seal(&nonce, sealed)
            .map_err(|_| Misuse::TooManyChunks)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens chunk `number` and appends its plaintext to `out`; on error, `out` is as before.
    ///
    /// # Errors
    /// [`Error::Damaged`], which tells a changed chunk from an object that was cut after it or extended behind it; [`Misuse::TooManyChunks`].
    pub fn open(
        &self,
        number: u64,
        last: bool,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match self.try_open(number, last, sealed, out)? {
            true => Ok(()),
            false => {
                // The same chunk under the other flag: where it opens, the object ends in the wrong place.
                let misplaced = self.try_open(number, !last, sealed, &mut Vec::new())?;
                Err(self.damaged(
                    number,
                    match (misplaced, last) {
                        (false, _) => Finding::Tag,
                        (true, true) => Finding::Truncated,
                        (true, false) => Finding::Extended,
                    },
                ))
            }
        }
    }

    fn try_open(
        &self,
        number: u64,
        last: bool,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let nonce = self.nonce(number, last)?;
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
            return Err(self.damaged(number, Finding::Truncated));
        };
        if ciphertext.len() > self.chunk_size {
            return Err(Misuse::ChunkLength {
                expected: self.sealed_chunk_size(),
                found: sealed.len(),
            }
            .into());
        }
        let start = out.len();
        out.resize(start + ciphertext.len(), 0);
        let plaintext = out.get_mut(start..).unwrap_or_default();
        let opened = InOutBuf::new(ciphertext, plaintext)
            .is_ok_and(|data| self.kernel.open(&nonce, data, tag).is_ok());
        if !opened {
            out.get_mut(start..).unwrap_or_default().zeroize();
            out.truncate(start);
        }
        Ok(opened)
    }

    fn nonce(&self, number: u64, last: bool) -> Result<[u8; 12], Error> {
        let [a, b, c, d, e, f, g] = self.nonce_prefix;
        let [h, i, j, k] = u32::try_from(number)
            .map_err(|_| Misuse::TooManyChunks)?
            .to_be_bytes();
        Ok([a, b, c, d, e, f, g, h, i, j, k, last.into()])
    }

    fn damaged(&self, number: u64, finding: Finding) -> Error {
        let at = self
            .body_at
            .saturating_add(number.saturating_mul(self.sealed_chunk_size() as u64));
        Damage {
            part: Part::Chunk(number),
            at,
            finding,
        }
        .into()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("chunk_size", &self.chunk_size)
            .finish_non_exhaustive()
    }
}
