//! The file of a store, `kms.state`: a header that anybody can read, and a [`Stored`] sealed under
//! the root key.
//!
//! ```text
//! off   len  field
//! 0     8    magic "STLKMS" 00 01: the last byte is the format's version
//! 8     8    generation, u64be: one more with each change
//! 16    2    length d of the root key's description, u16be
//! 18    d    the description: kind 1, store id 16, check 8, what the kind has, CRC-32 of all before it 4
//! 18+d  12   nonce
//! 30+d  …    ciphertext, and the 16-byte tag
//! ```
//!
//! The key is HKDF-SHA256(root key, salt = store id, "stillkey/kms/v1/snapshot"), the cipher
//! AES-256-GCM; everything before the nonce is authenticated. `check` is the beginning of
//! HKDF-SHA256(root key, salt = store id, "stillkey/kms/v1/root-key-check"): it tells a wrong root key
//! from damage.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::stored::Stored;
use crate::error::{Error, Misuse};
use crate::format::cursor::Cursor;
use crate::gcm;
use crate::master::WrappedKey;
use crate::random::RandomSource;
use crate::secret::SecretBytes;
use crate::stack::wiped;

const MAGIC: &[u8; 6] = b"STLKMS";
const FORMAT: [u8; 2] = [0, 1];
const NONCE_LEN: usize = 12;
/// Bytes before the description.
const FIXED_LEN: usize = 18;

/// How the root key is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKeyKind {
    /// 32 bytes that somebody keeps: in a file, for example.
    Raw,
    /// Argon2id of a passphrase. Source: RFC 9106.
    Passphrase {
        /// Random.
        salt: [u8; 16],
        /// In KiB.
        memory: u32,
        /// Over the memory.
        passes: u32,
        /// Of the memory.
        lanes: u32,
    },
    /// 32 random bytes that a key service has wrapped.
    Service {
        /// As [`KeyService::provider`](crate::KeyService::provider).
        provider: u8,
        /// As the service gave it.
        wrapped: WrappedKey,
    },
}

/// What stands in a store's header about its root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKeyDescription {
    /// Of the store: random, for good.
    pub store: [u8; 16],
    /// How the root key is to be had.
    pub kind: RootKeyKind,
}

/// The file of a store, read as far as it goes without the root key.
#[derive(Clone, Debug)]
pub struct SealedState<'a> {
    generation: u64,
    description: RootKeyDescription,
    check: [u8; 8],
    header: &'a [u8],
    nonce: &'a [u8],
    sealed: &'a [u8],
}

/// Why a store's file can't be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedStateError {
    /// It is no such file.
    NotAStore,
    /// A later release has made it.
    LaterFormat {
        /// The format's version.
        found: u16,
    },
    /// It is damaged.
    Damaged {
        /// What is wrong, and where.
        finding: String,
    },
    /// The root key given isn't the store's.
    WrongRootKey,
}

impl fmt::Display for SealedStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAStore => {
                f.write_str("not the state of a KMS, which begins with STLKMS; check the path")
            }
            Self::LaterFormat { found } => write!(
                f,
                "the state of a KMS in format {found}, and this release reads format 1; use a \
                 later release"
            ),
            Self::Damaged { finding } => write!(
                f,
                "the state of the KMS is damaged: {finding}; kms.state.previous beside it has the \
                 state before the last change"
            ),
            Self::WrongRootKey => f.write_str(
                "the root key isn't the one that the state of the KMS is sealed under; give the \
                 right one",
            ),
        }
    }
}

impl core::error::Error for SealedStateError {}

fn damaged(finding: impl ToString) -> SealedStateError {
    SealedStateError::Damaged {
        finding: finding.to_string(),
    }
}

/// Seals what a store keeps, as its file.
///
/// # Errors
/// [`Misuse::MasterKeyLength`] unless the root key has 32 bytes; [`Misuse::FieldTooLong`] for a wrapped
/// root key that doesn't fit; [`Error::Unavailable`] when `random` fails.
pub fn seal(
    stored: &Stored,
    generation: u64,
    description: &RootKeyDescription,
    root_key: &SecretBytes,
    random: &mut dyn RandomSource,
) -> Result<Vec<u8>, Error> {
    if root_key.len() != 32 {
        let found = root_key.len();
        return Err(Misuse::MasterKeyLength { found }.into());
    }
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce)?;
    let header = header(generation, description, root_key)?;
    let mut plaintext = stored.to_bytes(0).danger_into_bytes();
    let key = derived(root_key, description, b"stillkey/kms/v1/snapshot");
    let tag = gcm::seal(&key, &nonce, &header, &mut plaintext)
        .map_err(|_| Misuse::FieldTooLong("the state of the KMS"))?;
    // Only ciphertext from here on.
    let mut file = Vec::with_capacity(header.len() + NONCE_LEN + plaintext.len() + tag.len());
    for part in [&header[..], &nonce, &plaintext, &tag] {
        file.extend_from_slice(part);
    }
    Ok(file)
}

