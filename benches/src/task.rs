//! What there is to measure. A task has contenders by name; a row of the table, or a bar, picks among them.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use stillkey::Native;
use stillkey_core::{Cipher, CipherProvider, CtrStream, Iv};

use crate::ctr::{CtrWork, Start, data_key};
use crate::machine;
use crate::managed;
use crate::measure::{Contender, Effort, Pages, interleaved};
use crate::peers::Peer;
use crate::soft;

/// One thing that several contenders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Counter mode over one buffer in place, which stands at changing pages of the file.
    InPlace {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes.
        len: usize,
    },
    /// The same, and ours may prepare for the file before.
    KeptOpen {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes.
        len: usize,
    },
    /// 64 bytes in place at random offsets.
    Seek {
        /// With this cipher.
        cipher: Cipher,
        /// Whether they begin with a block.
        start: Start,
    },
    /// A new key, then 4 KiB.
    Rekey {
        /// With this cipher.
        cipher: Cipher,
    },
    /// Ours in place and from a source to a destination.
    Copy {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes each.
        len: usize,
    },
    /// Ours on one pinned thread and on two.
    Threads {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes together.
        len: usize,
    },
    /// Our AES-256 and our SM4, in place.
    BothCiphers {
        /// So many bytes.
        len: usize,
    },
    /// The body of a sealed object in chunks, and raw AES-256-GCM of the same length.
    SealedBody {
        /// So many bytes.
        len: usize,
    },
    /// An entry of a log that TiKV's engine writes, encrypted and in plaintext.
    Append {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes.
        len: usize,
        /// Whether each is made durable.
        synced: bool,
    },
    /// Entries made durable by a key manager, see [`managed`].
    Create,
    /// Entries looked up in a key manager.
    LookUp,
    /// A piece of a file that a key manager has opened.
    Read {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes.
        len: usize,
    },
    /// A directory of a million entries, opened.
    Open,
    /// The portable AES and RustCrypto's where there are no AES instructions: in a process of its own, see [`soft`].
    SoftAes {
        /// With this cipher.
        cipher: Cipher,
        /// So many bytes.
        len: usize,
    },
}

/// Ours of [`Task::Copy`]: what the other is measured by.
pub const IN_PLACE: &str = "in place";
/// Ours of [`Task::Copy`].
pub const COPIED: &str = "source to destination";
/// Ours of [`Task::Threads`]: what the other is measured by.
pub const ONE_THREAD: &str = "one thread";
/// Ours of [`Task::Threads`].
pub const TWO_THREADS: &str = "two threads";
/// Ours of [`Task::SealedBody`].
pub const SEALED: &str = "stillkey sealed";
/// Of [`Task::Append`]: what the other is measured by.
pub const LOG_IN_PLAINTEXT: &str = "log in plaintext";
/// Ours of [`Task::Append`].
pub const LOG_ENCRYPTED: &str = "log encrypted";

const KEY: [u8; 32] = [7; 32];
const IV: Iv = Iv::new([0x11; 16]);

impl Task {
    /// Bytes per operation.
    pub fn bytes(self) -> usize {
        match self {
            Self::InPlace { len, .. }
            | Self::KeptOpen { len, .. }
            | Self::Copy { len, .. }
            | Self::Threads { len, .. }
            | Self::BothCiphers { len }
            | Self::SealedBody { len }
            | Self::Append { len, .. }
            | Self::Read { len, .. }
            | Self::SoftAes { len, .. } => len,
            Self::Seek { .. } => 64,
            Self::Rekey { .. } => 4096,
            Self::Create | Self::LookUp | Self::Open => 0,
        }
    }

    /// Everyone who can do it here.
    ///
    /// # Errors
    /// Why it can't be measured here.
    pub fn contenders(self, peers: &[Peer]) -> Result<Vec<Contender>, String> {
        Ok(match self {
            Self::InPlace { cipher, len } => {
                CtrWork::new(cipher, len, Start::Page).contenders(peers)
            }
            Self::KeptOpen { cipher, len } => {
                let work = CtrWork::new(cipher, len, Start::Page);
                let mut all = work.kept_open();
                all.extend(work.contenders(peers));
                all
            }
            Self::Seek { cipher, start } => CtrWork::new(cipher, 64, start).contenders(peers),
            Self::Rekey { cipher } => CtrWork::new(cipher, 4096, Start::Page)
                .rekeyed()
                .contenders(peers),
            Self::Copy { cipher, len } => copy(cipher, len),
            Self::Threads { cipher, .. } => threads(cipher)?,
            Self::BothCiphers { .. } => [Cipher::Aes256, Cipher::Sm4].map(whole).into(),
            Self::SealedBody { len } => sealed_body(len)?,
            Self::Append {
                cipher,
                len,
                synced,
            } => append(cipher, len, synced)?,
            Self::Create => managed::creates(),
            Self::LookUp => managed::look_ups(),
            Self::Read { cipher, len } => managed::reads(cipher, len),
            Self::Open => managed::opening(),
            Self::SoftAes { .. } => return Err("measured in a process of its own".to_owned()),
        })
    }
}

fn stream(cipher: Cipher) -> CtrStream {
    let key = data_key(cipher, &KEY[..cipher.key_len()]);
    CtrStream::with_kernel(Native::detect().ctr(&key), IV)
}

fn apply(stream: &CtrStream, offset: u64, data: &mut [u8]) {
    stream
        .apply_at(offset, data)
        .expect("far from the last byte");
}

