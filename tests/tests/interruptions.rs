//! Full disks, killed processes, second writers and readers that go away: the old state or the new one, and one clear message.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use stillkey_tests::cli::{Ran, Sandbox, finish};
use stillkey_tests::random::Seeded;
use stillkey_tests::small_disk::SmallDisk;

const KEY: [&str; 2] = ["-k", "file:master.key"];
const KILLS: u32 = 30;

fn call<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &KEY].concat()
}

/// All files below the working directory, with their content.
fn snapshot(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let listed = sandbox.shell("find . -type f | sort");
    let names = listed.text();
    names
        .lines()
        .map(|name| (name.to_owned(), sandbox.read(name)))
        .collect()
}

/// Runs `stillkey` where no file can grow beyond `kib` KiB: as on a full disk, writes fail from there on.
fn on_a_full_disk(sandbox: &Sandbox, kib: u32, words: &str) -> Ran {
    sandbox.shell(&format!(
        "trap '' XFSZ; ulimit -f {kib}; exec stillkey {words} -k file:master.key"
    ))
}

#[test]
fn a_full_disk_leaves_the_old_state_and_no_temporary_file() {
    let sandbox = Sandbox::with_vault();
    let content = Seeded(1).bytes(100_000);
    sandbox.write("big", &content);
    sandbox.write("small", "small");
    for words in [
        &["encrypt", "big"][..],
        &["store", "-d", "vault", "put", "big"],
        &["store", "-d", "vault", "put", "small"],
    ] {
        sandbox.run(call(words)).expect_status(0);
    }
    // A dictionary of keys, and a log, that don't fit into what is left.
    for _ in 0..20 {
        sandbox
            .run(call(&["rotate", "data-key", "-d", "vault"]))
            .expect_status(0);
    }
    assert!(sandbox.read("vault/key.dict").len() > 1024);
    let before = snapshot(&sandbox);
    for words in [
        "encrypt big --out new.sealed",
        "encrypt big --force",
        "encrypt - --out new.sealed <big",
        "decrypt big.sealed --force",
        "decrypt big.sealed --out new",
        "store -d vault get big --out new",
        "store -d vault cat big >new; rm new; exit 7 #",
        "rotate data-key -d vault",
        "rotate master-key -d vault --new-master-key file:other.key",
        "init vault-2 # key.dict is small, so nothing at all fits:",
    ] {
        let kib = u32::from(!words.starts_with("init"));
        let ran = match words.split_once(';') {
            // The shell's redirection is a file like any other.
            Some((command, _)) => sandbox.shell(&format!(
                "trap '' XFSZ; (ulimit -f {kib}; stillkey {command} -k file:master.key); status=$?; rm new; exit $status"
            )),
            None if words.contains('#') => on_a_full_disk(&sandbox, kib, words.split('#').next().unwrap()),
            None => on_a_full_disk(&sandbox, kib, words),
        };
        ran.expect_failure(7, &["cannot ", "; free some space"]);
        let _ = fs::remove_dir_all(sandbox.path("vault-2"));
        assert!(snapshot(&sandbox) == before, "{words}");
    }

    // A log is appended to, and trimmed again.
    for words in [
        "store -d vault put big new",
        "store -d vault put big --force",
        "store -d vault put small --force",
    ] {
        let kib = if words.contains("small") { 0 } else { 1 };
        on_a_full_disk(&sandbox, kib, words).expect_failure(7, &["cannot ", "; free some space"]);
        let verified = sandbox.run(call(&["verify", "-d", "vault", "--json"]));
        verified.expect_status(0);
        assert_eq!(
            verified.json()["leftovers"].as_array().unwrap().len(),
            0,
            "{words}"
        );
        for (name, expected) in [("big", &content[..]), ("small", b"small")] {
            let found = sandbox.run(call(&["store", "-d", "vault", "cat", name]));
            assert!(found.stdout == expected, "{words}: {name}: {found:?}");
        }
    }
    // Nothing is written before a file is removed, which makes room; here, not enough for the log.
    on_a_full_disk(&sandbox, 0, "store -d vault rm small")
        .expect_failure(7, &["cannot ", "; free some space"]);
    assert!(!sandbox.path("vault/small").exists());
    let verified = sandbox.run(call(&["verify", "-d", "vault"]));
    verified.expect_status(5);
    // And with room again, everything works.
    sandbox
        .run(call(&["store", "-d", "vault", "rm", "small"]))
        .expect_status(0);
    sandbox
        .run(call(&["store", "-d", "vault", "put", "small"]))
        .expect_status(0);
    sandbox
        .run(call(&["store", "-d", "vault", "put", "small", "--force"]))
        .expect_status(0);
    let verified = sandbox
        .run(call(&["verify", "-d", "vault", "--json"]))
        .json();
    assert_eq!(verified["files"], 2);
    assert_eq!(verified["files_without_entry"].as_array().unwrap().len(), 0);
}

