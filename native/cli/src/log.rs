//! `STILLKEY_LOG`: what the library does, step by step, on stderr.

use tracing_subscriber::filter::LevelFilter;

use crate::failure::{Failure, Outcome};

/// The variable that says how much is shown.
const VARIABLE: &str = "STILLKEY_LOG";

/// Shows spans and events from the level on that the environment asks for; none without it.
pub(crate) fn start() -> Outcome {
    let level = match std::env::var_os(VARIABLE) {
        Some(level) if !level.is_empty() => level,
        _ => return Ok(()),
    };
    let level = level
        .to_str()
        .and_then(|level| level.parse::<LevelFilter>().ok());
    let Some(level) = level else {
        return Err(Failure::usage(format!(
            "{VARIABLE} is not a level; use one of error, warn, info, debug, trace, off"
        )));
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        // Would be printed to stderr, of all places, in a way that panics there.
        .log_internal_errors(false)
        .init();
    Ok(())
}
