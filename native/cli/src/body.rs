//! Moving bytes: inputs, outputs and what happens to them on the way.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use stillkey::{AtomicFile, Error};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome, STDOUT, io};
use crate::keys::is_dash;

/// Bytes that are moved at a time.
const PIECE: usize = 256 << 10;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Input {
    Stdin,
    File(PathBuf, File),
}

impl Input {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        if is_dash(path) {
            return Ok(Self::Stdin);
        }
        Ok(Self::File(path.to_owned(), open_stream(path)?))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Stdin => Path::new("standard input"),
            Self::File(path, _) => path,
        }
    }

    /// Length in bytes, if it is a regular file.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(_, file) => file
                .metadata()
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|metadata| metadata.len()),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stdin => io::stdin().read(buffer),
            Self::File(_, file) => file.read(buffer),
        }
    }
}

/// Opens something that can be read from its beginning to its end: a file, a pipe or a device.
pub(crate) fn open_stream(path: &Path) -> Outcome<File> {
    let kind = fs::metadata(path).map_err(io(path, "open"))?.file_type();
    if kind.is_dir() {
        return Err(not_a_file(path, "a directory"));
    }
    if kind.is_socket() {
        return Err(not_a_file(path, "a socket"));
    }
    File::open(path).map_err(io(path, "open"))
}

/// Opens a regular file, which can be read more than once or in parts. Links are followed. Nothing else is even opened: a pipe would wait
/// for its other end, and a device may have no end.
pub(crate) fn open_regular(path: &Path) -> Outcome<File> {
    if fs::metadata(path).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
    }) {
        return Err(not_a_file(path, "a pipe or device"));
    }
    open_stream(path)
}

fn not_a_file(path: &Path, found: &'static str) -> Failure {
    Failure::Error(Error::NotAFile {
        path: path.to_owned(),
        found,
    })
}

/// There is one standard output, and what stands on it can't be taken back.
static STDOUT_HAS_DATA: AtomicBool = AtomicBool::new(false);

/// Whether plaintext or ciphertext has gone to standard output, so that messages must not.
pub(crate) fn stdout_has_data() -> bool {
    STDOUT_HAS_DATA.load(Ordering::Relaxed)
}

/// Where bytes go. A file appears under its name only when it is whole.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout,
    File { file: AtomicFile, overwrite: bool },
}

impl Output {
    /// Refuses at once what [`Output::commit`] would refuse after the work.
    pub(crate) fn create(path: &Path, overwrite: bool) -> Outcome<Self> {
        if is_dash(path) {
            return Ok(Self::Stdout);
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(Failure::already_exists(format!(
                "{}: already exists; choose another --out, or overwrite it with --force",
                path.display()
            )));
        }
        Ok(Self::File {
            file: AtomicFile::create(path)?,
            overwrite,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Stdout => Path::new(STDOUT),
            Self::File { file, .. } => file.target(),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Gives the file the permissions of the one that it was made from.
    pub(crate) fn take_permissions_from(&self, input: &Input) -> Outcome {
        if let (Self::File { file, .. }, Input::File(path, original)) = (self, input) {
            let metadata = original
                .metadata()
                .map_err(io(path, "read the permissions of"))?;
            if metadata.is_file() {
                file.as_file()
                    .set_permissions(plain_permissions(&metadata))
                    .map_err(io(file.target(), "set the permissions of"))?;
            }
        }
        Ok(())
    }

    /// Makes what was written durable and visible.
    pub(crate) fn commit(self) -> Outcome {
        match self {
            Self::Stdout => io::stdout().flush().map_err(io(Path::new(STDOUT), "write")),
            Self::File { file, overwrite } => Ok(file.commit(overwrite)?),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => {
                STDOUT_HAS_DATA.store(true, Ordering::Relaxed);
                io::stdout().write(bytes)
            }
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

/// Who may read, write and run it. The bits that run a program as its owner or group stay behind: the owner is another one now, and who
/// made the original must not get a program that runs as whoever decrypts it.
pub(crate) fn plain_permissions(original: &Metadata) -> Permissions {
    Permissions::from_mode(original.mode() & 0o777)
}

/// Copies everything from `reader` (of the file at `from`) to `writer` (of the file at `to`), and returns the number of bytes.
pub(crate) fn copy(
    (reader, from): (&mut impl Read, &Path),
    (writer, to): (&mut impl Write, &Path),
    progress: &ProgressBar,
) -> Outcome<u64> {
    let mut buffer = Zeroizing::new(vec![0; PIECE]);
    let mut copied = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::carried(from, "read")(error).into()),
        };
        writer
            .write_all(buffer.get(..read).unwrap_or_default())
            .map_err(io(to, "write"))?;
        copied += read as u64;
        progress.inc(read as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_taken_over_without_the_bits_that_lend_an_owner() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, b"").unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o6750)).unwrap();
        let output = Output::create(&to, false).unwrap();
        output
            .take_permissions_from(&Input::open(&from).unwrap())
            .unwrap();
        output.commit().unwrap();
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o750);
    }
}
