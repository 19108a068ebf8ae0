//! Shows that keys and data decide neither a branch nor an address: runs the program `subject` on marked secrets under valgrind, and instruction by
//! instruction for what valgrind doesn't know.
//!
//! usage: constant-time      of a release build, since that is what ships
//!
//! Leaks that were planted have to be found by both tools, or nothing that they don't find counts.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() -> std::process::ExitCode {
    eprintln!("constant-time follows the instructions of x86-64 under Linux, and knows no others");
    std::process::ExitCode::FAILURE
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> std::process::ExitCode {
    match checks::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("FAILED: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod checks;
