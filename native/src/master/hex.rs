//! Hexadecimal digits to key bytes and back, without leaving copies.

use stillkey_core::{NotHexadecimal, RawMasterKey, SecretBytes};
use zeroize::Zeroizing;

/// Digits of a master key.
pub(super) const DIGITS: usize = 2 * RawMasterKey::LEN;

/// Decodes 64 digits of either case. The error says what is wrong, but not with which character.
pub(super) fn decode(digits: &[u8]) -> Result<SecretBytes, String> {
    if digits.len() != DIGITS {
        return Err(format!(
            "{} characters found, expected {DIGITS} hexadecimal digits; make a key with 'stillkey keygen'",
            digits.len()
        ));
    }
    SecretBytes::from_hex(digits).map_err(|NotHexadecimal { at }| {
        format!(
            "character {} of {DIGITS} is not a hexadecimal digit; check the key, or make one with 'stillkey keygen'",
            at + 1
        )
    })
}

/// Decodes digits with white space around them.
pub(super) fn decode_trimmed(text: &[u8]) -> Result<SecretBytes, String> {
    decode(text.trim_ascii())
}

/// Lower-case digits of a key, and a newline.
pub(super) fn encode_line(key: &RawMasterKey) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(DIGITS + 1));
    for byte in key.secret().danger_bytes() {
        for nibble in [byte >> 4, byte & 15] {
            line.push(if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' - 10 + nibble
            });
        }
    }
    line.push(b'\n');
    line
}
