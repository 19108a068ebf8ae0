//! Input that nobody should give, from the command line down to the disk: every command ends in one of its documented ways.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde::Deserialize;
use stillkey_core::{FileInfo, Record, Version};
use stillkey_tests::cli::Sandbox;
use stillkey_tests::random::Seeded;
use stillkey_tests::{hex, json, vector};

const KEY: [&str; 2] = ["-k", "file:master.key"];

/// A call, with the master key added.
fn call<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &KEY].concat()
}

#[derive(Deserialize)]
struct SealedCase {
    name: String,
    verdict: String,
    object: Option<String>,
    file: Option<String>,
    #[serde(default)]
    pieces: Vec<(usize, usize)>,
    master_keys: Vec<String>,
    context: std::collections::BTreeMap<String, String>,
}

impl SealedCase {
    fn bytes(&self) -> Vec<u8> {
        if let Some(object) = &self.object {
            return hex::decode(object);
        }
        let whole = vector(&format!("sealed/{}", self.file.as_ref().unwrap()));
        let pieces = self.pieces.iter().map(|&(from, to)| &whole[from..to]);
        pieces.collect::<Vec<_>>().concat()
    }
}

/// Truncated, lengthened, forged, of another version: every refused case of the format's description.
#[test]
fn sealed_objects_that_are_not_to_be_opened_are_refused_with_one_line_and_leave_nothing() {
    let sandbox = Sandbox::new();
    let cases: Vec<SealedCase> = json("sealed/v1-cases.json");
    assert!(cases.len() >= 40);
    let mut refused = 0;
    for case in cases {
        sandbox.write("case.sealed", case.bytes());
        let keys = case.master_keys.iter().enumerate().map(|(number, key)| {
            let name = format!("{number}.key");
            sandbox.write(&name, format!("{key}\n"));
            ["-k".to_owned(), format!("file:{name}")]
        });
        let context = case
            .context
            .iter()
            .map(|(key, value)| ["--context".to_owned(), format!("{key}={value}")]);
        let mut words = ["decrypt", "case.sealed", "--out", "out", "--quiet"]
            .map(str::to_owned)
            .to_vec();
        words.extend(keys.chain(context).flatten());
        let ran = sandbox.run(&words);
        if case.verdict == "opens" {
            ran.expect_status(0);
            fs::remove_file(sandbox.path("out")).unwrap();
            continue;
        }
        refused += 1;
        let status = ran.status.code();
        assert!(matches!(status, Some(2..=4)), "{}: {ran:?}", case.name);
        ran.expect_failure(status.unwrap(), &[]);
        assert!(!sandbox.path("out").exists(), "{}", case.name);
        sandbox.run(["inspect", "case.sealed"]).expect_orderly();
    }
    assert!(refused >= 30);
    let left: Vec<_> = fs::read_dir(sandbox.path("")).unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|entry| !stillkey_is_leftover(&entry.file_name().to_string_lossy())),
        "{left:?}"
    );
}

fn stillkey_is_leftover(name: &str) -> bool {
    name.ends_with(".tmp")
}

/// Every command that reads, over every file that it reads, where `path` stands for something else than the file it should be.
fn readers(path: &str) -> Vec<Vec<&str>> {
    vec![
        call(&["inspect", path]),
        call(&["decrypt", path, "--out", "out", "--force"]),
        call(&["demo", path])[..2].to_vec(),
        call(&["store", "-d", "vault", "put", path, "name", "--force"]),
        vec![
            "encrypt", "plan", "--out", "out", "--force", "-k", "file:odd",
        ],
        vec![
            "encrypt", "plan", "--out", "out", "--force", "--config", path,
        ],
    ]
}

