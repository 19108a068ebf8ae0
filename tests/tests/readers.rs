//! Readers without a lock, in processes of their own, against writers: what is read is always what was written once, whole.
//!
//! `STILLKEY_TEST_DELAY` makes the command wait between its operations on files, so that each of them is met halfway. `STILLKEY_LONG=10` reads
//! and kills ten times as often.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use stillkey::core::{MasterKey, Reading};
use stillkey::{Dictionaries, EncryptedReader, MasterKeySource, Native};
use stillkey_tests::cli::{Ran, Sandbox, finish};

const READS: usize = 200;
const KILLS: usize = 20;

fn long() -> usize {
    stillkey_tests::long() as usize
}

fn random_below(end: u64) -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    u64::from_le_bytes(random) % end
}

/// A file says in every line which one it is.
fn content(of: &str, number: usize) -> String {
    format!("{of} {number}\n").repeat(2000)
}

/// The number of a file's content.
#[track_caller]
fn number(of: &str, found: &[u8], context: &dyn std::fmt::Debug) -> usize {
    let found = String::from_utf8_lossy(found);
    let first = found.lines().next().unwrap_or_default();
    let number = first
        .strip_prefix(of)
        .and_then(|rest| rest.trim().parse().ok());
    match number {
        Some(number) if content(of, number) == found => number,
        _ => panic!("garbage: {:?}… from {context:?}", found.get(..40)),
    }
}

fn delayed(sandbox: &Sandbox, words: &str, microseconds: u64) -> Command {
    let mut command = sandbox.stillkey(words.split(' '));
    command
        .env("STILLKEY_MASTER_KEY", "file:master.key")
        .env("STILLKEY_TEST_DELAY", microseconds.to_string());
    command
}

fn put(sandbox: &Sandbox, name: &str, number: usize, delay: u64) {
    let file = format!("{name}-content");
    sandbox.write(&file, content(name, number));
    finish(&mut delayed(
        sandbox,
        &format!("store -d vault put -f {file} {name}"),
        delay,
    ))
    .expect_status(0);
}

fn read(sandbox: &Sandbox, words: &str) -> Ran {
    finish(&mut delayed(sandbox, words, 1000))
}

/// Changes `x` and its data key, and moves another file to and fro, until told to stop.
fn write(sandbox: &Sandbox, is_done: &AtomicBool, last: &AtomicUsize) {
    let run = |words: &str| {
        finish(&mut delayed(sandbox, words, 3000))
            .expect_status(0)
            .call
            .len()
    };
    for round in 1.. {
        if is_done.load(Relaxed) {
            return;
        }
        put(sandbox, "x", round, 3000);
        last.store(round, Relaxed);
        run("rotate data-key -d vault");
        run("rekey -d vault");
        let (from, to) = if round % 2 == 1 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        run(&format!("store -d vault mv {from} {to}"));
    }
}

