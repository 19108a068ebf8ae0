//! Which master keys a command uses: named on the command line, in the environment, in TiKV's configuration, or the default one.

use std::path::{Path, PathBuf};

use stillkey::core::{EncryptionContext, MasterKey};
use stillkey::{ConfiguredMasterKey, Error, MasterKeySource, TikvConfig};

use crate::config::section_file;
use crate::failure::{Failure, Outcome};
use crate::ui::Ui;

/// Options for commands that open or seal something.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// Master key: file:PATH (64 hexadecimal digits and a newline), env:VAR, cmd:COMMAND or plaintext. May be repeated.
    /// Without it, the one in --config, in the environment variable STILLKEY_MASTER_KEY, or the default that `stillkey keygen` makes
    #[arg(long = "master-key", short = 'k', value_name = "SPEC", global = true)]
    master_keys: Vec<MasterKeySource>,
    /// Configuration file of TiKV or TiFlash, whose [security.encryption] names the master keys
    #[arg(long, value_name = "TIKV.TOML", global = true)]
    config: Option<PathBuf>,
}

impl KeyArgs {
    /// The keys that were named, current before previous; none when none was.
    pub(crate) fn named(&self, ui: &Ui) -> Outcome<Vec<MasterKey>> {
        let sources = if !self.master_keys.is_empty() {
            self.master_keys.clone()
        } else if let Some(path) = &self.config {
            return configured(path, &TikvConfig::read(path)?, ui);
        } else {
            from_environment()?.into_iter().collect()
        };
        sources.iter().map(|source| load(source, ui)).collect()
    }

    /// The keys to seal new objects under: as [`KeyArgs::load`], but never the configuration's previous one.
    pub(crate) fn recipients(&self, ui: &Ui) -> Outcome<Vec<MasterKey>> {
        let mut keys = self.load(ui)?;
        if self.master_keys.is_empty() {
            keys.truncate(1);
        }
        Ok(keys)
    }

    /// The keys that were named, or else the default one.
    pub(crate) fn load(&self, ui: &Ui) -> Outcome<Vec<MasterKey>> {
        let named = self.named(ui)?;
        if !named.is_empty() {
            return Ok(named);
        }
        let path = default_key_path()?;
        if !path.exists() {
            return Err(Failure::Error(Error::MasterKeySource {
                source_name: format!("file:{}", path.display()),
                why: "no such file, and no other master key was named; make one with 'stillkey keygen', or name one with --master-key".into(),
            }));
        }
        Ok(vec![load(&MasterKeySource::File(path), ui)?])
    }

    /// The keys that were named, or else the default one, if it is there and can be had.
    pub(crate) fn named_or_default(&self, ui: &Ui) -> Outcome<(Vec<MasterKey>, Named)> {
        let named = self.named(ui)?;
        if !named.is_empty() {
            return Ok((named, Named::ByTheUser));
        }
        let Ok(path) = default_key_path() else {
            return Ok((named, Named::ByDefault));
        };
        if !path.exists() {
            return Ok((named, Named::ByDefault));
        }
        let keys = match load(&MasterKeySource::File(path), ui) {
            Ok(key) => vec![key],
            Err(failure) => {
                ui.warn(&format!("without the default master key: {failure}"));
                Vec::new()
            }
        };
        Ok((keys, Named::ByDefault))
    }

    /// The configuration, if it was named.
    pub(crate) fn config(&self) -> Outcome<Option<TikvConfig>> {
        let config = self.config.as_ref().map(TikvConfig::read);
        Ok(config.transpose()?)
    }
}

/// Who chose the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    ByTheUser,
    /// Nobody expects that it fits.
    ByDefault,
}

