//! The `[security.encryption]` section of TiKV's configuration file: which master keys a data directory uses, and where it is.
//!
//! Only what reading needs is taken over; every other key of the file is left alone.

use std::path::PathBuf;

use serde::Deserialize;
use stillkey_core::Method;

use crate::error::Error;
use crate::master::MasterKeySource;

/// What a TiKV configuration file says about encryption.
///
/// ```
/// use stillkey::{MasterKeySource, TikvConfig};
/// let config = TikvConfig::parse(r#"
///     [storage]
///     data-dir = "/var/lib/tikv"
///     [security.encryption]
///     data-encryption-method = "aes256-ctr"
///     [security.encryption.master-key]
///     type = "file"
///     path = "/etc/tikv/master.key"
/// "#)?;
/// assert_eq!(config.master_key.source()?, &MasterKeySource::File("/etc/tikv/master.key".into()));
/// # Ok::<(), stillkey::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TikvConfig {
    /// `storage.data-dir`: where the dictionaries are, if the file says.
    pub data_dir: Option<PathBuf>,
    /// The method of new files; plaintext unless the file says otherwise.
    pub data_encryption_method: Method,
    /// The master key; plaintext unless the file says otherwise.
    pub master_key: ConfiguredMasterKey,
    /// The master key before that, if the file names one.
    pub previous_master_key: Option<ConfiguredMasterKey>,
}

/// A master key as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfiguredMasterKey {
    /// Plaintext, or a file.
    Source(MasterKeySource),
    /// A key service, which this release can't reach.
    KeyService {
        /// Its vendor, as the configuration spells it.
        vendor: String,
    },
}

impl ConfiguredMasterKey {
    /// Where to get the key.
    ///
    /// # Errors
    /// [`Error::Usage`] for a key service.
    pub fn source(&self) -> Result<&MasterKeySource, Error> {
        match self {
            Self::Source(source) => Ok(source),
            Self::KeyService { vendor } => Err(Error::Usage(format!(
                "the configuration's master key is in a key service ({vendor:?}), which this release can't reach; \
                 give the data-encryption key that it wrapped as --master-key, if you have it"
            ))),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    storage: Storage,
    security: Security,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Storage {
    data_dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Security {
    encryption: Encryption,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Encryption {
    data_encryption_method: Option<String>,
    master_key: MasterKeyTable,
    previous_master_key: Option<MasterKeyTable>,
}

#[derive(Default, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum MasterKeyTable {
    #[default]
    Plaintext,
    File {
        path: PathBuf,
    },
    Kms {
        #[serde(default)]
        vendor: String,
    },
}

impl TikvConfig {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// [`Error::Usage`] when it isn't TOML, or when a value that is needed is malformed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File = toml::from_str(text).map_err(|error| {
            Error::Usage(format!(
                "the configuration can't be read: {}; compare it with TiKV's documentation of [security.encryption]",
                place(&error, text)
            ))
        })?;
        let Encryption {
            data_encryption_method,
            master_key,
            previous_master_key,
        } = file.security.encryption;
        Ok(Self {
            data_dir: file
                .storage
                .data_dir
                .filter(|dir| !dir.as_os_str().is_empty()),
            data_encryption_method: data_encryption_method.map_or(Ok(Method::Plaintext), |name| {
                // The usual message would quote what may be a secret in the wrong place.
                name.parse().map_err(|_| {
                    Error::Usage(format!(
                        "the configuration's data-encryption-method is none that there is; use one of {}",
                        Method::ALL.map(Method::name).join(", ")
                    ))
                })
            })?,
            master_key: master_key.into(),
            previous_master_key: previous_master_key.map(Into::into),
        })
    }
}

impl From<MasterKeyTable> for ConfiguredMasterKey {
    fn from(table: MasterKeyTable) -> Self {
        match table {
            MasterKeyTable::Plaintext => Self::Source(MasterKeySource::Plaintext),
            MasterKeyTable::File { path } => Self::Source(MasterKeySource::File(path)),
            MasterKeyTable::Kms { vendor } if vendor.is_empty() => Self::KeyService {
                vendor: "aws".into(),
            },
            MasterKeyTable::Kms { vendor } => Self::KeyService { vendor },
        }
    }
}

/// Where the trouble is. What stands there isn't quoted, nor is the parser's message, which would: it may be a secret.
fn place(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map_or_else(
        || "a value has the wrong form or is missing".into(),
        |before| {
            format!(
                "line {} has the wrong form",
                before.matches('\n').count() + 1
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(encryption: &str) -> Result<TikvConfig, Error> {
        TikvConfig::parse(&format!(
            "[server]\naddr = \"x\"\n[security]\nca-path = \"\"\n[security.encryption]\n{encryption}"
        ))
    }

    #[test]
    fn an_absent_section_means_plaintext() {
        let config = TikvConfig::parse("log-level = \"info\"").unwrap();
        assert_eq!(
            config.master_key,
            ConfiguredMasterKey::Source(MasterKeySource::Plaintext)
        );
        assert_eq!(
            (config.data_encryption_method, config.previous_master_key),
            (Method::Plaintext, None)
        );
    }

    #[test]
    fn both_master_keys_are_read_and_other_keys_left_alone() {
        let config = config(
            "data-encryption-method = \"SM4-ctr\"\ndata-key-rotation-period = \"7d\"\nnew-key = 1\n\
             [security.encryption.master-key]\ntype = \"file\"\npath = \"/k/new\"\n\
             [security.encryption.previous-master-key]\ntype = \"file\"\npath = \"/k/old\"\n",
        )
        .unwrap();
        assert_eq!(config.data_encryption_method, Method::Sm4Ctr);
        assert_eq!(
            config.master_key.source().unwrap(),
            &MasterKeySource::File("/k/new".into())
        );
        let previous = config.previous_master_key.unwrap();
        assert_eq!(
            previous.source().unwrap(),
            &MasterKeySource::File("/k/old".into())
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_quoting_the_file() {
        let kms =
            config("[security.encryption.master-key]\ntype = \"kms\"\nkey-id = \"k\"\n").unwrap();
        let error = kms.master_key.source().unwrap_err();
        assert!(error.to_string().contains("key service"), "{error}");
        let secret = "c2VjcmV0";
        let error = config(&format!("master-key = \"{secret}\"")).unwrap_err();
        assert!(!error.to_string().contains(secret), "{error}");
        let error = config(&format!("data-encryption-method = \"{secret}\"")).unwrap_err();
        assert!(!error.to_string().contains(secret), "{error}");
    }
}
