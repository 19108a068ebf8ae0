//! What an engine has acknowledged survives the death of its process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stillkey::core::Method;
use stillkey_raft_engine::raft_engine::Engine;
use stillkey_raft_engine::{EncryptedFileSystem, Raft, testing};

const KILLS: usize = 24;

/// Of one region: everything from `first` to `last` has to be there.
#[derive(Clone, Copy, Debug, Default)]
struct Acknowledged {
    first: u64,
    last: u64,
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut regions = BTreeMap::new();
    let mut lines = 0;
    for kill in 0..KILLS {
        lines += append_until_killed(directory.path(), &mut regions);
        check(directory.path(), &regions, kill);
    }
    let appended: u64 = regions.values().map(|region| region.last).sum();
    println!("{KILLS} kills, {lines} lines, {appended} entries");
    // Otherwise too little was going on when the process died.
    assert!(lines > 10 * KILLS, "{lines} lines");
    assert!(
        regions.values().all(|region| region.first > 1),
        "{regions:?}"
    );
}

/// Runs a process for a random time, and takes down what it says. Returns how many lines that were.
fn append_until_killed(directory: &Path, regions: &mut BTreeMap<u64, Acknowledged>) -> usize {
    let mut child = Command::new(env!("CARGO_BIN_EXE_append-until-killed"))
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // It is at work.
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    let said = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let rest = out.lines().map(Result::unwrap);
            rest.collect::<Vec<_>>()
        });
        thread::sleep(Duration::from_micros(random_up_to(250_000)));
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap()
    });
    assert!(!text.is_empty(), "it ended by itself");
    let lines = text.lines().map(str::to_owned).chain(said);
    lines.map(|line| note(&line, regions)).count()
}

fn note(line: &str, regions: &mut BTreeMap<u64, Acknowledged>) {
    let words: Vec<&str> = line.split(' ').collect();
    let [what, region, index] = words[..] else {
        panic!("{line:?}");
    };
    let region = regions.entry(region.parse().unwrap()).or_default();
    match what {
        "appended" => region.last = index.parse().unwrap(),
        "compacting" => region.first = index.parse().unwrap(),
        _ => panic!("{line:?}"),
    }
}

fn random_up_to(bound: u64) -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    u64::from_le_bytes(random) % bound
}

fn check(directory: &Path, regions: &BTreeMap<u64, Acknowledged>, kill: usize) {
    let entries = testing::entries(&directory.join("keys"), Method::Aes256Ctr).unwrap();
    let files = EncryptedFileSystem::new(Arc::new(entries));
    let config = testing::small_files(&directory.join("logs"));
    let engine = Engine::open_with_file_system(config, Arc::new(files)).unwrap();
    for (region, acknowledged) in regions {
        for index in acknowledged.first.max(1)..=acknowledged.last {
            let entry = engine.get_entry::<Raft>(*region, index).unwrap();
            let entry = entry.unwrap_or_else(|| panic!("kill {kill}: no entry {region}/{index}"));
            let expected = testing::content(*region, index);
            assert_eq!(
                entry.get_string_value(),
                expected,
                "kill {kill}: {region}/{index}"
            );
        }
    }
}