/// Named as its method.
fn whole(cipher: Cipher) -> Contender {
    let stream = stream(cipher);
    Contender::new(cipher.method().name(), move |data| apply(&stream, 0, data))
}

fn copy(cipher: Cipher, len: usize) -> Vec<Contender> {
    let (one, other, mut source) = (stream(cipher), stream(cipher), Pages::new(len));
    vec![
        Contender::new(IN_PLACE, move |data| apply(&one, 0, data)),
        Contender::new(COPIED, move |data| {
            let done = other.apply_at_to(0, source.bytes(), data);
            done.expect("equally long");
        }),
    ]
}

fn threads(cipher: Cipher) -> Result<Vec<Contender>, String> {
    let [first, second, ..] = *machine::all_cpus() else {
        return Err("this process can be pinned to less than two processors".to_owned());
    };
    let (one, two) = (stream(cipher), stream(cipher));
    // Both by the wall clock: processor time would hide it if the threads waited for each other.
    let alone = Contender::timing_itself(ONE_THREAD, move |data, times| {
        let start = Instant::now();
        for _ in 0..times {
            apply(&one, 0, data);
        }
        start.elapsed()
    });
    let together = Contender::timing_itself(TWO_THREADS, move |data, times| {
        let half = data.len() / 2;
        let (front, back) = data.split_at_mut(half);
        let ready = AtomicUsize::new(0);
        let work = |cpu, offset, part: &mut [u8]| {
            machine::pin(cpu);
            apply(&two, offset, part);
            // Nobody sleeps here: to be woken takes as long as some operations.
            ready.fetch_add(1, Ordering::Relaxed);
            while ready.load(Ordering::Relaxed) < 2 {
                spin_loop();
            }
            let start = Instant::now();
            for _ in 0..times {
                apply(&two, offset, part);
            }
            (start, Instant::now())
        };
        let spans = thread::scope(|scope| {
            let front = scope.spawn(|| work(first, 0, front));
            let back = scope.spawn(|| work(second, half as u64, back));
            [front, back].map(|thread| thread.join().expect("no panic"))
        });
        // From the first to begin to the last to end: that they begin apart counts against us.
        let start = spans.iter().map(|(start, _)| *start).min();
        let end = spans.iter().map(|(_, end)| *end).max();
        end.zip(start)
            .map(|(end, start)| end - start)
            .unwrap_or_default()
    });
    Ok(vec![alone, together])
}

#[cfg(feature = "aws-lc")]
fn sealed_body(len: usize) -> Result<Vec<Contender>, String> {
    Ok(crate::sealed::contenders(len))
}

#[cfg(not(feature = "aws-lc"))]
fn sealed_body(_: usize) -> Result<Vec<Contender>, String> {
    Err("built without feature aws-lc".to_owned())
}

#[cfg(feature = "raft-engine")]
fn append(cipher: Cipher, len: usize, synced: bool) -> Result<Vec<Contender>, String> {
    Ok(crate::raft_log::contenders(cipher, len, synced))
}

#[cfg(not(feature = "raft-engine"))]
fn append(_: Cipher, _: usize, _: bool) -> Result<Vec<Contender>, String> {
    Err("built without feature raft-engine".to_owned())
}

/// The times of one task, in nanoseconds per operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times(pub Vec<(String, f64)>);

impl Times {
    /// That of the contender `name`.
    pub fn of(&self, name: &str) -> Option<f64> {
        let mut named = self.0.iter().filter(|(contender, _)| contender == name);
        named.next().map(|(_, time)| *time)
    }

    /// The shorter time of both for each contender.
    #[must_use]
    pub fn best_of(mut self, other: &Self) -> Self {
        for (name, time) in &mut self.0 {
            *time = other.of(name).map_or(*time, |other| time.min(other));
        }
        self
    }
}

/// What measures tasks: the memory and the peers that they share.
#[derive(Debug)]
pub struct Bench {
    /// Whom ours are compared with.
    pub peers: Vec<Peer>,
    pages: Pages,
}

impl Bench {
    /// Pins this thread.
    pub fn new() -> Self {
        if let [cpu, ..] = *machine::all_cpus() {
            machine::pin(cpu);
        }
        Self {
            peers: crate::peers::all(),
            pages: Pages::new(0),
        }
    }

    /// Measures those contenders of `task` once whose names are `wanted`.
    ///
    /// # Errors
    /// Why it can't be measured here.
    pub fn measure(
        &mut self,
        task: Task,
        effort: Effort,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Times, String> {
        if let Task::SoftAes { cipher, len } = task {
            return soft::measure(cipher, len, effort);
        }
        let mut contenders = task.contenders(&self.peers)?;
        contenders.retain(|contender| wanted(contender.name()));
        if self.pages.bytes().len() < task.bytes() {
            self.pages = Pages::new(task.bytes());
        }
        let data = &mut self.pages.bytes()[..task.bytes()];
        let effort = match task {
            // Threads have to be started for every slice; a log has to fill some files.
            Task::Threads { .. } | Task::Append { .. } => effort.longer(),
            Task::Create => effort.longer().longer(),
            _ => effort,
        };
        let times = interleaved(&mut contenders, data, effort);
        let names = contenders
            .iter()
            .map(|contender| contender.name().to_owned());
        Ok(Times(names.zip(times).collect()))
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}
