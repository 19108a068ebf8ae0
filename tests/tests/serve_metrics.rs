//! `stillkey serve-metrics` over HTTP, next to the engine that works in the directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ExitStatus};

use stillkey::{DataKeyManager, MasterKeySource};
use stillkey_tests::cli::Sandbox;

/// A server that is ended with the test, however that goes.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let listen = ["serve-metrics", "--listen", "127.0.0.1:0"];
        let mut child = sandbox.start(listen.iter().chain(arguments));
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving http://");
        let address = address.and_then(|address| address.strip_suffix("/metrics"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, address }
    }

    /// Head and body of an answer.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The value of a sample, by name and labels as they are printed.
    fn value(&self, sample: &str) -> Option<String> {
        let (head, page) = self.ask("GET /metrics");
        assert!(
            head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"),
            "{head}"
        );
        let mut lines = page.lines();
        lines.find_map(|line| Some(line.strip_prefix(sample)?.strip_prefix(' ')?.to_owned()))
    }

    fn signal(mut self, sandbox: &Sandbox, signal: &str) -> (ExitStatus, String) {
        let id = self.child.id().to_string();
        let killed = sandbox.program("kill").args([signal, &id]).status();
        assert!(killed.unwrap().success());
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        let pipe = self.child.stderr.as_mut().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        (status, stderr)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_shows_what_the_engine_does_without_its_lock_and_ends_on_a_signal() {
    let sandbox = Sandbox::with_vault();
    let source = MasterKeySource::File(sandbox.path("master.key"));
    let manager = DataKeyManager::open(sandbox.path("vault"), &source.load().unwrap().key).unwrap();
    let served = Served::start(
        &sandbox,
        &["-d", "vault", "-k", "file:master.key", "--every", "1ms"],
    );

    assert_eq!(
        served.value("tikv_encryption_file_num").as_deref(),
        Some("0")
    );
    manager.create_file("a").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(
        served.value("tikv_encryption_file_num").as_deref(),
        Some("1")
    );
    assert_eq!(
        served
            .value("tikv_encryption_data_key_storage_total")
            .as_deref(),
        Some("1")
    );
    assert_eq!(
        served.value("stillkey_files_under_older_keys").as_deref(),
        Some("0")
    );
    let keys = manager.entries().keys();
    let current = keys.current().unwrap().unwrap().1.creation_time;
    let created = served.value("stillkey_data_key_created_timestamp_seconds");
    assert_eq!(created, Some(current.to_string()));

    let (head, _) = served.ask("GET /");
    assert!(head.contains(" 404 "), "{head}");
    let (head, _) = served.ask("DELETE /metrics");
    assert!(head.contains(" 405 "), "{head}");
    let (status, stderr) = served.signal(&sandbox, "-TERM");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_directory_that_goes_away_is_unknown_until_it_is_back() {
    let sandbox = Sandbox::with_vault();
    let served = Served::start(&sandbox, &["-d", "vault", "--every", "1ms"]);
    assert_eq!(
        served.value("tikv_encryption_data_key_storage_total"),
        None,
        "no master key"
    );
    let readable = r#"stillkey_dictionary_readable{name="file_dictionary"}"#;
    assert_eq!(served.value(readable).as_deref(), Some("1"));
    std::fs::rename(sandbox.path("vault"), sandbox.path("away")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(served.value(readable).as_deref(), Some("0"));
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(
        served.value("tikv_encryption_file_num").as_deref(),
        Some("NaN")
    );
    std::fs::rename(sandbox.path("away"), sandbox.path("vault")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(served.value(readable).as_deref(), Some("1"));
    let (status, stderr) = served.signal(&sandbox, "-INT");
    assert_eq!(status.code(), Some(0));
    assert!(stderr.starts_with("stillkey: warning: vault: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "told once: {stderr}");
}

#[test]
fn a_textfile_is_kept_up_to_date_until_a_signal() {
    let sandbox = Sandbox::with_vault();
    let textfile = [
        "serve-metrics",
        "-d",
        "vault",
        "--textfile",
        "vault.prom",
        "--every",
        "10ms",
    ];
    let child = sandbox.start(textfile);
    let served = Served {
        child,
        address: String::new(),
    };
    let is_there = |text: &str| {
        let path = sandbox.path("vault.prom");
        (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::fs::read_to_string(&path).is_ok_and(|page| page.contains(text))
        })
    };
    assert!(is_there("\ntikv_encryption_file_num 0\n"));
    sandbox.write("letter", "Dear");
    let put = [
        "store",
        "-d",
        "vault",
        "-k",
        "file:master.key",
        "put",
        "letter",
    ];
    sandbox.run(put).expect_status(0);
    assert!(is_there("\ntikv_encryption_file_num 1\n"));
    let (status, stderr) = served.signal(&sandbox, "-TERM");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_address_in_use_is_a_failure_with_a_way_out() {
    let sandbox = Sandbox::with_vault();
    let served = Served::start(&sandbox, &["-d", "vault"]);
    sandbox
        .run(["serve-metrics", "-d", "vault", "--listen", &served.address])
        .expect_failure(
            7,
            &[&served.address, "choose another address with --listen"],
        );
}
