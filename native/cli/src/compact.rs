//! `stillkey compact`: `file.dict` without what has been superseded.

use std::path::PathBuf;

use serde_json::json;

use crate::failure::{Outcome, io};
use crate::in_use::WriterArgs;
use crate::ui::Ui;

/// Rewrite file.dict without the log records that have been superseded
///
/// No entry changes. Engines and 'stillkey' do this by themselves now and then; by hand, it makes a
/// long file.dict faster to read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  stillkey compact vault\n  \
    stillkey compact --config tikv.toml --json")]
pub(crate) struct Args {
    /// The data directory; without it, --dict-dir or storage.data-dir of --config
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    writer: WriterArgs,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let entries = self.writer.or_in(self.directory)?.entries(ui)?;
        let path = entries.directory().join("file.dict");
        let len = || {
            let metadata = path.metadata().map_err(io(&path, "read the size of"))?;
            Outcome::Ok(metadata.len())
        };
        let before = len()?;
        entries.compact()?;
        let (after, files) = (len()?, entries.len());
        ui.result(
            &format!(
                "{}: {before} bytes are now {after}, for {files} files",
                path.display()
            ),
            &json!({ "files": files, "bytes_before": before, "bytes": after }),
        )
    }
}
