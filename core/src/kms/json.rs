//! JSON, read strictly and written compactly.
//!
//! A policy or an encryption context must mean the same to every reader. So an object that has a
//! name twice is refused here. Most parsers, `serde_json` among them, keep the last of the two.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

/// How many characters of a text from outside an error quotes.
const QUOTED: usize = 64;

/// A JSON value. The members of an object stand in the order in which they were written, and no two
/// of them have the same name.
///
/// ```
/// use stillkey_core::kms::json::Json;
/// let value = Json::parse(r#"{"b": [1, true], "a": "\u0062"}"#)?;
/// assert_eq!(value.member("a").and_then(Json::as_str), Some("b"));
/// let error = Json::parse("{\n  // none\n}").unwrap_err();
/// assert_eq!((error.line, error.column), (2, 3));
/// assert!(Json::parse(r#"{"a": 1, "\u0061": 2}"#).is_err());
/// # Ok::<(), stillkey_core::kms::json::NotJson>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: names, unescaped, and their values.
    Object(Vec<(String, Json)>),
}

/// A number in JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Negative(i64),
    /// Any other, as near as a double comes to it.
    Float(f64),
}

impl Json {
    /// Reads a text that is one value, with nothing around it but blanks.
    ///
    /// # Errors
    /// [`NotJson`] for anything else, including an object that has a name twice after unescaping,
    /// lone surrogates, and more than 127 levels of arrays and objects.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        let mut deserializer = Deserializer::from_str(text);
        let value = AnyValue.deserialize(&mut deserializer);
        let value = value.and_then(|value| deserializer.end().map(|()| value));
        value.map_err(|error| NotJson::new(text, &error))
    }

    /// What kind of value this is, with its article: `a string`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// The value of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a whole number from 0 on.
    pub const fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(Number::Unsigned(number)) => Some(*number),
            _ => None,
        }
    }

    /// The member of an object with this name.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find_map(|(found, value)| (found == name).then_some(value)),
            _ => None,
        }
    }
}

/// Text from outside as an error quotes it: escaped, and no more than [`QUOTED`] characters of it.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Reads any value. A type of its own keeps serde's traits out of what this module promises.
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(
            u64::try_from(value).map_or(Number::Negative(value), Number::Unsigned),
        ))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(AnyValue)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!(
                    "duplicate name {}",
                    quoted(&name)
                )));
            }
            object.push((name, members.next_value_seed(AnyValue)?));
        }
        Ok(Json::Object(object))
    }
}

/// A text that is not JSON, or is, but ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// The line where reading stopped, from 1 on.
    pub line: usize,
    /// The byte of that line where reading stopped, from 1 on; 0 is the line break before it.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl NotJson {
    fn new(text: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let found = text
            .split('\n')
            .nth(line.saturating_sub(1))
            .and_then(|text| text.get(column.saturating_sub(1)..))
            .unwrap_or_default();
        if found.starts_with("//") || found.starts_with("/*") {
            // As they stand in samples of policies.
            let what = String::from("found a comment, which JSON doesn't have; take it out");
            return Self { line, column, what };
        }
        let mut what = error.to_string();
        if let Some(len) = what
            .strip_suffix(&format!(" at line {line} column {column}"))
            .map(str::len)
        {
            what.truncate(len);
        }
        Self { line, column, what }
    }
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what } = self;
        write!(f, "line {line}, column {column}: {what}")
    }
}

impl core::error::Error for NotJson {}

/// Writes an object without blanks, its members in the order in which they are added.
///
/// It doesn't check that names differ: the caller must not add a name twice.
///
/// ```
/// use stillkey_core::kms::json::ObjectWriter;
/// let mut record = ObjectWriter::new();
/// record.number("seq", 1).string("eventName", "Create\"Key");
/// record.object("userIdentity", |identity| {
///     identity.bool("root", true);
/// });
/// assert_eq!(
///     record.finish(),
///     r#"{"seq":1,"eventName":"Create\"Key","userIdentity":{"root":true}}"#
/// );
/// ```
#[derive(Clone, Debug)]
pub struct ObjectWriter {
    text: String,
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ObjectWriter {
    /// An object that has no members yet.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An object that has no members yet, with room for a text of `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text }
    }

    /// Adds a string, escaped where it has to be.
    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_string(&mut self.text, value);
        self
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        // A string takes whatever is written to it.
        let _ = write!(self.text, "{value}");
        self
    }

    /// Adds `true` or `false`.
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds an object, whose members `fill` adds.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.name(name);
        self.text.push('{');
        fill(self);
        self.text.push('}');
        self
    }

    /// The text of the object, without a line end.
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        push_string(&mut self.text, name);
        self.text.push(':');
    }
}

