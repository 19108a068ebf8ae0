//! Files for tasks, encrypted on the threads that wait for the disk.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use stillkey_core::error::Misuse;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::super::{EncryptedFile, implausible, invalid, within};

/// Bytes read or written at a time: enough to be worth the way to another thread and back.
const PIECE: usize = 256 * 1024;

/// A [`ManagedFile`](crate::ManagedFile), or any [`EncryptedFile`] in an [`Arc`] or a [`Box`], that a task reads, writes and seeks.
///
/// System calls and encryption run on tokio's threads for blocking work, one at a time. As with tokio's files, written bytes count as
/// written before they are: flush, or call [`AsyncEncryptedFile::sync`], to learn whether they were. What has begun is finished even if this is
/// dropped (only the end of the runtime prevents it), and till then the file counts as open for writing: no re-encryption overtakes it. Futures may be dropped at any time;
/// unlike with tokio's files, the position stays known even after a failure, which says nothing but that bytes are missing there.
///
/// Operations of the manager wait for the disk, so a task leaves them to `spawn_blocking`:
///
/// ```
/// use std::io::SeekFrom;
/// use std::sync::Arc;
/// use stillkey::clock::unix_now;
/// use stillkey::core::Method;
/// use stillkey::{AsyncEncryptedFile, DataKeyManager, Entries};
/// use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
/// use tokio::task::spawn_blocking;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (place, master_key) = (tempfile::tempdir()?, stillkey::core::MasterKey::Raw(stillkey::core::RawMasterKey::random(&mut stillkey::SysRng)?));
/// # let directory = place.path().join("data");
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let entries = Entries::create(&directory, &master_key, Method::Aes256Ctr, unix_now())?;
/// let manager = Arc::new(DataKeyManager::new(entries)?);
///
/// // Making a file waits for the log of the dictionary.
/// let created = spawn_blocking({
///     let manager = Arc::clone(&manager);
///     move || manager.create_file("greeting")
/// });
/// let mut file = AsyncEncryptedFile::new(created.await??);
/// file.write_all(b"Hello, encrypted world").await?;
/// file.sync().await?;
///
/// file.seek(SeekFrom::Start(7)).await?;
/// let mut rest = String::new();
/// file.read_to_string(&mut rest).await?;
/// assert_eq!(rest, "encrypted world");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }) }
/// ```
pub struct AsyncEncryptedFile<F> {
    /// Shared with what runs, so that dropping this doesn't drop the file under it.
    file: Arc<F>,
    /// Where the next byte is read or written.
    position: u64,
    seek: Option<SeekFrom>,
    running: Option<JoinHandle<Done>>,
    /// Plaintext on its way.
    buffer: Vec<u8>,
    /// What came of a read at a position, and nobody has taken yet. Its bytes are the first of the buffer.
    read: Option<(u64, io::Result<usize>)>,
    /// Why bytes that count as written were not.
    failed: Option<io::Error>,
}

/// What came of what ran.
enum Done {
    Read(Vec<u8>, u64, io::Result<usize>),
    Written(Vec<u8>, io::Result<()>),
    Sought(io::Result<u64>),
}

impl<F: AsRef<EncryptedFile> + Send + Sync + 'static> AsyncEncryptedFile<F> {
    /// Stands at the first byte.
    pub fn new(file: F) -> Self {
        Self {
            file: Arc::new(file),
            position: 0,
            seek: None,
            running: None,
            buffer: Vec::new(),
            read: None,
            failed: None,
        }
    }

    /// The file underneath, for positional reads and writes, which know nothing of what has not been flushed.
    pub fn file(&self) -> &F {
        &self.file
    }

    /// Waits until everything written, and the length, is durable: see [`EncryptedFile::sync`].
    ///
    /// # Errors
    /// Those of [`EncryptedFile::sync`], and of writes that have not been reported yet.
    pub async fn sync(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_written(cx)).await?;
        let file = Arc::clone(&self.file);
        spawn_blocking(move || (*file).as_ref().sync()).await?
    }

    fn start(&mut self, run: impl FnOnce(&EncryptedFile) -> Done + Send + 'static) {
        let file = Arc::clone(&self.file);
        self.running = Some(spawn_blocking(move || run((*file).as_ref())));
    }

    /// Waits for what runs, and for a seek that has begun.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(running) = &mut self.running {
                let done = ready!(Pin::new(running).poll(cx));
                self.running = None;
                match done? {
                    Done::Read(buffer, at, read) => {
                        self.buffer = buffer;
                        self.read = Some((at, read));
                    }
                    Done::Written(buffer, written) => {
                        self.buffer = buffer;
                        self.failed = written.err();
                    }
                    Done::Sought(position) => self.position = position?,
                }
            }
            match self.seek.take() {
                None => return Poll::Ready(Ok(())),
                Some(SeekFrom::Start(position)) => self.position = position,
                Some(SeekFrom::Current(by)) => self.position = moved(self.position, by)?,
                Some(SeekFrom::End(by)) => {
                    self.start(move |file| Done::Sought(file.len().and_then(|len| moved(len, by))));
                }
            }
        }
    }

    /// Waits until nothing runs, and reports a write that failed.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_idle(cx))?;
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }
}

