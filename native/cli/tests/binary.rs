//! That the command starts. Having a test here also makes cargo build the command itself for every test run, on which the transcripts
//! in `tests/` rely.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::process::Command;

#[test]
fn the_command_starts_and_knows_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_stillkey"))
        .arg("--version")
        .output()
        .unwrap();
    let expected = format!("stillkey {}\n", env!("CARGO_PKG_VERSION"));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with(&expected)
    );
    assert!(output.status.success());
}
