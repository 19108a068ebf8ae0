//! The `[security.encryption]` section of TiKV's and TiFlash's configuration files: how a data directory is encrypted, and where it is.
//!
//! Both read the same section. TiKV has it in its only file, TiFlash in the file of its proxy (`tiflash-learner.toml`), which its main file
//! (`tiflash.toml`) names as `flash.proxy.config`. What Stillkey needs beyond that stands in a table of its own, `[stillkey]`.
//! Everything else in the files is left alone.

mod duration;
mod master_key;
mod section;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stillkey_core::{FileLog, Method, RotationPolicy, Version};
use zeroize::Zeroizing;

use crate::dictionaries::{DataKeyManager, Names, Startup, Untracked};
use crate::error::Error;
use crate::fsops;
use crate::master::MasterKeySource;

pub use duration::parse_duration;
pub use master_key::{
    AwsAccessKey, AzureConfig, AzureCredential, ConfiguredMasterKey, KeyServiceConfig,
    KeyServiceVendor,
};
pub use section::ConfigWarning;
use section::Section;

/// What a configuration file of TiKV or TiFlash says about encryption.
///
/// ```
/// use std::time::Duration;
/// use stillkey::{MasterKeySource, TikvConfig};
/// let config = TikvConfig::parse(r#"
///     [storage]
///     data-dir = "/var/lib/tikv"
///     [security.encryption]
///     data-encryption-method = "aes256-ctr"
///     data-key-rotation-period = "1d12h"
///     data-key-rotation-peroid = "1d"
///     [security.encryption.master-key]
///     type = "file"
///     path = "/etc/tikv/master.key"
/// "#)?;
/// assert_eq!(config.master_key.source()?, &MasterKeySource::File("/etc/tikv/master.key".into()));
/// assert_eq!(config.data_key_rotation_period, Duration::from_secs(36 * 60 * 60));
/// assert_eq!(
///     config.warnings[0].to_string(),
///     "line 7: security.encryption.data-key-rotation-peroid: unknown key, ignored; did you mean 'data-key-rotation-period'?"
/// );
/// # Ok::<(), stillkey::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TikvConfig {
    /// Where the dictionaries are, if the file says: `storage.data-dir`, or in TiFlash's main file `flash.proxy.data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `flash.proxy.config`: the file that has TiFlash's section. Only TiFlash's main file names one; [`TikvConfig::read`] follows it.
    pub proxy_config: Option<PathBuf>,
    /// The method of new files; plaintext unless the file says otherwise.
    pub data_encryption_method: Method,
    /// The age at which a data key is replaced; seven days unless the file says otherwise.
    pub data_key_rotation_period: Duration,
    /// Whether `file.dict` has the form with a log, as it does unless the file says otherwise: [`TikvConfig::file_dictionary_version`].
    pub enable_file_dictionary_log: bool,
    /// `file.dict` is compacted once more than this many entries have been removed; 1,000,000 unless the file says otherwise.
    pub file_dictionary_rewrite_threshold: u64,
    /// The master key; plaintext unless the file says otherwise.
    pub master_key: ConfiguredMasterKey,
    /// The master key before that, if the file names one. To TiKV, not to name one means plaintext.
    pub previous_master_key: Option<ConfiguredMasterKey>,
    /// `stillkey.file-names`.
    pub file_names: Names,
    /// `stillkey.untracked`.
    pub untracked: Untracked,
    /// What is probably not meant so, in the order of the file's tables.
    pub warnings: Vec<ConfigWarning>,
}

impl Default for TikvConfig {
    /// What TiKV assumes without a configuration: no encryption.
    fn default() -> Self {
        Self {
            data_dir: None,
            proxy_config: None,
            data_encryption_method: Method::Plaintext,
            data_key_rotation_period: Duration::from_secs(RotationPolicy::default().period),
            enable_file_dictionary_log: true,
            file_dictionary_rewrite_threshold: FileLog::DEFAULT_REWRITE_THRESHOLD,
            master_key: ConfiguredMasterKey::Source(MasterKeySource::Plaintext),
            previous_master_key: None,
            file_names: Names::default(),
            untracked: Untracked::default(),
            warnings: Vec::new(),
        }
    }
}

