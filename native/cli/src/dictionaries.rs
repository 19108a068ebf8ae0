//! The dictionary directory that a command works on, and the keys to it.

use std::fs::File;
use std::path::{Path, PathBuf};

use stillkey::core::{MasterKey, Reading};
use stillkey::{Dictionaries, Error, ErrorKind, FileKey, data_path};

use crate::failure::{Failure, Outcome};
use crate::keys::KeyArgs;
use crate::ui::Ui;

/// Options for commands over a dictionary directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DictArgs {
    /// Directory with key.dict and file.dict; without it, storage.data-dir of --config
    #[arg(long, short, value_name = "DIR", global = true)]
    dict_dir: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
}

impl DictArgs {
    /// For commands that take the directory as an argument as well.
    pub(crate) fn or_in(mut self, directory: Option<PathBuf>) -> Outcome<Self> {
        if directory.is_some() && self.dict_dir.is_some() {
            return Err(Failure::usage(
                "which directory? give either DIR or --dict-dir, not both",
            ));
        }
        self.dict_dir = directory.or(self.dict_dir);
        Ok(self)
    }

    pub(crate) fn directory(&self) -> Outcome<PathBuf> {
        if let Some(directory) = &self.dict_dir {
            return Ok(directory.clone());
        }
        self.keys
            .config()?
            .and_then(|config| config.data_dir)
            .ok_or_else(|| {
                Failure::usage(
                    "which dictionaries? give --dict-dir DIR, or a --config with storage.data-dir",
                )
            })
    }

    /// The master keys that were named; none when none was.
    pub(crate) fn named_keys(&self, ui: &Ui) -> Outcome<Vec<MasterKey>> {
        self.keys.named(ui)
    }

    /// Reads the dictionaries, without a lock.
    pub(crate) fn read(&self, ui: &Ui) -> Outcome<Dictionaries> {
        let directory = self.directory()?;
        self.open(ui, |master_key| {
            Dictionaries::read(&directory, master_key, Reading::Strict)
        })
    }

    /// Runs `open` with the first master key that fits: only a wrong key makes the next one be tried.
    pub(crate) fn open<T>(
        &self,
        ui: &Ui,
        open: impl Fn(&MasterKey) -> Result<T, Error>,
    ) -> Outcome<T> {
        first_that_fits(&self.keys.load(ui)?, open)
    }
}

pub(crate) fn first_that_fits<T>(
    master_keys: &[MasterKey],
    open: impl Fn(&MasterKey) -> Result<T, Error>,
) -> Outcome<T> {
    let mut wrong = None;
    for master_key in master_keys {
        match open(master_key) {
            Err(error) if error.kind() == ErrorKind::WrongKey => drop(wrong.get_or_insert(error)),
            done => return Ok(done?),
        }
    }
    Err(wrong.map_or_else(
        || Failure::usage("no master key was given; name one with --master-key"),
        Failure::Error,
    ))
}

/// Where data files are that are not where their names say.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Look for files whose names start with FROM below TO, for directories that were copied elsewhere; a whole name stands for one
    /// file. May be repeated
    #[arg(long = "map", value_name = "FROM=TO", value_parser = prefix)]
    maps: Vec<(String, PathBuf)>,
}

impl PlaceArgs {
    pub(crate) fn path(&self, directory: &Path, name: &str) -> PathBuf {
        self.mapped(name)
            .unwrap_or_else(|| data_path(directory, name))
    }

    /// Opens a file with its key, next to whoever writes in the directory.
    pub(crate) fn open(
        &self,
        dictionaries: &mut Dictionaries,
        name: &str,
    ) -> Result<(File, FileKey), Error> {
        match self.mapped(name) {
            Some(path) => dictionaries.open_file_at(name, path),
            None => dictionaries.open_file(name),
        }
    }

    fn mapped(&self, name: &str) -> Option<PathBuf> {
        let mut maps = self.maps.iter();
        let (rest, to) =
            maps.find_map(|(from, to)| Some((name.strip_prefix(from.as_str())?, to)))?;
        Some(match rest.trim_start_matches('/') {
            // The whole name was mapped; joining nothing would make it a directory.
            "" => to.clone(),
            rest => to.join(rest),
        })
    }
}

fn prefix(map: &str) -> Result<(String, PathBuf), String> {
    let (from, to) = map.split_once('=').ok_or("expected FROM=TO")?;
    Ok((from.into(), to.into()))
}
