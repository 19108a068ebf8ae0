//! What a store keeps of a KMS, as one message: the state, the key of its material's keeper, and the
//! audit records of the last change. One message, so that a change and its records are durable
//! together or not at all.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::id::Id;
use super::material::MaterialKeeper;
use super::snapshot::NotASnapshot;
use super::state::State;
use crate::format::protobuf::{
    Fields, Message, ProtoError, Sink, UnknownFields, put_bytes, put_message,
};
use crate::secret::SecretBytes;

/// What a store keeps of a KMS.
///
/// The key of the keeper is in it, so that the root key, under which all of it is sealed, can change
/// without touching any material.
#[derive(Debug)]
pub struct Stored {
    /// For [`SoftwareKeeper::new`](super::material::SoftwareKeeper::new): 32 bytes.
    pub keeper_key: SecretBytes,
    /// Of the audit chain.
    pub instance: Id,
    /// The state.
    pub state: State,
    /// Records of the last changes, as [`AuditRecord::body`](super::audit::AuditRecord::body) gave
    /// them: they may be missing in the audit log.
    pub unlogged: Vec<String>,
    /// What a later release has put beside them.
    pub unknown: StoredExtra,
}

/// Fields of a [`Stored`] that this release doesn't know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredExtra(UnknownFields);

/// The bytes of a [`Stored`]: to be sealed before they go anywhere.
pub struct StoredBytes(Zeroizing<Vec<u8>>);

impl StoredBytes {
    /// The bytes, secrets among them.
    pub fn danger_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be encrypted in place.
    pub fn danger_into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl fmt::Debug for StoredBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredBytes({} bytes)", self.0.len())
    }
}

impl Stored {
    /// As bytes, in a buffer of exactly their size and `room` bytes more.
    pub fn to_bytes(&self, room: usize) -> StoredBytes {
        let mut bytes = Vec::with_capacity(self.encoded_len() + room);
        self.encode_to(&mut bytes);
        StoredBytes(Zeroizing::new(bytes))
    }

    /// What [`Stored::to_bytes`] gave. `keeper` makes a keeper of its key, which loads the material.
    ///
    /// # Errors
    /// [`NotASnapshot`], also where `keeper` gives none.
    pub fn from_bytes<K: MaterialKeeper>(
        bytes: &[u8],
        keeper: impl FnOnce(&SecretBytes) -> Option<K>,
    ) -> Result<(Self, K), NotASnapshot> {
        let mut stored = Self::decode(bytes)?;
        let keeper = keeper(&stored.keeper_key).ok_or(NotASnapshot {
            at: None,
            finding: "the key of the material's keeper is none",
        })?;
        stored.state = stored.state.loaded(&keeper)?;
        Ok((stored, keeper))
    }
}

impl Message for Stored {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let missing = ProtoError {
            at: 0,
            what: "the state, its keeper's key or the instance is missing",
        };
        let (mut keeper_key, mut instance, mut state) = (None, None, None);
        let mut unlogged = Vec::new();
        let mut unknown = UnknownFields::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => keeper_key = Some(SecretBytes::copied(field.bytes()?)),
                2 => {
                    let id = field.bytes()?.try_into();
                    let id = id.map_err(|_| field.error("an id has another length"))?;
                    instance = Some(Id::from_bytes(id));
                }
                3 => state = Some(field.message()?),
                4 => unlogged.push(field.string()?.to_owned()),
                _ => unknown.keep(&field),
            }
        }
        Ok(Self {
            keeper_key: keeper_key.ok_or(missing)?,
            instance: instance.ok_or(missing)?,
            state: state.ok_or(missing)?,
            unlogged,
            unknown: StoredExtra(unknown),
        })
    }

    fn encode_to(&self, out: &mut impl Sink) {
        put_bytes(out, 1, self.keeper_key.danger_bytes());
        put_bytes(out, 2, self.instance.as_bytes());
        put_message(out, 3, &self.state);
        for body in &self.unlogged {
            put_bytes(out, 4, body.as_bytes());
        }
        self.unknown.0.encode_to(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::alias::Namespace;
    use crate::kms::material::SoftwareKeeper;
    use alloc::vec;

    #[test]
    fn everything_reads_back_with_what_a_later_release_has_added() {
        let namespace = Namespace::new("local", "0").unwrap();
        let stored = Stored {
            keeper_key: SecretBytes::new(vec![1; 32]),
            instance: Id::from_bytes([2; 16]),
            state: State::new(namespace, SecretBytes::new(vec![3; 32])).unwrap(),
            unlogged: vec!["{}".into()],
            unknown: StoredExtra::default(),
        };
        let mut bytes = stored.to_bytes(100).danger_into_bytes();
        put_bytes(&mut *bytes, 1000, b"future");
        let keeper = |key: &SecretBytes| SoftwareKeeper::new(key.duplicate(), None).ok();
        let (again, _) = Stored::from_bytes(&bytes, keeper).unwrap();
        assert_eq!(again.state, stored.state);
        assert_eq!(
            (again.instance, &again.unlogged),
            (stored.instance, &stored.unlogged)
        );
        assert_eq!(again.to_bytes(0).danger_bytes(), &bytes[..]);
        assert!(Stored::from_bytes(&bytes[1..], keeper).is_err());
    }
}