/// The configuration's keys. The previous one is only there to fall back to, so it may be gone, as for TiKV.
fn configured(path: &Path, config: &TikvConfig, ui: &Ui) -> Outcome<Vec<MasterKey>> {
    let file = section_file(config, path).display();
    let source = |key: &ConfiguredMasterKey| match key.source() {
        Ok(source) => Ok(source.clone()),
        Err(error) => Err(Failure::usage(format!("{file}: {error}"))),
    };
    for warning in &config.warnings {
        ui.warn(&warning.to_string());
    }
    let mut keys = vec![load(&source(&config.master_key)?, ui)?];
    if let Some(previous) = &config.previous_master_key {
        match source(previous).and_then(|source| load(&source, ui)) {
            Ok(key) => keys.push(key),
            Err(failure) => ui.warn(&format!("without the previous master key: {failure}")),
        }
    }
    Ok(keys)
}

/// What STILLKEY_MASTER_KEY names, if it is set.
pub(crate) fn from_environment() -> Outcome<Option<MasterKeySource>> {
    match std::env::var("STILLKEY_MASTER_KEY") {
        Ok(spec) if !spec.is_empty() => match spec.parse() {
            Ok(source) => Ok(Some(source)),
            Err(error) => Err(Failure::usage(format!("STILLKEY_MASTER_KEY: {error}"))),
        },
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(
            "STILLKEY_MASTER_KEY is not UTF-8; name the master key with --master-key",
        )),
    }
}

/// Gets a key and passes on what is unsafe about its source.
pub(crate) fn load(source: &MasterKeySource, ui: &Ui) -> Outcome<MasterKey> {
    let loaded = source.load()?;
    loaded.warnings.iter().for_each(|warning| ui.warn(warning));
    Ok(loaded.key)
}

/// Where the default master key is: `stillkey/master.key` in the user's configuration directory.
pub(crate) fn default_key_path() -> Outcome<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|configuration| configuration.join("stillkey").join("master.key"))
        .ok_or_else(|| {
            Failure::Error(Error::MasterKeySource {
                source_name: "default".into(),
                why: "neither XDG_CONFIG_HOME nor HOME says where the default master key is; name one with --master-key".into(),
            })
        })
}

/// `--context k=v`, repeated.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextArgs {
    /// Encryption context that is bound to the object and must be given again to open it. Not secret. May be repeated
    #[arg(long = "context", value_name = "KEY=VALUE", value_parser = key_value)]
    pairs: Vec<(String, String)>,
}

impl ContextArgs {
    pub(crate) fn context(&self) -> Outcome<EncryptionContext> {
        let mut context = EncryptionContext::new();
        for (key, value) in &self.pairs {
            if context.insert(key, value).is_some() {
                return Err(Failure::usage(format!(
                    "--context gives {key:?} twice; give each key once"
                )));
            }
        }
        Ok(context)
    }
}

fn key_value(pair: &str) -> Result<(String, String), String> {
    let (key, value) = pair.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.into(), value.into()))
}

/// Whether a path argument stands for standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_previous_master_key_that_is_gone_is_done_without() {
        let directory = tempfile::tempdir().unwrap();
        let (key, config) = (
            directory.path().join("master.key"),
            directory.path().join("tikv.toml"),
        );
        stillkey::create_master_key_file(&key).unwrap();
        for (previous, found) in [
            ("type = 'file'\npath = '/nowhere/old.key'", 1),
            ("type = 'kms'\nvendor = 'aws'", 1),
            ("type = 'kms'\nkey-id = 'k'", 1),
            ("type = 'plaintext'", 2),
        ] {
            let text = format!(
                "[security.encryption.master-key]\ntype = 'file'\npath = '{}'\n\
                 [security.encryption.previous-master-key]\n{previous}\n",
                key.display()
            );
            std::fs::write(&config, text).unwrap();
            let args = KeyArgs {
                master_keys: Vec::new(),
                config: Some(config.clone()),
            };
            let keys = args.named(&Ui::default()).unwrap();
            assert_eq!(keys.len(), found, "{previous}");
            assert_eq!(args.recipients(&Ui::default()).unwrap().len(), 1);
        }
    }
}
