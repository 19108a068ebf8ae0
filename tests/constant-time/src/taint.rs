//! Marks memory as secret or public, for whatever tool watches the process.
//!
//! The marks are valgrind's client requests: to a processor alone they are five instructions that change nothing. Memcheck reports a
//! branch or an address that depends on undefined memory, so undefined is what a secret is called. The single-stepping tracker of this
//! package understands the same requests, so that one program serves both. Source: valgrind's `valgrind.h` and `memcheck.h`; the use
//! of it: A. Langley, "ctgrind", 2010.

#![expect(
    unsafe_code,
    reason = "a client request is made of instructions that no library function stands for"
)]

/// Memcheck's request to take bytes for undefined.
pub const MAKE_UNDEFINED: u64 = 0x4d43_0001;
/// Memcheck's request to take bytes for defined.
pub const MAKE_DEFINED: u64 = 0x4d43_0002;

/// From here on, nothing that these bytes flow into may decide a branch or an address. They don't change; that they are borrowed as if
/// they did keeps the compiler from going on with what it knows of them.
pub fn secret(bytes: &mut [u8]) {
    request(MAKE_UNDEFINED, bytes);
}

/// These bytes may be known: a ciphertext, a tag, the result of a comparison.
pub fn public(bytes: &mut [u8]) {
    request(MAKE_DEFINED, bytes);
}

#[cfg(target_arch = "x86_64")]
fn request(code: u64, bytes: &mut [u8]) {
    let request = [code, bytes.as_mut_ptr() as u64, bytes.len() as u64, 0, 0, 0];
    // SAFETY: the rotations add up to 128 bits and the exchange has one operand, so no register changes but the flags; under valgrind
    // rdx takes a result, and is declared to. The memory that the request names is only marked, never written.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") 0_u64 => _,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: u64, _: &mut [u8]) {}
