//! Decrypting while a task reads.

use std::fmt;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stillkey_core::CtrStream;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::super::{SCRATCH_LEN, implausible, invalid, within};
use super::Keystream;

/// Decrypts what it reads from `R`, in the caller's buffer, at most 64 KiB a call: that is how long a task keeps its thread.
///
/// Where each read of `R` has a price of its own, as with tokio's files, put a `tokio::io::BufReader` underneath. A seek that was begun and
/// not awaited leaves the position unknown: reading fails then, until another seek succeeds.
///
/// ```
/// use stillkey::AsyncEncryptedReader;
/// use tokio::io::AsyncReadExt;
/// # use stillkey::core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
/// # let key = DataKey::new(Cipher::Sm4, SecretBytes::new(vec![7; 16]))?;
/// # let stream = CtrStream::new(&key, Iv::new([1; 16]));
/// # let mut ciphertext = *b"plaintext";
/// # stream.apply_at(0, &mut ciphertext)?;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut reader = AsyncEncryptedReader::new(&ciphertext[..], stream);
/// let mut text = String::new();
/// reader.read_to_string(&mut text).await?;
/// assert_eq!(text, "plaintext");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncEncryptedReader<R> {
    inner: R,
    keystream: Option<Keystream>,
}

impl<R> AsyncEncryptedReader<R> {
    /// Reads from `inner`, which stands at the byte that is the stream's position: 0 for a new stream.
    pub fn new(inner: R, stream: impl Into<Option<CtrStream>>) -> Self {
        Self {
            inner,
            keystream: stream.into().map(Keystream::new),
        }
    }

    /// What it reads from.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// Gives back what it read from.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for AsyncEncryptedReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(keystream) = &mut this.keystream else {
            return Pin::new(&mut this.inner).poll_read(cx, buffer);
        };
        let position = keystream.position()?;
        let len = within(position, buffer.remaining().min(SCRATCH_LEN));
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(len));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let data = part.filled_mut();
        let read = data.len();
        // A reader may put another buffer in the place of the one that it is given.
        if read > len {
            return Poll::Ready(Err(implausible()));
        }
        let stream = &mut keystream.stream;
        stream.apply_at(position, data).map_err(invalid)?;
        stream.seek(position + read as u64);
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncSeek + Unpin> AsyncSeek for AsyncEncryptedReader<R> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let started = Pin::new(&mut this.inner).start_seek(to);
        Keystream::seek_started(this.keystream.as_mut(), started)
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        let ended = ready!(Pin::new(&mut this.inner).poll_complete(cx));
        Poll::Ready(Keystream::seek_ended(this.keystream.as_mut(), ended))
    }
}

impl<R> fmt::Debug for AsyncEncryptedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncEncryptedReader")
            .field("keystream", &self.keystream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::*;
    use super::super::testing::*;
    use super::*;
    use crate::EncryptedReader;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use std::io::{Cursor, Read, Seek};
    use stillkey_core::Cipher;
    use tokio::io::{AsyncReadExt, AsyncSeekExt, BufReader};

    proptest! {
        #[test]
        fn reads_and_seeks_in_any_mood_give_what_the_reader_for_threads_gives(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            len in 0_usize..3000,
            steps in prop::collection::vec((prop::option::of(0_u64..4000), 1_usize..400), 1..20),
            moods in moods(),
        ) {
            let ciphertext = ciphertext(cipher, len);
            let mut expected = EncryptedReader::new(Cursor::new(ciphertext.clone()), stream(cipher));
            let mut reader = AsyncEncryptedReader::new(Moody::new(ciphertext, moods), stream(cipher));
            runtime().block_on(async {
                for (seek, len) in steps {
                    if let Some(to) = seek {
                        // A failed one is tried again, as it has to be.
                        while reader.seek(SeekFrom::Start(to)).await.is_err() {}
                        expected.seek(SeekFrom::Start(to)).unwrap();
                    }
                    let mut buffer = vec![0; len];
                    // Nothing is lost by a read that fails.
                    let read = loop {
                        if let Ok(read) = reader.read(&mut buffer).await { break read }
                    };
                    let mut same = vec![0; read];
                    expected.read_exact(&mut same).unwrap();
                    assert_eq!(&buffer[..read], same);
                }
            });
        }
    }

    #[test]
    fn a_large_buffer_is_filled_by_bounded_pieces_behind_what_it_holds() {
        let len = 2 * SCRATCH_LEN + 5;
        let ciphertext = ciphertext(Cipher::Aes256, len);
        let mut reader = AsyncEncryptedReader::new(&ciphertext[..], stream(Cipher::Aes256));
        runtime().block_on(async {
            let mut data = Vec::with_capacity(4 * len);
            data.push(7);
            assert_eq!(reader.read_buf(&mut data).await.unwrap(), SCRATCH_LEN);
            reader.read_to_end(&mut data).await.unwrap();
            assert_eq!(data[0], 7);
            assert_eq!(&data[1..], plaintext(len));
        });
    }

    #[test]
    fn after_a_seek_that_was_given_up_nothing_is_read_until_the_next() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &ciphertext(Cipher::Sm4, 3000)).unwrap();
        file.rewind().unwrap();
        runtime().block_on(async {
            let file = BufReader::new(tokio::fs::File::from_std(file));
            let mut reader = AsyncEncryptedReader::new(file, stream(Cipher::Sm4));
            let mut data = [0; 10];
            reader.read_exact(&mut data).await.unwrap();
            // Dropped after one poll, which can't be enough.
            let hold = hold_up();
            poll_fn(|cx| {
                let seek = std::pin::pin!(reader.seek(SeekFrom::Start(1000)));
                assert!(seek.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(hold);
            assert!(reader.read(&mut data).await.is_err());
            assert!(reader.seek(SeekFrom::Current(-5000)).await.is_err());
            assert!(reader.read(&mut data).await.is_err());
            assert_eq!(reader.seek(SeekFrom::Start(2000)).await.unwrap(), 2000);
            reader.read_exact(&mut data).await.unwrap();
            assert_eq!(data, plaintext(2010)[2000..]);
            assert_eq!(reader.stream_position().await.unwrap(), 2010);
            reader.read_exact(&mut data).await.unwrap();
            // Without a seek, tokio's file would tell where the last one led.
            let position = poll_fn(|cx| Pin::new(&mut reader).poll_complete(cx));
            assert_eq!(position.await.unwrap(), 2020);
        });
    }

    #[test]
    fn a_file_in_plaintext_passes_through() {
        let mut text = String::new();
        let mut reader = AsyncEncryptedReader::new(&b"as it is"[..], None);
        runtime()
            .block_on(reader.read_to_string(&mut text))
            .unwrap();
        assert_eq!(text, "as it is");
    }

    #[test]
    fn a_reader_that_brings_its_own_buffer_is_an_error() {
        struct Liar;
        impl AsyncRead for Liar {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                *buffer = ReadBuf::new(Box::leak(Box::new([0; 100])));
                buffer.set_filled(100);
                Poll::Ready(Ok(()))
            }
        }
        let mut reader = AsyncEncryptedReader::new(Liar, stream(Cipher::Aes128));
        let read = runtime().block_on(async { reader.read(&mut [0; 4]).await });
        assert!(read.is_err());
    }
}