/// The disk is filled again before each removal, so that none lives on what the one before has freed.
#[test]
fn a_disk_that_is_really_full_can_be_emptied() {
    let sandbox = Sandbox::with_vault();
    fs::create_dir(sandbox.path("small")).unwrap();
    let disk = SmallDisk::mount(sandbox.path("small"));
    sandbox.run(call(&["init", "small/vault"])).expect_status(0);
    sandbox.write("file", Seeded(4).bytes(5_000));
    let mut names = Vec::new();
    let refused = loop {
        let name = format!("{}", names.len());
        let put = sandbox.run(call(&["store", "-d", "small/vault", "put", "file", &name]));
        match put.status.success() {
            true => names.push(name),
            false => break put,
        }
    };
    refused.expect_failure(7, &["No space left on device", "; free some space"]);
    assert!(names.len() > 20, "{}", names.len());
    let store = |words: &[&str]| {
        let ran = sandbox.run(call(&[&["store", "-d", "small/vault"], words].concat()));
        ran.expect_status(0);
        ran
    };
    // As on the first time in a directory, and after a kill in the middle of an append.
    fs::remove_file(disk.path().join("vault/stillkey.lock")).unwrap();
    fs::remove_file(disk.path().join("vault/file.synced")).unwrap();
    let mut log = fs::OpenOptions::new()
        .append(true)
        .open(disk.path().join("vault/file.dict"))
        .unwrap();
    log.write_all(&[1, 2, 3]).unwrap();
    drop(log);
    for (number, name) in names.iter().enumerate() {
        disk.fill(&format!("fill-{number}"));
        store(&["rm", name]);
    }
    assert_eq!(store(&["ls"]).text(), "");
    let verified = sandbox.run(call(&["verify", "-d", "small/vault", "--json"]));
    verified.expect_status(0);
    let verified = verified.json();
    assert_eq!(
        (&verified["files"], &verified["torn_tail_at"]),
        (&0.into(), &().into())
    );
    assert_eq!(
        verified["leftovers"].as_array().unwrap().len(),
        0,
        "{verified}"
    );
    fs::remove_file(disk.path().join("fill-0")).unwrap();
    store(&["put", "file", "after"]);
    assert_eq!(store(&["cat", "after"]).stdout, sandbox.read("file"));
}

