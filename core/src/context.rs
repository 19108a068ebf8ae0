//! The encryption context: facts about an object, not secret, that must be presented again to open it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Misuse};

/// A string-to-string map that is bound to a wrapped key or sealed object, but not stored in it.
///
/// The empty context and no context are the same. Keys and values are compared byte by byte, without normalisation.
///
/// ```
/// use stillkey_core::EncryptionContext;
/// let context: EncryptionContext = [("tenant", "7"), ("purpose", "backup")].into_iter().collect();
/// assert_eq!(context.canonical()?[..4], [0, 0, 0, 2]);
/// # Ok::<(), stillkey_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The empty context.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a pair and returns the value that its key had before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// Whether it has no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The bytes that are authenticated: the number of pairs, then each key and value behind its length, sorted by the bytes of the key.
    /// Every number is a big-endian `u32`, so no two contexts share a form.
    ///
    /// # Errors
    /// [`Misuse::FieldTooLong`] when a string or the number of pairs passes 2^32 − 1.
    pub fn canonical(&self) -> Result<Vec<u8>, Error> {
        let number = |len: usize| {
            u32::try_from(len)
                .map(u32::to_be_bytes)
                .map_err(|_| Misuse::FieldTooLong("the encryption context"))
        };
        let mut bytes = Vec::new();
        bytes.extend(number(self.0.len())?);
        for string in self.0.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend(number(string.len())?);
            bytes.extend(string.as_bytes());
        }
        Ok(bytes)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_sorts_and_keeps_boundaries() {
        let context = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .copied()
                .collect::<EncryptionContext>()
                .canonical()
                .unwrap()
        };
        let expected = b"\0\0\0\x02\0\0\0\x04Key1\0\0\0\x06Value1\0\0\0\x04Key2\0\0\0\x06Value2";
        assert_eq!(context(&[("Key2", "Value2"), ("Key1", "Value1")]), expected);
        assert_ne!(context(&[("a", "bc")]), context(&[("ab", "c")]));
    }
}
