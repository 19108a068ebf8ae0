//! The `stillkey` command. Each subcommand is a module with its arguments and what it does.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "in tests, a panic is how a failure is reported"
    )
)]
#![expect(
    clippy::indexing_slicing,
    reason = "only of JSON objects, where assigning to an absent key inserts it"
)]

mod ahead;
mod body;
mod compact;
mod config;
mod data_keys;
mod decrypt;
mod decrypt_file;
mod demo;
mod dictionaries;
mod encrypt;
mod failure;
mod generate;
mod in_use;
mod init;
mod inspect;
mod keygen;
mod keys;
mod kms;
mod log;
mod object;
mod range;
mod reconcile;
mod rekey;
mod repair;
mod rotate;
mod serve_metrics;
mod store;
mod text;
mod threads;
mod tree;
mod ui;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use stillkey::secret::{self, Protection};

use crate::failure::{Failure, Outcome};
use crate::ui::Ui;

/// Encrypts data at rest: single files and trees, and the data directories of TiKV and TiFlash.
#[derive(Debug, Parser)]
#[command(name = "stillkey", version, long_version = long_version(), max_term_width = 100, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    ui: Ui,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Init(init::Args),
    Encrypt(encrypt::Args),
    Decrypt(decrypt::Args),
    DecryptFile(decrypt_file::Args),
    Store(store::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Rotate(rotate::Args),
    Rekey(rekey::Args),
    Repair(repair::Args),
    Keys(data_keys::Args),
    Compact(compact::Args),
    Reconcile(reconcile::Args),
    Kms(kms::Args),
    ServeMetrics(serve_metrics::Args),
    Config(config::Args),
    Demo(demo::Args),
    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
}

const AFTER_HELP: &str = "\
Exit status:
  0  done
  2  usage, or something would have been overwritten
  3  wrong master key or encryption context
  4  damaged data, or data of an unknown version
  5  not found
  6  locked by another process
  7  input or output failed
  8  master key source unavailable
  9  key material can't be protected in memory, and STILLKEY_REQUIRE_LOCKED_MEMORY is set
  10 refused by the KMS: by the state of a key or by policy

Environment:
  STILLKEY_MASTER_KEY  the master key, as --master-key names it
  STILLKEY_KMS_STORE   the store of 'stillkey kms', as --store names it
  STILLKEY_LOG         show each step on stderr: error, warn, info, debug or trace; no secrets
  STILLKEY_REQUIRE_LOCKED_MEMORY
                       1: stop, rather than warn, where the system doesn't protect key material

Examples:
  stillkey keygen
  stillkey encrypt report.pdf
  stillkey decrypt report.pdf.sealed --out - | less
  stillkey inspect --master-key file:master.key /var/lib/tikv";

fn long_version() -> String {
    use stillkey::Native;
    use stillkey::core::cipher::Aead;
    use stillkey::core::{Cipher, CipherProvider};
    let provider = Native::detect();
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    for cipher in Cipher::ALL {
        version += &format!("\n{:<11} {}", cipher.method(), provider.name(cipher));
    }
    for aead in [Aead::Aes256Gcm, Aead::Sm4Gcm] {
        version += &format!("\n{:<11} {}", aead.name(), provider.aead_name(aead));
    }
    version
}

fn main() -> ExitCode {
    let protected = protect();
    let Cli { ui, command } = Cli::parse();
    let done = protected.and_then(|protection| {
        if let Some(refusal) = protection.refusal {
            ui.warn_people(&format!(
                "key material may be swapped out, or stand in core dumps: {refusal}"
            ));
        }
        log::start()?;
        run(command, &ui)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui.report(&failure);
            failure.exit_code()
        }
    }
}

/// Protects key material in memory, before there is any; as well as it goes, or as the environment requires.
fn protect() -> Outcome<Protection> {
    const REQUIRE: &str = "STILLKEY_REQUIRE_LOCKED_MEMORY";
    let require = std::env::var_os(REQUIRE).unwrap_or_default();
    match require.to_str() {
        Some("" | "0") => Ok(secret::protect()),
        // What a command needs comes in time, and it can be run again.
        Some("1") => Ok(secret::require_protection(0)?),
        _ => Err(Failure::usage(format!(
            "{REQUIRE} is {require:?}; give 1 to stop where key material isn't protected, or 0"
        ))),
    }
}

fn run(command: Command, ui: &Ui) -> Outcome {
    match command {
        Command::Keygen(args) => args.run(ui),
        Command::Init(args) => args.run(ui),
        Command::Encrypt(args) => args.run(ui),
        Command::Decrypt(args) => args.run(ui),
        Command::DecryptFile(args) => args.run(ui),
        Command::Store(args) => args.run(ui),
        Command::Inspect(args) => args.run(ui),
        Command::Verify(args) => args.run(ui),
        Command::Rotate(args) => args.run(ui),
        Command::Rekey(args) => args.run(ui),
        Command::Repair(args) => args.run(ui),
        Command::Keys(args) => args.run(ui),
        Command::Compact(args) => args.run(ui),
        Command::Reconcile(args) => args.run(ui),
        Command::Kms(args) => args.run(ui),
        Command::ServeMetrics(args) => args.run(ui),
        Command::Config(args) => args.run(ui),
        Command::Demo(args) => args.run(ui),
        Command::Completions(args) => args.run(&mut Cli::command()),
        Command::Man(args) => args.run(Cli::command()),
    }
}
