//! The watched program: runs kernels on keys and data that are marked secret, or leaks on purpose.
//!
//! usage: subject list | kernel NAME CIPHER | seal NAME | compare | leak table|branch|vector
//!
//! It prints a line when it is ready, and begins when it reads one, so that a watcher can attach in between.

use std::hint::black_box;
use std::io::stdin;

use inout::InOutBuf;
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
        stdin()
            .read_line(&mut String::new())
            .expect("a line on stdin");
    }
    match arguments[..] {
        ["list"] => list(),
        ["kernel", name, cipher] => kernel(name, cipher),
        ["seal", name] => seal(name),
        ["compare"] => compare(),
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
        for cipher in kernel.ciphers() {
            println!("{} {}", kernel.name(), cipher.method().name());
        }
    }
}

/// Key schedule, counter mode, and counter mode with what can be prepared.
fn kernel(name: &str, cipher: &str) {
    let kernel = Kernel::all()
        .find(|kernel| kernel.name() == name)
        .expect("a kernel's name");
    let cipher = kernel
        .ciphers()
        .iter()
        .find(|known| known.method().name() == cipher);
    let &cipher = cipher.expect("a cipher of the kernel");
    let key = DataKey::new(cipher, secret_bytes(cipher.key_len())).expect("a fitting length");
    let ctr = kernel
        .ctr(Features::detect(), &key)
        .expect("the processor has what it needs");
    let iv = Iv::new((7 << 64 | 0x0123_4512_u128).to_be_bytes());
    let prepared = ctr.prepared(&iv);
    for ctr in [ctr].into_iter().chain(prepared) {
        lengths(&*ctr, &iv);
    }
}

/// The paths that the length chooses: every count of blocks up to the stride of the widest vectors, those around wider strides, and what is long
/// enough for a table to be made on the way.
fn lengths(ctr: &dyn CtrKernel, iv: &Iv) {
    let mut data = vec![0; 16 * 1100];
    for blocks in (1..=40).chain([63, 64, 65, 127, 128, 129, 256, 257, 1100]) {
        apply(ctr, iv, 0, &mut data[..16 * blocks]);
    }
    for (offset, len) in [(0, 1), (3, 5), (15, 2), (7, 300), (0, 257), (1, 1030)] {
        apply(ctr, iv, offset, &mut data[..len]);
    }
    // What a prepared kernel begins with and ends with, from every place in a group of 256 blocks.
    for more in (0..=32).step_by(3) {
        let start = 16 * (8 * more + more / 4);
        apply(ctr, iv, start as u64, &mut data[..16 * (64 + more)]);
    }
    // The counter's low word carries in the middle; then other bytes than those that a kernel was prepared for.
    for blocks in (1..=33).chain([64, 65, 129, 257]) {
        let before = u128::from(u32::MAX) - blocks as u128 / 2;
        apply(
            ctr,
            &Iv::new(before.to_be_bytes()),
            0,
            &mut data[..16 * blocks],
        );
    }
    apply(
        ctr,
        &Iv::new((u128::from(u64::MAX) - 9).to_be_bytes()),
        3,
        &mut data[..500],
    );
    apply(ctr, iv, 16 << 40, &mut data[..500]);

    let mut destination = [0; 500];
    secret(&mut data);
    let both = InOutBuf::new(&data[..500], &mut destination).expect("equally long");
    ctr.apply(iv, 0, both);
    public(&mut data);
    public(&mut destination);
}

fn apply(ctr: &dyn CtrKernel, iv: &Iv, offset: u64, data: &mut [u8]) {
    secret(data);
    ctr.apply(iv, offset, (&mut *data).into());
    public(data);
}

/// Authenticated encryption. Decryption tells by its result whether the tag fits, which is not a secret, but starts as one.
fn seal(name: &str) {
    let aead = [Aead::Aes256Gcm, Aead::Sm4Gcm]
        .into_iter()
        .find(|aead| aead.name() == name);
    let aead = aead.expect("a cipher's name");
    let key = AeadKey::new(aead, secret_bytes(aead.key_len())).expect("a fitting length");
    let kernel = Native::detect().aead(&key);
    for len in [0, 1, 16, 100, 1000, 5000] {
        let mut data = vec![0; len];
        secret(&mut data);
        let sealed = kernel.seal(&[9; 12], data.as_mut_slice().into());
        public(&mut sealed.expect("short enough"));
        public(&mut data);
    }
}

fn compare() {
    for other in [secret_bytes(32), secret_bytes(31)] {
        let mut equal = [u8::from(secret_bytes(32) == other)];
        public(&mut equal);
        assert_eq!(equal[0] == 1, other.len() == 32);
    }
}

fn secret_bytes(len: usize) -> SecretBytes {
    let mut bytes: Vec<u8> = (0..).take(len).collect();
    bytes.shrink_to_fit();
    secret(&mut bytes);
    SecretBytes::new(bytes)
}

/// The S-box of the crate `sm4` is a table.
fn leak_by_table() {
    use sm4::cipher::{BlockCipherEncrypt, KeyInit};
    let mut key = [7; 16];
    secret(&mut key);
    let mut block = [0; 16].into();
    sm4::Sm4::new(&key.into()).encrypt_block(&mut block);
    black_box(block);
}

fn leak_by_branch() {
    let mut data = black_box([7_u8; 16]);
    secret(&mut data);
    if data[3] & 1 == 1 {
        black_box(&data);
    }
}

/// What a kernel's bug would look like: data comes out of a vector register and becomes an index.
fn leak_through_vector() {
    let mut data = black_box([7_u8; 8]);
    secret(&mut data);
    let in_vector = f64::from_ne_bytes(data) * 1.5;
    let table = black_box([3_u8; 256]);
    black_box(table[(in_vector.to_bits() & 0xff) as usize]);
}
