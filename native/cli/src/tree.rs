//! Whole trees: every regular file goes through the same operation, into a tree of the same shape.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use serde_json::json;
use stillkey::{Error, ErrorKind, parallel};
use walkdir::{DirEntry, WalkDir};

use crate::body::{Input, Output, plain_permissions};
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
    work: impl Fn(Input, Output, &ProgressBar) -> Outcome<u64> + Sync,
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
                source: std::io::Error::from(error).into(),
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

    let targets = targets(&entries, from, to, rename)?;

    let bar = ui.progress(Some(len));
    let (mut made, mut files) = (Vec::new(), Vec::new());
    let mut unmade = Ok(());
    for (entry, target) in entries.iter().zip(&targets) {
        if !entry.file_type().is_dir() {
            files.push((entry, target));
        } else if !target.is_dir() {
            unmade = make_directory(target);
            if unmade.is_err() {
                break;
            }
            made.push((entry, target));
        }
    }
    let totals = each(&files, |(entry, target)| {
        let relative = entry.path().strip_prefix(from).unwrap_or(entry.path());
        bar.set_message(relative.display().to_string());
        work(
            Input::open(entry.path())?,
            Output::create(target, force)?,
            &bar,
        )
    })?;
    unmade?;
    // A directory may be one that its owner can't write to; so its permissions come when it is full.
    for (entry, target) in made.into_iter().rev() {
        let metadata = entry
            .metadata()
            .map_err(|error| io(entry.path(), "read the permissions of")(error.into()))?;
        fs::set_permissions(target, plain_permissions(&metadata))
            .map_err(io(target, "set the permissions of"))?;
    }
    bar.finish_and_clear();
    Ok(totals)
}

/// Until it gets the permissions of its original, nobody else looks in.
fn make_directory(target: &Path) -> Outcome {
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder.create(target).map_err(io(target, "create"))
}

/// Runs `work` on every file, some at the same time. It fails with the first that fails in the order of `files`; all before that one are
/// done then, and some behind it may be.
///
/// The threads are not those of the pool: they wait for the disk, and one that waits there is not to begin yet another file meanwhile.
fn each<T: Sync>(files: &[T], work: impl Fn(&T) -> Outcome<u64> + Sync) -> Outcome<Totals> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<(usize, Failure)>> = Mutex::default();
    let first_failure = || failed.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        // In order, so that whatever fails, all before it has begun.
        while first_failure().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(number) else {
                return;
            };
            match work(file) {
                Ok(len) => {
                    bytes.fetch_add(len, Ordering::Relaxed);
                }
                Err(failure) => {
                    let mut first = first_failure();
                    if first.as_ref().is_none_or(|(other, _)| number < *other) {
                        *first = Some((number, failure));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        // One that can't be started is done without.
        for _ in 1..parallel::threads().min(files.len()) {
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, failure)) => Err(failure),
        None => Ok(Totals {
            files: files.len() as u64,
            bytes: bytes.into_inner(),
        }),
    }
}

/// Where each entry goes. Two that would go to the same place, as `a` and `a.sealed` do when they are decrypted, are refused: `force`
/// is about what stood there before, and not about losing one of the two.
fn targets(
    entries: &[DirEntry],
    from: &Path,
    to: &Path,
    rename: impl Fn(&Path) -> PathBuf,
) -> Outcome<Vec<PathBuf>> {
    let mut taken = HashMap::new();
    let mut targets = Vec::with_capacity(entries.len());
    for entry in entries {
        let relative = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let place = match relative.as_os_str().is_empty() {
            true => to.to_owned(),
            false => to.join(relative),
        };
        let target = match entry.file_type().is_dir() {
            true => place,
            false => rename(&place),
        };
        if let Some(other) = taken.insert(target.clone(), entry.path()) {
            return Err(Failure::usage(format!(
                "{} and {}: both would become {}; rename one of them",
                other.display(),
                entry.path().display(),
                target.display()
            )));
        }
        targets.push(target);
    }
    Ok(targets)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// Runs `map` with a copy that takes every name's ending off.
    fn copied(from: &Path, to: &Path, force: bool) -> Outcome<Totals> {
        let rename = |path: &Path| path.with_extension("");
        map(
            from,
            to,
            force,
            &Ui::default(),
            rename,
            |mut input, mut output, _| {
                let copied = std::io::copy(&mut input, &mut output).unwrap();
                output.commit()?;
                Ok(copied)
            },
        )
    }

    #[test]
    fn two_files_that_would_become_one_are_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        for name in ["a", "a.sealed"] {
            fs::write(from.join(name), name).unwrap();
        }
        for force in [false, true] {
            assert!(copied(&from, &to, force).is_err(), "{force}");
            assert!(!to.exists());
        }
    }

    #[test]
    fn the_first_failure_by_order_counts_and_everything_before_it_is_done() {
        let files: Vec<u64> = (0..50).collect();
        let done = Mutex::new(Vec::new());
        let failure = each(&files, |file| {
            match file {
                // The later one fails first.
                20 => std::thread::sleep(std::time::Duration::from_millis(50)),
                21 => {}
                file => {
                    done.lock().unwrap().push(*file);
                    return Ok(1);
                }
            }
            Err(Failure::usage(file.to_string()))
        });
        let failure = format!("{:?}", failure.unwrap_err());
        assert!(failure.contains("20"), "{failure}");
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done[..20], files[..20]);

        let totals = each(&files, |file| Ok(*file)).unwrap();
        assert_eq!((totals.files, totals.bytes), (50, 49 * 25));
    }

    #[test]
    fn directories_that_were_there_keep_their_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("new")).unwrap();
        fs::create_dir(&to).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&from, 0o755);
        set(&from.join("new"), 0o2751);
        set(&to, 0o700);
        copied(&from, &to, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&to), mode(&to.join("new"))), (0o700, 0o751));
    }
}
