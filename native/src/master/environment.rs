//! A master key in an environment variable, for containers that get their secrets that way.
//!
//! The variable itself stays readable to this process, and to whoever may look into its environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use stillkey_core::SecretBytes;
use zeroize::Zeroizing;

use super::hex;

pub(super) fn load(variable: &str) -> Result<SecretBytes, String> {
    parse(std::env::var_os(variable))
}

fn parse(value: Option<OsString>) -> Result<SecretBytes, String> {
    let value =
        value.ok_or("the environment variable is not set; set it to 64 hexadecimal digits")?;
    hex::decode_trimmed(&Zeroizing::new(value.into_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_the_digits_is_ignored() {
        let key = parse(Some(format!(" \t{}\r\n", "aB".repeat(32)).into())).unwrap();
        assert_eq!(key.danger_bytes(), [0xab; 32]);
    }

    #[test]
    fn unset_and_malformed_variables_are_told_apart() {
        assert!(parse(None).unwrap_err().contains("not set"));
        assert!(
            parse(Some(String::new().into()))
                .unwrap_err()
                .starts_with("0 characters")
        );
        let error = parse(Some(format!("{}x!", "a".repeat(62)).into())).unwrap_err();
        assert!(error.starts_with("character 63 of 64"), "{error}");
    }
}
