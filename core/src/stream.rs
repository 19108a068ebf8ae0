//! A file's counter-mode stream: seek to any byte, encrypt or decrypt from there, in place or from source to destination.

use alloc::sync::Arc;
use core::fmt;

use inout::InOutBuf;

use crate::cipher::{CipherProvider, CtrKernel, Portable};
use crate::error::{Error, Misuse};
use crate::iv::Iv;
use crate::secret::DataKey;

/// A counter-mode stream over one file. Encryption and decryption are the same operation.
///
/// Positions are bytes from the start of the file, any `u64`. Counter mode hides content and nothing else: a changed ciphertext
/// bit changes the same plaintext bit, unnoticed.
///
/// ```
/// use stillkey_core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
///
/// let key = DataKey::new(Cipher::Aes256, SecretBytes::new(vec![7; 32]))?;
/// let stream = CtrStream::new(&key, Iv::new([1; 16]));
///
/// let mut page = *b"the second page of a file";
/// stream.apply_at(4096, &mut page)?; // encrypt
/// let mut tail = page[11..].to_vec();
/// stream.apply_at(4096 + 11, &mut tail)?; // decrypt from the middle
/// assert_eq!(tail, b"page of a file");
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone)]
pub struct CtrStream {
    kernel: Arc<dyn CtrKernel>,
    iv: Iv,
    position: u64,
}

impl CtrStream {
    /// A stream at position 0 that runs the [`Portable`] kernels.
    pub fn new(key: &DataKey, iv: Iv) -> Self {
        Self::with_provider(&Portable, key, iv)
    }

    /// A stream at position 0 that runs `provider`'s kernel for the key.
    pub fn with_provider(provider: &dyn CipherProvider, key: &DataKey, iv: Iv) -> Self {
        Self::with_kernel(provider.ctr(key), iv)
    }

    /// A stream at position 0 over an expanded key, which other streams may share.
    pub fn with_kernel(kernel: Arc<dyn CtrKernel>, iv: Iv) -> Self {
        Self {
            kernel,
            iv,
            position: 0,
        }
    }

    /// The same stream for a file that stays open for many calls: what the kernel can compute in advance for one file is computed now.
    ///
    /// The bytes are the same. It takes some memory and time at first, so a file that is read or written once is better off without.
    #[must_use]
    pub fn kept_open(mut self) -> Self {
        if let Some(prepared) = self.kernel.prepared(&self.iv) {
            self.kernel = prepared;
        }
        self
    }

    /// The next byte that [`CtrStream::apply`] works on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Moves to byte `position`. Costs nothing.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Encrypts or decrypts `data` in place and moves past it.
    ///
    /// # Errors
    /// [`Misuse::PositionOverflow`] when the position would pass 2^64 − 1; `data` and the position are then unchanged.
    pub fn apply(&mut self, data: &mut [u8]) -> Result<(), Error> {
        self.position = self.run(self.position, data.into())?;
        Ok(())
    }

    /// Encrypts or decrypts from `source` into `destination` and moves past them.
    ///
    /// # Errors
    /// [`Misuse::PositionOverflow`], or [`Misuse::UnequalLengths`]; nothing is changed then.
    pub fn apply_to(&mut self, source: &[u8], destination: &mut [u8]) -> Result<(), Error> {
        self.position = self.run(self.position, pair(source, destination)?)?;
        Ok(())
    }

    /// Encrypts or decrypts `data`, which stands at byte `offset`, in place; the position stays.
    ///
    /// # Errors
    /// [`Misuse::PositionOverflow`] when `offset + data.len()` passes 2^64 − 1.
    pub fn apply_at(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.run(offset, data.into()).map(drop)
    }

    /// As [`CtrStream::apply_at`], from `source` into `destination`.
    ///
    /// # Errors
    /// [`Misuse::PositionOverflow`], or [`Misuse::UnequalLengths`].
    pub fn apply_at_to(
        &self,
        offset: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), Error> {
        self.run(offset, pair(source, destination)?).map(drop)
    }

    fn run(&self, offset: u64, data: InOutBuf<'_, '_, u8>) -> Result<u64, Error> {
        let len = data.len();
        let end = u64::try_from(len)
            .ok()
            .and_then(|len| offset.checked_add(len));
        let end = end.ok_or(Misuse::PositionOverflow { offset, len })?;
        self.kernel.apply(&self.iv, offset, data);
        Ok(end)
    }
}

fn pair<'a, 'b>(
    source: &'a [u8],
    destination: &'b mut [u8],
) -> Result<InOutBuf<'a, 'b, u8>, Error> {
    let (from, to) = (source.len(), destination.len());
    InOutBuf::new(source, destination).map_err(|_| {
        Misuse::UnequalLengths {
            source: from,
            destination: to,
        }
        .into()
    })
}

impl fmt::Debug for CtrStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtrStream")
            .field("iv", &self.iv)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Cipher;
    use crate::secret::SecretBytes;
    use alloc::vec;

    fn stream(cipher: Cipher) -> CtrStream {
        let key = DataKey::new(cipher, SecretBytes::new(vec![3; cipher.key_len()])).unwrap();
        CtrStream::new(&key, Iv::new([0xff; 16]))
    }

    #[test]
    fn source_to_destination_equals_in_place() {
        for cipher in Cipher::ALL {
            let (mut a, mut b) = (stream(cipher), stream(cipher));
            let source = [5; 100];
            let (mut in_place, mut destination) = (source, [0; 100]);
            a.seek(77);
            b.seek(77);
            a.apply(&mut in_place).unwrap();
            b.apply_to(&source, &mut destination).unwrap();
            assert_eq!(in_place, destination);
            assert_eq!((a.position(), b.position()), (177, 177));
        }
    }

    #[test]
    fn position_past_the_last_byte_is_an_error_and_changes_nothing() {
        let mut stream = stream(Cipher::Aes128);
        stream.seek(u64::MAX - 2);
        let mut data = [9; 3];
        let error = stream.apply(&mut data).unwrap_err();
        assert_eq!(
            error,
            Misuse::PositionOverflow {
                offset: u64::MAX - 2,
                len: 3
            }
            .into()
        );
        assert_eq!((data, stream.position()), ([9; 3], u64::MAX - 2));
        assert!(stream.apply(&mut data[..2]).is_ok());
        assert!(stream.apply_to(&[0; 2], &mut [0; 1]).is_err());
    }

    #[test]
    fn a_stream_that_is_kept_open_runs_what_its_kernel_prepared_for_its_file() {
        struct Fills(u8);
        impl CtrKernel for Fills {
            fn apply(&self, _: &Iv, _: u64, data: InOutBuf<'_, '_, u8>) {
                data.into_out().fill(self.0);
            }
            fn prepared(&self, iv: &Iv) -> Option<Arc<dyn CtrKernel>> {
                (self.0 == 0).then(|| Arc::new(Self(iv.as_bytes()[0])) as _)
            }
        }
        for (kernel, expected) in [(0, 9), (5, 5)] {
            let stream = CtrStream::with_kernel(Arc::new(Fills(kernel)), Iv::new([9; 16]));
            let mut data = [1; 4];
            stream.kept_open().apply_at(0, &mut data).unwrap();
            assert_eq!(data, [expected; 4]);
        }
    }
}
