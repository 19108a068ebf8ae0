//! Where master keys come from: a file, an environment variable, a command, or nowhere (plaintext).
//!
//! Whatever is read on the way is zeroized, and no message shows any of it, not even of a source that is malformed.

mod command;
mod environment;
mod file;
mod hex;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use stillkey_core::{MasterKey, RawMasterKey};

use crate::error::Error;

pub use file::create_master_key_file;

/// Most bytes that are read from a source; more than any has.
const LIMIT: usize = 4096;

/// How to get a master key, as written on a command line.
///
/// ```
/// use stillkey::MasterKeySource;
/// let source: MasterKeySource = "file:/etc/stillkey/master.key".parse()?;
/// assert_eq!(source.to_string(), "file:/etc/stillkey/master.key");
/// # Ok::<(), stillkey::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MasterKeySource {
    /// `plaintext`: no protection.
    Plaintext,
    /// `file:PATH`: TiKV's form, 64 hexadecimal digits and a newline.
    File(PathBuf),
    /// `env:VAR`: an environment variable with 64 hexadecimal digits.
    Env(String),
    /// `cmd:COMMAND`: what `sh -c COMMAND` prints, 64 hexadecimal digits.
    Command(String),
}

/// A master key with what its user should know about its source.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedMasterKey {
    /// The key.
    pub key: MasterKey,
    /// What is unsafe about the source, one sentence each, for people to read.
    pub warnings: Vec<String>,
}

impl MasterKeySource {
    /// Gets the key. The command of [`MasterKeySource::Command`] is run to its end.
    ///
    /// # Errors
    /// [`Error::MasterKeySource`] when there is no key to be had, or not in the expected form.
    pub fn load(&self) -> Result<LoadedMasterKey, Error> {
        let (key, warnings) = match self {
            Self::Plaintext => return Ok(LoadedMasterKey::without_warnings(MasterKey::Plaintext)),
            Self::File(path) => file::load(path),
            Self::Env(variable) => environment::load(variable).map(|key| (key, Vec::new())),
            Self::Command(command) => command::load(command).map(|key| (key, Vec::new())),
        }
        .map_err(|why| Error::MasterKeySource {
            source_name: self.redacted(),
            why,
        })?;
        Ok(LoadedMasterKey {
            key: MasterKey::Raw(RawMasterKey::new(key)?),
            warnings,
        })
    }
}

impl MasterKeySource {
    /// As it is written on a command line, for messages: what could be a key that was put in the wrong place (`env:` before the key itself,
    /// a command that prints it) isn't repeated.
    ///
    /// ```
    /// use stillkey::MasterKeySource;
    /// let misplaced: MasterKeySource = format!("env:{}", "0f".repeat(32)).parse()?;
    /// assert_eq!(misplaced.redacted(), "env:[64 hexadecimal digits]");
    /// # Ok::<(), stillkey::Error>(())
    /// ```
    pub fn redacted(&self) -> String {
        const SHORTEST_KEY: usize = 32;
        let text = self.to_string();
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let digits = rest
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(rest.len());
            let shown = digits.max(first.len_utf8());
            let (run, behind) = rest.split_at(shown);
            match digits {
                SHORTEST_KEY.. => redacted += &format!("[{digits} hexadecimal digits]"),
                _ => redacted += run,
            }
            rest = behind;
        }
        redacted
    }
}

impl fmt::Debug for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeySource({})", self.redacted())
    }
}

impl LoadedMasterKey {
    fn without_warnings(key: MasterKey) -> Self {
        Self {
            key,
            warnings: Vec::new(),
        }
    }
}

impl fmt::Display for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("plaintext"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(variable) => write!(f, "env:{variable}"),
            Self::Command(command) => write!(f, "cmd:{command}"),
        }
    }
}

impl FromStr for MasterKeySource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const FORMS: &str = "use plaintext, file:PATH, env:VAR or cmd:COMMAND";
        let usage = |why: String| Err(Error::Usage(format!("{why}; {FORMS}")));
        if text == "plaintext" {
            return Ok(Self::Plaintext);
        }
        // Only a known scheme is repeated in a message: anything else could be a key that was put in the wrong place.
        match text.split_once(':') {
            Some((scheme @ ("file" | "env" | "cmd"), "")) => usage(format!(
                "master key source '{scheme}:' without anything behind it"
            )),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("env", variable)) if variable.contains(['=', '\0']) => usage(
                "master key source 'env:' with a name that no environment variable can have".into(),
            ),
            Some(("env", variable)) => Ok(Self::Env(variable.into())),
            Some(("cmd", command)) => Ok(Self::Command(command.into())),
            Some((scheme @ ("kms" | "embedded"), _)) => usage(format!(
                "master key source '{scheme}:' is not in this release"
            )),
            _ => usage("not a master key source".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn spellings_lead_back_to_themselves() {
        for text in [
            "plaintext",
            "file:/a:b",
            "env:KEY",
            "cmd:pass show key | head -1",
        ] {
            assert_eq!(text.parse::<MasterKeySource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_shown() {
        let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        for text in [
            format!("env:{key}"),
            format!("cmd:exit 1; echo {key}"),
            format!("file:/é/{key}"),
        ] {
            let source: MasterKeySource = text.parse().unwrap();
            let error = source.load().unwrap_err().to_string();
            assert!(
                !error.contains(key) && !format!("{source:?}").contains(key),
                "{error}"
            );
            assert_eq!(
                source.redacted(),
                text.replace(key, "[64 hexadecimal digits]")
            );
        }
        assert_eq!(
            "file:/etc/abcdef"
                .parse::<MasterKeySource>()
                .unwrap()
                .redacted(),
            "file:/etc/abcdef"
        );
    }

    #[test]
    fn other_spellings_are_usage_errors_that_dont_repeat_a_misplaced_key() {
        let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        for text in [
            "",
            "PLAINTEXT",
            "file:",
            "env:",
            "cmd:",
            "env:A=B",
            "kms:aws",
            "embedded:x",
            "/path",
            key,
        ] {
            let error = text.parse::<MasterKeySource>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(!error.to_string().contains(key));
        }
        let error = "kms:aws".parse::<MasterKeySource>().unwrap_err();
        assert!(error.to_string().contains("not in this release"));
    }
}
