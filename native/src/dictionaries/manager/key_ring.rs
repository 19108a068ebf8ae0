//! The data keys of a manager, ready to be handed out without a copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use stillkey_core::{DataKey, FileInfo, KeyDictionary};

use super::super::sealed_keys::SealedKeys;

/// The data keys, ready to be handed out without a copy.
#[derive(Debug)]
pub(super) struct KeyRing {
    pub(super) dictionary: Arc<KeyDictionary>,
    ready: BTreeMap<u64, Arc<DataKey>>,
}

impl KeyRing {
    pub(super) fn new(sealed_keys: &SealedKeys) -> Self {
        let dictionary = sealed_keys.keys().duplicate();
        let ready = dictionary.iter().filter_map(|(id, entry)| {
            let key = dictionary.data_key(id, entry.method).ok().flatten()?;
            Some((id, Arc::new(key)))
        });
        Self {
            ready: ready.collect(),
            dictionary: Arc::new(dictionary),
        }
    }

    /// The key for a file; `None` for one in plaintext.
    pub(super) fn data_key(
        &self,
        info: &FileInfo,
    ) -> Result<Option<Arc<DataKey>>, stillkey_core::Error> {
        match self.ready.get(&info.key_id) {
            Some(key) if info.method == key.cipher().method().into() => Ok(Some(Arc::clone(key))),
            // A file's method may differ from its key's; and an error should say what is wrong.
            _ => {
                let key = self.dictionary.data_key(info.key_id, info.method)?;
                Ok(key.map(Arc::new))
            }
        }
    }
}
