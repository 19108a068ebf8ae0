//! The byte formats below the dictionaries: header, log record, protobuf subset.

pub(crate) mod cursor;
pub(crate) mod header;
pub(crate) mod protobuf;
pub(crate) mod record;
