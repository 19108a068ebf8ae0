//! Encrypting while a task writes.

use std::fmt;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stillkey_core::CtrStream;
use tokio::io::{AsyncSeek, AsyncWrite};

use super::super::{encrypt, implausible};
use super::{Keystream, Place};

/// Encrypts what it writes to `W`, through a scratch buffer of at most 64 KiB.
///
/// Bytes that `W` isn't ready for stay in that buffer, encrypted, and count as written: a call that came again with other data would
/// otherwise encrypt them with the same keystream. So flush or shut down before dropping it, as with tokio's files. After a failure,
/// nobody knows where `W` stands: writing fails then, until a seek succeeds. Writing twice at the same place reuses keystream: see
/// [the module](crate::file).
///
/// ```
/// use stillkey::AsyncEncryptedWriter;
/// use tokio::io::AsyncWriteExt;
/// # use stillkey::core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
/// # let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16]))?;
/// # let stream = || CtrStream::new(&key, Iv::new([1; 16]));
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut writer = AsyncEncryptedWriter::new(Vec::new(), stream());
/// writer.write_all(b"plaintext").await?;
/// writer.flush().await?;
/// let mut data = writer.inner().clone();
/// stream().apply_at(0, &mut data)?;
/// assert_eq!(data, b"plaintext");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncEncryptedWriter<W> {
    inner: W,
    keystream: Option<Keystream>,
    /// Ciphertext only, so it needs no zeroizing.
    scratch: Vec<u8>,
    /// What of `scratch` counts as written and has yet to go to `inner`.
    waiting: Range<usize>,
}

impl<W> AsyncEncryptedWriter<W> {
    /// Writes to `inner`, which stands at the byte that is the stream's position: 0 for a new stream.
    pub fn new(inner: W, stream: impl Into<Option<CtrStream>>) -> Self {
        Self {
            inner,
            keystream: stream.into().map(Keystream::new),
            scratch: Vec::new(),
            waiting: 0..0,
        }
    }

    /// What it writes to.
    pub fn inner(&self) -> &W {
        &self.inner
    }

    /// Gives back what it wrote to. What has not been flushed is lost.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// What came of an operation on `inner` that writes: after a failure, its position is unknown, and what waited for that place is dropped.
    fn checked<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let (Err(_), Some(keystream)) = (&outcome, &mut self.keystream) {
            keystream.place = Place::Lost;
            self.waiting = 0..0;
        }
        outcome
    }
}

impl<W: AsyncWrite + Unpin> AsyncEncryptedWriter<W> {
    /// Writes what is waiting.
    #[expect(
        clippy::indexing_slicing,
        reason = "a range of what was encrypted into it"
    )]
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let waiting = &self.scratch[self.waiting.clone()];
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, waiting));
            let written = written.and_then(|written| match written {
                0 => Err(io::ErrorKind::WriteZero.into()),
                _ if written > waiting.len() => Err(implausible()),
                _ => Ok(written),
            });
            self.waiting.start += self.checked(written)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for AsyncEncryptedWriter<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let Some(keystream) = &mut this.keystream else {
            return Pin::new(&mut this.inner).poll_write(cx, data);
        };
        let position = keystream.position()?;
        let ciphertext = encrypt(&keystream.stream, position, data, &mut this.scratch)?;
        let len = ciphertext.len();
        let written = match Pin::new(&mut this.inner).poll_write(cx, ciphertext) {
            Poll::Ready(Ok(written)) if written > len => Err(implausible()),
            Poll::Ready(written) => written,
            Poll::Pending => {
                this.waiting = 0..len;
                Ok(len)
            }
        };
        if let Ok(written) = written {
            keystream.stream.seek(position + written as u64);
        }
        Poll::Ready(this.checked(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let flushed = ready!(Pin::new(&mut this.inner).poll_flush(cx));
        Poll::Ready(this.checked(flushed))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let ended = ready!(Pin::new(&mut this.inner).poll_shutdown(cx));
        Poll::Ready(this.checked(ended))
    }
}

