//! Encryption contexts as requests to a KMS carry them: JSON text.

use alloc::string::String;
use core::fmt;

use super::json::{Json, NotJson, quoted};
use crate::context::EncryptionContext;

/// The longest JSON text of an encryption context, in Unicode scalar values.
pub const MAX_CONTEXT_LEN: usize = 8192;

impl EncryptionContext {
    /// Reads a context from JSON: one object whose values are strings. The empty text and `{}` are
    /// the empty context.
    ///
    /// What differs in order, blanks or escapes only is equal. Nothing is trimmed or normalized.
    ///
    /// ```
    /// use stillkey_core::EncryptionContext;
    /// let context = EncryptionContext::from_json(r#"{"Key2": "\u0056", "Key1": "Value1"}"#)?;
    /// let same = EncryptionContext::from_json(r#"{"Key1":"Value1","Key2":"V"}"#)?;
    /// assert_eq!(context.canonical(), same.canonical());
    /// # Ok::<(), stillkey_core::kms::context::NotAContext>(())
    /// ```
    ///
    /// # Errors
    /// [`NotAContext`] for a text of more than [`MAX_CONTEXT_LEN`] characters, which is not parsed,
    /// for what is not strictly JSON (a duplicate name, a lone surrogate, trailing characters), for
    /// any value but an object, and for any member but a string.
    pub fn from_json(text: &str) -> Result<Self, NotAContext> {
        let characters = text.chars().count();
        if characters > MAX_CONTEXT_LEN {
            return Err(NotAContext::TooLong { characters });
        }
        if text.is_empty() {
            return Ok(Self::new());
        }
        let members = match Json::parse(text).map_err(NotAContext::NotJson)? {
            Json::Object(members) => members,
            other => {
                return Err(NotAContext::NotAnObject {
                    found: other.kind(),
                });
            }
        };
        let pair = |(name, value)| match value {
            Json::String(value) => Ok((name, value)),
            other => Err(NotAContext::NotAString {
                name,
                found: other.kind(),
            }),
        };
        members.into_iter().map(pair).collect()
    }
}

/// A text that is no encryption context.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAContext {
    /// It has too many characters, and was not parsed.
    TooLong {
        /// How many Unicode scalar values it has.
        characters: usize,
    },
    /// It is not JSON, or an object in it has a name twice.
    NotJson(NotJson),
    /// It is another JSON value than an object.
    NotAnObject {
        /// The kind of value, with its article.
        found: &'static str,
    },
    /// One of its members is no string.
    NotAString {
        /// The member's name.
        name: String,
        /// The kind of its value, with its article.
        found: &'static str,
    },
}

impl fmt::Display for NotAContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("encryption context: ")?;
        match self {
            Self::TooLong { characters } => write!(
                f,
                "{characters} characters, expected at most {MAX_CONTEXT_LEN}"
            ),
            Self::NotJson(error) => error.fmt(f),
            Self::NotAnObject { found } => write!(
                f,
                "found {found}, expected an object of strings such as {{\"Key1\":\"Value1\"}}"
            ),
            Self::NotAString { name, found } => write!(
                f,
                "the value of {} is {found}, expected a string",
                quoted(name)
            ),
        }
    }
}

impl core::error::Error for NotAContext {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn context(text: &str) -> EncryptionContext {
        EncryptionContext::from_json(text).unwrap()
    }

