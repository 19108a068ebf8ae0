//! What the library tells of its work: each function here is something that happened, for the metrics and for the traces alike. Without the
//! features `metrics` and `tracing`, all of it compiles to nothing.
//!
//! No key, nonce or content may be passed to anything in here: names, ids, numbers and errors only. `tests/tests/observability.rs` searches
//! everything that comes out.

use std::path::Path;
#[cfg(feature = "metrics")]
use std::time::Instant;

use stillkey_core::{KeyDictionary, Method, RotationReason, Version};

use crate::error::Error;
use crate::metrics;
use crate::secret::Protection;

/// A span until the guard that it gives is dropped: `span!(DEBUG, "create_file", file => path.display())`. A field's value follows `=`, or `=>` if it is
/// to be shown as people read it.
#[cfg(feature = "tracing")]
macro_rules! span {
    ($level:ident, $name:literal $(, $field:ident $(= $value:expr)? $(=> $shown:expr)?)* $(,)?) => {
        tracing::span!(tracing::Level::$level, $name $(, $field $(= $value)? $(= %$shown)?)*).entered()
    };
}

/// An event, with fields as a span has them: `event!(INFO, "a new data key", id = 7)`.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $message:literal $(, $field:ident $(= $value:expr)? $(=> $shown:expr)?)* $(,)?) => {
        tracing::event!(tracing::Level::$level, $($field $(= $value)? $(= %$shown)?,)* $message)
    };
}

/// Takes what a span or an event would show for used, and never computes it.
#[cfg(not(feature = "tracing"))]
macro_rules! unused {
    (one $field:ident) => { let _ = &$field; };
    (one $field:ident $(= $value:expr)? $(=> $shown:expr)?) => { if false { $(let _ = &$value;)? $(let _ = &$shown;)? } };
    ($($field:ident $(= $value:expr)? $(=> $shown:expr)?),*) => {
        $(crate::observe::unused!(one $field $(= $value)? $(=> $shown)?);)*
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! span {
    ($level:ident, $name:literal $(, $($fields:tt)*)?) => {{
        $(crate::observe::unused!($($fields)*);)?
        crate::observe::NoSpan
    }};
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $message:literal $(, $($fields:tt)*)?) => {{
        $(crate::observe::unused!($($fields)*);)?
    }};
}

pub(crate) use span;
#[cfg(not(feature = "tracing"))]
pub(crate) use unused;

/// What [`span!`] gives when nobody traces.
#[cfg(not(feature = "tracing"))]
pub(crate) struct NoSpan;

/// Measures time, where anybody wants to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(#[cfg(feature = "metrics")] Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }

    fn seconds(self) -> f64 {
        #[cfg(feature = "metrics")]
        return self.0.elapsed().as_secs_f64();
        #[cfg(not(feature = "metrics"))]
        0.0
    }
}

/// A directory's dictionaries are open for writing.
pub(crate) fn opened(directory: &Path, files: usize, keys: usize) {
    metrics::INITIALIZED.set(1, []);
    metrics::show_counters();
    secret_memory(&crate::secret::protection());
    event!(INFO, "dictionaries opened", directory => directory.display(), files, keys);
}

/// The dictionaries of a directory were made.
pub(crate) fn created(directory: &Path, method: Method) {
    event!(INFO, "dictionaries created", directory => directory.display(), method => method);
}

/// `key.dict` was read as a whole.
pub(crate) fn key_dictionary_read(watch: Stopwatch) {
    metrics::DICTIONARY_SECONDS.observe(watch.seconds(), ["key.dict", "read"]);
}

/// `key.dict` was written.
pub(crate) fn key_dictionary_written(watch: Stopwatch) {
    metrics::DICTIONARY_SECONDS.observe(watch.seconds(), ["key.dict", "write"]);
}

/// `file.dict` was read as a whole.
pub(crate) fn file_dictionary_read(version: Version, watch: Stopwatch) {
    if version == Version::V1 {
        metrics::DICTIONARY_SECONDS.observe(watch.seconds(), ["file.dict", "read"]);
    }
}

/// `file.dict` was written anew.
pub(crate) fn file_dictionary_replaced(path: &Path, bytes: &[u8], watch: Stopwatch) {
    let len = bytes.len();
    if is_without_log(bytes.first()) {
        metrics::DICTIONARY_SECONDS.observe(watch.seconds(), ["file.dict", "write"]);
    }
    metrics::REWRITES.add(1, []);
    event!(DEBUG, "file dictionary written anew", path => path.display(), bytes = len);
}

fn is_without_log(version: Option<&u8>) -> bool {
    version == Some(&Version::V1.number())
}

/// How long `file.dict` is.
pub(crate) fn file_dictionary_len(version: Version, len: u64) {
    metrics::record_file_dictionary_len(version == Version::V1, len);
}

/// How many entries there are.
pub(crate) fn files(files: usize) {
    metrics::FILES.set(files, []);
}

