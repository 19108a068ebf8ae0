//! The key dictionary: every data key by its id, which one is current, and when the next is due.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand_core::TryCryptoRng;

use crate::envelope::Envelope;
use crate::error::{Error, Misuse, NotFound, Part};
use crate::format::header::{self, Version};
use crate::format::protobuf::{self, Fields, Message, ProtoError, Sink, UnknownFields};
use crate::master::MasterKey;
use crate::method::{Method, MethodNumber};
use crate::secret::{DataKey, SecretBytes};

/// A data key as the dictionary holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key; empty for a plaintext entry.
    pub key: SecretBytes,
    /// The method that it was made for.
    pub method: MethodNumber,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub creation_time: u64,
    /// Whether it was ever stored under the plaintext master key. Never cleared.
    pub was_exposed: bool,
    /// When it was put aside because no file used it, in seconds since 1970-01-01 UTC. Only in a dictionary of such keys; TiKV has no such
    /// field, and keeps it.
    pub retired_at: Option<u64>,
    unknown: Option<Box<UnknownFields>>,
}

/// The field of [`KeyEntry::retired_at`], far from those that TiKV may add.
const RETIRED_AT: u32 = 2001;

impl KeyEntry {
    /// An entry that has never been exposed.
    pub fn new(key: SecretBytes, method: Method, creation_time: u64) -> Self {
        Self {
            key,
            method: method.into(),
            creation_time,
            was_exposed: false,
            retired_at: None,
            unknown: None,
        }
    }

    /// A second copy, as protected as the first.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            key: self.key.duplicate(),
            method: self.method,
            creation_time: self.creation_time,
            was_exposed: self.was_exposed,
            retired_at: self.retired_at,
            unknown: self.unknown.clone(),
        }
    }
}

/// All data keys, current and old.
///
/// ```
/// use stillkey_core::{KeyDictionary, MasterKey, Method, RawMasterKey};
/// # fn example<R: rand_core::TryCryptoRng>(rng: &mut R) -> Result<(), stillkey_core::Error> {
/// let master_key = MasterKey::Raw(RawMasterKey::random(rng)?);
/// let mut keys = KeyDictionary::new();
/// let id = keys.rotate(Method::Aes256Ctr, 1_700_000_000, rng)?;
///
/// let file = keys.seal(&master_key, rng)?; // the bytes of key.dict
/// let opened = KeyDictionary::open(&file, &master_key)?;
/// assert_eq!(opened.current_key_id(), id);
/// # Ok(()) }
/// ```
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyDictionary {
    keys: BTreeMap<u64, KeyEntry>,
    current_key_id: u64,
    unknown: UnknownFields,
}

impl KeyDictionary {
    /// A dictionary without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the bytes of a `key.dict`.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`] from its header on; the errors of [`Envelope::open`].
    pub fn open(file: &[u8], master_key: &MasterKey) -> Result<Self, Error> {
        Self::from_envelope(&Self::envelope(file)?, master_key)
    }

    /// The envelope in the bytes of a `key.dict`: how it is sealed can be told without a key.
    ///
    /// A version 2 header is accepted, and bytes after the content are ignored, as TiKV does here.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Unsupported`].
    pub fn envelope(file: &[u8]) -> Result<Envelope, Error> {
        let framed = header::parse(file)?;
        Envelope::decode(framed.content)
            .map_err(|error| error.in_part(Part::Envelope, header::LEN as u64))
    }

    /// Opens the envelope of a `key.dict`. Errors count from the start of that file.
    ///
    /// # Errors
    /// Those of [`Envelope::open`], and [`Error::Damaged`] when it holds something else.
    pub fn from_envelope(envelope: &Envelope, master_key: &MasterKey) -> Result<Self, Error> {
        let payload = envelope
            .open(master_key)
            .map_err(|error| error.moved(Part::Envelope, header::LEN as u64))?;
        Self::decode(payload.danger_bytes()).map_err(|error| error.in_part(Part::KeyDictionary, 0))
    }

    /// The bytes of a `key.dict`, version 1. Under an insecure master key, every key is first marked as exposed, for good.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the key service or `rng` fails.
    pub fn seal<R: TryCryptoRng + ?Sized>(
        &mut self,
        master_key: &MasterKey,
        rng: &mut R,
    ) -> Result<Vec<u8>, Error> {
        if !master_key.is_secure() {
            self.mark_exposed();
        }
        let envelope = Envelope::seal(&SecretBytes::new(self.encode()), master_key, rng)?;
        let content = SecretBytes::new(envelope.encode());
        Ok(header::frame(Version::V1, content.danger_bytes()))
    }