impl TikvConfig {
    /// Reads a file, and if it is TiFlash's main file, then that of its proxy, too: a relative path to it counts from the main file's
    /// directory. The main file's data directory has precedence, as in TiFlash.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let write = |name, text| std::fs::write(directory.path().join(name), text).unwrap();
    /// write("tiflash.toml", "[flash.proxy]\nconfig = 'tiflash-learner.toml'\ndata-dir = '/data/flash'");
    /// write("tiflash-learner.toml", "[security.encryption]\ndata-encryption-method = 'sm4-ctr'");
    /// let config = stillkey::TikvConfig::read(directory.path().join("tiflash.toml"))?;
    /// assert_eq!(config.data_encryption_method.name(), "sm4-ctr");
    /// assert_eq!(config.data_dir, Some("/data/flash".into()));
    /// # Ok::<(), stillkey::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TikvConfig::parse`], with the file's path; [`Error::Io`], [`Error::NotAFile`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let main = Self::read_one(path)?;
        let Some(proxy_config) = main.proxy_config else {
            return Ok(main);
        };
        let proxy_config = path.with_file_name(proxy_config);
        let mut config = Self::read_one(&proxy_config)?;
        config.data_dir = main.data_dir.or(config.data_dir);
        config.warnings.splice(0..0, main.warnings);
        config.proxy_config = Some(proxy_config);
        Ok(config)
    }

    fn read_one(path: &Path) -> Result<Self, Error> {
        let mut config = Self::parse(&read_text(path)?).map_err(|error| match error {
            Error::Usage(what) => Error::Usage(format!("{}: {what}", path.display())),
            other => other,
        })?;
        for warning in &mut config.warnings {
            warning.path = Some(path.to_owned());
        }
        Ok(config)
    }

    /// Reads the text of a configuration file. Keys in `[security.encryption]` and `[stillkey]` that mean nothing become
    /// [warnings](TikvConfig::warnings).
    ///
    /// # Errors
    /// [`Error::Usage`] when it isn't TOML, or when a value has the wrong type or form; the message names key and line, and quotes nothing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut config = Self::default();
        let mut file = Section::document(text)?;
        if let Some(mut storage) = file.section("storage")? {
            config.data_dir = storage.string("data-dir")?.map(PathBuf::from);
        }
        let mut security = file.section("security")?;
        let encryption = match &mut security {
            Some(security) => security.section("encryption")?,
            None => None,
        };
        let own = file.section("stillkey")?;
        file.warn_of_misspelt(&mut config.warnings);
        if let Some(security) = security {
            security.warn_of_misspelt(&mut config.warnings);
        }
        if let Some(proxy) = proxy(&mut file) {
            config.read_proxy(proxy)?;
        }
        if let Some(encryption) = encryption {
            if config.proxy_config.is_some() {
                let message = "has no effect in TiFlash's main file; put it in the file that flash.proxy.config names";
                config.warnings.push(encryption.warning_of_all(message));
            } else {
                config.read_encryption(encryption)?;
            }
        }
        if let Some(own) = own {
            config.read_own(own)?;
        }
        Ok(config)
    }

    fn read_proxy(&mut self, mut proxy: Section<'_>) -> Result<(), Error> {
        self.proxy_config = proxy.string("config")?.map(PathBuf::from);
        if let Some(data_dir) = proxy.string("data-dir")? {
            self.data_dir = Some(data_dir.into());
        }
        Ok(())
    }

    fn read_encryption(&mut self, mut table: Section<'_>) -> Result<(), Error> {
        let methods = format!("one of {}", Method::ALL.map(Method::name).join(", "));
        let method = table.parsed("data-encryption-method", &methods, |text| text.parse().ok())?;
        let period = table.parsed("data-key-rotation-period", duration::FORM, duration::parse)?;
        let log = table.boolean("enable-file-dictionary-log")?;
        let threshold = table.number("file-dictionary-rewrite-threshold")?;
        let master_key = table.section("master-key")?;
        let previous = table.section("previous-master-key")?;
        table.warn_of_unknown(&mut self.warnings);
        if period == Some(Duration::ZERO) {
            let message = "no time at all: a new data key is made whenever one could be due";
            let warning = table.warning("data-key-rotation-period", message);
            self.warnings.push(warning);
        }
        self.data_encryption_method = method.unwrap_or(self.data_encryption_method);
        self.data_key_rotation_period = period.unwrap_or(self.data_key_rotation_period);
        self.enable_file_dictionary_log = log.unwrap_or(self.enable_file_dictionary_log);
        self.file_dictionary_rewrite_threshold =
            threshold.unwrap_or(self.file_dictionary_rewrite_threshold);
        if let Some(table) = master_key {
            self.master_key = master_key::read(table, &mut self.warnings)?;
        }
        if let Some(table) = previous {
            self.previous_master_key = Some(master_key::read(table, &mut self.warnings)?);
        }
        Ok(())
    }

    fn read_own(&mut self, mut table: Section<'_>) -> Result<(), Error> {
        let names = |text: &str| match text {
            "relative" => Some(Names::Relative),
            "absolute" => Some(Names::AsGiven),
            _ => None,
        };
        let untracked = |text: &str| match text {
            "refuse" => Some(Untracked::Refuse),
            "plaintext" => Some(Untracked::Plaintext),
            _ => None,
        };
        let names = table.parsed("file-names", "\"relative\" or \"absolute\"", names)?;
        let untracked = table.parsed("untracked", "\"refuse\" or \"plaintext\"", untracked)?;
        self.file_names = names.unwrap_or_default();
        self.untracked = untracked.unwrap_or_default();
        table.warn_of_unknown(&mut self.warnings);
        Ok(())
    }

    /// When data keys are replaced. Keys have ages of whole seconds, so a part of one counts as a whole one.
    pub fn rotation_policy(&self) -> RotationPolicy {
        let period = self.data_key_rotation_period;
        RotationPolicy {
            method: self.data_encryption_method,
            period: period
                .as_secs()
                .saturating_add((period.subsec_nanos() > 0).into()),
        }
    }

    /// The form of `file.dict`.
    pub fn file_dictionary_version(&self) -> Version {
        if self.enable_file_dictionary_log {
            Version::V2
        } else {
            Version::V1
        }
    }

    /// How to open, or make, the dictionaries of this configuration. The master key is loaded now, the previous one only when it is needed;
    /// as in TiKV, it is plaintext when the file names none.
    ///
    /// # Errors
    /// [`Error::Usage`] when the file says neither where the data is nor, for the current master key, what [`ConfiguredMasterKey::source`]
    /// can give; [`Error::MasterKeySource`].
    pub fn startup(&self) -> Result<Startup<'_>, Error> {
        let directory = self.data_dir.as_ref().ok_or_else(|| {
            Error::Usage(
                "the configuration has no storage.data-dir; set it to the data directory".into(),
            )
        })?;
        let master_key = self.master_key.source()?.load()?.key;
        let previous = || match &self.previous_master_key {
            None => Ok(stillkey_core::MasterKey::Plaintext),
            Some(previous) => Ok(previous.source()?.load()?.key),
        };
        Ok(Startup::new(directory, self.rotation_policy(), master_key)
            .with_previous_master_key(previous)
            .with_version(self.file_dictionary_version())
            .with_rewrite_threshold(self.file_dictionary_rewrite_threshold))
    }

    /// Opens, or makes, the dictionaries of this configuration, as [`Startup::start`] does. `None`: it asks for no encryption, and there is
    /// nothing encrypted. `now`: seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Those of [`TikvConfig::startup`], [`Startup::start`] and [`DataKeyManager::new`].
    pub fn open(&self, now: u64) -> Result<Option<DataKeyManager>, Error> {
        let Some(started) = self.startup()?.start(now)? else {
            return Ok(None);
        };
        let manager = DataKeyManager::new(started.entries)?;
        Ok(Some(
            manager
                .with_names(self.file_names)
                .with_untracked(self.untracked),
        ))
    }
}

/// `[flash.proxy]`, which only TiFlash's main file has.
fn proxy<'t>(file: &mut Section<'t>) -> Option<Section<'t>> {
    file.foreign_section("flash")?.foreign_section("proxy")
}

/// Links are followed: that is how orchestrators mount configurations. The text may hold secrets.
fn read_text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "open"))?;
    if let Some(found) = fsops::other_than_file(metadata.file_type()) {
        return Err(Error::NotAFile {
            path: path.to_owned(),
            found,
        });
    }
    let room = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(String::new());
    // One byte more than expected, so that a file that doesn't grow is read without moving the buffer.
    text.try_reserve_exact(room.saturating_add(1))
        .map_err(|_| Error::io(path, "read")(std::io::ErrorKind::OutOfMemory.into()))?;
    fs::File::open(path)
        .map_err(Error::io(path, "open"))?
        .read_to_string(&mut text)
        .map_err(Error::io(path, "read"))?;
    Ok(text)
}