/// The data keys that are in use.
pub(crate) fn keys(keys: &KeyDictionary) {
    #[cfg(feature = "metrics")]
    metrics::record_keys(keys);
    let _ = keys;
}

/// An append was synced.
pub(crate) fn synced(watch: Stopwatch) {
    metrics::SYNC_SECONDS.observe(watch.seconds(), []);
}

/// Changes became durable, with one write.
pub(crate) fn committed(changes: usize) {
    metrics::COMMITS.add(1, []);
    metrics::CHANGES.add(changes as u64, []);
    metrics::BATCH_SIZE.observe(changes as f64, []);
    event!(TRACE, "changes committed", changes);
}

/// Changes could not be made durable, and have not happened.
pub(crate) fn commit_failed(changes: usize, error: &Error) {
    metrics::COMMIT_FAILURES.add(1, []);
    event!(WARN, "changes not committed", changes, error => error);
}

/// A compaction that was due failed; nothing but space is lost.
pub(crate) fn compaction_failed(error: &Error) {
    event!(WARN, "compaction failed, and is due again after the next change", error => error);
}

/// The end of `file.dict` has to be cut off at `good_len`, or the file to be written anew.
pub(crate) fn repairing(path: &Path, good_len: Option<u64>) {
    metrics::REPAIRS.add(1, []);
    match good_len {
        Some(good_len) => {
            event!(WARN, "cutting off the end of the log, which was never acknowledged", path => path.display(), good_len);
        }
        None => {
            event!(WARN, "writing the file dictionary anew after a failure", path => path.display());
        }
    }
}

/// What is about to be cut off the log stands in a file of its own.
pub(crate) fn torn_tail_kept(path: &Path, at: u64, len: usize) {
    event!(WARN, "kept the torn end of the file dictionary", path => path.display(), at, len);
}

/// A new data key is in use. `reason`: why it was due; `None` if it was asked for.
pub(crate) fn data_key_rotated(id: u64, method: Method, reason: Option<RotationReason>) {
    let reason = match reason {
        None => "asked_for",
        Some(RotationReason::NoCurrentKey) => "no_current_key",
        Some(RotationReason::MethodChanged) => "method_changed",
        Some(RotationReason::Exposed) => "exposed",
        Some(RotationReason::Expired { .. }) => "expired",
        Some(RotationReason::CreatedInTheFuture) => "created_in_the_future",
        Some(_) => "other",
    };
    metrics::DATA_KEY_ROTATIONS.add(1, [reason]);
    event!(INFO, "new data key", id, method => method, reason);
}

/// The data keys are sealed under another master key.
pub(crate) fn master_key_rotated(path: &Path, keys: usize, kind: &str) {
    metrics::MASTER_KEY_ROTATIONS.add(1, []);
    event!(INFO, "data keys sealed under another master key", path => path.display(), keys, kind);
}

/// A side file of retired keys could not be moved or removed; the next look at them does it.
pub(crate) fn retired_keys_left(error: &Error) {
    event!(WARN, "the side file of retired keys is not up to date, and will be", error => error);
}

/// The current master key didn't fit, and the previous one did.
pub(crate) fn fell_back(directory: &Path, kind: &str) {
    metrics::FALLBACKS.add(1, []);
    event!(WARN, "the previous master key was needed", directory => directory.display(), kind);
}

/// Some bytes of a file were encrypted anew.
pub(crate) fn rekey_progress(bytes: u64) {
    metrics::REKEYED_BYTES.add(bytes, []);
}

/// A file was encrypted anew; `None`: it was left as it is.
pub(crate) fn rekeyed(len: Option<u64>) {
    match len {
        Some(bytes) => {
            metrics::REKEYED_FILES.add(1, []);
            event!(DEBUG, "file encrypted anew", bytes);
        }
        None => {
            metrics::REKEYS_GIVEN_UP.add(1, []);
            event!(
                DEBUG,
                "file not encrypted anew: it was being written, or the work was stopped"
            );
        }
    }
}

/// What an interrupted replacement of a file left behind is being seen to.
pub(crate) fn recovering(file: &str) {
    event!(
        WARN,
        "finishing or undoing an interrupted replacement",
        file
    );
}

/// The memory for secrets has grown or shrunk.
pub(crate) fn secret_memory(protection: &Protection) {
    metrics::SECRET_BYTES.set(protection.reserved, ["reserved"]);
    metrics::SECRET_BYTES.set(protection.locked, ["locked"]);
    metrics::SECRET_BYTES.set(protection.hidden, ["hidden"]);
    metrics::SECRET_REFUSED.set(usize::from(protection.refusal.is_some()), []);
}

/// The system refused protection for the first time.
pub(crate) fn secret_memory_refused(refusal: &str) {
    event!(
        WARN,
        "key material is not protected as it should be",
        refusal
    );
}