#[test]
fn readers_in_other_processes_never_get_garbage_or_miss_a_file_that_is_there() {
    let sandbox = Sandbox::with_vault();
    put(&sandbox, "x", 0, 0);
    put(&sandbox, "a", 0, 0);
    let (is_done, last, reads) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let wanted = READS * long();
    let more = || reads.fetch_add(1, Relaxed) < wanted;
    let by_command = |reader: usize| {
        let words = [
            "store -d vault cat x".to_owned(),
            "decrypt-file -d vault --name x --in vault/x".to_owned(),
            format!("store -d vault get x --out {reader}.out --force"),
        ];
        let mut round = 0;
        while more() {
            round += 1;
            if round % 4 == 0 {
                // It has one of two names, and may lose it for the other at any moment.
                let name = if round % 8 == 0 { "a" } else { "b" };
                let ran = read(&sandbox, &format!("store -d vault cat {name}"));
                if ran.status.code() != Some(5) {
                    number("a", &ran.expect_status(0).stdout, &ran);
                }
                continue;
            }
            let earliest = last.load(Relaxed);
            let words = &words[round % words.len()];
            let ran = read(&sandbox, words);
            ran.expect_status(0);
            let found = match words.contains("--out") {
                true => sandbox.read(format!("{reader}.out")),
                false => ran.stdout.clone(),
            };
            let found = number("x", &found, &ran);
            assert!(found >= earliest, "{found} after {earliest} was there");
        }
    };
    let by_library = || {
        let key = MasterKeySource::File(sandbox.path("master.key"));
        let mut dictionaries = open(&sandbox.path("vault"), &key.load().unwrap().key);
        while !is_done.load(Relaxed) {
            let earliest = last.load(Relaxed);
            let found = number("x", &whole(&mut dictionaries, "x"), &"the library");
            assert!(found >= earliest, "{found} after {earliest} was there");
            thread::sleep(Duration::from_millis(2));
        }
    };
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&sandbox, &is_done, &last));
        let library = scope.spawn(by_library);
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                scope.spawn({
                    let by_command = &by_command;
                    move || by_command(reader)
                })
            })
            .collect();
        let outcomes: Vec<_> = readers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        is_done.store(true, Relaxed);
        writer.join().unwrap();
        library.join().unwrap();
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    println!(
        "{wanted} reads while {} replacements went on: 0 wrong",
        last.load(Relaxed)
    );
}

fn open(vault: &Path, master_key: &MasterKey) -> Dictionaries {
    Dictionaries::read(vault, master_key, Reading::Strict).unwrap()
}

fn whole(dictionaries: &mut Dictionaries, name: &str) -> Vec<u8> {
    let (file, key) = dictionaries.open_file(name).unwrap();
    let mut found = Vec::new();
    let mut reader = EncryptedReader::new(file, key.stream(&Native::detect()));
    std::io::Read::read_to_end(&mut reader, &mut found).unwrap();
    found
}

#[test]
fn what_a_killed_replacement_leaves_is_read_as_it_was_or_as_it_is_to_be() {
    let sandbox = Sandbox::with_vault();
    put(&sandbox, "x", 0, 0);
    let (mut left, mut missing, mut at) = (0, 0, 0);
    let kills = KILLS * long();
    for kill in 1..=kills {
        let is_rekey = kill % 3 == 0;
        let words = if is_rekey {
            finish(&mut delayed(&sandbox, "rotate data-key -d vault", 0)).expect_status(0);
            "rekey -d vault"
        } else {
            sandbox.write("x-content", content("x", kill));
            "store -d vault put -f x-content x"
        };
        let mut writer = delayed(&sandbox, words, 4000)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the moment on at which the new file is there.
        let started = Instant::now();
        while !sandbox.path("vault/x.stillkey-new").exists() && writer.try_wait().unwrap().is_none()
        {
            assert!(started.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(random_below(40_000)));
        let _ = writer.kill();
        writer.wait().unwrap();

        let names: Vec<_> = fs::read_dir(sandbox.path("vault"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left += usize::from(names.iter().any(|name| name.starts_with("x.stillkey-")));
        missing += usize::from(!names.iter().any(|name| name == "x"));
        let ran = read(&sandbox, "store -d vault cat x");
        let found = number("x", &ran.expect_status(0).stdout, &ran);
        assert!(
            found == at || (!is_rekey && found == kill),
            "{found}, not {at}"
        );
        let checked = read(&sandbox, "verify -d vault");
        checked.expect_status(0);
        // The next writer finishes or undoes it.
        put(&sandbox, "y", kill, 0);
        let ran = read(&sandbox, "store -d vault cat x");
        let after = number("x", &ran.expect_status(0).stdout, &ran);
        assert!(after == at || after == found, "{after}, not {found}");
        at = after;
    }
    println!(
        "{kills} kills, {left} inside of a replacement, {missing} with no file under its name"
    );
    assert!(
        left > kills / 10,
        "the kills came too late: {left} of {kills}"
    );
}
