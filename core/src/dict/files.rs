//! The file dictionary: which data key, IV and method each file has. Neither encrypted nor authenticated.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use crate::envelope::Envelope;
use crate::error::{Damage, Error, Finding, Misuse, NotFound, Part};
use crate::format::header::{self, Version};
use crate::format::protobuf::{self, Fields, Message, ProtoError, Sink, UnknownFields};
use crate::iv::Iv;
use crate::master::MasterKey;
use crate::method::{Method, MethodNumber};
use crate::secret::SecretBytes;

/// How one file is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInfo {
    /// The data key; not looked up for plaintext.
    pub key_id: u64,
    /// The file's method.
    pub method: MethodNumber,
    iv: RecordedIv,
    unknown: Option<Box<UnknownFields>>,
}

/// An IV as recorded. All but two kinds are mistakes, which are kept, so that a rewrite doesn't lose them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum RecordedIv {
    #[default]
    Empty,
    Full(Iv),
    OddLength(Box<[u8]>),
}

impl FileInfo {
    /// An encrypted file.
    pub fn encrypted(key_id: u64, iv: Iv, method: Method) -> Self {
        Self {
            key_id,
            method: method.into(),
            iv: RecordedIv::Full(iv),
            unknown: None,
        }
    }

    /// A file that is left in plaintext. `key_id` is what was current then; nothing looks it up.
    pub fn plaintext(key_id: u64) -> Self {
        Self {
            key_id,
            method: Method::Plaintext.into(),
            iv: RecordedIv::Empty,
            unknown: None,
        }
    }

    /// The initialization vector.
    ///
    /// # Errors
    /// [`Misuse::IvLength`] when the recorded one isn't 16 bytes long (TiKV panics at 12).
    pub fn iv(&self) -> Result<Iv, Error> {
        match &self.iv {
            RecordedIv::Full(iv) => Ok(*iv),
            other => Err(Misuse::IvLength {
                found: other.bytes().len(),
            }
            .into()),
        }
    }

    /// The recorded bytes of the initialization vector, of any length.
    pub fn iv_bytes(&self) -> &[u8] {
        self.iv.bytes()
    }
}

impl RecordedIv {
    fn new(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            bytes => Iv::try_from(bytes).map_or_else(|_| Self::OddLength(bytes.into()), Self::Full),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Full(iv) => iv.as_bytes(),
            Self::OddLength(bytes) => bytes,
        }
    }
}

/// Bytes that an entry takes in a `file.dict` when its name has some twenty.
const TYPICAL_RECORD: usize = 64;

/// Every file's entry, by name. Names are compared byte by byte: `a//b`, `./a/b` and `a/b` are three files.
///
/// ```
/// use stillkey_core::{FileDictionary, FileInfo, Iv, Method, Version};
/// let mut files = FileDictionary::new();
/// files.insert("000001.sst", FileInfo::encrypted(7, Iv::new([1; 16]), Method::Aes256Ctr));
///
/// let bytes = files.to_bytes(Version::V2); // the bytes of file.dict
/// assert_eq!(FileDictionary::open(&bytes)?, files);
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDictionary {
    /// Entries in a row, and a table of where each is: a table of the entries themselves can be half empty, and is moved whole when it grows.
    files: IndexMap<Box<str>, FileInfo, DefaultHashBuilder>,
    unknown: UnknownFields,
}

impl FileDictionary {
    /// A dictionary without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of a `file.dict` without log records. Equal dictionaries give equal bytes.
    pub fn to_bytes(&self, version: Version) -> Vec<u8> {
        let dictionary = self.encode();
        match version {
            Version::V2 => header::frame(version, &dictionary),
            Version::V1 => {
                let envelope = Envelope::in_the_clear(&SecretBytes::new(dictionary));
                header::frame(version, &envelope.encode())
            }
        }
    }

    /// Reads the content of a version 1 file.
    pub(crate) fn from_v1_content(content: &[u8]) -> Result<Self, Error> {
        let envelope = Envelope::decode(content)
            .map_err(|error| error.in_part(Part::Envelope, header::LEN as u64))?;
        let payload = envelope.open(&MasterKey::Plaintext).map_err(|error| {
            match error.moved(Part::Envelope, header::LEN as u64) {
                // No master key would help: TiKV never seals this file, so nothing may fall back to another key over it.
                Error::WrongMasterKey(_) => Damage {
                    part: Part::Envelope,
                    at: header::LEN as u64,
                    finding: Finding::Field(
                        "sealed, which a file.dict never is: is this a key.dict?",
                    ),
                }
                .into(),
                other => other,
            }
        })?;
        Self::decode(payload.danger_bytes()).map_err(|error| {
            let base = header::LEN + Envelope::payload_at(content);
            error.in_part(Part::Content, base as u64)
        })
    }

    /// Makes room for the entries that `bytes` of a log or of an encoding may hold, so that they aren't moved while they are read.
    pub(super) fn reserve_for(&mut self, bytes: usize) {
        self.files.reserve(bytes / TYPICAL_RECORD);
    }

    /// A file's entry.
    ///
    /// # Errors
    /// [`NotFound::File`]: TiKV takes such a file for plaintext; whoever wants that says so at a higher level.
    pub fn get(&self, name: &str) -> Result<&FileInfo, Error> {
        self.find(name)
            .ok_or_else(|| NotFound::File(name.into()).into())
    }

    /// A file's entry, if it has one.
    pub fn find(&self, name: &str) -> Option<&FileInfo> {
        self.files.get(name)
    }

    /// Sets a file's entry and returns the previous one.
    pub fn insert(&mut self, name: impl Into<Box<str>>, info: FileInfo) -> Option<FileInfo> {
        self.files.insert(name.into(), info)
    }

    /// Removes a file's entry and returns it.
    pub fn remove(&mut self, name: &str) -> Option<FileInfo> {
        self.files.swap_remove(name)
    }

    /// The entries, sorted by name: that takes a moment where there are many, which a look-up doesn't pay for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &FileInfo)> {
        let mut sorted: Vec<_> = self.unsorted().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        sorted.into_iter()
    }

    /// The entries in no order.
    pub fn unsorted(&self) -> impl ExactSizeIterator<Item = (&str, &FileInfo)> {
        self.files.iter().map(|(name, info)| (&**name, info))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Message for FileDictionary {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut dictionary = Self::default();
        dictionary.reserve_for(bytes.len());
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => {
                    let (name, info) = field.entry(|name| name.string(), |info| info.message())?;
                    dictionary.insert(name.unwrap_or_default(), info.unwrap_or_default());
                }
                _ => dictionary.unknown.keep(&field),
            }
        }
        Ok(dictionary)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        for (name, info) in self.iter() {
            protobuf::put_entry(out, 1, |mut out| {
                protobuf::put_bytes_always(&mut out, 1, name.as_bytes());
                protobuf::put_message(&mut out, 2, info);
            });
        }
        self.unknown.encode_to(out);
    }
}

impl Message for FileInfo {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut info = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => info.key_id = field.varint()?,
                2 => info.iv = RecordedIv::new(field.bytes()?),
                3 => info.method = MethodNumber(field.enumeration()?),
                _ => info.unknown.get_or_insert_default().keep(&field),
            }
        }
        Ok(info)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        protobuf::put_number(out, 1, self.key_id);
        protobuf::put_bytes(out, 2, self.iv.bytes());
        protobuf::put_enumeration(out, 3, self.method.0);
        if let Some(unknown) = &self.unknown {
            unknown.encode_to(out);
        }
    }
}
