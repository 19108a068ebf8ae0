//! One record of the file dictionary's log: checksum, lengths, type, name, file information.
//!
//! The checksum covers name and information but neither the lengths nor the type.

use alloc::vec::Vec;

use super::cursor::Cursor;

/// Bytes before a record's name.
pub(crate) const HEADER_LEN: usize = 9;

/// The type byte of an insert record.
pub(crate) const INSERT: u8 = 1;
/// The type byte of a remove record.
pub(crate) const REMOVE: u8 = 2;

/// A record whose lengths fit in the bytes at hand; nothing else about it has been checked.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) stored_checksum: u32,
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
    pub(crate) info: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Cuts the first record off `bytes`; `None` when it reaches past their end.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let (stored_checksum, name_len, info_len, kind) =
            (cursor.u32()?, cursor.u16()?, cursor.u16()?, cursor.u8()?);
        let (name, info) = (cursor.take(name_len.into())?, cursor.take(info_len.into())?);
        Some(Self {
            stored_checksum,
            kind,
            name,
            info,
        })
    }

    /// The length of the first record of `bytes` as its header has it; that of a header when there isn't even that.
    pub(crate) fn claimed_len(bytes: &[u8]) -> usize {
        let mut cursor = Cursor::new(bytes);
        let lengths = cursor
            .u32()
            .and_then(|_| Some((cursor.u16()?, cursor.u16()?)));
        let (name_len, info_len) = lengths.unwrap_or_default();
        HEADER_LEN + usize::from(name_len) + usize::from(info_len)
    }

    pub(crate) fn len(&self) -> usize {
        HEADER_LEN + self.name.len() + self.info.len()
    }

    pub(crate) fn computed_checksum(&self) -> u32 {
        checksum(self.name, self.info)
    }

    pub(crate) fn is_intact(&self) -> bool {
        self.stored_checksum == self.computed_checksum()
    }
}

fn checksum(name: &[u8], info: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name);
    hasher.update(info);
    hasher.finalize()
}

/// Appends a record to `out`, from lengths that have been checked to fit.
pub(crate) fn encode(kind: u8, name: (&[u8], u16), info: (&[u8], u16), out: &mut Vec<u8>) {
    out.reserve(HEADER_LEN + name.0.len() + info.0.len());
    out.extend_from_slice(&checksum(name.0, info.0).to_be_bytes());
    out.extend_from_slice(&name.1.to_be_bytes());
    out.extend_from_slice(&info.1.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(name.0);
    out.extend_from_slice(info.0);
}
