//! What a command prints: findings on stdout, everything else on stderr.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::stdout_has_data;
use crate::failure::{Failure, Outcome, STDOUT, failure_json, io};

/// Options that every command has.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Ui {
    /// Print one JSON object on stdout, for scripts
    #[arg(long, global = true)]
    json: bool,
    /// Print no progress and no warnings
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl Ui {
    /// Whether results go to a script.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the result: `human` for people, `json` for scripts.
    pub(crate) fn result(&self, human: &str, json: &impl Serialize) -> Outcome {
        if !self.json {
            return self.print(human);
        }
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        serde_json::to_writer_pretty(&mut stdout, json)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(stdout))
            .and_then(|()| stdout.flush())
            .map_err(to_stdout())
    }

    /// Prints to stdout. When its reader has gone away, the command ends, and says nothing.
    pub(crate) fn print(&self, text: &str) -> Outcome {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}")
            .and_then(|()| stdout.flush())
            .map_err(to_stdout())
    }

    /// Tells people of a step that is done.
    pub(crate) fn step(&self, step: &str) -> Outcome {
        if self.json { Ok(()) } else { self.print(step) }
    }

    /// As [`Ui::result`], on stderr when stdout carries data.
    pub(crate) fn summary(&self, stdout_is_data: bool, human: &str, json: &Value) -> Outcome {
        if !stdout_is_data {
            return self.result(human, json);
        }
        if !self.quiet && self.json {
            to_stderr(&json.to_string());
        }
        Ok(())
    }

    /// A warning that scripts can't act upon.
    pub(crate) fn warn_people(&self, warning: &str) {
        if !self.json {
            self.warn(warning);
        }
    }

    pub(crate) fn warn(&self, warning: &str) {
        if !self.quiet {
            to_stderr(&format!("stillkey: warning: {warning}"));
        }
    }

    /// Says why a part of the work failed, where the rest goes on.
    pub(crate) fn failed(&self, failure: &Failure) {
        to_stderr(&format!("stillkey: {failure}"));
    }

    /// Says why the command failed.
    pub(crate) fn report(&self, failure: &Failure) {
        if failure.is_unread_output() {
            // As `head` does when it has seen enough. The exit status tells it to those who ask.
            return;
        }
        let Some((message, json)) = failure_json(failure) else {
            return;
        };
        let json = json!({ "error": json });
        if self.json && stdout_has_data() {
            // Behind the data, nobody would tell it from the data.
            to_stderr(&json.to_string());
        } else if self.json {
            // stdout may be closed, which is then the reason for being here.
            let _ = writeln!(std::io::stdout(), "{json:#}");
        }
        to_stderr(&format!("stillkey: {message}"));
    }

    /// A progress bar over bytes; hidden unless stderr is a terminal. `len`: bytes in all, if known.
    pub(crate) fn progress(&self, len: Option<u64>) -> ProgressBar {
        let hidden = self.quiet || self.json || !std::io::stderr().is_terminal();
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(len, target);
        let template = match len {
            Some(_) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}",
            None => "{spinner} {bytes} {bytes_per_sec} {wide_msg}",
        };
        bar.with_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
    }
}

/// Where nobody reads that either, there is nobody left to tell; `eprintln!` would panic.
fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn to_stdout() -> impl FnOnce(std::io::Error) -> Failure {
    io(Path::new(STDOUT), "write")
}