    /// Marks every key as exposed, for good: when it can't be known who has seen or made them.
    pub fn mark_exposed(&mut self) {
        for entry in self.keys.values_mut() {
            entry.was_exposed = true;
        }
    }

    /// A second copy, as protected as the first: a writer changes and saves the copy, and takes it over once it is durable.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            keys: self
                .keys
                .iter()
                .map(|(id, entry)| (*id, entry.duplicate()))
                .collect(),
            current_key_id: self.current_key_id,
            unknown: self.unknown.clone(),
        }
    }

    /// The keys, by ascending id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &KeyEntry)> {
        self.keys.iter().map(|(id, entry)| (*id, entry))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Length of its encoding in bytes: the payload that a sealed `key.dict` carries.
    pub fn payload_len(&self) -> usize {
        self.encoded_len()
    }

    /// The id of the key for new files; 0 when there is none yet.
    pub fn current_key_id(&self) -> u64 {
        self.current_key_id
    }

    /// The key with this id.
    ///
    /// # Errors
    /// [`NotFound::DataKey`].
    pub fn get(&self, id: u64) -> Result<&KeyEntry, Error> {
        self.keys
            .get(&id)
            .ok_or_else(|| NotFound::DataKey(id).into())
    }

    /// The key for new files; `None` before the first rotation.
    ///
    /// # Errors
    /// [`NotFound::CurrentDataKey`] when the dictionary names a current key that it doesn't hold (TiKV panics).
    pub fn current(&self) -> Result<Option<(u64, &KeyEntry)>, Error> {
        let id = self.current_key_id;
        if id == 0 {
            return Ok(None); // Even if a key has that id: to TiKV, 0 says that there is none.
        }
        match self.keys.get(&id) {
            Some(entry) => Ok(Some((id, entry))),
            None => Err(NotFound::CurrentDataKey {
                id,
                keys: self.keys.len(),
            }
            .into()),
        }
    }

    /// The key to run `method` with, which is the file's method: it counts, not the one that the key was made for.
    /// `None` for plaintext, whose key id isn't looked up.
    ///
    /// # Errors
    /// [`NotFound::DataKey`]; [`Error::Unsupported`] for an unknown method; [`Misuse::KeyLength`].
    pub fn data_key(&self, id: u64, method: MethodNumber) -> Result<Option<DataKey>, Error> {
        let Some(cipher) = method.known()?.cipher() else {
            return Ok(None);
        };
        DataKey::new(cipher, self.get(id)?.key.duplicate()).map(Some)
    }

    /// Removes a key and returns it: no file may use it any more, and it may not be the current one.
    pub fn remove(&mut self, id: u64) -> Option<KeyEntry> {
        self.keys.remove(&id)
    }

    /// Adds a key that was made elsewhere, and returns the entry that had its id.
    pub fn insert(&mut self, id: u64, entry: KeyEntry) -> Option<KeyEntry> {
        self.keys.insert(id, entry)
    }

    /// Whether new files need another data key, and why: a pure function of what is given.
    ///
    /// `now`: seconds since 1970-01-01 UTC. `master_key_is_secure`: [`MasterKey::is_secure`] of the key that the dictionary will be saved under.
    ///
    /// # Errors
    /// [`NotFound::CurrentDataKey`], as [`KeyDictionary::current`].
    pub fn rotation_due(
        &self,
        policy: &RotationPolicy,
        master_key_is_secure: bool,
        now: u64,
    ) -> Result<Option<RotationReason>, Error> {
        let Some((_, current)) = self.current()? else {
            return Ok(Some(RotationReason::NoCurrentKey));
        };
        let reason = if current.method != policy.method.into() {
            RotationReason::MethodChanged
        } else if current.was_exposed && master_key_is_secure {
            RotationReason::Exposed
        } else {
            match now.checked_sub(current.creation_time) {
                None => RotationReason::CreatedInTheFuture,
                Some(age) if age >= policy.period => RotationReason::Expired { age },
                Some(_) => return Ok(None),
            }
        };
        Ok(Some(reason))
    }

    /// Makes a new data key, makes it current and returns its id. A plaintext "key" has no bytes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails; [`Misuse::KeyIdsCollide`].
    pub fn rotate<R: TryCryptoRng + ?Sized>(
        &mut self,
        method: Method,
        now: u64,
        rng: &mut R,
    ) -> Result<u64, Error> {
        let key = SecretBytes::random(rng, method.key_len())?;
        self.current_key_id = self.add(key, method, now, rng)?;
        Ok(self.current_key_id)
    }

    /// Adds a key under a random id of its own, which is returned. The current key stays current.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails; [`Misuse::KeyIdsCollide`].
    pub fn add<R: TryCryptoRng + ?Sized>(
        &mut self,
        key: SecretBytes,
        method: Method,
        now: u64,
        rng: &mut R,
    ) -> Result<u64, Error> {
        for _ in 0..10 {
            let id = u64::from_ne_bytes(crate::random::array(rng)?);
            if id != 0 && !self.keys.contains_key(&id) {
                self.keys.insert(id, KeyEntry::new(key, method, now));
                return Ok(id);
            }
        }
        Err(Misuse::KeyIdsCollide.into())
    }

    /// The id of a key with these bytes and this method, if there is one.
    pub fn id_of(&self, key: &DataKey) -> Option<u64> {
        let method = key.cipher().method().into();
        let mut entries = self.keys.iter();
        let found = entries.find(|(_, entry)| entry.method == method && entry.key == *key.secret());
        found.map(|(id, _)| *id)
    }
}

