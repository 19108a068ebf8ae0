//! `stillkey encrypt`: sealed objects out of files, trees and streams.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;
use stillkey::SealedWriter;
use stillkey::core::sealed::Options;
use stillkey::core::{EncryptionContext, MasterKey};

use crate::ahead::copy;
use crate::body::{Input, Output};
use crate::failure::Outcome;
use crate::object::{BodyForm, ObjectArgs, SUFFIX, suite};
use crate::tree;
use crate::ui::Ui;

/// Encrypt a file, a tree of files, or standard input
///
/// Each file becomes a sealed object, which holds everything but the master key that is needed to open it. Several --master-key make objects
/// that each of them opens.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey encrypt report.pdf\n  stillkey encrypt photos --out /backup/photos\n  \
    tar c src | stillkey encrypt - --out src.tar.sealed --context purpose=backup\n  \
    stillkey encrypt db.img --body stream --method sm4-ctr\n  stillkey encrypt photos --out /backup/photos --threads 2"
)]
pub(crate) struct Args {
    #[command(flatten)]
    object: ObjectArgs,
    /// Form of the body
    #[arg(long, value_enum, default_value_t = BodyForm::Chunked)]
    body: BodyForm,
    /// Cipher: aes256-ctr or sm4-ctr; with --body stream also aes128-ctr and aes192-ctr. A chunked body uses the cipher in GCM
    #[arg(long, value_name = "METHOD", default_value = "aes256-ctr")]
    method: String,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let object = self.object;
        object.threads.start()?;
        let sealing = Sealing {
            options: Options {
                suite: suite(self.body, &self.method)?,
                ..Options::default()
            },
            context: object.context.context()?,
            recipients: object.keys.recipients(ui)?,
        };
        let out = object.target(|input| Ok(with_suffix(input)))?;
        if object.is_tree() {
            let totals = tree::map(
                &object.input,
                &out,
                object.force,
                ui,
                with_suffix,
                |input, output, bar| sealing.seal(input, output, bar),
            )?;
            return totals.report(ui, "encrypted", &object.input, &out);
        }
        let (input, output) = (
            Input::open(&object.input)?,
            Output::create(&out, object.force)?,
        );
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
        let (from, len) = (input.path().to_owned(), input.len());
        let bytes = copy(len, (&mut input, &from), (&mut writer, &to), progress)?;
        writer.finish().map_err(failed)?.commit()?;
        Ok(bytes)
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("out")).to_owned();
    name.push(SUFFIX);
    path.with_file_name(name)
}
