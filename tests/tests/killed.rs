//! What a writer has acknowledged survives its being killed, on a real directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use stillkey::core::{MasterKey, Method, RawMasterKey, SecretBytes};
use stillkey::{DataKeyManager, Entries};
use stillkey_tests::small_disk::SmallDisk;

const KILLS: usize = 200;
const THREADS: usize = 4;
const NAMES: usize = 8;
const NOW: u64 = 1_700_000_000;

/// Makes this program the writer that is to be killed.
const WRITER: &str = "STILLKEY_TEST_WRITER";

fn master_key() -> MasterKey {
    MasterKey::Raw(RawMasterKey::new(SecretBytes::new(vec![1; 32])).unwrap())
}

fn content(number: u64) -> Vec<u8> {
    format!("content {number}; ").into_bytes().repeat(50)
}

fn random_below(end: usize) -> usize {
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    (u64::from_le_bytes(random) % end as u64) as usize
}

/// Says on standard output what it is about to do, does it, and says that it is done.
fn write_until_killed(directory: &Path) {
    let manager = DataKeyManager::open(directory, &master_key()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                manager
                    .entries()
                    .rotate_data_key(Method::Aes128Ctr, NOW)
                    .unwrap();
                manager.entries().compact().unwrap();
                thread::sleep(Duration::from_millis(3));
            }
        });
        for thread in 0..THREADS {
            let manager = &manager;
            scope.spawn(move || {
                let say = |words: String| {
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{thread} {words}")
                        .and_then(|()| out.flush())
                        .unwrap();
                };
                loop {
                    let name = |number: usize| format!("{thread}-{number}");
                    let (from, to) = (name(random_below(NAMES)), name(random_below(NAMES)));
                    let exists = |name: &str| manager.open_file(name).is_ok();
                    match random_below(3) {
                        0 if exists(&from) => {
                            say(format!("delete {from} -"));
                            manager.delete_file(&from).unwrap();
                        }
                        1 if exists(&from) && !exists(&to) => {
                            say(format!("rename {from} {to}"));
                            manager.rename_file(&from, &to).unwrap();
                        }
                        _ => {
                            let number = random_below(1_000_000) as u64;
                            say(format!("create {from} {number}"));
                            let created = manager.create_file(&from).unwrap();
                            let file = created.file();
                            file.write_all_at(&content(number), 0).unwrap();
                            file.sync().unwrap();
                        }
                    }
                    say("done - -".into());
                }
            });
        }
    });
}

/// Which content each file has, by name.
type Files = BTreeMap<String, u64>;

/// What one thread of the writers has said: its files, and what it was about to do.
#[derive(Clone, Debug, Default)]
struct Said {
    files: Files,
    begun: Option<[String; 3]>,
    done: usize,
}

impl Said {
    fn hear(&mut self, words: [String; 3]) {
        match &*words[0] {
            "done" => {
                let begun = self.begun.take().unwrap();
                apply(&mut self.files, &begun);
                self.done += 1;
            }
            _ => self.begun = Some(words),
        }
    }
}

fn apply(files: &mut Files, [what, name, with]: &[String; 3]) {
    match &**what {
        "create" => drop(files.insert(name.clone(), with.parse().unwrap())),
        "delete" => drop(files.remove(name)),
        "rename" => {
            if let Some(number) = files.remove(name) {
                files.insert(with.clone(), number);
            }
        }
        other => panic!("{other}"),
    }
}

fn run_until_killed(directory: &Path, said: &mut [Said]) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_was_acknowledged_before_a_kill_is_there_after_it",
            "--nocapture",
        ])
        .env(WRITER, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(writer.stdout.take().unwrap());
    let mut lines = out
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    // It is at work.
    let first = lines.next().unwrap();
    let rest: Vec<_> = thread::scope(|scope| {
        let reading = scope.spawn(|| lines.collect());
        thread::sleep(Duration::from_micros(random_below(30_000) as u64));
        writer.kill().unwrap();
        let killed = writer.wait().unwrap().signal();
        assert_eq!(killed, Some(9), "it ended by itself");
        reading.join().unwrap()
    });
    for line in [first].into_iter().chain(rest) {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        // The last line may be cut short.
        if let Ok([thread, words @ ..]) = <[String; 4]>::try_from(words) {
            said[thread.parse::<usize>().unwrap()].hear(words);
        }
    }
}