/// When data keys are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// The method of new files.
    pub method: Method,
    /// The age at which a key is replaced, in seconds; the age itself counts as due.
    pub period: u64,
}

impl Default for RotationPolicy {
    /// AES-256-CTR, seven days.
    fn default() -> Self {
        Self {
            method: Method::Aes256Ctr,
            period: 7 * 24 * 60 * 60,
        }
    }
}

/// Why a new data key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationReason {
    /// There is no current key yet.
    NoCurrentKey,
    /// The current key is for another method than the policy's.
    MethodChanged,
    /// The current key was once stored unprotected, and the master key now protects.
    Exposed,
    /// The current key has reached the policy's period.
    Expired {
        /// Its age in seconds.
        age: u64,
    },
    /// The current key claims to be made after `now`: one of the two clocks was wrong.
    CreatedInTheFuture,
}

impl Message for KeyDictionary {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut dictionary = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => {
                    let (id, entry) = field.entry(|id| id.varint(), |entry| entry.message())?;
                    let entry = match entry {
                        Some(entry) => entry,
                        None => KeyEntry::decode(&[])?,
                    };
                    dictionary.keys.insert(id.unwrap_or_default(), entry);
                }
                2 => dictionary.current_key_id = field.varint()?,
                _ => dictionary.unknown.keep(&field),
            }
        }
        Ok(dictionary)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        for (id, entry) in &self.keys {
            protobuf::put_entry(out, 1, |mut out| {
                protobuf::put_number_always(&mut out, 1, *id);
                protobuf::put_message(&mut out, 2, entry);
            });
        }
        protobuf::put_number(out, 2, self.current_key_id);
        self.unknown.encode_to(out);
    }
}

