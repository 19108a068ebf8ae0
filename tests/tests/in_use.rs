//! Commands that write next to a running engine, which doesn't know `stillkey.lock`: it is known by
//! its own locks.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, fcntl_lock};
use stillkey_tests::cli::Sandbox;
use stillkey_tests::vector_path;

const KEY: &str = "file:master.key";

/// Every command that writes in a data directory, each good for one run.
const WRITERS: [&str; 12] = [
    "store -d vault put new",
    "store -d vault mv file other",
    "store -d vault rm other",
    "rotate data-key -d vault",
    "rotate master-key -d vault --new-master-key file:master.key",
    "rekey -d vault",
    "rekey -d vault --dry-run",
    "keys retire vault",
    "keys restore vault",
    "compact vault",
    "reconcile vault",
    "reconcile vault --dry-run",
];

fn with_file() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    sandbox.write("file", "content");
    sandbox.write("new", "content");
    let put = ["store", "-d", "vault", "put", "file", "-k", KEY];
    sandbox.run(put).expect_status(0);
    sandbox
}

fn words<'a>(line: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    line.split(' ')
        .chain(["-k", KEY])
        .chain(more.iter().copied())
        .collect()
}

/// As TiKV makes it, in the data directory. This process is the other one.
fn hold_as_tikv(sandbox: &Sandbox) -> File {
    let lock = File::create(sandbox.path("vault/LOCK")).unwrap();
    lock.try_lock().unwrap();
    lock
}

/// As RocksDB makes it, in its directory below TiKV's.
fn hold_as_rocksdb(sandbox: &Sandbox) -> File {
    fs::create_dir_all(sandbox.path("vault/db")).unwrap();
    let lock = File::create(sandbox.path("vault/db/LOCK")).unwrap();
    fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    lock
}

#[test]
fn no_command_writes_while_an_engine_holds_its_lock() {
    let pid = format!("process {} (", std::process::id());
    type Hold = fn(&Sandbox) -> File;
    for (hold, path) in [
        (hold_as_tikv as Hold, "vault/LOCK: held by "),
        (hold_as_rocksdb, "vault/db/LOCK: held by "),
    ] {
        let sandbox = with_file();
        let lock = hold(&sandbox);
        let before = sandbox.shell("cd vault; md5sum *.dict; ls -A").text();
        for line in WRITERS {
            sandbox
                .run(words(line, &[]))
                .expect_failure(6, &[path, &pid, "; stop it first", "--even-if-in-use"]);
        }
        assert_eq!(
            sandbox.shell("cd vault; md5sum *.dict; ls -A").text(),
            before
        );
        for line in [
            "store -d vault cat file",
            "verify -d vault",
            "keys list vault",
        ] {
            let ran = sandbox.run(words(line, &[]));
            ran.expect_status(0);
            assert_eq!(ran.stderr, "", "{line}");
        }
        // Whoever insists is warned once, or with --quiet not even that.
        for line in WRITERS {
            let ran = sandbox.run(words(line, &["--even-if-in-use"]));
            ran.expect_status(0)
                .expect_message(&["warning: ", path, &pid]);
        }
        let ran = sandbox.run(words(
            "rotate data-key -d vault",
            &["--even-if-in-use", "-q"],
        ));
        ran.expect_status(0);
        assert_eq!(ran.stderr, "");

        drop(lock);
        let ran = sandbox.run(words("rotate data-key -d vault", &[]));
        ran.expect_status(0);
        assert_eq!(ran.stderr, "", "a lock that nobody holds says it all");
    }
}

#[test]
fn a_first_start_waits_for_an_engine_as_well() {
    let sandbox = Sandbox::with_vault();
    fs::create_dir(sandbox.path("data")).unwrap();
    let lock = File::create(sandbox.path("data/LOCK")).unwrap();
    lock.try_lock().unwrap();
    let init = ["init", "data", "-k", KEY];
    sandbox
        .run(init)
        .expect_failure(6, &["data/LOCK: held by process "]);
    assert!(!sandbox.path("data/key.dict").exists());
    drop(lock);
    sandbox.run(init).expect_status(0);
}

#[test]
fn an_engine_that_takes_the_lock_is_kept_out_while_a_command_writes() {
    let sandbox = with_file();
    let lock = File::create(sandbox.path("vault/LOCK")).unwrap();
    // It waits for its standard input.
    let mut put = sandbox.start(words("store -d vault put - late", &[]));
    let held = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        match lock.try_lock() {
            Ok(()) => {
                lock.unlock().unwrap();
                false
            }
            Err(_) => true,
        }
    });
    drop(put.stdin.take());
    assert!(put.wait().unwrap().success());
    assert!(held);
    lock.try_lock().unwrap();
}

#[test]
fn where_no_lock_can_be_seen_the_dictionaries_of_an_engine_are_warned_of() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("dump")).unwrap();
    for (from, to) in [
        ("tikv/rotated-data-keys/key.dict", "dump/key.dict"),
        ("tikv/rotated-data-keys/file.dict", "dump/file.dict"),
        ("tikv/keys/master-A.key", "master.key"),
    ] {
        fs::copy(vector_path(from), sandbox.path(to)).unwrap();
    }
    sandbox.shell("chmod 600 master.key").expect_status(0);
    sandbox
        .run(words("rotate data-key -d dump", &[]))
        .expect_status(0)
        .expect_message(&["warning: dump: ", "can't be seen"]);
    let ran = sandbox.run(words("rotate data-key -d dump", &["-q"]));
    ran.expect_status(0);
    assert_eq!(ran.stderr, "");
    sandbox.write("dump/LOCK", "");
    let ran = sandbox.run(words("rotate data-key -d dump", &[]));
    ran.expect_status(0);
    assert_eq!(ran.stderr, "");
}
