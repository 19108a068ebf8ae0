//! Dividing work among the threads of rayon's pool: in halves, so that whoever is free takes the largest part that is left.

use stillkey_core::sealed::{BadChunk, Stretch};
use stillkey_core::{CtrStream, Error};

/// Below this many bytes, waking other threads takes longer than they save.
const ALONE: usize = 1 << 20;

/// Bytes that one thread takes at a time, or up to twice as much. Measured from 64 KiB to 1 MiB, all parts are as good.
const PART: usize = 256 << 10;

pub(super) fn pays(len: usize) -> bool {
    len >= ALONE && rayon::current_num_threads() > 1
}

/// Work on a buffer that can be divided.
pub(super) trait Divide: Sized + Send {
    type Failure: Send;

    fn bytes(&self) -> usize;

    /// `Err` gives back what can't be halved.
    fn halves(self) -> Result<(Self, Self), Self>;

    fn run(self) -> Result<(), Self::Failure>;
}

/// Halves the work until it is in parts, which whoever is free takes. Of several failures, the first by place is returned.
pub(super) fn spread<W: Divide>(work: W) -> Result<(), W::Failure> {
    if work.bytes() < 2 * PART {
        return work.run();
    }
    match work.halves() {
        Ok((first, second)) => {
            let (first, second) = rayon::join(|| spread(first), || spread(second));
            first.and(second)
        }
        Err(whole) => whole.run(),
    }
}

/// A part of a buffer and of the stream that goes over it, whose last byte has a position.
pub(super) struct Part<'a> {
    pub(super) stream: &'a CtrStream,
    pub(super) offset: u64,
    pub(super) data: Data<'a>,
}

pub(super) enum Data<'a> {
    InPlace(&'a mut [u8]),
    /// Both are equally long.
    Between(&'a [u8], &'a mut [u8]),
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Self::InPlace(data) | Self::Between(_, data) => data.len(),
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::InPlace(data) => {
                let (near, far) = data.split_at_mut(mid);
                (Self::InPlace(near), Self::InPlace(far))
            }
            Self::Between(source, destination) => {
                let (from, from_behind) = source.split_at(mid);
                let (to, to_behind) = destination.split_at_mut(mid);
                (
                    Self::Between(from, to),
                    Self::Between(from_behind, to_behind),
                )
            }
        }
    }
}

impl Divide for Part<'_> {
    type Failure = Error;

    fn bytes(&self) -> usize {
        self.data.len()
    }

    fn halves(self) -> Result<(Self, Self), Self> {
        // The second half begins with a block, so that no block is computed twice.
        let half = self.data.len() / 2;
        let into_block = (self.offset.wrapping_add(half as u64) % 16) as usize;
        let mid = half.saturating_sub(into_block);
        let (near, far) = self.data.split_at(mid);
        let part = |offset, data| Self {
            stream: self.stream,
            offset,
            data,
        };
        let behind = self.offset.wrapping_add(mid as u64);
        Ok((part(self.offset, near), part(behind, far)))
    }

    fn run(self) -> Result<(), Error> {
        match self.data {
            Data::InPlace(data) => self.stream.apply_at(self.offset, data),
            Data::Between(source, destination) => {
                self.stream.apply_at_to(self.offset, source, destination)
            }
        }
    }
}

impl Divide for Stretch<'_> {
    type Failure = BadChunk;

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn halves(self) -> Result<(Self, Self), Self> {
        Self::halves(self)
    }

    fn run(self) -> Result<(), BadChunk> {
        Self::run(self)
    }
}
