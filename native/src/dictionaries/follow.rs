//! `file.dict` as it grows: what has been read of it stays read, and only what a writer has appended since is read again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use stillkey_core::{FileDictionary, Reading, Recovered, SyncedLength, Verdict, Version};

use super::synced;
use crate::error::Error;
use crate::fsops::{self, Access, Act, Identity, step};
use crate::observe::{self, Stopwatch};

/// How often a damaged `file.dict` is read again while it keeps changing.
const ATTEMPTS: usize = 8;

/// Most bytes before the end of what was read that are compared when more is read.
const ANCHOR: usize = 4 << 10;

/// A `file.dict` that has been read up to somewhere.
#[derive(Debug)]
pub(super) struct Followed {
    path: Box<Path>,
    /// Kept open, so that its inode can't become another file's.
    file: File,
    /// Where the records end that have been read.
    at: u64,
    /// The bytes before that. A writer cuts a failed append off, and may put other records in its place.
    anchor: Vec<u8>,
    /// Version 1 is never appended to.
    version: Version,
    /// The first bytes, by which `file.synced` knows the file.
    start: Vec<u8>,
}

/// What has become of a `file.dict` since it was read.
pub(super) enum Since {
    /// Bytes that were appended, perhaps none.
    Appended(Vec<u8>),
    /// It was replaced, or changed otherwise: it must be read from its beginning.
    Changed,
}

/// Reads the `file.dict` at `path`. Nothing counts as damage that hasn't been read twice alike.
pub(super) fn read(path: &Path, reading: Reading) -> Result<(Recovered, Followed), Error> {
    let mut before = None;
    let mut attempts = 0..ATTEMPTS;
    loop {
        let watch = Stopwatch::start();
        // First what has been synced, then the file, which has at least that.
        let synced = synced::read(path).filter(|_| reading != Reading::Tikv);
        let file = fsops::open(path, Access::Read)?;
        let bytes = fsops::read_open(&file, path, u64::MAX)?;
        let recovered = FileDictionary::recover(&bytes, reading).map_err(Error::data(path));
        let recovered = recovered.map(|recovered| match synced {
            Some(synced) => synced.judge(&bytes, reading, recovered),
            None => recovered,
        });
        let damaged = match &recovered {
            Ok(recovered) => matches!(recovered.verdict, Verdict::Corrupt { .. }),
            Err(_) => true,
        };
        if let Ok(recovered) = &recovered {
            observe::file_dictionary_read(recovered.version, watch);
        }
        if !damaged || attempts.next().is_none() || before.as_ref() == Some(&bytes) {
            let recovered = recovered?;
            let mut followed = Followed {
                path: path.into(),
                file,
                at: 0,
                anchor: Vec::new(),
                version: recovered.version,
                start: bytes.iter().copied().take(SyncedLength::START).collect(),
            };
            followed.advance(&bytes, &recovered.verdict);
            return Ok((recovered, followed));
        }
        before = Some(bytes);
    }
}

impl Followed {
    pub(super) fn since(&self) -> Result<Since, Error> {
        let inspect = || fsops::identity(&self.file, &self.path);
        let is_same = |found: Identity| Ok::<_, Error>(found.id == inspect()?.id);
        let here = fsops::identity_at(&self.path)?;
        if !here.map_or(Ok(false), is_same)? {
            return Ok(Since::Changed);
        }
        let start = self.at.saturating_sub(self.anchor.len() as u64);
        let bytes = self.read_from(start)?;
        Ok(match bytes.strip_prefix(&*self.anchor) {
            Some(tail) if self.version == Version::V2 || tail.is_empty() => {
                Since::Appended(tail.to_vec())
            }
            _ => Since::Changed,
        })
    }

    /// Where the tail starts that [`Followed::since`] has given.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether what has been read ends before something that was there once, so that it isn't a torn append.
    pub(super) fn lacks_synced(&self) -> bool {
        let synced = synced::read(&self.path);
        synced.is_some_and(|synced| synced.reaches_past(self.at, &self.start))
    }

    /// Takes note of how far the bytes behind what was read have been read.
    pub(super) fn advance(&mut self, bytes: &[u8], verdict: &Verdict) {
        let end = match verdict {
            Verdict::Complete => self.at + bytes.len() as u64,
            Verdict::TornTail { at, .. } | Verdict::Corrupt { at, .. } => *at,
        };
        let read = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        self.anchor
            .extend_from_slice(bytes.get(..read).unwrap_or(bytes));
        let superseded = self.anchor.len().saturating_sub(ANCHOR);
        self.anchor.drain(..superseded);
        self.at = end;
    }

    fn read_from(&self, start: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut piece = [0; ANCHOR];
        loop {
            let at = start + bytes.len() as u64;
            match step(&Act::Read(&self.path), || self.file.read_at(&mut piece, at)) {
                Ok(0) => return Ok(bytes),
                Ok(read) => bytes.extend_from_slice(piece.get(..read).unwrap_or(&piece)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.path, "read")(error)),
            }
        }
    }
}
