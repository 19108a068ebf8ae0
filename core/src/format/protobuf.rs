//! The small part of proto3's wire format that the dictionaries use.
//!
//! Own code, since two properties matter here that no well-kept no_std crate offers together: unknown fields survive a rewrite
//! byte for byte, and a message that holds keys is encoded into one buffer of exactly its size, which can be zeroized (a growing
//! vector leaves copies behind). `prost`, which drops unknown fields, is the oracle in the tests.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use super::cursor::Cursor;

/// Nested groups deeper than this are refused, so that a hostile message can't exhaust the stack.
const MAX_GROUP_DEPTH: u32 = 32;

/// Why bytes are not a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtoError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

impl ProtoError {
    /// The same error seen from a message that holds this one `base` bytes in.
    fn within(self, base: usize) -> Self {
        Self {
            at: self.at + base,
            ..self
        }
    }
}

/// A message that can be read and written. Encoding is deterministic: ascending field numbers, maps sorted, unknown fields last.
pub(crate) trait Message: Sized {
    fn decode(bytes: &[u8]) -> Result<Self, ProtoError>;

    fn encode_to(&self, out: &mut impl Sink);

    fn encoded_len(&self) -> usize {
        let mut count = Counter(0);
        self.encode_to(&mut count);
        count.0
    }

    /// The encoding, in a vector without spare capacity.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode_to(&mut out);
        out
    }
}

/// Where an encoding goes.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Fields that a message had and we don't know, kept as they were.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct UnknownFields(Vec<u8>);

impl UnknownFields {
    pub(crate) fn keep(&mut self, field: &Field<'_>) {
        self.0.extend_from_slice(field.raw);
    }

    pub(crate) fn encode_to(&self, out: &mut impl Sink) {
        out.put(&self.0);
    }
}

impl Drop for UnknownFields {
    /// A field of the future may hold key material.
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownFields({} bytes)", self.0.len())
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers and groups: no message here has any, so they can only be unknown fields.
    Other,
}

#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
    /// Tag and value as they stood in the message.
    raw: &'a [u8],
    /// Where the value's bytes end in the message.
    end: usize,
}

impl<'a> Field<'a> {
    pub(crate) fn varint(&self) -> Result<u64, ProtoError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.error("a number was expected")),
        }
    }

    /// An enum number; a larger varint is truncated as protobuf says.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf truncates to 32 bits"
    )]
    pub(crate) fn enumeration(&self) -> Result<i32, ProtoError> {
        self.varint().map(|value| value as i32)
    }

    pub(crate) fn bytes(&self) -> Result<&'a [u8], ProtoError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error("bytes were expected")),
        }
    }

    /// Where the value's bytes start in the message.
    pub(crate) fn value_at(&self) -> usize {
        self.end - self.bytes().map_or(0, <[u8]>::len)
    }

    pub(crate) fn string(&self) -> Result<&'a str, ProtoError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| self.error("a string is not UTF-8"))
    }

    pub(crate) fn message<M: Message>(&self) -> Result<M, ProtoError> {
        let bytes = self.bytes()?;
        M::decode(bytes).map_err(|error| error.within(self.value_at()))
    }

    /// A map entry: its key and value as the two functions read them; absent ones are `None`, the last of repeated ones counts.
    pub(crate) fn entry<K, V>(
        &self,
        read_key: impl Fn(Field<'a>) -> Result<K, ProtoError>,
        read_value: impl Fn(Field<'a>) -> Result<V, ProtoError>,
    ) -> Result<(Option<K>, Option<V>), ProtoError> {
        let base = self.value_at();
        let (mut key, mut value) = (None, None);
        for field in Fields::new(self.bytes()?) {
            let mut field = field.map_err(|error| error.within(base))?;
            field.end += base;
            match field.number {
                1 => key = Some(read_key(field)?),
                2 => value = Some(read_value(field)?),
                _ => {} // Protobuf's map entries have nowhere to keep unknown fields.
            }
        }
        Ok((key, value))
    }

    /// What is wrong with this field.
    pub(crate) fn error(&self, what: &'static str) -> ProtoError {
        ProtoError {
            at: self.end - self.raw.len(),
            what,
        }
    }
}

/// The fields of a message, in the order they stand.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    cursor: Cursor<'a>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            cursor: Cursor::new(bytes),
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.cursor.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn tag(&mut self) -> Option<(u32, u8)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        (tag >> 3 != 0).then_some((tag >> 3, (tag & 7) as u8))
    }

    fn value(&mut self, number: u32, wire_type: u8, depth: u32) -> Option<Value<'a>> {
        match wire_type {
            0 => self.varint().map(Value::Varint),
            1 => self.cursor.take(8).map(|_| Value::Other),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.cursor.take(len).map(Value::Bytes)
            }
            3 if depth < MAX_GROUP_DEPTH => loop {
                let (inner, wire_type) = self.tag()?;
                if wire_type == 4 {
                    // Another group's end would be kept as an unknown field and spoil the rewritten message for other readers.
                    return (inner == number).then_some(Value::Other);
                }
                self.value(inner, wire_type, depth + 1)?;
            },
            5 => self.cursor.take(4).map(|_| Value::Other),
            _ => None,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ProtoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.cursor.at();
        if self.cursor.rest().is_empty() {
            return None;
        }
        let field = (|| {
            let (number, wire_type) = self.tag()?;
            let value = self.value(number, wire_type, 0)?;
            let end = self.cursor.at();
            Some(Field {
                number,
                value,
                raw: self.bytes.get(start..end)?,
                end,
            })
        })();
        if field.is_none() {
            self.cursor = Cursor::new(&[]); // Nothing after a malformed field can be trusted.
        }
        Some(field.ok_or(ProtoError {
            at: start,
            what: "a field is cut off or malformed",
        }))
    }
}

