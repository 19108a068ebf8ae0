//! What can go wrong outside of pure computation, each error with the file or key source that it is about.
//!
//! [`Error::kind`] sorts errors by what a caller does next; a command line turns it into its exit status.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stillkey_core::error::Misuse;

/// Everything that fails in this crate.
///
/// The message of an error holds the messages of its causes, so [`std::error::Error::source`] has nothing to add. No message holds
/// key material or plaintext.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file's content, or a key for it, isn't what it should be.
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: stillkey_core::Error,
    },
    /// A computation that is about no file failed.
    Core(stillkey_core::Error),
    /// The operating system refused something.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted: `open`, `sync`, …
        action: &'static str,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// A file that has taken or lost its place, which a power failure may still undo: the directory could not
    /// be synced.
    InDoubt {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Another process, or another part of this one, is writing in the directory.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as the holder wrote it there.
        holder: String,
    },
    /// Another thread is at work on the file.
    Busy {
        /// The file.
        path: PathBuf,
        /// What is being done.
        why: &'static str,
    },
    /// A replacement that was interrupted has left two files where one should be.
    Unfinished {
        /// The file.
        path: PathBuf,
        /// What was left beside it.
        left: PathBuf,
    },
    /// A file that must not be there already.
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// A name that must not have an entry in the file dictionary already.
    NameTaken {
        /// The file dictionary.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A directory without dictionaries.
    NoDictionaries {
        /// The directory.
        path: PathBuf,
    },
    /// A file that has an entry in the file dictionary isn't there.
    NoFile {
        /// Where it should be.
        path: PathBuf,
        /// Its name in the dictionary.
        name: String,
    },
    /// Something else stands where a regular file is expected.
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What stands there: `a symbolic link`, `a directory`, …
        found: &'static str,
    },
    /// The writer no longer knows what `file.dict` holds, and refuses to add to it.
    Suspended {
        /// The file dictionary.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A master key could not be had from its source.
    MasterKeySource {
        /// The source, as it is written on a command line.
        source_name: String,
        /// What was found, what was expected, and what to do.
        why: String,
    },
    /// The current master key doesn't open the key dictionary, and the previous one doesn't either, or couldn't be had.
    BothMasterKeys {
        /// The key dictionary.
        path: PathBuf,
        /// What the current master key is, and why it doesn't fit.
        current: String,
        /// The same of the previous one.
        previous: String,
        /// Whether the previous one was tried ([`ErrorKind::WrongKey`]), or what kept it from being tried.
        kind: ErrorKind,
    },
    /// Key material must live in protected memory, and the system refuses to protect it.
    Unprotected {
        /// The action that was refused, and the system's reason.
        refusal: String,
    },
    /// The state of an embedded KMS can't be opened.
    #[cfg(feature = "kms")]
    KmsState {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: stillkey_core::kms::sealed::SealedStateError,
    },
    /// The state of an embedded KMS is older than its own audit log: a backup was put in its place.
    #[cfg(feature = "kms")]
    KmsRolledBack {
        /// Its file.
        path: PathBuf,
        /// The generation of the state.
        found: u64,
        /// The generation that the log has seen.
        logged: u64,
    },
    /// The audit log of an embedded KMS isn't as it was written.
    #[cfg(feature = "kms")]
    KmsAudit {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        finding: String,
    },
    /// The embedded KMS refuses a request: by the state of a key, by policy, or for what it asks.
    #[cfg(feature = "kms")]
    KmsRefused(Box<stillkey_core::kms::Refusal>),
    /// The caller asked for something impossible.
    Usage(String),
}

/// What an [`Error`] means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call was wrong; do it differently.
    Usage,
    /// Another master key, kind of master key or encryption context is needed.
    WrongKey,
    /// Data is damaged, or of a version that this release can't read.
    Damaged,
    /// A file, dictionary entry or data key isn't there.
    NotFound,
    /// What was to be created is there already.
    AlreadyExists,
    /// Another process holds the lock, or another thread is at work on the file.
    Locked,
    /// Input or output failed.
    Io,
    /// A master key source or key service could not answer.
    KeySource,
    /// Key material can't be protected in memory as required.
    Unprotected,
    /// A key service refuses: by the state of a key or by policy.
    Refused,
}

