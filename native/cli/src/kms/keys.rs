//! Keys, their states and versions.

use std::io::{IsTerminal, Write};

use serde_json::json;
use stillkey::core::kms::key::{Origin, ProtectionLevel};
use stillkey::core::kms::request::{CreateKey, Page, Tag};
use stillkey::core::kms::rotation::RotationInterval;

use super::{Open, show};
use crate::failure::{Failure, Outcome};
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Make a key
    #[command(
        after_long_help = "Examples:\n  stillkey kms create-key --alias alias/app\n  \
        stillkey kms create-key --rotate-every 90d --tag team=storage --description 'volumes'"
    )]
    CreateKey {
        /// A name for it, with its prefix alias/
        #[arg(long)]
        alias: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// A pair to attach to it. May be repeated
        #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
        tags: Vec<(String, String)>,
        /// Make no material: it will be imported
        #[arg(long, conflicts_with = "rotate_every")]
        external: bool,
        /// Where its material lives
        #[arg(long, default_value = "software", value_parser = ["software", "hsm"])]
        protection_level: String,
        /// Rotate it by itself: 365d; 7 to 730 days
        #[arg(long, value_name = "INTERVAL")]
        rotate_every: Option<RotationInterval>,
    },
    /// List all keys, oldest first
    #[command(after_long_help = "Example:\n  stillkey kms list-keys --json")]
    ListKeys,
    /// Show what is known of a key
    #[command(after_long_help = "Example:\n  stillkey kms describe-key alias/app")]
    DescribeKey {
        /// Its id, ARN or alias
        key: String,
    },
    /// Change the description of a key
    #[command(after_long_help = "Example:\n  stillkey kms update-description KEY 'old volumes'")]
    UpdateDescription {
        /// Its id or ARN
        key: String,
        /// The description from now on
        description: String,
    },
    /// Put a disabled key to use again
    #[command(after_long_help = "Example:\n  stillkey kms enable-key KEY")]
    EnableKey {
        /// Its id or ARN
        key: String,
    },
    /// Stop the use of a key, until it is enabled again
    #[command(after_long_help = "Example:\n  stillkey kms disable-key KEY")]
    DisableKey {
        /// Its id or ARN
        key: String,
    },
    /// Protect a key against deletion, or no longer
    #[command(after_long_help = "Example:\n  stillkey kms protect-key KEY on --reason billing")]
    ProtectKey {
        /// Its id or ARN
        key: String,
        /// on or off
        #[arg(value_parser = ["on", "off"])]
        protection: String,
        /// Why: shown to whoever is refused
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Stop the use of a key at once, and delete it when the days have passed
    ///
    /// What it has encrypted is lost with it: data keys, and all that they encrypt. Until then,
    /// 'stillkey kms cancel-key-deletion' calls it off.
    #[command(
        after_long_help = "Example:\n  stillkey kms schedule-key-deletion KEY --days 30 --yes"
    )]
    ScheduleKeyDeletion {
        /// Its id or ARN
        key: String,
        /// 7 to 30
        #[arg(long, default_value = "30")]
        days: u32,
        /// Don't ask for the key's id once more
        #[arg(long)]
        yes: bool,
    },
    /// Call a deletion off
    #[command(after_long_help = "Example:\n  stillkey kms cancel-key-deletion KEY")]
    CancelKeyDeletion {
        /// Its id or ARN
        key: String,
    },
    /// Make a new version of a key, which encrypts from now on
    ///
    /// Versions before it go on decrypting. Data keys that were wrapped before stay wrapped by the old
    /// version, and what they encrypt keeps them: 'stillkey kms re-encrypt' and 'stillkey rekey' are
    /// the steps after it.
    #[command(after_long_help = "Example:\n  stillkey kms rotate KEY")]
    Rotate {
        /// Its id or ARN
        key: String,
    },
    /// Say how often a key is rotated by itself
    #[command(
        after_long_help = "Examples:\n  stillkey kms rotation KEY --every 90d\n  \
        stillkey kms rotation KEY --off"
    )]
    Rotation {
        /// Its id or ARN
        key: String,
        /// 7 to 730 days: 90d
        #[arg(long, value_name = "INTERVAL", required_unless_present = "off")]
        every: Option<RotationInterval>,
        /// Not at all
        #[arg(long, conflicts_with = "every")]
        off: bool,
    },
    /// List the versions of a key, and how often each was used
    #[command(after_long_help = "Example:\n  stillkey kms versions KEY")]
    Versions {
        /// Its id or ARN
        key: String,
    },
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.into(), value.into()))
}

