//! An encryption context that parses means its pairs: written as JSON again, in reverse and with
//! every character escaped, it has the same canonical form. No text makes the parser panic.
//!
//! Input: the JSON text of an encryption context.
#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use stillkey_core::EncryptionContext;
use stillkey_core::kms::context::{MAX_CONTEXT_LEN, NotAContext};
use stillkey_core::kms::json::{Json, ObjectWriter};

fuzz_target!(|text: &str| {
    let context = match EncryptionContext::from_json(text) {
        Ok(context) => context,
        Err(error) => {
            let shown = error.to_string();
            assert!(
                shown.starts_with("encryption context: ") && shown.len() < 1000,
                "{shown}"
            );
            assert_eq!(
                matches!(error, NotAContext::TooLong { .. }),
                text.chars().count() > MAX_CONTEXT_LEN
            );
            return;
        }
    };
    let canonical = context.canonical().expect("a short context");
    let pairs: Vec<(&str, &str)> = context.iter().collect();
    if let Ok(Json::Object(mut members)) = Json::parse(text) {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let members = members.iter();
        let strings = members.map(|(name, value)| (&**name, value.as_str().expect("a string")));
        assert_eq!(strings.collect::<Vec<_>>(), pairs);
    } else {
        assert_eq!(text, "");
    }

    let mut written = ObjectWriter::new();
    for (name, value) in pairs.iter().rev() {
        written.string(name, value);
    }
    let escaped: Vec<String> = pairs
        .iter()
        .rev()
        .map(|(name, value)| format!("{} : {}", escaped(name), escaped(value)))
        .collect();
    for again in [written.finish(), format!(" {{ {} }} ", escaped.join(" , "))] {
        // Escapes are longer than what they stand for.
        if again.chars().count() <= MAX_CONTEXT_LEN {
            let again = EncryptionContext::from_json(&again).expect("our own JSON");
            assert_eq!(again, context);
            assert_eq!(again.canonical().as_ref(), Ok(&canonical));
        }
    }
});

fn escaped(text: &str) -> String {
    let mut json = String::from("\"");
    for unit in text.encode_utf16() {
        write!(json, "\\u{unit:04X}").expect("a string takes everything");
    }
    json + "\""
}
