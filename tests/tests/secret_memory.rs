//! What becomes of key material where the system doesn't lock as much memory as there should be.

#![cfg(target_os = "linux")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use stillkey_tests::cli::{Sandbox, finish};

const SIGABRT: i32 = 6;

/// A line of a shell that runs `program` within `limits`. Root may lock as much as it likes, unless that right is taken from it.
fn limited(limits: &str, program: &str) -> String {
    format!(
        "{limits}; take=; [ $(id -u) != 0 ] || take='setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock'; \
         exec $take {program}"
    )
}

fn hoard(limits: &str, reserve: usize, bytes: usize) -> (Output, String) {
    hoard_as(limits, &format!("{reserve} {bytes}"))
}

fn hoard_as(limits: &str, arguments: &str) -> (Output, String) {
    let hoarder = env!("CARGO_BIN_EXE_secret-hoarder");
    let line = limited(limits, &format!("{hoarder} {arguments}"));
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output, stdout)
}

#[test]
fn within_the_limit_all_secrets_are_locked() {
    // What is set aside comes on top of the region of the first secrets.
    for (reserve, locked) in [(0, 512), (512, 576)] {
        let (output, stdout) = hoard("ulimit -l 1024", reserve, 512);
        assert!(output.status.success(), "{output:?}");
        let all = format!("8192 secrets, 0 files, {} bytes locked", locked << 10);
        assert!(stdout.contains(&all), "{stdout}");
    }
}

#[test]
fn what_is_set_aside_and_not_to_be_had_is_refused_at_the_start() {
    for (limit, reserve) in [("ulimit -l 0", 0), ("ulimit -l 128", 512)] {
        let (output, stdout) = hoard(limit, reserve, 0);
        assert!(output.status.success(), "{output:?}");
        assert!(stdout.starts_with("refused: "), "{stdout}");
        assert!(stdout.contains("lock it in memory") && stdout.contains("RLIMIT_MEMLOCK"));
    }
}

#[test]
fn a_limit_that_is_reached_later_ends_the_process_before_a_secret_is_unprotected() {
    let (output, stdout) = hoard("ulimit -c 0; ulimit -l 128", 0, 512);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    assert_eq!(stdout, "required\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("lock it in memory") && stderr.contains("RLIMIT_MEMLOCK"),
        "{stderr}"
    );
}

#[test]
fn hundreds_of_open_files_need_a_small_part_of_the_usual_limit() {
    // 900 of them: 1 KiB each for short ones; long ones get more only while half of the limit is left.
    for (limit, offset) in [(1280, 0), (2560, 1 << 30), (8192, 1 << 30)] {
        let limits = format!("ulimit -c 0; ulimit -l {limit}");
        let (output, stdout) = hoard_as(&limits, &format!("0 0 900 {offset}"));
        assert!(output.status.success(), "{limit} KiB: {output:?}");
        assert!(stdout.contains(" 900 files, "), "{stdout}");
    }
}

#[test]
fn a_limit_on_the_length_of_files_kills_nobody_and_leaves_memory_locked() {
    let (output, stdout) = hoard("ulimit -f 0", 0, 64);
    assert!(output.status.success(), "{output:?}");
    assert!(
        stdout.contains("1024 secrets, 0 files, 65536 bytes locked, 0 hidden"),
        "{stdout}"
    );
}

#[test]
fn the_command_stops_where_it_is_told_to_require_locked_memory() {
    let sandbox = Sandbox::with_vault();
    let inspect = "stillkey inspect vault -k file:master.key";
    let run = |required: &str, limits: &str| {
        let mut bash = sandbox.program("bash");
        bash.env("STILLKEY_REQUIRE_LOCKED_MEMORY", required);
        finish(bash.args(["-c", &limited(limits, inspect)]))
    };
    run("1", "ulimit -l 0").expect_failure(9, &["lock it in memory", "RLIMIT_MEMLOCK"]);
    run("1", "ulimit -l 4096").expect_status(0);
    run("0", "ulimit -l 0").expect_status(0);
    run("yes", "true").expect_failure(2, &["STILLKEY_REQUIRE_LOCKED_MEMORY", "yes"]);
}
