//! `stillkey reconcile`: entries whose files are gone, removed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::in_use::WriterArgs;
use crate::ui::Ui;

/// Remove the entries whose files are gone
///
/// Such entries are harmless; without one, its file can't be decrypted any more if it comes back
/// from a backup. Files are never removed: those without an entry are only listed.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey reconcile vault --dry-run\n  stillkey reconcile vault"
)]
pub(crate) struct Args {
    /// The data directory; without it, --dict-dir or storage.data-dir of --config
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    writer: WriterArgs,
    /// Only list what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let manager = self.writer.or_in(self.directory)?.manager(ui)?;
        let found = manager.mismatches()?;
        let removed = if self.dry_run {
            found.entries_without_file
        } else {
            expect_own_files(manager.directory(), &found.entries_without_file)?;
            manager.reconcile()?
        };
        let done = if self.dry_run {
            "would be removed"
        } else {
            "removed"
        };
        let mut lines: Vec<_> = removed
            .iter()
            .map(|name| format!("entry without file: {name:?}"))
            .collect();
        let mut without_entry: Vec<_> = found
            .files_without_entry
            .iter()
            .map(|path| path.strip_prefix(manager.directory()).unwrap_or(path))
            .map(|path| path.display().to_string())
            .collect();
        without_entry.sort_unstable();
        lines.extend(
            without_entry
                .iter()
                .map(|path| format!("file without entry: {path}")),
        );
        lines.push(format!(
            "{} entries {done}, {} files without entry left alone",
            removed.len(),
            without_entry.len()
        ));
        ui.result(
            &lines.join("\n"),
            &json!({
                "removed": removed,
                "files_without_entry": without_entry,
                "dry_run": self.dry_run,
            }),
        )
    }
}

/// Where dictionaries were copied without their files, every file that they name elsewhere seems to
/// be gone.
fn expect_own_files(directory: &Path, missing: &[String]) -> Outcome {
    let root = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let is_outside = |name: &&String| {
        let path = Path::new(name);
        path.is_absolute() && !path.starts_with(&root) && !path.starts_with(&absolute)
    };
    match missing.iter().find(is_outside) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!(
            "{}: the file of {name:?} would be outside of it, as with a copy of the dictionaries, \
             and nothing is removed; run this where the files are; --dry-run lists all such entries",
            directory.display()
        ))),
    }
}
