//! What is asked of the KMS, and by whom.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::import::WrappingAlgorithm;
use super::key::{Origin, ProtectionLevel};
use super::rotation::RotationInterval;
use super::time::Time;
use crate::context::EncryptionContext;
use crate::secret::SecretBytes;

/// Whose rules hold where vendors differ: the table of states, where a cancelled deletion leads,
/// where an alias may stand for a key, and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    /// Alibaba Cloud KMS, of which this model is.
    Alibaba,
    /// AWS KMS.
    Aws,
    /// Tencent Cloud KMS: Alibaba's table of states with limits of its own.
    Tencent,
}

impl Face {
    /// The longest plaintext that Encrypt takes, in bytes.
    pub const fn max_plaintext_len(self) -> usize {
        match self {
            Self::Alibaba => 6144,
            Self::Aws | Self::Tencent => 4096,
        }
    }
}

/// On whose behalf a request is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The account itself, which is allowed everything.
    Root,
    /// A user of the account, by name: allowed what its policy allows.
    User(String),
    /// A service of the cloud, by code (`oss`): allowed its own service key, and what its policy
    /// allows.
    Service(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the account's root"),
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Service(code) => write!(f, "service {code:?}"),
        }
    }
}

/// Who asks, and what of it goes to the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// On whose behalf.
    pub principal: Principal,
    /// By whose protocol.
    pub face: Face,
    /// What the answer and the audit record have in common.
    pub request_id: String,
    /// Where from, if it came over a network: for conditions of policies.
    pub source: Option<IpAddr>,
    /// With what program.
    pub user_agent: String,
}

impl Caller {
    /// A caller in this process, without a network in between.
    pub fn new(principal: Principal, face: Face) -> Self {
        Self {
            principal,
            face,
            request_id: String::new(),
            source: None,
            user_agent: String::new(),
        }
    }
}

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: u32,
    size: u32,
}

impl Page {
    /// The most items on a page.
    pub const MAX_SIZE: u32 = 100;

    /// Page `number`, counted from 1, of pages with `size` items each, 1 to [`Page::MAX_SIZE`].
    pub const fn new(number: u32, size: u32) -> Option<Self> {
        if number == 0 || size == 0 || size > Self::MAX_SIZE {
            None
        } else {
            Some(Self { number, size })
        }
    }

    /// Its number, counted from 1.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Items on it, at most.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// Items on the pages before it.
    pub(super) fn first(self) -> usize {
        let before = u64::from(self.number - 1) * u64::from(self.size);
        usize::try_from(before).unwrap_or(usize::MAX)
    }
}

impl Default for Page {
    /// The first ten.
    fn default() -> Self {
        Self {
            number: 1,
            size: 10,
        }
    }
}

/// How long a data key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeyLength(u16);

impl DataKeyLength {
    /// 16 bytes, by its KeySpec.
    pub const AES_128: Self = Self(16);
    /// 32 bytes, by its KeySpec.
    pub const AES_256: Self = Self(32);

    /// By NumberOfBytes: 1 to 1,024.
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes == 0 || bytes > 1024 {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }
}

impl Default for DataKeyLength {
    fn default() -> Self {
        Self::AES_256
    }
}

/// A pair that is attached to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Unique among the tags of a key.
    pub key: String,
    /// May be empty.
    pub value: String,
}

/// What CreateKey takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateKey {
    /// At most 8,192 characters.
    pub description: String,
    /// Whether the KMS makes the key material or gets it by import.
    pub origin: Origin,
    /// Where the material lives. Fixed for good.
    pub protection: ProtectionLevel,
    /// Automatic rotation, only of keys whose material is generated.
    pub rotation: Option<RotationInterval>,
    /// At most 20.
    pub tags: Vec<Tag>,
}

/// What is encrypted, and under which key.
#[derive(Debug, PartialEq, Eq)]
pub struct Encrypt {
    /// An id, alias or ARN.
    pub key: String,
    /// At most [`Face::max_plaintext_len`] bytes.
    pub plaintext: SecretBytes,
    /// Has to be presented again.
    pub context: EncryptionContext,
}

/// What is decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decrypt {
    /// What Encrypt, GenerateDataKey or ReEncrypt gave.
    pub blob: Vec<u8>,
    /// As at encryption.
    pub context: EncryptionContext,
    /// The key that it must be, if the caller wants that to be checked. The blob names its key.
    pub key: Option<String>,
}

/// Which data key is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateDataKey {
    /// An id, alias or ARN.
    pub key: String,
    /// How long.
    pub length: DataKeyLength,
    /// Has to be presented again at decryption.
    pub context: EncryptionContext,
}

/// What is decrypted, and encrypted under another key or context, without leaving the KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReEncrypt {
    /// What is to be decrypted.
    pub source: Decrypt,
    /// An id, alias or ARN.
    pub destination_key: String,
    /// The context from then on.
    pub destination_context: EncryptionContext,
}

/// What ImportKeyMaterial takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportKeyMaterial {
    /// An id or ARN.
    pub key: String,
    /// 32 bytes, encrypted with the public key of GetParametersForImport.
    pub wrapped: Vec<u8>,
    /// The token of the same GetParametersForImport.
    pub token: Vec<u8>,
    /// When the material is to be erased; `None`: never.
    pub expires: Option<Time>,
}

