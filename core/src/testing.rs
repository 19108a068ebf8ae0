//! A predictable random number generator and a key service that counts its calls, for this crate's
//! own tests.

use alloc::sync::Arc;
use alloc::vec;
use core::convert::Infallible;
use core::sync::atomic::{AtomicU8, Ordering};

use rand_core::{TryCryptoRng, TryRng};

use crate::context::EncryptionContext;
use crate::error::{Error, WrongMasterKey};
use crate::master::{KeyService, MasterKey, WrappedKey};
use crate::secret::SecretBytes;

/// Counts up, or repeats one byte for ever.
#[derive(Default)]
pub(crate) struct TestRng {
    next: u8,
    constant: bool,
}

impl TestRng {
    pub(crate) fn constant(byte: u8) -> Self {
        Self {
            next: byte,
            constant: true,
        }
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.next;
            self.next = self.next.wrapping_add(u8::from(!self.constant));
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// The length of the key that a service generates, by the length asked for; `None` where it leaves
/// that to the caller.
pub(crate) type Generates = fn(usize) -> Result<Option<usize>, Error>;

/// A key service that counts what it is asked for. Its blob is the key itself with the context
/// after it, so it unwraps only what was wrapped with the same context.
#[derive(Debug)]
pub(crate) struct CountingService {
    generates: Generates,
    generated: AtomicU8,
    wrapped: AtomicU8,
}

impl CountingService {
    /// Every byte of the first key that it generates; one more with each key.
    pub(crate) const FIRST_BYTE: u8 = 0xe0;

    pub(crate) fn new(generates: Generates) -> Self {
        Self {
            generates,
            generated: AtomicU8::new(0),
            wrapped: AtomicU8::new(0),
        }
    }

    /// Generates a key whenever it is asked.
    pub(crate) fn generating() -> Self {
        Self::new(|len| Ok(Some(len)))
    }

    /// Generates none.
    pub(crate) fn wrapping() -> Self {
        Self::new(|_| Ok(None))
    }

    /// As a master key.
    pub(crate) fn master_key(self: &Arc<Self>) -> MasterKey {
        let service: Arc<Self> = Arc::clone(self);
        MasterKey::Service(service)
    }

    /// How often it was asked to generate, and to wrap.
    pub(crate) fn calls(&self) -> (u8, u8) {
        let count = |calls: &AtomicU8| calls.load(Ordering::Relaxed);
        (count(&self.generated), count(&self.wrapped))
    }

    fn wrapped_as(
        reference: &str,
        key: &SecretBytes,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, Error> {
        Ok(WrappedKey {
            reference: reference.into(),
            version: "7".into(),
            blob: [key.danger_bytes(), &context.canonical()?].concat(),
        })
    }
}

impl KeyService for CountingService {
    fn vendor(&self) -> &str {
        "COUNTING"
    }

    fn provider(&self) -> u8 {
        202
    }

    fn generate(
        &self,
        len: usize,
        context: &EncryptionContext,
    ) -> Result<Option<(SecretBytes, WrappedKey)>, Error> {
        let calls = self.generated.fetch_add(1, Ordering::Relaxed);
        let Some(len) = (self.generates)(len)? else {
            return Ok(None);
        };
        let key = SecretBytes::new(vec![Self::FIRST_BYTE + calls; len]);
        let wrapped = Self::wrapped_as("generated", &key, context)?;
        Ok(Some((key, wrapped)))
    }

    fn wrap(&self, key: &SecretBytes, context: &EncryptionContext) -> Result<WrappedKey, Error> {
        self.wrapped.fetch_add(1, Ordering::Relaxed);
        Self::wrapped_as("wrapped", key, context)
    }

    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, Error> {
        match wrapped.blob.strip_suffix(&*context.canonical()?) {
            Some(key) => Ok(SecretBytes::copied(key)),
            None => Err(WrongMasterKey::Refused("another context".into()).into()),
        }
    }
}
