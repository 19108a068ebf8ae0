//! Starting on a directory as a storage engine does: its dictionaries are opened, or made, or not needed; a change of the master key since
//! the last start is carried out; and the data key is replaced if it is due.
//!
//! Nothing is written before a master key has opened the key dictionary and nothing in either dictionary has turned out to be damaged.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};

use stillkey_core::{MasterKey, Method, Reading, RotationPolicy, RotationReason, Version};

use super::KEY_DICT;
use super::entries::{Entries, Proven, check_protection};
use super::reader::Dictionaries;
use crate::error::{Error, ErrorKind};
use crate::observe;

/// What a start needs to know.
///
/// To change the master key, give the new one and, as the previous one, the old one: the first start seals the data keys under the new one,
/// later starts don't load the old one any more. That works between all kinds of master keys.
///
/// ```
/// use stillkey::core::{MasterKey, Method, RawMasterKey, RotationPolicy};
/// use stillkey::{DataKeyManager, Startup, SysRng, clock::unix_now};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let old = MasterKey::Raw(RawMasterKey::random(&mut SysRng)?);
/// let policy = RotationPolicy::default();
/// let first = Startup::new(directory, policy.clone(), old.clone()).start(unix_now())?;
/// assert!(first.is_some_and(|started| started.created));
///
/// let new = MasterKey::Raw(RawMasterKey::random(&mut SysRng)?);
/// let started = Startup::new(directory, policy, new)
///     .with_previous_master_key(|| Ok(old.clone()))
///     .start(unix_now())?
///     .expect("the policy's method encrypts");
/// assert!(started.fell_back);
/// let manager = DataKeyManager::new(started.entries)?;
/// # Ok(()) }
/// ```
pub struct Startup<'a> {
    directory: PathBuf,
    policy: RotationPolicy,
    master_key: MasterKey,
    previous: Option<Previous<'a>>,
    version: Option<Version>,
    rewrite_threshold: Option<u64>,
}

/// Dictionaries that are open, and what was done to get there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started {
    /// The directory's entries, which a [`DataKeyManager`](super::DataKeyManager) can be made from.
    pub entries: Entries,
    /// Whether this was the first start, so that the dictionaries have just been made.
    pub created: bool,
    /// Whether the previous master key was needed. The current one does from now on.
    pub fell_back: bool,
    /// Why the data key was replaced, if it was.
    pub rotated: Option<RotationReason>,
}

impl<'a> Startup<'a> {
    /// A start on `directory`, whose new files use `policy.method`, under `master_key`.
    pub fn new(
        directory: impl Into<PathBuf>,
        policy: RotationPolicy,
        master_key: MasterKey,
    ) -> Self {
        Self {
            directory: directory.into(),
            policy,
            master_key,
            previous: None,
            version: None,
            rewrite_threshold: None,
        }
    }

    pub(super) fn at(mut self, directory: &Path) -> Self {
        self.directory = directory.to_owned();
        self
    }

