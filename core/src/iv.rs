//! The initialization vector of counter mode: where a file's 128-bit block counter starts.

use core::fmt;

use md5::{Digest, Md5};
use rand_core::TryCryptoRng;

use crate::error::{Error, Misuse};

/// A 16-byte initialization vector: the block counter of a file's first 16 bytes, big-endian.
///
/// It is public: dictionaries store it in the clear. It must never repeat under one key.
///
/// ```
/// use stillkey_core::Iv;
/// let iv = Iv::new([0xff; 16]);
/// assert_eq!(iv.at_block(1), Iv::new([0; 16])); // the counter wraps modulo 2^128
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Iv([u8; Self::LEN]);

impl Iv {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The vector with these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// A fresh random vector.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails.
    pub fn random<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, Error> {
        crate::random::array(rng).map(Self)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The counter `blocks` 16-byte blocks further on: 128-bit big-endian addition, modulo 2^128.
    ///
    /// Source: NIST SP 800-38A §6.5 and appendix B.1, with the whole block as the counter.
    #[must_use]
    pub const fn at_block(&self, blocks: u64) -> Self {
        Self(
            u128::from_be_bytes(self.0)
                .wrapping_add(blocks as u128)
                .to_be_bytes(),
        )
    }

    /// The vector of one file in a TiFlash group: this one XOR MD5(`file_name`), or this one where `file_name` is empty.
    ///
    /// Source: TiFlash, `FileEncryption.cpp`. MD5 only spreads the name here; nothing rests on its collision resistance.
    ///
    /// ```
    /// use stillkey_core::Iv;
    /// let group = Iv::new([7; 16]);
    /// assert_eq!(group.for_tiflash_file(""), group);
    /// assert_ne!(group.for_tiflash_file("1.dat"), group);
    /// ```
    #[must_use]
    pub fn for_tiflash_file(&self, file_name: &str) -> Self {
        if file_name.is_empty() {
            return *self;
        }
        let digest: [u8; 16] = Md5::digest(file_name.as_bytes()).into();
        Self((u128::from_be_bytes(self.0) ^ u128::from_be_bytes(digest)).to_be_bytes())
    }
}

impl TryFrom<&[u8]> for Iv {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Misuse::IvLength { found: bytes.len() }.into())
    }
}

impl fmt::Debug for Iv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iv({self})")
    }
}

impl fmt::Display for Iv {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_carries_through_all_sixteen_bytes() {
        let iv = Iv::new([
            0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ]);
        assert_eq!(
            iv.at_block(1),
            Iv::new([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0])
        );
        assert_eq!(
            Iv::new([0xff; 16]).at_block(u64::MAX).as_bytes()[..8],
            [0; 8]
        );
    }

    #[test]
    fn only_sixteen_bytes_make_a_vector() {
        assert!(Iv::try_from([0; 12].as_slice()).is_err());
        assert_eq!(Iv::try_from([9; 16].as_slice()), Ok(Iv::new([9; 16])));
    }
}