macro_rules! operations {
    ($( $(#[$doc:meta])* $name:ident $( ($payload:ty) )? $( {$($field:tt)*} )? , )*) => {
        /// A request, one variant for each operation. How keys are named, the module
        /// [`kms`](super) says.
        #[derive(Debug, PartialEq, Eq)]
        pub enum Request {
            $( $(#[$doc])* $name $( ($payload) )? $( {$($field)*} )?, )*
        }

        /// The name of an operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $( $(#[$doc])* $name, )*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// As it is written in requests and audit records.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => stringify!($name), )*
                }
            }

            /// What a policy has to allow. DescribeRegions needs nothing, ReEncrypt
            /// `kms:ReEncryptFrom` on its source and `kms:ReEncryptTo` on its destination.
            pub const fn action(self) -> &'static str {
                match self {
                    $( Self::$name => concat!("kms:", stringify!($name)), )*
                }
            }
        }

        impl Request {
            /// Which operation is asked for.
            pub const fn operation(&self) -> Operation {
                match self {
                    $( Self::$name { .. } => Operation::$name, )*
                }
            }
        }
    };
}

operations! {
    /// A new key.
    CreateKey(CreateKey),
    /// All keys, oldest first.
    ListKeys(Page),
    /// All that is known of a key.
    DescribeKey {
        /// An id, alias or ARN.
        key: String,
    },
    /// Another description.
    UpdateKeyDescription {
        /// An id or ARN.
        key: String,
        /// At most 8,192 characters.
        description: String,
    },
    /// Puts a disabled key to use again.
    EnableKey {
        /// An id or ARN.
        key: String,
    },
    /// Stops all cryptography with a key, and its rotation.
    DisableKey {
        /// An id or ARN.
        key: String,
    },
    /// Stops the use of a key at once and deletes it when the days have passed.
    ScheduleKeyDeletion {
        /// An id or ARN.
        key: String,
        /// 7 to 30, or to what [`State::set_longest_deletion_wait`] says.
        ///
        /// [`State::set_longest_deletion_wait`]: super::State::set_longest_deletion_wait
        days: u32,
    },
    /// Calls a deletion off.
    CancelKeyDeletion {
        /// An id or ARN.
        key: String,
    },
    /// Whether ScheduleKeyDeletion of a key is refused.
    SetDeletionProtection {
        /// An id or ARN.
        key: String,
        /// Whether it is protected from now on.
        enabled: bool,
        /// Why: shown to whoever is refused. At most 8,192 characters.
        description: String,
    },
    /// A public key and a token, for the import of key material within 24 hours.
    GetParametersForImport {
        /// An id or ARN.
        key: String,
        /// How the material will be encrypted.
        algorithm: WrappingAlgorithm,
    },
    /// Gives an external key its material.
    ImportKeyMaterial(ImportKeyMaterial),
    /// Erases imported key material.
    DeleteKeyMaterial {
        /// An id or ARN.
        key: String,
    },
    /// Encrypts a few kilobytes.
    Encrypt(Encrypt),
    /// Decrypts them.
    Decrypt(Decrypt),
    /// A random key, and the same key encrypted.
    GenerateDataKey(GenerateDataKey),
    /// A random key, encrypted only.
    GenerateDataKeyWithoutPlaintext(GenerateDataKey),
    /// Decrypts, and encrypts under another key or context.
    ReEncrypt(ReEncrypt),
    /// Random bytes.
    GenerateRandom(DataKeyLength),
    /// Gives a key another name.
    CreateAlias {
        /// With its prefix `alias/`.
        alias: String,
        /// An id or ARN.
        key: String,
    },
    /// Has a name mean another key.
    UpdateAlias {
        /// With its prefix `alias/`.
        alias: String,
        /// The id or ARN of the key from now on.
        key: String,
    },
    /// Takes a name away; the key stays.
    DeleteAlias {
        /// With its prefix `alias/`.
        alias: String,
    },
    /// All names, oldest first.
    ListAliases(Page),
    /// The names of a key.
    ListAliasesByKeyId {
        /// An id or ARN.
        key: String,
        /// Which of them.
        page: Page,
    },
    /// Adds or changes tags of a key.
    TagResource {
        /// An id or ARN.
        key: String,
        /// Those to be set.
        tags: Vec<Tag>,
    },
    /// Takes tags from a key.
    UntagResource {
        /// An id or ARN.
        key: String,
        /// The keys of the tags.
        names: Vec<String>,
    },
    /// The tags of a key.
    ListResourceTags {
        /// An id or ARN.
        key: String,
    },
    /// The versions of a key, oldest first.
    ListKeyVersions {
        /// An id or ARN.
        key: String,
        /// Which of them.
        page: Page,
    },
    /// When a version was made.
    DescribeKeyVersion {
        /// An id or ARN.
        key: String,
        /// The version's id.
        version: String,
    },
    /// Rotates a key now.
    CreateKeyVersion {
        /// An id or ARN.
        key: String,
    },
    /// Whether and how often a key is rotated by itself.
    UpdateRotationPolicy {
        /// An id or ARN.
        key: String,
        /// `None`: never.
        interval: Option<RotationInterval>,
    },
    /// The regions that there are.
    DescribeRegions,
}

impl Operation {
    /// Whether it works with key material: conditions on tags hold only here.
    pub const fn is_cryptographic(self) -> bool {
        matches!(
            self,
            Self::Encrypt
                | Self::Decrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::ReEncrypt
        )
    }

    /// Whether it only looks: such operations are allowed on service keys, too.
    pub(super) const fn only_reads(self) -> bool {
        matches!(
            self,
            Self::ListKeys
                | Self::DescribeKey
                | Self::ListAliases
                | Self::ListAliasesByKeyId
                | Self::ListResourceTags
                | Self::ListKeyVersions
                | Self::DescribeKeyVersion
                | Self::DescribeRegions
        )
    }

    /// Whether an alias may stand in place of the key's id. Decrypt names a key only for checking.
    pub(super) const fn takes_alias(self, face: Face) -> bool {
        match self {
            Self::DescribeKey
            | Self::Encrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext => true,
            Self::Decrypt | Self::ReEncrypt => matches!(face, Face::Aws),
            _ => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
