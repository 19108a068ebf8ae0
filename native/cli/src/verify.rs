//! `stillkey verify`: whether a dictionary directory holds together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use stillkey::core::Verdict;
use stillkey::{Dictionaries, ErrorKind, is_dictionary_file, is_leftover, is_unfinished};
use walkdir::WalkDir;

use crate::dictionaries::{DictArgs, PlaceArgs};
use crate::failure::{Failure, Outcome, io};
use crate::ui::Ui;

/// Check that every file has its key, every entry its file, and nothing is left over
///
/// Nothing is changed. Counter mode has no integrity, so the files' content can't be checked. Exit status 4 for damage, 5 for entries
/// without a file; files without an entry and left-over temporary files are reported and harmless to the dictionaries.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  stillkey verify -d vault\n  stillkey verify --config tikv.toml --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    dictionaries: DictArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What was found, by kind. Each item is a line for people.
#[derive(Default)]
struct Report {
    files: u64,
    bytes: u64,
    plaintext: u64,
    unusable: Vec<String>,
    without_file: Vec<String>,
    without_entry: Vec<String>,
    leftovers: Vec<String>,
}

impl Report {
    /// What to do about it.
    fn next(&self, directory: &Path) -> Vec<String> {
        let mut next = Vec::new();
        let mut add = |found: &[String], step: String| {
            if !found.is_empty() {
                next.push(step);
            }
        };
        let directory = directory.display();
        add(
            &self.unusable,
            format!(
                "restore {directory}/key.dict and file.dict together from one backup; a data key that was put aside comes back with \
                 'stillkey keys restore {directory}'"
            ),
        );
        add(
            &self.without_file,
            format!(
                "restore the missing files from a backup, or remove their entries with 'stillkey reconcile {directory}'"
            ),
        );
        add(
            &self.without_entry,
            "leave files without an entry alone until it is known what they are: if they are encrypted, a backup of file.dict may \
             have their entries"
                .into(),
        );
        let (replaced, temporary): (Vec<_>, Vec<_>) = self
            .leftovers
            .iter()
            .cloned()
            .partition(|name| is_unfinished(name));
        add(
            &replaced,
            format!("finish or undo interrupted replacements with 'stillkey repair {directory}'"),
        );
        add(
            &temporary,
            "temporary files may be removed while nothing is writing".into(),
        );
        next
    }
}

impl Args {
    pub(crate) fn run(self, ui: &Ui) -> Outcome {
        let mut dictionaries = self.dictionaries.read(ui)?;
        let mut report = Report::default();
        self.check_entries(&dictionaries, &mut report)?;
        self.look_again(&mut dictionaries, &mut report)?;
        self.check_directory(&dictionaries, &mut report)?;
        let torn = match dictionaries.recovered().verdict {
            Verdict::TornTail { at, dropped } => Some((at, dropped)),
            _ => None,
        };
        if let Err(error) = dictionaries.keys().current() {
            report.unusable.push(error.to_string());
        }

        let Report {
            files,
            bytes,
            plaintext,
            ..
        } = report;
        let mut human = vec![format!(
            "{}: {} data keys, {files} files, {bytes} bytes, {plaintext} of the files in plaintext",
            dictionaries.directory().display(),
            dictionaries.keys().len()
        )];
        human.extend(torn.map(|(at, dropped)| {
            format!(
                "torn tail: {dropped} bytes at byte {at} of file.dict; the next writer trims them"
            )
        }));
        let quoted = report.without_file.iter().map(|name| format!("{name:?}"));
        for (kind, items) in [
            ("unusable", &report.unusable),
            ("entry without file", &quoted.collect()),
            ("file without entry", &report.without_entry),
            ("left over", &report.leftovers),
        ] {
            human.extend(items.iter().map(|item| format!("{kind}: {item}")));
        }
        let wrong = match (report.unusable.is_empty(), report.without_file.is_empty()) {
            (false, _) => Some(ErrorKind::Damaged),
            (true, false) => Some(ErrorKind::NotFound),
            (true, true) => None,
        };
        let next = report.next(dictionaries.directory());
        human.extend(next.iter().map(|step| format!("next: {step}")));
        human.push(
            if wrong.is_some() {
                "not consistent: see above"
            } else {
                "consistent"
            }
            .into(),
        );
        let json = json!({
            "consistent": wrong.is_none(),
            "keys": dictionaries.keys().len(),
            "files": files,
            "bytes": bytes,
            "plaintext_files": plaintext,
            "torn_tail_at": torn.map(|(at, _)| at),
            "unusable": report.unusable,
            "entries_without_file": report.without_file,
            "files_without_entry": report.without_entry,
            "leftovers": report.leftovers,
            "next": next,
        });
        ui.result(&human.join("\n"), &json)?;
        wrong.map_or(Ok(()), |kind| Err(Failure::Found(kind)))
    }

    fn check_entries(&self, dictionaries: &Dictionaries, report: &mut Report) -> Outcome {
        for (name, _) in dictionaries.files()?.iter() {
            if is_unfinished(name) {
                report.leftovers.push(name.to_owned());
                continue;
            }
            match dictionaries.file(name) {
                Ok(key) => report.plaintext += u64::from(key.data_key().is_none()),
                Err(error) => report.unusable.push(format!("{name:?}: {error}")),
            }
            let path = self.place.path(dictionaries.directory(), name);
            match path.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    report.files += 1;
                    report.bytes += metadata.len();
                }
                // That a file can't be looked at doesn't say that it is gone.
                Err(error) if !is_absence(&error) => return Err(io(&path, "inspect")(error)),
                _ => report.without_file.push(name.to_owned()),
            }
        }
        Ok(())
    }

    /// A file that wasn't there may have been replaced, renamed or removed at that moment, or an interruption has left it under another name.
    fn look_again(&self, dictionaries: &mut Dictionaries, report: &mut Report) -> Outcome {
        let mut missing = std::mem::take(&mut report.without_file);
        for name in missing.drain(..) {
            match self.place.open(dictionaries, &name) {
                Ok((file, _)) => {
                    report.files += 1;
                    report.bytes += file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
                }
                Err(_) if dictionaries.files()?.find(&name).is_none() => {}
                Err(_) => report.without_file.push(name),
            }
        }
        Ok(())
    }

    /// Files below the directory that no entry is about.
    fn check_directory(&self, dictionaries: &Dictionaries, report: &mut Report) -> Outcome {
        let directory = dictionaries.directory();
        let normal = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let known: HashSet<PathBuf> = dictionaries
            .files()?
            .iter()
            .map(|(name, _)| normal(&self.place.path(directory, name)))
            .collect();
        for entry in WalkDir::new(directory).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(directory).to_owned();
                io(&path, "list")(error.into())
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            let name = entry.file_name().to_string_lossy();
            let relative = entry
                .path()
                .strip_prefix(directory)
                .unwrap_or(entry.path())
                .display()
                .to_string();
            if is_leftover(&name) {
                report.leftovers.push(relative);
            } else if !is_dictionary_file(&relative) && !known.contains(&normal(entry.path())) {
                report.without_entry.push(relative);
            }
        }
        Ok(())
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}
