//! `stillkey kms`: an embedded key management service, from the command line.

mod audit;
mod data;
mod keys;
mod names;
mod policies;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use stillkey::core::SecretBytes;
use stillkey::core::kms::alias::Namespace;
use stillkey::core::kms::request::CreateKey;
use stillkey::core::kms::rotation::RotationInterval;
use stillkey::core::kms::{Caller, Face, Principal};
use stillkey::kms::{AuditMode, EmbeddedKms, EmbeddedKmsOptions, RootKey};
use stillkey::{Error, MasterKeySource, create_master_key_file};

use crate::failure::{Failure, Outcome, io};
use crate::keys::default_key_path;
use crate::ui::Ui;

/// Keep keys in an embedded key management service, with versions, policies and an audit trail
///
/// Keys never leave the store: it encrypts and decrypts small things, data keys above all, with which
/// files are then encrypted. The store is a directory; its state is sealed under a root key.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  stillkey kms init
  stillkey kms create-key --alias alias/app --rotate-every 365d
  stillkey kms list-keys
  stillkey kms encrypt alias/app secret.txt --out secret.blob --context tenant=7
  stillkey kms decrypt secret.blob --out - --context tenant=7
  stillkey kms generate-data-key alias/app --out data.key --blob data.key.blob
  stillkey kms rotate 1234abcd-12ab-34cd-56ef-1234567890ab
  stillkey kms disable-key 1234abcd-12ab-34cd-56ef-1234567890ab
  stillkey kms schedule-key-deletion 1234abcd-12ab-34cd-56ef-1234567890ab --days 30
  stillkey kms policy attach app policy.json
  stillkey kms --principal app decrypt secret.blob --out -
  stillkey kms audit verify";

/// Options that every action has.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store; without it, STILLKEY_KMS_STORE, or kms in the directory of stillkey's configuration
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
    /// Root key: file:PATH, env:VAR or cmd:COMMAND, 64 hexadecimal digits; without it, the file
    /// beside the store that `stillkey kms init` makes
    #[arg(
        long,
        value_name = "SPEC",
        global = true,
        conflicts_with = "passphrase_file"
    )]
    root_key: Option<MasterKeySource>,
    /// A file whose first line is the passphrase that the store is sealed under
    #[arg(long, value_name = "FILE", global = true)]
    passphrase_file: Option<PathBuf>,
    /// On whose behalf: the name of a user with a policy, or service:CODE. Without it, the account's
    /// root, which is allowed everything
    #[arg(long, value_name = "NAME", global = true)]
    principal: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Init(InitArgs),
    #[command(flatten)]
    Keys(keys::Action),
    #[command(flatten)]
    Data(data::Action),
    /// Give keys other names
    #[command(
        subcommand,
        after_long_help = "Example:\n  stillkey kms alias create alias/app KEY"
    )]
    Alias(names::AliasAction),
    /// Attach pairs of words to keys
    #[command(
        subcommand,
        after_long_help = "Example:\n  stillkey kms tag add KEY team=storage"
    )]
    Tag(names::TagAction),
    /// Say what users and services may do
    #[command(
        subcommand,
        after_long_help = "Example:\n  stillkey kms policy attach app policy.json"
    )]
    Policy(policies::Action),
    /// Look into the audit trail, and check it
    #[command(subcommand, after_long_help = "Example:\n  stillkey kms audit verify")]
    Audit(audit::Action),
    /// Do what is due: rotations, deletions, the end of imported material
    #[command(after_long_help = "Example:\n  stillkey kms tick")]
    Tick {
        /// Delete what is due even though the clock is more than a day ahead of the last use
        #[arg(long)]
        accept_clock_jump: bool,
    },
    /// Seal the store under another root key
    #[command(
        after_long_help = "Example:\n  stillkey kms rotate-root-key file:/etc/stillkey/new.key"
    )]
    RotateRootKey {
        /// The new root key: file:PATH, env:VAR or cmd:COMMAND
        #[arg(value_name = "SPEC", required_unless_present = "to_passphrase_file")]
        to: Option<MasterKeySource>,
        /// A file whose first line is the new passphrase
        #[arg(long, value_name = "FILE", conflicts_with = "to")]
        to_passphrase_file: Option<PathBuf>,
    },
}

