//! The header of a sealed object: preamble, recipients, commitment, checksum, authentication code.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use rand_core::TryCryptoRng;

use crate::cipher::CipherProvider;
use crate::context::EncryptionContext;
use crate::error::{Damage, Error, Finding, Misuse, Part, Unsupported, WrongMasterKey};
use crate::format::cursor::Cursor;
use crate::iv::Iv;
use crate::master::{MasterKey, WrappedKey, new_key};
use crate::sealed::body::Body;
use crate::sealed::keys::{self, ObjectKeys};
use crate::sealed::suite::Suite;
use crate::secret::SecretBytes;

/// Tells a sealed object from anything else, and shows a transfer in text mode, as PNG's signature does.
const MAGIC: [u8; 8] = *b"\x89STK\r\n\x1a\n";
const VERSION: u8 = 1;
const PREAMBLE_LEN: usize = 96;
const CHECKS_LEN: usize = keys::LEN + 4 + keys::LEN;
/// No object needs more; a larger claim is damage, and must not make a reader allocate.
const MAX_RECIPIENTS_LEN: u32 = 1 << 20;
const MAX_RECIPIENTS: usize = 64;
const CHUNK_EXPONENTS: core::ops::RangeInclusive<u8> = 12..=24;

/// The number of raw master keys among the providers of `FORMAT.md`.
const RAW_PROVIDER: u8 = 1;
/// What an implementation returns that was never given a number.
const NO_PROVIDER: u8 = 0;

/// What the one who seals decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Cipher and form of the body.
    pub suite: Suite,
    /// The chunk size is 2 to this power, in bytes: 12 (4 KiB) to 24 (16 MiB). Streams ignore it.
    pub chunk_exponent: u8,
}

impl Default for Options {
    /// AES-256-GCM in chunks of 64 KiB.
    fn default() -> Self {
        Self {
            suite: Suite::default(),
            chunk_exponent: 16,
        }
    }
}

/// A master key that can open the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// What kind of master key (`FORMAT.md` lists the numbers).
    pub provider: u8,
    /// The wrapped key-encryption key, with the reference of the master key.
    pub wrapped: WrappedKey,
    sealed_data_key: [u8; keys::SEALED_DATA_KEY_LEN],
}

/// The header of a sealed object, parsed but not authenticated until [`Header::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    suite: Suite,
    chunk_exponent: u8,
    iv: Iv,
    salt: [u8; keys::LEN],
    context_digest: [u8; keys::LEN],
    recipients: Vec<Recipient>,
    commitment: [u8; keys::LEN],
    mac: [u8; keys::LEN],
    /// The header's bytes as they stand in the file.
    bytes: Vec<u8>,
}

impl Header {
    /// Bytes that are needed to tell how long a header is.
    pub const PREFIX_LEN: usize = PREAMBLE_LEN + 4;

    /// Makes the header of a new object and the body that its data key encrypts.
    ///
    /// # Errors
    /// [`Misuse`] for no recipient, more than 64, `plaintext` or a key service with a reserved number among them, and for a chunk size out of range;
    /// [`Error::Unavailable`] when `rng` or a key service fails.
    pub fn create<R: TryCryptoRng + ?Sized>(
        options: &Options,
        recipients: &[MasterKey],
        context: &EncryptionContext,
        provider: &dyn CipherProvider,
        rng: &mut R,
    ) -> Result<(Self, Body), Error> {
        check_count(recipients.len())?;
        let chunk_exponent = if options.suite.is_chunked() {
            options.chunk_exponent
        } else {
            0
        };
        if options.suite.is_chunked() && !CHUNK_EXPONENTS.contains(&chunk_exponent) {
            return Err(Misuse::ChunkSize(chunk_exponent).into());
        }
        let (iv, salt) = (Iv::random(rng)?, crate::random::array(rng)?);
        let mut header = Self {
            suite: options.suite,
            chunk_exponent,
            iv,
            salt,
            context_digest: keys::context_digest(&salt, context)?,
            recipients: Vec::with_capacity(recipients.len()),
            commitment: [0; keys::LEN],
            mac: [0; keys::LEN],
            bytes: Vec::new(),
        };
        let data_key = SecretBytes::random(rng, keys::LEN)?;
        for master_key in recipients {
            let recipient = header.make_recipient(master_key, &data_key, context, rng)?;
            header.recipients.push(recipient);
        }
        let object_keys = header.object_keys(&data_key);
        header.finish(&object_keys)?;
        let body = header.body(&object_keys, provider)?;
        Ok((header, body))
    }

