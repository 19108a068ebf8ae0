//! Requires protected memory, and then fills it: `secret-hoarder RESERVE BYTES [FILES OFFSET]`.
//!
//! RESERVE and BYTES are in KiB. FILES files are opened, and each is read at byte OFFSET.

use std::fs::File;

use stillkey::core::{Cipher, CtrStream, DataKey, Iv, SecretBytes};
use stillkey::secret::{protection, require_protection};
use stillkey::{EncryptedFile, Native};

fn main() {
    let [reserve, bytes, files, offset] = [1, 2, 3, 4].map(|place| {
        let argument = std::env::args().nth(place);
        argument.map_or(0, |argument| argument.parse::<usize>().expect("a number"))
    });
    if let Err(error) = require_protection(reserve << 10) {
        println!("refused: {error}");
        return;
    }
    println!("required");
    let secrets: Vec<_> = (0..(bytes << 10) / 64)
        .map(|_| SecretBytes::copied(&[7; 64]))
        .collect();
    let opened: Vec<_> = (0..files).map(|_| open(offset as u64)).collect();
    let now = protection();
    println!(
        "{} secrets, {} files, {} bytes locked, {} hidden",
        secrets.len(),
        opened.len(),
        now.locked,
        now.hidden
    );
}

/// A file without an end.
fn open(offset: u64) -> EncryptedFile {
    let key = DataKey::new(Cipher::Aes256, SecretBytes::copied(&[7; 32])).expect("32 bytes");
    let stream = CtrStream::with_provider(&Native::detect(), &key, Iv::new([1; 16]));
    let file = EncryptedFile::new(File::open("/dev/zero").expect("a device"), stream);
    file.read_exact_at(&mut [0; 4096], offset).expect("zeros");
    file
}
