//! Known plaintext and ciphertext from a counter on, and memory at every alignment with guards around it.

use inout::InOutBuf;
use stillkey_core::cipher::CtrKernel;
use stillkey_core::{Cipher, Iv};

use crate::oracle;

/// A piece of a file in both forms. The oracle encrypts it once, and every case compares with a slice of it.
pub struct Stream {
    iv: Iv,
    /// Where in the file the piece begins: a multiple of 16.
    start: u64,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
}

impl Stream {
    /// `blocks` blocks of a file with `iv`, from block `first` on.
    pub fn new(cipher: Cipher, key: &[u8], iv: u128, first: u64, blocks: usize) -> Self {
        let keystream = oracle::keystream(cipher, key, iv.wrapping_add(first.into()), blocks);
        // No period that a stride of a kernel divides.
        let plain: Vec<_> = (0..keystream.len()).map(|at| (at % 251) as u8).collect();
        let encrypted = plain.iter().zip(&keystream).map(|(a, b)| a ^ b).collect();
        Self {
            iv: Iv::new(iv.to_be_bytes()),
            start: 16 * first,
            plain,
            encrypted,
        }
    }

    /// Its initialization vector.
    pub fn iv(&self) -> &Iv {
        &self.iv
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.plain.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }
}

const GUARD: u8 = 0xee;
/// More than any vector.
const GUARD_LEN: usize = 192;
const ALIGNMENTS: usize = 64;

/// Memory for source and destination, with guards around the data.
pub struct Page {
    source: Vec<u8>,
    destination: Vec<u8>,
    capacity: usize,
    asked: usize,
    /// Of how many cases one is checked.
    every: usize,
    cases: usize,
}

impl Page {
    /// For up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let whole = || vec![GUARD; capacity + ALIGNMENTS * 2 + GUARD_LEN * 2];
        Self {
            source: whole(),
            destination: whole(),
            capacity,
            asked: 0,
            every: every(),
            cases: 0,
        }
    }

    /// The cases so far. Each was run in place and from source to destination.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// Checks bytes `from..from + len` of `stream`. Source and destination take every pair of alignments in turn.
    pub fn check(&mut self, kernel: &dyn CtrKernel, stream: &Stream, from: usize, len: usize) {
        let aligned = (
            self.cases % ALIGNMENTS,
            self.cases / ALIGNMENTS % ALIGNMENTS,
        );
        self.check_aligned(kernel, stream, from, len, aligned);
    }

    /// As [`Page::check`], with the source `aligned.0` bytes and the destination `aligned.1` bytes behind a multiple of 64.
    pub fn check_aligned(
        &mut self,
        kernel: &dyn CtrKernel,
        stream: &Stream,
        from: usize,
        len: usize,
        aligned: (usize, usize),
    ) {
        assert!(len <= self.capacity);
        self.asked += 1;
        if !self.asked.is_multiple_of(self.every) {
            return;
        }
        let what = || {
            let (iv, offset) = (stream.iv, stream.start + from as u64);
            format!("IV {iv}, offset {offset}, {len} bytes, {aligned:?} behind a multiple of 64")
        };
        let (plain, expected) = (
            &stream.plain[from..from + len],
            &stream.encrypted[from..from + len],
        );
        let offset = stream.start + from as u64;
        let source = place(&self.source, aligned.0);
        let destination = place(&self.destination, aligned.1);
        let (read, written) = (source..source + len, destination..destination + len);

        self.source[read.clone()].copy_from_slice(plain);
        let both = InOutBuf::new(
            &self.source[read.clone()],
            &mut self.destination[written.clone()],
        );
        kernel.apply(&stream.iv, offset, both.expect("equally long"));
        assert!(
            self.destination[written.clone()] == *expected,
            "to a destination: {}",
            what()
        );
        assert!(
            self.source[read.clone()] == *plain,
            "the source was changed: {}",
            what()
        );

        kernel.apply(
            &stream.iv,
            offset,
            InOutBuf::from(&mut self.source[read.clone()]),
        );
        assert!(
            self.source[read.clone()] == *expected,
            "in place: {}",
            what()
        );

        for (memory, data) in [(&mut self.source, read), (&mut self.destination, written)] {
            let around = [
                data.start - GUARD_LEN..data.start,
                data.end..data.end + GUARD_LEN,
            ];
            for guard in around {
                assert!(
                    memory[guard] == [GUARD; GUARD_LEN],
                    "beside the data: {}",
                    what()
                );
            }
            memory[data].fill(GUARD);
        }
        self.cases += 1;
    }
}

/// `STILLKEY_KERNEL_CASES=1/7` stands for every 7th case, where an emulator would take too long for all of them.
fn every() -> usize {
    let Ok(share) = std::env::var("STILLKEY_KERNEL_CASES") else {
        return 1;
    };
    let every = share
        .strip_prefix("1/")
        .and_then(|every| every.parse().ok());
    every.unwrap_or_else(|| panic!("STILLKEY_KERNEL_CASES is 1/7 or the like, not {share}"))
}

/// The index in `memory` that is `behind` bytes behind a multiple of 64, with room for a guard before it.
fn place(memory: &[u8], behind: usize) -> usize {
    GUARD_LEN + memory[GUARD_LEN..].as_ptr().align_offset(ALIGNMENTS) + behind
}