impl Error {
    /// What this error means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // A recorded IV or key of the wrong length is the file's fault, not the caller's.
            Self::Data {
                source:
                    stillkey_core::Error::Misuse(Misuse::IvLength { .. } | Misuse::KeyLength { .. }),
                ..
            } => ErrorKind::Damaged,
            Self::Data { source, .. } | Self::Core(source) => core_kind(source),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Io { .. }
            | Self::InDoubt { .. }
            | Self::Suspended { .. }
            | Self::NotAFile { .. } => ErrorKind::Io,
            Self::Locked { .. } | Self::Busy { .. } => ErrorKind::Locked,
            Self::AlreadyExists { .. } | Self::NameTaken { .. } | Self::Unfinished { .. } => {
                ErrorKind::AlreadyExists
            }
            Self::NoDictionaries { .. } | Self::NoFile { .. } => ErrorKind::NotFound,
            Self::MasterKeySource { .. } => ErrorKind::KeySource,
            Self::BothMasterKeys { kind, .. } => *kind,
            Self::Unprotected { .. } => ErrorKind::Unprotected,
            #[cfg(feature = "kms")]
            Self::KmsState { source, .. } => match source {
                stillkey_core::kms::sealed::SealedStateError::WrongRootKey => ErrorKind::WrongKey,
                _ => ErrorKind::Damaged,
            },
            #[cfg(feature = "kms")]
            Self::KmsRolledBack { .. } | Self::KmsAudit { .. } => ErrorKind::Damaged,
            #[cfg(feature = "kms")]
            Self::KmsRefused(refusal) => refusal_kind(&refusal.cause),
            Self::Usage(_) => ErrorKind::Usage,
        }
    }

    /// Whether some space on the disk would help.
    pub(crate) fn is_for_want_of_space(&self) -> bool {
        let (Self::Io { source, .. } | Self::InDoubt { source, .. }) = self else {
            return false;
        };
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(source.kind(), StorageFull | QuotaExceeded)
    }

    /// For `map_err`: `action` on `path` failed, with an error about its data taken out of the [`io::Error`] that carried it.
    ///
    /// ```
    /// use stillkey::{Error, ErrorKind, SealedReader};
    /// let opened = SealedReader::new(&b"no such object"[..], &[], &Default::default());
    /// let error = opened.map_err(Error::carried("object".as_ref(), "read")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Damaged);
    /// ```
    pub fn carried(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.downcast::<stillkey_core::Error>() {
            Ok(source) => Self::data(path)(source),
            Err(source) => Self::io(path, action)(source),
        }
    }

    /// For `map_err`: a core error about `path`.
    pub(crate) fn data(path: &Path) -> impl Fn(stillkey_core::Error) -> Self {
        move |source| match source {
            // Neither a random number generator nor a key service is a matter of the file.
            stillkey_core::Error::Unavailable(_) => Self::Core(source),
            source => Self::Data {
                path: path.to_owned(),
                source,
            },
        }
    }

    /// For `map_err`: what changed at `path` may not last, since its directory could not be synced.
    pub(crate) fn in_doubt(path: &Path) -> impl Fn(Self) -> Self {
        move |error| match error {
            Self::Io { source, .. } => Self::InDoubt {
                path: path.to_owned(),
                source,
            },
            other => other,
        }
    }

    /// For `map_err`: the system refused `action` on `path`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            action,
            source: Arc::new(source),
        }
    }
}

#[cfg(feature = "kms")]
fn refusal_kind(cause: &stillkey_core::kms::Cause) -> ErrorKind {
    use stillkey_core::kms::Cause;
    match cause {
        Cause::KeyNotFound { .. } | Cause::AliasNotFound { .. } | Cause::VersionNotFound { .. } => {
            ErrorKind::NotFound
        }
        Cause::AliasExists { .. } => ErrorKind::AlreadyExists,
        Cause::InvalidAlias { .. }
        | Cause::ReservedAlias { .. }
        | Cause::AliasUnsupported { .. }
        | Cause::InvalidParameter { .. } => ErrorKind::Usage,
        Cause::InvalidBlob { .. } | Cause::DamagedMaterial { .. } => ErrorKind::Damaged,
        Cause::Undecryptable { .. } | Cause::OtherKey { .. } => ErrorKind::WrongKey,
        Cause::Unavailable(_) => ErrorKind::KeySource,
        _ => ErrorKind::Refused,
    }
}

