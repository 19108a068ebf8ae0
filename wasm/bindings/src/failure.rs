//! The core's errors as JavaScript sees them: an `Error` with a code, a reason and an offset.

use js_sys::{Error as JsError, Reflect};
use stillkey_core::Error;
use stillkey_core::error::{Damage, Finding, Part};
use wasm_bindgen::JsValue;

/// What every function here throws.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    reason: &'static str,
    offset: Option<u64>,
    finding: Option<String>,
    message: String,
}

impl Failure {
    /// A call that can't be right.
    pub(crate) fn usage(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: "usage",
            reason,
            offset: None,
            finding: None,
            message: message.into(),
        }
    }

    /// What isn't as it was once written, at this byte.
    pub(crate) fn damaged(finding: &str, at: u64, message: impl Into<String>) -> Self {
        Self {
            code: "damaged",
            reason: "damaged",
            offset: Some(at),
            finding: Some(finding.to_owned()),
            message: message.into(),
        }
    }

    /// The same failure, found this many units from the start of what was given.
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, reason) = match &error {
            Error::WrongMasterKey(_) => ("wrong-master-key", "wrong-master-key"),
            Error::OtherMasterKeyKind { .. } => ("wrong-master-key", "other-kind"),
            Error::Damaged(_) => ("damaged", "damaged"),
            Error::Unsupported(_) => ("unsupported", "unsupported"),
            Error::WrongContext => ("usage", "wrong-context"),
            Error::NotFound(_) => ("usage", "not-found"),
            Error::Unavailable(_) => ("usage", "unavailable"),
            _ => ("usage", "misuse"),
        };
        let damage = match &error {
            Error::Damaged(damage) => Some(damage),
            _ => None,
        };
        Self {
            code,
            reason,
            offset: damage.map(|damage| damage.at),
            finding: damage.map(name_of),
            message: error.to_string(),
        }
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = JsError::new(&failure.message);
        // Setting a property of a fresh object doesn't fail.
        let set = |name: &str, value: JsValue| drop(Reflect::set(&error, &name.into(), &value));
        set("code", failure.code.into());
        set("reason", failure.reason.into());
        if let Some(finding) = &failure.finding {
            set("finding", finding.into());
        }
        if let Some(offset) = failure.offset {
            set("offset", JsValue::from_f64(to_number(offset)));
        }
        error.into()
    }
}

/// The part that is damaged and what is wrong with it, for programs: `header checksum`.
fn name_of(damage: &Damage) -> String {
    let part = match damage.part {
        Part::Header => "header",
        Part::Content => "content",
        Part::Record(_) => "record",
        Part::Envelope => "envelope",
        Part::KeyDictionary => "keys",
        Part::SealedHeader => "sealed-header",
        Part::Chunk(_) => "chunk",
        _ => "other",
    };
    format!("{part} {}", kind_of(&damage.finding))
}

/// What is wrong with a damaged item, for programs.
pub(crate) fn kind_of(finding: &Finding) -> &'static str {
    match finding {
        Finding::Short { .. } => "short",
        Finding::Length { .. } => "length",
        Finding::Checksum { .. } => "checksum",
        Finding::Protobuf(_) => "protobuf",
        Finding::NameNotUtf8 => "name-not-utf8",
        Finding::RecordType(0) => "record-type-0",
        Finding::RecordType(_) => "record-type",
        Finding::RemoveOfAbsent { .. } => "remove-of-absent",
        Finding::TypeMismatch { .. } => "type-mismatch",
        Finding::IntactRecordInside { .. } => "intact-record-inside",
        Finding::TornOrDamaged => "torn-or-damaged",
        Finding::Tag => "tag",
        _ => "other",
    }
}

/// A position as JavaScript's number: exact up to 2^53, where no file reaches.
#[expect(
    clippy::cast_precision_loss,
    reason = "positions in bytes that are in memory"
)]
pub(crate) fn to_number(position: u64) -> f64 {
    position as f64
}
