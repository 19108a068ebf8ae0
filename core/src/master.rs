//! Master keys: what seals key dictionaries and wraps the data keys of sealed objects.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hkdf::Hkdf;
use rand_core::TryCryptoRng;
use sha2::Sha256;

use crate::context::EncryptionContext;
use crate::error::{Error, Misuse};
use crate::secret::SecretBytes;
use crate::stack::wiped;

/// A master key, by how data is sealed under it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MasterKey {
    /// None: key dictionaries stay readable to anyone. For compatibility; saving under it marks every data key as exposed.
    Plaintext,
    /// 32 bytes in memory, wherever they came from.
    Raw(RawMasterKey),
    /// A key service, which wraps and unwraps keys and never hands its own key out.
    Service(Arc<dyn KeyService>),
}

impl MasterKey {
    /// Whether it protects anything: all but [`MasterKey::Plaintext`] do.
    pub fn is_secure(&self) -> bool {
        !matches!(self, Self::Plaintext)
    }

    /// What it is, for messages: `plaintext`, `a 32-byte master key`, or the vendor of a key service.
    pub fn kind(&self) -> &str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Raw(_) => "a 32-byte master key",
            Self::Service(service) => service.vendor(),
        }
    }
}

/// A 32-byte master key held in memory.
#[derive(Clone)]
pub struct RawMasterKey(Arc<SecretBytes>);

impl RawMasterKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes the key over.
    ///
    /// # Errors
    /// [`Misuse::MasterKeyLength`] when it isn't 32 bytes long.
    pub fn new(bytes: SecretBytes) -> Result<Self, Error> {
        if bytes.len() != Self::LEN {
            return Err(Misuse::MasterKeyLength { found: bytes.len() }.into());
        }
        Ok(Self(Arc::new(bytes)))
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when `rng` fails.
    pub fn random<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, Error> {
        SecretBytes::random(rng, Self::LEN).map(|bytes| Self(Arc::new(bytes)))
    }

    /// Its bytes.
    pub fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// A name for this key that tells nothing about its bytes: 16 hexadecimal digits, derived one way by HKDF-SHA256.
    ///
    /// ```
    /// use stillkey_core::{RawMasterKey, SecretBytes};
    /// let key = RawMasterKey::new(SecretBytes::new(vec![7; 32]))?;
    /// assert_eq!(key.reference().len(), 16);
    /// # Ok::<(), stillkey_core::Error>(())
    /// ```
    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA256 fails only above 8160 bytes of output"
    )]
    pub fn reference(&self) -> String {
        let mut reference = [0; 8];
        wiped(|| {
            Hkdf::<Sha256>::new(None, self.0.danger_bytes())
                .expand(b"stillkey/v1/master-key-reference", &mut reference)
                .expect("8 bytes are few enough");
        });
        reference.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for RawMasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawMasterKey({})", self.reference())
    }
}

/// A service that wraps keys under a master key which it keeps to itself.
///
/// Calls may block on the network. An implementation returns [`Error::WrongMasterKey`] only when the service says that a wrapped
/// key isn't its own, and [`Error::Unavailable`] when it could not ask: the first may lead to a fallback, the second never does.
pub trait KeyService: Send + Sync + fmt::Debug {
    /// The name stored in key dictionaries, compared exactly: `AWS`, `azure`, `gcp`, …
    fn vendor(&self) -> &str;

    /// The number stored in sealed objects (`core/FORMAT.md` lists them): neither 0 nor 1. Key dictionaries don't use it.
    fn provider(&self) -> u8;

    /// The version of the master key that [`KeyService::wrap`] and [`KeyService::generate`] use
    /// now, spelled as in [`WrappedKey::version`]. Empty, the default, where the service reports
    /// none or denies this caller the permission to read it: a wrapped key is then never due for
    /// renewal. A service that reports one here reports it with each wrapped key, too.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service could not be asked.
    fn current_version(&self) -> Result<String, Error> {
        Ok(String::new())
    }

    /// A new random key of `len` bytes with its wrapped form, bound to `context` as by
    /// [`KeyService::wrap`], where the service makes both in one call. `None`, the default, where
    /// it doesn't: the caller then draws the key itself and has it wrapped.
    ///
    /// [`Envelope::seal`](crate::Envelope::seal) and [`sealed`](crate::sealed) ask for this first,
    /// since many operators grant the permission to generate data keys but not the one to encrypt.
    /// They refuse a key of another length.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service could not do it. The caller doesn't ask it to wrap
    /// instead.
    fn generate(
        &self,
        len: usize,
        context: &EncryptionContext,
    ) -> Result<Option<(SecretBytes, WrappedKey)>, Error> {
        let _ = (len, context);
        Ok(None)
    }

