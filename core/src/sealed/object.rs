//! Whole objects, piece by piece or at once: plaintext in and object out, and back.

use alloc::vec::Vec;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::cipher::{CipherProvider, Portable};
use crate::context::EncryptionContext;
use crate::error::{Error, Misuse};
use crate::master::MasterKey;
use crate::sealed::body::Body;
use crate::sealed::header::{Header, Options};
use crate::sealed::stretch::{Direction, OneThread, Stretch, Workers};

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

/// What [`Sealer::push_to`] and [`Opener::push_to`] have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Bytes that were taken in; those behind them have to be given again.
    pub taken: usize,
    /// Bytes that were written.
    pub written: usize,
}

/// A body worked through from its start, with what doesn't yet fill a chunk.
#[derive(Debug)]
struct Pieces {
    body: Body,
    direction: Direction,
    /// At most one whole chunk: whether it is the last is known only when more follows or the end is declared.
    pending: Zeroizing<Vec<u8>>,
    next_chunk: u64,
    /// The first failure, which every later call repeats: what comes behind it is not to be trusted.
    failed: Option<Error>,
}

impl Pieces {
    fn new(body: Body, direction: Direction) -> Self {
        let capacity = match &body {
            Body::Stream(_) => 0,
            Body::Chunked(chunks) => direction.chunk_lens(chunks).0,
        };
        Self {
            body,
            direction,
            pending: Zeroizing::new(Vec::with_capacity(capacity)),
            next_chunk: 0,
            failed: None,
        }
    }

    /// Bytes that come out when `len` more go in: those of the chunks that more bytes follow.
    fn output_len(&self, len: usize) -> usize {
        match &self.body {
            Body::Stream(_) => len,
            Body::Chunked(chunks) => {
                let (from, to) = self.direction.chunk_lens(chunks);
                (self.pending.len() + len).saturating_sub(1) / from * to
            }
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "`out` has been extended; no more is taken than there is"
    )]
    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let start = out.len();
            out.resize(start + self.output_len(bytes.len()), 0);
            let pushed = self.push_to(bytes, &mut out[start..], &OneThread);
            out.truncate(start + pushed.as_ref().map_or(0, |pushed| pushed.written));
            bytes = &bytes[pushed?.taken..];
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn push_to(
        &mut self,
        bytes: &[u8],
        out: &mut [u8],
        workers: &dyn Workers,
    ) -> Result<Pushed, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let needed = match &self.body {
            Body::Stream(_) => bytes.len().min(1),
            Body::Chunked(chunks) => {
                let one = self.direction.chunk_lens(chunks).1;
                self.output_len(bytes.len()).min(one)
            }
        };
        if out.len() < needed {
            return Err(Misuse::UnequalLengths {
                source: needed,
                destination: out.len(),
            }
            .into());
        }
        let (pushed, failed) = match self.body {
            Body::Stream(_) => self.run_stream(bytes, out, workers),
            Body::Chunked(_) => self.run_chunks(bytes, out, workers),
        };
        self.failed.clone_from(&failed);
        match failed {
            Some(error) if pushed.written == 0 => Err(error),
            _ => Ok(pushed),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "`len` is the shorter of both")]
    fn run_stream(
        &mut self,
        bytes: &[u8],
        out: &mut [u8],
        workers: &dyn Workers,
    ) -> (Pushed, Option<Error>) {
        let Body::Stream(stream) = &mut self.body else {
            unreachable!("chunks are not a stream");
        };
        let len = bytes.len().min(out.len());
        match workers.stream(stream, &bytes[..len], &mut out[..len]) {
            Ok(()) => {
                stream.seek(stream.position() + len as u64);
                let (taken, written) = (len, len);
                (Pushed { taken, written }, None)
            }
            Err(error) => (Pushed::default(), Some(error)),
        }
    }

    /// Works on the chunks that more bytes follow and that `out` has room for. What is left is taken in if it is no more than a chunk.
    #[expect(
        clippy::indexing_slicing,
        reason = "`count` is of chunks that `bytes` has and `out` has room for"
    )]
    fn run_chunks(
        &mut self,
        bytes: &[u8],
        out: &mut [u8],
        workers: &dyn Workers,
    ) -> (Pushed, Option<Error>) {
        let possible = self.output_len(bytes.len());
        let Body::Chunked(chunks) = &self.body else {
            unreachable!("a stream has no chunks");
        };
        let (from, to) = self.direction.chunk_lens(chunks);
        let (possible, first) = (possible / to, self.next_chunk);
        let count = possible.min(out.len() / to);
        let (mut taken, written) = (0, count * to);
        if count > 0 {
            // To a whole chunk, if it has begun.
            let missing = (from - self.pending.len()) % from;
            let (head, behind) = bytes.split_at(missing);
            self.pending.extend_from_slice(head);
            let source_len = count * from - self.pending.len();
            let stretch = Stretch {
                chunks,
                direction: self.direction,
                first,
                pending: &self.pending,
                source: &behind[..source_len],
                destination: &mut out[..written],
            };
            if let Err(bad) = workers.chunks(stretch) {
                let good = usize::try_from(bad.number.saturating_sub(first)).unwrap_or_default();
                let (taken, written) = (bytes.len(), good * to);
                return (Pushed { taken, written }, Some(bad.error));
            }
            self.pending.clear();
            self.next_chunk += count as u64;
            taken = missing + source_len;
        }
        if count == possible {
            self.pending.extend_from_slice(&bytes[taken..]);
            taken = bytes.len();
        }
        (Pushed { taken, written }, None)
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match (&self.body, self.direction) {
            (Body::Stream(_), _) => Ok(()),
            (Body::Chunked(chunks), Direction::Seal) => {
                chunks.seal(self.next_chunk, true, &self.pending, out)
            }
            (Body::Chunked(chunks), Direction::Open) => {
                chunks.open(self.next_chunk, true, &self.pending, out)
            }
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
        Ok(Self(Pieces::new(body, Direction::Seal)))
    }

    /// Takes plaintext in and appends what can be sealed to `out`.
    ///
    /// # Errors
    /// [`Misuse`] when the object gets longer than 2^32 chunks.
    pub fn push(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.push(plaintext, out)
    }

    /// Bytes that [`Sealer::push_to`] writes for `len` bytes of plaintext, given the room.
    pub fn output_len(&self, len: usize) -> usize {
        self.0.output_len(len)
    }

    /// As [`Sealer::push`], with the threads of `workers`, into a buffer whose content doesn't matter. Takes as much plaintext as
    /// there is room for; the rest is for the next call. A buffer of one sealed chunk gets on.
    ///
    /// # Errors
    /// As [`Sealer::push`]. If chunks before the failing one were sealed, they are counted, and the failure is the next call's.
    /// [`Misuse::UnequalLengths`] when `out` can't hold a single chunk that is due; nothing is changed then.
    pub fn push_to(
        &mut self,
        plaintext: &[u8],
        out: &mut [u8],
        workers: &dyn Workers,
    ) -> Result<Pushed, Error> {
        self.0.push_to(plaintext, out, workers)
    }

    /// Appends the last chunk to `out`. An object that isn't finished doesn't open.
    ///
    /// # Errors
    /// As [`Sealer::push`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish(out)
    }
}

