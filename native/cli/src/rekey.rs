//! `stillkey rekey`: files with old data keys, encrypted anew.

use std::ops::ControlFlow;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::json;
use stillkey::clock::unix_now;
use stillkey::core::Method;
use stillkey::{RekeySelection, parse_duration};

use crate::failure::{Failure, Outcome};
use crate::in_use::WriterArgs;
use crate::ui::Ui;

/// Encrypt files anew whose data key isn't the current one
///
/// Each file stays readable meanwhile and is replaced in one step. What is interrupted goes on with the next run. No engine may be using the
/// directory; an engine that runs has this built in.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey rotate data-key -d vault && stillkey rekey -d vault\n  \
    stillkey rekey -d vault --older-than 90d --limit 200MB/s\n  stillkey rekey -d vault --method sm4-ctr --dry-run"
)]
pub(crate) struct Args {
    #[command(flatten)]
    writer: WriterArgs,
    /// Only files whose data key was made longer ago than this: 90d, 2w, 12h
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only files of this method
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,
    /// Most bytes to work off per second: 200MB/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<u64>,
    /// Only count what would be done
    #[arg(long)]
    dry_run: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    match size.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("expected a size per second, such as 200MB/s".into()),
    }
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let manager = self.writer.manager(ui)?;
        let mut selection = RekeySelection::default();
        selection.method = self.method;
        selection.made_before = self
            .older_than
            .map(|age| unix_now().saturating_sub(age.as_secs()));

        let bar = ui.progress(Some(0));
        let mut chosen = (0, 0);
        let report = manager.rekey(&selection, self.limit, |progress| {
            chosen = (progress.files, progress.bytes);
            bar.set_length(progress.bytes);
            bar.set_position(progress.bytes_done);
            bar.set_message(format!(
                "{} of {} files",
                progress.files_done, progress.files
            ));
            if self.dry_run {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        for name in &report.missing {
            ui.warn(&format!("{name}: has an entry, but no file; restore it from a backup, or remove the entry with 'stillkey reconcile'"));
        }
        for name in &report.busy {
            ui.warn(&format!(
                "{name}: was changed meanwhile, and is left as it is"
            ));
        }
        if self.dry_run {
            let (files, bytes) = chosen;
            return ui.result(
                &format!("{files} files with {bytes} bytes would be encrypted anew"),
                &json!({ "files": files, "bytes": bytes }),
            );
        }
        for (_, error) in &report.failed {
            ui.failed(&error.clone().into());
        }
        ui.result(
            &format!(
                "{} files with {} bytes encrypted anew",
                report.rekeyed, report.bytes
            ),
            &json!({
                "rekeyed": report.rekeyed,
                "bytes": report.bytes,
                "busy": report.busy,
                "missing": report.missing,
                "failed": report.failed.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            }),
        )?;
        match report.failed.first() {
            Some((_, error)) => Err(Failure::Found(error.kind())),
            None => Ok(()),
        }
    }
}