/// Make a store, with a key under alias/stillkey that is rotated every year
///
/// The root key goes to a file beside the store, named as the store with .key at its end, unless one
/// is named. Keep a copy of both in a safe place: without the root key, nothing in the store can be
/// read. On the same disk, a root key in a file protects as much as a master key in a file; a passphrase
/// protects more.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  stillkey kms init\n  \
    stillkey kms init --store /srv/kms --passphrase-file /run/secrets/kms")]
struct InitArgs {
    /// The account: stands in each ARN
    #[arg(long, default_value = "000000000000")]
    account: String,
    /// The region: stands in each ARN
    #[arg(long, default_value = "local")]
    region: String,
    /// Make no key
    #[arg(long)]
    no_key: bool,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let Self { store, action } = self;
        match action {
            Action::Init(args) => args.run(&store, ui),
            Action::Keys(action) => action.run(&store.open()?, ui),
            Action::Data(action) => action.run(&store, ui),
            Action::Alias(action) => action.run(&store.open()?, ui),
            Action::Tag(action) => action.run(&store.open()?, ui),
            Action::Policy(action) => action.run(&store, ui),
            Action::Audit(action) => action.run(&store.open()?, ui),
            Action::Tick { accept_clock_jump } => tick(&store.open()?, accept_clock_jump, ui),
            Action::RotateRootKey {
                to,
                to_passphrase_file,
            } => {
                let new = match (&to, &to_passphrase_file) {
                    (_, Some(file)) => passphrase(file)?,
                    (Some(source), None) => raw(source, ui)?,
                    (None, None) => return Err(Failure::usage("name the new root key")),
                };
                store.open()?.kms.rotate_root_key(&new)?;
                let kind = new.kind();
                ui.result(
                    &format!(
                        "the store is sealed under {kind} from now on; give it with each command"
                    ),
                    &json!({ "root_key": kind }),
                )
            }
        }
    }
}

/// A store that is open, and who uses it.
pub(crate) struct Open {
    kms: EmbeddedKms,
    caller: Caller,
}

impl StoreArgs {
    fn directory(&self) -> Outcome<PathBuf> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        match std::env::var_os("STILLKEY_KMS_STORE") {
            Some(store) if !store.is_empty() => Ok(store.into()),
            _ => Ok(default_key_path()?.with_file_name("kms")),
        }
    }

    /// The file beside the store that has its root key, unless another one is named.
    fn default_root_key(&self) -> Outcome<PathBuf> {
        let directory = self.directory()?;
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(".key");
        Ok(directory.with_file_name(name))
    }

    fn root_key(&self, ui: &Ui) -> Outcome<RootKey> {
        match (&self.passphrase_file, &self.root_key) {
            (Some(file), _) => passphrase(file),
            (None, Some(source)) => raw(source, ui),
            (None, None) => {
                let path = self.default_root_key()?;
                if !path.exists() {
                    return Err(Failure::Error(Error::MasterKeySource {
                        source_name: format!("file:{}", path.display()),
                        why: "no such file, and no other root key was named; name one with \
                              --root-key or --passphrase-file, or make a store with 'stillkey kms init'"
                            .into(),
                    }));
                }
                raw(&MasterKeySource::File(path), ui)
            }
        }
    }

    fn caller(&self) -> Outcome<Caller> {
        let principal = match self.principal.as_deref() {
            None => Principal::Root,
            Some(name) => principal(name)?,
        };
        let mut caller = Caller::new(principal, Face::Alibaba);
        caller.user_agent = concat!("stillkey/", env!("CARGO_PKG_VERSION")).into();
        Ok(caller)
    }

    pub(crate) fn open(&self) -> Outcome<Open> {
        let directory = self.directory()?;
        if !directory.join("kms.state").exists() {
            return Err(Failure::Said(
                stillkey::ErrorKind::NotFound,
                format!(
                    "{}: no store of a KMS here; make one with 'stillkey kms init', or name another \
                     one with --store",
                    directory.display()
                ),
            ));
        }
        let options = EmbeddedKmsOptions::new(self.root_key(&Ui::default())?);
        Ok(Open {
            kms: EmbeddedKms::open(directory, options.audit(AuditMode::Synced))?,
            caller: self.caller()?,
        })
    }
}