fn header(
    generation: u64,
    description: &RootKeyDescription,
    root_key: &SecretBytes,
) -> Result<Vec<u8>, Error> {
    const TOO_LONG: Misuse = Misuse::FieldTooLong("the wrapped root key");
    let check = check(root_key, description);
    let mut about = Vec::new();
    let kind = match &description.kind {
        RootKeyKind::Raw => 1,
        RootKeyKind::Passphrase { .. } => 2,
        RootKeyKind::Service { .. } => 3,
    };
    about.push(kind);
    about.extend(description.store);
    about.extend(check);
    match &description.kind {
        RootKeyKind::Raw => {}
        RootKeyKind::Passphrase {
            salt,
            memory,
            passes,
            lanes,
        } => {
            about.extend(salt);
            for cost in [memory, passes, lanes] {
                about.extend(cost.to_be_bytes());
            }
        }
        RootKeyKind::Service { provider, wrapped } => {
            about.push(*provider);
            let (reference, version) = (&wrapped.reference, &wrapped.version);
            for part in [reference.as_bytes(), version.as_bytes(), &wrapped.blob] {
                let len = u16::try_from(part.len()).map_err(|_| TOO_LONG)?;
                about.extend(len.to_be_bytes());
                about.extend_from_slice(part);
            }
        }
    }
    let len = u16::try_from(about.len() + 4).map_err(|_| TOO_LONG)?;
    let mut header = Vec::with_capacity(FIXED_LEN + usize::from(len));
    header.extend(MAGIC);
    header.extend(FORMAT);
    header.extend(generation.to_be_bytes());
    header.extend(len.to_be_bytes());
    header.extend(about);
    header.extend(crc32fast::hash(&header).to_be_bytes());
    Ok(header)
}

impl<'a> SealedState<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`SealedStateError`], but for [`SealedStateError::WrongRootKey`].
    pub fn parse(file: &'a [u8]) -> Result<Self, SealedStateError> {
        let mut cursor = Cursor::new(file);
        if cursor.take(MAGIC.len()) != Some(MAGIC) {
            return Err(SealedStateError::NotAStore);
        }
        let cut = || damaged("the file is cut off in its header");
        let format = cursor.array().ok_or_else(cut)?;
        if format != FORMAT {
            let found = u16::from_be_bytes(format);
            return Err(SealedStateError::LaterFormat { found });
        }
        let generation = cursor.u64().ok_or_else(cut)?;
        let len = cursor.u16().ok_or_else(cut)?;
        let about = cursor.take(len.into()).ok_or_else(cut)?;
        let (about, stored) = about.split_last_chunk().ok_or_else(cut)?;
        let header = file.get(..cursor.at()).ok_or_else(cut)?;
        let covered = header.get(..header.len() - 4).ok_or_else(cut)?;
        let (stored, computed) = (u32::from_be_bytes(*stored), crc32fast::hash(covered));
        if stored != computed {
            return Err(damaged(alloc::format!(
                "the header's checksum is {stored:08x}, computed {computed:08x}"
            )));
        }
        let (description, check) = description(about)?;
        let nonce = cursor.take(NONCE_LEN).ok_or_else(cut)?;
        Ok(Self {
            generation,
            description,
            check,
            header,
            nonce,
            sealed: cursor.rest(),
        })
    }

    /// One more with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How the root key is to be had.
    pub fn description(&self) -> &RootKeyDescription {
        &self.description
    }

    /// What was sealed: for [`Stored::from_bytes`].
    ///
    /// # Errors
    /// [`SealedStateError::WrongRootKey`], [`SealedStateError::Damaged`].
    pub fn open(&self, root_key: &SecretBytes) -> Result<Zeroizing<Vec<u8>>, SealedStateError> {
        let check = check(root_key, &self.description);
        if root_key.len() != 32 || !bool::from(check.ct_eq(&self.check)) {
            return Err(SealedStateError::WrongRootKey);
        }
        let (sealed, tag) = self
            .sealed
            .split_last_chunk()
            .ok_or_else(|| damaged("the file is cut off in its content"))?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let key = derived(root_key, &self.description, b"stillkey/kms/v1/snapshot");
        gcm::open(&key, self.nonce, self.header, &mut content, tag)
            .map_err(|_| damaged("its content doesn't authenticate"))?;
        Ok(content)
    }
}

