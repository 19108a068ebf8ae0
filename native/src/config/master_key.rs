//! The tables `master-key` and `previous-master-key`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use stillkey_core::SecretBytes;

use super::section::{ConfigWarning, Section};
use crate::error::Error;
use crate::master::MasterKeySource;

/// A master key as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfiguredMasterKey {
    /// Plaintext, or a file.
    Source(MasterKeySource),
    /// A key service, which this release can't reach.
    KeyService(Box<KeyServiceConfig>),
    /// Something is missing. TiKV finds that out when it needs the key, so it is no error before that.
    Incomplete {
        /// The keys of the table that are wrong, what was expected, and what to do.
        why: String,
    },
}

/// A master key in a key service. Texts that the file leaves empty are absent, as in TiKV.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyServiceConfig {
    /// `key-id`: the key's name at the vendor.
    pub key_id: String,
    /// `region`: where the key is; without it, the vendor's own defaults count.
    pub region: Option<String>,
    /// `endpoint`: an address other than the vendor's usual one.
    pub endpoint: Option<String>,
    /// `vendor`, with the table of the same name.
    pub vendor: KeyServiceVendor,
}

/// Who runs a key service, and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyServiceVendor {
    /// `aws`, or nothing: AWS KMS, by these access keys or else the environment's usual ones.
    Aws(Option<AwsAccessKey>),
    /// `azure`: Azure Key Vault with a managed HSM.
    Azure(Box<AzureConfig>),
    /// `gcp` and `gcp_v2`: Google Cloud KMS.
    Gcp {
        /// Whether it is `gcp_v2`, whose dictionaries name another vendor.
        v2: bool,
        /// `credential-file-path`; without it, Google's default credentials count.
        credential_file_path: Option<PathBuf>,
    },
}

/// `[…master-key.aws]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AwsAccessKey {
    /// `access-key`.
    pub access_key: Arc<SecretBytes>,
    /// `secret-access-key`.
    pub secret_access_key: Arc<SecretBytes>,
}

/// `[…master-key.azure]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AzureConfig {
    /// `tenant-id`.
    pub tenant_id: String,
    /// `client-id`.
    pub client_id: String,
    /// `keyvault-url`: the key vault that wraps.
    pub keyvault_url: String,
    /// `hsm-name`: the managed HSM that random numbers come from.
    pub hsm_name: String,
    /// `hsm-url`.
    pub hsm_url: String,
    /// How the client proves who it is.
    pub credential: AzureCredential,
}

/// Of the ways in the file, the first of these counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AzureCredential {
    /// `client-certificate`: PKCS#12 in base64.
    Certificate {
        /// The certificate with its private key.
        base64: Arc<SecretBytes>,
        /// `client-certificate-password`.
        password: Option<Arc<SecretBytes>>,
    },
    /// `client-certificate-path`: PKCS#12 in a file.
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// `client-certificate-password`.
        password: Option<Arc<SecretBytes>>,
    },
    /// `client-secret`.
    Secret(Arc<SecretBytes>),
}

impl ConfiguredMasterKey {
    /// Where to get the key.
    ///
    /// # Errors
    /// [`Error::Usage`] for a key service, and for a table in which something is missing.
    pub fn source(&self) -> Result<&MasterKeySource, Error> {
        match self {
            Self::Source(source) => Ok(source),
            Self::KeyService(service) => Err(Error::Usage(format!(
                "the configuration's master key is in a key service ({:?}), which this release can't reach; \
                 give the data-encryption key that it wrapped as --master-key, if you have it",
                service.vendor.name()
            ))),
            Self::Incomplete { why } => Err(Error::Usage(why.clone())),
        }
    }
}

/// What it is, without its secrets.
impl fmt::Display for ConfiguredMasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => f.write_str(&source.redacted()),
            Self::KeyService(service) => {
                write!(f, "kms {}, key {}", service.vendor.name(), service.key_id)
            }
            Self::Incomplete { .. } => f.write_str("incomplete"),
        }
    }
}

impl KeyServiceVendor {
    /// As the configuration spells it: `aws`, `azure`, `gcp` or `gcp_v2`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aws(_) => "aws",
            Self::Azure(_) => "azure",
            Self::Gcp { v2: false, .. } => "gcp",
            Self::Gcp { v2: true, .. } => "gcp_v2",
        }
    }
}

const FILE_KEYS: [&str; 1] = ["path"];
const SERVICE_KEYS: [&str; 7] = [
    "vendor", "key-id", "region", "endpoint", "aws", "azure", "gcp",
];

#[derive(Clone, Copy)]
enum Kind {
    Plaintext,
    File,
    Service,
}

/// Reads one of the two tables.
pub(super) fn read(
    mut table: Section<'_>,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<ConfiguredMasterKey, Error> {
    const KINDS: &str = "\"plaintext\", \"file\" or \"kms\"";
    let kind = table.parsed("type", KINDS, |text| match text {
        "plaintext" => Some(Kind::Plaintext),
        "file" => Some(Kind::File),
        "kms" => Some(Kind::Service),
        _ => None,
    })?;
    let key = match kind {
        None => {
            let missing = table.warning("type", format!("missing; set it to {KINDS}"));
            return Err(Error::Usage(missing.to_string()));
        }
        Some(Kind::Plaintext) => {
            let why = "with type = \"plaintext\"";
            table.without_effect(&FILE_KEYS, why, warnings);
            table.without_effect(&SERVICE_KEYS, why, warnings);
            ConfiguredMasterKey::Source(MasterKeySource::Plaintext)
        }
        Some(Kind::File) => {
            table.without_effect(&SERVICE_KEYS, "with type = \"file\"", warnings);
            match table.string("path")? {
                Some(path) => ConfiguredMasterKey::Source(MasterKeySource::File(path.into())),
                None => incomplete(&table, &["path"]),
            }
        }
        Some(Kind::Service) => {
            table.without_effect(&FILE_KEYS, "with type = \"kms\"", warnings);
            read_service(&mut table, warnings)?
        }
    };
    table.warn_of_unknown(warnings);
    Ok(key)
}

