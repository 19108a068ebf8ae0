//! Which bytes of registers and memory hold something secret, and what an instruction does to that.
//!
//! The rule is coarse where that is safe: what an instruction writes is secret when anything that it reads is. Copies alone are followed byte by
//! byte, since a structure with keys and lengths in it is copied as a whole.

use std::collections::HashSet;
use std::fmt;

use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register, UsedMemory,
};

/// How a secret gets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leak {
    /// It decides where the program goes on.
    Branch,
    /// It is part of an address, or of the mask that says which addresses are accessed.
    Address,
    /// It decides how long the instruction takes.
    Duration,
    /// The instruction does something that the tracker can't follow.
    Unknown,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Branch => "a branch depends on a secret",
            Self::Address => "an address depends on a secret",
            Self::Duration => "a duration depends on a secret",
            Self::Unknown => "the tracker doesn't know this instruction",
        })
    }
}

/// One bit per byte.
type Bytes = u64;

/// What is secret.
pub struct Shadow {
    /// By full register.
    registers: [Bytes; 256],
    /// Of the bits of the flags register.
    flags: u32,
    memory: HashSet<u64>,
    factory: InstructionInfoFactory,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            registers: [0; 256],
            flags: 0,
            memory: HashSet::new(),
            factory: InstructionInfoFactory::new(),
        }
    }
}

impl Shadow {
    /// Marks `len` bytes of memory.
    pub fn mark(&mut self, address: u64, len: u64, secret: bool) {
        for byte in address..address + len {
            if secret {
                self.memory.insert(byte);
            } else {
                self.memory.remove(&byte);
            }
        }
    }

    /// Follows `instruction`, which is about to run. `value` gives the registers, and the bases of segments.
    pub fn step(&mut self, instruction: &Instruction, value: impl Fn(Register) -> u64) -> Result<(), Leak> {
        let info = self.factory.info(instruction).clone();
        let memory = info.used_memory();
        if instruction.is_save_restore_instruction() || memory.iter().any(|used| is_unsized(used)) {
            return Err(Leak::Unknown);
        }
        if instruction.mnemonic() == Mnemonic::Syscall {
            for register in [Register::RAX, Register::RCX, Register::R11] {
                self.registers[register as usize] = 0;
            }
            return Ok(());
        }
        // It clears the upper halves of registers, whose lower ones keep what they hold.
        if instruction.mnemonic() == Mnemonic::Vzeroupper {
            return Ok(());
        }
        let leak = self.leak(instruction, memory);

        let address = |used: &UsedMemory| used.virtual_address(0, |register, _, _| Some(value(register)));
        let located = |used: &UsedMemory| (address(used).unwrap_or_default(), used.memory_size().size());
        let registers = || info.used_registers().iter().filter(|used| carries_data(instruction, used.register()));

        let mut read = self.flags & instruction.rflags_read() != 0;
        // Of a copy: what its one source holds.
        let mut source = 0;
        for used in registers().filter(|used| reads(used.access())) {
            source |= self.of(used.register());
        }
        for used in memory.iter().filter(|used| reads(used.access())) {
            let (address, len) = located(used);
            source |= (0..len as u64).fold(0, |bytes, i| {
                bytes | u64::from(self.memory.contains(&address.wrapping_add(i))) << i
            });
        }
        read |= source != 0;
        let copied = is_copy(instruction);
        let written = |len: usize| match (copied, read) {
            (true, _) => source & all(len),
            (false, true) => all(len),
            (false, false) => 0,
        };

        for used in registers().filter(|used| writes(used.access())) {
            let register = used.register();
            let bytes = written(register.size()) << high(register);
            let kept = if is_conditional(used.access()) { !0 } else { !(all(register.size()) << high(register)) };
            let shadow = &mut self.registers[register.full_register() as usize];
            *shadow = *shadow & kept | bytes;
        }
        for used in memory.iter().filter(|used| writes(used.access())) {
            let (address, len) = located(used);
            let bytes = written(len);
            for i in 0..len as u64 {
                match (bytes >> i & 1 == 1, is_conditional(used.access())) {
                    (true, _) => drop(self.memory.insert(address.wrapping_add(i))),
                    (false, false) => drop(self.memory.remove(&address.wrapping_add(i))),
                    (false, true) => {}
                }
            }
        }
        let modified = instruction.rflags_modified();
        if read {
            self.flags |= modified & !(instruction.rflags_cleared() | instruction.rflags_set());
        } else if !is_shift(instruction) {
            self.flags &= !modified;
        }
        leak.map_or(Ok(()), Err)
    }

