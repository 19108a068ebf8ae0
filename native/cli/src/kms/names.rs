//! Aliases and tags of keys.

use serde_json::{Value, json};
use stillkey::core::kms::request::Tag;

use super::Open;
use super::keys::{all_pages, pair};
use crate::failure::Outcome;
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AliasAction {
    /// Give a key a name
    #[command(after_long_help = "Example:\n  stillkey kms alias create alias/app KEY")]
    Create {
        /// With its prefix alias/
        alias: String,
        /// Its id or ARN
        key: String,
    },
    /// Have a name mean another key
    #[command(after_long_help = "Example:\n  stillkey kms alias update alias/app NEWKEY")]
    Update {
        /// With its prefix alias/
        alias: String,
        /// The id or ARN of the key from now on
        key: String,
    },
    /// Take a name away; the key stays
    #[command(after_long_help = "Example:\n  stillkey kms alias delete alias/app")]
    Delete {
        /// With its prefix alias/
        alias: String,
    },
    /// List all names, or those of a key
    #[command(after_long_help = "Example:\n  stillkey kms alias list")]
    List {
        /// Its id or ARN
        key: Option<String>,
    },
}

impl AliasAction {
    pub(super) fn run(self, open: &Open, ui: &Ui) -> Outcome {
        let (kms, caller) = (&open.kms, &open.caller);
        let means = |alias: &str, key: &str| {
            ui.result(
                &format!("{alias}: means key {key}"),
                &json!({ "alias": alias, "key": key }),
            )
        };
        match self {
            Self::Create { alias, key } => {
                kms.create_alias(caller, &alias, &key)?;
                means(&alias, &key)
            }
            Self::Update { alias, key } => {
                kms.update_alias(caller, &alias, &key)?;
                means(&alias, &key)
            }
            Self::Delete { alias } => {
                kms.delete_alias(caller, &alias)?;
                ui.result(&format!("{alias}: deleted"), &json!({ "alias": alias }))
            }
            Self::List { key } => {
                let aliases = match &key {
                    Some(key) => all_pages(|page| kms.list_aliases_of(caller, key, page))?,
                    None => all_pages(|page| kms.list_aliases(caller, page))?,
                };
                let line = |alias: &stillkey::core::kms::response::AliasEntry| {
                    format!("{}  {}", alias.key, alias.name)
                };
                let lines: Vec<_> = aliases.iter().map(line).collect();
                let json: Vec<Value> = aliases
                    .iter()
                    .map(|alias| json!({ "alias": alias.name, "key_id": alias.key.to_string() }))
                    .collect();
                ui.result(&lines.join("\n"), &json!({ "aliases": json }))
            }
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TagAction {
    /// Add or change tags of a key
    #[command(after_long_help = "Example:\n  stillkey kms tag add KEY team=storage env=prod")]
    Add {
        /// Its id or ARN
        key: String,
        /// The pairs
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        tags: Vec<(String, String)>,
    },
    /// Take tags from a key
    #[command(after_long_help = "Example:\n  stillkey kms tag remove KEY team env")]
    Remove {
        /// Its id or ARN
        key: String,
        /// The keys of the pairs
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List the tags of a key
    #[command(after_long_help = "Example:\n  stillkey kms tag list KEY")]
    List {
        /// Its id or ARN
        key: String,
    },
}

impl TagAction {
    pub(super) fn run(self, open: &Open, ui: &Ui) -> Outcome {
        let (kms, caller) = (&open.kms, &open.caller);
        let key = match self {
            Self::Add { key, tags } => {
                let tags = tags.into_iter().map(|(key, value)| Tag { key, value });
                kms.tag_key(caller, &key, tags.collect())?;
                key
            }
            Self::Remove { key, names } => {
                kms.untag_key(caller, &key, names)?;
                key
            }
            Self::List { key } => key,
        };
        let tags = kms.list_tags(caller, &key)?;
        let lines: Vec<_> = tags
            .iter()
            .map(|tag| format!("{}={}", tag.key, tag.value))
            .collect();
        let json: Vec<Value> = tags
            .iter()
            .map(|tag| json!({ "key": tag.key, "value": tag.value }))
            .collect();
        ui.result(&lines.join("\n"), &json!({ "tags": json }))
    }
}
