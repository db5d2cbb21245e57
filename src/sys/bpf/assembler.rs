//! An assembler for the eBPF that is used here: instructions with labels in, numbers out.
//!
//! Operations are composed as in `linux/bpf.h`. There are ten registers of 64 bits and a read-only one at the
//! end of a stack of 512 bytes; a call takes [`R1`] to [`R5`], answers in [`R0`], and keeps [`R6`] to [`R9`].

use super::Instruction;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(u8);

/// Answers of calls, and of the program.
pub(crate) const R0: Register = Register(0);
/// The first argument of a call; at first the context.
pub(crate) const R1: Register = Register(1);
/// An argument of calls.
pub(crate) const R2: Register = Register(2);
/// An argument of calls.
pub(crate) const R3: Register = Register(3);
/// An argument of calls.
pub(crate) const R4: Register = Register(4);
/// An argument of calls.
pub(crate) const R5: Register = Register(5);
/// Kept by calls.
pub(crate) const R6: Register = Register(6);
/// Kept by calls.
pub(crate) const R7: Register = Register(7);
/// Kept by calls.
pub(crate) const R8: Register = Register(8);
/// Kept by calls.
pub(crate) const R9: Register = Register(9);
/// The end of the stack: what is on it has negative offsets.
pub(crate) const STACK: Register = Register(10);

/// How many bytes a load takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    Byte,
    Half,
    Word,
    /// A pointer has as many.
    Double,
}

impl Width {
    fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Equal,
    NotEqual,
    Below,
}

impl When {
    /// The operation, of the class `BPF_JMP` (64 bits): all that is compared is not negative.
    fn bits(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::NotEqual => 0x50,
            Self::Below => 0xa0,
        }
    }
}

/// A place to jump to, which comes later: a program cannot loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A program that is being written.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    written: Vec<Instruction>,
    /// The jumps to each label, until it is placed.
    jumps: Vec<Vec<usize>>,
}

/// `BPF_ALU` (32 bits; the upper half of the register becomes 0) and `BPF_ALU64`.
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const FROM_REGISTER: u8 = 0x08;

impl Assembler {
    /// A place that is not known yet.
    pub(crate) fn label(&mut self) -> Label {
        self.jumps.push(Vec::new());
        Label(self.jumps.len() - 1)
    }

    /// Jumps to this label arrive here.
    pub(crate) fn place(&mut self, label: Label) {
        let here = self.written.len();
        for at in std::mem::take(&mut self.jumps[label.0]) {
            // At most 4,096 instructions, so the distance fits.
            self.written[at].offset = (here - at - 1) as i16;
        }
    }

    /// Jumps in any case.
    pub(crate) fn jump(&mut self, to: Label) {
        self.jump_with(0x05, 0, 0, to);
    }

    pub(crate) fn jump_if(&mut self, left: Register, when: When, right: i32, to: Label) {
        self.jump_with(0x05 | when.bits(), left.0, right, to);
    }

    pub(crate) fn jump_if_register(
        &mut self,
        left: Register,
        when: When,
        right: Register,
        to: Label,
    ) {
        let registers = left.0 | right.0 << 4;
        self.jump_with(0x05 | when.bits() | FROM_REGISTER, registers, 0, to);
    }

    fn jump_with(&mut self, code: u8, registers: u8, immediate: i32, to: Label) {
        self.jumps[to.0].push(self.written.len());
        self.push(code, registers, 0, immediate);
    }

    pub(crate) fn set(&mut self, to: Register, value: i32) {
        self.push(ALU64 | 0xb0, to.0, 0, value);
    }

    pub(crate) fn copy(&mut self, to: Register, from: Register) {
        self.push(ALU64 | 0xb0 | FROM_REGISTER, to.0 | from.0 << 4, 0, 0);
    }

    /// 32 bits.
    pub(crate) fn copy_low(&mut self, to: Register, from: Register) {
        self.push(ALU | 0xb0 | FROM_REGISTER, to.0 | from.0 << 4, 0, 0);
    }

    /// 64 bits, as the others are where nothing is said: addresses have as many.
    pub(crate) fn add(&mut self, to: Register, value: i32) {
        self.push(ALU64, to.0, 0, value);
    }

    pub(crate) fn add_register(&mut self, to: Register, from: Register) {
        self.push(ALU64 | FROM_REGISTER, to.0 | from.0 << 4, 0, 0);
    }

    pub(crate) fn and(&mut self, to: Register, value: i32) {
        self.push(ALU64 | 0x50, to.0, 0, value);
    }

    /// 32 bits.
    pub(crate) fn shift_right(&mut self, to: Register, bits: i32) {
        self.push(ALU | 0x70, to.0, 0, bits);
    }

    /// 32 bits.
    pub(crate) fn multiply(&mut self, to: Register, factor: u32) {
        self.push(ALU | 0x20, to.0, 0, factor.cast_signed());
    }

    /// 32 bits; by 0 it changes nothing.
    pub(crate) fn remainder_register(&mut self, to: Register, divisor: Register) {
        self.push(ALU | 0x90 | FROM_REGISTER, to.0 | divisor.0 << 4, 0, 0);
    }

    /// 32 bits.
    pub(crate) fn xor_register(&mut self, to: Register, from: Register) {
        self.push(ALU | 0xa0 | FROM_REGISTER, to.0 | from.0 << 4, 0, 0);
    }

    /// From the order of the network to that of the machine; the rest of the register becomes 0.
    pub(crate) fn host_order(&mut self, register: Register, bits: i32) {
        self.push(ALU | 0xd0 | FROM_REGISTER, register.0, 0, bits);
    }

    pub(crate) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(0x61 | width.bits(), to.0 | from.0 << 4, offset, 0);
    }

    pub(crate) fn store_word(&mut self, to: Register, offset: i16, from: Register) {
        self.push(0x63, to.0 | from.0 << 4, offset, 0);
    }

    pub(crate) fn store_word_constant(&mut self, to: Register, offset: i16, value: i32) {
        self.push(0x62, to.0, offset, value);
    }

    /// Adds a register to 64 bits in memory, whatever other processors do there (`BPF_ATOMIC`, once `BPF_XADD`).
    pub(crate) fn add_atomically(&mut self, to: Register, offset: i16, from: Register) {
        self.push(0xdb, to.0 | from.0 << 4, offset, 0);
    }

    /// The address of a map, by its descriptor (`BPF_PSEUDO_MAP_FD`).
    pub(crate) fn map(&mut self, to: Register, map: i32) {
        self.push(0x18, to.0 | 1 << 4, 0, map);
        self.push(0, 0, 0, 0);
    }

    /// Calls a function of the kernel, by its number.
    pub(crate) fn call(&mut self, function: i32) {
        self.push(0x85, 0, 0, function);
    }

    /// Ends the program; the answer is in [`R0`].
    pub(crate) fn exit(&mut self) {
        self.push(0x95, 0, 0, 0);
    }

    pub(crate) fn finish(self) -> Vec<Instruction> {
        debug_assert!(
            self.jumps.iter().all(Vec::is_empty),
            "a label was not placed"
        );
        self.written
    }

    fn push(&mut self, code: u8, registers: u8, offset: i16, immediate: i32) {
        self.written.push(Instruction {
            code,
            registers,
            offset,
            immediate,
        });
    }
}
