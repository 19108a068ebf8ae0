//! `stillkey store`: named files over a dictionary directory.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stillkey::Error;

use crate::body::Input;
use crate::decrypt_file::PartArgs;
use crate::dictionaries::PlaceArgs;
use crate::failure::{Failure, Outcome, error_json, io};
use crate::in_use::WriterArgs;
use crate::ui::Ui;

/// Put, get, list, remove and rename files in a dictionary directory
///
/// Names are relative to the directory. Files of TiKV's, whose names are absolute, can be read, but not changed. Reserved are key.dict,
/// file.dict and what stands beside them, names that end in .stillkey-new or .stillkey-old, and those of temporary files, such as
/// .NAME.RANDOM.tmp.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey store -d vault put report.pdf\n  stillkey store -d vault cat report.pdf --offset 0 --length 16\n  \
    stillkey store --config tikv.toml ls"
)]
pub(crate) struct Args {
    #[command(flatten)]
    writer: WriterArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Encrypt a file into the store
    Put {
        /// The file; - for standard input
        file: PathBuf,
        /// Its name in the store; without it, its file name
        #[arg(required_if_eq("file", "-"))]
        name: Option<String>,
        /// Replace a file of that name
        #[arg(long, short)]
        force: bool,
    },
    /// Decrypt a file out of the store
    Get {
        /// Its name in the store
        name: String,
        /// Where to; - for standard output. Without it, its file name in the working directory
        #[arg(long, short, value_name = "OUT")]
        out: Option<PathBuf>,
        /// Overwrite what stands at OUT
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Print a file, or a part of it
    Cat {
        /// Its name in the store
        name: String,
        #[command(flatten)]
        part: PartArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// List the files
    Ls {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove files
    ///
    /// If one can't be removed, the others are nevertheless, and a message says which and why.
    Rm {
        /// Their names in the store
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Rename a file
    Mv {
        /// Its name
        from: String,
        /// Its new name
        to: String,
    },
}

/// A reader that remembers what the system refused: the store knows what it couldn't read, but not where that is.
struct Watched<R> {
    reader: R,
    refused: Option<i32>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer);
        self.refused = read.as_ref().err().and_then(std::io::Error::raw_os_error);
        read
    }
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        match &self.action {
            Action::Put { file, name, force } => self.put(file, name.as_deref(), *force, ui),
            Action::Get {
                name,
                out,
                force,
                place,
            } => {
                let out = match out {
                    Some(out) => out.clone(),
                    None => Path::new(name)
                        .file_name()
                        .ok_or_else(|| {
                            Failure::usage("the name has no file name; say where to with --out")
                        })?
                        .into(),
                };
                self.decrypt(name, &PartArgs::whole(), place, &out, *force, ui)
            }
            Action::Cat { name, part, place } => {
                self.decrypt(name, part, place, Path::new("-"), false, ui)
            }
            Action::Ls { place } => self.list(place, ui),
            Action::Rm { names } => self.remove(names, ui),
            Action::Mv { from, to } => {
                let store = self.writer.manager(ui)?;
                if let Some(directory) = Path::new(to).parent()
                    && directory != Path::new("")
                {
                    store.create_directory(directory)?;
                }
                store.rename_file(from, to)?;
                ui.result(
                    &format!("{from} is now {to}"),
                    &json!({ "from": from, "to": to }),
                )
            }
        }
    }

    fn put(&self, file: &Path, name: Option<&str>, force: bool, ui: &Ui) -> Outcome {
        let name = match name {
            Some(name) => name,
            None => file
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "{}: no file name in UTF-8; give the file a NAME in the store",
                        file.display()
                    ))
                })?,
        };
        let store = self.writer.manager(ui)?;
        let input = Input::open(file)?;
        let bar = ui.progress(input.len());
        let path = input.path().to_owned();
        let mut input = Watched {
            reader: bar.wrap_read(input),
            refused: None,
        };
        let put = store.write_file(name, &mut input, force);
        let bytes = put.map_err(|error| match (error, input.refused) {
            (Error::AlreadyExists { .. } | Error::NameTaken { .. }, _) => {
                Failure::already_exists(format!(
                    "{name}: is in the store already; choose another name, or replace it with --force"
                ))
            }
            (Error::Io { .. }, Some(code)) => {
                io(&path, "read")(std::io::Error::from_raw_os_error(code))
            }
            (error, _) => error.into(),
        })?;
        bar.finish_and_clear();
        ui.result(
            &format!("{name}: {bytes} bytes encrypted"),
            &json!({ "name": name, "bytes": bytes }),
        )
    }

    /// Removes what can be removed, and says of each of the others why not.
    fn remove(&self, names: &[String], ui: &Ui) -> Outcome {
        let store = self.writer.manager(ui)?;
        let (mut removed, mut failed, mut first) = (Vec::new(), Vec::new(), None);
        for name in names {
            let Err(error) = store.delete_file(name) else {
                removed.push(&**name);
                continue;
            };
            failed.push(json!({ "name": name, "error": error_json(&error) }));
            first.get_or_insert(error.kind());
            ui.failed(&error.into());
        }
        let human = match &*removed {
            [] => String::new(),
            removed => format!("{} removed", removed.join(", ")),
        };
        ui.result(&human, &json!({ "removed": removed, "failed": failed }))?;
        first.map_or(Ok(()), |kind| Err(Failure::Found(kind)))
    }

    fn decrypt(
        &self,
        name: &str,
        part: &PartArgs,
        place: &PlaceArgs,
        out: &Path,
        force: bool,
        ui: &Ui,
    ) -> Outcome {
        let mut dictionaries = self.writer.dictionaries.read(ui)?;
        let path = place.path(dictionaries.directory(), name);
        let (file, key) = place.open(&mut dictionaries, name)?;
        part.decrypt(&key, file, &path, out, force, ui)
    }

    fn list(&self, place: &PlaceArgs, ui: &Ui) -> Outcome {
        let dictionaries = self.writer.dictionaries.read(ui)?;
        let (mut human, mut files) = (Vec::new(), Vec::<Value>::new());
        for (name, info) in dictionaries.files()?.iter() {
            let len = place
                .path(dictionaries.directory(), name)
                .metadata()
                .ok()
                .map(|metadata| metadata.len());
            // There can be millions, so only what will be printed is made.
            if ui.is_json() {
                files.push(json!({ "name": name, "method": info.method.to_string(), "key_id": info.key_id.to_string(), "size": len }));
            } else {
                let shown = len.map_or_else(|| "no file".into(), |len| len.to_string());
                human.push(format!(
                    "{shown:>12}  {:<10}  {}",
                    info.method.to_string(),
                    name.escape_debug()
                ));
            }
        }
        ui.result(&human.join("\n"), &json!({ "files": files }))
    }
}
