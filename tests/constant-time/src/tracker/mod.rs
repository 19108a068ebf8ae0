//! A watcher for instructions that valgrind doesn't know: VAES, GFNI, AVX-512.
//!
//! It lets the processor itself run the program, one instruction at a time, and keeps beside it which bytes are secret. Every address is the
//! one that the processor uses, so nothing has to be guessed about aliases; every instruction that runs is looked at, in every
//! library. What did not run was not looked at: [`Functions`] says what that is.

mod escape;
mod functions;
mod shadow;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::taint::{MAKE_DEFINED, MAKE_UNDEFINED};
pub use escape::{can_escape, is_jump_table};
pub use functions::{Functions, text};
pub use shadow::{Leak, Shadow};

/// What was seen of one run.
#[derive(Default)]
pub struct Observed {
    /// How many instructions ran.
    pub steps: u64,
    /// How many bytes were marked secret.
    pub marked: u64,
    /// By the address of the instruction, as the file has it.
    pub leaks: BTreeMap<u64, (Leak, Instruction)>,
    /// The addresses of all instructions that ran, as the file has them.
    pub ran: HashSet<u64>,
    /// Its exit status.
    pub status: i32,
}

/// Runs `command`, which prints a line and then waits for one, and watches it from there to its end.
///
/// # Errors
/// Those of the system: tracing may be forbidden, in a container for example.
pub fn watch(mut command: Command) -> io::Result<Observed> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_raw(child.id().try_into().map_err(io::Error::other)?);
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    output.read_line(&mut String::new())?;
    let watched = Watched::attach(pid)?;
    child.stdin.take().expect("it is piped").write_all(b"\n")?;
    watched.run_to_the_end()
}

struct Watched {
    pid: Pid,
    memory: File,
    /// What has to be subtracted from an address to get that of the file.
    base: u64,
    decoded: HashMap<u64, Instruction>,
    shadow: Shadow,
    observed: Observed,
}

impl Watched {
    fn attach(pid: Pid) -> io::Result<Self> {
        ptrace::attach(pid)?;
        waitpid(pid, None)?;
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let first = maps.split('-').next().unwrap_or_default();
        Ok(Self {
            pid,
            memory: File::open(format!("/proc/{pid}/mem"))?,
            base: u64::from_str_radix(first, 16).map_err(io::Error::other)?,
            decoded: HashMap::new(),
            shadow: Shadow::default(),
            observed: Observed::default(),
        })
    }

