//! Whole trees: every regular file goes through the same operation, into a tree of the same shape.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;
use stillkey::{Error, ErrorKind};
use walkdir::WalkDir;

use crate::body::{Input, Output};
use crate::failure::{Failure, Outcome, io};
use crate::keys::is_dash;
use crate::ui::Ui;

/// What was done to a tree.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    files: u64,
    bytes: u64,
}

impl Totals {
    pub(crate) fn report(&self, ui: &Ui, done: &str, from: &Path, to: &Path) -> Outcome {
        let Self { files, bytes } = self;
        let human = format!(
            "{}: {files} files, {bytes} bytes {done} from {}",
            to.display(),
            from.display()
        );
        ui.result(
            &human,
            &json!({ "output": to.to_string_lossy(), "files": files, "bytes": bytes }),
        )
    }
}

/// Runs `work` on every file below `from` into its place below `to`, whose file name `rename` decides.
///
/// Nothing is written before the whole tree is known to hold only directories and regular files: a link or device would be lost silently.
pub(crate) fn map(
    from: &Path,
    to: &Path,
    force: bool,
    ui: &Ui,
    rename: impl Fn(&Path) -> PathBuf,
    work: impl Fn(Input, Output, &ProgressBar) -> Outcome<u64>,
) -> Outcome<Totals> {
    refuse_bad_target(from, to, force)?;
    let mut entries = Vec::new();
    let mut len = 0;
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(from).to_owned();
            Failure::Error(Error::Io {
                path,
                action: "walk",
                source: error.into(),
            })
        })?;
        if entry.file_type().is_file() {
            len += entry
                .metadata()
                .map_err(|error| io(entry.path(), "read the size of")(error.into()))?
                .len();
        } else if !entry.file_type().is_dir() {
            let found = if entry.path_is_symlink() {
                "a symbolic link"
            } else {
                "a pipe, socket or device"
            };
            return Err(Failure::Said(
                ErrorKind::Io,
                format!(
                    "{}: {found}, but a tree can only hold directories and regular files; take it out of the tree, and give files that are \
                     linked by their own paths",
                    entry.path().display()
                ),
            ));
        }
        entries.push(entry);
    }

    let bar = ui.progress(Some(len));
    let mut totals = Totals::default();
    for entry in &entries {
        let relative = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let target = if relative.as_os_str().is_empty() {
            to.to_owned()
        } else {
            to.join(relative)
        };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).map_err(io(&target, "create"))?;
            continue;
        }
        bar.set_message(relative.display().to_string());
        totals.bytes += work(
            Input::open(entry.path())?,
            Output::create(&rename(&target), force)?,
            &bar,
        )?;
        totals.files += 1;
    }
    // A directory may be one that its owner can't write to; so its permissions come when it is full.
    for entry in entries
        .iter()
        .rev()
        .filter(|entry| entry.file_type().is_dir())
    {
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        let metadata = entry
            .metadata()
            .map_err(|error| io(entry.path(), "read the permissions of")(error.into()))?;
        fs::set_permissions(&target, metadata.permissions())
            .map_err(io(&target, "set the permissions of"))?;
    }
    bar.finish_and_clear();
    Ok(totals)
}

fn refuse_bad_target(from: &Path, to: &Path, force: bool) -> Outcome {
    if is_dash(to) {
        return Err(Failure::usage(format!(
            "{}: a tree can't go to standard output; give a directory with --out",
            from.display()
        )));
    }
    if to.exists() && !to.is_dir() {
        return Err(Failure::usage(format!(
            "{}: not a directory, which the output for a tree has to be; choose another --out",
            to.display()
        )));
    }
    let absolute = |path: &Path| {
        fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .map_err(io(path, "resolve"))
    };
    let parent = to
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let target = match to.exists() {
        true => absolute(to)?,
        false => absolute(parent)?.join(to.file_name().unwrap_or_default()),
    };
    if target.starts_with(absolute(from)?) {
        return Err(Failure::usage(format!(
            "{}: lies inside {}; choose a place outside of it",
            to.display(),
            from.display()
        )));
    }
    let occupied =
        to.symlink_metadata().is_ok() && fs::read_dir(to).map_err(io(to, "list"))?.next().is_some();
    if occupied && !force {
        return Err(Failure::already_exists(format!(
            "{}: is not empty; choose another --out, or overwrite files in it with --force",
            to.display()
        )));
    }
    Ok(())
}
