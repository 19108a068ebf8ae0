//! The audit trail.

use serde_json::json;
use stillkey::ErrorKind;

use super::Open;
use crate::failure::{Failure, Outcome, io};
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Print the records, oldest first, one JSON object a line
    #[command(after_long_help = "Example:\n  stillkey kms audit show | tail -5")]
    Show,
    /// Check that no record was changed, left out or reordered
    #[command(after_long_help = "Example:\n  stillkey kms audit verify")]
    Verify,
}

impl Action {
    pub(super) fn run(self, open: &Open, ui: &Ui) -> Outcome {
        match self {
            Self::Show => {
                open.kms.flush()?;
                let directory = open.kms.directory().join("audit");
                let files = std::fs::read_dir(&directory).map_err(io(&directory, "list"))?;
                let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
                paths.sort();
                for path in paths {
                    let lines = std::fs::read(&path).map_err(io(&path, "read"))?;
                    ui.print(String::from_utf8_lossy(&lines).trim_end())?;
                }
                Ok(())
            }
            Self::Verify => {
                let report = open.kms.verify_audit()?;
                for (path, bytes) in &report.torn {
                    ui.warn(&format!(
                        "{}: a crash tore its last {bytes} bytes; records of requests that changed \
                         nothing may be lost there",
                        path.display()
                    ));
                }
                let broken = report.broken.as_ref().map(|(path, line, finding)| {
                    format!("{}: line {line}: {finding}", path.display())
                });
                let human = match &broken {
                    None => format!("{} records are as they were written", report.records),
                    Some(broken) => format!("{} records are right, then: {broken}", report.records),
                };
                ui.result(
                    &human,
                    &json!({
                        "records": report.records,
                        "torn": report.torn.len(),
                        "broken": broken,
                    }),
                )?;
                match broken {
                    None => Ok(()),
                    Some(_) => Err(Failure::Found(ErrorKind::Damaged)),
                }
            }
        }
    }
}
