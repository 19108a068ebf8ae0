//! Bodies divide into work that needs no order: who has threads can lend them.
//!
//! This crate starts none. It hands out a [`Stretch`] of whole chunks, which halves as often as there is somebody to take a half.

use core::fmt;

use crate::error::Error;
use crate::sealed::chunks::Chunks;
use crate::stream::CtrStream;

/// What a [`Stretch`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Seal,
    Open,
}

impl Direction {
    /// Bytes of a whole chunk before and after.
    pub(crate) fn chunk_lens(self, chunks: &Chunks) -> (usize, usize) {
        match self {
            Self::Seal => (chunks.chunk_size(), chunks.sealed_chunk_size()),
            Self::Open => (chunks.sealed_chunk_size(), chunks.chunk_size()),
        }
    }
}

/// Consecutive whole chunks that are to be sealed or opened, from one buffer into another. None of them is the object's last.
pub struct Stretch<'a> {
    pub(crate) chunks: &'a Chunks,
    pub(crate) direction: Direction,
    /// Number of the first chunk.
    pub(crate) first: u64,
    /// The first chunk if it came in earlier pieces, and else nothing.
    pub(crate) pending: &'a [u8],
    pub(crate) source: &'a [u8],
    pub(crate) destination: &'a mut [u8],
}

/// The first chunk of a stretch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadChunk {
    /// Its number in the object.
    pub number: u64,
    /// Why.
    pub error: Error,
}

impl<'a> Stretch<'a> {
    /// Bytes that are to be worked on.
    pub fn bytes(&self) -> usize {
        self.pending.len() + self.source.len()
    }

    /// The first half and the second; `Err` gives back one that is a single chunk.
    ///
    /// # Errors
    /// The stretch itself.
    pub fn halves(self) -> Result<(Self, Self), Self> {
        let (from, to) = self.direction.chunk_lens(self.chunks);
        let first_half = self.bytes() / from / 2;
        if first_half == 0 {
            return Err(self);
        }
        let (near, far) = self.source.split_at(first_half * from - self.pending.len());
        let (near_out, far_out) = self.destination.split_at_mut(first_half * to);
        let second = Stretch {
            first: self.first + first_half as u64,
            pending: &[],
            source: far,
            destination: far_out,
            ..self
        };
        let first = Stretch {
            source: near,
            destination: near_out,
            ..self
        };
        Ok((first, second))
    }

    /// Works on one chunk after the other, up to one that fails. Chunks before that one are done.
    ///
    /// # Errors
    /// The first failure. Of two halves, that of the first comes first: `first.and(second)`.
    pub fn run(self) -> Result<(), BadChunk> {
        let (from, to) = self.direction.chunk_lens(self.chunks);
        let chunks = self.bytes() / from;
        assert_eq!(
            (self.bytes(), self.destination.len()),
            (chunks * from, chunks * to),
            "whole chunks, and room for each"
        );
        let sources = self.pending.chunks_exact(from);
        let sources = sources.chain(self.source.chunks_exact(from));
        let destinations = self.destination.chunks_exact_mut(to);
        for ((number, source), destination) in (self.first..).zip(sources).zip(destinations) {
            match self.direction {
                Direction::Seal => self.chunks.seal_to(number, false, source, destination),
                Direction::Open => self.chunks.open_to(number, false, source, destination),
            }
            .map_err(|error| BadChunk { number, error })?;
        }
        Ok(())
    }
}

// Without the plaintext.
impl fmt::Debug for Stretch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stretch")
            .field("direction", &self.direction)
            .field("first", &self.first)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Who works on the body of an object: [`OneThread`], or more.
pub trait Workers {
    /// Has all of `stretch` run, in parts if that is faster.
    ///
    /// # Errors
    /// The first failure by number, whatever came first in time; every chunk before it is done.
    fn chunks(&self, stretch: Stretch<'_>) -> Result<(), BadChunk>;

    /// As [`CtrStream::apply_at_to`] at the stream's position.
    ///
    /// # Errors
    /// As there.
    fn stream(
        &self,
        stream: &CtrStream,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), Error>;
}

/// The calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneThread;

impl Workers for OneThread {
    fn chunks(&self, stretch: Stretch<'_>) -> Result<(), BadChunk> {
        stretch.run()
    }

    fn stream(
        &self,
        stream: &CtrStream,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), Error> {
        stream.apply_at_to(stream.position(), source, destination)
    }
}
