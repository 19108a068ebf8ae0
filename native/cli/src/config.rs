//! `stillkey config`: what a configuration file of TiKV or TiFlash says about encryption, and whether it can be used.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stillkey::core::{Method, Version};
use stillkey::{
    ConfigWarning, ConfiguredMasterKey, Error, MasterKeySource, Names, TikvConfig, Untracked,
};

use crate::failure::{Failure, Outcome, error_json};
use crate::text;
use crate::ui::Ui;

/// Look into configuration files of TiKV and TiFlash
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Check(CheckArgs),
}

/// Show what a configuration says about encryption, and what is wrong with it
///
/// Reads [security.encryption] of tikv.toml or tiflash-learner.toml; tiflash.toml leads to the latter by flash.proxy.config. Keys that
/// mean nothing there are warnings. Master key files are loaded, to see that they are there and well-formed. Secrets are never shown.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exit status 0 also with warnings; 2 for a file that can't be used, 8 for a master key that can't be had.\n\n\
    Examples:\n  stillkey config check /etc/tikv/tikv.toml\n  stillkey config check --offline --json tiflash.toml"
)]
struct CheckArgs {
    /// tikv.toml, tiflash.toml or tiflash-learner.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Don't load master keys: the file is another machine's
    #[arg(long)]
    offline: bool,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        match self.what {
            What::Check(args) => args.run(ui),
        }
    }
}

/// What has been found wrong.
#[derive(Default)]
struct Findings {
    warnings: Vec<(String, Value)>,
    problems: Vec<Error>,
}

impl Findings {
    fn warn(&mut self, message: String) {
        let json = json!({ "message": message });
        self.warnings.push((message, json));
    }

    fn warn_of(&mut self, warning: &ConfigWarning) {
        let ConfigWarning {
            path,
            key,
            line,
            message,
            ..
        } = warning;
        let json = json!({ "path": path, "line": line, "key": key, "message": message });
        self.warnings.push((warning.to_string(), json));
    }
}

impl CheckArgs {
    fn run(self, ui: &Ui) -> Outcome {
        let config = TikvConfig::read(&self.file)?;
        let mut findings = Findings::default();
        for warning in &config.warnings {
            findings.warn_of(warning);
        }
        let section_file = section_file(&config, &self.file);
        if config.data_encryption_method != Method::Plaintext
            && config.master_key == ConfiguredMasterKey::Source(MasterKeySource::Plaintext)
        {
            findings.problems.push(Error::Usage(format!(
                "{}: {} under the master key 'plaintext' protects nothing, and neither TiKV nor Stillkey starts so; set security.encryption.master-key",
                section_file.display(),
                config.data_encryption_method
            )));
        }
        let (master_key, problem) = self.check(&config.master_key, section_file, &mut findings);
        findings.problems.extend(problem);
        let previous = config.previous_master_key.as_ref().map(|key| {
            let (state, problem) = self.check(key, section_file, &mut findings);
            // It is only there to fall back to, so it may be gone.
            if let Some(problem) = problem {
                findings.warn(format!("without the previous master key: {problem}"));
            }
            state
        });
        let keys = Keys {
            master_key,
            previous,
        };
        for (warning, _) in &findings.warnings {
            if !ui.is_json() {
                ui.warn(warning);
            }
        }
        ui.result(
            &human(&self.file, &config, &keys, &findings),
            &json(&self.file, &config, &keys, &findings),
        )?;
        match findings.problems.first() {
            None => Ok(()),
            Some(problem) => Err(Failure::Found(problem.kind())),
        }
    }