    /// How many bytes the header that starts with `prefix` has: a whole header needs that many.
    ///
    /// # Errors
    /// [`Error::Damaged`] when `prefix` is shorter than [`Header::PREFIX_LEN`]; [`Error::Unsupported`] when it doesn't start a sealed object of version 1.
    pub fn len_of(prefix: &[u8]) -> Result<usize, Error> {
        let mut cursor = Cursor::new(prefix);
        match cursor.array::<8>() {
            Some(MAGIC) => {}
            Some(_) => return Err(Unsupported::NotSealed.into()),
            None if MAGIC.starts_with(prefix) => return Err(short(Self::PREFIX_LEN, prefix.len())),
            None => return Err(Unsupported::NotSealed.into()),
        }
        match cursor.u8() {
            Some(VERSION) => {}
            Some(found) => return Err(Unsupported::SealedVersion(found).into()),
            None => return Err(short(Self::PREFIX_LEN, prefix.len())),
        }
        let mut cursor = Cursor::new(prefix);
        let recipients_len = (|| {
            cursor.take(PREAMBLE_LEN)?;
            cursor.u32()
        })();
        let recipients_len = recipients_len.ok_or_else(|| short(Self::PREFIX_LEN, prefix.len()))?;
        if recipients_len > MAX_RECIPIENTS_LEN {
            return Err(field(
                PREAMBLE_LEN,
                "its list of recipients claims more than 1 MiB",
            ));
        }
        Ok(Self::PREFIX_LEN + recipients_len as usize + CHECKS_LEN)
    }