#[test]
fn output_that_cant_be_written_is_an_error_and_that_nobody_reads_any_more_ends_quietly() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("big", Seeded(2).bytes(1 << 20));
    sandbox.run(call(&["encrypt", "big"])).expect_status(0);
    sandbox
        .run(call(&["store", "-d", "vault", "put", "big"]))
        .expect_status(0);
    let printing = [
        call(&["decrypt", "big.sealed", "--out", "-"]),
        call(&["encrypt", "big", "--out", "-"]),
        call(&["store", "-d", "vault", "cat", "big"]),
        call(&["store", "-d", "vault", "ls"]),
        call(&["verify", "-d", "vault"]),
        call(&["inspect", "vault", "--json"]),
        call(&["inspect", "vault"]),
        call(&["keys", "list", "vault"]),
        call(&["compact", "vault"]),
        call(&["reconcile", "vault"]),
        call(&["rotate", "data-key", "-d", "vault"]),
        call(&["rekey", "-d", "vault"]),
        vec!["completions", "bash"],
        vec!["keygen", "another.key"],
    ];
    for words in printing {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        finish_without_output(&sandbox, &words, full.into())
            .expect_message(&["standard output", "cannot write", "; free some space"])
            .expect_status(7);
        let _ = fs::remove_file(sandbox.path("another.key"));

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = finish_without_output(&sandbox, &words, writer.into());
        ran.expect_status(7);
        assert_eq!(ran.stderr, "", "{ran:?}");
        let _ = fs::remove_file(sandbox.path("another.key"));
    }
    // Both streams in one pipe, whose reader has gone: messages don't get out either.
    for line in [
        "stillkey store -d vault ls -k file:master.key",
        "stillkey store -d vault ls -k file:other.key",
        "STILLKEY_LOG=trace stillkey store -d vault ls -k file:master.key",
        "stillkey store -d vault rm absent absent-2 -k file:master.key",
        "stillkey store -d vault cat big --offset 9999999 -k file:master.key",
        "stillkey --help",
        "stillkey store",
    ] {
        let ran = sandbox.shell(&format!(
            "{{ sleep 0.2; {line}; echo $? >status; }} 2>&1 | true"
        ));
        ran.expect_status(0);
        let status = sandbox.read("status");
        let status = String::from_utf8_lossy(&status);
        assert!(
            ["0", "2", "3", "5", "7"].contains(&status.trim()),
            "{line}: {status}"
        );
    }
    // Closed streams are none of our business, but no reason to panic either.
    for line in [
        "stillkey encrypt - -k file:master.key --out closed <&-",
        "stillkey decrypt big.sealed -k file:master.key --out - >&-",
        "stillkey decrypt absent -k file:master.key --out - 2>&-",
        "stillkey store -d vault ls -k file:master.key <&- >&- 2>&-",
        "stillkey --help >/dev/full",
    ] {
        sandbox.shell(line).expect_orderly();
    }
}

/// Long enough to be read ahead on a thread of its own, in several pieces.
const LONG: usize = 12 << 20;

#[test]
fn a_long_file_on_several_threads_ends_as_on_one() {
    let sandbox = Sandbox::with_vault();
    let content = Seeded(3).bytes(LONG);
    sandbox.write("long", &content);
    sandbox.run(call(&["encrypt", "long"])).expect_status(0);
    let mut damaged = sandbox.read("long.sealed");
    damaged[LONG - 5_000_000] ^= 1;
    sandbox.write("damaged", damaged);
    for threads in ["1", "3"] {
        let run = |words: &str| {
            let line = format!("{words} -k file:master.key --threads {threads}");
            sandbox.shell(&line)
        };
        run("stillkey encrypt long --out a.sealed --body stream").expect_status(0);
        run("stillkey encrypt long --out b.sealed").expect_status(0);
        for object in ["a.sealed", "b.sealed", "long.sealed"] {
            run(&format!("stillkey decrypt {object} --out back --force")).expect_status(0);
            assert!(sandbox.read("back") == content, "{object} {threads}");
        }
        for name in ["a.sealed", "b.sealed", "back"] {
            fs::remove_file(sandbox.path(name)).unwrap();
        }

        let before = snapshot(&sandbox);
        run("stillkey decrypt damaged --out back")
            .expect_failure(4, &["damaged: chunk 115 at byte ", "tag doesn't verify"]);
        let printed = run("stillkey decrypt damaged --out -");
        printed.expect_status(4).expect_message(&["chunk 115 "]);
        assert!(printed.stdout == content[..115 << 16], "{threads}");
        for words in ["stillkey encrypt long", "stillkey decrypt long.sealed"] {
            run(&format!(
                "trap '' XFSZ; ulimit -f 5000; exec {words} --out new"
            ))
            .expect_failure(7, &["cannot write", "; free some space"]);
            run(&format!("exec >/dev/full; {words} --out -"))
                .expect_failure(7, &["standard output", "; free some space"]);
        }
        assert!(snapshot(&sandbox) == before, "{threads}");
    }
}

