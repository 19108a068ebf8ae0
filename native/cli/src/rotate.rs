//! `stillkey rotate`: new data keys and new master keys, while nothing else has the directory open.

use std::time::Duration;

use serde_json::json;
use stillkey::clock::unix_now;
use stillkey::core::{Method, RotationPolicy, RotationReason};
use stillkey::{MasterKeySource, parse_duration};

use crate::failure::Outcome;
use crate::in_use::WriterArgs;
use crate::keys;
use crate::ui::Ui;

/// Replace a data key or the master key of a dictionary directory
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey rotate data-key -d vault --if-older-than 7d\n  \
    stillkey rotate master-key -d vault --master-key file:old.key --new-master-key file:new.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    writer: WriterArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a new data key for new files; old files keep theirs
    DataKey {
        /// Method of new files; without it, that of the current data key
        #[arg(long, value_name = "METHOD")]
        method: Option<Method>,
        /// Only if one is due: the current one is this old (7d, 2w), for another method, or was once stored unprotected
        #[arg(long, value_name = "AGE", value_parser = parse_duration)]
        if_older_than: Option<Duration>,
    },
    /// Seal the data keys under another master key; files and data keys stay as they are
    MasterKey {
        /// The new master key: file:PATH, env:VAR, cmd:COMMAND or plaintext
        #[arg(long, value_name = "SPEC")]
        new_master_key: MasterKeySource,
    },
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        match self.what {
            What::DataKey {
                method,
                if_older_than,
            } => rotate_data_key(&self.writer, method, if_older_than, ui),
            What::MasterKey { new_master_key } => {
                rotate_master_key(&self.writer, &new_master_key, ui)
            }
        }
    }
}

fn rotate_data_key(
    writer: &WriterArgs,
    method: Option<Method>,
    if_older_than: Option<Duration>,
    ui: &Ui,
) -> Outcome {
    let entries = writer.entries(ui)?;
    let current = entries
        .keys()
        .current()
        .ok()
        .flatten()
        .and_then(|(_, entry)| entry.method.known().ok());
    let method = method.or(current).unwrap_or(Method::Aes256Ctr);
    let now = unix_now();
    let reason = match if_older_than {
        None => "asked for",
        Some(age) => match entries.rotation_due(&policy(method, age), now)? {
            None => {
                return ui.result(
                    "not due: the current data key stays",
                    &json!({ "rotated": false }),
                );
            }
            Some(reason) => in_words(reason),
        },
    };
    let id = entries.rotate_data_key(method, now)?;
    if method == Method::Plaintext {
        ui.warn(
            "new files are not encrypted from now on; to encrypt them again, rotate to another --method",
        );
    }
    let human = format!("new data key {id} for {method} ({reason}); files that exist keep theirs");
    ui.result(&human, &json!({ "rotated": true, "current_key_id": id.to_string(), "method": method.name(), "reason": reason }))
}

fn policy(method: Method, age: Duration) -> RotationPolicy {
    RotationPolicy {
        method,
        period: age.as_secs(),
    }
}

fn in_words(reason: RotationReason) -> &'static str {
    match reason {
        RotationReason::NoCurrentKey => "there was none",
        RotationReason::MethodChanged => "the current one was for another method",
        RotationReason::Exposed => "the current one was once stored unprotected",
        RotationReason::Expired { .. } => "the current one was old enough",
        RotationReason::CreatedInTheFuture => "the current one claims to be made in the future",
        _ => "due",
    }
}

fn rotate_master_key(writer: &WriterArgs, new_master_key: &MasterKeySource, ui: &Ui) -> Outcome {
    let new = keys::load(new_master_key, ui)?;
    let entries = writer.entries(ui)?;
    entries.rotate_master_key(&new)?;
    if !new.is_secure() {
        ui.warn("the data keys are stored unprotected from now on, and count as exposed for good");
    }
    let keys = entries.keys().len();
    let human = format!(
        "{keys} data keys are sealed under {} now; keep the old master key as long as there are backups under it",
        new_master_key.redacted()
    );
    ui.result(
        &human,
        &json!({ "master_key": new_master_key.redacted(), "keys": keys }),
    )
}
