//! What can go wrong, kept apart by what a caller does about it: another key, a backup, a newer version, a fixed call, a retry.

use alloc::string::String;
use core::fmt;

use crate::method::Method;
use crate::sealed::Suite;

/// Everything that fails in this crate.
///
/// The variants separate causes that need different actions; each message says what was found, where, what was expected
/// and what to do next. No message holds key material or plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The master key isn't the one that sealed the data. TiKV falls back to the previous master key exactly here.
    WrongMasterKey(WrongMasterKey),
    /// The data names another *kind* of master key than the one given (plaintext, another vendor). TiKV doesn't fall back here.
    OtherMasterKeyKind {
        /// The kind given.
        expected: String,
        /// The kind that the data names.
        found: String,
    },
    /// The encryption context presented isn't the one that the object was sealed with.
    WrongContext,
    /// The bytes are not what was once written.
    Damaged(Damage),
    /// Well-formed, but of a version or kind that this release doesn't know.
    Unsupported(Unsupported),
    /// A data key or file that isn't there.
    NotFound(NotFound),
    /// The caller asked for something impossible.
    Misuse(Misuse),
    /// A key service or random number generator could not answer; the data is not to blame. Try again.
    Unavailable(String),
}

/// Why a master key doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrongMasterKey {
    /// The authentication tag doesn't verify under this key.
    Tag,
    /// The data is sealed with this method, but the master key given is `plaintext`, which opens only unsealed data.
    Sealed {
        /// The method that the data names, for example `aes256-gcm`.
        method: String,
    },
    /// The data was not sealed through a key service, but the master key given is one.
    NoKeyService,
    /// The key service says that the wrapped key is not one of this master key's.
    Refused(String),
    /// None of the object's wrapped keys belongs to a master key given.
    NoRecipient {
        /// The master keys that would open it, by reference, comma-separated; only the first ones of many.
        recipients: String,
    },
}

/// Where bytes are damaged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The part of the file.
    pub part: Part,
    /// Where the damaged item starts: bytes from the start of the file.
    pub at: u64,
    /// What is wrong with it.
    pub finding: Finding,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The 16-byte header of a dictionary.
    Header,
    /// The content behind a dictionary's header.
    Content,
    /// A record of the file dictionary's log, counted from 1.
    Record(u64),
    /// The sealed message inside a key dictionary or backup.
    Envelope,
    /// A key dictionary after decryption; offsets count from the start of its plaintext.
    KeyDictionary,
    /// The header of a sealed object.
    SealedHeader,
    /// A chunk of a sealed object's body, counted from 0.
    Chunk(u64),
}

