//! The audit trail on the disk: `audit/INSTANCE-0001.jsonl`, one line for each record, the chain
//! carried over from file to file.

use std::fs::File;
use std::path::{Path, PathBuf};

use stillkey_core::SecretBytes;
use stillkey_core::kms::alias::Namespace;
use stillkey_core::kms::audit::{AuditChain, AuditVerifier, ChainPosition};
use stillkey_core::kms::id::Id;
use stillkey_core::kms::json::Json;

use crate::error::Error;
use crate::fsops::{self, Access};

/// A file that is so long is followed by another one.
const ROLL_AT: u64 = 64 << 20;

/// A log is read whole, when at all; a line that is added last may go past [`ROLL_AT`].
const LIMIT: u64 = 2 * ROLL_AT;

/// The audit log of a store, open at its end.
#[derive(Debug)]
pub(super) struct AuditLog {
    directory: PathBuf,
    instance: Id,
    number: u32,
    file: File,
    /// Up to here, it is as it should be; what a failed append has left behind it goes first.
    good_len: u64,
    is_good: bool,
    is_synced: bool,
    chain: AuditChain,
    roll_at: u64,
}

/// What was found in a log when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    /// The newest generation that a line names.
    pub(super) generation: u64,
    /// Whether its end was torn: records may be lost.
    pub(super) was_torn: bool,
    /// Ids of events.
    pub(super) events: Vec<String>,
}

impl AuditLog {
    /// Opens the log of an instance at its end, or begins it. What is found has the events of lines
    /// from the generation `since` on.
    pub(super) fn open(
        directory: &Path,
        store_key: &SecretBytes,
        namespace: &Namespace,
        instance: Id,
        since: u64,
    ) -> Result<(Self, Found), Error> {
        fsops::create_directories(directory)?;
        let last = last_number(directory, instance)?;
        let files = Files {
            directory,
            store_key,
            instance,
        };
        let end = files.end(last)?;
        let found = Found {
            generation: end.generation,
            was_torn: end.is_torn,
            events: files.events_since(last, since)?,
        };
        // What is torn stays as it is found: whoever looks into it later shall see that.
        let (number, good_len) = match last {
            0 => (1, 0),
            last if end.is_torn => (last + 1, 0),
            last => (last, end.good_len),
        };
        let file = match number == last {
            true => fsops::open(&path(directory, instance, last), Access::Append)?,
            false => create(directory, instance, number)?,
        };
        let mut chain = AuditChain::new(store_key, namespace.clone(), instance, end.position);
        chain.set_generation(end.generation);
        let log = Self {
            directory: directory.to_owned(),
            instance,
            number,
            file,
            good_len,
            is_good: true,
            // What a process before has written may not be.
            is_synced: false,
            chain,
            roll_at: ROLL_AT,
        };
        Ok((log, found))
    }

    fn path(&self) -> PathBuf {
        path(&self.directory, self.instance, self.number)
    }

    pub(super) fn set_generation(&mut self, generation: u64) {
        self.chain.set_generation(generation);
    }

    /// Cuts off what a failed append has left.
    fn mend(&mut self) -> Result<(), Error> {
        if self.is_good {
            return Ok(());
        }
        let path = self.path();
        fsops::truncate(&self.file, self.good_len, &path)?;
        fsops::sync(&self.file, &path)?;
        self.is_good = true;
        Ok(())
    }

    /// Appends records, all or none of them, and waits until they are durable if asked to.
    pub(super) fn append(
        &mut self,
        records: impl FnOnce(&mut AuditChain) -> Vec<u8>,
        durably: bool,
    ) -> Result<(), Error> {
        self.mend()?;
        if self.good_len >= self.roll_at {
            self.roll()?;
        }
        let before = self.chain.position();
        let lines = records(&mut self.chain);
        let path = self.path();
        let appended = fsops::append(&self.file, &lines, &path);
        let appended = appended.and_then(|()| match durably {
            true => fsops::sync(&self.file, &path),
            false => Ok(()),
        });
        match appended {
            Ok(()) => {
                self.good_len += lines.len() as u64;
                self.is_synced = durably;
            }
            Err(_) => {
                self.is_good = false;
                self.chain.go_back(before);
            }
        }
        appended
    }

    /// Waits until what was appended is durable.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if !self.is_synced {
            fsops::sync(&self.file, &self.path())?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), Error> {
        fsops::sync(&self.file, &self.path())?;
        self.file = create(&self.directory, self.instance, self.number + 1)?;
        self.number += 1;
        self.good_len = 0;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn set_roll_at(&mut self, len: u64) {
        self.roll_at = len;
    }
}

/// The files of an instance.
struct Files<'a> {
    directory: &'a Path,
    store_key: &'a SecretBytes,
    instance: Id,
}

/// How far a file is as it should be.
#[derive(Default)]
struct End {
    good_len: u64,
    is_torn: bool,
    position: ChainPosition,
    generation: u64,
    /// Of each line: generation and id.
    events: Vec<(u64, String)>,
}