fn push_string(text: &mut String, value: &str) {
    if value
        .bytes()
        .all(|byte| !matches!(byte, ..0x20 | b'"' | b'\\'))
    {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        let _ = write!(text, "{}", serde_json::Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#" {"n":null,"b":[true,false],"s":"a\u00e9\ud83d\ude00","o":{},
            "i":[0,-0,-1,18446744073709551615,-9223372036854775808,0.5,1e2]} "#;
        let number = |number| Json::Number(number);
        let member = |name: &str, value| (String::from(name), value);
        assert_eq!(
            Json::parse(text),
            Ok(Json::Object(vec![
                member("n", Json::Null),
                member("b", Json::Array(vec![Json::Bool(true), Json::Bool(false)])),
                member("s", Json::String("aé😀".into())),
                member("o", Json::Object(vec![])),
                member(
                    "i",
                    Json::Array(vec![
                        number(Number::Unsigned(0)),
                        number(Number::Float(-0.0)),
                        number(Number::Negative(-1)),
                        number(Number::Unsigned(u64::MAX)),
                        number(Number::Negative(i64::MIN)),
                        number(Number::Float(0.5)),
                        number(Number::Float(100.0)),
                    ])
                ),
            ]))
        );
    }

    #[test]
    fn what_is_not_strictly_json_is_refused_where_it_is_wrong() {
        for (text, line, column, what) in [
            ("", 1, 0, "EOF while parsing a value"),
            ("{} {}", 1, 4, "trailing characters"),
            ("{}\0", 1, 3, "trailing characters"),
            ("[1,]", 1, 4, "trailing comma"),
            (r#""\ud800""#, 1, 8, "unexpected end of hex escape"),
            (r#""\udc00""#, 1, 7, "lone leading surrogate in hex escape"),
            (
                r#""\ud800\u0061""#,
                1,
                13,
                "lone leading surrogate in hex escape",
            ),
            (
                "\"a\nb\"",
                2,
                0,
                "control character (\\u0000-\\u001F) found while parsing a string",
            ),
            ("01", 1, 2, "invalid number"),
            ("NaN", 1, 1, "expected value"),
            ("'a'", 1, 1, "expected value"),
            ("\u{feff}{}", 1, 1, "expected value"),
            ("1e999", 1, 5, "number out of range"),
        ] {
            let what = what.into();
            assert_eq!(
                Json::parse(text),
                Err(NotJson { line, column, what }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_comment_is_refused_by_name_wherever_it_stands() {
        for (text, line, column) in [
            ("// a\n{}", 1, 1),
            ("{} // a", 1, 4),
            ("{// a\n}", 1, 2),
            ("{\n  // a\n}", 2, 3),
            ("{\"a\": 1, // a\n\"b\": 2}", 1, 10),
            ("{\"a\": 1 // a\n, \"b\": 2}", 1, 9),
            ("{\"a\" /* a */: 1}", 1, 6),
            ("{\"a\": /* a */ 1}", 1, 7),
            ("[\n1, // a\n2]", 2, 4),
            ("[\"é\" // a\n]", 1, 7),
            ("[[1], // a\n[2]]", 1, 7),
        ] {
            let error = Json::parse(text).unwrap_err();
            assert!(error.what.starts_with("found a comment"), "{text}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{text}");
        }
        assert!(Json::parse(r#"{"url": "https://example.com/*"}"#).is_ok());
        assert_eq!(Json::parse("[/]").unwrap_err().what, "expected value");
    }

    #[test]
    fn a_name_stands_once_in_an_object_however_it_is_escaped() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"a":{"b":1,"c":{},"b":1}}]"#,
            r#"{"":1,"":2}"#,
            r#"{"/":1,"\/":2}"#,
        ] {
            let error = Json::parse(text).unwrap_err();
            assert!(error.what.starts_with("duplicate name \""), "{error}");
            assert!(error.line == 1 && error.column > 0, "{error}");
        }
        for text in [
            r#"{"a":1,"A":2}"#,
            r#"[{"a":1},{"a":2}]"#,
            r#"{"a":{"a":1}}"#,
            // The same to a reader, but not without normalisation.
            "{\"\u{e9}\":1,\"e\u{301}\":2}",
        ] {
            assert!(Json::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(&nested(127)).is_ok());
        assert_eq!(
            Json::parse(&nested(128)).unwrap_err().to_string(),
            "line 1, column 128: recursion limit exceeded"
        );
        assert!(Json::parse(&nested(100_000)).is_err());
    }

    #[test]
    fn an_error_quotes_no_more_than_some_characters() {
        let name = "é".repeat(1000);
        let error = Json::parse(&format!("{{\"{name}\":1,\"{name}\":1}}")).unwrap_err();
        assert_eq!(
            error.what,
            format!("duplicate name \"{}\"…", "é".repeat(QUOTED))
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let mut writer = ObjectWriter::new();
        writer.string(&all, &all).number("max", u64::MAX);
        writer.object("empty", |_| {});
        writer.object("{", |inner| {
            inner.string("{", "{").object("deeper", |inner| {
                inner.bool("yes", true).bool("no", false);
            });
            inner.number("zero", 0);
        });
        writer.string("plain", "");
        let text = writer.finish();
        assert!(text.ends_with(
            "\"max\":18446744073709551615,\"empty\":{},\"{\":{\"{\":\"{\",\
             \"deeper\":{\"yes\":true,\"no\":false},\"zero\":0},\"plain\":\"\"}"
        ));
        let read = Json::parse(&text).unwrap();
        assert_eq!(read.member(&all).and_then(Json::as_str), Some(&*all));
        assert_eq!(read.member("max").and_then(Json::as_u64), Some(u64::MAX));
        assert!(
            text.chars().all(|c| c >= ' '),
            "a record must stay on one line"
        );
        assert_eq!(ObjectWriter::default().finish(), "{}");
    }
}
