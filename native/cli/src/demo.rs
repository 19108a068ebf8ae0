//! `stillkey demo`: the main job on a file of the user's, from an empty directory to its plaintext again.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;
use stillkey::clock::unix_now;
use stillkey::core::sealed::Options;
use stillkey::core::{EncryptionContext, MasterKey, Method, Reading};
use stillkey::{
    DataKeyManager, Dictionaries, EncryptedReader, Entries, Error, Native, SealedReader,
    SealedWriter,
};

use crate::body::{copy, open_regular};
use crate::failure::{Failure, Outcome, io};
use crate::ui::Ui;

/// Encrypt and decrypt a file both ways in a temporary directory, to see that it works
///
/// Makes a master key, an encryption directory beside it, puts the file in as a stored file and as a sealed object, reads both back and
/// compares. Nothing is left behind, and nothing of yours is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  stillkey demo README.md")]
pub(crate) struct Args {
    /// The file
    file: PathBuf,
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let name = "file";
        let len = self
            .open()?
            .metadata()
            .map_err(io(&self.file, "read the size of"))?
            .len();
        let scratch =
            tempfile::tempdir().map_err(io(Path::new("temporary directory"), "create"))?;
        let (vault, object) = (
            scratch.path().join("vault"),
            scratch.path().join("file.sealed"),
        );

        let master_key = MasterKey::Raw(stillkey::create_master_key_file(
            scratch.path().join("master.key"),
        )?);
        drop(Entries::create(
            &vault,
            &master_key,
            Method::Aes256Ctr,
            unix_now(),
        )?);
        self.say(
            ui,
            "made a master key, and an encryption directory beside it",
        )?;

        DataKeyManager::open(&vault, &master_key)?.write_file(name, &mut self.open()?, false)?;
        let mut dictionaries = Dictionaries::read(&vault, &master_key, Reading::Strict)?;
        let stored = vault.join(name);
        let (ciphertext, key) = dictionaries.open_file(name)?;
        self.compare(
            EncryptedReader::new(ciphertext, key.stream(&Native::detect())),
            &stored,
        )?;
        self.say(
            ui,
            &format!(
                "stored with aes256-ctr: {len} bytes, {}, and back: equal",
                self.differs(&stored)?
            ),
        )?;

        let keys = [master_key];
        self.seal(&object, &keys)?;
        let sealed_len = object
            .metadata()
            .map_err(io(&object, "read the size of"))?
            .len();
        let sealed = File::open(&object).map_err(io(&object, "open"))?;
        let reader = SealedReader::new(sealed, &keys, &EncryptionContext::new())
            .map_err(Error::carried(&object, "read"))?;
        self.compare(reader, &object)?;
        self.say(
            ui,
            &format!("sealed with aes256-gcm: {sealed_len} bytes, and back: equal"),
        )?;
        ui.result(
            "",
            &json!({ "file": self.file.to_string_lossy(), "bytes": len, "equal": true }),
        )
    }

    fn say(&self, ui: &Ui, step: &str) -> Outcome {
        ui.step(&format!("{}: {step}", self.file.display()))
    }

    fn open(&self) -> Outcome<File> {
        open_regular(&self.file)
    }

    fn seal(&self, object: &Path, keys: &[MasterKey]) -> Outcome {
        let failed = Error::carried(object, "write");
        let file = File::create_new(object).map_err(io(object, "create"))?;
        let mut writer =
            SealedWriter::new(file, &Options::default(), keys, &EncryptionContext::new())
                .map_err(&failed)?;
        copy(
            (&mut self.open()?, &self.file),
            (&mut writer, object),
            &indicatif::ProgressBar::hidden(),
        )?;
        writer.finish().map_err(failed)?;
        Ok(())
    }

    /// That `reader`, which decrypts the file at `path`, gives the original.
    fn compare(&self, reader: impl Read, path: &Path) -> Outcome {
        if self.is_equal(reader, path)? {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{}: what came back differs: did something write to the file meanwhile? Try again",
            self.file.display()
        )))
    }

    fn differs(&self, stored: &Path) -> Outcome<&'static str> {
        let ciphertext = File::open(stored).map_err(io(stored, "open"))?;
        Ok(if self.is_equal(ciphertext, stored)? {
            "nothing to hide in them"
        } else {
            "unlike the original"
        })
    }

    fn is_equal(&self, mut reader: impl Read, path: &Path) -> Outcome<bool> {
        let mut original = self.open()?;
        let (mut ours, mut theirs) = ([0; 16 << 10], Vec::new());
        loop {
            theirs.clear();
            let read = reader
                .read(&mut ours)
                .map_err(Error::carried(path, "read"))?;
            (&mut original)
                .take(read.max(1) as u64)
                .read_to_end(&mut theirs)
                .map_err(io(&self.file, "read"))?;
            if ours.get(..read) != Some(&theirs) || read == 0 {
                return Ok(read == 0 && theirs.is_empty());
            }
        }
    }
}
