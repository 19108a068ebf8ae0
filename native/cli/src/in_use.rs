//! Whether a program that doesn't know `stillkey.lock`, such as TiKV, is using a data directory.
//!
//! While it runs, TiKV holds `flock` on `LOCK` in its data directory, where the dictionaries are;
//! RocksDB holds a POSIX lock on `LOCK` in its own directory, which is `db` below TiKV's. Both
//! leave the file behind.
//!
//! Only the command looks: a program that runs RocksDB itself would lose RocksDB's lock by closing
//! that file.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use stillkey::core::MasterKey;
use stillkey::{DataKeyManager, Entries, ErrorKind, Repair};

use crate::dictionaries::DictArgs;
use crate::failure::{Failure, Outcome};
use crate::ui::Ui;

/// The locks of engines, in a data directory.
const LOCKS: [&str; 2] = ["LOCK", "db/LOCK"];

/// Options for commands that write in a data directory.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct InUseArgs {
    /// Write although another program, such as TiKV, holds a lock in the directory
    #[arg(long, global = true)]
    even_if_in_use: bool,
}

/// Options for commands that write in a data directory with dictionaries.
#[derive(Debug, clap::Args)]
pub(crate) struct WriterArgs {
    #[command(flatten)]
    pub(crate) dictionaries: DictArgs,
    #[command(flatten)]
    in_use: InUseArgs,
}

impl WriterArgs {
    /// For commands that take the directory as an argument as well.
    pub(crate) fn or_in(self, directory: Option<PathBuf>) -> Outcome<Self> {
        let dictionaries = self.dictionaries.or_in(directory)?;
        Ok(Self {
            dictionaries,
            ..self
        })
    }

    /// Opens the dictionaries for changes, unless another program is using them.
    pub(crate) fn entries(&self, ui: &Ui) -> Outcome<Entries> {
        let directory = self.dictionaries.directory()?;
        let seen = self.in_use.expect_unused(&directory, ui)?;
        let open = |master_key: &MasterKey| Entries::open(&directory, master_key);
        let entries = self.dictionaries.open(ui, open)?;
        if matches!(seen, Seen::NoLock) && has_engines_names(&entries) {
            ui.warn(&format!(
                "{}: the names are an engine's, and none of its locks is here, so whether it is \
                 running can't be seen; make sure that it isn't",
                directory.display()
            ));
        }
        Ok(entries)
    }

    /// Looks at a directory that may be damaged, unless another program is using it.
    pub(crate) fn repair(&self, ui: &Ui) -> Outcome<Repair> {
        let directory = self.dictionaries.directory()?;
        self.in_use.expect_unused(&directory, ui)?;
        self.dictionaries
            .open(ui, |master_key| Repair::look(&directory, master_key))
    }

    /// As [`WriterArgs::entries`], with the files.
    pub(crate) fn manager(&self, ui: &Ui) -> Outcome<DataKeyManager> {
        Ok(DataKeyManager::new(self.entries(ui)?)?)
    }
}

/// Those of TiKV and TiFlash are absolute. What writes relative ones knows `stillkey.lock`.
fn has_engines_names(entries: &Entries) -> bool {
    entries.survey(|files| files.unsorted().any(|(name, _)| name.starts_with('/')))
}

/// What the locks tell of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There is no lock of an engine's.
    NoLock,
    /// No engine is running, or it doesn't matter.
    Told,
}

impl InUseArgs {
    /// That no other program holds a lock in the directory. Then none that takes TiKV's can start
    /// before this process has ended.
    pub(crate) fn expect_unused(self, directory: &Path, ui: &Ui) -> Outcome<Seen> {
        let mut seen = Seen::NoLock;
        for path in LOCKS.map(|name| directory.join(name)) {
            match look(&path) {
                Ok(None) => continue,
                Ok(Some(Look::Free(file))) => std::mem::forget(file),
                Ok(Some(Look::Held(holder))) if self.even_if_in_use => ui.warn(&format!(
                    "{}: held by {holder}, which may undo or damage what is written now",
                    path.display()
                )),
                Ok(Some(Look::Held(holder))) => {
                    return Err(Failure::Said(
                        ErrorKind::Locked,
                        format!(
                            "{}: held by {holder}, which is using the directory; stop it first, or \
                             write nevertheless with --even-if-in-use",
                            path.display()
                        ),
                    ));
                }
                Err(error) => ui.warn(&format!(
                    "{}: cannot lock: {error}; whether an engine is running can't be seen: make \
                     sure that it isn't",
                    path.display()
                )),
            }
            seen = Seen::Told;
        }
        Ok(seen)
    }
}

enum Look {
    /// Locked by this process, for as long as this is open.
    Free(File),
    Held(Holder),
}

/// `None` where there is no such file, and so no program that holds it.
fn look(path: &Path) -> std::io::Result<Option<Look>> {
    if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(None);
    }
    let file = File::open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let pid = pid_of_flock(&file);
            return Ok(Some(Look::Held(Holder { pid })));
        }
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let write = Flock::from(FlockType::WriteLock);
    Ok(Some(match fcntl_getlk(&file, &write)? {
        None => Look::Free(file),
        Some(lock) => Look::Held(Holder {
            pid: lock.pid.map(|pid| pid.as_raw_nonzero().get()),
        }),
    }))
}

/// The system tells it for the other kind of lock only. This kind it lists, by device and inode,
/// and some file systems report other numbers there than for the file.
fn pid_of_flock(file: &File) -> Option<i32> {
    let metadata = file.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut found = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok()?;
        (is_flock && words.next()? == place && pid > 0).then_some(pid)
    });
    found.next()
}

struct Holder {
    pid: Option<i32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return f.write_str("another process");
        };
        write!(f, "process {pid}")?;
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => write!(f, " ({})", name.trim_end().escape_debug()),
            Err(_) => Ok(()),
        }
    }
}