impl Message for KeyEntry {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let mut entry = Self {
            key: SecretBytes::copied(&[]),
            method: MethodNumber::default(),
            creation_time: 0,
            was_exposed: false,
            retired_at: None,
            unknown: None,
        };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => entry.key = SecretBytes::copied(field.bytes()?),
                2 => entry.method = MethodNumber(field.enumeration()?),
                3 => entry.creation_time = field.varint()?,
                4 => entry.was_exposed = field.varint()? != 0,
                RETIRED_AT => entry.retired_at = Some(field.varint()?),
                _ => entry.unknown.get_or_insert_default().keep(&field),
            }
        }
        Ok(entry)
    }

    fn encode_to(&self, out: &mut impl Sink) {
        protobuf::put_bytes(out, 1, self.key.danger_bytes());
        protobuf::put_enumeration(out, 2, self.method.0);
        protobuf::put_number(out, 3, self.creation_time);
        protobuf::put_number(out, 4, self.was_exposed.into());
        if let Some(time) = self.retired_at {
            protobuf::put_number_always(out, RETIRED_AT, time);
        }
        if let Some(unknown) = &self.unknown {
            unknown.encode_to(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Finding;
    use crate::master::RawMasterKey;
    use crate::testing::TestRng;
    use alloc::vec;

    const POLICY: RotationPolicy = RotationPolicy {
        method: Method::Aes256Ctr,
        period: 100,
    };

    fn dictionary(method: Method, creation_time: u64, was_exposed: bool) -> KeyDictionary {
        let mut keys = KeyDictionary::new();
        keys.rotate(method, creation_time, &mut TestRng::default())
            .unwrap();
        keys.keys
            .values_mut()
            .for_each(|entry| entry.was_exposed = was_exposed);
        keys
    }

    #[test]
    fn rotation_is_due_for_each_reason_and_not_otherwise() {
        use RotationReason::*;
        let due =
            |keys: &KeyDictionary, secure, now| keys.rotation_due(&POLICY, secure, now).unwrap();
        let fresh = dictionary(Method::Aes256Ctr, 1000, false);
        let exposed = dictionary(Method::Aes256Ctr, 1000, true);
        assert_eq!(due(&KeyDictionary::new(), true, 1000), Some(NoCurrentKey));
        assert_eq!(
            due(&dictionary(Method::Sm4Ctr, 1000, false), true, 1000),
            Some(MethodChanged)
        );
        assert_eq!(due(&exposed, true, 1000), Some(Exposed));
        assert_eq!(due(&exposed, false, 1000), None);
        assert_eq!(due(&fresh, true, 1099), None);
        assert_eq!(
            due(&fresh, true, 1100),
            Some(Expired { age: 100 }),
            "equality rotates"
        );
        assert_eq!(due(&fresh, true, 999), Some(CreatedInTheFuture));
    }

    #[test]
    fn absent_current_key_is_an_error_instead_of_a_panic() {
        let mut keys = dictionary(Method::Aes128Ctr, 1, false);
        keys.current_key_id = keys.current_key_id.wrapping_add(1);
        let error = keys.rotation_due(&POLICY, true, 2).unwrap_err();
        assert_eq!(
            error,
            NotFound::CurrentDataKey {
                id: keys.current_key_id,
                keys: 1
            }
            .into()
        );
    }

    #[test]
    fn saving_under_plaintext_marks_every_key_as_exposed() {
        let mut keys = dictionary(Method::Aes128Ctr, 1, false);
        let file = keys
            .seal(&MasterKey::Plaintext, &mut TestRng::default())
            .unwrap();
        let read = KeyDictionary::open(&file, &MasterKey::Plaintext).unwrap();
        assert!(read.iter().all(|(_, entry)| entry.was_exposed));
    }

    #[test]
    fn a_damaged_envelope_is_reported_where_it_stands_in_the_file() {
        let content = protobuf_metadata("method", b"aes256-gcm");
        let file = header::frame(Version::V1, &content);
        let master_key = MasterKey::Raw(RawMasterKey::random(&mut TestRng::default()).unwrap());
        let error = KeyDictionary::open(&file, &master_key).unwrap_err();
        let Error::Damaged(damage) = error else {
            panic!("{error}")
        };
        assert_eq!((damage.part, damage.at), (Part::Envelope, 16));
        assert!(matches!(damage.finding, Finding::MetadataMissing("iv")));
    }

    fn protobuf_metadata(key: &str, value: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        protobuf::put_entry(&mut content, 1, |mut out| {
            protobuf::put_bytes_always(&mut out, 1, key.as_bytes());
            protobuf::put_bytes_always(&mut out, 2, value);
        });
        content
    }

    #[test]
    fn unknown_fields_and_method_numbers_survive_a_rewrite() {
        let message = [
            &b"\x0a\x0f\x08\x05\x12\x0b"[..],       // keys: { 5: …
            b"\x0a\x02\xaa\xbb\x10\x63\x5a\x03new", // key, method 99, field 11: "new"
            b"\x10\x05\x48\x07",                    // current_key_id: 5, field 9: 7
        ]
        .concat();
        let dictionary = KeyDictionary::decode(&message).unwrap();
        assert_eq!(dictionary.get(5).unwrap().method, MethodNumber(99));
        assert_eq!(dictionary.encode(), message);
    }

    #[test]
    fn a_broken_random_number_generator_ends_in_an_error() {
        let mut keys = dictionary(Method::Aes128Ctr, 1, false);
        let error = keys
            .rotate(Method::Aes128Ctr, 2, &mut TestRng::constant(0))
            .unwrap_err();
        assert_eq!(error, Misuse::KeyIdsCollide.into());
        let secret = vec![1; 32];
        assert!(
            KeyEntry::new(SecretBytes::new(secret), Method::Aes256Ctr, 0)
                .unknown
                .is_none()
        );
    }
}