/// The files of a thread as they are.
fn found(manager: &DataKeyManager, thread: usize) -> BTreeMap<String, Vec<u8>> {
    let names = (0..NAMES).map(|number| format!("{thread}-{number}"));
    names
        .filter_map(|name| {
            let opened = manager.open_file(&name).ok()?;
            let file = opened.file();
            let mut content = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(&mut content, 0).unwrap();
            Some((name, content))
        })
        .collect()
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    if let Some(directory) = std::env::var_os(WRITER) {
        // A thread that fails must not leave the others to be killed as if nothing had happened.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
        return write_until_killed(directory.as_ref());
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path();
    drop(Entries::create(directory, &master_key(), Method::Aes256Ctr, NOW).unwrap());
    let mut said = vec![Said::default(); THREADS];
    let kills = KILLS * stillkey_tests::long() as usize;
    for kill in 0..kills {
        run_until_killed(directory, &mut said);
        let manager = DataKeyManager::open(directory, &master_key()).unwrap();
        for (thread, said) in said.iter_mut().enumerate() {
            let found = found(&manager, thread);
            let is = |files: &Files| {
                let contents = files
                    .iter()
                    .map(|(name, number)| (name.clone(), content(*number)));
                found == contents.collect()
            };
            let mut after = said.files.clone();
            let begun = said.begun.take();
            if let Some(begun) = &begun {
                apply(&mut after, begun);
            }
            if is(&said.files) {
                // What was begun hasn't happened.
            } else if is(&after) {
                said.files = after;
            } else {
                // A file that was being made may be absent, or as far as it was written.
                let Some([what, name, number]) = &begun else {
                    panic!("kill {kill}: {found:?}, but {said:?}");
                };
                let mut others = found.clone();
                let beginning = others.remove(name).unwrap_or_default();
                let mut expected = said.files.clone();
                expected.remove(name);
                let expected: BTreeMap<_, _> = expected
                    .iter()
                    .map(|(name, number)| (name.clone(), content(*number)))
                    .collect();
                assert!(
                    what == "create"
                        && others == expected
                        && content(number.parse().unwrap()).starts_with(&beginning),
                    "kill {kill}: {begun:?}: {found:?}, but {said:?}"
                );
                // From here on it is known again.
                if manager.entries().entry(name).is_ok() {
                    manager.delete_file(name).unwrap();
                }
                said.files.remove(name);
            }
        }
        let files: usize = said.iter().map(|said| said.files.len()).sum();
        let untracked = manager.mismatches().unwrap().files_without_entry;
        assert!(untracked.is_empty(), "kill {kill}: {untracked:?}");
        let on_disk = fs::read_dir(directory).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            !stillkey::is_dictionary_file(name.to_str().unwrap())
        });
        assert_eq!(on_disk.count(), files, "kill {kill}: nothing is left over");
    }
    let done: usize = said.iter().map(|said| said.done).sum();
    println!("{kills} kills, {done} operations acknowledged");
    assert!(done > kills, "too little was going on: {done}");
}

/// A file system of 256 KiB that is really full.
#[test]
fn a_disk_that_is_really_full_loses_nothing_and_what_is_freed_is_used() {
    let place = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(place.path());
    let directory = disk.path();
    drop(Entries::create(directory, &master_key(), Method::Aes256Ctr, NOW).unwrap());
    let manager = DataKeyManager::open(directory, &master_key()).unwrap();
    let mut files = Vec::new();
    let refused = loop {
        let number = files.len() as u64;
        let name = format!("{number}");
        let written = manager
            .create_file(&name)
            .map_err(|error| error.to_string())
            .and_then(|created| {
                let file = created.file();
                let written = file
                    .write_all_at(&content(number), 0)
                    .and_then(|()| file.sync());
                written.map_err(|error| error.to_string())
            });
        match written {
            Ok(()) => files.push(number),
            Err(error) => break error,
        }
    };
    assert!(files.len() > 10, "{}", files.len());
    assert!(refused.contains("No space left"), "{refused}");
    // More of the same doesn't do harm.
    for number in 0..20 {
        let _ = manager.entries().new_entry(&"n".repeat(4000 + number));
        let _ = manager.entries().rotate_data_key(Method::Aes256Ctr, NOW);
        let _ = manager.entries().compact();
    }
    let check = |manager: &DataKeyManager, files: &[u64]| {
        for number in files {
            let opened = manager.open_file(format!("{number}")).unwrap();
            let file = opened.file();
            let mut read = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(&mut read, 0).unwrap();
            assert_eq!(read, content(*number));
        }
    };
    check(&manager, &files);
    let freed = files.split_off(files.len() / 2);
    for number in freed {
        manager.delete_file(format!("{number}")).unwrap();
    }
    manager
        .entries()
        .rotate_data_key(Method::Aes256Ctr, NOW)
        .unwrap();
    manager
        .create_file("after")
        .unwrap()
        .file()
        .write_all_at(b"after", 0)
        .unwrap();
    drop(manager);
    let manager = DataKeyManager::open(directory, &master_key()).unwrap();
    check(&manager, &files);
    let after = manager.open_file("after").unwrap();
    assert_eq!(after.file().len().unwrap(), 5);
}
