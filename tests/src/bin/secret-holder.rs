//! Holds secrets as an embedding process does, and aborts with a core dump when its input ends: `secret-holder MASTER_KEY_FILE DIRECTORY…`.
//!
//! With `UNPROTECTED` in the environment, secrets live on the heap.

use std::path::Path;

use stillkey::core::Reading;
use stillkey::{Dictionaries, MasterKeySource, Native};

fn main() {
    if std::env::var_os("UNPROTECTED").is_none() {
        stillkey::secret::protect();
    }
    let mut arguments = std::env::args_os().skip(1);
    let key_file = arguments.next().expect("a master key file");
    let master_key = MasterKeySource::File(key_file.into())
        .load()
        .expect("a master key")
        .key;
    let directories: Vec<_> = arguments
        .map(|directory| {
            let directory = Path::new(&directory);
            Dictionaries::read(directory, &master_key, Reading::Strict).expect("dictionaries")
        })
        .collect();
    let streams: Vec<_> = directories
        .iter()
        .map(|dictionaries| {
            let key = dictionaries.file("file").expect("an entry");
            let stream = key.stream(&Native::detect()).expect("an encrypted file");
            for len in [1, 100, 5000, 100_000] {
                stream.apply_at(3, &mut vec![0; len]).expect("no overflow");
            }
            stream
        })
        .collect();
    println!("{} streams", streams.len());
    let _ = std::io::stdin().read_line(&mut String::new());
    std::process::abort();
}
