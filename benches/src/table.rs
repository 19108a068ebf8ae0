//! One table of ratios, for the README and for whoever doubts it.

use std::io::{self, Write};

use serde_json::{Value, json};
use stillkey::Native;
use stillkey::cpu::Features;
use stillkey_core::{Cipher, CipherProvider};

use crate::ctr::{LIMIT, Start, kept_open_by, ours_by};
use crate::ffi;
use crate::machine::Machine;
use crate::managed::{CREATE_ALONE, CREATE_TOGETHER, READ_ENCRYPTED, READ_PLAIN};
use crate::measure::Effort;
use crate::peers::{OPENSSL, Peer};
use crate::task::{
    Bench, COPIED, IN_PLACE, LOG_ENCRYPTED, LOG_IN_PLAINTEXT, ONE_THREAD, SEALED, TWO_THREADS,
    Task, Times,
};
use crate::text::{ratio, size, speed};

const LENGTHS: [usize; 7] = [64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20];
/// At which lesser kernels are shown, too.
const TYPICAL: usize = 16 << 10;

/// What the table has, with what it is called there.
fn tasks() -> Vec<(String, Task)> {
    let mut tasks = Vec::new();
    for cipher in Cipher::ALL {
        let name = cipher.method().name();
        for len in LENGTHS {
            let what = format!("{name}, {}", size(len));
            tasks.push((what, Task::InPlace { cipher, len }));
        }
        let kept_open = Task::KeptOpen {
            cipher,
            len: 4 << 10,
        };
        tasks.push((format!("{name}, 4 KiB of a file kept open"), kept_open));
        for (start, unit) in [(Start::Block, "block"), (Start::Byte, "byte")] {
            let what = format!("{name}, 64 B at a random {unit}");
            tasks.push((what, Task::Seek { cipher, start }));
        }
        tasks.push((format!("{name}, new key and 4 KiB"), Task::Rekey { cipher }));
    }
    let cipher = Cipher::Aes256;
    let more = [
        (
            "aes256-ctr, 1 MiB, source to destination",
            Task::Copy {
                cipher,
                len: 1 << 20,
            },
        ),
        (
            "aes256-ctr, 16 MiB, two threads",
            Task::Threads {
                cipher,
                len: 16 << 20,
            },
        ),
        (
            "sealed body, aes256-gcm, 1 MiB",
            Task::SealedBody { len: 1 << 20 },
        ),
    ];
    tasks.extend(more.map(|(what, task)| (what.to_owned(), task)));
    let logs = [Cipher::Aes256, Cipher::Sm4].into_iter();
    for cipher in logs.filter(|_| cfg!(feature = "raft-engine")) {
        for (len, synced) in [(4 << 10, true), (64 << 10, true), (64 << 10, false)] {
            let (name, how) = (cipher.method().name(), if synced { ", synced" } else { "" });
            let what = format!("raft-engine, {name}, appending {}{how}", size(len));
            let task = Task::Append {
                cipher,
                len,
                synced,
            };
            tasks.push((what, task));
        }
    }
    tasks
}

