//! What users and services may do.

use std::path::PathBuf;

use serde_json::json;
use stillkey::core::kms::Principal;
use stillkey::core::kms::policy::Policy;

use super::{StoreArgs, principal};
use crate::failure::{Failure, Outcome, io};
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Give a user or service a policy, in the place of the one that it has
    #[command(
        after_long_help = "Examples:\n  stillkey kms policy attach app policy.json\n  \
        stillkey kms policy attach service:oss policy.json"
    )]
    Attach {
        /// The name of a user, or service:CODE
        name: String,
        /// The policy, in JSON
        file: PathBuf,
    },
    /// Take the policy of a user or service away: it may do nothing any more
    #[command(after_long_help = "Example:\n  stillkey kms policy detach app")]
    Detach {
        /// The name of a user, or service:CODE
        name: String,
    },
    /// Show the policy of a user or service, or who has one
    #[command(after_long_help = "Example:\n  stillkey kms policy show app")]
    Show {
        /// The name of a user, or service:CODE
        name: Option<String>,
    },
    /// Say whether a file is a policy, and what in it has no effect
    #[command(after_long_help = "Example:\n  stillkey kms policy check policy.json")]
    Check {
        /// The policy, in JSON
        file: PathBuf,
    },
}

impl Action {
    pub(super) fn run(self, store: &StoreArgs, ui: &Ui) -> Outcome {
        match self {
            Self::Attach { name, file } => {
                let policy = read(&file, ui)?;
                let who = principal(&name)?;
                root_only(store)?;
                store.open()?.kms.set_policy(who, Some(policy))?;
                ui.result(
                    &format!("{name}: may do what {} says", file.display()),
                    &json!({ "principal": name }),
                )
            }
            Self::Detach { name } => {
                let who = principal(&name)?;
                root_only(store)?;
                store.open()?.kms.set_policy(who, None)?;
                ui.result(
                    &format!("{name}: has no policy"),
                    &json!({ "principal": name }),
                )
            }
            Self::Show { name: Some(name) } => {
                let who = principal(&name)?;
                root_only(store)?;
                let state = store.open()?.kms.state();
                let policy = state.policy(&who).map(Policy::text).ok_or_else(|| {
                    Failure::Said(
                        stillkey::ErrorKind::NotFound,
                        format!("{name} has no policy; 'stillkey kms policy attach' gives it one"),
                    )
                })?;
                ui.result(policy, &json!({ "principal": name, "policy": policy }))
            }
            Self::Show { name: None } => {
                root_only(store)?;
                let state = store.open()?.kms.state();
                let names: Vec<_> = state.principals().filter_map(spelled).collect();
                ui.result(&names.join("\n"), &json!({ "principals": names }))
            }
            Self::Check { file } => {
                let policy = read(&file, ui)?;
                let warnings: Vec<_> = policy.warnings().iter().map(ToString::to_string).collect();
                ui.result(
                    &format!("{}: a policy, {} warnings", file.display(), warnings.len()),
                    &json!({ "warnings": warnings }),
                )
            }
        }
    }
}

/// As it is given on the command line.
fn spelled(principal: &Principal) -> Option<String> {
    match principal {
        Principal::Root => None,
        Principal::User(name) => Some(name.clone()),
        Principal::Service(code) => Some(format!("service:{code}")),
    }
}

/// Policies are the account's business.
fn root_only(store: &StoreArgs) -> Outcome {
    if store.principal.is_none() {
        return Ok(());
    }
    Err(Failure::Said(
        stillkey::ErrorKind::Refused,
        "policies are managed by the account's root: leave --principal out".into(),
    ))
}

fn read(file: &PathBuf, ui: &Ui) -> Outcome<Policy> {
    let text = std::fs::read_to_string(file).map_err(io(file, "read"))?;
    let policy = Policy::parse(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    for warning in policy.warnings() {
        ui.warn(&format!("{}: {warning}", file.display()));
    }
    Ok(policy)
}
