//! A keeper that can be told to fail, and a stand-in for RSA.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use stillkey_core::kms::blob::CiphertextBlob;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::ProtectionLevel;
use stillkey_core::kms::material::{
    ImportCipher, ImportPair, KeeperError, KeptMaterial, MaterialKeeper, Place, SoftwareKeeper,
    Unwrapped, WrappedMaterial,
};
use stillkey_core::{RandomSource, SecretBytes};
use stillkey_tests::random::Seeded;

/// Each pair has a number, whose stream of bytes wraps: the first four say that the padding is
/// good, the others are added to the material. Public and private key are that number.
#[derive(Debug, Default)]
struct FakeRsa(AtomicU64);

const PADDING: usize = 4;

fn stream(pair: &[u8], len: usize) -> Vec<u8> {
    let number: [u8; 8] = pair[..8].try_into().unwrap();
    Seeded(u64::from_be_bytes(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)).bytes(PADDING + len)
}

/// What is sent as the material, for the owner of the private key to read.
pub(crate) fn wrap(public_key: &[u8], material: &[u8]) -> Vec<u8> {
    let stream = stream(public_key, material.len());
    let body = stream[PADDING..].iter().zip(material).map(|(a, b)| a ^ b);
    stream[..PADDING].iter().copied().chain(body).collect()
}

/// `None`: the padding is bad.
pub(crate) fn unwrap(pair: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
    let (padding, body) = wrapped.split_at_checked(PADDING)?;
    let stream = stream(pair, body.len());
    let material = stream[PADDING..].iter().zip(body).map(|(a, b)| a ^ b);
    (padding == &stream[..PADDING]).then(|| material.collect())
}

impl ImportCipher for FakeRsa {
    fn generate(&self, _: WrappingAlgorithm) -> Result<(Vec<u8>, SecretBytes), KeeperError> {
        let pair = (self.0.fetch_add(1, Relaxed) + 1).to_be_bytes().to_vec();
        Ok((pair.clone(), SecretBytes::new(pair)))
    }

    fn unwrap(
        &self,
        private_key: &SecretBytes,
        _: WrappingAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<SecretBytes>, KeeperError> {
        Ok(unwrap(private_key.danger_bytes(), wrapped).map(SecretBytes::new))
    }
}

/// The software's keeper, which does nothing new while it is told so: it makes no material, or
/// encrypts and decrypts nothing.
#[derive(Debug)]
pub(crate) struct Moody {
    keeper: SoftwareKeeper,
    pub(crate) failing: AtomicBool,
    pub(crate) idle: AtomicBool,
}

impl Moody {
    pub(crate) fn new() -> Self {
        let rsa = Arc::new(FakeRsa::default());
        Self {
            keeper: SoftwareKeeper::new(SecretBytes::new(vec![0x22; 32]), Some(rsa)).unwrap(),
            failing: AtomicBool::new(false),
            idle: AtomicBool::new(false),
        }
    }
}

/// One that can't read what [`Moody`] has sealed.
pub(crate) fn stranger() -> SoftwareKeeper {
    SoftwareKeeper::new(SecretBytes::new(vec![0x33; 32]), None).unwrap()
}

fn unless(mood: &AtomicBool) -> Result<(), KeeperError> {
    if mood.load(Relaxed) {
        return Err(KeeperError::Unavailable("the keeper is in a mood".into()));
    }
    Ok(())
}

impl MaterialKeeper for Moody {
    fn offers(&self, level: ProtectionLevel) -> bool {
        self.keeper.offers(level)
    }

    fn generate(
        &self,
        place: &Place,
        random: &mut dyn RandomSource,
    ) -> Result<KeptMaterial, KeeperError> {
        unless(&self.failing)?;
        self.keeper.generate(place, random)
    }

    fn load(&self, place: &Place, sealed: Vec<u8>) -> KeptMaterial {
        self.keeper.load(place, sealed)
    }

    fn seal(
        &self,
        place: &Place,
        material: &KeptMaterial,
        plaintext: &[u8],
        context: &[u8],
        random: &mut dyn RandomSource,
    ) -> Result<Vec<u8>, KeeperError> {
        unless(&self.idle)?;
        self.keeper
            .seal(place, material, plaintext, context, random)
    }

    fn open(
        &self,
        place: &Place,
        material: &KeptMaterial,
        blob: &CiphertextBlob<'_>,
        context: &[u8],
    ) -> Result<SecretBytes, KeeperError> {
        unless(&self.idle)?;
        self.keeper.open(place, material, blob, context)
    }

    fn import_pair(
        &self,
        place: &Place,
        algorithm: WrappingAlgorithm,
        random: &mut dyn RandomSource,
    ) -> Result<ImportPair, KeeperError> {
        unless(&self.idle)?;
        self.keeper.import_pair(place, algorithm, random)
    }

    fn unwrap_import(
        &self,
        import: &WrappedMaterial<'_>,
        place: &Place,
        store_key: &SecretBytes,
        random: &mut dyn RandomSource,
    ) -> Result<Unwrapped, KeeperError> {
        unless(&self.idle)?;
        self.keeper.unwrap_import(import, place, store_key, random)
    }

    fn destroy(&self, place: &Place, material: &KeptMaterial) -> Result<(), KeeperError> {
        self.keeper.destroy(place, material)
    }
}

#[test]
fn only_what_its_public_key_wrapped_comes_out() {
    let pair = 7_u64.to_be_bytes();
    let wrapped = wrap(&pair, b"material");
    assert_eq!(unwrap(&pair, &wrapped).as_deref(), Some(&b"material"[..]));
    assert_eq!(unwrap(&8_u64.to_be_bytes(), &wrapped), None);
    assert_eq!(unwrap(&pair, &wrapped[..3]), None);
}
