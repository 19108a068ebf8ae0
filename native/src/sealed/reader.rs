//! A sealed object read in, plaintext read out, from start to end.

use std::io::{self, Read};
use std::ops::Range;

use stillkey_core::sealed::{Header, Opener};
use stillkey_core::{EncryptionContext, MasterKey};
use zeroize::Zeroizing;

use super::{FIRST_PIECE, data_error, read_header};
use crate::file::implausible;
use crate::parallel::{self, Threads};
use crate::provider::Native;

/// Opens an object from start to end. For chunked suites it gives out authenticated plaintext only; but that the object is *whole* is known
/// only when it has returned its end: whoever stops at an error must throw away what came before.
///
/// What stands before damaged bytes is given out; then every further read fails with the same message.
#[derive(Debug)]
pub struct SealedReader<R: Read> {
    inner: R,
    header: Header,
    state: State,
    body: Vec<u8>,
    /// The part of `body` that has not been opened.
    sealed: Range<usize>,
    plaintext: Zeroizing<Vec<u8>>,
    /// The part of `plaintext` that has not been given out.
    ready: Range<usize>,
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
        let body = header
            .open(master_keys, context, &Native::detect())
            .map_err(data_error)?;
        Ok(Self {
            inner,
            header,
            state: State::Open(Box::new(Opener::new(body))),
            body: vec![0; FIRST_PIECE],
            sealed: 0..0,
            plaintext: Zeroizing::default(),
            ready: 0..0,
        })
    }

    /// The object's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Opens more of the body, into `buffer` where that has room and into `plaintext` otherwise, or moves to `Ended` or `Failed`. Returns how
    /// much of `buffer` is plaintext now.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sealed.is_empty() && matches!(self.state, State::Open(_)) {
            let read = self.inner.read(&mut self.body)?;
            if read > self.body.len() {
                return Err(implausible());
            }
            self.sealed = 0..read;
        }
        let advanced = match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(opener) if self.sealed.is_empty() => self.finish(*opener).map(|()| 0),
            State::Open(mut opener) => {
                let pushed = self.push(&mut opener, buffer);
                self.state = State::Open(opener);
                pushed
            }
            State::Ended => Ok(0),
            State::Failed(error) => Err(error),
        };
        if self.sealed.is_empty() && self.sealed.end == self.body.len() {
            // The object is long, so that long buffers pay.
            self.body.resize(parallel::buffer_len(), 0);
        }
        advanced.map_err(|error| {
            self.state = State::Failed(error.clone());
            data_error(error)
        })
    }

    fn push(
        &mut self,
        opener: &mut Opener,
        buffer: &mut [u8],
    ) -> Result<usize, stillkey_core::Error> {
        #[expect(clippy::indexing_slicing, reason = "a range of what was read into it")]
        let body = &self.body[self.sealed.clone()];
        let room = opener.output_len(body.len());
        let one = self.header.chunk_size().unwrap_or(1).min(room);
        let fits = buffer.len() >= one;
        if !fits && self.plaintext.len() < room {
            // Not by growing, which would leave a copy of plaintext behind.
            self.plaintext = Zeroizing::new(vec![0; room]);
        }
        let out = if fits {
            buffer
        } else {
            self.plaintext.as_mut_slice()
        };
        let pushed = opener.push_to(body, out, &Threads)?;
        self.sealed.start += pushed.taken;
        if fits {
            return Ok(pushed.written);
        }
        self.ready = 0..pushed.written;
        Ok(0)
    }

    fn finish(&mut self, opener: Opener) -> Result<(), stillkey_core::Error> {
        let room = self.header.chunk_size().unwrap_or_default();
        let mut last = Zeroizing::new(Vec::with_capacity(room));
        opener.finish(&mut last)?;
        self.ready = 0..last.len();
        self.plaintext = last;
        Ok(())
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !matches!(self.state, State::Ended) && !buffer.is_empty() {
            let read = self.advance(buffer)?;
            if read > 0 {
                return Ok(read);
            }
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "a range of what was opened into it"
        )]
        let mut ready = &self.plaintext[self.ready.clone()];
        let read = ready.read(buffer)?;
        self.ready.start += read;
        Ok(read)
    }
}
