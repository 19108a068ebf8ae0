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
    ///
    /// # Errors
    /// How the instruction shows a secret; what it writes is then not followed.
    pub fn step(
        &mut self,
        instruction: &Instruction,
        value: impl Fn(Register) -> u64,
    ) -> Result<(), Leak> {
        match instruction.mnemonic() {
            Mnemonic::Syscall => {
                for register in [Register::RAX, Register::RCX, Register::R11] {
                    self.registers[register as usize] = 0;
                }
                return Ok(());
            }
            // The upper halves of registers are cleared; the lower ones keep what they hold.
            Mnemonic::Vzeroupper => return Ok(()),
            _ if instruction.is_save_restore_instruction() => return Err(Leak::Unknown),
            _ => {}
        }
        let info = self.factory.info(instruction).clone();
        if self.shows_place(instruction, info.used_memory()) {
            return Err(Leak::Address);
        }
        // The processor stops after each time.
        if is_repeated(instruction) && value(Register::RCX) == 0 {
            return Ok(());
        }
        let places = places(instruction, info.used_memory(), value).ok_or(Leak::Unknown)?;
        let registers: Vec<_> = info
            .used_registers()
            .iter()
            .filter(|used| carries_data(instruction, used.register()))
            .collect();

        let mut source = 0;
        for used in registers.iter().filter(|used| reads(used.access())) {
            source |= self.of(used.register());
        }
        for place in places.iter().filter(|place| reads(place.access)) {
            source |= self.in_memory(place);
        }
        let is_secret = source != 0 || self.flags & instruction.rflags_read() != 0;
        if is_secret && let Some(leak) = shown_by(instruction) {
            return Err(leak);
        }

        let written = |len: usize| match is_secret {
            _ if is_copy(instruction) => source & all(len),
            true => all(len),
            false => 0,
        };
        for used in registers.iter().filter(|used| writes(used.access())) {
            let (register, len) = (used.register(), used.register().size());
            let replaced = if is_conditional(used.access()) {
                0
            } else {
                all(len) << high(register)
            };
            let shadow = &mut self.registers[register.full_register() as usize];
            *shadow = *shadow & !replaced | written(len) << high(register);
        }
        for place in places.iter().filter(|place| writes(place.access)) {
            let keeps = is_conditional(place.access) && !is_repeated(instruction);
            self.write(place, written(place.len), keeps);
        }
        let modified = instruction.rflags_modified();
        if is_secret {
            self.flags |= modified & !(instruction.rflags_cleared() | instruction.rflags_set());
        } else if !is_shift(instruction) {
            self.flags &= !modified;
        }
        Ok(())
    }

    /// Whether a secret is part of an address, or says which or how many of them are accessed.
    fn shows_place(&self, instruction: &Instruction, memory: &[UsedMemory]) -> bool {
        // What is prefetched is not accessed, and still shows in the cache.
        let operand = match instruction.mnemonic() {
            Mnemonic::Lea | Mnemonic::Nop => 0,
            _ => self.of(instruction.memory_base()) | self.of(instruction.memory_index()),
        };
        operand != 0
            || memory
                .iter()
                .any(|used| self.of(used.base()) | self.of(used.index()) != 0)
            || !memory.is_empty() && self.of(mask(instruction)) != 0
            || is_repeated(instruction) && self.of(Register::RCX) != 0
    }

    fn in_memory(&self, place: &Place) -> Bytes {
        let bytes = (0..place.len).filter(|i| self.memory.contains(&place.byte(*i)));
        bytes.fold(0, |bytes, i| bytes | 1 << i)
    }

    /// `keeps`: what was secret there may still be.
    fn write(&mut self, place: &Place, bytes: Bytes, keeps: bool) {
        for i in 0..place.len {
            if bytes >> i & 1 == 1 {
                self.memory.insert(place.byte(i));
            } else if !keeps {
                self.memory.remove(&place.byte(i));
            }
        }
    }

    /// Of the bytes of `register`; nothing of no register.
    fn of(&self, register: Register) -> Bytes {
        let bytes = self.registers[register.full_register() as usize];
        bytes >> high(register) & all(register.size())
    }
}

/// Memory that an instruction accesses.
struct Place {
    at: u64,
    len: usize,
    access: OpAccess,
}

impl Place {
    fn byte(&self, i: usize) -> u64 {
        self.at.wrapping_add(i as u64)
    }
}

/// `None` where one can't be told, or is larger than a register.
fn places(
    instruction: &Instruction,
    memory: &[UsedMemory],
    value: impl Fn(Register) -> u64,
) -> Option<Vec<Place>> {
    let place = |used: &UsedMemory| {
        let len = match used.memory_size().size() {
            0 if is_repeated(instruction) => instruction.memory_size().size(),
            len => len,
        };
        let at = used.virtual_address(0, |register, _, _| Some(value(register)))?;
        let access = used.access();
        (1..=64).contains(&len).then_some(Place { at, len, access })
    };
    memory.iter().map(place).collect()
}

/// How an instruction shows that what it reads is secret.
fn shown_by(instruction: &Instruction) -> Option<Leak> {
    use FlowControl::{ConditionalBranch, IndirectBranch, IndirectCall, Return};
    match instruction.flow_control() {
        ConditionalBranch | IndirectBranch | IndirectCall | Return => Some(Leak::Branch),
        // A repeated comparison ends with the first difference.
        _ if is_repeated(instruction) && instruction.rflags_modified() != 0 => Some(Leak::Branch),
        _ if matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) => {
            Some(Leak::Duration)
        }
        _ => None,
    }
}

fn is_repeated(instruction: &Instruction) -> bool {
    instruction.is_string_instruction()
        && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

fn all(len: usize) -> Bytes {
    1_u64.checked_shl(len as u32).unwrap_or(0).wrapping_sub(1)
}

/// AH to BH begin at byte 1.
fn high(register: Register) -> u32 {
    u32::from(matches!(
        register,
        Register::AH | Register::BH | Register::CH | Register::DH
    ))
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

/// The register that says which elements of memory it accesses; no register where it accesses all.
fn mask(instruction: &Instruction) -> Register {
    use Mnemonic::{
        Maskmovdqu, Maskmovq, Vmaskmovdqu, Vmaskmovpd, Vmaskmovps, Vpmaskmovd, Vpmaskmovq,
    };
    match instruction.mnemonic() {
        Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq => instruction.op1_register(),
        Maskmovq | Maskmovdqu | Vmaskmovdqu => instruction.op2_register(),
        _ => instruction.op_mask(),
    }
}

/// Whether byte i of what it writes is byte i of what it reads.
fn is_copy(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    instruction.op_mask() == Register::None
        && matches!(
            instruction.mnemonic(),
            Mov | Movd
                | Movq
                | Movaps
                | Movups
                | Movapd
                | Movupd
                | Movdqa
                | Movdqu
                | Lddqu
                | Push
                | Pop
                | Movsb
                | Movsw
                | Movsq
                | Movntdq
                | Vmovd
                | Vmovq
                | Vmovaps
                | Vmovups
                | Vmovapd
                | Vmovupd
                | Vmovdqa
                | Vmovdqu
                | Vlddqu
                | Vmovdqa32
                | Vmovdqa64
                | Vmovdqu8
                | Vmovdqu16
                | Vmovdqu32
                | Vmovdqu64
                | Vmovntdq
        )
}