fn finish_without_output(sandbox: &Sandbox, words: &[&str], stdout: Stdio) -> Ran {
    let mut command = sandbox.stillkey(words);
    let child = command
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        call: format!("{command:?}"),
        stdout: Vec::new(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status,
    }
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("plan", "attack at dawn");
    let mut first = sandbox.start(call(&["store", "-d", "vault", "put", "-", "slow"]));
    first
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"first half, ")
        .unwrap();
    wait_for(|| sandbox.path("vault/slow.stillkey-new").exists());
    let holder = format!("process {}", first.id());
    for words in [
        &["store", "-d", "vault", "put", "plan"][..],
        &["store", "-d", "vault", "rm", "plan"],
        &["rotate", "data-key", "-d", "vault"],
        &[
            "rotate",
            "master-key",
            "-d",
            "vault",
            "--new-master-key",
            "file:other.key",
        ],
    ] {
        sandbox
            .run(call(words))
            .expect_failure(6, &["vault/stillkey.lock: locked by ", &holder, "; wait"]);
    }
    // Readers need no lock.
    sandbox
        .run(call(&["store", "-d", "vault", "ls"]))
        .expect_status(0);
    sandbox.run(call(&["inspect", "vault"])).expect_status(0);
    first
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"second half")
        .unwrap();
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    let found = sandbox.run(call(&["store", "-d", "vault", "cat", "slow"]));
    assert_eq!(found.text(), "first half, second half");
    sandbox
        .run(call(&["store", "-d", "vault", "put", "plan"]))
        .expect_status(0);
}

fn wait_for(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "nothing happened"
        );
        sleep(Duration::from_millis(2));
    }
}

/// Lets a command run for a while, then kills it.
fn kill_after(mut child: Child, time: Duration) {
    drop(child.stdin.take());
    sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Moments from the start to a little beyond the end of something that takes `whole`.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    let mut random = Seeded(3);
    (0..KILLS).map(move |number| {
        let part = whole.mul_f64(1.2 / f64::from(KILLS));
        part * number + part.mul_f64(random.within(0..=99) as f64 / 100.0)
    })
}

#[test]
fn encrypt_killed_at_any_moment_leaves_the_old_or_the_new_output() {
    let sandbox = Sandbox::with_vault();
    let (old, new) = (b"old".to_vec(), Seeded(4).bytes(2 << 20));
    sandbox.write("old", &old);
    sandbox.write("new", &new);
    let seal_old = call(&["encrypt", "old", "--out", "vault/out", "--force", "--quiet"]);
    let seal_new = call(&["encrypt", "new", "--out", "vault/out", "--force", "--quiet"]);
    let start = Instant::now();
    sandbox.run(&seal_new).expect_status(0);
    let whole = start.elapsed();

    // One that cannot be done yet when it is killed.
    sandbox.run(&seal_old).expect_status(0);
    let mut endless = sandbox.start(call(&["encrypt", "-", "--out", "vault/out", "--force"]));
    // A pipe holds far less than this: when all of it is written, most of it has been encrypted.
    endless.stdin.as_mut().unwrap().write_all(&new).unwrap();
    endless.kill().unwrap();
    endless.wait().unwrap();

    let mut outcomes = [0, 0];
    for moment in std::iter::once(Duration::ZERO).chain(moments(whole)) {
        sandbox.run(&seal_old).expect_status(0);
        kill_after(sandbox.start(&seal_new), moment);
        let found = sandbox.run(call(&["decrypt", "vault/out", "--out", "-"]));
        found.expect_status(0);
        assert!(
            found.stdout == old || found.stdout == new,
            "after {moment:?}"
        );
        outcomes[usize::from(found.stdout == new)] += 1;
    }
    assert_eq!(outcomes[0] + outcomes[1], KILLS + 1);
    // What killed processes leave, which is nothing where files can do without a name, is found, and is not in the way.
    let temporary = std::fs::read_dir(sandbox.path("vault")).unwrap();
    let temporary = temporary.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".tmp")
    });
    assert_eq!(leftovers(&sandbox), temporary.count(), "{outcomes:?}");
    sandbox
        .run(call(&["verify", "-d", "vault"]))
        .expect_status(0);
}

