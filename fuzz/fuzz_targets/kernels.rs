//! Every kernel that this processor runs, at any positions and lengths, equals counter mode written out. The sanitizer sees what it touches
//! beside the data.
//!
//! Input: kernel (1 byte), cipher (1), IV (16), key (32, as much of it as the cipher takes), what it is prepared for (1: 0 nothing, 1 the IV,
//! else the IV so many 256-block groups on); then any number of runs, each position (8, big-endian), length (2), 1 for in place (1).
#![no_main]

use libfuzzer_sys::fuzz_target;
use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_core::{CtrStream, DataKey, Iv, SecretBytes};
use stillkey_fuzz::by_the_book;

/// Long enough for a table to be built on the way, twice over.
const LONGEST: usize = 32 << 10;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
});

fn check(bytes: &[u8]) -> Option<()> {
    let (&[kernel, cipher], bytes) = bytes.split_first_chunk()?;
    let (&iv, bytes) = bytes.split_first_chunk()?;
    let (key, bytes) = bytes.split_at_checked(32)?;
    let (&[prepared], mut runs) = bytes.split_first_chunk()?;

    let kernels: Vec<_> = Kernel::all().collect();
    let kernel = kernels[usize::from(kernel) % kernels.len()];
    let cipher = kernel.ciphers()[usize::from(cipher) % kernel.ciphers().len()];
    let key = &key[..cipher.key_len()];
    let data_key = DataKey::new(cipher, SecretBytes::copied(key)).expect("a fitting length");
    let mut ctr = kernel.ctr(Features::detect(), &data_key)?;
    if let Some(groups) = prepared.checked_sub(1) {
        let near = Iv::new(iv).at_block(256 * u64::from(groups));
        ctr = ctr.prepared(&near).unwrap_or(ctr);
    }
    let stream = CtrStream::with_kernel(ctr, Iv::new(iv));

    while let Some((&run, rest)) = runs.split_first_chunk::<11>() {
        runs = rest;
        let [position @ .., high, low, in_place] = run;
        let len = usize::from(u16::from_be_bytes([high, low])) % LONGEST;
        let offset = u64::from_be_bytes(position).min(u64::MAX - len as u64);
        let plain: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let expected = by_the_book(cipher, key, iv, offset, &plain);
        let mut data = plain.clone();
        if in_place & 1 == 1 {
            stream.apply_at(offset, &mut data).expect("it fits");
        } else {
            stream
                .apply_at_to(offset, &plain, &mut data)
                .expect("it fits");
        }
        assert!(
            data == expected,
            "{kernel:?} {cipher:?}, {len} bytes from {offset}"
        );
    }
    Some(())
}
