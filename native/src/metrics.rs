//! Metrics, all of them in one table: those that TiKV has under TiKV's names, so that its dashboards go on working, and ours.
//!
//! With the feature `metrics` they go to the recorder that the program has installed for the [`metrics`](https://docs.rs/metrics) facade;
//! without a recorder, or without the feature, nothing is counted. Looking a file up is never counted: that would cost more than the look-up.
//!
//! Gauges tell of the dictionary directory that was opened or changed last: like TiKV's, they have no label for it.
//!
//! The facade leaves it to the exporter how a histogram is divided, so give [`Metric::buckets`] to yours. With that of Prometheus:
//!
//! ```
//! # #[cfg(feature = "metrics")] {
//! use stillkey::metrics::{ALL, describe};
//!
//! for metric in ALL.iter().filter(|metric| !metric.buckets.is_empty()) {
//!     // builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), metric.buckets)?;
//! }
//! // After the recorder was installed:
//! describe();
//! # }
//! ```

/// What a metric counts. The table of all is [`ALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name that it is exported under.
    pub name: &'static str,
    /// How its values are to be read.
    pub kind: MetricKind,
    /// What it is counted in, as Prometheus spells units: `seconds`, `bytes`, or `count`.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for other kinds.
    pub buckets: &'static [f64],
    /// What it says, in a sentence.
    pub description: &'static str,
}

/// How the values of a metric are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// The last value.
    Gauge,
    /// Many values, counted by size.
    Histogram,
}

use MetricKind::{Counter, Gauge, Histogram};

/// Upper bounds for times in seconds: TiKV's, 1 ms and each of the others twice the one before.
pub const DURATION_BUCKETS: [f64; 16] = powers_of_two(0.001);

/// Upper bounds for the number of changes that share a write.
pub const BATCH_BUCKETS: [f64; 16] = powers_of_two(1.0);

const fn powers_of_two(first: f64) -> [f64; 16] {
    let mut bounds = [first; 16];
    let mut at = 1;
    while at < bounds.len() {
        #[expect(clippy::indexing_slicing, reason = "constants have no iterators")]
        {
            bounds[at] = 2.0 * bounds[at - 1];
        }
        at += 1;
    }
    bounds
}

