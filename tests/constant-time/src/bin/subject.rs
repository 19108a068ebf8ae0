//! The watched program: runs kernels on keys and data that are marked secret, or leaks on purpose.
//!
//! usage: subject list | kernel NAME | around | leak table|branch|vector
//!
//! It prints a line when it is ready, and begins when it reads one, so that a watcher can attach in between.

use std::hint::black_box;
use std::io::stdin;

use stillkey::Native;
use stillkey::cpu::Features;
use stillkey::kernel::Kernel;
use stillkey_constant_time::taint::{public, secret};
use stillkey_core::cipher::{Aead, AeadKey, CipherProvider, CtrKernel};
use stillkey_core::{DataKey, Iv, SecretBytes};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments != ["list"] {
        println!("ready");
        stdin().read_line(&mut String::new()).expect("a line on stdin");
    }
    match arguments[..] {
        ["list"] => list(),
        ["kernel", name] => kernel(name),
        ["around"] => around_kernels(),
        ["leak", "table"] => leak_by_table(),
        ["leak", "branch"] => leak_by_branch(),
        ["leak", "vector"] => leak_through_vector(),
        _ => panic!("unknown arguments {arguments:?}"),
    }
}

fn list() {
    let features = Features::detect();
    let runs = |kernel: &&Kernel| kernel.needs().iter().all(|need| features.has(*need));
    for kernel in Kernel::all().filter(runs) {
        println!("{}", kernel.name());
    }
}

/// Key schedules, every path by length, heads and tails, carries, and what is prepared.
fn kernel(name: &str) {
    let kernel = Kernel::all().find(|kernel| kernel.name() == name).expect("a kernel's name");
    for &cipher in kernel.ciphers() {
        let key = DataKey::new(cipher, secret_bytes(cipher.key_len())).expect("a fitting length");
        let ctr = kernel.ctr(Features::detect(), &key).expect("the processor has what it needs");
        let iv = Iv::new((u128::from(u64::MAX) - 100).to_be_bytes());
        let prepared = ctr.prepared(&iv);
        for ctr in [ctr].into_iter().chain(prepared) {
            lengths(&*ctr, &iv);
        }
    }
}

/// Paths by length: each count of blocks up to the first strides, and what stands around the widths of the wide ones.
fn lengths(ctr: &dyn CtrKernel, iv: &Iv) {
    let widths = [64, 128, 256, 512].into_iter().flat_map(|width| [width - 1, width, width + 1]);
    let mut data = vec![0; 16 * 520];
    let mut destination = data.clone();
    for blocks in (1..=40).chain(widths) {
        apply(ctr, iv, 0, &mut data[..16 * blocks]);
    }
    for (offset, len) in [(0, 1), (3, 5), (15, 2), (7, 300), (0, 257), (1, 1030)] {
        apply(ctr, iv, offset, &mut data[..len]);
    }
    // The counter's low word carries.
    apply(ctr, iv, 16 * 90 + 3, &mut data[..500]);
    secret(&data);
    let from_to = inout::InOutBuf::new(&data, &mut destination).expect("equally long");
    ctr.apply(iv, 0, from_to);
    public(&data);
    public(&destination);
}

fn apply(ctr: &dyn CtrKernel, iv: &Iv, offset: u64, data: &mut [u8]) {
    secret(data);
    ctr.apply(iv, offset, (&mut *data).into());
    public(data);
}

/// Secrets beside the kernels: authenticated encryption, and the comparison of secret bytes.
fn around_kernels() {
    for aead in [Aead::Aes256Gcm, Aead::Sm4Gcm] {
        let key = AeadKey::new(aead, secret_bytes(aead.key_len())).expect("a fitting length");
        let kernel = Native::detect().aead(&key);
        for len in [0, 1, 16, 100, 1000, 5000] {
            let mut data = vec![0; len];
            secret(&data);
            let tag = kernel.seal(&[9; 12], data.as_mut_slice().into()).expect("short enough");
            public(&tag);
            public(&data);
        }
    }
    for other in [secret_bytes(32), secret_bytes(31)] {
        let equal = [u8::from(secret_bytes(32) == other)];
        public(&equal);
        assert_eq!(equal[0] == 1, other.len() == 32);
    }
}

fn secret_bytes(len: usize) -> SecretBytes {
    let bytes = SecretBytes::new((0..).take(len).collect());
    secret(bytes.danger_bytes());
    bytes
}

/// The S-box of the crate `sm4` is a table.
fn leak_by_table() {
    use sm4::cipher::{BlockCipherEncrypt, KeyInit};
    let key = [7; 16];
    secret(&key);
    let mut block = [0; 16].into();
    sm4::Sm4::new(&key.into()).encrypt_block(&mut block);
    black_box(block);
}

fn leak_by_branch() {
    let data = black_box([7_u8; 16]);
    secret(&data);
    if data[3] & 1 == 1 {
        black_box(&data);
    }
}

/// What a kernel's bug would look like: data comes out of a vector register and becomes an index.
fn leak_through_vector() {
    let data = black_box([7_u8; 8]);
    secret(&data);
    let in_vector = f64::from_ne_bytes(data) * 1.5;
    let table = black_box([3_u8; 256]);
    black_box(table[(in_vector.to_bits() & 0xff) as usize]);
}
