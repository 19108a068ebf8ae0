//! Values as people read them.

use std::time::Duration;

/// `YYYY-MM-DDThh:mm:ssZ`; beyond the year 9999, the number itself.
pub(crate) fn utc(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| format!("{seconds} s"), |timestamp| timestamp.to_string())
}

/// Hours, minutes, seconds, each where there are any: `168h`, `1h 30m`.
pub(crate) fn duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(
        |_| format!("{} s", duration.as_secs()),
        |duration| format!("{duration:#}"),
    )
}

/// Base64 with padding, as the tools of key services take it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(bytes)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
