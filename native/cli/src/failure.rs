//! How a command fails: with a message for people, a kind for scripts, and an exit status for both.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use stillkey::{Error, ErrorKind};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that the library reports.
    Error(Error),
    /// Something that the command has better words for than the library.
    Said(ErrorKind, String),
    /// The command has printed its findings, and this is what they amount to.
    Found(ErrorKind),
}

/// What messages call it, in the place of a path.
pub(crate) const STDOUT: &str = "standard output";

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Error(Error::Usage(what.into()))
    }

    /// Something is there already, as `what` says.
    pub(crate) fn already_exists(what: impl Into<String>) -> Self {
        Self::Said(ErrorKind::AlreadyExists, what.into())
    }

    /// Whether what reads standard output has ended before the end of it.
    pub(crate) fn is_unread_output(&self) -> bool {
        matches!(self, Self::Error(Error::Io { path, source, .. })
            if source.kind() == std::io::ErrorKind::BrokenPipe && path == Path::new(STDOUT))
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Error(error) => error.kind(),
            Self::Said(kind, _) | Self::Found(kind) => *kind,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(exit_status(self.kind()))
    }
}

/// The exit status for a kind of error. Scripts rely on these numbers.
pub(crate) fn exit_status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage | ErrorKind::AlreadyExists => 2,
        ErrorKind::WrongKey => 3,
        ErrorKind::Damaged => 4,
        ErrorKind::NotFound => 5,
        ErrorKind::Locked => 6,
        ErrorKind::KeySource => 8,
        ErrorKind::Unprotected => 9,
        ErrorKind::Refused => 10,
        _ => 7,
    }
}

/// The name of a kind of error in JSON output.
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::AlreadyExists => "already-exists",
        ErrorKind::WrongKey => "wrong-key",
        ErrorKind::Damaged => "damaged",
        ErrorKind::NotFound => "not-found",
        ErrorKind::Locked => "locked",
        ErrorKind::KeySource => "key-source",
        ErrorKind::Unprotected => "unprotected",
        ErrorKind::Refused => "refused",
        _ => "io",
    }
}

/// An error as JSON output shows it.
pub(crate) fn error_json(error: &Error) -> Value {
    let mut json = json!({
        "kind": kind_name(error.kind()),
        "message": error.to_string(),
    });
    if let Error::Data {
        source: stillkey::core::Error::Damaged(damage),
        ..
    } = error
    {
        json["offset"] = damage.at.into();
    }
    json
}

/// As [`error_json`], for any failure that has a message.
pub(crate) fn failure_json(failure: &Failure) -> Option<(String, Value)> {
    match failure {
        Failure::Error(error) => Some((error.to_string(), error_json(error))),
        Failure::Said(kind, message) => Some((
            message.clone(),
            json!({ "kind": kind_name(*kind), "message": message }),
        )),
        Failure::Found(_) => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Said(_, message) => f.write_str(message),
            Self::Found(_) => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// For `map_err`: the system refused `action` on `path`.
pub(crate) fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |source| {
        Failure::Error(Error::Io {
            path: path.to_owned(),
            action,
            source: source.into(),
        })
    }
}