    /// Parses the header at the start of `bytes`, which may go on with the body. Accidental damage is found here, by its checksum.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let len = Self::len_of(bytes)?;
        let bytes = bytes.get(..len).ok_or_else(|| short(len, bytes.len()))?;
        let truncated = || short(len, bytes.len());
        let (authenticated, mac) = bytes.split_last_chunk().ok_or_else(truncated)?;
        let (checked, stored) = authenticated.split_last_chunk().ok_or_else(truncated)?;
        let (stored, computed) = (u32::from_be_bytes(*stored), crc32fast::hash(checked));
        if stored != computed {
            return Err(damaged(
                checked.len(),
                Finding::Checksum { stored, computed },
            ));
        }
        let mut cursor = Cursor::new(checked);
        cursor.take(MAGIC.len() + 1);
        let [suite, chunk_exponent, flags] = cursor.array().ok_or_else(truncated)?;
        let reserved = cursor.u32().ok_or_else(truncated)?;
        let iv = cursor.array().ok_or_else(truncated)?;
        let salt = cursor.array().ok_or_else(truncated)?;
        let context_digest = cursor.array().ok_or_else(truncated)?;
        cursor.u32(); // The length of the list, which `len` rests on.
        let (recipients, commitment) = cursor.rest().split_last_chunk().ok_or_else(truncated)?;
        let suite = Suite::from_number(suite)?;
        if flags != 0 {
            return Err(Unsupported::SealedFlags(flags).into());
        }
        if reserved != 0 {
            return Err(field(12, "its reserved bytes are not zero"));
        }
        let exponent_fits = if suite.is_chunked() {
            CHUNK_EXPONENTS.contains(&chunk_exponent)
        } else {
            chunk_exponent == 0
        };
        if !exponent_fits {
            return Err(field(10, "its chunk size doesn't fit its suite"));
        }
        Ok(Self {
            suite,
            chunk_exponent,
            iv: Iv::new(iv),
            salt,
            context_digest,
            recipients: parse_recipients(recipients)?,
            commitment: *commitment,
            mac: *mac,
            bytes: bytes.to_vec(),
        })
    }

    /// Authenticates the header and gives the body, if one of `master_keys` is a recipient's.
    ///
    /// # Errors
    /// - [`Error::WrongContext`] when the object was sealed with another encryption context;
    /// - [`Error::WrongMasterKey`] when no key fits; [`Error::Unavailable`] when a key service that might fit could not answer;
    /// - [`Error::Damaged`] when the right key finds the header changed.
    pub fn open(
        &self,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
        provider: &dyn CipherProvider,
    ) -> Result<Body, Error> {
        let (_, object_keys) = self.authenticate(master_keys, context)?;
        self.body(&object_keys, provider)
    }

    /// The header for the same body with other recipients. It goes in the place of this one, whose
    /// length it need not have; the body stays as it is, byte for byte.
    ///
    /// `master_keys` open this header. Each of `added` becomes a recipient. Of the present ones, those
    /// stay that `keep` chooses, unless an added key has their provider and reference.
    ///
    /// The object's keys don't change. A recipient that is left out can't open the new object with its
    /// master key; one that has kept the old header, or the data key, still can.
    ///
    /// # Errors
    /// Those of [`Header::open`] for `master_keys`, and of [`Header::create`] for the recipients.
    pub fn reseal<R: TryCryptoRng + ?Sized>(
        &self,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
        keep: impl Fn(&Recipient) -> bool,
        added: &[MasterKey],
        rng: &mut R,
    ) -> Result<Self, Error> {
        let (data_key, object_keys) = self.authenticate(master_keys, context)?;
        let mut fresh = Vec::with_capacity(added.len());
        for master_key in added {
            fresh.push(self.make_recipient(master_key, &data_key, context, rng)?);
        }
        let mut header = self.clone();
        header
            .recipients
            .retain(|recipient| keep(recipient) && !fresh.iter().any(|new| new.is_of(recipient)));
        header.recipients.append(&mut fresh);
        header.finish(&object_keys)?;
        Ok(header)
    }

    /// The data key and the keys derived from it, once the header has proved to be what its maker wrote.
    fn authenticate(
        &self,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
    ) -> Result<(SecretBytes, ObjectKeys), Error> {
        if keys::context_digest(&self.salt, context)? != self.context_digest {
            return Err(Error::WrongContext);
        }
        let data_key = self.unwrap_data_key(master_keys, context)?;
        let object_keys = self.object_keys(&data_key);
        let Some((authenticated, _)) = self.bytes.split_last_chunk::<{ keys::LEN }>() else {
            unreachable!("a header that was parsed ends with its code");
        };
        if !object_keys.commits_to(&self.commitment)
            || !object_keys.verifies(authenticated, &self.mac)
        {
            return Err(damaged(0, Finding::HeaderForged));
        }
        Ok((data_key, object_keys))
    }

    fn unwrap_data_key(
        &self,
        master_keys: &[MasterKey],
        context: &EncryptionContext,
    ) -> Result<SecretBytes, Error> {
        let mut failure = None;
        for recipient in &self.recipients {
            for master_key in master_keys {
                let unwrapped = match (master_key, recipient.provider) {
                    (MasterKey::Raw(key), RAW_PROVIDER)
                        if key.reference() == recipient.wrapped.reference =>
                    {
                        keys::unwrap_raw(key, &recipient.wrapped.blob, context)
                            .and_then(|kek| kek.ok_or_else(|| damaged(0, Finding::Tag)))
                    }
                    (MasterKey::Service(service), number) if service.provider() == number => {
                        service.unwrap(&recipient.wrapped, context)
                    }
                    _ => continue,
                };
                let data_key = unwrapped.and_then(|kek| {
                    if kek.len() != keys::LEN {
                        let (expected, found) = (keys::LEN, kek.len());
                        return Err(damaged(0, Finding::UnwrappedKeyLength { expected, found }));
                    }
                    keys::open_data_key(
                        &kek,
                        &recipient.sealed_data_key,
                        &self.data_key_aad(recipient, context)?,
                    )
                    .map_err(|_| damaged(0, Finding::HeaderForged))
                });
                match data_key {
                    Ok(data_key) => return Ok(data_key),
                    Err(Error::WrongMasterKey(_)) => {}
                    // A retry may still open the object: that outweighs damage.
                    Err(error) => {
                        if !matches!(failure, Some(Error::Unavailable(_))) {
                            failure = Some(error);
                        }
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            WrongMasterKey::NoRecipient {
                recipients: self.describe_recipients(),
            }
            .into()
        }))
    }

    /// The recipients for an error message. Nothing has authenticated them yet, so a hostile object must not decide how long it gets.
    fn describe_recipients(&self) -> String {
        /// Longer than the reference of any key service's key.
        const LONGEST: usize = 128;
        const MOST: usize = 8;
        let mut described: Vec<String> = self
            .recipients
            .iter()
            .take(MOST)
            .map(|recipient| {
                let mut text = recipient.describe();
                if let Some((at, _)) = text.char_indices().nth(LONGEST) {
                    text.truncate(at);
                    text.push('…');
                }
                text
            })
            .collect();
        if let Some(more @ 1..) = self.recipients.len().checked_sub(MOST) {
            described.push(alloc::format!("and {more} more"));
        }
        described.join(", ")
    }

    /// Cipher and form of the body.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Plaintext bytes in each chunk but the last; `None` for a stream.
    pub fn chunk_size(&self) -> Option<usize> {
        self.suite.is_chunked().then(|| 1 << self.chunk_exponent)
    }

    /// The initialization vector.
    pub fn iv(&self) -> Iv {
        self.iv
    }

    /// The master keys that open the object.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The header as it stands in the file; the body follows at once.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn body(&self, keys: &ObjectKeys, provider: &dyn CipherProvider) -> Result<Body, Error> {
        let chunks = (
            self.chunk_size().unwrap_or_default(),
            self.bytes.len() as u64,
        );
        Body::new(self.suite, keys, self.iv, chunks, provider)
    }

    fn object_keys(&self, data_key: &SecretBytes) -> ObjectKeys {
        ObjectKeys::derive(data_key, &self.salt, self.preamble())
    }

    fn preamble(&self) -> Vec<u8> {
        let fixed = [
            VERSION,
            self.suite.number(),
            self.chunk_exponent,
            0,
            0,
            0,
            0,
            0,
        ];
        [
            &MAGIC[..],
            &fixed,
            self.iv.as_bytes(),
            &self.salt,
            &self.context_digest,
        ]
        .concat()
    }

    /// What a recipient's sealed data key is bound to.
    fn data_key_aad(
        &self,
        recipient: &Recipient,
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, Error> {
        let mut aad = b"stillkey/v1/data-key".to_vec();
        aad.extend(self.preamble());
        recipient.encode_wrapped(&mut aad)?;
        aad.extend(context.canonical()?);
        Ok(aad)
    }

    fn make_recipient<R: TryCryptoRng + ?Sized>(
        &self,
        master_key: &MasterKey,
        data_key: &SecretBytes,
        context: &EncryptionContext,
        rng: &mut R,
    ) -> Result<Recipient, Error> {
        let (provider, kek, wrapped) = match master_key {
            MasterKey::Plaintext => return Err(Misuse::PlaintextRecipient.into()),
            MasterKey::Raw(key) => {
                let kek = SecretBytes::random(rng, keys::LEN)?;
                let wrapped = WrappedKey {
                    reference: key.reference(),
                    version: String::new(),
                    blob: keys::wrap_raw(key, &kek, context, rng)?,
                };
                (RAW_PROVIDER, kek, wrapped)
            }
            MasterKey::Service(service) => match service.provider() {
                number @ (NO_PROVIDER | RAW_PROVIDER) => {
                    return Err(Misuse::ReservedProvider(number).into());
                }
                number => {
                    let (kek, wrapped) = new_key(&**service, keys::LEN, context, rng)?;
                    (number, kek, wrapped)
                }
            },
        };
        let mut recipient = Recipient {
            provider,
            wrapped,
            sealed_data_key: [0; keys::SEALED_DATA_KEY_LEN],
        };
        recipient.sealed_data_key = keys::seal_data_key(
            &kek,
            data_key,
            &self.data_key_aad(&recipient, context)?,
            rng,
        )?;
        Ok(recipient)
    }

    /// Commits to the keys and authenticates what the fields say: from then on, `bytes` is the header.
    fn finish(&mut self, object_keys: &ObjectKeys) -> Result<(), Error> {
        check_count(self.recipients.len())?;
        self.commitment = object_keys.commitment();
        self.bytes = self.to_checked_bytes()?;
        self.mac = object_keys.header_mac(&self.bytes);
        self.bytes.extend_from_slice(&self.mac);
        Ok(())
    }

    /// All bytes before the authentication code.
    fn to_checked_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut list = Vec::new();
        put_u16(&mut list, self.recipients.len(), "the list of recipients")?;
        for recipient in &self.recipients {
            recipient.encode_wrapped(&mut list)?;
            list.extend_from_slice(&recipient.sealed_data_key);
        }
        let list_len = u32::try_from(list.len())
            .ok()
            .filter(|len| *len <= MAX_RECIPIENTS_LEN);
        let list_len = list_len.ok_or(Misuse::FieldTooLong("the list of recipients"))?;
        let mut bytes = [
            &self.preamble()[..],
            &list_len.to_be_bytes(),
            &list,
            &self.commitment,
        ]
        .concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        Ok(bytes)
    }
}

