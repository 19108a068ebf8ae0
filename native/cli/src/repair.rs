//! `stillkey repair`: a directory that a writer refuses, looked at and set right.

use std::path::PathBuf;

use serde_json::{Value, json};
use stillkey::{Done, ErrorKind, Finding};

use crate::failure::{Failure, Outcome};
use crate::in_use::WriterArgs;
use crate::ui::Ui;

/// Set right what crashes and damage have left, without destroying anything
///
/// Says what it would do; does it with --yes. A damaged file.dict is written anew from every record whose checksum fits, interrupted
/// replacements of files are finished or undone, and entries whose files are gone are removed. What file.dict was stays beside it as
/// file.dict.before-repair. A damaged key.dict has to come from a backup: keys can't be made up.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The data directory; without it, --dict-dir or storage.data-dir of --config
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    writer: WriterArgs,
    /// Do it
    #[arg(long, short)]
    yes: bool,
    /// Move files without an entry to lost+found in the directory. Not where an engine keeps files that aren't encrypted: it needs them
    #[arg(long)]
    lost_found: bool,
}

const AFTER_HELP: &str = "\
Exit status without --yes:
  0  nothing to do, or only files without an entry
  4  file.dict is damaged, or a replacement was interrupted
  5  entries without files

Examples:
  stillkey repair vault
  stillkey repair vault --yes
  stillkey repair vault --lost-found --yes";

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let writer = self.writer.or_in(self.directory)?;
        let repair = writer.repair(ui)?;
        let findings = repair.findings().to_vec();
        let mut lines: Vec<_> = findings
            .iter()
            .map(|finding| format!("{finding}: {}", remedy(finding, self.lost_found)))
            .collect();
        let is_damaged = findings
            .iter()
            .any(|finding| matches!(finding, Finding::LostRecords(_)));
        if is_damaged {
            ui.warn(
                "what the lost records said is lost: entries that remain may be out of date, and removed ones be back; if there is a backup \
                 of file.dict that is whole, compare it first",
            );
        }
        if !self.yes {
            let wrong = severity(&findings);
            lines.push(match (findings.is_empty(), wrong) {
                (true, _) => "nothing to repair".into(),
                (false, None) if !self.lost_found => "nothing else to repair".into(),
                _ => "nothing was changed; --yes does it".into(),
            });
            ui.result(
                &lines.join("\n"),
                &json!({ "findings": findings.iter().map(finding_json).collect::<Vec<_>>(), "done": [] }),
            )?;
            return wrong.map_or(Ok(()), |kind| Err(Failure::Found(kind)));
        }
        let done = repair.carry_out(self.lost_found)?;
        let mut lines: Vec<_> = done.iter().map(ToString::to_string).collect();
        if done.is_empty() {
            lines.push("nothing to repair".into());
        }
        ui.result(
            &lines.join("\n"),
            &json!({
                "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
                "done": done.iter().map(done_json).collect::<Vec<_>>(),
            }),
        )
    }
}

/// What is done about it.
fn remedy(finding: &Finding, lost_found: bool) -> &'static str {
    match finding {
        Finding::LostRecords(_) => {
            "file.dict is written anew without that, and kept as file.dict.before-repair"
        }
        Finding::Unfinished { .. } => {
            "finished or undone; a file in the way is moved to lost+found"
        }
        Finding::EntryWithoutFile { .. } => {
            "the entry is removed; file.dict is kept as file.dict.before-repair"
        }
        Finding::FileWithoutEntry { .. } if lost_found => "moved to lost+found",
        Finding::FileWithoutEntry { .. } => "left there; --lost-found moves it",
        _ => "left as it is",
    }
}

/// What the findings amount to.
fn severity(findings: &[Finding]) -> Option<ErrorKind> {
    let any = |is: fn(&Finding) -> bool| findings.iter().any(is);
    if any(|finding| {
        matches!(
            finding,
            Finding::LostRecords(_) | Finding::Unfinished { .. }
        )
    }) {
        return Some(ErrorKind::Damaged);
    }
    any(|finding| matches!(finding, Finding::EntryWithoutFile { .. }))
        .then_some(ErrorKind::NotFound)
}

fn finding_json(finding: &Finding) -> Value {
    match finding {
        Finding::LostRecords(lost) => {
            json!({ "kind": "lost-records", "at": lost.at, "len": lost.len, "names": lost.names })
        }
        Finding::Unfinished { name } => json!({ "kind": "unfinished", "name": name }),
        Finding::EntryWithoutFile { name } => {
            json!({ "kind": "entry-without-file", "name": name })
        }
        Finding::EntryElsewhere { name } => json!({ "kind": "entry-elsewhere", "name": name }),
        Finding::FileWithoutEntry { path } => {
            json!({ "kind": "file-without-entry", "path": path.display().to_string() })
        }
        other => json!({ "kind": "other", "message": other.to_string() }),
    }
}

fn done_json(done: &Done) -> Value {
    match done {
        Done::Kept { path } => json!({ "kind": "kept", "path": path.display().to_string() }),
        Done::Rewritten { entries } => json!({ "kind": "rewritten", "entries": entries }),
        Done::Moved { from, to } => {
            json!({ "kind": "moved", "from": from.display().to_string(), "to": to.display().to_string() })
        }
        Done::Settled { name } => json!({ "kind": "settled", "name": name }),
        Done::Removed { name } => json!({ "kind": "removed", "name": name }),
        other => json!({ "kind": "other", "message": other.to_string() }),
    }
}