#[test]
fn directories_pipes_sockets_and_devices_in_place_of_files_are_named_and_refused() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("plan", "attack at dawn");
    sandbox
        .shell("mkdir odd-directory && mkfifo odd-pipe")
        .expect_status(0);
    let _socket = UnixListener::bind(sandbox.path("odd-socket")).unwrap();
    symlink("/dev/zero", sandbox.path("odd-device")).unwrap();
    for kind in ["directory", "socket", "pipe", "device"] {
        let path = format!("odd-{kind}");
        let _ = fs::remove_file(sandbox.path("odd"));
        symlink(sandbox.path(&path), sandbox.path("odd")).unwrap();
        for words in readers(&path) {
            // A pipe without a writer, and a device without an end, are read for ever by those who read streams.
            let reads_streams =
                !matches!(words[0], "inspect" | "demo") && !words.contains(&"--config");
            let waits = match kind {
                "pipe" => reads_streams,
                "device" => reads_streams && words[0] != "decrypt" && !words.contains(&"file:odd"),
                _ => false,
            };
            // A directory is a tree to decrypt, and an empty one is done at once.
            let is_tree = kind == "directory" && words[0] == "decrypt";
            // A directory without dictionaries.
            let status = if kind == "directory" && words[0] == "inspect" {
                5
            } else if words.contains(&"file:odd") {
                8
            } else if kind == "device" && words[0] == "decrypt" {
                4
            } else {
                7
            };
            if !waits && !is_tree {
                sandbox.run(&words).expect_failure(status, &[]);
            }
        }
        // Where a dictionary should be, nothing but a regular file is even opened.
        for dictionary in ["key.dict", "file.dict"] {
            let copy = format!("{kind}-{dictionary}");
            sandbox.shell(&format!("cp -r vault {copy} && rm {copy}/{dictionary} && ln -s ../{path} {copy}/{dictionary}"))
                .expect_status(0);
            for words in [
                call(&["verify", "-d", &copy]),
                call(&["store", "-d", &copy, "ls"]),
                call(&["store", "-d", &copy, "put", "plan"]),
                call(&["rotate", "data-key", "-d", &copy]),
            ] {
                sandbox
                    .run(&words)
                    .expect_failure(7, &[dictionary, "expected a regular file"]);
            }
            let inspected = sandbox.run(call(&["inspect", &copy]));
            inspected.expect_status(7);
            assert!(
                inspected.text().contains("expected a regular file"),
                "{inspected:?}"
            );
        }
    }
    assert!(!sandbox.path("out").exists());
}

/// Permissions don't stop root, but nobody can read the first page of a process's memory.
#[test]
fn a_file_that_opens_but_cannot_be_read_is_named() {
    let sandbox = Sandbox::with_vault();
    let memory = "/proc/self/mem";
    for words in [
        call(&["encrypt", memory, "--out", "out"]),
        call(&["decrypt", memory, "--out", "out"]),
        call(&["store", "-d", "vault", "put", memory, "name"]),
    ] {
        sandbox
            .run(&words)
            .expect_failure(7, &[memory, "cannot read", "error 5"]);
    }
    sandbox
        .run([
            "encrypt",
            "master.key",
            "--out",
            "out",
            "-k",
            &format!("file:{memory}"),
        ])
        .expect_failure(8, &[memory]);
    assert!(!sandbox.path("out").exists());
    let verified = sandbox.run(call(&["verify", "-d", "vault", "--json"]));
    verified.expect_status(0);
    assert_eq!(verified.json()["files"], 0);
    assert_eq!(verified.json()["leftovers"].as_array().unwrap().len(), 0);
}

