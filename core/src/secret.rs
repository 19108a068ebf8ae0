//! Key material: zeroized when dropped, redacted when printed, never copied by accident.
//!
//! It lives on the heap, or where [`place_secrets`] says: a program with an operating system can lock it in memory and keep it out of core
//! dumps.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use once_cell::race::OnceRef;
use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Misuse};
use crate::method::Cipher;

/// Memory for one secret. Dropping it zeroizes the bytes.
pub trait SecretBuffer: Send + Sync {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// The bytes, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl SecretBuffer for Zeroizing<Box<[u8]>> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// The secret of no bytes.
struct Nothing;

impl SecretBuffer for Nothing {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

/// Where secrets live.
#[derive(Clone, Copy, Debug)]
pub struct SecretPlace {
    /// Memory for this many bytes, all zero.
    pub allocate: fn(usize) -> Box<dyn SecretBuffer>,
}

static PLACE: OnceRef<'static, SecretPlace> = OnceRef::new();

/// From now on, secrets of this process live in `place`; those that exist stay where they are. The first call counts: `false` says that
/// another place was chosen before.
pub fn place_secrets(place: &'static SecretPlace) -> bool {
    PLACE.set(place).is_ok()
}

/// Secret bytes. Zeroized on drop; `Debug` shows only the length; comparison takes constant time; cloning is explicit.
///
/// ```
/// use stillkey_core::SecretBytes;
/// let secret = SecretBytes::new(vec![1, 2, 3]);
/// assert_eq!(format!("{secret:?}"), "SecretBytes(3 bytes)");
/// ```
pub struct SecretBytes(Box<dyn SecretBuffer>);

impl SecretBytes {
    /// Takes the bytes over. Where they can't stay, since secrets live elsewhere or there is spare capacity, they are copied and zeroized.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if PLACE.get().is_none() && !bytes.is_empty() && bytes.len() == bytes.capacity() {
            return Self(Box::new(Zeroizing::new(bytes.into_boxed_slice())));
        }
        let copy = Self::copied(&bytes);
        bytes.zeroize();
        copy
    }

    /// A copy of `bytes`; zeroizing the original stays with the caller.
    pub fn copied(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.bytes_mut().copy_from_slice(bytes);
        copy
    }

    /// Reads hexadecimal digits of either case, two for each byte, straight to where secrets live.
    ///
    /// # Errors
    /// [`NotHexadecimal`], which says where and not what. The number of digits is the caller's to check.
    pub fn from_hex(digits: &[u8]) -> Result<Self, NotHexadecimal> {
        let wrong = digits.iter().position(|digit| nibble(*digit).is_none());
        let missing = (digits.len() % 2 == 1).then_some(digits.len());
        if let Some(at) = wrong.or(missing) {
            return Err(NotHexadecimal { at });
        }
        let mut bytes = Self::zeroed(digits.len() / 2);
        for (byte, pair) in bytes.bytes_mut().iter_mut().zip(digits.chunks(2)) {
            let nibbles = pair.iter().filter_map(|digit| nibble(*digit));
            *byte = nibbles.fold(0, |byte, nibble| byte << 4 | nibble);
        }
        Ok(bytes)
    }

    pub(crate) fn zeroed(len: usize) -> Self {
        Self(match (len, PLACE.get()) {
            // A dictionary can be full of these: they take no memory.
            (0, _) => Box::new(Nothing),
            (_, Some(place)) => (place.allocate)(len),
            (_, None) => Box::new(Zeroizing::new(vec![0; len].into_boxed_slice())),
        })
    }

    /// `len` bytes from `rng`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails.
    pub fn random<R: TryCryptoRng + ?Sized>(rng: &mut R, len: usize) -> Result<Self, Error> {
        let mut bytes = Self::zeroed(len);
        crate::random::fill(rng, bytes.bytes_mut())?;
        Ok(bytes)
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.bytes().len()
    }

    /// Whether there are no bytes at all, as in the key of a plaintext entry.
    pub fn is_empty(&self) -> bool {
        self.0.bytes().is_empty()
    }

    /// A second copy, as protected as the first.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copied(self.0.bytes())
    }

    /// The bytes themselves: for a key schedule, a wrapping operation, or an export that its user asked for by name.
    pub fn danger_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// As [`SecretBytes::danger_bytes`], to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

/// Characters that are not bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHexadecimal {
    /// The first that is no digit, counted from 0; their number, where a digit is missing at the end.
    pub at: usize,
}

impl fmt::Display for NotHexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "character {} is not a hexadecimal digit; check it for a typo",
            self.at + 1
        )
    }
}

impl core::error::Error for NotHexadecimal {}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes().ct_eq(other.0.bytes()).into()
    }
}

impl Eq for SecretBytes {}

/// A key of the right length for its cipher; the only form in which a kernel takes one.
#[derive(Debug, PartialEq, Eq)]
pub struct DataKey {
    cipher: Cipher,
    bytes: SecretBytes,
}

impl DataKey {
    /// Pairs key bytes with their cipher.
    ///
    /// # Errors
    /// [`Misuse::KeyLength`] when `bytes` isn't [`Cipher::key_len`] long.
    pub fn new(cipher: Cipher, bytes: SecretBytes) -> Result<Self, Error> {
        if bytes.len() != cipher.key_len() {
            return Err(Misuse::KeyLength {
                cipher: cipher.method().name(),
                expected: cipher.key_len(),
                found: bytes.len(),
            }
            .into());
        }
        Ok(Self { cipher, bytes })
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails.
    pub fn random<R: TryCryptoRng + ?Sized>(cipher: Cipher, rng: &mut R) -> Result<Self, Error> {
        Ok(Self {
            cipher,
            bytes: SecretBytes::random(rng, cipher.key_len())?,
        })
    }

    /// Its cipher.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Its bytes, [`Cipher::key_len`] long.
    pub fn secret(&self) -> &SecretBytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn hexadecimal_digits_are_bytes_or_say_which_is_wrong() {
        let bytes = |digits: &str| {
            SecretBytes::from_hex(digits.as_bytes()).map(|bytes| bytes.danger_bytes().to_vec())
        };
        assert_eq!(bytes("0019afAF"), Ok(vec![0, 0x19, 0xaf, 0xaf]));
        assert_eq!(bytes(""), Ok(vec![]));
        for (digits, at) in [
            ("0g", 1),
            ("/0", 0),
            ("00:", 2),
            ("0@", 1),
            ("é0", 0),
            ("000", 3),
        ] {
            assert_eq!(bytes(digits), Err(NotHexadecimal { at }), "{digits}");
        }
    }

    #[test]
    fn debug_shows_no_key_byte() {
        let key = DataKey::new(Cipher::Aes128, SecretBytes::new(vec![0xab; 16])).unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn key_of_the_wrong_length_is_refused() {
        for cipher in Cipher::ALL {
            for len in (0..=40).filter(|len| *len != cipher.key_len()) {
                assert!(DataKey::new(cipher, SecretBytes::new(vec![0; len])).is_err());
            }
        }
    }
}
