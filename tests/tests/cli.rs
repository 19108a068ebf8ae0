//! Transcripts of the command: what people type, and all that they get to see, with the exit status.
//!
//! `TRYCMD=overwrite` writes down what is printed now; then `[..]` has to be put back for what is random.

use std::path::Path;
use std::time::Duration;

use stillkey_tests::cli::{FIXED, Sandbox};
use stillkey_tests::vector_path;

fn transcript(name: &str) {
    let case = format!("tests/cmd/{name}.trycmd");
    expect_known_programs(&case);
    let sandbox = Sandbox::new();
    let cases = trycmd::TestCases::new();
    for (variable, value) in FIXED {
        cases.env(variable, value);
    }
    let home = text(&sandbox.home());
    let vectors = text(&vector_path(""));
    let binary = stillkey_tests::cli::binary();
    let path = format!(
        "{}:{}",
        text(binary.parent().unwrap()),
        std::env::var("PATH").unwrap()
    );
    cases
        .register_bin("stillkey", binary)
        .register_bin("sh", Path::new("/bin/sh").to_owned())
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", "")
        .env("STILLKEY_MASTER_KEY", "")
        .env("STILLKEY_LOG", "")
        .env("PATH", path)
        .env("VECTORS", &vectors)
        .insert_var("[HOME]", home)
        .unwrap()
        .insert_var("[VECTORS]", vectors)
        .unwrap()
        .timeout(Duration::from_secs(30))
        .case(&case)
        .run();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().trim_end_matches('/').to_owned()
}

/// trycmd leaves out commands that it doesn't know, and a transcript without commands passes.
fn expect_known_programs(case: &str) {
    let text = std::fs::read_to_string(case).unwrap();
    let commands: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert!(!commands.is_empty(), "{case} has no command");
    for command in commands {
        let program = command.split(' ').find(|word| !word.contains('='));
        assert!(
            matches!(program, Some("stillkey" | "sh")),
            "{case}: {command}"
        );
    }
}

/// Every transcript is run by a test that bears its name.
macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            transcript(stringify!($name));
        })*

        #[test]
        fn no_transcript_is_forgotten() {
            let mut found: Vec<_> = std::fs::read_dir("tests/cmd")
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "trycmd"))
                .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),*]);
        }
    };
}

transcripts! {
    compact config decrypt decrypt_file demo encrypt generated help init inspect keygen keys kms
    master_keys reconcile rekey repair rotate serve_metrics store tree verify
}