/// What is wrong with a damaged item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Fewer bytes than the item needs.
    Short {
        /// Bytes needed.
        needed: u64,
        /// Bytes found.
        found: u64,
    },
    /// The declared length isn't the length found.
    Length {
        /// Length that the header declares.
        declared: u64,
        /// Length found.
        found: u64,
    },
    /// A CRC-32 that doesn't fit.
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed over what was read.
        computed: u32,
    },
    /// Not a protobuf message of the expected shape.
    Protobuf(&'static str),
    /// A file name that is not UTF-8.
    NameNotUtf8,
    /// A record type other than 1 (insert) and 2 (remove).
    RecordType(u8),
    /// A record that removes a name which isn't in the dictionary.
    RemoveOfAbsent {
        /// The name.
        name: String,
    },
    /// An insert record without file information, or a remove record with some: its type byte, which no checksum covers, was changed.
    TypeMismatch {
        /// The type byte found.
        found: u8,
    },
    /// The record's lengths reach past the end of the file, or its checksum fails at the very end, yet an intact record lies behind its start:
    /// not a torn append but damage in the middle.
    IntactRecordInside {
        /// Where the intact record starts.
        at: u64,
    },
    /// As [`Finding::IntactRecordInside`], but with so many possible records behind it that they were not all tried; no torn append looks like that.
    TornOrDamaged,
    /// What had been synced is missing or torn.
    SyncedBytesLost {
        /// Up to where the file had been synced: bytes from its start.
        synced: u64,
    },
    /// An envelope without this metadata entry.
    MetadataMissing(&'static str),
    /// An envelope's metadata entry of the wrong length.
    MetadataLength {
        /// The entry.
        name: &'static str,
        /// The lengths that are possible.
        expected: &'static str,
        /// Bytes found.
        found: usize,
    },
    /// An unwrapped key of the wrong length.
    UnwrappedKeyLength {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// An authentication tag doesn't verify, although the key is known to be right.
    Tag,
    /// The header's key commitment or authentication code doesn't fit the data key: the header was changed.
    HeaderForged,
    /// A field with a value that this version never writes.
    Field(&'static str),
    /// The body ends before its final chunk.
    Truncated,
    /// Bytes follow the final chunk.
    Extended,
}

/// What this release can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// A dictionary header with this version byte.
    DictionaryVersion(u8),
    /// A sealed object with this version byte.
    SealedVersion(u8),
    /// A sealed object that uses this suite number.
    SealedSuite(u8),
    /// A sealed object with these flag bits.
    SealedFlags(u8),
    /// An encryption method number.
    Method(i32),
    /// A sealing method named in an envelope.
    SealingMethod(String),
    /// Not a sealed object: the magic bytes are absent.
    NotSealed,
}

/// What is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotFound {
    /// A data key that a file refers to.
    DataKey(u64),
    /// The current data key, which the key dictionary names but doesn't hold.
    CurrentDataKey {
        /// The id that it names.
        id: u64,
        /// Number of keys that it does hold.
        keys: usize,
    },
    /// A file without an entry in the file dictionary.
    File(String),
}

/// A call that can't be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// No method has this name.
    UnknownMethod(String),
    /// No suite of sealed objects has this name.
    UnknownSuite(String),
    /// A key that doesn't fit its cipher.
    KeyLength {
        /// The cipher in its mode, for example `aes256-ctr`.
        cipher: &'static str,
        /// Bytes that it needs.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A master key that isn't 32 bytes long.
    MasterKeyLength {
        /// Bytes given.
        found: usize,
    },
    /// An initialization vector that isn't 16 bytes long.
    IvLength {
        /// Bytes given.
        found: usize,
    },
    /// `offset + len` passes 2^64 − 1.
    PositionOverflow {
        /// Bytes from the start of the file.
        offset: u64,
        /// Length of the data.
        len: usize,
    },
    /// Source and destination differ in length.
    UnequalLengths {
        /// Bytes in the source.
        source: usize,
        /// Bytes in the destination.
        destination: usize,
    },
    /// A file name longer than a log record can hold.
    NameTooLong {
        /// Bytes in the name.
        len: usize,
    },
    /// File information longer than a log record can hold.
    InfoTooLong {
        /// Bytes in its encoding.
        len: usize,
    },
    /// A plaintext file has no cipher stream.
    PlaintextHasNoStream,
    /// Ten random key ids in a row were taken: the random number generator is broken.
    KeyIdsCollide,
    /// A sealed object needs 1 to 64 master keys.
    RecipientCount(usize),
    /// `plaintext` protects nothing, so it can't seal an object.
    PlaintextRecipient,
    /// A key service whose [`provider`](crate::KeyService::provider) is 0, which stands for nothing, or 1, which stands for raw master keys.
    ReservedProvider(u8),
    /// A chunk size outside 4 KiB to 16 MiB.
    ChunkSize(u8),
    /// An object longer than 2^32 chunks.
    TooManyChunks,
    /// A chunk that isn't of the object's chunk size.
    ChunkLength {
        /// Bytes expected, at most.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// An encryption context, key reference or wrapped key that doesn't fit its length field.
    FieldTooLong(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongMasterKey(why) => write!(f, "wrong master key: {why}"),
            Self::OtherMasterKeyKind { expected, found } => write!(
                f,
                "wrong kind of master key: the data is sealed under {found}, the key given is {expected}; give a master key of that kind"
            ),
            Self::WrongContext => f.write_str(
                "wrong encryption context: it isn't the one that the object was sealed with; give every key=value pair exactly as then",
            ),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Unsupported(what) => what.fmt(f),
            Self::NotFound(what) => what.fmt(f),
            Self::Misuse(what) => what.fmt(f),
            Self::Unavailable(why) => write!(f, "{why}; the data is not to blame: try again"),
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// The same error seen from a file in which `part` stands `by` bytes in.
    pub(crate) fn moved(mut self, part: Part, by: u64) -> Self {
        if let Self::Damaged(damage) = &mut self
            && damage.part == part
        {
            damage.at = damage.at.saturating_add(by);
        }
        self
    }
}

impl fmt::Display for WrongMasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag => f.write_str("the authentication tag doesn't verify under it; give the master key that was in use when the data was last sealed"),
            Self::Sealed { method } => write!(f, "the data is sealed with {method:?} and the key given is plaintext; give the key that sealed it"),
            Self::NoKeyService => f.write_str("the data was not sealed through a key service; give the master key file or plaintext that it was sealed with"),
            Self::Refused(why) => write!(f, "the key service refused the wrapped key ({why}); check which of its keys sealed the data"),
            Self::NoRecipient { recipients } => {
                write!(f, "the object is sealed for {recipients} and for none of the keys given; give one of those")
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.part, self.at, self.finding)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Content => f.write_str("content"),
            Self::Record(number) => write!(f, "record {number}"),
            Self::Envelope => f.write_str("envelope"),
            Self::KeyDictionary => f.write_str("decrypted key dictionary"),
            Self::SealedHeader => f.write_str("sealed object's header"),
            Self::Chunk(number) => write!(f, "chunk {number}"),
        }
    }
}

