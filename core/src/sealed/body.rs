//! The body of a sealed object with its key: what an opened header gives.

use crate::cipher::{AeadKey, CipherProvider};
use crate::error::Error;
use crate::iv::Iv;
use crate::sealed::chunks::Chunks;
use crate::sealed::keys::ObjectKeys;
use crate::sealed::suite::{Suite, SuiteBody};
use crate::secret::DataKey;
use crate::stream::CtrStream;

/// The body of an object, with its key.
#[derive(Debug)]
#[non_exhaustive]
pub enum Body {
    /// A counter-mode stream, *without integrity*.
    Stream(CtrStream),
    /// Authenticated chunks.
    Chunked(Chunks),
}

impl Body {
    /// `chunk_size` and `body_at` (where the body starts in the file) matter to chunks only.
    pub(crate) fn new(
        suite: Suite,
        keys: &ObjectKeys,
        iv: Iv,
        (chunk_size, body_at): (usize, u64),
        provider: &dyn CipherProvider,
    ) -> Result<Self, Error> {
        let key = keys.body_key(suite.key_len());
        Ok(match suite.body() {
            SuiteBody::Stream(cipher) => {
                let key = DataKey::new(cipher, key)?;
                Self::Stream(CtrStream::with_provider(provider, &key, iv))
            }
            SuiteBody::Chunked(aead) => {
                let kernel = provider.aead(&AeadKey::new(aead, key)?);
                Self::Chunked(Chunks::new(kernel, &iv, chunk_size, body_at))
            }
        })
    }
}
