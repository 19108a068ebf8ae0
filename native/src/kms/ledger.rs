//! What waits to be written to the audit log: records of requests that changed nothing, and how often
//! versions were used.

use std::collections::HashMap;

use stillkey_core::kms::audit::AuditRecord;
use stillkey_core::kms::id::Id;
use stillkey_core::kms::{Response, VersionUse};

/// Records that are kept while the log can't be written. More are counted, and lost.
const MOST_KEPT: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: Vec<AuditRecord>,
    lost: u64,
    /// By key and version: the day of the last use, and how often since the last note.
    uses: HashMap<(Id, Id), (u64, u64)>,
}

/// What was taken out of a ledger to be written.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<AuditRecord>,
    pub(super) lost: u64,
}

impl Ledger {
    /// Notes a request. Returns how many wait.
    pub(super) fn note(&mut self, record: AuditRecord) -> usize {
        if self.records.len() < MOST_KEPT {
            self.records.push(record);
        } else {
            self.lost += 1;
        }
        self.records.len()
    }

    /// Notes that the answer took a version to make.
    pub(super) fn note_use(&mut self, response: &Response, day: u64) {
        let (key, version) = match response {
            Response::Encrypt(made) | Response::GenerateDataKeyWithoutPlaintext(made) => {
                (made.key, made.version)
            }
            Response::GenerateDataKey(made) => (made.encrypted.key, made.encrypted.version),
            Response::Decrypt(opened) => (opened.key, opened.version),
            Response::ReEncrypt(made) => {
                self.count(made.source_key, made.source_version, day);
                (made.encrypted.key, made.encrypted.version)
            }
            _ => return,
        };
        self.count(key, version, day);
    }

    fn count(&mut self, key: Id, version: Id, day: u64) {
        let (last, count) = self.uses.entry((key, version)).or_default();
        *last = day.max(*last);
        *count += 1;
    }

    pub(super) fn take(&mut self) -> Page {
        Page {
            records: std::mem::take(&mut self.records),
            lost: std::mem::take(&mut self.lost),
        }
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&mut self, page: Page) {
        let newer = std::mem::replace(&mut self.records, page.records);
        self.lost += page.lost;
        for record in newer {
            self.note(record);
        }
    }

    pub(super) fn uses(&self) -> Vec<VersionUse> {
        let uses = self.uses.iter();
        uses.map(|((key, version), (day, count))| VersionUse {
            key: *key,
            version: *version,
            day: *day,
            count: *count,
        })
        .collect()
    }

    /// Forgets uses that were saved.
    pub(super) fn settle_uses(&mut self, saved: &[VersionUse]) {
        for used in saved {
            let left = self
                .uses
                .get_mut(&(used.key, used.version))
                .map(|(_, count)| {
                    *count = count.saturating_sub(used.count);
                    *count
                });
            if left == Some(0) {
                self.uses.remove(&(used.key, used.version));
            }
        }
    }
}
