//! Whole objects, piece by piece or at once: plaintext in and object out, and back.

use alloc::vec::Vec;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::cipher::{CipherProvider, Portable};
use crate::context::EncryptionContext;
use crate::error::Error;
use crate::master::MasterKey;
use crate::sealed::body::Body;
use crate::sealed::chunks::Chunks;
use crate::sealed::header::{Header, Options};

/// Seals an object piece by piece. Its memory is one chunk, however long the object.
///
/// ```
/// use stillkey_core::{EncryptionContext, MasterKey, Portable};
/// use stillkey_core::sealed::{Options, Sealer};
/// # fn example<R: rand_core::TryCryptoRng>(master_key: MasterKey, rng: &mut R) -> Result<Vec<u8>, stillkey_core::Error> {
/// let mut object = Vec::new();
/// let mut sealer = Sealer::new(&Options::default(), &[master_key], &EncryptionContext::new(), &Portable, rng, &mut object)?;
/// sealer.push(b"some ", &mut object)?;
/// sealer.push(b"plaintext", &mut object)?;
/// sealer.finish(&mut object)?;
/// # Ok(object) }
/// ```
#[derive(Debug)]
pub struct Sealer(Pieces);

/// Opens an object's body piece by piece, the header having been opened before. Gives out only what has been authenticated, where the suite authenticates.
#[derive(Debug)]
pub struct Opener(Pieces);

/// A body worked through from its start, with what doesn't yet fill a chunk.
#[derive(Debug)]
struct Pieces {
    body: Body,
    /// At most one whole chunk: whether it is the last is known only when more follows or the end is declared.
    pending: Zeroizing<Vec<u8>>,
    next_chunk: u64,
    /// The first failure, which every later call repeats: what comes behind it is not to be trusted.
    failed: Option<Error>,
}

impl Pieces {
    fn new(body: Body, piece_len: impl Fn(&Chunks) -> usize) -> Self {
        let capacity = match &body {
            Body::Stream(_) => 0,
            Body::Chunked(chunks) => piece_len(chunks),
        };
        Self {
            body,
            pending: Zeroizing::new(Vec::with_capacity(capacity)),
            next_chunk: 0,
            failed: None,
        }
    }

    /// Takes bytes in and works on every chunk that more bytes follow.
    fn push(
        &mut self,
        bytes: &[u8],
        piece_len: impl Fn(&Chunks) -> usize,
        work: impl Fn(&Chunks, u64, bool, &[u8], &mut Vec<u8>) -> Result<(), Error>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.try_push(bytes, piece_len, work, out);
        self.failed = result.clone().err();
        result
    }

    fn try_push(
        &mut self,
        mut bytes: &[u8],
        piece_len: impl Fn(&Chunks) -> usize,
        work: impl Fn(&Chunks, u64, bool, &[u8], &mut Vec<u8>) -> Result<(), Error>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match &mut self.body {
            Body::Stream(stream) => {
                let start = out.len();
                out.resize(start + bytes.len(), 0);
                stream.apply_to(bytes, out.get_mut(start..).unwrap_or_default())
            }
            Body::Chunked(chunks) => {
                let piece_len = piece_len(chunks);
                while !bytes.is_empty() {
                    if self.pending.len() == piece_len {
                        work(chunks, self.next_chunk, false, &self.pending, out)?;
                        self.next_chunk += 1;
                        self.pending.clear();
                    }
                    let room = piece_len - self.pending.len();
                    let (now, later) = bytes.split_at(room.min(bytes.len()));
                    self.pending.extend_from_slice(now);
                    bytes = later;
                }
                Ok(())
            }
        }
    }

    fn finish(
        self,
        work: impl Fn(&Chunks, u64, bool, &[u8], &mut Vec<u8>) -> Result<(), Error>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match &self.body {
            Body::Stream(_) => Ok(()),
            Body::Chunked(chunks) => work(chunks, self.next_chunk, true, &self.pending, out),
        }
    }
}

impl Sealer {
    /// Starts an object that every one of `recipients` can open, and appends its header to `out`.
    ///
    /// # Errors
    /// Those of [`Header::create`].
    pub fn new<R: TryCryptoRng + ?Sized>(
        options: &Options,
        recipients: &[MasterKey],
        context: &EncryptionContext,
        provider: &dyn CipherProvider,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let (header, body) = Header::create(options, recipients, context, provider, rng)?;
        out.extend_from_slice(header.as_bytes());
        Ok(Self(Pieces::new(body, Chunks::chunk_size)))
    }

    /// Takes plaintext in and appends what can be sealed to `out`.
    ///
    /// # Errors
    /// [`Misuse`](crate::error::Misuse) when the object gets longer than 2^32 chunks.
    pub fn push(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0
            .push(plaintext, Chunks::chunk_size, Chunks::seal, out)
    }

    /// Appends the last chunk to `out`. An object that isn't finished doesn't open.
    ///
    /// # Errors
    /// As [`Sealer::push`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish(Chunks::seal, out)
    }
}

impl Opener {
    /// Starts at the first byte of `body`.
    pub fn new(body: Body) -> Self {
        Self(Pieces::new(body, Chunks::sealed_chunk_size))
    }

    /// Takes bytes of the body in and appends plaintext to `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a chunk that was changed, moved, or followed by what doesn't belong there. Every later call says so again.
    pub fn push(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0
            .push(body, Chunks::sealed_chunk_size, Chunks::open, out)
    }

    /// Declares the end of the object and appends the last of its plaintext to `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`], also when the object was cut off. What came before may then be part of a longer object.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish(Chunks::open, out)
    }
}

/// Seals `plaintext` at once, with [`Portable`] ciphers.
///
/// # Errors
/// Those of [`Sealer`].
pub fn seal<R: TryCryptoRng + ?Sized>(
    plaintext: &[u8],
    options: &Options,
    recipients: &[MasterKey],
    context: &EncryptionContext,
    rng: &mut R,
) -> Result<Vec<u8>, Error> {
    let mut object = Vec::new();
    let mut sealer = Sealer::new(options, recipients, context, &Portable, rng, &mut object)?;
    sealer.push(plaintext, &mut object)?;
    sealer.finish(&mut object)?;
    Ok(object)
}

/// Opens an object at once, with [`Portable`] ciphers.
///
/// # Errors
/// Those of [`Header::parse`], [`Header::open`] and [`Opener`].
pub fn open(
    object: &[u8],
    master_keys: &[MasterKey],
    context: &EncryptionContext,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let header = Header::parse(object)?;
    let mut opener = Opener::new(header.open(master_keys, context, &Portable)?);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(object.len()));
    opener.push(
        object.get(header.as_bytes().len()..).unwrap_or_default(),
        &mut plaintext,
    )?;
    opener.finish(&mut plaintext)?;
    Ok(plaintext)
}
