//! Randomness comes from the caller; these helpers turn its failures into [`Error`].

use alloc::format;
use alloc::vec;

use rand_core::TryCryptoRng;

use crate::error::Error;
use crate::secret::SecretBytes;

pub(crate) fn fill<R: TryCryptoRng + ?Sized>(rng: &mut R, bytes: &mut [u8]) -> Result<(), Error> {
    rng.try_fill_bytes(bytes)
        .map_err(|error| Error::Unavailable(format!("the random number generator failed: {error}")))
}

pub(crate) fn array<const N: usize, R: TryCryptoRng + ?Sized>(
    rng: &mut R,
) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(rng, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn secret<R: TryCryptoRng + ?Sized>(
    rng: &mut R,
    len: usize,
) -> Result<SecretBytes, Error> {
    let mut bytes = zeroize::Zeroizing::new(vec![0; len]);
    fill(rng, &mut bytes)?;
    Ok(SecretBytes::new(core::mem::take(&mut *bytes)))
}
