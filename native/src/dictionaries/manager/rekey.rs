//! Files that still use old data keys, encrypted anew while everything goes on.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use stillkey_core::error::NotFound;
use stillkey_core::{FileInfo, KeyEntry, Method};

use super::super::sync::thread;
use super::DataKeyManager;
use super::replacement::is_unfinished;
use crate::error::Error;
use crate::fsops;

/// Which files to encrypt anew. Whatever is chosen, a file that has the current data key stays as it is, which is how an interrupted run is resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekeySelection {
    /// Only files whose data key was made before this, in seconds since 1970-01-01 UTC; those whose key is for another method than the
    /// current one are chosen in any case.
    pub made_before: Option<u64>,
    /// Only files of this method.
    pub method: Option<Method>,
}

impl RekeySelection {
    fn includes(&self, info: &FileInfo, key: Option<&KeyEntry>, current: &KeyEntry) -> bool {
        if self
            .method
            .is_some_and(|method| info.method != method.into())
        {
            return false;
        }
        let (Some(limit), Some(key)) = (self.made_before, key) else {
            return true;
        };
        key.creation_time < limit || info.method != current.method
    }
}

/// The longest that a throttled run waits before it asks again whether to stop.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How far a re-encryption has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekeyProgress {
    /// Files that were chosen.
    pub files: u64,
    /// Files that are done, or were left as they are.
    pub files_done: u64,
    /// Their bytes in all, as they were at the beginning.
    pub bytes: u64,
    /// Bytes that have been encrypted anew.
    pub bytes_done: u64,
}

/// What a re-encryption has done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RekeyReport {
    /// Files that have a new key.
    pub rekeyed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were being written, and are left for another time.
    pub busy: Vec<String>,
    /// Entries whose file isn't there.
    pub missing: Vec<String>,
    /// Files that could not be encrypted anew, each with why. They are as they were.
    pub failed: Vec<(String, Error)>,
    /// Whether it was stopped before all were done.
    pub stopped: bool,
}

impl DataKeyManager {
    /// Encrypts files anew, one after the other, under the current data key, while files go on being used: see [`DataKeyManager::rekey_file`],
    /// whose limits apply: engines that write files without [`DataKeyManager::open_file_writable`] must see to it that they don't do so meanwhile.
    ///
    /// `limit`: most bytes per second. `progress` hears of it about every 256 KiB, and ten times a second while the limit makes it wait. It stops it by
    /// [`ControlFlow::Break`]; the next run goes on where this one was stopped. A file that is linked under several names becomes several files.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no data key yet. What fails for a file is in the report.
    pub fn rekey(
        &self,
        selection: &RekeySelection,
        limit: Option<u64>,
        mut progress: impl FnMut(&RekeyProgress) -> ControlFlow<()>,
    ) -> Result<RekeyReport, Error> {
        let mut report = RekeyReport::default();
        let mut now = RekeyProgress::default();
        let mut chosen = Vec::new();
        for name in self.outdated(selection)? {
            match fsops::identity_at(&super::data_path(self.directory(), &name)) {
                Ok(Some(file)) => {
                    now.bytes += file.len;
                    chosen.push(name);
                }
                Ok(None) => report.missing.push(name),
                Err(error) => report.failed.push((name, error)),
            }
        }
        now.files = chosen.len() as u64;
        let begin = Instant::now();
        report.stopped = progress(&now).is_break();
        for name in chosen {
            if report.stopped {
                break;
            }
            let rekeyed = self.rekey_file(Path::new(&name), |bytes| {
                now.bytes_done += bytes;
                loop {
                    report.stopped = progress(&now).is_break();
                    let pause = limit.map_or(Duration::ZERO, |limit| {
                        ahead(now.bytes_done, limit, begin.elapsed())
                    });
                    if report.stopped || pause.is_zero() {
                        return !report.stopped;
                    }
                    thread::sleep(pause.min(LONGEST_PAUSE));
                }
            });
            match rekeyed {
                Ok(Some(bytes)) => {
                    report.rekeyed += 1;
                    report.bytes += bytes;
                }
                Ok(None) if report.stopped => break,
                Ok(None) => report.busy.push(name),
                // It went between choosing and opening.
                Err(error) if is_missing(&error) => report.missing.push(name),
                Err(error) => report.failed.push((name, error)),
            }
            now.files_done += 1;
            report.stopped |= progress(&now).is_break();
        }
        report.stopped &= now.files_done < now.files;
        Ok(report)
    }

    /// The chosen files that don't have the current data key, sorted by name.
    fn outdated(&self, selection: &RekeySelection) -> Result<Vec<String>, Error> {
        let keys = self.entries.keys();
        let (current_id, current) = self.layout().current(&keys)?;
        let is_chosen = |name: &str, info: &FileInfo| {
            let is_outdated = info.key_id != current_id || info.method != current.method;
            let key = keys.get(info.key_id).ok();
            is_outdated && !is_unfinished(name) && selection.includes(info, key, current)
        };
        let mut names: Vec<_> = self.entries.survey(|files| {
            let chosen = files
                .unsorted()
                .filter(|(name, info)| is_chosen(name, info));
            chosen.map(|(name, _)| name.to_owned()).collect()
        });
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether a file or its entry is gone; a data key that is gone isn't meant.
fn is_missing(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        Error::Data { source, .. } => {
            matches!(source, stillkey_core::Error::NotFound(NotFound::File(_)))
        }
        _ => false,
    }
}

/// How long to wait until `done` bytes are no more than `limit` per second of what has `elapsed`.
fn ahead(done: u64, limit: u64, elapsed: Duration) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a pause needs no more than 52 bits"
    )]
    let allowed = Duration::try_from_secs_f64(done as f64 / limit.max(1) as f64);
    allowed.unwrap_or(Duration::MAX).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_makes_up_for_what_was_too_fast() {
        let ahead = |done, limit, elapsed| ahead(done, limit, Duration::from_millis(elapsed));
        assert_eq!(ahead(1000, 1000, 250), Duration::from_millis(750));
        assert_eq!(ahead(1000, 1000, 1500), Duration::ZERO);
        assert_eq!(ahead(0, 0, 0), Duration::ZERO);
    }
}