impl Action {
    pub(super) fn run(self, open: &Open, ui: &Ui) -> Outcome {
        let (kms, caller) = (&open.kms, &open.caller);
        let done = |key: &str, what: &str| {
            ui.result(
                &format!("{key}: {what}"),
                &json!({ "key": key, "done": what }),
            )
        };
        match self {
            Self::CreateKey {
                alias,
                description,
                tags,
                external,
                protection_level,
                rotate_every,
            } => {
                let tags = tags.into_iter().map(|(key, value)| Tag { key, value });
                let request = CreateKey {
                    description,
                    origin: if external {
                        Origin::External
                    } else {
                        Origin::Generated
                    },
                    protection: match protection_level.as_str() {
                        "hsm" => ProtectionLevel::Hsm,
                        _ => ProtectionLevel::Software,
                    },
                    rotation: rotate_every,
                    tags: tags.collect(),
                };
                let key = kms.create_key(caller, request)?.key.to_string();
                if let Some(alias) = &alias {
                    kms.create_alias(caller, alias, &key)?;
                }
                ui.result(&key, &json!({ "key_id": key, "alias": alias }))
            }
            Self::ListKeys => {
                let keys = all_pages(|page| kms.list_keys(caller, page))?;
                let (mut lines, mut json) = (Vec::new(), Vec::new());
                for key in keys {
                    let key = kms.describe_key(caller, &key.to_string())?;
                    let aliases = open.aliases_of(&key.key.to_string())?;
                    let mut line = format!("{}  {:<15}", key.key, key.state.name());
                    line += &format!("  {}  {}", key.created, aliases.join(", "));
                    lines.push(line.trim_end().to_owned());
                    json.push(show::key_json(&key, &aliases, &open.arn(key.key)));
                }
                ui.result(&lines.join("\n"), &json!({ "keys": json }))
            }
            Self::DescribeKey { key } => {
                let key = kms.describe_key(caller, &key)?;
                let aliases = open.aliases_of(&key.key.to_string())?;
                let arn = open.arn(key.key);
                ui.result(
                    &show::key(&key, &aliases, &arn),
                    &show::key_json(&key, &aliases, &arn),
                )
            }
            Self::UpdateDescription { key, description } => {
                kms.update_description(caller, &key, &description)?;
                done(&key, "described anew")
            }
            Self::EnableKey { key } => {
                kms.enable_key(caller, &key)?;
                done(&key, "enabled")
            }
            Self::DisableKey { key } => {
                kms.disable_key(caller, &key)?;
                done(&key, "disabled")
            }
            Self::ProtectKey {
                key,
                protection,
                reason,
            } => {
                let on = protection == "on";
                kms.protect_key(caller, &key, on.then_some(&reason))?;
                done(
                    &key,
                    if on {
                        "protected against deletion"
                    } else {
                        "not protected any more"
                    },
                )
            }
            Self::ScheduleKeyDeletion { key, days, yes } => {
                let known = kms.describe_key(caller, &key)?;
                if let Some(last) = known.last_used {
                    ui.warn(&format!(
                        "key {} was last used on {}",
                        known.key,
                        show::day(last)
                    ));
                }
                confirm(&known.key.to_string(), yes)?;
                let delete_at = kms.schedule_key_deletion(caller, &key, days)?;
                ui.result(
                    &format!(
                        "{key}: unusable from now on, and deleted at {delete_at}; 'stillkey kms \
                         cancel-key-deletion {key}' calls that off"
                    ),
                    &json!({ "key": key, "delete_at": delete_at.to_string() }),
                )
            }
            Self::CancelKeyDeletion { key } => {
                kms.cancel_key_deletion(caller, &key)?;
                let state = kms.describe_key(caller, &key)?.state;
                done(&key, &format!("not deleted; {state}"))
            }
            Self::Rotate { key } => {
                let version = kms.create_key_version(caller, &key)?;
                ui.result(
                    &format!("{key}: version {} encrypts from now on", version.version),
                    &json!({ "key": key, "version": version.version.to_string() }),
                )
            }
            Self::Rotation { key, every, off: _ } => {
                kms.update_rotation_policy(caller, &key, every)?;
                match every {
                    Some(interval) => {
                        let days = interval.seconds() / 86_400;
                        done(&key, &format!("rotated every {days} days"))
                    }
                    None => done(&key, "not rotated by itself"),
                }
            }
            Self::Versions { key } => {
                let versions = all_pages(|page| kms.list_key_versions(caller, &key, page))?;
                let lines: Vec<_> = versions.iter().map(show::version).collect();
                let json: Vec<_> = versions.iter().map(show::version_json).collect();
                ui.result(&lines.join("\n"), &json!({ "versions": json }))
            }
        }
    }
}

/// All items of a list.
pub(super) fn all_pages<T>(
    list: impl Fn(Page) -> Result<stillkey::core::kms::response::List<T>, stillkey::Error>,
) -> Outcome<Vec<T>> {
    let mut all = Vec::new();
    for number in 1.. {
        let Some(page) = Page::new(number, Page::MAX_SIZE) else {
            break;
        };
        let mut list = list(page)?;
        let is_last = list.items.is_empty();
        all.append(&mut list.items);
        if is_last || all.len() >= list.total {
            break;
        }
    }
    Ok(all)
}

/// That somebody means it: with --yes, or by typing the id.
pub(super) fn confirm(id: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    let refused = |why: &str| {
        Err(Failure::usage(format!(
            "{why}, and nothing was changed; give --yes, or type the key's id when asked"
        )))
    };
    if !std::io::stdin().is_terminal() {
        return refused("this can't be undone once the days have passed");
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "Type the key's id to go on ({id}): ");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if read.is_ok() && line.trim() == id {
        return Ok(());
    }
    refused("the id doesn't match")
}

impl Open {
    pub(super) fn arn(&self, key: stillkey::core::kms::id::Id) -> String {
        self.kms.state().namespace().key_arn(key)
    }

    /// The names of a key, as far as its user may know them.
    pub(super) fn aliases_of(&self, key: &str) -> Outcome<Vec<String>> {
        let aliases = all_pages(|page| self.kms.list_aliases_of(&self.caller, key, page));
        match aliases {
            Ok(aliases) => Ok(aliases.into_iter().map(|alias| alias.name).collect()),
            Err(Failure::Error(error)) if error.kind() == stillkey::ErrorKind::Refused => {
                Ok(Vec::new())
            }
            Err(other) => Err(other),
        }
    }
}