/// The position `by` bytes from `position` on.
fn moved(position: u64, by: i64) -> io::Result<u64> {
    position.checked_add_signed(by).ok_or_else(|| {
        let message = format!("there is no position {by} bytes from byte {position} on");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

impl<F: AsRef<EncryptedFile> + Send + Sync + 'static> AsyncRead for AsyncEncryptedFile<F> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_idle(cx))?;
            let position = this.position;
            // Another place, or more than fits, is the rest of a read that was given up: it can be read again.
            if let Some((at, read)) = this.read.take()
                && at == position
            {
                let len = read?.min(data.remaining());
                let read = this.buffer.get(..len).ok_or_else(implausible)?;
                data.put_slice(read);
                this.position += len as u64;
                return Poll::Ready(Ok(()));
            }
            let len = data.remaining().min(PIECE);
            let mut buffer = mem::take(&mut this.buffer);
            buffer.resize(len, 0);
            this.start(move |file| {
                let read = file.read_at(&mut buffer, position);
                Done::Read(buffer, position, read)
            });
        }
    }
}

impl<F: AsRef<EncryptedFile> + Send + Sync + 'static> AsyncWrite for AsyncEncryptedFile<F> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_written(cx))?;
        let position = this.position;
        let len = within(position, data.len().min(PIECE));
        if len == 0 {
            return Poll::Ready(match data.len() {
                0 => Ok(0),
                len => Err(invalid(
                    Misuse::PositionOverflow {
                        offset: position,
                        len,
                    }
                    .into(),
                )),
            });
        }
        this.read = None;
        let mut buffer = mem::take(&mut this.buffer);
        buffer.clear();
        buffer.extend(data.iter().take(len));
        this.position += len as u64;
        this.start(move |file| {
            let written = file.write_all_at(&buffer, position);
            Done::Written(buffer, written)
        });
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_written(cx)
    }
}

impl<F: AsRef<EncryptedFile> + Send + Sync + 'static> AsyncSeek for AsyncEncryptedFile<F> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.get_mut().seek = Some(to);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        ready!(this.poll_idle(cx))?;
        Poll::Ready(Ok(this.position))
    }
}