macro_rules! table {
    ($($id:ident = $name:literal, $kind:ident, $unit:literal, [$($label:literal),*], $buckets:expr, $description:literal;)*) => {
        $(
            #[doc = $description]
            pub const $id: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                labels: &[$($label),*],
                buckets: $buckets,
                description: $description,
            };
        )*

        /// Every metric there is.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

table! {
    // TiKV's.
    DATA_KEYS = "tikv_encryption_data_key_storage_total", Gauge, "count", [], &[],
        "Data keys in key.dict, current and old.";
    FILES = "tikv_encryption_file_num", Gauge, "count", [], &[],
        "Entries in file.dict, those of plaintext files included.";
    INITIALIZED = "tikv_encryption_is_initialized", Gauge, "count", [], &[],
        "1 once the dictionaries have been opened.";
    DICTIONARY_BYTES = "tikv_encryption_meta_file_size_bytes", Gauge, "bytes", ["name"], &[],
        "Size of a dictionary: of key_dictionary the data keys' encoding, of file_dictionary the file with its log, or the encoding where there is no log.";
    DICTIONARY_SECONDS = "tikv_encryption_write_read_file_duration_seconds", Histogram, "seconds", ["type", "operation"], &DURATION_BUCKETS,
        "Time that it took to read or write key.dict, or a file.dict without a log, as a whole.";

    // The log of file.dict.
    COMMITS = "stillkey_commits_total", Counter, "count", [], &[],
        "Writes to file.dict, each with one sync.";
    CHANGES = "stillkey_changes_total", Counter, "count", [], &[],
        "Changes of entries that were made durable.";
    COMMIT_FAILURES = "stillkey_commit_failures_total", Counter, "count", [], &[],
        "Writes to file.dict that failed, so that their changes have not happened.";
    BATCH_SIZE = "stillkey_commit_batch_size", Histogram, "count", [], &BATCH_BUCKETS,
        "Changes that shared a write and a sync.";
    SYNC_SECONDS = "stillkey_log_sync_duration_seconds", Histogram, "seconds", [], &DURATION_BUCKETS,
        "Time that it took until the disk had what was appended to file.dict.";
    REWRITES = "stillkey_log_rewrites_total", Counter, "count", [], &[],
        "Times that file.dict was written anew as a whole: compactions, repairs, and every change where there is no log.";
    REPAIRS = "stillkey_log_repairs_total", Counter, "count", [], &[],
        "Times that the end of file.dict had to be cut off or the file written anew, after a crash or a failed write.";

    // Keys.
    DATA_KEY_ROTATIONS = "stillkey_data_key_rotations_total", Counter, "count", ["reason"], &[],
        "New data keys, by what they were made for.";
    MASTER_KEY_ROTATIONS = "stillkey_master_key_rotations_total", Counter, "count", [], &[],
        "Times that the data keys were sealed under another master key.";
    FALLBACKS = "stillkey_master_key_fallbacks_total", Counter, "count", [], &[],
        "Starts that needed the previous master key.";
    KEY_CREATED = "stillkey_data_key_created_timestamp_seconds", Gauge, "seconds", [], &[],
        "When the current data key was made, in seconds since 1970-01-01 UTC; 0 when there is none.";
    KEY_EXPOSED = "stillkey_data_key_exposed", Gauge, "count", [], &[],
        "1 if the current data key was ever stored unprotected.";

    // Files that are encrypted anew.
    REKEYED_FILES = "stillkey_rekeyed_files_total", Counter, "count", [], &[],
        "Files that were encrypted anew under the current data key.";
    REKEYED_BYTES = "stillkey_rekeyed_bytes_total", Counter, "bytes", [], &[],
        "Bytes that were encrypted anew so far, those of files that were then given up included.";
    REKEYS_GIVEN_UP = "stillkey_rekeys_given_up_total", Counter, "count", [], &[],
        "Files that were not encrypted anew, because they were being written or the work was stopped.";

    // The process.
    SECRET_BYTES = "stillkey_secret_memory_bytes", Gauge, "bytes", ["state"], &[],
        "Memory for key material: reserved is all of it, locked what can't be swapped out, hidden what the kernel doesn't have mapped either.";
    SECRET_REFUSED = "stillkey_secret_memory_refused", Gauge, "count", [], &[],
        "1 if the system has refused to lock or hide memory for key material.";

    // What a look at a directory from outside shows: see [`record_files`].
    LOG_RECORDS = "stillkey_log_records", Gauge, "count", [], &[],
        "Valid records in the log of file.dict.";
    LOG_TORN_BYTES = "stillkey_log_torn_bytes", Gauge, "bytes", [], &[],
        "Bytes of an append at the end of file.dict that was cut off, or has not ended yet.";
    LOG_DAMAGED = "stillkey_log_damaged", Gauge, "count", [], &[],
        "1 if the log of file.dict is damaged in its middle.";
    FILES_UNDER_OLDER_KEYS = "stillkey_files_under_older_keys", Gauge, "count", [], &[],
        "Encrypted files whose data key is not the current one.";
    READABLE = "stillkey_dictionary_readable", Gauge, "count", ["name"], &[],
        "1 if the dictionary could be read when it was looked at last; key_dictionary only where a master key is given.";
}

/// Gives the recorder a description and a unit for every metric. Call it once the recorder is installed.
#[cfg(feature = "metrics")]
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    for metric in ALL {
        let (name, description) = (metric.name, metric.description);
        let unit = Unit::from_string(metric.unit).unwrap_or(Unit::Count);
        match metric.kind {
            Counter => describe_counter!(name, unit, description),
            Gauge => describe_gauge!(name, unit, description),
            Histogram => describe_histogram!(name, unit, description),
        }
    }
}

