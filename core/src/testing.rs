//! A predictable random number generator for this crate's own tests.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

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
