//! `stillkey init`: an encryption directory that is ready for use.

use std::path::PathBuf;

use serde_json::json;
use stillkey::clock::unix_now;
use stillkey::core::Method;
use stillkey::{Entries, Error, MasterKeySource};

use crate::failure::{Failure, Outcome};
use crate::in_use::InUseArgs;
use crate::keys::{self, default_key_path};
use crate::ui::Ui;

/// Make an encryption directory: dictionaries, a first data key, and a master key outside of it
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey init vault\n  stillkey init vault --method sm4-ctr --master-key env:MASTER_KEY"
)]
pub(crate) struct Args {
    /// The directory; it is made if it isn't there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Master key: file:PATH, env:VAR or cmd:COMMAND. Without it, the one in STILLKEY_MASTER_KEY, or the default one, which is made if
    /// it isn't there
    #[arg(long, short = 'k', value_name = "SPEC")]
    master_key: Option<MasterKeySource>,
    /// Method of new files: aes128-ctr, aes192-ctr, aes256-ctr, sm4-ctr or plaintext
    #[arg(long, value_name = "METHOD", default_value_t = Method::Aes256Ctr)]
    method: Method,
    #[command(flatten)]
    in_use: InUseArgs,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        self.in_use.expect_unused(&self.directory, ui)?;
        let mut made = false;
        let named = self
            .master_key
            .map_or_else(keys::from_environment, |source| Ok(Some(source)))?;
        let source = match named {
            Some(source) => source,
            None => {
                let path = default_key_path()?;
                if std::path::absolute(&self.directory)
                    .is_ok_and(|directory| path.starts_with(directory))
                {
                    return Err(Failure::usage(format!(
                        "{}: the default master key {} would lie inside; choose another directory, or another master key",
                        self.directory.display(),
                        path.display()
                    )));
                }
                if !path.exists() {
                    stillkey::create_master_key_file(&path)?;
                    made = true;
                }
                MasterKeySource::File(path)
            }
        };
        let master_key = keys::load(&source, ui)?;
        let dictionaries =
            Entries::create(&self.directory, &master_key, self.method, unix_now()).map_err(
                |error| match error {
                    Error::AlreadyExists { path } => Failure::already_exists(format!(
                        "{}: already exists, and without it the files in its directory are lost; use the directory as it is, or choose another",
                        path.display()
                    )),
                    error => error.into(),
                },
            )?;
        let human = format!(
            "{}: ready for {} under the master key {}{}",
            self.directory.display(),
            self.method,
            source.redacted(),
            if made {
                ", which is new: keep a copy in a safe place"
            } else {
                ""
            },
        );
        let json = json!({
            "directory": self.directory.to_string_lossy(),
            "master_key": source.redacted(),
            "master_key_made": made,
            "method": self.method.name(),
            "current_key_id": dictionaries.keys().current_key_id().to_string(),
        });
        ui.result(&human, &json)
    }
}
