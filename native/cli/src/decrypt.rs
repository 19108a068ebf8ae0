//! `stillkey decrypt`: the plaintext of sealed objects.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;
use stillkey::core::{EncryptionContext, MasterKey};
use stillkey::{Error, SealedFile, SealedReader};

use crate::ahead::copy;
use crate::body::{self, Input, Output};
use crate::failure::{Failure, Outcome};
use crate::object::{ExpectArgs, ObjectArgs, SUFFIX};
use crate::range::RangeArgs;
use crate::tree;
use crate::ui::Ui;

/// Decrypt a sealed object, a tree of them, or standard input
///
/// With --out -, plaintext is printed as it is authenticated, piece by piece: believe it only when the exit status is 0.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey decrypt report.pdf.sealed\n  \
    stillkey decrypt src.tar.sealed --context purpose=backup --out - | tar t\n  \
    stillkey decrypt db.img.sealed --offset 4096 --length 512 --out - | xxd"
)]
pub(crate) struct Args {
    #[command(flatten)]
    object: ObjectArgs,
    #[command(flatten)]
    expect: ExpectArgs,
    #[command(flatten)]
    range: RangeArgs,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let object = self.object;
        object.threads.start()?;
        let opening = Opening {
            expect: self.expect,
            master_keys: object.keys.load(ui)?,
            context: object.context.context()?,
        };
        let out = object.target(without_suffix)?;
        if object.is_tree() {
            if self.range.is_part() {
                return Err(Failure::usage(
                    "--offset and --length take a part of one file, not of a tree; name the file",
                ));
            }
            let name = |path: &Path| without_suffix(path).unwrap_or_else(|_| path.to_owned());
            let totals = tree::map(
                &object.input,
                &out,
                object.force,
                ui,
                name,
                |input, output, bar| opening.open(input, output, bar),
            )?;
            return totals.report(ui, "decrypted", &object.input, &out);
        }
        let (input, output) = (
            Input::open(&object.input)?,
            Output::create(&out, object.force)?,
        );
        let stdout_is_data = output.is_stdout();
        let bar = ui.progress(input.len());
        let bytes = match self.range.is_part() {
            true => opening.open_part(input, output, &self.range, &bar, ui)?,
            false => opening.open(input, output, &bar)?,
        };
        bar.finish_and_clear();
        let json = json!({ "output": out.to_string_lossy(), "bytes": bytes });
        ui.summary(
            stdout_is_data,
            &format!("{}: {bytes} bytes decrypted", out.display()),
            &json,
        )
    }
}

struct Opening {
    expect: ExpectArgs,
    master_keys: Vec<MasterKey>,
    context: EncryptionContext,
}

impl Opening {
    fn open(&self, input: Input, mut output: Output, progress: &ProgressBar) -> Outcome<u64> {
        output.take_permissions_from(&input)?;
        let (from, to) = (input.path().to_owned(), output.path().to_owned());
        let len = input.len();
        let mut reader = SealedReader::new(input, &self.master_keys, &self.context)
            .map_err(Error::carried(&from, "read"))?;
        self.expect.check(reader.header().suite(), &from)?;
        let bytes = copy(len, (&mut reader, &from), (&mut output, &to), progress)?;
        output.commit()?;
        Ok(bytes)
    }

    fn open_part(
        &self,
        input: Input,
        mut output: Output,
        range: &RangeArgs,
        progress: &ProgressBar,
        ui: &Ui,
    ) -> Outcome<u64> {
        let Input::File(from, file) = input else {
            return Err(Failure::usage(
                "--offset and --length need a file that can seek, not standard input; name the file",
            ));
        };
        let to = output.path().to_owned();
        let sealed = SealedFile::new(file, &self.master_keys, &self.context)
            .map_err(Error::carried(&from, "read"))?;
        self.expect.check(sealed.header().suite(), &from)?;
        let bytes = body::copy(
            (&mut range.of(sealed, &from, ui)?, &from),
            (&mut output, &to),
            progress,
        )?;
        output.commit()?;
        Ok(bytes)
    }
}

fn without_suffix(path: &Path) -> Outcome<PathBuf> {
    path.file_name()
        .and_then(|name| name.as_bytes().strip_suffix(SUFFIX.as_bytes()))
        .filter(|name| !name.is_empty())
        .map(|name| path.with_file_name(OsStr::from_bytes(name)))
        .ok_or_else(|| {
            Failure::usage(format!(
                "{}: the name doesn't end in {SUFFIX}; say where to with --out",
                path.display()
            ))
        })
}