    fn refusal(text: &str) -> String {
        EncryptionContext::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn the_valid_samples_of_the_guide_are_read() {
        assert_eq!(
            context(r#"{"ValidKey":"ValidValue"}"#),
            [("ValidKey", "ValidValue")].into_iter().collect()
        );
        assert_eq!(
            context(r#"{"Key1":"Value1","Key2":"Value2"}"#),
            [("Key1", "Value1"), ("Key2", "Value2")]
                .into_iter()
                .collect()
        );
    }

    #[test]
    fn the_invalid_samples_of_the_guide_are_refused() {
        assert_eq!(
            refusal(r#"[{"Key":"Value"}]"#),
            "encryption context: found an array, expected an object of strings such as \
             {\"Key1\":\"Value1\"}"
        );
        assert_eq!(
            refusal(r#"{"Key":12345}"#),
            "encryption context: the value of \"Key\" is a number, expected a string"
        );
        assert_eq!(
            refusal(r#"{"Key":["value1","value2"]}"#),
            "encryption context: the value of \"Key\" is an array, expected a string"
        );
    }

    #[test]
    fn contexts_of_the_same_pairs_are_the_same() {
        let same = [
            r#"{"Key1":"Value1","Key2":"Value2"}"#,
            r#"{"Key2":"Value2","Key1":"Value1"}"#,
            "\n{ \"Key1\" :\t\"Value1\" ,\r\n\"Key2\":\"Value2\" } ",
            r#"{"Key\u0031":"\u0056alue1","\u004Bey2":"Value2"}"#,
        ];
        for text in same {
            assert_eq!(context(text), context(same[0]), "{text}");
            assert_eq!(context(text).canonical(), context(same[0]).canonical());
        }
        assert_eq!(context(r#"{"a":"\u0062"}"#), context(r#"{"a":"b"}"#));
        assert_eq!(context(r#"{"a":"\ud83d\ude00"}"#), context(r#"{"a":"😀"}"#));
    }

    #[test]
    fn contexts_that_differ_at_all_are_different() {
        let texts = [
            "{}",
            r#"{"a":"b"}"#,
            r#"{"A":"b"}"#,
            r#"{"a":"B"}"#,
            r#"{" a":"b"}"#,
            r#"{"a":"b "}"#,
            r#"{"a":""}"#,
            r#"{"":"b"}"#,
            r#"{"":""}"#,
            r#"{"a":"b","":""}"#,
            r#"{"a":"é"}"#,
            // The same to a reader; nothing is normalized.
            "{\"a\":\"e\u{301}\"}",
            r#"{"a":"b\u0000"}"#,
        ];
        for (at, one) in texts.iter().enumerate() {
            for other in &texts[at + 1..] {
                assert_ne!(context(one), context(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn an_absent_context_is_the_empty_one() {
        for text in ["", "{}", " { } "] {
            assert_eq!(context(text), EncryptionContext::new(), "{text}");
        }
        assert_eq!(context("").canonical().unwrap(), [0; 4]);
    }

    #[test]
    fn what_is_not_one_object_of_strings_is_refused_and_named() {
        for (text, what) in [
            (" ", "line 1, column 1: EOF while parsing a value"),
            ("null", "found null, expected an object"),
            ("true", "found a boolean, expected an object"),
            ("1", "found a number, expected an object"),
            ("\"{}\"", "found a string, expected an object"),
            (
                r#"{"a":null}"#,
                "the value of \"a\" is null, expected a string",
            ),
            (
                r#"{"a":true}"#,
                "the value of \"a\" is a boolean, expected a string",
            ),
            (
                r#"{"a":{}}"#,
                "the value of \"a\" is an object, expected a string",
            ),
            (
                r#"{"b":"1","a":{"c":"d"}}"#,
                "the value of \"a\" is an object",
            ),
            (
                r#"{"a":"b","a":"b"}"#,
                "line 1, column 12: duplicate name \"a\"",
            ),
            (
                r#"{"a":"b","\u0061":"c"}"#,
                "line 1, column 17: duplicate name \"a\"",
            ),
            (
                r#"{"a":"\ud800"}"#,
                "line 1, column 13: unexpected end of hex escape",
            ),
            (
                r#"{"\udfff":"a"}"#,
                "line 1, column 8: lone leading surrogate",
            ),
            (r#"{"a":"b"}x"#, "line 1, column 10: trailing characters"),
            (r#"{"a":"b"}{}"#, "line 1, column 10: trailing characters"),
            ("{}\0", "line 1, column 3: trailing characters"),
            (r#"{"a":"b",}"#, "line 1, column 10: trailing comma"),
            (r#"{a:"b"}"#, "line 1, column 2: key must be a string"),
            ("{'a':'b'}", "line 1, column 2: key must be a string"),
            (r#"{"a":"b"} // none"#, "line 1, column 11: found a comment"),
            ("{\"a\":\"b\n\"}", "line 2, column 0: control character"),
            ("\u{feff}{}", "line 1, column 1: expected value"),
        ] {
            let refusal = refusal(text);
            let what = format!("encryption context: {what}");
            assert!(refusal.starts_with(&what), "{text}: {refusal}");
        }
    }

    #[test]
    fn the_length_is_that_of_the_text_as_given_in_characters() {
        for filler in ["a", "é", "密", "😀"] {
            let text = |len: usize| format!("{{\"a\":\"{}\"}}", filler.repeat(len - 8));
            assert_eq!(text(MAX_CONTEXT_LEN).chars().count(), MAX_CONTEXT_LEN);
            assert!(EncryptionContext::from_json(&text(MAX_CONTEXT_LEN)).is_ok());
            assert_eq!(
                EncryptionContext::from_json(&text(MAX_CONTEXT_LEN + 1)),
                Err(NotAContext::TooLong {
                    characters: MAX_CONTEXT_LEN + 1
                })
            );
        }
        // Blanks and escapes count as they are written.
        let padded = |len: usize| format!("{}{}", r#"{"a":"\u0062"}"#, " ".repeat(len - 14));
        assert_eq!(context(&padded(MAX_CONTEXT_LEN)), context(r#"{"a":"b"}"#));
        assert_eq!(
            refusal(&padded(MAX_CONTEXT_LEN + 1)),
            "encryption context: 8193 characters, expected at most 8192"
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_not_parsed() {
        // Were it parsed, the error would be about JSON.
        assert!(matches!(
            EncryptionContext::from_json(&"[".repeat(MAX_CONTEXT_LEN + 1)),
            Err(NotAContext::TooLong { .. })
        ));
    }
}