#[test]
fn file_names_that_are_not_utf8_work_except_as_names_in_a_dictionary() {
    let sandbox = Sandbox::with_vault();
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    let (plain, sealed) = (name(b"b\xe9\xff"), name(b"b\xe9\xff.sealed"));
    sandbox.write(plain, "content");
    let run = |words: &[&OsStr]| {
        let mut words = words.to_vec();
        words.extend(KEY.map(OsStr::new));
        sandbox.run(&words)
    };
    run(&[name(b"encrypt"), plain]).expect_status(0);
    assert!(sandbox.path(sealed).exists());
    fs::remove_file(sandbox.path(plain)).unwrap();
    run(&[name(b"decrypt"), sealed]).expect_status(0);
    assert_eq!(sandbox.read(plain), b"content");
    run(&[name(b"inspect"), sealed, name(b"--json")])
        .expect_status(0)
        .json();

    let tree = PathBuf::from(name(b"t\xff"));
    fs::create_dir_all(sandbox.path(tree.join(name(b"\xfe")))).unwrap();
    sandbox.write(tree.join(name(b"\xfe")).join(plain), "in a tree");
    run(&[name(b"encrypt"), tree.as_os_str()]).expect_status(0);
    run(&[
        name(b"decrypt"),
        name(b"t\xff.sealed"),
        name(b"--out"),
        name(b"back"),
    ])
    .expect_status(0);
    assert_eq!(
        sandbox.read(PathBuf::from("back").join(name(b"\xfe")).join(plain)),
        b"in a tree"
    );

    let put = [
        name(b"store"),
        name(b"-d"),
        name(b"vault"),
        name(b"put"),
        plain,
    ];
    run(&put).expect_failure(2, &["UTF-8", "NAME"]);
    run(&[&put[..], &[name(b"given")]].concat()).expect_status(0);
    // As a name itself, it is refused by the parser of the command line.
    run(&[&put[..], &[plain]].concat()).expect_status(2);
}

#[test]
fn the_longest_name_is_shown_and_a_longer_one_cannot_be_logged() {
    let sandbox = Sandbox::with_vault();
    let info = FileInfo::plaintext(7);
    let record = |name: &str| {
        Record::Insert {
            name,
            info: info.clone(),
        }
        .to_bytes()
    };
    let longest = "n".repeat(0xffff);
    let mut file = stillkey_core::FileDictionary::new().to_bytes(Version::V2);
    file.extend(record(&longest).unwrap());
    sandbox.write("file.dict", &file);
    let inspected = sandbox.run(["inspect", "--json", "file.dict"]);
    inspected.expect_status(0);
    let files = inspected.json()["file_dict"]["files"]
        .as_object()
        .unwrap()
        .clone();
    assert_eq!(files.keys().collect::<Vec<_>>(), [&longest]);

    let longer = format!("{longest}n");
    let error = record(&longer).unwrap_err().to_string();
    assert!(
        error.contains("65536 bytes") && error.contains("at most 65535"),
        "{error}"
    );
    // The file system's limit comes first for those who put files.
    sandbox.write("plan", "attack at dawn");
    for len in [256, 65_535, 65_536] {
        let put = sandbox.run(call(&[
            "store",
            "-d",
            "vault",
            "put",
            "plan",
            &"n".repeat(len),
        ]));
        let status = put.status.code().unwrap();
        assert!(matches!(status, 2 | 7), "{len}: {}", put.stderr);
        put.expect_failure(status, &[]);
    }
    let verified = sandbox.run(call(&["verify", "-d", "vault", "--json"]));
    verified.expect_status(0);
    assert_eq!(verified.json()["files"], 0);
}

/// Nothing that stands in a file makes a command panic, hang or end by a signal.
#[test]
fn arbitrary_bytes_as_dictionaries_and_sealed_objects_never_panic() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("plan", "attack at dawn");
    sandbox
        .run(call(&["store", "-d", "vault", "put", "plan"]))
        .expect_status(0);
    sandbox.run(call(&["encrypt", "plan"])).expect_status(0);
    let (key_dict, file_dict, sealed) = (
        sandbox.read("vault/key.dict"),
        sandbox.read("vault/file.dict"),
        sandbox.read("plan.sealed"),
    );
    sandbox.shell("cp -r vault bad").expect_status(0);
    let mut random = Seeded(41);
    for round in 0..24 {
        sandbox.write("bad/key.dict", spoilt(&key_dict, &mut random, round));
        sandbox.write(
            "bad/file.dict",
            if round % 2 == 0 {
                file_dict.clone()
            } else {
                spoilt(&file_dict, &mut random, round)
            },
        );
        if round % 2 == 1 {
            sandbox.write("bad/key.dict", &key_dict);
        }
        sandbox.write("bad.sealed", spoilt(&sealed, &mut random, round));
        for words in [
            call(&["inspect", "bad"]),
            call(&["inspect", "bad", "--records", "--reading", "tikv", "--json"]),
            call(&["inspect", "bad.sealed"]),
            call(&["decrypt", "bad.sealed", "--out", "-"]),
            call(&["decrypt", "bad.sealed", "--out", "-", "--offset", "3"]),
            call(&["verify", "-d", "bad"]),
            call(&["store", "-d", "bad", "ls"]),
            call(&["store", "-d", "bad", "cat", "plan"]),
            call(&[
                "decrypt-file",
                "-d",
                "bad",
                "--name",
                "plan",
                "--in",
                "bad/plan",
            ]),
            call(&["store", "-d", "bad", "put", "plan", "plan-2", "--force"]),
            call(&["rotate", "data-key", "-d", "bad"]),
        ] {
            sandbox.run(&words).expect_orderly();
        }
    }
}

