//! `stillkey encrypt`: sealed objects out of files, trees and streams.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;
use stillkey::SealedWriter;
use stillkey::core::sealed::{Options, Suite};
use stillkey::core::{EncryptionContext, MasterKey};

use crate::body::{Input, Output, copy};
use crate::failure::{Failure, Outcome};
use crate::keys::{ContextArgs, KeyArgs, is_dash};
use crate::tree;
use crate::ui::Ui;

/// What a sealed object's name ends with.
pub(crate) const SUFFIX: &str = ".sealed";

/// Encrypt a file, a tree of files, or standard input
///
/// Each file becomes a sealed object, which holds everything but the master key that is needed to open it. Several --master-key make objects
/// that each of them opens.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey encrypt report.pdf\n  stillkey encrypt photos --out /backup/photos\n  \
    tar c src | stillkey encrypt - --out src.tar.sealed --context purpose=backup\n  \
    stillkey encrypt db.img --body stream --method sm4-ctr"
)]
pub(crate) struct Args {
    /// File or directory; - for standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to; - for standard output. Without it: IN.sealed
    #[arg(long, short, value_name = "OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Form of the body
    #[arg(long, value_enum, default_value_t = BodyForm::Chunked)]
    body: BodyForm,
    /// Cipher: aes256-ctr or sm4-ctr; with --body stream also aes128-ctr and aes192-ctr. A chunked body uses the cipher in GCM
    #[arg(long, value_name = "METHOD", default_value = "aes256-ctr")]
    method: String,
    /// Overwrite what stands at OUT
    #[arg(long, short)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BodyForm {
    /// Counter mode, seekable to the byte, the plaintext's length; changes to it go unnoticed
    Stream,
    /// Authenticated chunks: any change is noticed
    Chunked,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let sealing = Sealing {
            options: Options {
                suite: suite(self.body, &self.method)?,
                ..Options::default()
            },
            context: self.context.context()?,
            recipients: self.keys.recipients(ui)?,
        };
        let out = match self.out {
            Some(out) => out,
            None if is_dash(&self.input) => "-".into(),
            None => with_suffix(&self.input),
        };
        if !is_dash(&self.input) && self.input.is_dir() {
            let totals = tree::map(
                &self.input,
                &out,
                self.force,
                ui,
                with_suffix,
                |input, output, bar| sealing.seal(input, output, bar),
            )?;
            return totals.report(ui, "encrypted", &self.input, &out);
        }
        let (input, output) = (Input::open(&self.input)?, Output::create(&out, self.force)?);
        let stdout_is_data = output.is_stdout();
        let bar = ui.progress(input.len());
        let bytes = sealing.seal(input, output, &bar)?;
        bar.finish_and_clear();
        let json = json!({ "output": out.to_string_lossy(), "method": sealing.options.suite.name(), "bytes": bytes });
        ui.summary(
            stdout_is_data,
            &format!("{}: {bytes} bytes encrypted", out.display()),
            &json,
        )
    }
}

/// What all objects of one call have in common.
struct Sealing {
    options: Options,
    context: EncryptionContext,
    recipients: Vec<MasterKey>,
}

impl Sealing {
    fn seal(&self, mut input: Input, output: Output, progress: &ProgressBar) -> Outcome<u64> {
        output.take_permissions_from(&input)?;
        let to = output.path().to_owned();
        let failed = stillkey::Error::carried(&to, "write");
        let mut writer = SealedWriter::new(output, &self.options, &self.recipients, &self.context)
            .map_err(&failed)?;
        let from = input.path().to_owned();
        let bytes = copy((&mut input, &from), (&mut writer, &to), progress)?;
        writer.finish().map_err(failed)?.commit()?;
        Ok(bytes)
    }
}

fn suite(body: BodyForm, method: &str) -> Outcome<Suite> {
    let named = method.to_ascii_lowercase();
    // Both "the cipher" and "the cipher in its mode" name it.
    let cipher = named
        .strip_suffix("-ctr")
        .or_else(|| named.strip_suffix("-gcm"))
        .unwrap_or(&named);
    let mode = match body {
        BodyForm::Stream => "ctr",
        BodyForm::Chunked => "gcm",
    };
    format!("{cipher}-{mode}").parse().map_err(|_| {
        Failure::usage(match (cipher, body) {
            ("aes128" | "aes192", BodyForm::Chunked) => format!(
                "{method} has no authenticated form; use --method aes256-ctr or sm4-ctr, or --body stream, whose changes go unnoticed"
            ),
            _ => format!("no method {method:?}; use aes128-ctr, aes192-ctr, aes256-ctr or sm4-ctr"),
        })
    })
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("out")).to_owned();
    name.push(SUFFIX);
    path.with_file_name(name)
}