impl<F: fmt::Debug> fmt::Debug for AsyncEncryptedFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncEncryptedFile")
            .field("file", &self.file)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::*;
    use super::super::testing::{hold_up, runtime};
    use super::*;
    use proptest::prelude::*;
    use stillkey_core::Cipher;
    use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

    fn file(cipher: Cipher) -> AsyncEncryptedFile<Arc<EncryptedFile>> {
        let file = EncryptedFile::new(tempfile::tempfile().unwrap(), stream(cipher));
        AsyncEncryptedFile::new(Arc::new(file))
    }

    /// Something that is begun at `seek`, and given up after one poll or not.
    #[derive(Clone, Debug)]
    struct Step {
        seek: Option<SeekFrom>,
        await_seek: bool,
        write: Option<u8>,
        len: usize,
        give_up: bool,
    }

    fn step() -> impl Strategy<Value = Step> {
        let seek = prop_oneof![
            (0_u64..2000).prop_map(SeekFrom::Start),
            (-300_i64..300).prop_map(SeekFrom::Current),
            (-300_i64..300).prop_map(SeekFrom::End),
        ];
        let seek = prop::option::of(seek);
        let write = prop::option::of(1_u8..255);
        let step = (seek, any::<bool>(), write, 1_usize..700, any::<bool>());
        step.prop_map(|(seek, await_seek, write, len, give_up)| Step {
            seek,
            await_seek,
            write,
            len,
            give_up,
        })
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn it_does_what_a_file_in_memory_does_whatever_is_given_up(
            cipher in prop::sample::select(&Cipher::ALL[..]),
            steps in prop::collection::vec(step(), 1..30),
        ) {
            let (mut file, mut expected, mut position) = (file(cipher), Vec::new(), 0_usize);
            runtime().block_on(async {
                for step in steps {
                    if let Some(to) = step.seek {
                        let target = match to {
                            SeekFrom::Start(at) => at.cast_signed(),
                            SeekFrom::Current(by) => position as i64 + by,
                            SeekFrom::End(by) => expected.len() as i64 + by,
                        };
                        // There would be zeros in the file, which don't decrypt to zeros.
                        if target > expected.len() as i64 { continue; }
                        let seek = file.seek(to);
                        if let Ok(target) = usize::try_from(target) {
                            if step.await_seek {
                                assert_eq!(seek.await.unwrap(), target as u64);
                            } else {
                                // Begun at the latest when nothing runs any more, which one poll doesn't wait for.
                                drop(seek);
                                file.flush().await.unwrap();
                                Pin::new(&mut file).start_seek(to).unwrap();
                            }
                            position = target;
                        } else {
                            assert!(seek.await.is_err());
                        }
                    }
                    match step.write {
                        Some(fill) => {
                            let data = vec![fill; step.len];
                            let write = poll_fn(|cx| {
                                Poll::Ready(Pin::new(&mut file).poll_write(cx, &data))
                            });
                            let written = match write.await {
                                Poll::Ready(written) => written.unwrap(),
                                Poll::Pending if step.give_up => 0,
                                Poll::Pending => file.write(&data).await.unwrap(),
                            };
                            let end = expected.len().max(position + written);
                            expected.resize(end, 0);
                            expected[position..position + written].copy_from_slice(&data[..written]);
                            position += written;
                        }
                        None => {
                            let mut data = vec![0; step.len];
                            let once = poll_fn(|cx| {
                                let mut data = ReadBuf::new(&mut data);
                                let polled = Pin::new(&mut file).poll_read(cx, &mut data);
                                Poll::Ready(polled.map_ok(|()| data.filled().len()))
                            });
                            let read = match once.await {
                                Poll::Ready(read) => read.unwrap(),
                                Poll::Pending if step.give_up => continue,
                                Poll::Pending => file.read(&mut data).await.unwrap(),
                            };
                            assert!(read > 0 || position == expected.len());
                            assert_eq!(&data[..read], &expected[position..position + read]);
                            position += read;
                        }
                    }
                }
                file.sync().await.unwrap();
            });
            let mut content = vec![0; expected.len()];
            file.file().read_exact_at(&mut content, 0).unwrap();
            prop_assert_eq!(&content, &expected);
            prop_assert_eq!(file.file().len().unwrap(), expected.len() as u64);
        }
    }

    #[test]
    fn a_write_that_failed_is_reported_once_and_the_position_is_known() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let read_only = std::fs::File::open(place.path()).unwrap();
        let file = Arc::new(EncryptedFile::new(read_only, stream(Cipher::Aes128)));
        let mut file = AsyncEncryptedFile::new(file);
        runtime().block_on(async {
            assert_eq!(file.write(&[1; 100]).await.unwrap(), 100);
            assert!(file.flush().await.is_err());
            file.flush().await.unwrap();
            assert_eq!(file.stream_position().await.unwrap(), 100);
            assert_eq!(file.write(&[1; 100]).await.unwrap(), 100);
            assert!(file.sync().await.is_err());
        });
    }

    #[test]
    fn what_was_read_for_nobody_is_not_what_stands_there_after_a_write() {
        let mut file = file(Cipher::Aes128);
        runtime().block_on(async {
            file.write_all(b"before").await.unwrap();
            file.rewind().await.unwrap();
            let mut read = [0; 6];
            let hold = hold_up();
            let given_up = poll_fn(|cx| {
                let mut data = ReadBuf::new(&mut read);
                Poll::Ready(Pin::new(&mut file).poll_read(cx, &mut data))
            });
            assert!(given_up.await.is_pending());
            drop(hold);
            file.write_all(b"aft").await.unwrap();
            file.rewind().await.unwrap();
            file.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"aftore");
        });
    }

    #[test]
    fn more_than_a_piece_is_read_and_written_whole() {
        let (mut file, data) = (file(Cipher::Sm4), plaintext(2 * PIECE + 5));
        let read = runtime().block_on(async {
            file.write_all(&data).await?;
            file.rewind().await?;
            let mut read = Vec::new();
            file.read_to_end(&mut read).await?;
            io::Result::Ok(read)
        });
        assert!(read.unwrap() == data);
    }

    #[test]
    fn nothing_is_written_past_the_last_position() {
        let mut file = file(Cipher::Aes128);
        runtime().block_on(async {
            file.seek(SeekFrom::Start(u64::MAX)).await.unwrap();
            assert!(file.write(b"x").await.is_err());
            assert!(file.seek(SeekFrom::Current(1)).await.is_err());
        });
    }

    #[test]
    fn what_has_begun_holds_the_file_until_it_is_done() {
        let runtime = runtime();
        let mut file = file(Cipher::Aes128);
        let shared = Arc::clone(file.file());
        runtime.block_on(async {
            let hold = hold_up();
            file.write_all(b"on its way").await.unwrap();
            drop(file);
            assert_eq!(Arc::strong_count(&shared), 2, "this test and the write");
            drop(hold);
            spawn_blocking(|| ()).await.unwrap();
        });
        assert_eq!(Arc::strong_count(&shared), 1);
        let mut written = [0; 10];
        shared.read_exact_at(&mut written, 0).unwrap();
        assert_eq!(&written, b"on its way");
    }
}