    pub(super) fn with_policy(mut self, policy: RotationPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The master key to fall back to. `load` is called only if the current one turns out to be another than the one in use, and then once.
    #[must_use]
    pub fn with_previous_master_key(
        mut self,
        load: impl Fn() -> Result<MasterKey, Error> + 'a,
    ) -> Self {
        self.previous = Some(Previous {
            load: Box::new(load),
            key: OnceCell::new(),
        });
        self
    }

    /// The form that `file.dict` is to have. Without this, it stays as it is, and is [`Version::V2`] when it is made.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// As [`Entries::with_rewrite_threshold`].
    #[must_use]
    pub fn with_rewrite_threshold(mut self, removes: u64) -> Self {
        self.rewrite_threshold = Some(removes);
        self
    }

    /// Starts. `None`: the method is plaintext and there are no dictionaries, so that none are needed, and nothing was written.
    ///
    /// Only a master key that doesn't fit leads to the previous one: the wrong key, another kind of master key, another vendor of a key
    /// service. A key service that can't be reached doesn't, nor does damage. What the previous one has opened is sealed under the current one
    /// before anything else is written; if the previous one was plaintext, the data key is then replaced at once, whatever its age.
    ///
    /// `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// - [`Error::Usage`] when the method encrypts and the master key is plaintext.
    /// - [`Error::BothMasterKeys`] when neither master key fits, or when the previous one was needed and couldn't be had.
    /// - [`Error::Core`] when a key service can't be reached.
    /// - Those of [`Entries::open`], of [`Entries::create`] on a first start, of [`Entries::rotate_master_key`] and
    ///   [`Entries::rotate_data_key`].
    pub fn start(self, now: u64) -> Result<Option<Started>, Error> {
        let _span = observe::span!(INFO, "start", directory => self.directory.display());
        check_protection(self.policy.method, &self.master_key)?;
        let opened = match self.open() {
            Err(Error::NoDictionaries { .. }) => {
                if self.policy.method == Method::Plaintext {
                    return Ok(None);
                }
                self.create(now)?
            }
            opened => opened?,
        };
        self.finish(opened, now).map(Some)
    }

    fn open(&self) -> Result<Started, Error> {
        // Which of the two has opened the dictionaries that were read last.
        let mut fallback = None;
        let proven = Proven::read(&self.directory, || {
            let (dictionaries, opened_by) = self.read()?;
            fallback = opened_by;
            Ok(dictionaries)
        })?;
        let entries = match fallback {
            None => proven.open(&self.master_key, None)?,
            Some(previous) => proven.open(previous, Some(&self.master_key))?,
        };
        if let Some(previous) = fallback {
            observe::fell_back(&self.directory, previous.kind());
        }
        Ok(Started {
            entries,
            created: false,
            fell_back: fallback.is_some(),
            rotated: None,
        })
    }

    /// The dictionaries, with the previous master key if that was needed.
    fn read(&self) -> Result<(Dictionaries, Option<&MasterKey>), Error> {
        let read =
            |master_key| Dictionaries::read(&self.directory, master_key, Reading::AfterCrash);
        let wrong = match read(&self.master_key) {
            Err(error) if error.kind() == ErrorKind::WrongKey => error,
            done => return Ok((done?, None)),
        };
        let Some(previous) = &self.previous else {
            return Err(wrong);
        };
        let both = |previous: String, kind| Error::BothMasterKeys {
            path: self.directory.join(KEY_DICT),
            current: format!("({}): {}", name(&self.master_key), cause(&wrong)),
            previous,
            kind,
        };
        let previous = previous
            .key()
            .map_err(|error| both(format!("(not loaded): {error}"), error.kind()))?;
        match read(previous) {
            // A service that can't be reached isn't the whole story here: the current master key was wrong.
            Err(error) if matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::KeySource) => {
                let why = format!("({}): {}", name(previous), cause(&error));
                Err(both(why, error.kind()))
            }
            done => Ok((done?, Some(previous))),
        }
    }

    fn create(&self, now: u64) -> Result<Started, Error> {
        let (method, master_key) = (self.policy.method, &self.master_key);
        Ok(Started {
            entries: Entries::create(&self.directory, master_key, method, now)?,
            created: true,
            fell_back: false,
            rotated: None,
        })
    }

    fn finish(&self, mut started: Started, now: u64) -> Result<Started, Error> {
        if let Some(removes) = self.rewrite_threshold {
            started.entries = started.entries.with_rewrite_threshold(removes);
        }
        let Started {
            entries, rotated, ..
        } = &mut started;
        if let Some(version) = self.version
            && version != entries.version()
        {
            entries.convert(version)?;
        }
        *rotated = entries.rotation_due(&self.policy, now)?;
        if rotated.is_some() {
            entries.rotate_data_key_for(*rotated, self.policy.method, now)?;
        }
        Ok(started)
    }
}

impl fmt::Debug for Startup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Startup")
            .field("directory", &self.directory)
            .field("policy", &self.policy)
            .field("master_key", &self.master_key)
            .field("previous", &self.previous.is_some())
            .field("version", &self.version)
            .field("rewrite_threshold", &self.rewrite_threshold)
            .finish()
    }
}

/// A master key that is loaded when it is needed.
struct Previous<'a> {
    load: Box<dyn Fn() -> Result<MasterKey, Error> + 'a>,
    key: OnceCell<MasterKey>,
}

impl Previous<'_> {
    fn key(&self) -> Result<&MasterKey, Error> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = (self.load)()?;
        Ok(self.key.get_or_init(|| key))
    }
}

/// What tells this master key from another one in a message.
fn name(master_key: &MasterKey) -> String {
    match master_key {
        MasterKey::Raw(key) => format!("32-byte key {}", key.reference()),
        MasterKey::Service(service) => format!("key service {}", service.vendor()),
        other => other.kind().to_owned(),
    }
}

/// The error without the path, which stands before both.
fn cause(error: &Error) -> String {
    match error {
        Error::Data { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
