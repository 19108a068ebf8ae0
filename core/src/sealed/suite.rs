//! The cipher suites of sealed objects: each names a cipher and, with it, the form of the body.

use core::fmt;
use core::str::FromStr;

use crate::cipher::Aead;
use crate::error::{Error, Misuse, Unsupported};
use crate::method::{Cipher, Method};

/// How the body of a sealed object is encrypted.
///
/// The SM4 suites are for those who have to use SM4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Suite {
    /// AES-128-CTR stream, no integrity.
    Aes128Ctr,
    /// AES-192-CTR stream, no integrity.
    Aes192Ctr,
    /// AES-256-CTR stream, no integrity.
    Aes256Ctr,
    /// SM4-CTR stream, no integrity.
    Sm4Ctr,
    /// Chunks authenticated with AES-256-GCM. The default.
    #[default]
    Aes256Gcm,
    /// Chunks authenticated with SM4-GCM.
    Sm4Gcm,
}

/// The cipher behind a suite, by the form of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuiteBody {
    /// A counter-mode stream.
    Stream(Cipher),
    /// Authenticated chunks.
    Chunked(Aead),
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 6] = [
        Self::Aes128Ctr,
        Self::Aes192Ctr,
        Self::Aes256Ctr,
        Self::Sm4Ctr,
        Self::Aes256Gcm,
        Self::Sm4Gcm,
    ];

    /// Its name: `aes128-ctr`, …, `aes256-gcm`, `sm4-gcm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Ctr => Method::Aes128Ctr.name(),
            Self::Aes192Ctr => Method::Aes192Ctr.name(),
            Self::Aes256Ctr => Method::Aes256Ctr.name(),
            Self::Sm4Ctr => Method::Sm4Ctr.name(),
            Self::Aes256Gcm => "aes256-gcm",
            Self::Sm4Gcm => "sm4-gcm",
        }
    }

    /// Its number in the header. Streams have the number of their [`Method`]; chunked suites have 16 more than their cipher's stream.
    pub const fn number(self) -> u8 {
        match self {
            Self::Aes128Ctr => 2,
            Self::Aes192Ctr => 3,
            Self::Aes256Ctr => 4,
            Self::Sm4Ctr => 5,
            Self::Aes256Gcm => 0x14,
            Self::Sm4Gcm => 0x15,
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Error> {
        let suite = Self::ALL.into_iter().find(|suite| suite.number() == number);
        suite.ok_or_else(|| Unsupported::SealedSuite(number).into())
    }

    /// The cipher and the form of the body.
    pub const fn body(self) -> SuiteBody {
        match self {
            Self::Aes128Ctr => SuiteBody::Stream(Cipher::Aes128),
            Self::Aes192Ctr => SuiteBody::Stream(Cipher::Aes192),
            Self::Aes256Ctr => SuiteBody::Stream(Cipher::Aes256),
            Self::Sm4Ctr => SuiteBody::Stream(Cipher::Sm4),
            Self::Aes256Gcm => SuiteBody::Chunked(Aead::Aes256Gcm),
            Self::Sm4Gcm => SuiteBody::Chunked(Aead::Sm4Gcm),
        }
    }

    /// Whether the body is made of authenticated chunks.
    pub const fn is_chunked(self) -> bool {
        matches!(self.body(), SuiteBody::Chunked(_))
    }

    /// Length of the body key in bytes.
    pub const fn key_len(self) -> usize {
        match self.body() {
            SuiteBody::Stream(cipher) => cipher.key_len(),
            SuiteBody::Chunked(aead) => aead.key_len(),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Suite {
    type Err = Error;

    /// Accepts the names of [`Suite::name`] in any case.
    fn from_str(name: &str) -> Result<Self, Error> {
        let suite = Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name));
        suite.ok_or_else(|| Misuse::UnknownSuite(name.into()).into())
    }
}
