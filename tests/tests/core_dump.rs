//! A core dump of a process that holds keys shows none of them.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use stillkey::core::cipher::schedule;
use stillkey::core::{MasterKey, Method, RawMasterKey, Reading};
use stillkey::{Dictionaries, Entries, SysRng, write_file};
use stillkey_tests::hex;

/// What must not be found, by what it is.
type Needles = Vec<(String, Vec<u8>)>;

/// Makes a directory for each method with a file in each, and names all that is secret about it.
fn prepare(place: &Path, methods: &[Method]) -> Needles {
    let raw = RawMasterKey::random(&mut SysRng).unwrap();
    let master_key_bytes = raw.secret().danger_bytes().to_vec();
    let line = format!("{}\n", hex::encode(&master_key_bytes));
    write_file(place.join("master.key"), line.as_bytes(), false).unwrap();
    let master_key = MasterKey::Raw(raw);
    let mut needles = master_key_secrets(&master_key_bytes);
    for method in methods {
        let directory = place.join(method.name());
        let entries = Entries::create(&directory, &master_key, *method, 1).unwrap();
        entries.new_entry("file").unwrap();
        drop(entries);
        let dictionaries = Dictionaries::read(&directory, &master_key, Reading::Strict).unwrap();
        for (_, entry) in dictionaries.keys().iter() {
            needles.push((method.name().to_owned(), entry.key.danger_bytes().to_vec()));
        }
    }
    needles
}

/// A master key and each round key of its schedule. (A kernel's registers may be spilled to the stack of the thread that runs it, so
/// the round keys of data keys aren't promised.)
fn master_key_secrets(key: &[u8]) -> Needles {
    let schedule = schedule::aes::<15>(key, aes_sub_word);
    let round_keys = schedule
        .iter()
        .zip(0..)
        .map(|(round_key, round)| (format!("master key: round key {round}"), round_key.to_vec()));
    let key = ("master key".to_owned(), key.to_vec());
    [key].into_iter().chain(round_keys).collect()
}

/// The S-box of AES by its definition: FIPS 197 §5.1.1.
fn aes_sub_word(word: u32) -> u32 {
    fn multiply(a: u8, b: u8) -> u8 {
        (0..8).rev().fold(0, |product: u8, bit| {
            (product << 1) ^ (0x1b * (product >> 7)) ^ (a * (b >> bit & 1))
        })
    }
    let byte = |x: u8| {
        let inverse = (0..254).fold(1, |power, _| multiply(power, x));
        (0..5).fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
    };
    u32::from_le_bytes(word.to_le_bytes().map(byte))
}

/// The core file of a holder of the secrets below `place`: the system's where it writes one there, or else the debugger's.
fn core_of_holder(place: &Path, methods: &[Method], protected: bool) -> Vec<u8> {
    let mut holder = Command::new("sh");
    holder
        .current_dir(place)
        .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_secret-holder"))
        .arg("master.key")
        .args(methods.iter().map(|method| method.name()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if !protected {
        holder.env("UNPROTECTED", "1");
    }
    let status = end_of_holder(&mut holder, methods.len(), None);
    assert_eq!(status.signal(), Some(SIGABRT), "{status}");
    let written = || {
        let mut files = std::fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files.find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("core")
        })
    };
    if written().is_none() {
        end_of_holder(&mut holder, methods.len(), Some(place));
    }
    std::fs::read(written().expect("neither the system nor gcore wrote a core file")).unwrap()
}

const SIGABRT: i32 = 6;

/// Waits until the holder holds everything, lets the debugger dump it where `debugger_in` says so, and lets it end.
fn end_of_holder(holder: &mut Command, streams: usize, debugger_in: Option<&Path>) -> ExitStatus {
    let mut child = holder.spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, format!("{streams} streams\n"));
    if let Some(place) = debugger_in {
        let mut gcore = Command::new("gcore");
        gcore
            .arg("-o")
            .arg(place.join("core"))
            .arg(child.id().to_string());
        assert!(
            gcore
                .status()
                .expect("gcore, of Debian's package gdb")
                .success()
        );
    }
    drop(child.stdin.take());
    child.wait().unwrap()
}

fn found<'a>(needles: &'a Needles, core: &[u8]) -> Vec<&'a str> {
    needles
        .iter()
        .filter(|(_, needle)| memchr::memmem::find(core, needle).is_some())
        .map(|(name, _)| name.as_str())
        .collect()
}

const METHODS: [Method; 2] = [Method::Aes256Ctr, Method::Sm4Ctr];

#[test]
fn a_core_dump_shows_no_key_and_nothing_of_the_master_key() {
    let place = tempfile::tempdir().unwrap();
    let needles = prepare(place.path(), &METHODS);
    let core = core_of_holder(place.path(), &METHODS, true);
    assert!(core.starts_with(b"\x7fELF"));
    assert_eq!(
        found(&needles, &core),
        Vec::<&str>::new(),
        "in {} bytes",
        core.len()
    );
}

#[test]
fn without_protection_the_same_search_finds_the_keys() {
    let place = tempfile::tempdir().unwrap();
    let needles = prepare(place.path(), &METHODS);
    let core = core_of_holder(place.path(), &METHODS, false);
    let found = found(&needles, &core);
    for name in ["master key", "aes256-ctr", "sm4-ctr"] {
        assert!(found.contains(&name), "{name} isn't among {found:?}");
    }
}
