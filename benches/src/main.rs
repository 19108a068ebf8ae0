//! Reruns every figure that is quoted about Stillkey's speed. `--help` says how.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stillkey_benches::check::{Outcome, check};
use stillkey_benches::measure::Effort;
use stillkey_benches::task::Bench;
use stillkey_benches::{managed, soft, table};

/// Measures Stillkey beside its peers: in one process, on one pinned thread, taking turns. Quote ratios, not speeds.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Prints one Markdown table of speeds and ratios
    Table {
        /// Takes less than a minute
        #[arg(long)]
        quick: bool,
        /// Prints the times of all contenders as JSON instead
        #[arg(long)]
        json: bool,
    },
    /// Holds the ratios against their bars; the exit status is 1 when one is missed, 2 when one could not be measured
    Check {
        /// Takes less than a minute
        #[arg(long)]
        quick: bool,
        /// Only bars whose name contains this
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Answers another process of this program
    #[command(name = soft::SUBCOMMAND, hide = true)]
    SoftAes { order: String },
    /// Does so, too
    #[command(name = managed::SUBCOMMAND, hide = true)]
    OpenDirectory { directory: PathBuf },
}

fn main() -> io::Result<ExitCode> {
    let effort = |quick| match quick {
        true => Effort::QUICK,
        false => Effort::FULL,
    };
    let mut out = io::stdout().lock();
    match Arguments::parse().what {
        What::Table { quick, json } => {
            let write = if json { table::json } else { table::markdown };
            write(&mut Bench::new(), effort(quick), &mut out)?;
        }
        What::Check { quick, only } => {
            let mut bench = Bench::new();
            table::preamble(&bench.peers, &mut out)?;
            return Ok(match check(&mut bench, effort(quick), &only, &mut out)? {
                Outcome::Passed => ExitCode::SUCCESS,
                Outcome::Missed => ExitCode::from(1),
                Outcome::Incomplete => ExitCode::from(2),
            });
        }
        What::SoftAes { order } => return answer(soft::answer(&order), &mut out),
        What::OpenDirectory { directory } => return answer(managed::answer(&directory), &mut out),
    }
    Ok(ExitCode::SUCCESS)
}

/// To another process of this program.
fn answer(answer: Result<String, String>, out: &mut impl Write) -> io::Result<ExitCode> {
    match answer {
        Ok(answer) => writeln!(out, "{answer}").map(|()| ExitCode::SUCCESS),
        Err(why) => {
            eprintln!("{why}");
            Ok(ExitCode::FAILURE)
        }
    }
}
