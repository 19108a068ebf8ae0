//! A master key that a command prints: a password manager, a secret store's client, a hardware token's tool.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use stillkey_core::SecretBytes;
use zeroize::Zeroizing;

use super::{LIMIT, hex};

/// Runs `sh -c command`, without standard input (which may carry data) and with this process's standard error.
pub(super) fn load(command: &str) -> Result<SecretBytes, String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start 'sh': {error}; check that a shell is installed"))?;
    let output = read(&mut child);
    if output.is_err() {
        // It may be writing still, and would wait for a reader for ever. That it has ended already is fine.
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for the command: {error}; try again"))?;
    let output = output?;
    if !status.success() {
        return Err(format!(
            "the command failed ({status}); run it by hand to see why"
        ));
    }
    hex::decode_trimmed(&output).map_err(|why| format!("in what the command printed, {why}"))
}

fn read(child: &mut Child) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut output = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    let pipe = child
        .stdout
        .take()
        .ok_or("the command has no standard output; check the command")?;
    pipe.take(LIMIT as u64 + 1)
        .read_to_end(&mut output)
        .map_err(|error| format!("cannot read what the command prints: {error}; try again"))?;
    if output.len() > LIMIT {
        return Err(format!(
            "the command printed more than {LIMIT} bytes, expected 64 hexadecimal digits; check that it prints the key alone"
        ));
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_prints_is_the_key() {
        let command = format!("printf '%s\\n\\n' {}", "0f".repeat(32));
        assert_eq!(load(&command).unwrap().danger_bytes(), [0x0f; 32]);
    }

    #[test]
    fn a_failing_command_is_reported_with_its_status() {
        let error = load(&format!("echo {}; exit 3", "0f".repeat(32))).unwrap_err();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(!error.contains("0f0f"), "{error}");
    }

    #[test]
    fn output_without_end_is_cut_off() {
        let error = load("yes").unwrap_err();
        assert!(error.contains("more than 4096 bytes"), "{error}");
    }

    #[test]
    fn output_that_is_no_key_is_not_repeated() {
        let error = load("echo hunter2").unwrap_err();
        assert!(error.contains("7 characters found"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