fn core_kind(error: &stillkey_core::Error) -> ErrorKind {
    use stillkey_core::Error as Core;
    match error {
        Core::WrongMasterKey(_) | Core::OtherMasterKeyKind { .. } | Core::WrongContext => {
            ErrorKind::WrongKey
        }
        Core::NotFound(_) => ErrorKind::NotFound,
        Core::Misuse(_) => ErrorKind::Usage,
        Core::Unavailable(_) => ErrorKind::KeySource,
        // `Damaged`, `Unsupported`, and whatever a later core finds in data.
        _ => ErrorKind::Damaged,
    }
}

impl From<stillkey_core::Error> for Error {
    fn from(error: stillkey_core::Error) -> Self {
        Self::Core(error)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { path, source } => {
                write!(f, "{}: {source}", path.display())?;
                let is_log = path.file_name().is_some_and(|name| name == "file.dict");
                if is_log && matches!(source, stillkey_core::Error::Damaged(_)) {
                    f.write_str("; 'stillkey repair' shows what can be salvaged")?;
                }
                Ok(())
            }
            Self::Core(source) => source.fmt(f),
            Self::Io {
                path,
                action,
                source,
            } => write!(
                f,
                "{}: cannot {action}: {source}; {}",
                path.display(),
                missing_dictionary(path, source).unwrap_or_else(|| advice(source))
            ),
            Self::InDoubt { path, source } => write!(
                f,
                "{}: changed, but a power failure may undo that: cannot sync its directory: {source}; {}, then \
                 do the same again",
                path.display(),
                advice(source)
            ),
            Self::Locked { path, holder } => write!(
                f,
                "{}: locked by {holder}; wait until it is done, or stop it",
                path.display()
            ),
            Self::Busy { path, why } => {
                write!(f, "{}: {why}; try again when that is done", path.display())
            }
            Self::Unfinished { path, left } => write!(
                f,
                "{}: an interrupted replacement left {} beside it, and neither may be removed unseen; 'stillkey repair' moves what is in \
                 the way to lost+found",
                path.display(),
                left.display()
            ),
            Self::AlreadyExists { path } => write!(
                f,
                "{}: already exists and is not overwritten; choose another path, or remove it first",
                path.display()
            ),
            Self::NameTaken { path, name } => write!(
                f,
                "{}: {name:?} already has an entry; remove that entry first, or choose another name",
                path.display()
            ),
            Self::NoDictionaries { path } => write!(
                f,
                "{}: neither key.dict nor a file.dict with entries here; check the directory, or create its dictionaries \
                 with 'stillkey init'",
                path.display()
            ),
            Self::NoFile { path, name } => write!(
                f,
                "{}: no such file, though {name:?} has an entry; restore it from a backup, or remove the entry with \
                 'stillkey reconcile'; 'stillkey verify' lists all such entries",
                path.display()
            ),
            #[cfg(feature = "kms")]
            Self::KmsState { path, source } => write!(f, "{}: {source}", path.display()),
            #[cfg(feature = "kms")]
            Self::KmsRolledBack {
                path,
                found,
                logged,
            } => write!(
                f,
                "{}: generation {found}, and the audit log beside it has seen generation {logged}: an \
                 older state was put in its place, and what versions of keys were made since is lost \
                 with what they encrypted; restore the newer one, or accept the loss explicitly",
                path.display()
            ),
            #[cfg(feature = "kms")]
            Self::KmsAudit { path, finding } => write!(
                f,
                "{}: {finding}; keep the file aside as it is, and see 'stillkey kms audit verify'",
                path.display()
            ),
            #[cfg(feature = "kms")]
            Self::KmsRefused(refusal) => refusal.fmt(f),
            Self::NotAFile { path, found } => write!(
                f,
                "{}: {found}, expected a regular file; give the path of the file itself",
                path.display()
            ),
            Self::Suspended { path, why } => write!(
                f,
                "{}: nothing more is written: {why}; open the directory anew, and restore the file from a backup if that fails",
                path.display()
            ),
            Self::MasterKeySource { source_name, why } => {
                write!(f, "master key source {source_name}: {why}")
            }
            Self::BothMasterKeys {
                path,
                current,
                previous,
                ..
            } => write!(
                f,
                "{}: no master key opens it: current {current}; previous {previous}",
                path.display()
            ),
            Self::Unprotected { refusal } => write!(
                f,
                "key material must live in protected memory, and {refusal}; raise RLIMIT_MEMLOCK (ulimit -l, or LimitMEMLOCK= of \
                 systemd), or don't require it"
            ),
            Self::Usage(what) => f.write_str(what),
        }
    }
}

