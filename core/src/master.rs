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

    /// The version of the master key that [`KeyService::wrap`] uses now, spelled as in [`WrappedKey::version`]. Empty where the service reports
    /// none, as here unless implemented: a wrapped key is then never due for renewal. Otherwise `wrap` has to report one, too.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service could not tell.
    fn current_version(&self) -> Result<String, Error> {
        Ok(String::new())
    }

    /// A new key of `len` bytes with its wrapped form, where the service makes both in one call; `None`, as
    /// here unless implemented, where it doesn't: the key is then drawn by the caller and wrapped. Whatever is
    /// sealed asks for this first, since operators grant the right to it more often than the one to wrap.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the service could not do it.
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

/// A new key of `len` bytes with its wrapped form: made by the service, or drawn from `rng` and wrapped.
pub(crate) fn new_key<R: TryCryptoRng + ?Sized>(
    service: &dyn KeyService,
    len: usize,
    context: &EncryptionContext,
    rng: &mut R,
) -> Result<(SecretBytes, WrappedKey), Error> {
    match service.generate(len, context)? {
        Some((key, wrapped)) if key.len() == len => Ok((key, wrapped)),
        Some((key, _)) => Err(Error::Unavailable(format!(
            "the key service {} was asked for a key of {len} bytes and gave one of {}",
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
    use crate::testing::TestRng;
    use alloc::vec;

    /// Makes keys of so many bytes, if any; never wraps.
    #[derive(Debug)]
    struct Maker(Option<usize>);

    impl KeyService for Maker {
        fn vendor(&self) -> &str {
            "maker"
        }

        fn provider(&self) -> u8 {
            200
        }

        fn generate(
            &self,
            _: usize,
            _: &EncryptionContext,
        ) -> Result<Option<(SecretBytes, WrappedKey)>, Error> {
            Ok(self.0.map(|len| {
                let wrapped = WrappedKey {
                    blob: vec![7; len],
                    ..WrappedKey::default()
                };
                (SecretBytes::new(vec![7; len]), wrapped)
            }))
        }

        fn wrap(&self, _: &SecretBytes, _: &EncryptionContext) -> Result<WrappedKey, Error> {
            Err(Error::Unavailable("not permitted to wrap".into()))
        }

        fn unwrap(
            &self,
            wrapped: &WrappedKey,
            _: &EncryptionContext,
        ) -> Result<SecretBytes, Error> {
            Ok(SecretBytes::copied(&wrapped.blob))
        }
    }

    fn seal(len: Option<usize>) -> Result<SecretBytes, Error> {
        let master_key = MasterKey::Service(Arc::new(Maker(len)));
        let payload = SecretBytes::copied(b"payload");
        let envelope = Envelope::seal(&payload, &master_key, &mut TestRng::default())?;
        envelope.open(&master_key)
    }

    #[test]
    fn a_service_that_makes_keys_need_not_be_permitted_to_wrap_them() {
        assert_eq!(seal(Some(32)).unwrap().danger_bytes(), b"payload");
        assert!(matches!(seal(None), Err(Error::Unavailable(_))));
    }

    #[test]
    fn a_key_of_another_length_than_asked_for_seals_nothing() {
        for len in [0, 16, 31, 33] {
            let error = seal(Some(len)).unwrap_err();
            let expected = format!("a key of 32 bytes and gave one of {len}");
            assert!(format!("{error}").contains(&expected), "{error}");
        }
    }
}