/// `service:CODE`, or the name of a user.
fn principal(name: &str) -> Outcome<Principal> {
    match name.strip_prefix("service:") {
        Some("") => Err(Failure::usage("service: without a code behind it")),
        _ if name.is_empty() => Err(Failure::usage("a principal without a name")),
        Some(code) => Ok(Principal::Service(code.into())),
        None => Ok(Principal::User(name.into())),
    }
}

fn raw(source: &MasterKeySource, ui: &Ui) -> Outcome<RootKey> {
    match crate::keys::load(source, ui)? {
        stillkey::core::MasterKey::Raw(key) => Ok(RootKey::Raw(key)),
        other => Err(Failure::usage(format!(
            "{} is no root key; give file:PATH, env:VAR or cmd:COMMAND",
            other.kind()
        ))),
    }
}

fn passphrase(path: &Path) -> Outcome<RootKey> {
    let bytes = zeroize::Zeroizing::new(std::fs::read(path).map_err(io(path, "read"))?);
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::usage(format!(
            "{}: its first line is empty, and is to be the passphrase",
            path.display()
        )));
    }
    Ok(RootKey::Passphrase(Arc::new(SecretBytes::copied(line))))
}

impl InitArgs {
    fn run(self, store: &StoreArgs, ui: &Ui) -> Outcome {
        let directory = store.directory()?;
        let namespace = Namespace::new(&self.region, &self.account).ok_or_else(|| {
            Failure::usage("account and region are 1 to 64 letters, digits, '-' or '_' each")
        })?;
        if directory.join("kms.state").exists() {
            return Err(Failure::already_exists(format!(
                "{}: there is a store already; use it, or make one elsewhere with --store",
                directory.display()
            )));
        }
        let is_named = store.root_key.is_some() || store.passphrase_file.is_some();
        let beside = store.default_root_key()?;
        let root_key = match is_named || beside.exists() {
            true => store.root_key(ui)?,
            false => RootKey::Raw(create_master_key_file(&beside)?),
        };
        let options = EmbeddedKmsOptions::new(root_key).audit(AuditMode::Synced);
        let kms = EmbeddedKms::create(&directory, namespace, options)?;
        let caller = store.caller()?;
        let mut lines = vec![format!("{}: new store", directory.display())];
        if !is_named {
            lines.push(format!(
                "{}: its root key; keep a copy of both in a safe place",
                beside.display()
            ));
        }
        let mut key_id = None;
        if !self.no_key {
            let request = CreateKey {
                description: "made by 'stillkey kms init'".into(),
                rotation: RotationInterval::from_seconds(365 * 86_400),
                ..CreateKey::default()
            };
            let key = kms.create_key(&caller, request)?.key.to_string();
            kms.create_alias(&caller, "alias/stillkey", &key)?;
            lines.push(format!("alias/stillkey: key {key}, rotated every 365 days"));
            key_id = Some(key);
        }
        ui.result(
            &lines.join("\n"),
            &json!({
                "store": directory.to_string_lossy(),
                "root_key_file": (!is_named).then(|| beside.to_string_lossy()),
                "key_id": key_id,
            }),
        )
    }
}

fn tick(open: &Open, accept_clock_jump: bool, ui: &Ui) -> Outcome {
    if accept_clock_jump {
        open.kms.accept_clock_jump();
    }
    let done: Vec<_> = open
        .kms
        .tick()?
        .iter()
        .map(|record| record.event().name())
        .collect();
    let waits = open.kms.doubts_clock();
    let mut lines = vec![match done.len() {
        0 => "nothing was due".to_owned(),
        _ => format!("done: {}", done.join(", ")),
    }];
    if waits {
        lines.push(
            "the clock is more than a day ahead of the last use, so nothing is deleted; \
             --accept-clock-jump believes it"
                .into(),
        );
    }
    ui.result(
        &lines.join("\n"),
        &json!({ "done": done, "deletions_wait": waits }),
    )
}
