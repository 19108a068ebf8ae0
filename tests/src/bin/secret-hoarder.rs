//! Requires protected memory, and then fills it: `secret-hoarder RESERVE BYTES`, both in KiB.

use stillkey::core::SecretBytes;
use stillkey::secret::{protection, require_protection};

fn main() {
    let [reserve, bytes] = [1, 2].map(|place| {
        let argument = std::env::args().nth(place).expect("two numbers");
        argument.parse::<usize>().expect("a number") << 10
    });
    if let Err(error) = require_protection(reserve) {
        println!("refused: {error}");
        return;
    }
    println!("required");
    let secrets: Vec<_> = (0..bytes / 64)
        .map(|_| SecretBytes::copied(&[7; 64]))
        .collect();
    let now = protection();
    println!(
        "{} secrets, {} bytes locked, {} hidden",
        secrets.len(),
        now.locked,
        now.hidden
    );
}
