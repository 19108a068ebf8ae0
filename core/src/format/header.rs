//! The 16-byte header of both dictionaries: version, reserved bytes, CRC-32 of the content, content length.

use alloc::vec::Vec;

use super::cursor::Cursor;
use crate::error::{Damage, Error, Finding, Part, Unsupported};

/// Length of the header in bytes.
pub(crate) const LEN: usize = 16;

/// Which form a dictionary file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// One envelope, rewritten whole on every change.
    V1,
    /// A file dictionary followed by log records.
    V2,
}

impl Version {
    /// The version byte.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// A dictionary file taken apart; the checksum of `content` has been verified.
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) version: Version,
    pub(crate) content: &'a [u8],
    /// What follows the content; in V1 always empty, in V2 log records.
    pub(crate) rest: &'a [u8],
}

/// Takes a dictionary file apart.
pub(crate) fn parse(file: &[u8]) -> Result<Framed<'_>, Error> {
    let damaged = |at, finding| {
        Error::from(Damage {
            part: Part::Header,
            at,
            finding,
        })
    };
    let mut cursor = Cursor::new(file);
    let fields = (|| Some((cursor.u8()?, cursor.take(3)?, cursor.u32()?, cursor.u64()?)))();
    let Some((version, _reserved, stored, size)) = fields else {
        return Err(damaged(
            0,
            Finding::Short {
                needed: LEN as u64,
                found: file.len() as u64,
            },
        ));
    };
    let version = match version {
        1 => Version::V1,
        2 => Version::V2,
        found => return Err(Unsupported::DictionaryVersion(found).into()),
    };
    let rest = cursor.rest();
    let length = || {
        damaged(
            8,
            Finding::Length {
                declared: size,
                found: rest.len() as u64,
            },
        )
    };
    let size = usize::try_from(size).map_err(|_| length())?;
    let (content, rest) = rest.split_at_checked(size).ok_or_else(length)?;
    if version == Version::V1 && !rest.is_empty() {
        return Err(length());
    }
    let computed = crc32fast::hash(content);
    if stored != computed {
        return Err(damaged(4, Finding::Checksum { stored, computed }));
    }
    Ok(Framed {
        version,
        content,
        rest,
    })
}

/// Puts a header before `content`.
pub(crate) fn frame(version: Version, content: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(LEN + content.len());
    file.extend_from_slice(&[version.number(), 0, 0, 0]);
    file.extend_from_slice(&crc32fast::hash(content).to_be_bytes());
    file.extend_from_slice(&(content.len() as u64).to_be_bytes());
    file.extend_from_slice(content);
    file
}
