//! Encryption of small things, and data keys.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use stillkey::core::kms::blob::{CiphertextBlob, MAX_BLOB_LEN, MAX_PLAINTEXT_LEN};
use stillkey::core::kms::request::{DataKeyLength, Decrypt, ReEncrypt};
use stillkey::core::{EncryptionContext, SecretBytes};
use zeroize::Zeroizing;

use super::StoreArgs;
use crate::body::Input;
use crate::failure::{Failure, Outcome, STDOUT, io};
use crate::keys::{ContextArgs, is_dash};
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Encrypt up to 6,144 bytes with a key
    #[command(
        after_long_help = "Example:\n  stillkey kms encrypt alias/app secret.txt --out secret.blob"
    )]
    Encrypt {
        /// Its id, ARN or alias
        key: String,
        /// What to encrypt; - for standard input
        file: PathBuf,
        /// Where the ciphertext goes; - for standard output
        #[arg(long, short)]
        out: PathBuf,
        /// Overwrite what stands at --out
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        context: ContextArgs,
    },
    /// Decrypt what 'encrypt' or 'generate-data-key' gave
    #[command(after_long_help = "Example:\n  stillkey kms decrypt secret.blob --out -")]
    Decrypt {
        /// The ciphertext; - for standard input
        file: PathBuf,
        /// Where the plaintext goes; - for standard output
        #[arg(long, short)]
        out: PathBuf,
        /// Overwrite what stands at --out
        #[arg(long)]
        force: bool,
        /// Print the plaintext to a terminal, too
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        context: ContextArgs,
    },
    /// Make a random data key, in plaintext and encrypted
    #[command(after_long_help = "Examples:\n  \
        stillkey kms generate-data-key alias/app --out data.key --blob data.key.blob\n  \
        stillkey kms generate-data-key alias/app --without-plaintext --blob data.key.blob")]
    GenerateDataKey {
        /// Its id, ARN or alias
        key: String,
        /// Its length in bytes, 1 to 1024
        #[arg(long, default_value = "32", value_parser = length)]
        bytes: DataKeyLength,
        /// Where its plaintext goes; - for standard output
        #[arg(long, short, required_unless_present = "without_plaintext")]
        out: Option<PathBuf>,
        /// Where the encrypted data key goes
        #[arg(long)]
        blob: PathBuf,
        /// Only the encrypted one
        #[arg(long, conflicts_with = "out")]
        without_plaintext: bool,
        /// Overwrite what stands there
        #[arg(long)]
        force: bool,
        /// Print the plaintext to a terminal, too
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        context: ContextArgs,
    },
    /// Encrypt anew, under the newest version, another key or another context
    #[command(
        after_long_help = "Example:\n  stillkey kms re-encrypt alias/app old.blob --out new.blob"
    )]
    ReEncrypt {
        /// The key from now on: its id, ARN or alias
        key: String,
        /// The ciphertext; - for standard input
        file: PathBuf,
        /// Where the new one goes; - for standard output
        #[arg(long, short)]
        out: PathBuf,
        /// Overwrite what stands at --out
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        context: ContextArgs,
        /// The context from now on, if it is to be another one. May be repeated
        #[arg(long = "new-context", value_name = "KEY=VALUE", value_parser = super::keys::pair)]
        new_context: Vec<(String, String)>,
    },
    /// Show which key and version encrypted something; needs no store
    #[command(after_long_help = "Example:\n  stillkey kms inspect-blob secret.blob")]
    InspectBlob {
        /// The ciphertext; - for standard input
        file: PathBuf,
    },
}

fn length(text: &str) -> Result<DataKeyLength, String> {
    let bytes = text.parse().ok().and_then(DataKeyLength::new);
    bytes.ok_or_else(|| "expected 1 to 1024".into())
}

