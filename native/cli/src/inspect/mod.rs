//! `stillkey inspect`: what dictionaries and sealed objects hold, as far as it can be told.

mod file_dict;
mod key_dict;
mod sealed;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::Value;
use stillkey::core::Reading;
use stillkey::core::sealed::Header;
use stillkey::{Error, ErrorKind};
use zeroize::Zeroizing;

use crate::body::open_regular;
use crate::failure::{Failure, Outcome, error_json, io};
use crate::keys::KeyArgs;
use crate::ui::Ui;

/// Show what a key.dict, a file.dict, a sealed object or a directory of dictionaries holds
///
/// Nothing is changed. Without a master key that fits, a key dictionary's sealing is described and the dictionary stays closed. Keys are
/// shown only with --danger-show-keys, and then exit status 8 says that none could be. What a key service wrapped is shown in Base64, for
/// the service's own tools.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey inspect --master-key file:master.key /var/lib/tikv\n  \
    stillkey inspect --records file.dict\n  stillkey inspect --json report.pdf.sealed"
)]
pub(crate) struct Args {
    /// key.dict, file.dict, sealed object, or a directory with dictionaries
    #[arg(value_name = "PATH", required_unless_present = "config")]
    path: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    /// List every record of a file dictionary's log
    #[arg(long)]
    records: bool,
    /// How to read what no checksum proves: strict tells damage from a torn append, tikv believes it as TiKV does
    #[arg(long, value_enum, default_value_t = ReadingArg::Strict)]
    reading: ReadingArg,
    /// Show data keys in hexadecimal. Whoever sees one can read the files that use it
    #[arg(long)]
    danger_show_keys: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReadingArg {
    Strict,
    Tikv,
}

impl From<ReadingArg> for Reading {
    fn from(reading: ReadingArg) -> Self {
        match reading {
            ReadingArg::Strict => Self::Strict,
            ReadingArg::Tikv => Self::Tikv,
        }
    }
}

/// What has been found so far, for both kinds of reader.
#[derive(Default)]
struct Findings {
    /// Which of the two will be printed: a dictionary can have millions of entries, so the other isn't made.
    for_scripts: bool,
    json: Vec<(&'static str, Json)>,
    human: Vec<String>,
    /// The first thing that is wrong; the rest is shown nevertheless.
    wrong: Option<ErrorKind>,
}

/// What has been found in one place.
enum Json {
    Tree(Value),
    FileDict(Box<file_dict::Found>),
}

impl Findings {
    fn add(&mut self, name: &'static str, json: Json, human: String) {
        self.json.push((name, json));
        self.human.push(human);
    }

    fn add_error(&mut self, name: &'static str, error: &Error) {
        self.wrong.get_or_insert(error.kind());
        let json = serde_json::json!({ "error": error_json(error) });
        self.add(name, Json::Tree(json), error.to_string());
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.json.iter().map(|(name, json)| (name, json)))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Tree(json) => json.serialize(serializer),
            Self::FileDict(found) => found.serialize(serializer),
        }
    }
}

#[derive(Debug)]
enum Kind {
    KeyDict,
    FileDict,
    Sealed,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let path = match (&self.path, self.keys.config()?) {
            (Some(path), _) => path.clone(),
            (None, config) => config.and_then(|config| config.data_dir).ok_or_else(|| {
                Failure::usage(
                    "the configuration has no storage.data-dir; give the directory's PATH",
                )
            })?,
        };
        let mut findings = Findings {
            for_scripts: ui.is_json(),
            ..Findings::default()
        };
        if fs::metadata(&path).map_err(io(&path, "open"))?.is_dir() {
            self.inspect_directory(&path, ui, &mut findings)?;
        } else {
            let bytes = read(&path)?;
            match kind(&path, &bytes) {
                Kind::KeyDict => self.inspect_key_dict(&path, &bytes, ui, &mut findings)?,
                Kind::FileDict => self.inspect_file_dict(&path, bytes, &mut findings)?,
                Kind::Sealed => sealed::inspect(&path, &bytes, &mut findings)?,
            }
        }
        ui.result(&findings.human.join("\n\n"), &findings)?;
        findings
            .wrong
            .map_or(Ok(()), |kind| Err(Failure::Found(kind)))
    }

    /// Shows one dictionary even if the other can't be read.
    fn inspect_directory(&self, directory: &Path, ui: &Ui, findings: &mut Findings) -> Outcome {
        let (key_dict, file_dict) = (directory.join("key.dict"), directory.join("file.dict"));
        if !key_dict.exists() && !file_dict.exists() {
            return Err(Error::NoDictionaries {
                path: directory.to_owned(),
            }
            .into());
        }
        for (name, path) in [("key_dict", &key_dict), ("file_dict", &file_dict)] {
            let inspected = read(path).and_then(|bytes| match name {
                "key_dict" => self.inspect_key_dict(path, &bytes, ui, findings),
                _ => self.inspect_file_dict(path, bytes, findings),
            });
            match inspected {
                Err(Failure::Error(error)) if error.kind() != ErrorKind::KeySource => {
                    findings.add_error(name, &error)
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn inspect_key_dict(
        &self,
        path: &Path,
        bytes: &[u8],
        ui: &Ui,
        findings: &mut Findings,
    ) -> Outcome {
        let master_keys = self.keys.named_or_default(ui)?;
        key_dict::inspect(path, bytes, master_keys, self.danger_show_keys, findings)
    }

    fn inspect_file_dict(
        &self,
        path: &Path,
        bytes: Zeroizing<Vec<u8>>,
        findings: &mut Findings,
    ) -> Outcome {
        file_dict::inspect(path, bytes, self.reading.into(), self.records, findings)
    }
}

/// Reads a dictionary, or of anything else only what a header can have.
fn read(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    const LONGEST_HEADER: u64 = 2 << 20;
    let mut file = open_regular(path)?;
    // A key.dict that is sealed with nothing holds keys; room for all of it, so that reading leaves no copy behind.
    let len = file.metadata().map_err(io(path, "read the size of"))?.len();
    let room = usize::try_from(len.min(LONGEST_HEADER)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    (&mut file)
        .take(LONGEST_HEADER)
        .read_to_end(&mut bytes)
        .map_err(io(path, "read"))?;
    if matches!(kind(path, &bytes), Kind::KeyDict | Kind::FileDict) {
        file.read_to_end(&mut bytes).map_err(io(path, "read"))?;
    }
    Ok(bytes)
}

/// Sealed objects are known by their first bytes; dictionaries by name, or else by their version byte.
fn kind(path: &Path, bytes: &[u8]) -> Kind {
    let not_sealed = stillkey::core::error::Unsupported::NotSealed;
    let sealed = Header::len_of(bytes).err() != Some(not_sealed.into()) && !bytes.is_empty();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match bytes.first() {
        _ if sealed => Kind::Sealed,
        _ if name.ends_with("key.dict") => Kind::KeyDict,
        _ if name.ends_with("file.dict") => Kind::FileDict,
        Some(1) => Kind::KeyDict,
        Some(2) => Kind::FileDict,
        _ => Kind::Sealed,
    }
}