/// What to do when one of the two dictionaries isn't there, which the other one doesn't replace.
fn missing_dictionary(path: &Path, error: &io::Error) -> Option<&'static str> {
    if error.kind() != io::ErrorKind::NotFound {
        return None;
    }
    match path.file_name()?.to_str()? {
        "key.dict" => Some(
            "check the path, or restore it from a backup: it holds the keys of all files in its directory",
        ),
        "file.dict" => Some(
            "check the path, or restore it from a backup: it says how each file in its directory is encrypted",
        ),
        _ => None,
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check its owner and permissions",
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::WriteZero => "free some space, or raise the quota, and try again",
        io::ErrorKind::ReadOnlyFilesystem => "choose a place that can be written",
        io::ErrorKind::NotADirectory => "check the path: what stands before a '/' in it is a file",
        io::ErrorKind::IsADirectory => "give the path of a file",
        io::ErrorKind::InvalidFilename => "use a shorter name",
        io::ErrorKind::InvalidData => "check that this is the right file",
        io::ErrorKind::BrokenPipe => "what read it has ended before the end of the output",
        _ => "check the disk and the system's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillkey_core::error::{NotFound, Unsupported, WrongMasterKey};

    #[test]
    fn a_copy_holds_the_very_answer_of_the_system() {
        let refused = io::Error::from_raw_os_error(28);
        let error = Error::io(Path::new("/d/file.dict"), "append")(refused);
        let Error::Io { source, .. } = error.clone() else {
            panic!("another error: {error}");
        };
        assert_eq!(source.raw_os_error(), Some(28));
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn errors_about_data_name_the_file_and_sort_by_what_to_do() {
        use stillkey_core::Error as Core;
        for (source, kind) in [
            (Core::from(WrongMasterKey::Tag), ErrorKind::WrongKey),
            (Core::WrongContext, ErrorKind::WrongKey),
            (Unsupported::Method(9).into(), ErrorKind::Damaged),
            (NotFound::File("a".into()).into(), ErrorKind::NotFound),
            (Misuse::IvLength { found: 12 }.into(), ErrorKind::Damaged),
            (Misuse::NameTooLong { len: 70_000 }.into(), ErrorKind::Usage),
        ] {
            let error = Error::data(Path::new("/d/file.dict"))(source);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("/d/file.dict: "), "{error}");
        }
        let error = Error::data(Path::new("/d/key.dict"))(Core::Unavailable("timeout".into()));
        assert_eq!(error.kind(), ErrorKind::KeySource);
        assert!(
            !error.to_string().contains("key.dict"),
            "not the file's fault: {error}"
        );
        let error = Error::Core(Misuse::IvLength { found: 12 }.into());
        assert_eq!(error.kind(), ErrorKind::Usage, "given by the caller");
    }

    #[test]
    fn absence_is_kept_apart_from_other_input_and_output_errors() {
        let error = |kind: io::ErrorKind| Error::io(Path::new("/d/a"), "open")(kind.into());
        assert_eq!(error(io::ErrorKind::NotFound).kind(), ErrorKind::NotFound);
        let full = error(io::ErrorKind::StorageFull);
        assert_eq!(full.kind(), ErrorKind::Io);
        assert!(
            full.to_string().starts_with("/d/a: cannot open: "),
            "{full}"
        );
        assert!(full.to_string().ends_with("and try again"));
    }
}