impl Files<'_> {
    /// How far a file is as it should be; 0 stands for what is before the first.
    fn end(&self, number: u32) -> Result<End, Error> {
        if number == 0 {
            return Ok(End::default());
        }
        let path = path(self.directory, self.instance, number);
        let bytes = fsops::read_up_to(&path, LIMIT)?;
        let first = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        // A line says where the chain was before it, and its code whether that is true.
        let claimed = Line::parse(first).and_then(|line| {
            let before = line.before();
            let mut verifier = AuditVerifier::new(self.store_key, before);
            verifier.check(line.text).ok().map(|()| before)
        });
        let mut end = match claimed {
            Some(position) => End {
                position,
                ..End::default()
            },
            None => {
                let before = self.end(number - 1)?;
                End {
                    position: before.position,
                    generation: before.generation,
                    ..End::default()
                }
            }
        };
        let mut verifier = AuditVerifier::new(self.store_key, end.position);
        for with_end in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = with_end.strip_suffix(b"\n").and_then(Line::parse);
            let Some(line) = line.filter(|line| verifier.check(line.text).is_ok()) else {
                break;
            };
            end.good_len += with_end.len() as u64;
            end.generation = line.generation;
            end.events
                .extend(line.event.map(|id| (line.generation, id)));
        }
        end.is_torn = end.good_len < bytes.len() as u64;
        end.position = verifier.position();
        Ok(end)
    }

    /// The events of lines from this generation on, up to the file `last`.
    fn events_since(&self, last: u32, generation: u64) -> Result<Vec<String>, Error> {
        let mut events = Vec::new();
        for number in (1..=last).rev() {
            let in_file = self.end(number)?.events;
            let is_older = |(of, _): &(u64, String)| *of < generation;
            let has_older = in_file.iter().any(is_older);
            let newer = in_file.into_iter().filter(|event| !is_older(event));
            events.extend(newer.map(|(_, id)| id));
            if has_older {
                break;
            }
        }
        Ok(events)
    }
}

/// What has to be known of a line.
struct Line<'a> {
    text: &'a str,
    seq: u64,
    generation: u64,
    prev: [u8; 32],
    event: Option<String>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let json = Json::parse(text).ok()?;
        let number = |name| json.member(name).and_then(Json::as_u64);
        let string = |name| json.member(name).and_then(Json::as_str);
        let prev = SecretBytes::from_hex(string("prev")?.as_bytes()).ok()?;
        Some(Self {
            text,
            seq: number("seq").filter(|seq| *seq > 0)?,
            generation: number("generation").unwrap_or_default(),
            prev: prev.danger_bytes().try_into().ok()?,
            event: string("eventId").map(Into::into),
        })
    }

    /// Where the chain was before it, as it says.
    fn before(&self) -> ChainPosition {
        ChainPosition {
            seq: self.seq - 1,
            mac: self.prev,
        }
    }
}

/// What a check of the audit log has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Records that are as they were written.
    pub records: u64,
    /// Files whose end was torn by a crash: how many bytes. The chain goes on in the next file, which
    /// begins with an `AuditGap`.
    pub torn: Vec<(PathBuf, u64)>,
    /// Where the chain is broken: the file, the line, counted from 1, and what is wrong.
    pub broken: Option<(PathBuf, u64, String)>,
}

/// Checks every line of every file.
pub(super) fn verify(directory: &Path, store_key: &SecretBytes) -> Result<AuditReport, Error> {
    let mut report = AuditReport::default();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::io(directory, "list"))? {
        let name = entry.map_err(Error::io(directory, "list"))?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| name.ends_with(".jsonl")),
        );
    }
    names.sort();
    let mut before: Option<(String, AuditVerifier)> = None;
    // What is wrong with the end of the file before, unless this one goes on where it was right.
    let mut pending: Option<(PathBuf, u64, String, u64)> = None;
    for name in names {
        let path = directory.join(&name);
        let instance = name.get(..36).unwrap_or_default().to_owned();
        let (mut verifier, goes_on) = match before.take() {
            Some((same, verifier)) if same == instance => (verifier, true),
            _ => (AuditVerifier::new(store_key, ChainPosition::START), false),
        };
        if let (Some((path, line, finding, _)), false) = (&pending, goes_on) {
            report.broken = Some((path.clone(), *line, finding.clone()));
            return Ok(report);
        }
        let bytes = fsops::read_up_to(&path, LIMIT)?;
        let mut at = 0;
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let text = line.strip_suffix(b"\n").map(std::str::from_utf8);
            let checked = match text {
                Some(Ok(text)) => verifier.check(text).map_err(|broken| broken.to_string()),
                _ => Err("the line is cut off".into()),
            };
            match (checked, pending.take()) {
                (Ok(()), torn) => {
                    report
                        .torn
                        .extend(torn.map(|(path, _, _, bytes)| (path, bytes)));
                    report.records += 1;
                    at += line.len() as u64;
                }
                // The chain doesn't go on behind what was taken for torn.
                (Err(_), Some((path, line, finding, _))) => {
                    report.broken = Some((path, line, finding));
                    return Ok(report);
                }
                (Err(finding), None) => {
                    pending = Some((path.clone(), number, finding, bytes.len() as u64 - at));
                    break;
                }
            }
        }
        before = Some((instance, verifier));
    }
    report.broken = pending.map(|(path, line, finding, _)| (path, line, finding));
    Ok(report)
}

fn path(directory: &Path, instance: Id, number: u32) -> PathBuf {
    directory.join(format!("{instance}-{number:04}.jsonl"))
}

fn create(directory: &Path, instance: Id, number: u32) -> Result<File, Error> {
    let path = path(directory, instance, number);
    drop(fsops::create_new(&path)?);
    fsops::sync_directory(directory)?;
    fsops::open(&path, Access::Append)
}

/// The number of the newest file of an instance; 0: there is none.
fn last_number(directory: &Path, instance: Id) -> Result<u32, Error> {
    let prefix = format!("{instance}-");
    let mut last = 0;
    for entry in std::fs::read_dir(directory).map_err(Error::io(directory, "list"))? {
        let name = entry.map_err(Error::io(directory, "list"))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".jsonl"))
            .and_then(|number| number.parse().ok());
        last = last.max(number.unwrap_or_default());
    }
    Ok(last)
}
