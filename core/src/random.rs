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

/// A cryptographically secure random number generator that can be behind a pointer: every
/// [`TryCryptoRng`] is one.
///
/// ```
/// use stillkey_core::RandomSource;
/// fn id(random: &mut dyn RandomSource) -> Result<[u8; 16], stillkey_core::Error> {
///     let mut bytes = [0; 16];
///     random.fill(&mut bytes)?;
///     Ok(bytes)
/// }
/// ```
#[cfg(feature = "kms")]
pub trait RandomSource {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the generator fails.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error>;
}

#[cfg(feature = "kms")]
impl<R: TryCryptoRng> RandomSource for R {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        fill(self, bytes)
    }
}