    /// Loads a key if it can be had here.
    fn check(
        &self,
        key: &ConfiguredMasterKey,
        file: &Path,
        findings: &mut Findings,
    ) -> (KeyState, Option<Error>) {
        let name = key.to_string();
        let state = |state| KeyState { name, state };
        if matches!(key, ConfiguredMasterKey::KeyService(_)) {
            let why = "not checked: this release can't reach key services";
            return (state(why), None);
        }
        let source = match key.source() {
            Ok(source) => source,
            Err(error) => {
                let problem = Error::Usage(format!("{}: {error}", file.display()));
                return (state("can't be used"), Some(problem));
            }
        };
        match source {
            MasterKeySource::Plaintext => return (state("protects nothing"), None),
            _ if self.offline => return (state("not loaded"), None),
            _ => {}
        }
        match source.load() {
            Ok(loaded) => {
                loaded
                    .warnings
                    .into_iter()
                    .for_each(|warning| findings.warn(warning));
                (state("loaded"), None)
            }
            Err(error) => (state("can't be loaded"), Some(error)),
        }
    }
}

/// The file that has the section: of TiFlash's two, the proxy's.
pub(crate) fn section_file<'a>(config: &'a TikvConfig, file: &'a Path) -> &'a Path {
    config.proxy_config.as_deref().unwrap_or(file)
}

struct KeyState {
    name: String,
    state: &'static str,
}

struct Keys {
    master_key: KeyState,
    previous: Option<KeyState>,
}

fn human(file: &Path, config: &TikvConfig, keys: &Keys, findings: &Findings) -> String {
    let key = |key: &KeyState| format!("{} ({})", key.name, key.state);
    let log = if config.enable_file_dictionary_log {
        "with a log"
    } else {
        "without a log"
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let rows = [
        ("file", Some(file.display().to_string())),
        ("encryption set in", path(&config.proxy_config)),
        (
            "data directory",
            Some(path(&config.data_dir).unwrap_or_else(|| "not set".into())),
        ),
        (
            "method of new files",
            Some(config.data_encryption_method.to_string()),
        ),
        (
            "data keys last",
            Some(text::duration(config.data_key_rotation_period)),
        ),
        (
            "file.dict",
            Some(format!(
                "version {}, {log}, compacted after {} removals",
                version(config),
                config.file_dictionary_rewrite_threshold
            )),
        ),
        ("master key", Some(key(&keys.master_key))),
        ("previous master key", keys.previous.as_ref().map(key)),
        ("names in file.dict", Some(file_names(config).into())),
        ("files without entry", Some(untracked(config).into())),
    ];
    let rows = rows.into_iter();
    let rows = rows.filter_map(|(name, value)| value.map(|value| format!("{name:<20} {value}")));
    let problems = findings.problems.iter();
    let problems = problems.map(|problem| format!("problem: {problem}"));
    rows.chain(problems).collect::<Vec<_>>().join("\n")
}

fn json(file: &Path, config: &TikvConfig, keys: &Keys, findings: &Findings) -> Value {
    let key = |key: &KeyState| json!({ "source": key.name, "state": key.state });
    let warnings: Vec<_> = findings.warnings.iter().map(|(_, json)| json).collect();
    let problems: Vec<_> = findings.problems.iter().map(error_json).collect();
    json!({
        "file": file,
        "encryption_set_in": section_file(config, file),
        "data_dir": config.data_dir,
        "method": config.data_encryption_method.name(),
        "rotation_period_seconds": config.rotation_policy().period,
        "file_dict_version": version(config),
        "file_dict_rewrite_threshold": config.file_dictionary_rewrite_threshold,
        "master_key": key(&keys.master_key),
        "previous_master_key": keys.previous.as_ref().map(key),
        "file_names": file_names(config),
        "untracked": untracked(config),
        "warnings": warnings,
        "problems": problems,
    })
}

fn version(config: &TikvConfig) -> u8 {
    match config.file_dictionary_version() {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

fn file_names(config: &TikvConfig) -> &'static str {
    match config.file_names {
        Names::Relative => "relative",
        Names::AsGiven => "absolute",
    }
}

fn untracked(config: &TikvConfig) -> &'static str {
    match config.untracked {
        Untracked::Refuse => "refuse",
        Untracked::Plaintext => "plaintext",
    }
}