    /// Before anything is written: whether the instruction shows a secret.
    fn leak(&mut self, instruction: &Instruction, memory: &[UsedMemory]) -> Option<Leak> {
        let is_secret = |register: Register| register != Register::None && self.of(register) != 0;
        let flags = self.flags & instruction.rflags_read() != 0;
        if memory.iter().any(|used| is_secret(used.base()) || is_secret(used.index())) {
            return Some(Leak::Address);
        }
        let masked = !memory.is_empty() && is_secret(instruction.op_mask());
        let masked_by_vector = matches!(
            instruction.mnemonic(),
            Mnemonic::Vmaskmovps | Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovd | Mnemonic::Vpmaskmovq | Mnemonic::Maskmovdqu
        ) && is_secret(instruction.op1_register());
        let repeated = instruction.is_string_instruction()
            && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
            && (is_secret(Register::RCX) || flags);
        if masked || masked_by_vector || repeated {
            return Some(Leak::Address);
        }
        let info = self.factory.info(instruction);
        let operand = |register: Register| self.registers[register.full_register() as usize] != 0;
        let read = info.used_registers().iter().any(|used| {
            reads(used.access()) && carries_data(instruction, used.register()) && operand(used.register())
        });
        match instruction.flow_control() {
            FlowControl::ConditionalBranch => (flags || read).then_some(Leak::Branch),
            // Through memory, its address has been looked at, and what it holds is looked at by what follows: code is never secret.
            FlowControl::IndirectBranch | FlowControl::IndirectCall => read.then_some(Leak::Branch),
            _ => matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
                .then_some(Leak::Duration)
                .filter(|_| read),
        }
    }

    fn of(&self, register: Register) -> Bytes {
        let bytes = self.registers[register.full_register() as usize];
        bytes >> high(register) & all(register.size())
    }
}

fn all(len: usize) -> Bytes {
    1_u64.checked_shl(len as u32).unwrap_or(0).wrapping_sub(1)
}

/// AH to BH begin at byte 1.
fn high(register: Register) -> u32 {
    u32::from(matches!(register, Register::AH | Register::BH | Register::CH | Register::DH))
}

fn reads(access: OpAccess) -> bool {
    use OpAccess::{CondRead, Read, ReadCondWrite, ReadWrite};
    matches!(access, Read | CondRead | ReadWrite | ReadCondWrite)
}

fn writes(access: OpAccess) -> bool {
    use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite)
}

fn is_conditional(access: OpAccess) -> bool {
    matches!(access, OpAccess::CondWrite | OpAccess::ReadCondWrite)
}

fn is_unsized(used: &UsedMemory) -> bool {
    (reads(used.access()) || writes(used.access())) && !(1..=64).contains(&used.memory_size().size())
}

/// The stack pointer, and the pointers and the count of a string instruction, change by what they are, not by the data.
fn carries_data(instruction: &Instruction, register: Register) -> bool {
    use Register::{RCX, RDI, RSI, RSP};
    let register = register.full_register();
    !(instruction.is_stack_instruction() && register == RSP
        || instruction.is_string_instruction() && [RCX, RSI, RDI].contains(&register))
}

/// With a count of 0, they leave the flags as they were.
fn is_shift(instruction: &Instruction) -> bool {
    use Mnemonic::{Rcl, Rcr, Rol, Ror, Sar, Shl, Shld, Shr, Shrd};
    [Rcl, Rcr, Rol, Ror, Sar, Shl, Shld, Shr, Shrd].contains(&instruction.mnemonic())
}

/// Whether byte i of what it writes is byte i of what it reads.
fn is_copy(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    instruction.op_mask() == Register::None
        && matches!(
            instruction.mnemonic(),
            Mov | Movd | Movq | Movaps | Movups | Movapd | Movupd | Movdqa | Movdqu | Lddqu | Push | Pop | Movsb | Movsw | Movsq
                | Movntdq | Vmovd | Vmovq | Vmovaps | Vmovups | Vmovapd | Vmovupd | Vmovdqa | Vmovdqu | Vlddqu | Vmovdqa32
                | Vmovdqa64 | Vmovdqu8 | Vmovdqu16 | Vmovdqu32 | Vmovdqu64 | Vmovntdq
        )
}
