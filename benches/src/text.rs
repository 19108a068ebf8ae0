//! Numbers as people read them.

/// `64 B`, `4 KiB`, `16 MiB`: exact, as benchmarks' lengths are.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// A ratio: three digits of it.
pub(crate) fn ratio(ratio: f64) -> String {
    if ratio < 10.0 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.1}")
    }
}

/// The speed of `len` bytes in `time` nanoseconds.
pub(crate) fn speed(len: usize, time: f64) -> String {
    format!("{:.2} GB/s", len as f64 / time)
}
