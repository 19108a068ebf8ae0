//! What `encrypt` and `decrypt` have in common: their arguments, and the names for the form of a sealed object.

use std::path::{Path, PathBuf};

use stillkey::core::sealed::Suite;

use crate::failure::{Failure, Outcome};
use crate::keys::{ContextArgs, KeyArgs, is_dash};
use crate::threads::ThreadsArgs;

/// What a sealed object's name ends with.
pub(crate) const SUFFIX: &str = ".sealed";

/// Arguments of both commands.
#[derive(Debug, clap::Args)]
pub(crate) struct ObjectArgs {
    /// File or directory; - for standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Where to; - for standard output. Without it: IN.sealed to encrypt, IN without that ending to decrypt
    #[arg(long, short, value_name = "OUT")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    /// Overwrite what stands at OUT
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
}

impl ObjectArgs {
    /// Where to: as said, or standard output for standard input, or as `name` makes it of the input's name.
    pub(crate) fn target(&self, name: impl Fn(&Path) -> Outcome<PathBuf>) -> Outcome<PathBuf> {
        match &self.out {
            Some(out) => Ok(out.clone()),
            None if is_dash(&self.input) => Ok("-".into()),
            None => name(&self.input),
        }
    }

    /// Whether the input is a tree.
    pub(crate) fn is_tree(&self) -> bool {
        !is_dash(&self.input) && self.input.is_dir()
    }
}

/// The form of an object's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BodyForm {
    /// Counter mode, seekable to the byte, the plaintext's length; changes to it go unnoticed
    Stream,
    /// Authenticated chunks: any change is noticed
    Chunked,
}

impl BodyForm {
    pub(crate) fn of(suite: Suite) -> Self {
        if suite.is_chunked() {
            Self::Chunked
        } else {
            Self::Stream
        }
    }
}

/// The cipher that a name stands for: alone, or in either of its modes.
pub(crate) fn cipher_name(method: &str) -> String {
    let named = method.to_ascii_lowercase();
    let cipher = named
        .strip_suffix("-ctr")
        .or_else(|| named.strip_suffix("-gcm"));
    cipher.unwrap_or(&named).to_owned()
}

/// The suite for a form and a method.
pub(crate) fn suite(body: BodyForm, method: &str) -> Outcome<Suite> {
    let cipher = cipher_name(method);
    let mode = match body {
        BodyForm::Stream => "ctr",
        BodyForm::Chunked => "gcm",
    };
    format!("{cipher}-{mode}").parse().map_err(|_| {
        Failure::usage(match (&*cipher, body) {
            ("aes128" | "aes192", BodyForm::Chunked) => format!(
                "{method} has no authenticated form; use --method aes256-ctr or sm4-ctr, or --body stream, whose changes go unnoticed"
            ),
            _ => format!("no method {method:?}; use aes128-ctr, aes192-ctr, aes256-ctr or sm4-ctr"),
        })
    })
}

/// What `decrypt` expects of an object's form; nothing unless asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ExpectArgs {
    /// Refuse an object whose body has another form; with chunked, only authenticated content is accepted
    #[arg(long, value_enum)]
    body: Option<BodyForm>,
    /// Refuse an object that is encrypted with another cipher
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
}

impl ExpectArgs {
    /// Refuses the object at `path` if it isn't as expected.
    pub(crate) fn check(&self, suite: Suite, path: &Path) -> Outcome {
        let body_fits = self.body.is_none_or(|body| body == BodyForm::of(suite));
        let method = self.method.as_deref();
        let method_fits =
            method.is_none_or(|method| cipher_name(method) == cipher_name(suite.name()));
        if body_fits && method_fits {
            return Ok(());
        }
        let form = if suite.is_chunked() {
            "chunked"
        } else {
            "stream"
        };
        Err(Failure::usage(format!(
            "{}: the object's body is {form}, encrypted with {suite}, which is not as expected; give other --body and --method, or leave them out",
            path.display()
        )))
    }
}