impl Action {
    pub(super) fn run(self, store: &StoreArgs, ui: &Ui) -> Outcome {
        match self {
            Self::Encrypt {
                key,
                file,
                out,
                force,
                context,
            } => {
                let plaintext = SecretBytes::copied(&read(&file, MAX_PLAINTEXT_LEN)?);
                let context = context.context()?;
                let open = store.open()?;
                let made = open.kms.encrypt(&open.caller, &key, plaintext, context)?;
                write(&out, &made.blob, force)?;
                ui.summary(
                    is_dash(&out),
                    &format!("{}: encrypted with key {}", out.display(), made.key),
                    &json!({ "key_id": made.key.to_string(), "version": made.version.to_string() }),
                )
            }
            Self::Decrypt {
                file,
                out,
                force,
                show,
                context,
            } => {
                let blob = read(&file, MAX_BLOB_LEN)?;
                let context = context.context()?;
                expect_hidden(&out, show)?;
                let open = store.open()?;
                let opened = open.kms.decrypt(&open.caller, blob.to_vec(), context)?;
                write(&out, opened.plaintext.danger_bytes(), force)?;
                ui.summary(
                    is_dash(&out),
                    &format!("{}: decrypted with key {}", out.display(), opened.key),
                    &json!({ "key_id": opened.key.to_string(), "version": opened.version.to_string() }),
                )
            }
            Self::GenerateDataKey {
                key,
                bytes,
                out,
                blob,
                without_plaintext: _,
                force,
                show,
                context,
            } => {
                let context = context.context()?;
                let open = store.open()?;
                let made = match &out {
                    None => open.kms.generate_data_key_without_plaintext(
                        &open.caller,
                        &key,
                        bytes,
                        context,
                    )?,
                    Some(out) => {
                        expect_hidden(out, show)?;
                        let made =
                            open.kms
                                .generate_data_key(&open.caller, &key, bytes, context)?;
                        write(out, made.plaintext.danger_bytes(), force)?;
                        made.encrypted
                    }
                };
                write(&blob, &made.blob, force)?;
                let is_data = is_dash(&blob) || out.as_deref().is_some_and(is_dash);
                ui.summary(
                    is_data,
                    &format!(
                        "{}: a data key encrypted with key {}",
                        blob.display(),
                        made.key
                    ),
                    &json!({ "key_id": made.key.to_string(), "version": made.version.to_string() }),
                )
            }
            Self::ReEncrypt {
                key,
                file,
                out,
                force,
                context,
                new_context,
            } => {
                let context = context.context()?;
                let destination_context = match new_context.is_empty() {
                    true => context.clone(),
                    false => new_context.into_iter().collect::<EncryptionContext>(),
                };
                let source = Decrypt {
                    blob: read(&file, MAX_BLOB_LEN)?.to_vec(),
                    context,
                    key: None,
                };
                let request = ReEncrypt {
                    source,
                    destination_key: key,
                    destination_context,
                };
                let open = store.open()?;
                let made = open.kms.re_encrypt(&open.caller, request)?;
                write(&out, &made.encrypted.blob, force)?;
                ui.summary(
                    is_dash(&out),
                    &format!(
                        "{}: encrypted with key {}",
                        out.display(),
                        made.encrypted.key
                    ),
                    &json!({
                        "key_id": made.encrypted.key.to_string(),
                        "version": made.encrypted.version.to_string(),
                        "source_key_id": made.source_key.to_string(),
                    }),
                )
            }
            Self::InspectBlob { file } => inspect(&file, ui),
        }
    }
}

fn inspect(file: &Path, ui: &Ui) -> Outcome {
    let bytes = read(file, MAX_BLOB_LEN)?;
    let blob = CiphertextBlob::inspect(&bytes).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        Failure::Said(stillkey::ErrorKind::Damaged, message)
    })?;
    ui.result(
        &format!(
            "key         {}\nversion     {}\nsuite       {:?}\nplaintext   {} bytes",
            blob.key(),
            blob.version(),
            blob.suite(),
            blob.plaintext_len()
        ),
        &json!({
            "key_id": blob.key().to_string(),
            "version": blob.version().to_string(),
            "suite": format!("{:?}", blob.suite()),
            "plaintext_len": blob.plaintext_len(),
        }),
    )
}

/// A whole file that is small.
fn read(path: &Path, most: usize) -> Outcome<Zeroizing<Vec<u8>>> {
    let input = Input::open(path)?;
    let named = input.path().to_owned();
    // Of its final size from the beginning: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    input
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io(&named, "read"))?;
    if bytes.len() > most {
        return Err(Failure::usage(format!(
            "{}: longer than {most} bytes; encrypt it with a data key: 'stillkey encrypt'",
            named.display()
        )));
    }
    Ok(bytes)
}

/// That a plaintext isn't shown to whoever looks over a shoulder.
fn expect_hidden(out: &Path, show: bool) -> Outcome {
    if is_dash(out) && !show && std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "the plaintext would be shown on a terminal; give --out FILE, or --show",
        ));
    }
    Ok(())
}

fn write(out: &Path, bytes: &[u8], force: bool) -> Outcome {
    if is_dash(out) {
        let mut stdout = std::io::stdout().lock();
        return stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(io(Path::new(STDOUT), "write"));
    }
    Ok(stillkey::write_file(out, bytes, force)?)
}