pub(crate) fn put_varint(out: &mut impl Sink, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.put(&[low]);
        }
        out.put(&[low | 0x80]);
    }
}

/// A number; left out when 0, as proto3 does.
pub(crate) fn put_number(out: &mut impl Sink, field: u32, value: u64) {
    if value != 0 {
        put_number_always(out, field, value);
    }
}

/// A number, also when 0: for the keys of maps.
pub(crate) fn put_number_always(out: &mut impl Sink, field: u32, value: u64) {
    put_varint(out, u64::from(field << 3));
    put_varint(out, value);
}

/// An enum number; negative ones are sign-extended to 64 bits, as protobuf says.
#[expect(clippy::cast_sign_loss, reason = "protobuf sign-extends")]
pub(crate) fn put_enumeration(out: &mut impl Sink, field: u32, number: i32) {
    put_number(out, field, i64::from(number) as u64);
}

/// Bytes or a string; left out when empty, as proto3 does.
pub(crate) fn put_bytes(out: &mut impl Sink, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes_always(out, field, bytes);
    }
}

/// Bytes or a string, also when empty: for the keys and values of maps.
pub(crate) fn put_bytes_always(out: &mut impl Sink, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, bytes.len() as u64);
    out.put(bytes);
}

/// An embedded message.
pub(crate) fn put_message(out: &mut impl Sink, field: u32, message: &impl Message) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, message.encoded_len() as u64);
    message.encode_to(out);
}

/// A map entry, written by `put`, which is called twice: once to measure.
pub(crate) fn put_entry(out: &mut impl Sink, field: u32, put: impl Fn(&mut dyn FnMut(&[u8]))) {
    let mut len = 0;
    put(&mut |bytes| len += bytes.len());
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, len as u64);
    put(&mut |bytes| out.put(bytes));
}

impl<F: FnMut(&[u8]) + ?Sized> Sink for &mut F {
    fn put(&mut self, bytes: &[u8]) {
        self(bytes);
    }
}

impl ProtoError {
    /// As an error about the message that stands `base` bytes into `part`'s file.
    pub(crate) fn in_part(self, part: crate::error::Part, base: u64) -> crate::error::Error {
        crate::error::Damage {
            part,
            at: base + self.at as u64,
            finding: crate::error::Finding::Protobuf(self.what),
        }
        .into()
    }
}