/// The next step for damage that no tool can undo.
const RESTORE: &str = "restore the file from a backup";
/// The next step for damage inside the log.
const LOG_DAMAGED: &str = "the log is damaged, not torn at its end: restore it from a backup";

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needed, found } => {
                write!(f, "{needed} bytes needed, {found} found; {RESTORE}")
            }
            Self::Length { declared, found } => {
                write!(f, "length {declared} declared, {found} found; {RESTORE}")
            }
            Self::Checksum { stored, computed } => write!(
                f,
                "checksum {stored:08x} stored, {computed:08x} computed; {RESTORE}"
            ),
            Self::Protobuf(what) => write!(f, "not a valid protobuf message ({what}); {RESTORE}"),
            Self::NameNotUtf8 => write!(f, "the file name is not UTF-8; {LOG_DAMAGED}"),
            Self::RecordType(0) => {
                write!(
                    f,
                    "record type 0, expected 1 or 2: space that was never written; {LOG_DAMAGED}, or cut the file off here"
                )
            }
            Self::RecordType(found) => {
                write!(f, "record type {found}, expected 1 or 2; {LOG_DAMAGED}")
            }
            Self::RemoveOfAbsent { name } => write!(
                f,
                "removes {name:?}, which is not in the dictionary; {LOG_DAMAGED}"
            ),
            Self::TypeMismatch { found } => {
                let (kind, info) = if *found == 1 {
                    ("insert", "without")
                } else {
                    ("remove", "with")
                };
                write!(
                    f,
                    "a record of type {found} ({kind}) {info} file information: its type byte was changed; {LOG_DAMAGED}"
                )
            }
            Self::IntactRecordInside { at } => {
                write!(
                    f,
                    "doesn't end where its lengths say, and an intact record follows at byte {at}; {LOG_DAMAGED}"
                )
            }
            Self::TornOrDamaged => {
                write!(
                    f,
                    "doesn't end where its lengths say, and too much that looks like records follows for a torn append; {LOG_DAMAGED}"
                )
            }
            Self::SyncedBytesLost { synced } => {
                write!(
                    f,
                    "ends or is torn here, though it had been synced up to byte {synced}, as file.synced says; {LOG_DAMAGED}, \
                     or remove file.synced if an older file.dict was put here on purpose"
                )
            }
            Self::MetadataMissing(name) => write!(f, "no metadata entry {name:?}; {RESTORE}"),
            Self::MetadataLength {
                name,
                expected,
                found,
            } => {
                write!(
                    f,
                    "metadata entry {name:?} has {found} bytes, expected {expected}; {RESTORE}"
                )
            }
            Self::UnwrappedKeyLength { expected, found } => write!(
                f,
                "the unwrapped key has {found} bytes, expected {expected}; {RESTORE}"
            ),
            Self::Tag => write!(
                f,
                "the authentication tag doesn't verify, although the key is right: bytes were changed or cut off; {RESTORE}"
            ),
            Self::HeaderForged => write!(
                f,
                "its authentication code doesn't fit the data key: the header was changed; {RESTORE}"
            ),
            Self::Field(what) => write!(f, "{what}; {RESTORE}"),
            Self::Truncated => write!(
                f,
                "the body ends before its final chunk: the object was cut off; {RESTORE}"
            ),
            Self::Extended => write!(
                f,
                "bytes follow the final chunk: something was appended; {RESTORE}"
            ),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NEWER: &str = "use a newer stillkey, or check that this is the right file";
        match self {
            Self::DictionaryVersion(found) => write!(f, "header at byte 0: dictionary version {found}, expected 1 or 2; {NEWER}"),
            Self::SealedVersion(found) => write!(f, "sealed object of version {found}, expected 1; {NEWER}"),
            Self::SealedSuite(found) => write!(f, "sealed object with suite {found}, which version 1 doesn't have; {NEWER}"),
            Self::SealedFlags(found) => write!(f, "sealed object with flags {found:#04x}, which version 1 doesn't have; {NEWER}"),
            Self::Method(found) => write!(f, "encryption method number {found}, expected 1 to 5; {NEWER}"),
            Self::SealingMethod(found) => write!(f, "sealed with {found:?}, expected \"plaintext\" or \"aes256-gcm\"; {NEWER}"),
            Self::NotSealed => f.write_str("not a sealed object: the first 8 bytes are not its magic; check that this is the right file"),
        }
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataKey(id) => write!(
                f,
                "no data key with id {id} in the key dictionary; key.dict and file.dict may be of different times: restore both together"
            ),
            Self::CurrentDataKey { id, keys } => {
                write!(
                    f,
                    "the current data key {id} is not among the {keys} in the key dictionary; restore key.dict from a backup, or rotate the data key"
                )
            }
            Self::File(name) => write!(
                f,
                "no entry {name:?} in the file dictionary; list the names with 'stillkey store ls'"
            ),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMethod(name) => write_choices(f, "encryption method", name, Method::ALL.map(Method::name)),
            Self::UnknownSuite(name) => write_choices(f, "suite", name, Suite::ALL.map(Suite::name)),
            Self::KeyLength { cipher, expected, found } => write!(f, "{cipher} takes a key of {expected} bytes, not {found}; check which method the key was made for"),
            Self::MasterKeyLength { found } => write!(f, "a master key has 32 bytes, not {found}; make one with 'stillkey keygen'"),
            Self::IvLength { found } => write!(f, "an initialization vector for data has 16 bytes, not {found}; the entry can't be used"),
            Self::PositionOverflow { offset, len } => write!(f, "{len} bytes at offset {offset} end past 2^64 - 1; use a smaller offset"),
            Self::UnequalLengths { source, destination } => {
                write!(f, "source has {source} bytes, destination {destination}; make them equally long")
            }
            Self::NameTooLong { len } => write!(f, "a file name of {len} bytes; a log record holds at most 65535: use a shorter name"),
            Self::InfoTooLong { len } => write!(f, "file information of {len} bytes; a log record holds at most 65535"),
            Self::PlaintextHasNoStream => f.write_str("a plaintext file has no cipher stream; read its bytes as they are"),
            Self::KeyIdsCollide => f.write_str("ten random key ids in a row were taken; check the random number generator"),
            Self::RecipientCount(found) => write!(f, "an object is sealed for 1 to 64 master keys, not {found}"),
            Self::PlaintextRecipient => f.write_str("the master key 'plaintext' protects nothing, so it can't seal an object; give a real master key"),
            Self::ReservedProvider(number) => write!(f, "a key service with the provider number {number}, which is reserved; give it a number of its own"),
            Self::ChunkSize(exponent) => write!(f, "chunks of 2^{exponent} bytes; use 2^12 (4 KiB) to 2^24 (16 MiB)"),
            Self::TooManyChunks => f.write_str("an object holds at most 2^32 chunks; use larger chunks"),
            Self::ChunkLength { expected, found } => write!(f, "a chunk of {found} bytes, expected {expected}"),
            Self::FieldTooLong(what) => write!(f, "{what} is too long for its length field; use a shorter one"),
        }
    }
}

fn write_choices<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    found: &str,
    choices: [&str; N],
) -> fmt::Result {
    write!(f, "no {kind} {found:?}; use one of {}", choices.join(", "))
}

macro_rules! into_error {
    ($($kind:ident => $variant:ident),*) => {$(
        impl From<$kind> for Error {
            fn from(what: $kind) -> Self {
                Self::$variant(what)
            }
        }
    )*};
}

into_error!(WrongMasterKey => WrongMasterKey, Damage => Damaged, Unsupported => Unsupported, NotFound => NotFound, Misuse => Misuse);