    fn run_to_the_end(mut self) -> io::Result<Observed> {
        let mut signal = None;
        loop {
            if signal.is_none() {
                self.follow(&ptrace::getregs(self.pid)?)?;
            }
            ptrace::step(self.pid, signal.take())?;
            match waitpid(self.pid, None)? {
                WaitStatus::Stopped(_, nix::sys::signal::Signal::SIGTRAP) => {}
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Exited(_, status) => {
                    self.observed.status = status;
                    return Ok(self.observed);
                }
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
    }

    /// The instruction that is about to run.
    fn follow(&mut self, registers: &user_regs_struct) -> io::Result<()> {
        let at = registers.rip;
        let instruction = match self.decoded.get(&at) {
            Some(known) => *known,
            None => {
                let mut bytes = [0; 15];
                let read = self.memory.read_at(&mut bytes, at)?;
                let instruction =
                    Decoder::with_ip(64, &bytes[..read], at, DecoderOptions::NONE).decode();
                self.decoded.insert(at, instruction);
                instruction
            }
        };
        let in_file = at.wrapping_sub(self.base);
        self.observed.steps += 1;
        self.observed.ran.insert(in_file);
        // The end of a client request: xchg rbx, rbx.
        if instruction.code() == Code::Xchg_rm64_r64
            && [instruction.op0_register(), instruction.op1_register()] == [Register::RBX; 2]
        {
            return self.request(registers.rax);
        }
        let step = self
            .shadow
            .step(&instruction, |register| value(registers, register));
        if let Err(leak) = step {
            self.observed.leaks.insert(in_file, (leak, instruction));
        }
        Ok(())
    }

    fn request(&mut self, at: u64) -> io::Result<()> {
        let mut words = [0; 24];
        self.memory.read_exact_at(&mut words, at)?;
        let [code, address, len] = [0, 8, 16]
            .map(|from| u64::from_le_bytes(*words[from..].first_chunk().expect("8 bytes")));
        match code {
            MAKE_UNDEFINED => {
                self.observed.marked += len;
                self.shadow.mark(address, len, true);
            }
            MAKE_DEFINED => self.shadow.mark(address, len, false),
            _ => {}
        }
        Ok(())
    }
}

fn value(registers: &user_regs_struct, register: Register) -> u64 {
    let whole = match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        // Segments without a base; what is relative to RIP is decoded as an address of its own.
        _ => 0,
    };
    if register.size() == 4 {
        u64::from(whole as u32)
    } else {
        whole
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::IcedError;
    use iced_x86::code_asm::*;

    use super::*;

    /// The one instruction that `assemble` writes.
    pub(super) fn assembled(
        assemble: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>,
    ) -> Instruction {
        let mut assembler = CodeAssembler::new(64).unwrap();
        assemble(&mut assembler).unwrap();
        let bytes = assembler.assemble(0x1000).unwrap();
        Decoder::with_ip(64, &bytes, 0x1000, DecoderOptions::NONE).decode()
    }

    /// Every register holds 0x5000, where 16 bytes are secret. What the last of the instructions shows; none before it shows anything.
    fn shown(code: &[&dyn Fn(&mut CodeAssembler) -> Result<(), IcedError>]) -> Option<Leak> {
        let value = |register: Register| {
            if register.is_segment_register() {
                0
            } else {
                0x5000
            }
        };
        let mut shadow = Shadow::default();
        shadow.mark(0x5000, 16, true);
        let (last, before) = code.split_last().unwrap();
        for assemble in before {
            assert_eq!(shadow.step(&assembled(assemble), value), Ok(()));
        }
        shadow.step(&assembled(last), value).err()
    }

    #[test]
    fn a_secret_shows_in_addresses_branches_and_durations() {
        let load: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.vmovdqu(xmm1, xmmword_ptr(rdi));
        assert_eq!(shown(&[load, &|a| a.vmovdqu(xmmword_ptr(rsi), xmm1)]), None);
        assert_eq!(
            shown(&[load, &|a| a.vpgatherdd(zmm0.k1(), ptr(rax + zmm1 * 4))]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.vmovq(rax, xmm1), &|a| a
                .mov(rcx, ptr(rdi + rax))]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.vpextrb(eax, xmm1, 3), &|a| a
                .prefetcht0(ptr(rax))]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.vptest(xmm1, xmm1), &|a| a.je(0x2000)]),
            Some(Leak::Branch)
        );
        let compare: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.vpcmpeqb(k1, zmm1, zmm2);
        assert_eq!(
            shown(&[load, compare, &|a| a.kortestw(k1, k1), &|a| a.je(0x2000)]),
            Some(Leak::Branch)
        );
        assert_eq!(
            shown(&[load, compare, &|a| a.vmovdqu8(zmm3.k1().z(), ptr(rsi))]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[&|a| a.movzx(eax, byte_ptr(rdi)), &|a| a.div(rcx)]),
            Some(Leak::Duration)
        );
        assert_eq!(
            shown(&[&|a| a.mov(rax, ptr(rdi)), &|a| a.call(rax)]),
            Some(Leak::Branch)
        );
        assert_eq!(
            shown(&[&|a| a.mov(rcx, ptr(rdi)), &|a| a.rep().movsb()]),
            Some(Leak::Address)
        );
        assert_eq!(shown(&[&|a| a.fxsave(ptr(rdi))]), Some(Leak::Unknown));
    }

    #[test]
    fn a_secret_stays_one_through_arithmetic_spills_and_conditional_moves() {
        let load: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.mov(rax, ptr(rdi));
        let lookup: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.mov(rdx, ptr(rcx));
        assert_eq!(
            shown(&[
                load,
                &|a| a.push(rax),
                &|a| a.mov(rcx, ptr(rsp - 8)),
                lookup
            ]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.lea(ecx, ptr(rax * 4 + 7)), lookup]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.test(al, 1), &|a| a.cmovne(rcx, rsi), lookup]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[load, &|a| a.mov(cl, ah), lookup]),
            Some(Leak::Address)
        );
        // A shift by nothing leaves the flags of the test.
        assert_eq!(
            shown(&[load, &|a| a.test(rax, rax), &|a| a.shl(rsi, cl), &|a| a
                .je(0x2000)]),
            Some(Leak::Branch)
        );
    }

    #[test]
    fn what_replaces_a_secret_or_stands_beside_it_is_public() {
        let load: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.vmovdqu(ymm1, ymmword_ptr(rdi));
        let lookup: &dyn Fn(&mut CodeAssembler) -> _ = &|a| a.mov(rdx, ptr(rcx));
        assert_eq!(
            shown(&[&|a| a.mov(rcx, ptr(rdi)), &|a| a.mov(ecx, 5), lookup]),
            None
        );
        assert_eq!(
            shown(&[&|a| a.mov(rcx, ptr(rdi)), &|a| a.xor(ecx, ecx), lookup]),
            None
        );
        // Of 32 copied bytes, the first 16 are secret.
        assert_eq!(
            shown(&[
                load,
                &|a| a.vmovdqu(ptr(rsi + 64), ymm1),
                &|a| a.mov(rcx, ptr(rsi + 80)),
                lookup
            ]),
            None
        );
        assert_eq!(
            shown(&[
                load,
                &|a| a.vmovdqu(ptr(rsi + 64), ymm1),
                &|a| a.mov(rcx, ptr(rsi + 72)),
                lookup
            ]),
            Some(Leak::Address)
        );
        assert_eq!(
            shown(&[
                load,
                &|a| a.vpxor(xmm1, xmm1, xmm1),
                &|a| a.vmovq(rcx, xmm1),
                lookup
            ]),
            None
        );
        assert_eq!(
            shown(&[&|a| a.mov(rax, ptr(rdi)), &|a| a.pop(rcx), &|a| a.ret()]),
            Some(Leak::Branch)
        );
    }
}
