//! What the fuzz targets share: checksums made right again, so that mutations reach the code behind them, and predictable
//! random numbers.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

const HEADER: usize = 16;
const RECORD_HEADER: usize = 9;

/// The dictionary file that `bytes` would be if its header's length and checksum, and every record's checksum, were right.
///
/// A declared length that reaches past the end is cut to what is there; records start behind it.
pub fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let Some((header, rest)) = file.split_at_mut_checked(HEADER) else {
        return file;
    };
    let declared = header
        .last_chunk::<8>()
        .map_or(0, |len| u64::from_be_bytes(*len));
    let len = usize::try_from(declared).map_or(rest.len(), |len| len.min(rest.len()));
    let (content, mut records) = rest.split_at_mut(len);
    header[4..8].copy_from_slice(&crc32fast::hash(content).to_be_bytes());
    header[8..].copy_from_slice(&(len as u64).to_be_bytes());

    while let Some((header, rest)) = records.split_at_mut_checked(RECORD_HEADER) {
        let length_at = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let Some((body, next)) = rest.split_at_mut_checked(length_at(4) + length_at(6)) else {
            break;
        };
        header[..4].copy_from_slice(&crc32fast::hash(body).to_be_bytes());
        records = next;
    }
    file
}

/// Counts up: runs can be repeated.
#[derive(Default)]
pub struct CountingRng(u8);

impl TryRng for CountingRng {
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
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for CountingRng {}