/// Measures everything and writes it to `out` as Markdown.
///
/// # Errors
/// Those of `out`.
pub fn markdown(bench: &mut Bench, effort: Effort, out: &mut impl Write) -> io::Result<()> {
    preamble(&bench.peers, out)?;
    writeln!(
        out,
        "| what | kernel | Stillkey | best peer | ÷ best peer | ÷ OpenSSL | ÷ limit |\n|---|---|---|---|---|---|---|"
    )?;
    for (what, task) in tasks() {
        match bench.measure(task, effort, |_| true) {
            Ok(times) => {
                for row in rows(task, &bench.peers, &times) {
                    writeln!(out, "| {what} | {}", row.markdown(task.bytes()))?;
                }
            }
            Err(why) => writeln!(out, "| {what} | not measured: {why} | | | | | |")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Measures everything and writes the times of all contenders to `out` as JSON, in nanoseconds.
///
/// # Errors
/// Those of `out`.
pub fn json(bench: &mut Bench, effort: Effort, out: &mut impl Write) -> io::Result<()> {
    let machine = Machine::here();
    let peers: serde_json::Map<_, _> = bench
        .peers
        .iter()
        .map(|peer| (peer.name.to_owned(), json!(peer.version.as_ref().ok())))
        .collect();
    let rows: Vec<Value> = tasks()
        .into_iter()
        .map(|(what, task)| {
            let times = bench.measure(task, effort, |_| true).unwrap_or_default().0;
            let times: serde_json::Map<_, _> = times
                .into_iter()
                .map(|(name, time)| (name, json!(time)))
                .collect();
            json!({ "what": what, "bytes": task.bytes(), "nanoseconds": times })
        })
        .collect();
    let all = json!({
        "processor": machine.processor,
        "features": machine.feature_names(),
        "processors": machine.cpus,
        "date": machine.date,
        "peers": peers,
        "rows": rows,
    });
    writeln!(out, "{all:#}")
}

/// Where, when and beside whom.
///
/// # Errors
/// Those of `out`.
pub fn preamble(peers: &[Peer], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}\n", Machine::here())?;
    for peer in peers {
        match &peer.version {
            Ok(version) => writeln!(out, "- {}: {version}", peer.name)?,
            Err(why) => writeln!(out, "- {}: not here ({why})", peer.name)?,
        }
    }
    if let Some(instruction) = ffi::limit::instruction(Features::detect()) {
        writeln!(
            out,
            "- limit: {instruction} in registers alone, for the rounds of as many blocks"
        )?;
    }
    writeln!(out)
}

/// One of ours beside the others of its task.
struct Row {
    kernel: String,
    ours: f64,
    best_peer: Option<(String, f64)>,
    openssl: Option<f64>,
    limit: Option<f64>,
}

impl Row {
    fn new(kernel: &str, ours: f64, peers: &[Peer], times: &Times) -> Self {
        let theirs = peers.iter().filter_map(|peer| {
            let time = times.of(peer.name)?;
            Some((peer.name.to_owned(), time))
        });
        Self {
            kernel: kernel.to_owned(),
            ours,
            best_peer: theirs.reduce(|a, b| if b.1 < a.1 { b } else { a }),
            openssl: times.of(OPENSSL),
            limit: times.of(LIMIT),
        }
    }

    /// Its cells after the first. Long operations are shown by their speed, short ones by their time; ratios are always of speeds.
    fn markdown(&self, len: usize) -> String {
        let shown = |time: f64| match len {
            ..1024 => format!("{time:.1} ns"),
            _ => speed(len, time),
        };
        let cell = |time: Option<f64>| time.map_or("-".to_owned(), |time| ratio(time / self.ours));
        let best = self.best_peer.as_ref();
        format!(
            "{} | {} | {} | {} | {} | {} |",
            self.kernel,
            shown(self.ours),
            best.map_or("-".to_owned(), |(name, time)| format!(
                "{name}, {}",
                shown(*time)
            )),
            cell(best.map(|(_, time)| *time)),
            cell(self.openssl),
            cell(self.limit),
        )
    }
}

/// The rows of a task: the kernel that this machine picks, and at one length all others.
fn rows(task: Task, peers: &[Peer], times: &Times) -> Vec<Row> {
    let native = Native::detect();
    let row = |kernel: &str, name: &str| Some(Row::new(kernel, times.of(name)?, peers, times));
    match task {
        Task::InPlace { cipher, .. } | Task::Seek { cipher, .. } | Task::Rekey { cipher } => {
            let picked = native.name(cipher);
            let kernels = stillkey::kernel::Kernel::all()
                .map(|kernel| kernel.name())
                .filter(|name| {
                    *name == picked
                        || task
                            == Task::InPlace {
                                cipher,
                                len: TYPICAL,
                            }
                });
            kernels
                .filter_map(|kernel| row(kernel, &ours_by(kernel)))
                .collect()
        }
        Task::KeptOpen { cipher, .. } => {
            let picked = native.name(cipher);
            row(picked, &kept_open_by(picked)).into_iter().collect()
        }
        Task::Copy { cipher, .. } => against(native.name(cipher), COPIED, IN_PLACE, times),
        Task::Threads { cipher, .. } => {
            against(native.name(cipher), TWO_THREADS, ONE_THREAD, times)
        }
        Task::Append { cipher, .. } => {
            against(native.name(cipher), LOG_ENCRYPTED, LOG_IN_PLAINTEXT, times)
        }
        Task::SealedBody { .. } => row("-", SEALED).into_iter().collect(),
        Task::Read { cipher, .. } => {
            against(native.name(cipher), READ_ENCRYPTED, READ_PLAIN, times)
        }
        Task::Create => against("-", CREATE_TOGETHER, CREATE_ALONE, times),
        Task::BothCiphers { .. } | Task::SoftAes { .. } | Task::LookUp | Task::Open => Vec::new(),
    }
}

/// One of ours beside another of ours.
fn against(kernel: &str, ours: &str, other: &str, times: &Times) -> Vec<Row> {
    let pair = times.of(ours).zip(times.of(other));
    let row = pair.map(|(time, base)| Row {
        kernel: kernel.to_owned(),
        ours: time,
        best_peer: Some((format!("ours {other}"), base)),
        openssl: None,
        limit: None,
    });
    row.into_iter().collect()
}
