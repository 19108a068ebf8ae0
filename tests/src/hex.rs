//! Hexadecimal digits, as the vector files hold bytes.

/// Bytes from digits.
pub fn decode(digits: &str) -> Vec<u8> {
    assert!(
        digits.len().is_multiple_of(2),
        "an odd number of digits: {digits}"
    );
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// An array from digits.
pub fn array<const N: usize>(digits: &str) -> [u8; N] {
    decode(digits).try_into().unwrap()
}

/// Lower-case digits.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
