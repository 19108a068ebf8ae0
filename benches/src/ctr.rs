//! Counter mode as work to be measured: whose turn it is changes, and key, IV, offsets, length and the right answer stay.

use std::cell::OnceCell;
use std::sync::Arc;

use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_core::{Cipher, CtrKernel, CtrStream, DataKey, Iv, SecretBytes};

use crate::ffi;
use crate::measure::Contender;
use crate::peers::{Peer, Stream, oracle};

/// The name of the register-only loop among contenders.
pub const LIMIT: &str = "limit";

/// Where calls begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At pages of 4 KiB.
    Page,
    /// At blocks of 16 bytes.
    Block,
    /// At any byte.
    Byte,
}

/// What is done with counter mode, by every contender alike.
#[derive(Debug)]
pub struct CtrWork {
    /// The cipher.
    pub cipher: Cipher,
    /// Its key.
    pub key: Arc<DataKey>,
    /// The one that it changes with, where every call begins with another.
    other_key: Arc<DataKey>,
    /// Of the file. Its low 32 bits are far from a carry, which some peers don't do.
    pub iv: Iv,
    /// Bytes per call, in place.
    pub len: usize,
    /// Every call begins with another key.
    pub rekeyed: bool,
    offsets: Offsets,
    answer: OnceCell<Vec<u8>>,
}

/// Random places in a file of 4 GiB, the same ones for everybody, one after the other.
#[derive(Clone, Debug)]
struct Offsets {
    all: Box<[u64; 256]>,
    next: u8,
}

impl Offsets {
    fn new(start: Start) -> Self {
        let unit = match start {
            Start::Page => 4096,
            Start::Block => 16,
            Start::Byte => 1,
        };
        // Weyl's sequence: multiples of an odd number, here of 2^64 / the golden ratio, spread over all places.
        let place = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let all = Box::new(std::array::from_fn(|i| place(i) / unit * unit));
        Self { all, next: 0 }
    }

    fn next(&mut self) -> u64 {
        let offset = self.all[usize::from(self.next)];
        self.next = self.next.wrapping_add(1);
        offset
    }
}

impl CtrWork {
    /// Calls of `len` bytes that begin at `start`s.
    pub fn new(cipher: Cipher, len: usize, start: Start) -> Self {
        let key = |byte| data_key(cipher, &vec![byte; cipher.key_len()]);
        Self {
            cipher,
            key: Arc::new(key(1)),
            other_key: Arc::new(key(2)),
            iv: Iv::new(*b"\xffthe file's\xfe1234"),
            len,
            rekeyed: false,
            offsets: Offsets::new(start),
            answer: OnceCell::new(),
        }
    }

    /// The same with a new key for every call.
    #[must_use]
    pub fn rekeyed(mut self) -> Self {
        self.rekeyed = true;
        self
    }

    /// Everyone who can do it: our kernels, the fastest first, then `peers`, then the limit. Each has shown that its answer is right.
    pub fn contenders(&self, peers: &[Peer]) -> Vec<Contender> {
        let mut all: Vec<_> = Kernel::all()
            .filter_map(|kernel| Ours::new(kernel, self))
            .map(|ours| self.contender_of(ours_by(ours.kernel.name()), ours))
            .collect();
        all.extend(peers.iter().filter_map(|peer| peer.contender(self)));
        if !self.rekeyed {
            let features = Features::detect();
            all.extend(ffi::limit::contender(
                LIMIT,
                features,
                self.cipher,
                self.len,
            ));
        }
        all
    }

    /// The kernels as they run for a file that is kept open.
    pub fn kept_open(&self) -> Vec<Contender> {
        Kernel::all()
            .filter_map(|kernel| Ours::new(kernel, self))
            .map(|ours| self.contender_of(kept_open_by(ours.kernel.name()), ours.kept_open()))
            .collect()
    }

    /// `stream` with this to do, once its answers have proved right.
    ///
    /// # Panics
    /// When they are wrong: then there is nothing to time.
    pub(crate) fn contender_of(
        &self,
        name: impl Into<String>,
        mut stream: impl Stream,
    ) -> Contender {
        let name = name.into();
        self.check(&name, &mut stream);
        let mut offsets = self.offsets.clone();
        if self.rekeyed {
            let keys = [Arc::clone(&self.key), Arc::clone(&self.other_key)];
            let mut turn = 0;
            return Contender::new(name, move |data| {
                turn ^= 1;
                stream.rekey(&keys[turn]);
                stream.apply(offsets.next(), data);
            });
        }
        Contender::new(name, move |data| stream.apply(offsets.next(), data))
    }

    fn check(&self, name: &str, stream: &mut impl Stream) {
        let answer = self
            .answer
            .get_or_init(|| self.answers(|offset, data| oracle(&self.key, self.iv, offset, data)));
        let given = self.answers(|offset, data| {
            if self.rekeyed {
                stream.rekey(&self.key);
            }
            stream.apply(offset, data);
        });
        assert!(
            given == *answer,
            "{name}: {}, {} bytes: the answer is wrong, so there is nothing to time",
            self.cipher.method().name(),
            self.len
        );
    }

    /// What `apply` makes of the first calls: of all places for short ones, of the first for long ones.
    fn answers(&self, mut apply: impl FnMut(u64, &mut [u8])) -> Vec<u8> {
        let mut offsets = self.offsets.clone();
        let calls = if self.len <= 4096 { 256 } else { 1 };
        let mut data: Vec<u8> = (0..=250).cycle().take(calls * self.len).collect();
        for call in data.chunks_mut(self.len) {
            apply(offsets.next(), call);
        }
        data
    }
}

/// The name of a kernel of ours among contenders.
pub fn ours_by(kernel: &str) -> String {
    format!("stillkey {kernel}")
}

/// The same for a file that is kept open.
pub fn kept_open_by(kernel: &str) -> String {
    format!("stillkey {kernel}, kept open")
}

/// A kernel of ours, called as a program calls it.
struct Ours {
    kernel: &'static Kernel,
    features: Features,
    iv: Iv,
    stream: CtrStream,
    expanded: Arc<dyn CtrKernel>,
}

impl Ours {
    /// `None` where the kernel doesn't run on this machine, or not this cipher.
    fn new(kernel: &'static Kernel, work: &CtrWork) -> Option<Self> {
        let features = Features::detect();
        let expanded = kernel.ctr(features, &work.key)?;
        Some(Self {
            kernel,
            features,
            iv: work.iv,
            stream: CtrStream::with_kernel(Arc::clone(&expanded), work.iv),
            expanded,
        })
    }

    fn kept_open(self) -> Self {
        let expanded = self.expanded.prepared(&self.iv).unwrap_or(self.expanded);
        Self {
            stream: CtrStream::with_kernel(Arc::clone(&expanded), self.iv),
            expanded,
            ..self
        }
    }
}

impl Stream for Ours {
    fn rekey(&mut self, key: &DataKey) {
        let expanded = self.kernel.ctr(self.features, key).expect("it ran before");
        self.stream = CtrStream::with_kernel(expanded, self.iv);
    }

    fn apply(&mut self, offset: u64, data: &mut [u8]) {
        self.stream
            .apply_at(offset, data)
            .expect("far from the last byte");
    }
}

/// A data key of these bytes.
///
/// # Panics
/// When there are too many or too few of them.
pub fn data_key(cipher: Cipher, bytes: &[u8]) -> DataKey {
    DataKey::new(cipher, SecretBytes::copied(bytes)).expect("the key has its cipher's length")
}
