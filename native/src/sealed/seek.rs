//! Any part of a sealed object, without reading the rest.

use std::io::{self, Read, Seek, SeekFrom};

use stillkey_core::sealed::{Body, Chunks, Header, Layout};
use stillkey_core::{EncryptionContext, MasterKey};
use zeroize::Zeroizing;

use super::{data_error, read_header};
use crate::file::{KeptOpen, implausible};
use crate::provider::Native;

/// A sealed object as a file of its plaintext, with [`Read`] and [`Seek`].
///
/// In a chunked object, each read opens the chunks that it touches; the last chunk is opened first, so that an object which was cut off or
/// extended is refused before it gives out anything. A stream object can't be checked.
#[derive(Debug)]
pub struct SealedFile<R: Read + Seek> {
    inner: R,
    header: Header,
    body: SeekableBody,
    plaintext_len: u64,
    position: u64,
}

#[derive(Debug)]
enum SeekableBody {
    Stream(KeptOpen),
    Chunked {
        chunks: Chunks,
        layout: Layout,
        open: Option<OpenChunk>,
        sealed: Vec<u8>,
    },
}

/// The chunk that was read last.
#[derive(Debug)]
struct OpenChunk {
    number: u64,
    plaintext: Zeroizing<Vec<u8>>,
}

