//! The same for tasks: encrypted files and streams behind tokio's traits.
//!
//! Two kinds, since they have to differ. [`AsyncEncryptedReader`] and [`AsyncEncryptedWriter`] stand on any asynchronous reader or writer, a
//! socket for one, and encrypt where they are polled, at most 64 KiB at a time. [`AsyncEncryptedFile`] stands on an [`EncryptedFile`](super::EncryptedFile)
//! or a [`ManagedFile`](crate::ManagedFile), and encrypts on the thread that waits for the disk.
//!
//! None implements its traits on the types for threads: writers here acknowledge bytes before they are written, so they need to be flushed.

mod file;
mod reader;
mod writer;

use std::io;

use stillkey_core::CtrStream;

pub use file::AsyncEncryptedFile;
pub use reader::AsyncEncryptedReader;
pub use writer::AsyncEncryptedWriter;

/// A keystream that follows a reader or writer underneath, as long as it is known where that one stands.
#[derive(Debug)]
struct Keystream {
    stream: CtrStream,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// At the stream's position.
    Known,
    /// A seek has begun.
    Seeking,
    /// A seek failed; or a write, of which nobody knows how far it got.
    Lost,
}

impl Keystream {
    fn new(stream: CtrStream) -> Self {
        let place = Place::Known;
        Self { stream, place }
    }

    /// The position, or a refusal to go on with the keystream of another place.
    fn position(&self) -> io::Result<u64> {
        match self.place {
            Place::Known => Ok(self.stream.position()),
            Place::Seeking | Place::Lost => Err(io::Error::other(
                "the position is unknown, since a seek was not awaited, or a seek or write failed; seek first",
            )),
        }
    }

    /// Of a file in plaintext, there is none.
    fn seek_started(keystream: Option<&mut Self>, started: io::Result<()>) -> io::Result<()> {
        if let Some(keystream) = keystream {
            keystream.place = match started {
                Ok(()) => Place::Seeking,
                Err(_) => Place::Lost,
            };
        }
        started
    }

    fn seek_ended(keystream: Option<&mut Self>, ended: io::Result<u64>) -> io::Result<u64> {
        let Some(keystream) = keystream else {
            return ended;
        };
        match (keystream.place, &ended) {
            // Nothing was begun: tokio's files then tell where the last seek led, not where they stand.
            (Place::Known, Ok(_)) => return Ok(keystream.stream.position()),
            (Place::Seeking, Ok(position)) => {
                keystream.stream.seek(*position);
                keystream.place = Place::Known;
            }
            (Place::Lost, Ok(_)) => {}
            (_, Err(_)) => keystream.place = Place::Lost,
        }
        ended
    }
}

#[cfg(test)]
mod testing {
    use std::io::{Cursor, Seek, Write};
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll};

    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf, SeekFrom};
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::spawn_blocking;

    /// With one thread for blocking work, which takes it up in order.
    pub(super) fn runtime() -> Runtime {
        let mut builder = Builder::new_current_thread();
        builder.max_blocking_threads(1).build().unwrap()
    }

    /// Holds up its thread for blocking work, so that what begins stays begun, until what comes back is dropped.
    pub(super) fn hold_up() -> mpsc::Sender<()> {
        let (hold, held) = mpsc::channel();
        spawn_blocking(move || held.recv());
        hold
    }

    /// Some moods, one of them willing.
    pub(super) fn moods() -> impl Strategy<Value = Vec<Mood>> {
        let mood = prop_oneof![
            4 => (1_usize..700).prop_map(Mood::Willing),
            3 => Just(Mood::Pending),
            1 => Just(Mood::Failing),
        ];
        prop::collection::vec(mood, 1..8).prop_map(|mut moods| {
            moods.push(Mood::Willing(100));
            moods
        })
    }

    /// What [`Moody`] does when it is called.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Mood {
        /// Moves this many bytes at most, or seeks.
        Willing(usize),
        /// Says that it will wake whoever asks, and does.
        Pending,
        /// Fails.
        Failing,
    }

    /// Bytes that are read, written and sought by moods, one a call, over and over.
    pub(super) struct Moody {
        pub(super) bytes: Cursor<Vec<u8>>,
        moods: Vec<Mood>,
        calls: usize,
        /// Further failures; without an end, some programs would never come to theirs.
        failures: usize,
    }

    impl Moody {
        pub(super) fn new(bytes: Vec<u8>, moods: Vec<Mood>) -> Self {
            Self {
                bytes: Cursor::new(bytes),
                moods,
                calls: 0,
                failures: 5,
            }
        }

        fn next(&mut self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
            let mood = self.moods[self.calls % self.moods.len()];
            self.calls += 1;
            match mood {
                Mood::Willing(most) => Poll::Ready(Ok(most)),
                Mood::Failing if self.failures == 0 => Poll::Ready(Ok(1)),
                Mood::Failing => {
                    self.failures -= 1;
                    Poll::Ready(Err(io::Error::other("a mood")))
                }
                Mood::Pending => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        }
    }

    impl AsyncRead for Moody {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.next(cx).map_ok(|most| {
                let at = usize::try_from(self.bytes.position()).unwrap();
                let rest = self.bytes.get_ref().get(at..).unwrap_or_default();
                let len = rest.len().min(most).min(buffer.remaining());
                buffer.put_slice(&rest[..len]);
                self.bytes.set_position((at + len) as u64);
            })
        }
    }

    impl AsyncWrite for Moody {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.next(cx)
                .map_ok(|most| self.bytes.write(&data[..data.len().min(most)]).unwrap())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncSeek for Moody {
        fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
            self.bytes.seek(to).map(drop)
        }

        fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
            self.next(cx).map_ok(|_| self.bytes.position())
        }
    }
}
