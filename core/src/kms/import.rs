//! The import of key material: who may import what, proven by a token, and that it is the same
//! material each time, known by a fingerprint.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::id::Id;
use super::material::KeptMaterial;
use super::time::Time;
use crate::format::protobuf::UnknownFields;
use crate::secret::SecretBytes;
use crate::stack::wiped;

/// Seconds for which a token is good.
pub const TOKEN_LIFE: u64 = 86_400;

/// Tokens of a key that are kept: when more are made, the oldest gives way.
pub const MAX_TOKENS: usize = 16;

/// How imported material is encrypted under the 2,048-bit RSA key of GetParametersForImport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrappingAlgorithm {
    /// `RSAES_OAEP_SHA_1`: hash and mask generation with SHA-1, no label.
    OaepSha1,
    /// `RSAES_OAEP_SHA_256`: hash and mask generation with SHA-256, no label.
    OaepSha256,
    /// `RSAES_PKCS1_V1_5`.
    Pkcs1V15,
}

impl WrappingAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::OaepSha1, Self::OaepSha256, Self::Pkcs1V15];

    /// As requests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OaepSha1 => "RSAES_OAEP_SHA_1",
            Self::OaepSha256 => "RSAES_OAEP_SHA_256",
            Self::Pkcs1V15 => "RSAES_PKCS1_V1_5",
        }
    }

    /// As tokens and snapshots write it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::OaepSha1 => 1,
            Self::OaepSha256 => 2,
            Self::Pkcs1V15 => 3,
        }
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| u64::from(algorithm.number()) == number)
    }
}

/// A name that is none of a wrapping algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAWrappingAlgorithm;

impl fmt::Display for NotAWrappingAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a wrapping algorithm is RSAES_OAEP_SHA_256, RSAES_OAEP_SHA_1 or RSAES_PKCS1_V1_5",
        )
    }
}

impl core::error::Error for NotAWrappingAlgorithm {}

impl FromStr for WrappingAlgorithm {
    type Err = NotAWrappingAlgorithm;

    fn from_str(text: &str) -> Result<Self, NotAWrappingAlgorithm> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.name() == text)
            .ok_or(NotAWrappingAlgorithm)
    }
}

/// What the KMS keeps of an answer to GetParametersForImport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// The first half of its token.
    pub(super) id: Id,
    pub(super) algorithm: WrappingAlgorithm,
    pub(super) expires: Time,
    /// Kept under the id of the token in place of a version's.
    pub(super) private_key: Arc<KeptMaterial>,
    pub(super) unknown: UnknownFields,
}

const TOKEN_LEN: usize = 48;

impl Import {
    /// The token: its id, and proof that this KMS made it for this key, algorithm and time.
    pub(super) fn token(&self, store_key: &SecretBytes, key: Id) -> Vec<u8> {
        let mut token = Vec::with_capacity(TOKEN_LEN);
        token.extend(self.id.as_bytes());
        token.extend(token_mac(store_key, self, key));
        token
    }

    /// The import of this key that a token belongs to.
    pub(super) fn find<'a>(
        imports: &'a [Self],
        token: &[u8],
        store_key: &SecretBytes,
        key: Id,
    ) -> Option<&'a Self> {
        let (id, mac) = token.split_at_checked(16)?;
        let import = imports.iter().find(|import| import.id.as_bytes() == id)?;
        let expected = token_mac(store_key, import, key);
        bool::from(expected.as_slice().ct_eq(mac)).then_some(import)
    }
}

fn token_mac(store_key: &SecretBytes, import: &Import, key: Id) -> [u8; 32] {
    mac(
        store_key,
        &[
            b"stillkey/kms/v1/import-token",
            import.id.as_bytes(),
            key.as_bytes(),
            &[import.algorithm.number()],
            &import.expires.unix().to_be_bytes(),
        ],
    )
}

/// Tells imported material without telling what it is: only the holder of the store key can try.
pub(super) fn fingerprint(store_key: &SecretBytes, key: Id, material: &SecretBytes) -> [u8; 32] {
    mac(
        store_key,
        &[
            b"stillkey/kms/v1/material",
            key.as_bytes(),
            material.danger_bytes(),
        ],
    )
}

/// HMAC-SHA256 over the parts, one behind the other.
pub(super) fn mac(key: &SecretBytes, parts: &[&[u8]]) -> [u8; 32] {
    wiped(|| {
        // HMAC takes keys of any length; if it ever didn't, nothing would compare as equal.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.danger_bytes()) else {
            return [0; 32];
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_reads_back_by_name_and_number() {
        for algorithm in WrappingAlgorithm::ALL.iter().copied() {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let number = u64::from(algorithm.number());
            assert_eq!(WrappingAlgorithm::from_number(number), Some(algorithm));
        }
        assert!("RSAES_OAEP_SHA_512".parse::<WrappingAlgorithm>().is_err());
        assert_eq!(WrappingAlgorithm::from_number(0), None);
        assert_eq!(WrappingAlgorithm::from_number(257), None);
    }

    /// Made with Python's `cryptography`; see tests/vectors/kms.
    #[test]
    fn token_and_fingerprint_are_those_of_another_implementation() {
        let store_key = SecretBytes::new(alloc::vec![0x11; 32]);
        let key: Id = "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap();
        let import = Import {
            id: Id::from_bytes(core::array::from_fn(|at| 0x20 | u8::try_from(at).unwrap())),
            algorithm: WrappingAlgorithm::OaepSha256,
            expires: Time::from_unix(1_798_765_445).unwrap(),
            private_key: Arc::new(KeptMaterial::new(Vec::new(), None)),
            unknown: UnknownFields::default(),
        };
        let token = "202122232425262728292a2b2c2d2e2f\
                     7cf5cfe53fd22a17dc30384b312146587ad3da8d5ea4d46ce2deccd8a23f55da";
        assert_eq!(hex(&import.token(&store_key, key)), token);
        let material = SecretBytes::new((0..32).collect());
        assert_eq!(
            hex(&fingerprint(&store_key, key, &material)),
            "f241e0d2de9fea54a00f6cdea553d466021302a456121ed7f52865710d361d04"
        );
    }

    fn hex(bytes: &[u8]) -> alloc::string::String {
        bytes
            .iter()
            .map(|byte| alloc::format!("{byte:02x}"))
            .collect()
    }
}