impl<R: Read + Seek> SealedFile<R> {
    /// Reads the header, opens it with one of `master_keys`, and checks where the object ends.
    ///
    /// # Errors
    /// Those of `inner`; a [`stillkey_core::Error`] inside when the object is damaged or no key fits.
    pub fn new(
        mut inner: R,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
    ) -> io::Result<Self> {
        inner.rewind()?;
        let header = read_header(&mut inner)?;
        let body = header
            .open(master_keys, context, &Native::detect())
            .map_err(data_error)?;
        let body_at = header.as_bytes().len() as u64;
        let body_len = inner.seek(SeekFrom::End(0))?.saturating_sub(body_at);
        let (body, plaintext_len, last) = match body {
            Body::Stream(stream) => (SeekableBody::Stream(KeptOpen::new(stream)), body_len, None),
            Body::Chunked(chunks) => {
                let layout = chunks.layout(body_len).map_err(data_error)?;
                let sealed = Vec::with_capacity(chunks.sealed_chunk_size());
                let body = SeekableBody::Chunked {
                    chunks,
                    layout,
                    open: None,
                    sealed,
                };
                (body, layout.plaintext_len, Some(layout.chunks - 1))
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let mut file = Self {
            inner,
            header,
            body,
            plaintext_len,
            position: 0,
        };
        if let Some(last) = last {
            file.open_chunk(last)?;
        }
        Ok(file)
    }

    /// The object's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of the plaintext in bytes.
    pub fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// Sees to it that `number` is the open chunk.
    fn open_chunk(&mut self, number: u64) -> io::Result<()> {
        let SeekableBody::Chunked {
            chunks,
            layout,
            open,
            sealed,
        } = &mut self.body
        else {
            return Ok(());
        };
        if open.as_ref().is_some_and(|chunk| chunk.number == number) {
            return Ok(());
        }
        let mut plaintext = open.take().map_or_else(
            || Zeroizing::new(Vec::with_capacity(chunks.chunk_size())),
            |chunk| chunk.plaintext,
        );
        plaintext.clear();
        sealed.clear();
        let chunk_len = chunks.sealed_chunk_size() as u64;
        self.inner.seek(SeekFrom::Start(
            self.header.as_bytes().len() as u64 + number * chunk_len,
        ))?;
        (&mut self.inner).take(chunk_len).read_to_end(sealed)?;
        chunks
            .open(number, number + 1 == layout.chunks, sealed, &mut plaintext)
            .map_err(data_error)?;
        *open = Some(OpenChunk { number, plaintext });
        Ok(())
    }
}

impl<R: Read + Seek> Read for SealedFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.plaintext_len || buffer.is_empty() {
            return Ok(0);
        }
        let read = match &self.body {
            SeekableBody::Stream(stream) => {
                self.inner.seek(SeekFrom::Start(
                    self.header.as_bytes().len() as u64 + self.position,
                ))?;
                let read = self.inner.read(buffer)?;
                let data = buffer.get_mut(..read).ok_or_else(implausible)?;
                stream
                    .at(self.position)
                    .apply_at(self.position, data)
                    .map_err(data_error)?;
                read
            }
            SeekableBody::Chunked { chunks, .. } => {
                let chunk_size = chunks.chunk_size() as u64;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "less than the size of a chunk"
                )]
                let within = (self.position % chunk_size) as usize;
                self.open_chunk(self.position / chunk_size)?;
                let SeekableBody::Chunked {
                    open: Some(chunk), ..
                } = &self.body
                else {
                    unreachable!("it has just been opened");
                };
                #[expect(
                    clippy::indexing_slicing,
                    reason = "the position is before the plaintext's end, so within the chunk's"
                )]
                let mut rest = &chunk.plaintext[within..];
                rest.read(buffer)?
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for SealedFile<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.plaintext_len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use stillkey_core::sealed::{Options, Suite};
    use stillkey_core::{RawMasterKey, SecretBytes};

    use super::*;
    use crate::{SealedReader, SealedWriter};

    fn keys() -> [MasterKey; 1] {
        [MasterKey::Raw(
            RawMasterKey::new(SecretBytes::new(vec![1; 32])).unwrap(),
        )]
    }

    fn object(suite: Suite, plaintext: &[u8]) -> Vec<u8> {
        let options = Options {
            suite,
            chunk_exponent: 12,
        };
        let mut writer =
            SealedWriter::new(Vec::new(), &options, &keys(), &EncryptionContext::new()).unwrap();
        writer.write_all(plaintext).unwrap();
        writer.finish().unwrap()
    }

    fn seekable(object: Vec<u8>) -> io::Result<SealedFile<Cursor<Vec<u8>>>> {
        SealedFile::new(Cursor::new(object), &keys(), &EncryptionContext::new())
    }

    fn plaintext(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| (i * 7 + i / 251).to_le_bytes()[0])
            .collect()
    }

    #[test]
    fn any_part_reads_as_in_the_plaintext() {
        for suite in Suite::ALL {
            for len in [0, 1, 4096, 10_000] {
                let plaintext = plaintext(len);
                let mut file = seekable(object(suite, &plaintext)).unwrap();
                assert_eq!(file.plaintext_len(), len as u64);
                for start in [9_999, 4_095, 8_192, 0, 1, 20_000] {
                    file.seek(SeekFrom::Start(start as u64)).unwrap();
                    let mut part = Vec::new();
                    (&mut file).take(5_000).read_to_end(&mut part).unwrap();
                    let expected = plaintext.get(start..).unwrap_or_default();
                    assert_eq!(
                        part,
                        &expected[..expected.len().min(5_000)],
                        "{suite} {len} {start}"
                    );
                }
                let mut whole = Vec::new();
                let reader = SealedReader::new(
                    file.inner.get_ref().as_slice(),
                    &keys(),
                    &EncryptionContext::new(),
                );
                reader.unwrap().read_to_end(&mut whole).unwrap();
                assert_eq!(whole, plaintext);
            }
        }
    }

    #[test]
    fn an_object_cut_at_a_chunk_is_refused_before_anything_is_read() {
        let mut object = object(Suite::Aes256Gcm, &plaintext(3 * 4096));
        object.truncate(object.len() - 4096 - 16);
        let error = seekable(object.clone()).unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");

        let mut reader =
            SealedReader::new(object.as_slice(), &keys(), &EncryptionContext::new()).unwrap();
        let mut read = Vec::new();
        let first = reader.read_to_end(&mut read).unwrap_err().to_string();
        let again = reader.read(&mut [0; 1]).unwrap_err().to_string();
        assert_eq!(first, again, "a failed reader keeps failing");
    }
}