impl<W: AsyncWrite + AsyncSeek + Unpin> AsyncSeek for AsyncEncryptedWriter<W> {
    /// # Errors
    /// Bytes are waiting to be written: [`AsyncSeek::poll_complete`] comes first, as `AsyncSeekExt::seek` has it.
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        if !this.waiting.is_empty() {
            return Err(io::Error::other(
                "bytes are waiting to be written; call poll_complete before start_seek",
            ));
        }
        let started = Pin::new(&mut this.inner).start_seek(to);
        Keystream::seek_started(this.keystream.as_mut(), started)
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let ended = ready!(Pin::new(&mut this.inner).poll_complete(cx));
        Poll::Ready(Keystream::seek_ended(this.keystream.as_mut(), ended))
    }
}

impl<W> fmt::Debug for AsyncEncryptedWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncEncryptedWriter")
            .field("keystream", &self.keystream)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::SCRATCH_LEN;
    use super::super::super::testing::*;
    use super::super::testing::*;
    use super::*;
    use crate::EncryptedWriter;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use std::io::{Cursor, Seek, Write};
    use stillkey_core::Cipher;
    use tokio::io::{AsyncSeekExt, AsyncWriteExt};

    proptest! {
        #[test]
        fn writes_in_any_mood_that_are_given_up_or_not_leave_what_was_acknowledged(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            steps in prop::collection::vec((prop::option::of(0_u64..4000), 0_u8..255, 1_usize..400), 1..20),
            moods in moods(),
        ) {
            let mut expected = EncryptedWriter::new(Cursor::new(Vec::new()), stream(cipher));
            let mut writer = AsyncEncryptedWriter::new(Moody::new(Vec::new(), moods), stream(cipher));
            runtime().block_on(async {
                for (seek, fill, len) in steps {
                    if let Some(to) = seek {
                        seek_until_it_succeeds(&mut writer, &mut expected, to).await;
                    }
                    let data = vec![fill; len];
                    // Polled once and dropped: the next step comes with other data.
                    match poll_fn(|cx| Poll::Ready(Pin::new(&mut writer).poll_write(cx, &data))).await {
                        Poll::Ready(Ok(written)) => expected.write_all(&data[..written]).unwrap(),
                        Poll::Pending => {}
                        Poll::Ready(Err(_)) => {
                            // What had been acknowledged before may be lost, and must be written again.
                            rewrite(&mut writer, &mut expected).await;
                        }
                    }
                }
                while writer.flush().await.is_err() {
                    rewrite(&mut writer, &mut expected).await;
                }
            });
            let written = writer.into_inner().bytes.into_inner();
            prop_assert_eq!(written, expected.into_inner().into_inner());
        }
    }

    type Expected = EncryptedWriter<Cursor<Vec<u8>>>;

    async fn seek_until_it_succeeds(
        writer: &mut AsyncEncryptedWriter<Moody>,
        expected: &mut Expected,
        to: u64,
    ) {
        while writer.flush().await.is_err() {
            rewrite(writer, expected).await;
        }
        while writer.seek(SeekFrom::Start(to)).await.is_err() {
            assert!(writer.write(b"x").await.is_err());
        }
        expected.seek(SeekFrom::Start(to)).unwrap();
    }

    /// After a failure: nothing is taken before a seek, and then everything that was acknowledged is written once more.
    async fn rewrite(writer: &mut AsyncEncryptedWriter<Moody>, expected: &mut Expected) {
        assert!(writer.write(b"x").await.is_err());
        let position = expected.stream_position().unwrap();
        let mut content = expected.inner().get_ref().clone();
        stream_of(writer).apply_at(0, &mut content).unwrap();
        loop {
            while writer.seek(SeekFrom::Start(0)).await.is_err() {}
            let written = async {
                writer.write_all(&content).await?;
                writer.flush().await?;
                writer.seek(SeekFrom::Start(position)).await
            };
            if written.await.is_ok() {
                return;
            }
        }
    }

    fn stream_of(writer: &AsyncEncryptedWriter<Moody>) -> &CtrStream {
        &writer.keystream.as_ref().unwrap().stream
    }

    #[test]
    fn no_keystream_is_used_twice_for_a_writer_that_is_not_ready() {
        /// Notes all that it is shown, and takes none of it.
        struct Shown(Vec<Vec<u8>>);
        impl AsyncWrite for Shown {
            fn poll_write(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.push(data.to_vec());
                Poll::Pending
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let mut writer = AsyncEncryptedWriter::new(Shown(Vec::new()), stream(Cipher::Aes128));
        runtime().block_on(poll_fn(|cx| {
            let first = Pin::new(&mut writer).poll_write(cx, &[1; 100]);
            assert!(matches!(first, Poll::Ready(Ok(100))), "{first:?}");
            let second = Pin::new(&mut writer).poll_write(cx, &[2; 100]);
            assert!(second.is_pending());
            assert!(Pin::new(&mut writer).poll_flush(cx).is_pending());
            assert!(Pin::new(&mut writer).poll_shutdown(cx).is_pending());
            Poll::Ready(())
        }));
        let mut expected = vec![1; 100];
        stream(Cipher::Aes128).apply_at(0, &mut expected).unwrap();
        assert_eq!(writer.into_inner().0, vec![expected; 4]);
    }

    #[test]
    fn a_seek_waits_for_the_bytes_before_it_and_a_failure_drops_them() {
        for (second, expected) in [(Mood::Willing(1000), 100), (Mood::Failing, 50)] {
            let moods = [&[Mood::Pending, second][..], &[Mood::Willing(1000); 10]].concat();
            let inner = Moody::new(Vec::new(), moods);
            let mut writer = AsyncEncryptedWriter::new(inner, stream(Cipher::Sm4));
            runtime().block_on(async {
                writer.write_all(&plaintext(100)).await.unwrap();
                let sought = writer.seek(SeekFrom::Start(0)).await;
                if second == Mood::Failing {
                    assert!(sought.is_err());
                    writer.rewind().await.unwrap();
                }
                writer.write_all(&plaintext(50)).await.unwrap();
            });
            let written = writer.into_inner().bytes.into_inner();
            assert_eq!(written, ciphertext(Cipher::Sm4, expected));
        }
    }

    #[test]
    fn data_larger_than_the_scratch_buffer_is_written_whole() {
        let len = 3 * SCRATCH_LEN + 5;
        let mut writer = AsyncEncryptedWriter::new(Vec::new(), stream(Cipher::Aes256));
        runtime()
            .block_on(writer.write_all(&plaintext(len)))
            .unwrap();
        assert_eq!(writer.into_inner(), ciphertext(Cipher::Aes256, len));
    }

    #[test]
    fn it_stands_on_the_files_of_tokio() {
        let file = tempfile::NamedTempFile::new().unwrap();
        runtime().block_on(async {
            let raw = tokio::fs::File::from_std(file.reopen().unwrap());
            let mut writer = AsyncEncryptedWriter::new(raw, stream(Cipher::Sm4));
            for at in [70, 0, 35] {
                writer.seek(SeekFrom::Start(at as u64)).await.unwrap();
                writer
                    .write_all(&plaintext(105)[at..at + 35])
                    .await
                    .unwrap();
            }
            assert_eq!(writer.stream_position().await.unwrap(), 70);
            writer.shutdown().await.unwrap();
        });
        assert_eq!(
            std::fs::read(file.path()).unwrap(),
            ciphertext(Cipher::Sm4, 105)
        );
    }

    #[test]
    fn a_file_in_plaintext_passes_through() {
        let mut writer = AsyncEncryptedWriter::new(Vec::new(), None);
        runtime().block_on(writer.write_all(b"as it is")).unwrap();
        assert_eq!(writer.into_inner(), b"as it is");
    }

    #[test]
    fn nothing_is_written_past_the_last_position() {
        let inner = Cursor::new(Vec::new());
        let mut writer = AsyncEncryptedWriter::new(inner, stream(Cipher::Aes128));
        runtime().block_on(async {
            writer.seek(SeekFrom::Start(u64::MAX)).await.unwrap();
            assert!(writer.write_all(b"x").await.is_err());
        });
    }
}