fn description(about: &[u8]) -> Result<(RootKeyDescription, [u8; 8]), SealedStateError> {
    let wrong = || damaged("the description of the root key has another length than its kind");
    let mut cursor = Cursor::new(about);
    let kind = cursor.u8().ok_or_else(wrong)?;
    let store = cursor.array().ok_or_else(wrong)?;
    let check = cursor.array().ok_or_else(wrong)?;
    let kind = match kind {
        1 => RootKeyKind::Raw,
        2 => RootKeyKind::Passphrase {
            salt: cursor.array().ok_or_else(wrong)?,
            memory: cursor.u32().ok_or_else(wrong)?,
            passes: cursor.u32().ok_or_else(wrong)?,
            lanes: cursor.u32().ok_or_else(wrong)?,
        },
        3 => {
            let provider = cursor.u8().ok_or_else(wrong)?;
            let mut part = || {
                let len = cursor.u16().ok_or_else(wrong)?;
                cursor.take(len.into()).ok_or_else(wrong)
            };
            let text = |bytes: &[u8]| {
                let text = core::str::from_utf8(bytes).map(String::from);
                text.map_err(|_| damaged("the key service's reference is not UTF-8"))
            };
            let wrapped = WrappedKey {
                reference: text(part()?)?,
                version: text(part()?)?,
                blob: part()?.to_vec(),
            };
            RootKeyKind::Service { provider, wrapped }
        }
        other => {
            return Err(damaged(alloc::format!(
                "the root key is of kind {other}, which a later release may know"
            )));
        }
    };
    if !cursor.rest().is_empty() {
        return Err(wrong());
    }
    Ok((RootKeyDescription { store, kind }, check))
}

fn check(root_key: &SecretBytes, description: &RootKeyDescription) -> [u8; 8] {
    let derived = derived(root_key, description, b"stillkey/kms/v1/root-key-check");
    let bytes = derived.danger_bytes().first_chunk();
    bytes.copied().unwrap_or_default()
}

fn derived(root_key: &SecretBytes, description: &RootKeyDescription, info: &[u8]) -> SecretBytes {
    let mut key = SecretBytes::zeroed(32);
    let expanded = wiped(|| {
        Hkdf::<Sha256>::new(Some(&description.store), root_key.danger_bytes())
            .expand(info, key.bytes_mut())
    });
    // HKDF gives up to 8,160 bytes.
    debug_assert!(expanded.is_ok());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::alias::Namespace;
    use crate::kms::id::Id;
    use crate::kms::state::State;
    use crate::kms::stored::StoredExtra;
    use crate::testing::TestRng;
    use alloc::vec;

    fn stored() -> Stored {
        let namespace = Namespace::new("local", "0").unwrap();
        Stored {
            keeper_key: SecretBytes::new(vec![1; 32]),
            instance: Id::from_bytes([2; 16]),
            state: State::new(namespace, SecretBytes::new(vec![3; 32])).unwrap(),
            unlogged: Vec::new(),
            unknown: StoredExtra::default(),
        }
    }

    fn kinds() -> [RootKeyKind; 3] {
        [
            RootKeyKind::Raw,
            RootKeyKind::Passphrase {
                salt: [4; 16],
                memory: 65_536,
                passes: 3,
                lanes: 1,
            },
            RootKeyKind::Service {
                provider: 3,
                wrapped: WrappedKey {
                    reference: "arn".into(),
                    version: String::new(),
                    blob: vec![5; 300],
                },
            },
        ]
    }

    fn sealed(kind: RootKeyKind) -> Vec<u8> {
        let store = [9; 16];
        let description = RootKeyDescription { store, kind };
        let root_key = SecretBytes::new(vec![7; 32]);
        seal(
            &stored(),
            42,
            &description,
            &root_key,
            &mut TestRng::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_file_says_how_its_root_key_is_to_be_had_and_opens_with_it() {
        for kind in kinds() {
            let file = sealed(kind.clone());
            let state = SealedState::parse(&file).unwrap();
            assert_eq!((state.generation(), &state.description().kind), (42, &kind));
            let content = state.open(&SecretBytes::new(vec![7; 32])).unwrap();
            assert_eq!(&content[..], stored().to_bytes(0).danger_bytes());
        }
    }

    #[test]
    fn a_wrong_root_key_is_told_from_damage_wherever_it_is() {
        for kind in kinds() {
            let file = sealed(kind);
            let open = |file: &[u8], byte| {
                SealedState::parse(file)?
                    .open(&SecretBytes::new(vec![byte; 32]))
                    .map(drop)
            };
            assert_eq!(open(&file, 8), Err(SealedStateError::WrongRootKey));
            for at in 0..file.len() {
                let mut changed = file.clone();
                changed[at] ^= 0x10;
                let error = open(&changed, 7).unwrap_err();
                match at {
                    0..6 => assert_eq!(error, SealedStateError::NotAStore),
                    6..8 => assert!(matches!(error, SealedStateError::LaterFormat { .. })),
                    _ => assert!(matches!(error, SealedStateError::Damaged { .. }), "{at}"),
                }
                assert!(open(&file[..at], 7).is_err());
            }
        }
    }

    #[test]
    fn nothing_secret_stands_in_a_file_as_it_is() {
        let file = sealed(RootKeyKind::Raw);
        for byte in [1, 3, 7] {
            assert!(!file.windows(8).any(|window| window == [byte; 8]));
        }
    }
}