fn read_service(
    table: &mut Section<'_>,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<ConfiguredMasterKey, Error> {
    let vendor = table.string("vendor")?;
    let (key_id, region, endpoint) = (
        table.string("key-id")?,
        table.string("region")?,
        table.string("endpoint")?,
    );
    let vendor = match vendor.as_deref() {
        None | Some("aws") => {
            table.without_effect(&["azure", "gcp"], "on vendor \"aws\"", warnings);
            match table.section("aws")? {
                Some(table) => read_aws(table, warnings)?,
                None => KeyServiceVendor::Aws(None),
            }
        }
        Some("azure") => {
            table.without_effect(&["aws", "gcp"], "on vendor \"azure\"", warnings);
            let Some(table) = table.section("azure")? else {
                return Ok(incomplete(table, &["azure"]));
            };
            match read_azure(table, warnings)? {
                Ok(azure) => KeyServiceVendor::Azure(Box::new(azure)),
                Err(incomplete) => return Ok(incomplete),
            }
        }
        Some(name @ ("gcp" | "gcp_v2")) => {
            table.without_effect(&["aws", "azure"], &format!("on vendor {name:?}"), warnings);
            let v2 = name == "gcp_v2";
            if !v2 && endpoint.is_some() {
                warnings.push(table.warning("endpoint", "only vendor \"gcp_v2\" heeds it"));
            }
            let Some(mut table) = table.section("gcp")? else {
                return Ok(incomplete(table, &["gcp"]));
            };
            let credential_file_path = table.string("credential-file-path")?.map(PathBuf::from);
            table.warn_of_unknown(warnings);
            KeyServiceVendor::Gcp {
                v2,
                credential_file_path,
            }
        }
        Some(_) => {
            let why = "there is no such vendor; use \"aws\", \"azure\", \"gcp\" or \"gcp_v2\"";
            let why = table.warning("vendor", why).to_string();
            return Ok(ConfiguredMasterKey::Incomplete { why });
        }
    };
    let Some(key_id) = key_id else {
        return Ok(incomplete(table, &["key-id"]));
    };
    Ok(ConfiguredMasterKey::KeyService(Box::new(
        KeyServiceConfig {
            key_id,
            region,
            endpoint,
            vendor,
        },
    )))
}

fn read_aws(
    mut table: Section<'_>,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<KeyServiceVendor, Error> {
    let keys = (
        table.secret("access-key")?,
        table.secret("secret-access-key")?,
    );
    let access_key = match keys {
        (Some(access_key), Some(secret_access_key)) => Some(AwsAccessKey {
            access_key,
            secret_access_key,
        }),
        (None, None) => None,
        (given, _) => {
            let (given, missing) = match given {
                Some(_) => ("access-key", "secret-access-key"),
                None => ("secret-access-key", "access-key"),
            };
            let message =
                format!("has no effect without {missing}; the environment's credentials count");
            warnings.push(table.warning(given, message));
            None
        }
    };
    table.warn_of_unknown(warnings);
    Ok(KeyServiceVendor::Aws(access_key))
}

fn read_azure(
    mut table: Section<'_>,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Result<AzureConfig, ConfiguredMasterKey>, Error> {
    let password = table.secret("client-certificate-password")?;
    let (certificate, path, secret) = (
        table.secret("client-certificate")?,
        table.string("client-certificate-path")?,
        table.secret("client-secret")?,
    );
    let credential = match (certificate, path, secret) {
        (Some(base64), _, _) => Some(AzureCredential::Certificate { base64, password }),
        (_, Some(path), _) => Some(AzureCredential::CertificateFile {
            path: path.into(),
            password,
        }),
        (_, _, Some(secret)) => Some(AzureCredential::Secret(secret)),
        (None, None, None) => None,
    };
    let mut text = |key| table.string(key).map(Option::unwrap_or_default);
    let (tenant_id, client_id) = (text("tenant-id")?, text("client-id")?);
    let (keyvault_url, hsm_name, hsm_url) =
        (text("keyvault-url")?, text("hsm-name")?, text("hsm-url")?);
    table.warn_of_unknown(warnings);
    let needed = [
        ("tenant-id", &tenant_id),
        ("client-id", &client_id),
        ("keyvault-url", &keyvault_url),
        ("hsm-name", &hsm_name),
        ("hsm-url", &hsm_url),
    ];
    let missing = needed.iter().filter(|(_, value)| value.is_empty());
    let mut missing: Vec<_> = missing.map(|(key, _)| *key).collect();
    let Some(credential) = credential else {
        missing.push("client-certificate, client-certificate-path or client-secret");
        return Ok(Err(incomplete(&table, &missing)));
    };
    if !missing.is_empty() {
        return Ok(Err(incomplete(&table, &missing)));
    }
    Ok(Ok(AzureConfig {
        tenant_id,
        client_id,
        keyvault_url,
        hsm_name,
        hsm_url,
        credential,
    }))
}

fn incomplete(table: &Section<'_>, missing: &[&str]) -> ConfiguredMasterKey {
    let why = format!("{}: {} missing; set it", table.place(), missing.join(", "));
    ConfiguredMasterKey::Incomplete { why }
}
