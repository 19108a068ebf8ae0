//! Code that did not run under the tracker, judged by what its instructions can do at all.
//!
//! Kernels hold keys and data in vector registers. As long as no instruction moves something from there, or a piece of data straight from
//! memory, to general registers, to flags or to masks, whatever is in those is public: pointers, lengths, counters. Then no address and
//! no branch can depend on a secret, on whichever path.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};

/// Whether `instruction` can bring a secret to where an address or a branch comes from; coarse, so that it may say yes to harmless code.
///
/// Eight bytes from memory are taken for a pointer, a length or a counter, and what is read relative to the stack pointer for a variable
/// that was put there: a table is never indexed by eight bytes, and a variable is as public as the register that it came from.
pub fn can_escape(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> bool {
    if instruction.is_vsib() {
        return true;
    }
    let info = factory.info(instruction);
    let mut reads_vector = false;
    let mut writes_scalar = instruction.rflags_modified() != 0;
    for used in info.used_registers() {
        let register = used.register();
        if used.access() != OpAccess::Write && used.access() != OpAccess::CondWrite {
            reads_vector |= register.is_vector_register() || register.is_mm();
        }
        if used.access() != OpAccess::Read && used.access() != OpAccess::CondRead {
            writes_scalar |= register.is_gpr() || register.is_k();
        }
    }
    let reads_data = info.used_memory().iter().any(|used| {
        let reads = !matches!(
            used.access(),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess
        );
        reads && used.base() != Register::RSP && used.memory_size().size() != 8
    });
    writes_scalar && (reads_vector || reads_data)
}

/// Whether the first of these instructions loads from a table of jumps: what is loaded is added to the table's address and jumped to, and
/// used for nothing else.
pub fn is_jump_table(instructions: &[Instruction], factory: &mut InstructionInfoFactory) -> bool {
    let [load, add, rest @ ..] = instructions else {
        return false;
    };
    let target = load.op0_register();
    let mut uses_target = |instruction: &&Instruction| {
        let mut used = factory.info(instruction).used_registers().iter();
        used.any(|used| used.register().full_register() == target)
    };
    load.mnemonic() == Mnemonic::Movsxd
        && load.memory_index_scale() == 4
        && add.mnemonic() == Mnemonic::Add
        && add.op0_register() == target
        && add.op1_register() == load.memory_base()
        && rest.iter().find(&mut uses_target).is_some_and(|jump| {
            jump.flow_control() == FlowControl::IndirectBranch && jump.op0_register() == target
        })
}

#[cfg(test)]
mod tests {
    use iced_x86::code_asm::*;

    use super::super::tests::assembled;
    use super::*;

    fn escapes(assemble: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>) -> bool {
        can_escape(&assembled(assemble), &mut InstructionInfoFactory::new())
    }

    #[test]
    fn gathers_table_lookups_and_moves_out_of_vectors_are_found() {
        assert!(escapes(|a| a.vpgatherdd(zmm0.k1(), ptr(rax + zmm1 * 4))));
        assert!(escapes(|a| a.vpscatterdd(ptr(rax + zmm1 * 4).k1(), zmm0)));
        assert!(escapes(|a| a.movzx(eax, byte_ptr(rdi + rcx))));
        assert!(escapes(|a| a.mov(eax, dword_ptr(rdi))));
        assert!(escapes(|a| a.cmp(byte_ptr(rdi), 3)));
        assert!(escapes(|a| a.vmovq(rax, xmm0)));
        assert!(escapes(|a| a.vmovd(eax, xmm0)));
        assert!(escapes(|a| a.pextrb(eax, xmm0, 3)));
        assert!(escapes(|a| a.vpmovmskb(eax, ymm0)));
        assert!(escapes(|a| a.vptest(ymm0, ymm0)));
        assert!(escapes(|a| a.vpcmpeqb(k1, zmm0, zmm1)));
        assert!(escapes(|a| a.vucomisd(xmm0, xmm1)));
    }

    #[test]
    fn what_kernels_are_made_of_is_not() {
        assert!(!escapes(|a| a.vaesenc(zmm0, zmm1, zmmword_ptr(rdi + rcx))));
        assert!(!escapes(|a| a.vgf2p8affineqb(zmm0, zmm1, zmm2, 3)));
        assert!(!escapes(|a| a.vmovdqu64(zmmword_ptr(rsi), zmm0)));
        assert!(!escapes(|a| a.vpbroadcastq(zmm0, rax)));
        assert!(!escapes(|a| a.mov(rax, qword_ptr(rdi + 8))));
        assert!(!escapes(|a| a.kmovw(k1, eax)));
        assert!(!escapes(|a| a.add(rax, rcx)));
        assert!(!escapes(|a| a.cmp(rcx, 128)));
    }

    #[test]
    fn a_table_of_jumps_is_told_from_other_tables() {
        let load = assembled(|a| a.movsxd(rcx, dword_ptr(rax + r15 * 4)));
        let add = assembled(|a| a.add(rcx, rax));
        let jump = assembled(|a| a.jmp(rcx));
        let other = assembled(|a| a.mov(rdx, ptr(rcx)));
        let between = assembled(|a| a.vmovdqa(ymm0, ymm1));
        let is_jump_table = |code: &[_]| is_jump_table(code, &mut InstructionInfoFactory::new());
        assert!(is_jump_table(&[load, add, jump]));
        assert!(is_jump_table(&[load, add, between, between, jump]));
        assert!(!is_jump_table(&[load, add, between, other, jump]));
        assert!(!is_jump_table(&[load, add, between]));
        assert!(!is_jump_table(&[load, add, other]));
        assert!(!is_jump_table(&[load, jump, add]));
        assert!(!is_jump_table(&[other, add, jump]));
    }
}
