//! Which cipher a file is encrypted with: the names, wire numbers and key lengths that TiKV and TiFlash use.
//!
//! [`Method`] is what metadata says, plaintext included. [`Cipher`] is what a kernel runs, so "plaintext" cannot reach one.

use core::fmt;
use core::str::FromStr;

use crate::error::{Error, Misuse, Unsupported};

/// How the bytes of a file are encrypted, as recorded in dictionaries and configuration.
///
/// ```
/// use stillkey_core::Method;
/// let method: Method = "AES256-CTR".parse()?;
/// assert_eq!((method.name(), method.number(), method.key_len()), ("aes256-ctr", 4, 32));
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// No encryption; the file's bytes are its content.
    Plaintext,
    /// AES-128 in counter mode.
    Aes128Ctr,
    /// AES-192 in counter mode.
    Aes192Ctr,
    /// AES-256 in counter mode.
    Aes256Ctr,
    /// SM4 (GB/T 32907-2016) in counter mode.
    Sm4Ctr,
}

impl Method {
    /// Every method, in the order of their wire numbers.
    pub const ALL: [Self; 5] = [
        Self::Plaintext,
        Self::Aes128Ctr,
        Self::Aes192Ctr,
        Self::Aes256Ctr,
        Self::Sm4Ctr,
    ];

    /// The name used in configuration files and output: `plaintext`, `aes128-ctr`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Aes128Ctr => "aes128-ctr",
            Self::Aes192Ctr => "aes192-ctr",
            Self::Aes256Ctr => "aes256-ctr",
            Self::Sm4Ctr => "sm4-ctr",
        }
    }

    /// The number in `encryptionpb.EncryptionMethod`, 1 to 5.
    pub const fn number(self) -> i32 {
        match self {
            Self::Plaintext => 1,
            Self::Aes128Ctr => 2,
            Self::Aes192Ctr => 3,
            Self::Aes256Ctr => 4,
            Self::Sm4Ctr => 5,
        }
    }

    /// The method with this number in `encryptionpb.EncryptionMethod`; `None` for 0 (unknown) and for numbers of the future.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.number() == number)
    }

    /// Length of its data key in bytes; 0 for plaintext.
    pub const fn key_len(self) -> usize {
        match self.cipher() {
            Some(cipher) => cipher.key_len(),
            None => 0,
        }
    }

    /// The cipher to run; `None` for plaintext.
    pub const fn cipher(self) -> Option<Cipher> {
        match self {
            Self::Plaintext => None,
            Self::Aes128Ctr => Some(Cipher::Aes128),
            Self::Aes192Ctr => Some(Cipher::Aes192),
            Self::Aes256Ctr => Some(Cipher::Aes256),
            Self::Sm4Ctr => Some(Cipher::Sm4),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    /// Accepts the names of [`Method::name`] in any case.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|method| method.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Misuse::UnknownMethod(name.into()).into())
    }
}

/// A method number as it stands in a dictionary, which may be 0 or one of the future; kept as it is when rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodNumber(pub i32);

impl MethodNumber {
    /// The method.
    ///
    /// # Errors
    /// [`Unsupported::Method`] when no known method has this number.
    pub fn known(self) -> Result<Method, Error> {
        Method::from_number(self.0).ok_or_else(|| Unsupported::Method(self.0).into())
    }
}

impl From<Method> for MethodNumber {
    fn from(method: Method) -> Self {
        Self(method.number())
    }
}

impl fmt::Display for MethodNumber {
    /// The method's name, or `unknown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Method::from_number(self.0).map_or("unknown", Method::name))
    }
}

/// A block cipher with 16-byte blocks that counter mode runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES with a 16-byte key (FIPS 197).
    Aes128,
    /// AES with a 24-byte key.
    Aes192,
    /// AES with a 32-byte key.
    Aes256,
    /// SM4 with its 16-byte key (GB/T 32907-2016).
    Sm4,
}

impl Cipher {
    /// Every cipher.
    pub const ALL: [Self; 4] = [Self::Aes128, Self::Aes192, Self::Aes256, Self::Sm4];

    /// Key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 | Self::Sm4 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The method that is this cipher in counter mode.
    pub const fn method(self) -> Method {
        match self {
            Self::Aes128 => Method::Aes128Ctr,
            Self::Aes192 => Method::Aes192Ctr,
            Self::Aes256 => Method::Aes256Ctr,
            Self::Sm4 => Method::Sm4Ctr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_method() {
        for method in Method::ALL {
            assert_eq!(method.name().parse(), Ok(method));
            assert_eq!(Method::from_number(method.number()), Some(method));
            assert_eq!(
                method.cipher().map(Cipher::method),
                (method != Method::Plaintext).then_some(method)
            );
        }
        assert_eq!(Method::from_number(0), None);
        assert_eq!(Method::from_number(6), None);
        assert!("aes256-gcm".parse::<Method>().is_err());
    }
}