    /// Wraps `key`, binding it to `context`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service could not do it.
    fn wrap(&self, key: &SecretBytes, context: &EncryptionContext) -> Result<WrappedKey, Error>;

    /// Unwraps a key.
    ///
    /// # Errors
    /// [`Error::WrongMasterKey`] or [`Error::Unavailable`], as above.
    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, Error>;
}

/// A new key of `len` bytes with its wrapped form: generated by the service, or drawn from `rng`
/// and wrapped.
///
/// # Errors
/// [`Error::Unavailable`] when `rng` or the service fails, or when the service generates a key of
/// another length.
pub(crate) fn new_key<R: TryCryptoRng + ?Sized>(
    service: &dyn KeyService,
    len: usize,
    context: &EncryptionContext,
    rng: &mut R,
) -> Result<(SecretBytes, WrappedKey), Error> {
    match service.generate(len, context)? {
        Some((key, wrapped)) if key.len() == len => Ok((key, wrapped)),
        Some((key, _)) => Err(Error::Unavailable(format!(
            "the key service {} generated a key of {} bytes, expected {len}",
            service.vendor(),
            key.len()
        ))),
        None => {
            let key = SecretBytes::random(rng, len)?;
            let wrapped = service.wrap(&key, context)?;
            Ok((key, wrapped))
        }
    }
}

/// A key as its service wrapped it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which master key, as the service reports it. Empty where a format has no place for it (key dictionaries).
    pub reference: String,
    /// Which version of the master key, where the service reports one; else empty.
    pub version: String,
    /// The wrapped key, opaque.
    pub blob: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::testing::{CountingService, Generates, TestRng};
    use alloc::string::ToString;

    fn seal(service: &Arc<CountingService>) -> Result<Envelope, Error> {
        let payload = SecretBytes::copied(b"payload");
        Envelope::seal(&payload, &service.master_key(), &mut TestRng::default())
    }

    fn open(envelope: &Envelope, service: &Arc<CountingService>) -> SecretBytes {
        envelope.open(&service.master_key()).unwrap()
    }

    #[test]
    fn a_key_that_the_service_generates_seals_the_envelope_and_is_not_wrapped_again() {
        let service = Arc::new(CountingService::generating());
        let envelope = seal(&service).unwrap();
        assert_eq!(service.calls(), (1, 0));
        let key = [CountingService::FIRST_BYTE; 32];
        let no_pairs = [0; 4];
        assert_eq!(
            envelope.wrapped_key(),
            Some(&*[&key[..], &no_pairs].concat())
        );
        assert_eq!(envelope.sealing().key_version.as_deref(), Some("7"));
        assert_eq!(open(&envelope, &service).danger_bytes(), b"payload");
        let other = seal(&service).unwrap();
        assert_ne!(
            other.wrapped_key(),
            envelope.wrapped_key(),
            "a key for each"
        );
    }

    #[test]
    fn a_key_that_the_service_does_not_generate_is_drawn_and_wrapped() {
        let service = Arc::new(CountingService::wrapping());
        let envelope = seal(&service).unwrap();
        assert_eq!(service.calls(), (1, 1));
        let drawn: Vec<u8> = (0..32).chain([0; 4]).collect();
        assert_eq!(
            envelope.wrapped_key(),
            Some(&*drawn),
            "the first bytes drawn"
        );
        assert_eq!(open(&envelope, &service).danger_bytes(), b"payload");
    }

    #[test]
    fn a_generated_key_of_another_length_seals_no_envelope() {
        let others: [(Generates, usize); 4] = [
            (|_| Ok(Some(0)), 0),
            (|_| Ok(Some(16)), 16),
            (|len| Ok(Some(len - 1)), 31),
            (|len| Ok(Some(len + 1)), 33),
        ];
        for (generates, found) in others {
            let service = Arc::new(CountingService::new(generates));
            let error = seal(&service).unwrap_err();
            let expected = format!(
                "the key service COUNTING generated a key of {found} bytes, expected 32; \
                 the data is not to blame: try again"
            );
            assert_eq!(error.to_string(), expected);
            assert_eq!(service.calls(), (1, 0));
        }
    }

    #[test]
    fn a_service_that_fails_to_generate_is_not_asked_to_wrap() {
        let service = Arc::new(CountingService::new(|_| {
            Err(Error::Unavailable("access denied".into()))
        }));
        let denied = Error::Unavailable("access denied".into());
        assert_eq!(seal(&service), Err(denied));
        assert_eq!(service.calls(), (1, 0));
    }
}
