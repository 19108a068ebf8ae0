//! A body of authenticated chunks: the STREAM construction with GCM.
//!
//! Each chunk's nonce is a per-object prefix, the chunk's number, and whether it is the last. So a chunk that is moved, repeated, dropped
//! or followed by another fails to open. Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance" (CRYPTO 2015), with the nonce layout of Tink's streaming AEAD.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

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

/// Chunk numbers have 32 bits.
const MORE_THAN_ALL: u64 = (1 << 32) + 1;

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
    /// [`Error::Damaged`] when no body has that length: it was cut inside a chunk, or is longer than 2^32 chunks.
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
        let finding = match chunks {
            MORE_THAN_ALL.. => Some(Finding::Extended),
            _ => cut.then_some(Finding::Truncated),
        };
        if let Some(finding) = finding {
            return Err(self.damaged(chunks.saturating_sub(1), finding));
        }
        Ok(Layout {
            chunks,
            plaintext_len: body_len - chunks * overhead,
        })
    }

    /// Seals chunk `number` and appends it to `out`. Every chunk but the last is exactly [`Chunks::chunk_size`] long; the last one
    /// is empty only if it is the only one.
    ///
    /// # Errors
    /// [`Misuse::ChunkLength`], [`Misuse::TooManyChunks`]; `out` is then as before.
    pub fn seal(
        &self,
        number: u64,
        last: bool,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        appending(out, plaintext.len() + Self::OVERHEAD, |sealed| {
            self.seal_to(number, last, plaintext, sealed)
        })
    }

    /// As [`Chunks::seal`], into `sealed`, which is [`Chunks::OVERHEAD`] longer than `plaintext`. Nothing is copied or filled beforehand.
    ///
    /// # Errors
    /// As [`Chunks::seal`]; [`Misuse::UnequalLengths`].
    pub fn seal_to(
        &self,
        number: u64,
        last: bool,
        plaintext: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Error> {
        let (len, whole) = (plaintext.len(), self.chunk_size);
        let fits = len == whole || last && len < whole && !is_empty_tail(number, len);
        if !fits {
            return Err(Misuse::ChunkLength {
                expected: self.chunk_size,
                found: plaintext.len(),
            }
            .into());
        }
        let nonce = self.nonce(number, last)?;
        let (source, destination) = (len + Self::OVERHEAD, sealed.len());
        let unequal = Misuse::UnequalLengths {
            source,
            destination,
        };
        let (ciphertext, tag) = sealed
            .split_last_chunk_mut::<TAG_LEN>()
            .filter(|(ciphertext, _)| ciphertext.len() == len)
            .ok_or(unequal)?;
        *tag = self
            .kernel
            .seal_to(&nonce, plaintext, ciphertext)
            .map_err(|_| Misuse::TooManyChunks)?;
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
        let len = sealed.len().saturating_sub(Self::OVERHEAD);
        appending(out, len, |plaintext| {
            self.open_to(number, last, sealed, plaintext)
        })
    }

    /// As [`Chunks::open`], into `plaintext`, which is [`Chunks::OVERHEAD`] shorter than `sealed`. On error, it holds zeros.
    ///
    /// # Errors
    /// As [`Chunks::open`]; [`Misuse::UnequalLengths`].
    pub fn open_to(
        &self,
        number: u64,
        last: bool,
        sealed: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), Error> {
        let Some((ciphertext, tag)) = sealed
            .split_last_chunk::<TAG_LEN>()
            .filter(|(ciphertext, _)| !is_empty_tail(number, ciphertext.len()))
        else {
            plaintext.zeroize();
            return Err(self.damaged(number, Finding::Truncated));
        };
        match self.try_open(number, last, (ciphertext, tag), plaintext)? {
            true => Ok(()),
            false => {
                // The same chunk under the other flag: where it opens, the object ends in the wrong place.
                let misplaced = self.try_open(number, !last, (ciphertext, tag), plaintext)?;
                plaintext.zeroize();
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

    /// Whether the chunk opens; `plaintext` holds zeros if it doesn't.
    fn try_open(
        &self,
        number: u64,
        last: bool,
        (ciphertext, tag): (&[u8], &[u8; TAG_LEN]),
        plaintext: &mut [u8],
    ) -> Result<bool, Error> {
        let (source, destination) = (ciphertext.len(), plaintext.len());
        let misuse = if source > self.chunk_size {
            Some(Misuse::ChunkLength {
                expected: self.sealed_chunk_size(),
                found: source + Self::OVERHEAD,
            })
        } else {
            (source != destination).then_some(Misuse::UnequalLengths {
                source,
                destination,
            })
        };
        let opened = match misuse {
            Some(misuse) => Err(misuse.into()),
            None => self.nonce(number, last).map(|nonce| {
                self.kernel
                    .open_to(&nonce, ciphertext, plaintext, tag)
                    .is_ok()
            }),
        };
        if !matches!(opened, Ok(true)) {
            plaintext.zeroize();
        }
        opened
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

/// Runs `work` on `len` bytes behind what `out` holds, and takes them away again if it fails.
fn appending(
    out: &mut Vec<u8>,
    len: usize,
    work: impl FnOnce(&mut [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = out.len();
    out.resize(start + len, 0);
    #[expect(clippy::indexing_slicing, reason = "it has just been extended")]
    let done = work(&mut out[start..]);
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// A chunk without plaintext behind others: it would give one plaintext two bodies, so there is none.
fn is_empty_tail(number: u64, plaintext_len: usize) -> bool {
    number > 0 && plaintext_len == 0
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("chunk_size", &self.chunk_size)
            .finish_non_exhaustive()
    }
}
