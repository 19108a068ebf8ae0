//! What the fuzz targets share: checksums made right again, so that mutations reach the code behind them, counter mode written out,
//! and predictable random numbers.

pub mod kms;

use core::convert::Infallible;

use aes::{Aes128, Aes192, Aes256};
use cipher::consts::U16;
use cipher::{Array, BlockCipherEncrypt, KeyInit};
use rand_core::{TryCryptoRng, TryRng};
use sm4::Sm4;
use stillkey_core::Cipher;
use stillkey_core::sealed::Header;

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

/// The sealed object that `bytes` would be if its header's checksum were right.
pub fn with_right_sealed_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut object = bytes.to_vec();
    if let Ok(len) = Header::len_of(bytes)
        && let Some(header) = object.get_mut(..len)
    {
        let (checked, rest) = header.split_at_mut(len - 36);
        rest[..4].copy_from_slice(&crc32fast::hash(checked).to_be_bytes());
    }
    object
}

/// `data` at byte `offset` in counter mode as NIST SP 800-38A §6.5 has it, one block at a time, with the whole block as the counter.
pub fn by_the_book(cipher: Cipher, key: &[u8], iv: [u8; 16], offset: u64, data: &[u8]) -> Vec<u8> {
    let encrypt: Box<dyn Fn(u128) -> [u8; 16]> = match cipher {
        Cipher::Aes128 => block_cipher::<Aes128>(key),
        Cipher::Aes192 => block_cipher::<Aes192>(key),
        Cipher::Aes256 => block_cipher::<Aes256>(key),
        Cipher::Sm4 => block_cipher::<Sm4>(key),
    };
    let first = u128::from_be_bytes(iv).wrapping_add(u128::from(offset / 16));
    let skipped = (offset % 16) as usize;
    let blocks = (skipped + data.len()).div_ceil(16) as u128;
    let keystream = (0..blocks).flat_map(|block| encrypt(first.wrapping_add(block)));
    let bytes = data.iter().zip(keystream.skip(skipped));
    bytes.map(|(data, keystream)| data ^ keystream).collect()
}

fn block_cipher<C>(key: &[u8]) -> Box<dyn Fn(u128) -> [u8; 16]>
where
    C: KeyInit + BlockCipherEncrypt<BlockSize = U16> + 'static,
{
    let cipher = C::new_from_slice(key).expect("a fitting length");
    Box::new(move |counter| {
        let mut block = Array::from(counter.to_be_bytes());
        cipher.encrypt_block(&mut block);
        block.into()
    })
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
