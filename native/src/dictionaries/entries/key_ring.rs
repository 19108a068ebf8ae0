//! The data keys of a manager, ready to be handed out without a copy.

use std::array;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use stillkey_core::{FileInfo, KeyDictionary};

use super::super::sealed_keys::SealedKeys;
use super::super::{KeyHandle, key_handle};

/// How many counts of references a key has.
const SHARDS: usize = 8;

/// The data keys, ready to be handed out without a copy.
#[derive(Debug)]
pub(super) struct KeyRing {
    pub(super) dictionary: Arc<KeyDictionary>,
    /// A single count of references would pass from processor to processor with every look-up: so threads share each with few others.
    ready: BTreeMap<u64, [KeyHandle; SHARDS]>,
}

impl KeyRing {
    pub(super) fn new(sealed_keys: &SealedKeys) -> Self {
        let dictionary = sealed_keys.keys().duplicate();
        let ready = dictionary.iter().filter_map(|(id, entry)| {
            let key = dictionary.data_key(id, entry.method).ok().flatten()?;
            let key = Arc::new(key);
            let handles = array::from_fn(|_| Arc::new(CachePadded::new(Arc::clone(&key))));
            Some((id, handles))
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
    ) -> Result<Option<KeyHandle>, stillkey_core::Error> {
        let handles = self.ready.get(&info.key_id);
        match handles.and_then(|handles| handles.get(shard())) {
            Some(key) if info.method == key.cipher().method().into() => Ok(Some(Arc::clone(key))),
            // A file's method may differ from its key's; and an error should say what is wrong.
            _ => {
                let key = self.dictionary.data_key(info.key_id, info.method)?;
                Ok(key.map(key_handle))
            }
        }
    }
}

/// The counts of references that this thread uses.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}
