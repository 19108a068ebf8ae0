//! A master key in a file of exactly TiKV's form: 64 hexadecimal digits and one newline.
//!
//! TiKV refuses everything else, so this does too; a key that only one of the two can load would be a trap.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use stillkey_core::{RawMasterKey, SecretBytes};
use zeroize::Zeroizing;

use super::{LIMIT, hex};
use crate::error::Error;
use crate::{SysRng, fsops, install};

/// Length of a key file in bytes.
const FILE_LEN: usize = hex::DIGITS + 1;

/// Makes a new random master key and stores it in a new file that only its owner can read. An existing file is never overwritten.
///
/// Directories that are missing are made, for their owner only. When this returns, the file is durable.
///
/// # Errors
/// [`Error::AlreadyExists`]; [`Error::Io`]; [`Error::Core`] when the random number generator fails.
pub fn create_master_key_file(path: impl Into<PathBuf>) -> Result<RawMasterKey, Error> {
    let path = path.into();
    let key = RawMasterKey::random(&mut SysRng)?;
    fsops::create_directories(fsops::parent(&path))?;
    install::write_file(path, &hex::encode_line(&key), false)?;
    Ok(key)
}

/// Links are followed: that is how orchestrators mount secrets.
pub(super) fn load(path: &Path) -> Result<(SecretBytes, Vec<String>), String> {
    let file = File::open(path).map_err(|error| cannot("open", &error))?;
    let metadata = file.metadata().map_err(|error| cannot("inspect", &error))?;
    if metadata.is_dir() {
        return Err("a directory, expected a file; give the path of the key file itself".into());
    }
    let mut content = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    file.take(LIMIT as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| cannot("read", &error))?;
    let key = parse(&content)?;
    let exposed = metadata.is_file() && metadata.mode() & 0o077 != 0;
    let warning = exposed.then(|| {
        format!(
            "{}: others than its owner can get at the master key (mode {:04o}); run: chmod 600 '{}'",
            path.display(),
            metadata.mode() & 0o7777,
            path.display()
        )
    });
    Ok((key, warning.into_iter().collect()))
}

fn cannot(action: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "no such file; check the path, or make a key with 'stillkey keygen'".into()
        }
        _ => format!("cannot {action}: {error}; check its owner and permissions"),
    }
}

fn parse(content: &[u8]) -> Result<SecretBytes, String> {
    const EXPECTED: &str = "expected 65: 64 hexadecimal digits and a newline";
    match content {
        [digits @ .., b'\n'] if content.len() == FILE_LEN => hex::decode(digits),
        [.., b'\r', b'\n'] => Err(format!(
            "lines end in CR LF ({} bytes found, {EXPECTED}); remove the CR",
            content.len()
        )),
        _ if content.len() == hex::DIGITS => Err(format!(
            "the newline at the end is missing (64 bytes found, {EXPECTED}); append one: TiKV insists on it"
        )),
        _ if content.len() == FILE_LEN => Err(format!(
            "the last byte is not a newline (65 bytes found, {EXPECTED}); check that the file holds the key alone"
        )),
        _ if content.len() == RawMasterKey::LEN => Err(format!(
            "32 bytes found, {EXPECTED}; if these are the bytes of a key, write them in hexadecimal"
        )),
        _ if content.len() > LIMIT => Err(format!(
            "more than {LIMIT} bytes found, {EXPECTED}; check that this is the key file"
        )),
        _ => Err(format!(
            "{} bytes found, {EXPECTED}; check that the file holds the key alone",
            content.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MasterKeySource;
    use super::*;
    use crate::error::ErrorKind;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn digits() -> String {
        "0123456789abcdefABCDEF9876543210".repeat(2)
    }

    #[test]
    fn digits_of_either_case_and_a_newline_are_a_key() {
        let key = parse(format!("{}\n", digits()).as_bytes()).unwrap();
        assert_eq!(key.danger_bytes()[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(key.danger_bytes()[8..12], [0xab, 0xcd, 0xef, 0x98]);
    }

    #[test]
    fn each_deviation_has_its_own_message_and_none_shows_the_key() {
        let digits = digits();
        let mut odd = digits.clone();
        odd.replace_range(16..17, "g");
        for (content, fragment) in [
            (String::new(), "0 bytes found"),
            (digits.clone(), "newline at the end is missing"),
            (format!("{digits}\r\n"), "CR LF"),
            (format!("{digits} "), "last byte is not a newline"),
            (format!("{digits} \n"), "66 bytes found"),
            (format!("{digits}\n\n"), "66 bytes found"),
            (format!("{odd}\n"), "character 17 of 64"),
            ("k".repeat(32), "write them in hexadecimal"),
            ("0".repeat(9000), "more than 4096 bytes"),
        ] {
            let content = content.as_bytes();
            let error = parse(&content[..content.len().min(LIMIT + 1)]).unwrap_err();
            assert!(error.contains(fragment), "{error}");
            assert!(!error.contains("0123456789abcdef"), "{error}");
        }
    }

    #[test]
    fn absent_files_and_directories_are_unavailable_sources() {
        let directory = tempfile::tempdir().unwrap();
        for (path, fragment) in [
            (directory.path().join("absent"), "no such file"),
            (directory.path().to_owned(), "a directory"),
        ] {
            let error = MasterKeySource::File(path).load().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::KeySource);
            assert!(error.to_string().contains(fragment), "{error}");
        }
    }

    #[test]
    fn a_created_key_loads_again_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/deep/master.key");
        let key = create_master_key_file(&path).unwrap();
        let (loaded, warnings) = load(&path).unwrap();
        assert!(loaded == *key.secret() && warnings.is_empty());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let parent = path.parent().unwrap();
        assert_eq!(fs::metadata(parent).unwrap().mode() & 0o777, 0o700);
        let before = fs::read(&path).unwrap();
        let error = create_master_key_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_that_others_can_read_gives_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        create_master_key_file(&path).unwrap();
        for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let loaded = MasterKeySource::File(path.clone()).load().unwrap();
            assert_eq!(loaded.warnings.len(), usize::from(warned), "{mode:o}");
        }
    }
}
