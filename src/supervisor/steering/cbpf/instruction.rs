//! The instructions of classic BPF that steering uses.
//!
//! Numbers are composed as in `linux/bpf_common.h` and `linux/filter.h`; a program works on a register
//! `A`, a second register `X`, and 16 words of scratch memory.

use crate::sys::steering::Instruction;

/// `SKF_NET_OFF` (-0x100000): load offsets from here on count from the network header.
pub(crate) const NETWORK_HEADER: u32 = 0xfff0_0000;

pub(crate) const LOAD: u16 = 0x00; // BPF_LD   | BPF_IMM
pub(crate) const LOAD_WORD: u16 = 0x20; // BPF_LD   | BPF_W | BPF_ABS
pub(crate) const LOAD_HALF: u16 = 0x28; // BPF_LD   | BPF_H | BPF_ABS
pub(crate) const LOAD_BYTE: u16 = 0x30; // BPF_LD   | BPF_B | BPF_ABS
pub(crate) const LOAD_SCRATCH: u16 = 0x60; // BPF_LD   | BPF_MEM
pub(crate) const SET_X: u16 = 0x01; // BPF_LDX  | BPF_IMM
pub(crate) const STORE_SCRATCH: u16 = 0x02; // BPF_ST
pub(crate) const ADD: u16 = 0x04; // BPF_ALU  | BPF_ADD | BPF_K
pub(crate) const SUBTRACT: u16 = 0x14; // BPF_ALU  | BPF_SUB | BPF_K
pub(crate) const MULTIPLY: u16 = 0x24; // BPF_ALU  | BPF_MUL | BPF_K
pub(crate) const DIVIDE: u16 = 0x34; // BPF_ALU  | BPF_DIV | BPF_K
pub(crate) const AND: u16 = 0x54; // BPF_ALU  | BPF_AND | BPF_K
pub(crate) const SHIFT_RIGHT: u16 = 0x74; // BPF_ALU  | BPF_RSH | BPF_K
pub(crate) const REMAINDER: u16 = 0x94; // BPF_ALU  | BPF_MOD | BPF_K
pub(crate) const XOR_X: u16 = 0xac; // BPF_ALU  | BPF_XOR | BPF_X
pub(crate) const JUMP: u16 = 0x05; // BPF_JMP  | BPF_JA
pub(crate) const JUMP_EQUAL: u16 = 0x15; // BPF_JMP  | BPF_JEQ | BPF_K
pub(crate) const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP  | BPF_JGE | BPF_K
pub(crate) const RETURN_A: u16 = 0x16; // BPF_RET  | BPF_A
pub(crate) const A_TO_X: u16 = 0x07; // BPF_MISC | BPF_TAX

/// An instruction that does not branch.
pub(crate) const fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Skips `block` unless `A` is `k`. The cast keeps the length: the blocks are at most a dozen long.
pub(crate) const fn unless_equal(k: u32, block: &[Instruction]) -> Instruction {
    Instruction {
        code: JUMP_EQUAL,
        jt: 0,
        jf: block.len() as u8,
        k,
    }
}

/// Skips `block` if `A` is at least `k`. The cast keeps the length: the answers are at most three long.
pub(crate) const fn if_at_least(k: u32, block: &[Instruction]) -> Instruction {
    Instruction {
        code: JUMP_AT_LEAST,
        jt: block.len() as u8,
        jf: 0,
        k,
    }
}

/// Skips `block`. The cast keeps the length: a whole program is at most 4,096 long.
pub(crate) const fn over(block: &[Instruction]) -> Instruction {
    plain(JUMP, block.len() as u32)
}
