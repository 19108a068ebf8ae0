//! A sealed object read in, plaintext read out, from start to end.

use std::io::{self, Read};

use stillkey_core::sealed::{Header, Opener};
use stillkey_core::{EncryptionContext, MasterKey};
use zeroize::Zeroizing;

use super::{PIECE, data_error, read_header};
use crate::provider::Native;

/// Opens an object from start to end. For chunked suites it gives out authenticated plaintext only; but that the object is *whole* is known
/// only when it has returned its end: whoever stops at an error must throw away what came before.
///
/// After an error, every further read fails with the same message.
#[derive(Debug)]
pub struct SealedReader<R: Read> {
    inner: R,
    header: Header,
    state: State,
    body: Vec<u8>,
    plaintext: Zeroizing<Vec<u8>>,
    /// Bytes of `plaintext` that have been given out.
    given: usize,
}

#[derive(Debug)]
enum State {
    Open(Box<Opener>),
    Ended,
    Failed(stillkey_core::Error),
}

impl<R: Read> SealedReader<R> {
    /// Reads the header and opens it with one of `master_keys`.
    ///
    /// # Errors
    /// Those of `inner`; a [`stillkey_core::Error`] inside when the object is damaged or no key fits.
    pub fn new(
        mut inner: R,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
    ) -> io::Result<Self> {
        let header = read_header(&mut inner)?;
        // Room for all that one piece can yield, so that growing never leaves a copy of plaintext behind.
        let room = PIECE + header.chunk_size().unwrap_or_default();
        let body = header
            .open(master_keys, context, &Native::detect())
            .map_err(data_error)?;
        Ok(Self {
            inner,
            header,
            state: State::Open(Box::new(Opener::new(body))),
            body: vec![0; PIECE],
            plaintext: Zeroizing::new(Vec::with_capacity(room)),
            given: 0,
        })
    }

    /// The object's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Makes more plaintext, or moves to `Ended` or `Failed`.
    fn advance(&mut self) -> io::Result<()> {
        self.plaintext.clear();
        self.given = 0;
        let read = match self.state {
            State::Open(_) => self.inner.read(&mut self.body)?,
            _ => 0,
        };
        let advanced = match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(opener) if read == 0 => opener.finish(&mut self.plaintext),
            State::Open(mut opener) => {
                let pushed = opener.push(
                    self.body.get(..read).unwrap_or_default(),
                    &mut self.plaintext,
                );
                self.state = State::Open(opener);
                pushed
            }
            State::Ended => Ok(()),
            State::Failed(error) => Err(error),
        };
        advanced.map_err(|error| {
            self.state = State::Failed(error.clone());
            data_error(error)
        })
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plaintext.len()
            && !matches!(self.state, State::Ended)
            && !buffer.is_empty()
        {
            self.advance()?;
        }
        let read = self
            .plaintext
            .get(self.given..)
            .unwrap_or_default()
            .read(buffer)?;
        self.given += read;
        Ok(read)
    }
}
