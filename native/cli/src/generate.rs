//! `stillkey completions` and `stillkey man`: made from the same definitions as the command line itself.

use std::path::PathBuf;

use clap_complete::Shell;

use crate::failure::{Outcome, io};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  stillkey completions bash > ~/.local/share/bash-completion/completions/stillkey"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, command: &mut clap::Command) -> Outcome {
        clap_complete::generate(self.shell, command, "stillkey", &mut std::io::stdout());
        Ok(())
    }
}

/// Write a manual page for every command into a directory
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  stillkey man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory, which must exist
    directory: PathBuf,
}

impl ManArgs {
    pub(crate) fn run(self, command: clap::Command) -> Outcome {
        clap_mangen::generate_to(command, &self.directory)
            .map_err(io(&self.directory, "write manual pages to"))
    }
}