fn leftovers(sandbox: &Sandbox) -> usize {
    let verified = sandbox.run(call(&["verify", "-d", "vault", "--json"]));
    verified.json()["leftovers"].as_array().unwrap().len()
}

#[test]
fn store_put_killed_at_any_moment_leaves_the_old_or_the_new_file() {
    let sandbox = Sandbox::with_vault();
    let (old, new) = (b"old".to_vec(), Seeded(5).bytes(1 << 20));
    sandbox.write("old", &old);
    sandbox.write("new", &new);
    let put_old = call(&["store", "-d", "vault", "put", "old", "file", "--force"]);
    let put_new = call(&["store", "-d", "vault", "put", "new", "file", "--force"]);
    sandbox.run(&put_old).expect_status(0);
    let start = Instant::now();
    sandbox.run(&put_new).expect_status(0);
    let whole = start.elapsed();

    // One that cannot be done yet when it is killed: its traces are found, and removed by the next writer.
    let mut endless = sandbox.start(call(&[
        "store", "-d", "vault", "put", "-", "file", "--force",
    ]));
    endless.stdin.as_mut().unwrap().write_all(&old).unwrap();
    wait_for(|| sandbox.path("vault/file.stillkey-new").exists());
    endless.kill().unwrap();
    endless.wait().unwrap();
    assert_eq!(
        leftovers(&sandbox),
        1,
        "an interrupted replacement is left over"
    );

    for moment in moments(whole) {
        sandbox.run(&put_old).expect_status(0);
        kill_after(sandbox.start(&put_new), moment);
        // The next writer, whatever it wants, finishes or undoes.
        sandbox
            .run(call(&[
                "store", "-d", "vault", "put", "old", "other", "--force",
            ]))
            .expect_status(0);
        let found = sandbox.run(call(&["store", "-d", "vault", "cat", "file"]));
        found.expect_status(0);
        assert!(
            found.stdout == old || found.stdout == new,
            "after {moment:?}"
        );
        let verified = sandbox.run(call(&["verify", "-d", "vault", "--json"]));
        verified.expect_status(0);
        let verified = verified.json();
        assert_eq!(verified["files"], 2, "after {moment:?}: {verified}");
        for kind in [
            "unusable",
            "entries_without_file",
            "files_without_entry",
            "leftovers",
        ] {
            assert_eq!(
                verified[kind].as_array().unwrap().len(),
                0,
                "after {moment:?}: {verified}"
            );
        }
    }
}

/// What reads a pipe to its end also ends when the pipe's other end is killed.
#[test]
fn input_that_ends_early_is_told_apart_where_it_can_be() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("big", Seeded(6).bytes(300_000));
    sandbox.run(call(&["encrypt", "big"])).expect_status(0);
    let sealed = sandbox.read("big.sealed");
    let mut child = sandbox.start(call(&["decrypt", "-", "--out", "back"]));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&sealed[..200_000])
        .unwrap();
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{message}");
    assert!(message.contains("standard input: chunk"), "{message}");
    assert!(!sandbox.path("back").exists());
    let left = finish(sandbox.program("ls").arg("-A")).text();
    assert!(!left.contains(".tmp"), "{left}");
}