/// Shows the counters that have not counted anything yet: an increase from nothing to 1 is none to Prometheus.
pub(crate) fn show_counters() {
    let counters = ALL.iter().filter(|metric| metric.kind == Counter);
    for counter in counters.filter(|counter| counter.labels.is_empty()) {
        counter.add(0, []);
    }
}

/// Records how many data keys there are, how long their encoding is, and how old the current one is. A
/// [`DataKeyManager`](crate::DataKeyManager) does it by itself; this is for programs that only look at a directory.
#[cfg(feature = "metrics")]
pub fn record_keys(keys: &stillkey_core::KeyDictionary) {
    DATA_KEYS.set(keys.len(), []);
    DICTIONARY_BYTES.set(keys.payload_len(), ["key_dictionary"]);
    let current = keys.current().ok().flatten().map(|(_, entry)| entry);
    let created = current.map_or(0, |entry| entry.creation_time);
    KEY_CREATED.set_float(created as f64, []);
    let exposed = current.is_some_and(|entry| entry.was_exposed);
    KEY_EXPOSED.set(usize::from(exposed), []);
}

/// Records the entries of a `file.dict` of `len` bytes, and how its log ends.
#[cfg(feature = "metrics")]
pub fn record_files(files: &stillkey_core::Recovered, len: u64) {
    use stillkey_core::{Verdict, Version};

    let version = files.version;
    FILES.set(files.dictionary.len(), []);
    record_file_dictionary_len(version == Version::V1, len);
    LOG_RECORDS.set_float(files.records as f64, []);
    let (torn, damaged) = match &files.verdict {
        Verdict::Complete => (0, false),
        Verdict::TornTail { dropped, .. } => (*dropped, false),
        Verdict::Corrupt { .. } => (0, true),
    };
    LOG_TORN_BYTES.set_float(torn as f64, []);
    LOG_DAMAGED.set(usize::from(damaged), []);
}

/// Length of a dictionary's header in bytes, which TiKV leaves out where there is no log.
const HEADER_LEN: u64 = 16;

pub(crate) fn record_file_dictionary_len(is_without_log: bool, len: u64) {
    let header = if is_without_log { HEADER_LEN } else { 0 };
    DICTIONARY_BYTES.set_float(len.saturating_sub(header) as f64, ["file_dictionary"]);
}

/// Recording takes a value for each of [`Metric::labels`].
#[cfg(feature = "metrics")]
impl Metric {
    /// Adds to a counter.
    pub(crate) fn add<const N: usize>(&self, n: u64, labels: [&'static str; N]) {
        ::metrics::counter!(self.name, self.pairs(labels)).increment(n);
    }

    /// Sets a gauge.
    pub fn set<const N: usize>(&self, value: usize, labels: [&'static str; N]) {
        self.set_float(value as f64, labels);
    }

    /// Sets a gauge. [`f64::NAN`] is for what isn't known.
    pub fn set_float<const N: usize>(&self, value: f64, labels: [&'static str; N]) {
        ::metrics::gauge!(self.name, self.pairs(labels)).set(value);
    }

    /// Adds a value to a histogram.
    pub(crate) fn observe<const N: usize>(&self, value: f64, labels: [&'static str; N]) {
        ::metrics::histogram!(self.name, self.pairs(labels)).record(value);
    }

    fn pairs<const N: usize>(&self, values: [&'static str; N]) -> Vec<::metrics::Label> {
        debug_assert_eq!(self.labels.len(), N, "{}", self.name);
        let labels = self.labels.iter().zip(values);
        labels
            .map(|(name, value)| ::metrics::Label::from_static_parts(name, value))
            .collect()
    }
}

#[cfg(not(feature = "metrics"))]
impl Metric {
    pub(crate) fn add<const N: usize>(&self, _: u64, _: [&'static str; N]) {}

    pub(crate) fn set<const N: usize>(&self, _: usize, _: [&'static str; N]) {}

    pub(crate) fn set_float<const N: usize>(&self, _: f64, _: [&'static str; N]) {}

    pub(crate) fn observe<const N: usize>(&self, _: f64, _: [&'static str; N]) {}
}
