//! `stillkey keys`: the data keys of a data directory, and what becomes of those that no file uses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use stillkey::clock::unix_now;
use stillkey::core::{KeyDictionary, KeyEntry};
use stillkey::{RetiredKeys, parse_duration, read_retired_keys};

use crate::dictionaries::DictArgs;
use crate::failure::Outcome;
use crate::in_use::WriterArgs;
use crate::text::{duration, utc};
use crate::ui::Ui;

/// List the data keys of a data directory, and put aside those that no file uses
///
/// No key is shown, only its id. To replace the current data key, see 'stillkey rotate'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  stillkey keys list vault\n  \
    stillkey keys retire vault --grace 30d --dry-run\n  stillkey keys restore vault")]
pub(crate) struct Args {
    #[command(flatten)]
    writer: WriterArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the data keys, how many files use each, and the keys that were put aside
    #[command(after_long_help = "Examples:\n  stillkey keys list vault\n  \
        stillkey keys list --config tikv.toml --json")]
    List {
        /// The data directory; without it, --dict-dir or storage.data-dir of --config
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Put data keys aside that no file uses, and forget those that were put aside long enough ago
    ///
    /// Keys that are put aside are in retired.dict, under the same master key, and 'stillkey keys
    /// restore' brings them back. A key that is forgotten is gone for good, and so is whatever
    /// still needs it: a backup of file.dict, for example. The current key stays, and so does every
    /// key that a file uses.
    #[command(
        after_long_help = "Examples:\n  stillkey rekey -d vault && stillkey keys retire vault\n  \
        stillkey keys retire vault --grace 1w --dry-run"
    )]
    Retire {
        /// The data directory; without it, --dict-dir or storage.data-dir of --config
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Put aside only keys that were made at least this long ago, and forget those that were
        /// put aside at least this long ago: 30d, 2w
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse_duration)]
        grace: Duration,
        /// Only list what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring all data keys back that were put aside
    #[command(after_long_help = "Example:\n  stillkey keys restore vault")]
    Restore {
        /// The data directory; without it, --dict-dir or storage.data-dir of --config
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let writer = self.writer;
        match self.action {
            Action::List { directory } => list(&writer.or_in(directory)?.dictionaries, ui),
            Action::Retire {
                directory,
                grace,
                dry_run,
            } => retire(&writer.or_in(directory)?, grace, dry_run, ui),
            Action::Restore { directory } => restore(&writer.or_in(directory)?, ui),
        }
    }
}

fn list(dictionaries: &DictArgs, ui: &Ui) -> Outcome {
    let directory = dictionaries.directory()?;
    let read = dictionaries.read(ui)?;
    let retired = dictionaries.open(ui, |master_key| read_retired_keys(&directory, master_key))?;
    let mut users = HashMap::<u64, u64>::new();
    for (_, info) in read.files()?.unsorted() {
        *users.entry(info.key_id).or_default() += 1;
    }
    let keys = read.keys();
    let files = |id: u64| users.get(&id).copied().unwrap_or(0);
    let mut lines: Vec<_> = keys
        .iter()
        .map(|(id, entry)| {
            let mut line = format!("{}  {} files", in_words(id, entry), files(id));
            if entry.was_exposed {
                line += "  exposed";
            }
            if id == keys.current_key_id() {
                line += "  current";
            }
            line
        })
        .collect();
    let aside = only_aside(keys, &retired);
    lines.extend(aside.iter().map(|(id, entry)| {
        let since = entry
            .retired_at
            .map_or_else(String::new, |at| format!(" {}", utc(at)));
        format!("{}  put aside{since}", in_words(*id, entry))
    }));
    let keys_json: Vec<_> = keys
        .iter()
        .map(|(id, entry)| {
            let mut json = in_json(id, entry);
            json["current"] = (id == keys.current_key_id()).into();
            json["files"] = files(id).into();
            json
        })
        .collect();
    let aside_json: Vec<_> = aside
        .iter()
        .map(|(id, entry)| {
            let mut json = in_json(*id, entry);
            json["retired_at"] = entry.retired_at.into();
            json
        })
        .collect();
    ui.result(
        &lines.join("\n"),
        &json!({ "keys": keys_json, "retired": aside_json }),
    )
}

/// What an interruption has left in both places is in use.
fn only_aside<'k>(keys: &KeyDictionary, retired: &'k KeyDictionary) -> Vec<(u64, &'k KeyEntry)> {
    let aside = retired.iter().filter(|(id, _)| keys.get(*id).is_err());
    aside.collect()
}

fn in_words(id: u64, entry: &KeyEntry) -> String {
    format!(
        "key {id:>20}  {:<10}  made {}",
        entry.method.to_string(),
        utc(entry.creation_time)
    )
}

fn in_json(id: u64, entry: &KeyEntry) -> Value {
    json!({
        "id": id.to_string(),
        "method": entry.method.to_string(),
        "creation_time": entry.creation_time,
        "was_exposed": entry.was_exposed,
    })
}

fn retire(writer: &WriterArgs, grace: Duration, dry_run: bool, ui: &Ui) -> Outcome {
    let entries = writer.entries(ui)?;
    let (seconds, now) = (grace.as_secs(), unix_now());
    let RetiredKeys {
        retired, forgotten, ..
    } = if dry_run {
        entries.retirable_keys(seconds, now)?
    } else {
        entries.retire_keys(seconds, now)?
    };
    let would = if dry_run { "would be " } else { "" };
    let mut lines = vec![
        listed(&retired, &format!("{would}put aside")),
        listed(&forgotten, &format!("{would}forgotten for good")),
    ];
    if !dry_run && !retired.is_empty() {
        lines.push(format!(
            "a run of 'stillkey keys retire' after {} or more forgets them; until then, \
             'stillkey keys restore {}' brings them back",
            duration(grace),
            Path::display(entries.directory())
        ));
    }
    ui.result(
        &lines.join("\n"),
        &json!({
            "retired": ids(&retired),
            "forgotten": ids(&forgotten),
            "dry_run": dry_run,
        }),
    )
}

fn restore(writer: &WriterArgs, ui: &Ui) -> Outcome {
    let restored = writer.entries(ui)?.restore_keys()?;
    ui.result(
        &listed(&restored, "brought back"),
        &json!({ "restored": ids(&restored) }),
    )
}

/// `2 data keys put aside: 17, 21`.
fn listed(keys: &[u64], done: &str) -> String {
    let mut line = format!("{} data keys {done}", keys.len());
    if !keys.is_empty() {
        line += &format!(": {}", ids(keys).join(", "));
    }
    line
}

/// As text: JSON's numbers lose digits in many a program.
fn ids(keys: &[u64]) -> Vec<String> {
    keys.iter().map(u64::to_string).collect()
}
