//! Large buffers on several threads.
//!
//! With the feature `rayon`, they are those of rayon's pool: the one that the caller is in ([`ThreadPool::install`]), or else rayon's
//! global one, which this crate never configures. Without it, everything here is the same on the calling thread alone.
//!
//! A thread of the pool takes up other work of the pool while it waits for others. So let no thread *of the pool* read or write a pipe whose
//! other end is served in that pool too: it could wait for itself. Threads outside of the pool lend it their work, and are safe.
//!
//! [`ThreadPool::install`]: https://docs.rs/rayon/latest/rayon/struct.ThreadPool.html#method.install

#[cfg(feature = "rayon")]
mod shared;

use stillkey_core::sealed::{BadChunk, Stretch, Workers};
use stillkey_core::{CtrStream, Error};

/// Encrypts or decrypts `data`, which stands at byte `offset`, in place; the stream's position stays.
///
/// ```
/// use stillkey::core::{Cipher, CtrStream, DataKey, Iv};
/// use stillkey::{Native, SysRng, parallel};
///
/// let key = DataKey::random(Cipher::Sm4, &mut SysRng)?;
/// let stream = CtrStream::with_provider(&Native::detect(), &key, Iv::random(&mut SysRng)?);
/// let mut table = vec![7; 10 << 20];
/// parallel::apply(&stream, 4096, &mut table)?; // encrypt
/// stream.apply_at(4096, &mut table)?; // decrypt
/// assert!(table.iter().all(|byte| *byte == 7));
/// # Ok::<(), stillkey::core::Error>(())
/// ```
///
/// # Errors
/// Those of [`CtrStream::apply_at`]; `data` is unchanged then.
pub fn apply(stream: &CtrStream, offset: u64, data: &mut [u8]) -> Result<(), Error> {
    #[cfg(feature = "rayon")]
    if shared::pays(data.len()) && fits(offset, data.len()) {
        return shared::spread(shared::Part {
            stream,
            offset,
            data: shared::Data::InPlace(data),
        });
    }
    stream.apply_at(offset, data)
}

/// As [`apply`], from `source` into `destination`.
///
/// # Errors
/// Those of [`CtrStream::apply_at_to`]; `destination` is unchanged then.
pub fn apply_to(
    stream: &CtrStream,
    offset: u64,
    source: &[u8],
    destination: &mut [u8],
) -> Result<(), Error> {
    #[cfg(feature = "rayon")]
    if shared::pays(source.len()) && fits(offset, source.len()) && source.len() == destination.len()
    {
        return shared::spread(shared::Part {
            stream,
            offset,
            data: shared::Data::Between(source, destination),
        });
    }
    stream.apply_at_to(offset, source, destination)
}

/// How many threads share the work on a large buffer here: those of the caller's pool.
pub fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    1
}

/// A length for buffers, in bytes, with which reading and writing is fast: small enough to stay in the cache of one thread, or large
/// enough to be worth [`threads`]. The readers and writers of this crate work on so much at a time.
pub fn buffer_len() -> usize {
    if threads() == 1 { FOR_ONE } else { FOR_ALL }
}

/// See [`buffer_len`]: with its outcome, well within a second-level cache. Sealing 1 MiB in such pieces takes a twentieth longer than
/// GCM alone.
const FOR_ONE: usize = 256 << 10;

/// See [`buffer_len`]: some parts for each of some threads. A file that is worked on may have four such buffers, so not much longer.
const FOR_ALL: usize = 2 << 20;

/// How many of `available` bytes to work on at a time. Doesn't start threads for a little.
pub(crate) fn piece_len(available: usize) -> usize {
    if available <= FOR_ONE {
        available
    } else {
        available.min(buffer_len())
    }
}

/// [`Workers`] that are [`threads`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Workers for Threads {
    fn chunks(&self, stretch: Stretch<'_>) -> Result<(), BadChunk> {
        #[cfg(feature = "rayon")]
        if shared::pays(stretch.bytes()) {
            return shared::spread(stretch);
        }
        stretch.run()
    }

    fn stream(
        &self,
        stream: &CtrStream,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), Error> {
        apply_to(stream, stream.position(), source, destination)
    }
}

/// Whether the last byte has a position. What doesn't fit is left to the stream, whose error is the one to give.
#[cfg(feature = "rayon")]
fn fits(offset: u64, len: usize) -> bool {
    u64::try_from(len).is_ok_and(|len| offset.checked_add(len).is_some())
}
