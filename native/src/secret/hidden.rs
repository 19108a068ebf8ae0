//! Memory that the kernel takes out of its own page tables: neither a bug in the kernel nor a debugger with all rights reads it.
//!
//! `memfd_secret(2)`, offered by Linux for x86-64 and AArch64 since 5.14 and by default since 6.5. It is locked from the start and counts against
//! `RLIMIT_MEMLOCK`. As long as there is any, the system doesn't hibernate.

use std::ptr::NonNull;

/// `size` bytes of it, all zero, to be unmapped like any other; `None` where it isn't offered.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) fn map(size: usize) -> Option<NonNull<u8>> {
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};

    use rustix::mm::{MapFlags, ProtFlags, mmap};
    use rustix::process::{Resource, getrlimit};

    let len = u64::try_from(size).ok()?;
    // It is a file to the kernel, and one that is longer than files may be kills the process.
    if getrlimit(Resource::Fsize)
        .current
        .is_some_and(|limit| limit < len)
    {
        return None;
    }
    // SAFETY: takes flags alone, and touches no memory of this process.
    let created = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let raw = RawFd::try_from(created).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor was opened above, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    rustix::fs::ftruncate(&fd, len).ok()?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: no address is asked for, so nothing that exists is mapped over. The descriptor is closed below, and the mapping stays.
    let mapped = unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, &fd, 0) };
    NonNull::new(mapped.ok()?.cast())
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(super) fn map(_: usize) -> Option<NonNull<u8>> {
    None
}
