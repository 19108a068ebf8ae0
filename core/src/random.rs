//! Randomness comes from the caller; these helpers turn its failures into [`Error`].

use alloc::format;

use rand_core::TryCryptoRng;

use crate::error::Error;

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