/// A part of the file, the file with changes, or bytes that have nothing to do with it.
fn spoilt(file: &[u8], random: &mut Seeded, round: usize) -> Vec<u8> {
    let mut number = |below: usize| random.index(0..=below - 1);
    let mut bytes = file.to_vec();
    match round % 6 {
        0 | 1 => bytes.truncate(number(file.len())),
        2 | 3 => {
            for _ in 0..=number(3) {
                bytes[number(file.len())] ^= 1 << number(8);
            }
        }
        4 => (16..file.len()).for_each(|at| bytes[at] = number(256) as u8),
        _ => bytes = (0..number(400)).map(|_| number(256) as u8).collect(),
    }
    bytes
}

/// A file of 256 MiB that takes no space: reading it isn't free, but has to end, and with a message.
#[test]
fn large_files_of_zeros_are_refused() {
    let sandbox = Sandbox::with_vault();
    for name in ["key.dict", "file.dict", "object.sealed"] {
        fs::File::create(sandbox.path(name))
            .unwrap()
            .set_len(256 << 20)
            .unwrap();
        let inspected = sandbox.run(call(&["inspect", name]));
        inspected.expect_failure(4, &[name]);
    }
    sandbox
        .run(call(&["decrypt", "object.sealed"]))
        .expect_failure(4, &["not a sealed object"]);
}

/// What fails says so on stderr, in one line that names the place; stdout stays empty, or holds the JSON object with --json.
#[test]
fn failures_keep_stdout_clean_and_json_keeps_it_parseable() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("plan", "attack at dawn");
    sandbox.write(
        "vault-2.dict",
        vector("tikv/file-dict-vectors/version-3.file.dict"),
    );
    let failures: [(i32, &str, Vec<&str>); 10] = [
        (2, "usage", call(&["encrypt", "plan", "--method", "rot13"])),
        (2, "already-exists", vec!["keygen", "master.key"]),
        (
            3,
            "wrong-key",
            vec!["store", "-d", "vault", "ls", "-k", "file:other.key"],
        ),
        (4, "damaged", call(&["decrypt", "plan", "--out", "x"])),
        (4, "damaged", call(&["inspect", "vault-2.dict"])),
        (5, "not-found", call(&["encrypt", "absent"])),
        (
            5,
            "not-found",
            call(&["store", "-d", "vault", "cat", "absent"]),
        ),
        (7, "io", call(&["encrypt", "plan", "--out", "plan/x"])),
        (
            8,
            "key-source",
            vec!["encrypt", "plan", "-k", "file:absent.key"],
        ),
        (8, "key-source", vec!["encrypt", "plan"]),
    ];
    for (status, kind, words) in failures {
        sandbox.run(&words).expect_failure(status, &["; "]);
        let mut with_json = words;
        with_json.push("--json");
        let ran = sandbox.run(&with_json);
        ran.expect_status(status);
        let error = &ran.json()["error"];
        assert_eq!(error["kind"], kind, "{ran:?}");
        assert_eq!(
            ran.stderr,
            format!("stillkey: {}\n", error["message"].as_str().unwrap())
        );
    }
}
