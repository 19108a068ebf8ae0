//! `stillkey decrypt-file`: the plaintext of one data file, wherever it is.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;
use stillkey::{EncryptedReader, FileKey, Native};

use crate::body::{Output, copy};
use crate::dictionaries::DictArgs;
use crate::failure::Outcome;
use crate::range::RangeArgs;
use crate::ui::Ui;

/// Decrypt a data file whose place on disk is not its name in the dictionary
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  stillkey decrypt-file --dict-dir dump --master-key file:master.key \\\n    \
    --name /var/lib/tikv/db/000042.sst --in dump/000042.sst --offset 4096 --length 64 | xxd"
)]
pub(crate) struct Args {
    #[command(flatten)]
    dictionaries: DictArgs,
    /// The file's name in the dictionary, spelled exactly as there
    #[arg(long)]
    name: String,
    /// The data file
    #[arg(long = "in", value_name = "CIPHERTEXT")]
    input: PathBuf,
    #[command(flatten)]
    part: PartArgs,
    /// Where to; - for standard output
    #[arg(long, short, value_name = "OUT", default_value = "-")]
    out: PathBuf,
    /// Overwrite what stands at OUT
    #[arg(long, short)]
    force: bool,
}

/// Which bytes of which file: shared by the commands that print data files.
#[derive(Debug, clap::Args)]
pub(crate) struct PartArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// For TiFlash: the name of the file within the group that the dictionary names
    #[arg(
        long,
        value_name = "FILE_NAME",
        default_value = "",
        hide_default_value = true
    )]
    tiflash_file_name: String,
}

impl PartArgs {
    /// The whole of a file that isn't in a TiFlash group.
    pub(crate) fn whole() -> Self {
        Self {
            range: RangeArgs::default(),
            tiflash_file_name: String::new(),
        }
    }

    /// Writes the plaintext of the data file `file`, which is at `path`, to `out`.
    pub(crate) fn decrypt(
        &self,
        key: &FileKey,
        file: File,
        path: &Path,
        out: &Path,
        force: bool,
        ui: &Ui,
    ) -> Outcome {
        let mut output = Output::create(out, force)?;
        let (to, stdout_is_data) = (output.path().to_owned(), output.is_stdout());
        let stream = key.tiflash_stream(&Native::detect(), &self.tiflash_file_name);
        let bar = ui.progress(file.metadata().ok().map(|metadata| metadata.len()));
        let mut reader = self
            .range
            .of(EncryptedReader::new(file, stream), path, ui)?;
        let bytes = copy((&mut reader, path), (&mut output, &to), &bar)?;
        output.commit()?;
        bar.finish_and_clear();
        let json = json!({ "output": out.to_string_lossy(), "method": key.info().method.to_string(), "bytes": bytes });
        ui.summary(
            stdout_is_data,
            &format!("{}: {bytes} bytes decrypted", out.display()),
            &json,
        )
    }
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let mut dictionaries = self.dictionaries.read(ui)?;
        let (file, key) = dictionaries.open_file_at(&self.name, &self.input)?;
        self.part
            .decrypt(&key, file, &self.input, &self.out, self.force, ui)
    }
}
