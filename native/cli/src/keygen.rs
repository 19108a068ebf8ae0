//! `stillkey keygen`: a new master key.

use std::path::PathBuf;

use serde_json::json;
use stillkey::Error;

use crate::failure::{Failure, Outcome};
use crate::keys::default_key_path;
use crate::ui::Ui;

/// Make a new random master key file
///
/// The file holds 64 hexadecimal digits and a newline, and only its owner can read it. An existing file is never overwritten: whatever is
/// sealed under a lost master key is lost too.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey keygen\n  stillkey keygen /etc/stillkey/master.key"
)]
pub(crate) struct Args {
    /// Where to; without it, where the other commands look by default
    path: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let path = self.path.map_or_else(default_key_path, Ok)?;
        let key = stillkey::create_master_key_file(&path).map_err(|error| match error {
            Error::AlreadyExists { path } => Failure::already_exists(format!(
                "{}: already exists, and what it seals would be lost with it; use this key, or make the new one elsewhere",
                path.display()
            )),
            error => error.into(),
        })?;
        let human = format!(
            "{}: new master key {}\nKeep a copy in a safe place: without it, what it seals is lost.",
            path.display(),
            key.reference()
        );
        ui.result(
            &human,
            &json!({ "path": path.to_string_lossy(), "reference": key.reference() }),
        )
    }
}
