//! `stillkey completions` and `stillkey man`: made from the same definitions as the command line itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::failure::{Outcome, STDOUT, io};

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
        // Its own writing panics when it can't write, so it gets a buffer, which always can.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "stillkey", &mut script);
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(&script)
            .and_then(|()| stdout.flush())
            .map_err(io(Path::new(STDOUT), "write"))
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