impl Opener {
    /// Starts at the first byte of `body`.
    pub fn new(body: Body) -> Self {
        Self(Pieces::new(body, Direction::Open))
    }

    /// Takes bytes of the body in and appends plaintext to `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a chunk that was changed, moved, or followed by what doesn't belong there. Every later call says so again.
    pub fn push(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.push(body, out)
    }

    /// Bytes that [`Opener::push_to`] writes for `len` bytes of the body, given the room.
    pub fn output_len(&self, len: usize) -> usize {
        self.0.output_len(len)
    }

    /// As [`Opener::push`], with the threads of `workers`, into a buffer whose content doesn't matter. Takes as much of the body as
    /// there is room for; the rest is for the next call. A buffer of one chunk gets on. Only what is counted as written is
    /// plaintext in its order: believe nothing behind it.
    ///
    /// # Errors
    /// As [`Opener::push`]. If chunks before the damaged one were opened, they are counted, and the failure is the next call's.
    /// [`Misuse::UnequalLengths`] when `out` can't hold a single chunk that is due; nothing is changed then.
    pub fn push_to(
        &mut self,
        body: &[u8],
        out: &mut [u8],
        workers: &dyn Workers,
    ) -> Result<Pushed, Error> {
        self.0.push_to(body, out, workers)
    }

    /// Declares the end of the object and appends the last of its plaintext to `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`], also when the object was cut off. What came before may then be part of a longer object.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.finish(out)
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
    #[expect(
        clippy::indexing_slicing,
        reason = "the header is the object's beginning"
    )]
    opener.push(&object[header.as_bytes().len()..], &mut plaintext)?;
    opener.finish(&mut plaintext)?;
    Ok(plaintext)
}