impl Recipient {
    /// The master key as a person may know it: provider and reference.
    pub fn describe(&self) -> String {
        let provider = match self.provider {
            RAW_PROVIDER => "master key".to_owned(),
            number => alloc::format!("key of provider {number}"),
        };
        alloc::format!("{provider} {}", self.wrapped.reference.escape_debug())
    }

    /// Whether both are the same master key's, perhaps in two versions.
    fn is_of(&self, other: &Self) -> bool {
        self.provider == other.provider && self.wrapped.reference == other.wrapped.reference
    }

    fn encode_wrapped(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.push(self.provider);
        for (bytes, what) in [
            (
                self.wrapped.reference.as_bytes(),
                "the master key's reference",
            ),
            (self.wrapped.version.as_bytes(), "the master key's version"),
            (&self.wrapped.blob, "the wrapped key"),
        ] {
            put_u16(out, bytes.len(), what)?;
            out.extend_from_slice(bytes);
        }
        Ok(())
    }
}

fn check_count(recipients: usize) -> Result<(), Error> {
    if (1..=MAX_RECIPIENTS).contains(&recipients) {
        return Ok(());
    }
    Err(Misuse::RecipientCount(recipients).into())
}

fn parse_recipients(list: &[u8]) -> Result<Vec<Recipient>, Error> {
    let mut cursor = Cursor::new(list);
    let malformed = |at: usize| {
        field(
            Header::PREFIX_LEN + at,
            "its list of recipients is malformed",
        )
    };
    let count = cursor
        .u16()
        .map(usize::from)
        .filter(|count| (1..=MAX_RECIPIENTS).contains(count))
        .ok_or_else(|| malformed(0))?;
    let mut recipients = Vec::with_capacity(count);
    for _ in 0..count {
        let at = cursor.at();
        let recipient = (|| {
            let provider = cursor.u8()?;
            let mut bytes = || {
                let len = cursor.u16()?;
                cursor.take(len.into())
            };
            let (reference, version, blob) = (bytes()?, bytes()?, bytes()?);
            let text = |bytes: &[u8]| core::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
            let wrapped = WrappedKey {
                reference: text(reference)?,
                version: text(version)?,
                blob: blob.to_vec(),
            };
            Some(Recipient {
                provider,
                wrapped,
                sealed_data_key: cursor.array()?,
            })
        })();
        recipients.push(recipient.ok_or_else(|| malformed(at))?);
    }
    if cursor.rest().is_empty() {
        Ok(recipients)
    } else {
        Err(malformed(cursor.at()))
    }
}

fn put_u16(out: &mut Vec<u8>, number: usize, what: &'static str) -> Result<(), Error> {
    let number = u16::try_from(number).map_err(|_| Misuse::FieldTooLong(what))?;
    out.extend_from_slice(&number.to_be_bytes());
    Ok(())
}

fn damaged(at: usize, finding: Finding) -> Error {
    Damage {
        part: Part::SealedHeader,
        at: at as u64,
        finding,
    }
    .into()
}

fn field(at: usize, what: &'static str) -> Error {
    damaged(at, Finding::Field(what))
}

fn short(needed: usize, found: usize) -> Error {
    damaged(
        0,
        Finding::Short {
            needed: needed as u64,
            found: found as u64,
        },
    )
}
