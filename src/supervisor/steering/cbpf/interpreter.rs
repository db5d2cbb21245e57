//! Classic BPF as the kernel runs it for a reuseport group, for tests.

use super::instruction::{self as op, NETWORK_HEADER};
use super::program::Program;
use crate::sys::steering::Instruction;

/// Runs a program on a packet that begins with its IP header and has no payload, as a SYN has none.
///
/// `None` where the kernel would abort and answer 0: a load outside of the packet. Panics on what the
/// kernel would refuse to attach; [`validate`] says why.
pub(crate) fn run(program: &Program, packet: &[u8]) -> Option<u32> {
    let (mut a, mut x, mut scratch) = (0_u32, 0_u32, [0_u32; 16]);
    let mut rest = program.instructions();
    loop {
        let (&Instruction { code, jt, jf, k }, after) =
            rest.split_first().expect("ends in a return");
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        let mut skip = 0;
        match code {
            op::LOAD => a = k,
            op::LOAD_WORD => a = load(packet, k, 4)?,
            op::LOAD_HALF => a = load(packet, k, 2)?,
            op::LOAD_BYTE => a = load(packet, k, 1)?,
            op::LOAD_SCRATCH => a = scratch[k as usize],
            op::SET_X => x = k,
            op::STORE_SCRATCH => scratch[k as usize] = a,
            op::ADD => a = a.wrapping_add(k),
            op::SUBTRACT => a = a.wrapping_sub(k),
            op::MULTIPLY => a = a.wrapping_mul(k),
            op::DIVIDE => a /= k,
            op::AND => a &= k,
            op::SHIFT_RIGHT => a >>= k,
            op::REMAINDER => a %= k,
            op::XOR_X => a ^= x,
            op::A_TO_X => x = a,
            op::JUMP => skip = k as usize,
            op::JUMP_EQUAL => skip = branch(a == k),
            op::JUMP_AT_LEAST => skip = branch(a >= k),
            op::RETURN_A => return Some(a),
            other => panic!("operation {other:#x}"),
        }
        rest = &after[skip..];
    }
}

/// Big-endian, like the network. Below [`NETWORK_HEADER`] is the payload, which is empty.
fn load(packet: &[u8], offset: u32, width: usize) -> Option<u32> {
    let start = offset.checked_sub(NETWORK_HEADER)? as usize;
    let bytes = packet.get(start..start.checked_add(width)?)?;
    Some(
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte)),
    )
}

/// What `bpf_check_classic` asks of a program, and that `optmem_max` (18 KiB at its smallest) is enough.
pub(crate) fn validate(program: &Program) -> Result<(), String> {
    let all = program.instructions();
    if !(1..=4096).contains(&all.len()) {
        return Err(format!("{} instructions", all.len()));
    }
    for (at, instruction) in all.iter().enumerate() {
        check(instruction, all.len() - at - 1)
            .map_err(|why| format!("{at}: {instruction:?}: {why}"))?;
    }
    let extended: usize = all.iter().map(extended_length).sum();
    let last = all[all.len() - 1].code;
    match (last == op::RETURN_A, extended * 8 + 200 < 18 * 1024) {
        (true, true) => Ok(()),
        (false, _) => Err("does not end in a return".to_owned()),
        (true, false) => Err(format!("{extended} extended instructions")),
    }
}

/// `after` is how many instructions follow.
fn check(instruction: &Instruction, after: usize) -> Result<(), &'static str> {
    let &Instruction { code, jt, jf, k } = instruction;
    let furthest = match code {
        op::JUMP => k as usize,
        op::JUMP_EQUAL | op::JUMP_AT_LEAST => usize::from(jt.max(jf)),
        op::RETURN_A => return Ok(()),
        _ => 0,
    };
    match code {
        _ if furthest >= after => Err("goes beyond the end"),
        op::DIVIDE | op::REMAINDER if k == 0 => Err("divides by zero"),
        op::SHIFT_RIGHT if k >= 32 => Err("shifts everything out"),
        op::LOAD_SCRATCH | op::STORE_SCRATCH if k >= 16 => Err("no such scratch word"),
        _ => Ok(()),
    }
}

/// How many instructions of the kernel's own (extended) BPF one becomes in `bpf_convert_filter`.
fn extended_length(instruction: &Instruction) -> usize {
    match instruction.code {
        op::LOAD_WORD | op::LOAD_HALF | op::LOAD_BYTE => 10,
        op::JUMP_EQUAL | op::JUMP_AT_LEAST if instruction.k >= 1 << 31 => 2,
        _ => 1,
    }
}
