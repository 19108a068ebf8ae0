//! The built `stillkey` command, run in a directory of its own where no key or setting of the user's is seen.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

/// Variables that the command, or a shell around it, would act upon.
const REMOVED: [&str; 5] = [
    "STILLKEY_MASTER_KEY",
    "STILLKEY_LOG",
    "XDG_CONFIG_HOME",
    "RUST_BACKTRACE",
    "TMPDIR",
];

/// Variables that make output the same everywhere.
pub const FIXED: [(&str, &str); 4] = [
    ("COLUMNS", "100"),
    ("LC_ALL", "C"),
    ("NO_COLOR", "1"),
    ("TERM", "dumb"),
];

/// The command, as built beside this test.
///
/// # Panics
/// If it isn't there, or older than what it is made from: then a test would say something about another program.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let profile = test
        .ancestors()
        .find(|directory| directory.file_name() == Some(OsStr::new("deps")))
        .and_then(Path::parent)
        .unwrap_or_else(|| panic!("{}: not below a target directory", test.display()));
    let binary = profile.join("stillkey");
    let built = modified(&binary).unwrap_or_else(|| {
        panic!(
            "{}: not built; run the tests with --workspace, or `cargo build -p stillkey-cli` first",
            binary.display()
        )
    });
    for source in sources(&profile.join("stillkey.d")) {
        // A source that is gone was changed after the build, too.
        if modified(&source).is_none_or(|changed| changed > built) {
            panic!(
                "{}: older than {}; run the tests with --workspace, or `cargo build -p stillkey-cli` first",
                binary.display(),
                source.display()
            );
        }
    }
    binary
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|found| found.modified()).ok()
}

/// What cargo says the command is made from, its libraries' sources included.
fn sources(dep_info: &Path) -> Vec<PathBuf> {
    // Cargo writes it when the command is what was asked for, and not when it builds it for its test, which then is of today.
    let Ok(text) = fs::read_to_string(dep_info) else {
        return Vec::new();
    };
    let (_, sources) = text
        .split_once(": ")
        .unwrap_or_else(|| panic!("{}: not in make's form", dep_info.display()));
    sources
        .trim_end()
        .replace("\\ ", "\0")
        .split(' ')
        .map(|path| path.replace('\0', " ").into())
        .collect()
}

/// A directory with a home of its own, removed when dropped.
#[derive(Debug)]
pub struct Sandbox {
    directory: TempDir,
    binary: PathBuf,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The call, for messages.
    pub call: String,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("home")).expect("a home");
        fs::create_dir(directory.path().join("work")).expect("a working directory");
        Self {
            directory,
            binary: binary(),
        }
    }

    /// With `master.key`, another key `other.key`, and an encryption directory `vault` under the first.
    pub fn with_vault() -> Self {
        let sandbox = Self::new();
        for arguments in [
            &["keygen", "master.key"][..],
            &["keygen", "other.key"],
            &["init", "vault", "-k", "file:master.key"],
        ] {
            sandbox.run(arguments).expect_status(0);
        }
        sandbox
    }

    /// A path in the working directory.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join("work").join(path)
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Writes a file in the working directory.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The bytes of a file in the working directory.
    pub fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Any program in the sandbox: `stillkey` comes first in its PATH.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let mut path = vec![self.binary.parent().expect("a directory").to_owned()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        command
            .current_dir(self.path(""))
            .env("HOME", self.home())
            .env("PATH", std::env::join_paths(path).expect("a PATH"))
            .envs(FIXED)
            .stdin(Stdio::null());
        for variable in REMOVED {
            command.env_remove(variable);
        }
        command
    }

    /// `stillkey` with arguments, not yet run.
    pub fn stillkey(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.program(&self.binary);
        command.args(arguments);
        command
    }

    /// Runs `stillkey` with arguments.
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        finish(&mut self.stillkey(arguments))
    }

    /// Runs a line of shell.
    pub fn shell(&self, line: &str) -> Ran {
        finish(self.program("bash").args(["-c", line]))
    }

    /// Starts `stillkey` with pipes for its three streams.
    pub fn start(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Child {
        self.stillkey(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start stillkey")
    }
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let call = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{call}: {error}"));
    Ran {
        call,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status,
    }
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it ended with this status.
    #[track_caller]
    pub fn expect_status(&self, status: i32) -> &Self {
        assert_eq!(self.status.code(), Some(status), "{self:?}");
        self
    }

    /// That it failed with this status, nothing on stdout, and one line on stderr that names all of `fragments`.
    #[track_caller]
    pub fn expect_failure(&self, status: i32, fragments: &[&str]) -> &Self {
        self.expect_status(status);
        assert!(self.stdout.is_empty(), "{self:?}");
        self.expect_message(fragments)
    }

    /// That stderr is one line of the command's, and names all of `fragments`.
    #[track_caller]
    pub fn expect_message(&self, fragments: &[&str]) -> &Self {
        assert!(self.stderr.starts_with("stillkey: "), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        for fragment in fragments {
            assert!(self.stderr.contains(fragment), "{fragment:?}: {self:?}");
        }
        self
    }

    /// That it ended in one of the documented ways: no panic, no signal.
    #[track_caller]
    pub fn expect_orderly(&self) -> &Self {
        assert!(
            matches!(self.status.code(), Some(0 | 2..=8)) && !self.stderr.contains("panicked"),
            "{self:?}"
        );
        self
    }
}
