//! The program: it is the same for every group and never changes; what it reads from maps does.
//!
//! It runs for each SYN, in this order: the source's address and port are taken apart; a probe is answered;
//! the hash; the choice. The rule for probes and the hash are those of the classic program
//! ([`cbpf`](crate::supervisor::steering::cbpf)), with keys in place of indexes: a key is a listener's own
//! for as long as it lives, whoever leaves the group.
//!
//! The hazard: a key whose listener is gone leads to nobody, and the kernel would then choose among all
//! members of the group, those that must get nothing among them. So the program goes on to the next of the
//! keys that it may choose, for [`TRIES`] keys.
//!
//! Where it is asked to, it counts what it gives to whom. That is the last part, and no other program has it.

use crate::supervisor::steering::probe_rule::{PROBE_HOPS, PROBED};
use crate::supervisor::steering::spread::{MULTIPLIER, SHIFT};
use crate::sys::bpf::Instruction;
use crate::sys::bpf::assembler::{
    Assembler, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Register, STACK, When, Width,
};

/// How many keys a bank has room for.
pub const MAX_CHOICES: u32 = 4096;

/// How many keys are tried, one after the other, before the choice is left to the kernel.
pub const TRIES: u32 = 16;

/// The maps, by their descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    /// Listeners by key.
    pub sockets: i32,
    /// One value: where the bank begins that is to be chosen from.
    pub current: i32,
    /// The banks one after the other. Each is a count, and as many keys as there is room for.
    pub banks: i32,
    /// How many connections each key was given, if that is counted.
    pub counts: Option<i32>,
}

/// Functions of the kernel, as `linux/bpf.h` numbers them.
pub(super) const MAP_LOOKUP: i32 = 1;
const LOAD_BYTES: i32 = 26;
pub(super) const LOAD_BYTES_RELATIVE: i32 = 68;
pub(super) const SELECT_REUSEPORT: i32 = 82;

/// `BPF_HDR_START_NET`: offsets count from the network header.
const FROM_NETWORK_HEADER: i32 = 1;
/// `SK_PASS`: the socket that was selected gets the connection; if none was, the kernel chooses.
const PASS: i32 = 1;
/// `SK_DROP`: the SYN is answered as if nobody listened.
const REFUSE: i32 = 0;

/// Where the flags of a segment are; its bytes count from the TCP header.
const FLAGS_OF_TCP: i32 = 13;
const SYN: i32 = 0x02;
const ACK: i32 = 0x10;

// What is where on the stack.
const HEADER: i16 = -64;
const KEY: i16 = -8;

/// As much of a packet as is looked at. Every IPv4 packet with a TCP header has as many bytes, and every
/// IPv6 packet.
const IPV4_LEN: i32 = 24;
const IPV6_LEN: i32 = 44;

/// The program for these maps.
pub fn program(maps: Maps) -> Vec<Instruction> {
    let mut out = Assembler::default();
    let (choice, pass, refuse) = (out.label(), out.label(), out.label());
    let chosen = out.label();
    out.copy(R6, R1);
    // The hash of nothing, where there is nothing to read.
    out.set(R7, 0);
    source(&mut out, maps, choice, pass);
    out.place(choice);
    choose(&mut out, maps, chosen, pass, refuse);
    out.place(chosen);
    if let Some(counts) = maps.counts {
        count(&mut out, counts, pass);
    }
    out.place(pass);
    out.set(R0, PASS);
    out.exit();
    out.place(refuse);
    out.set(R0, REFUSE);
    out.exit();
    out.finish()
}

/// `R7` becomes the hash of the source. The version is asked of each packet, because a group on `[::]` for
/// both families sees the headers of both.
fn source(out: &mut Assembler, maps: Maps, choice: Label, pass: Label) {
    let v6 = out.label();
    read_header(out, IPV4_LEN, choice);
    out.load(Width::Byte, R1, STACK, HEADER);
    out.shift_right(R1, 4);
    out.jump_if(R1, When::Equal, 6, v6);
    let conditions = [(Width::Byte, 8, PROBE_HOPS), (Width::Byte, 12, 127)];
    probe(out, maps, &conditions, 20, choice, pass);
    absorb_header(out, &[12], 20);
    out.jump(choice);
    out.place(v6);
    read_header(out, IPV6_LEN, choice);
    let conditions = [
        (Width::Byte, 7, PROBE_HOPS),
        (Width::Word, 8, 0),
        (Width::Word, 12, 0),
        (Width::Word, 16, 0),
        (Width::Word, 20, 1),
    ];
    probe(out, maps, &conditions, 40, choice, pass);
    absorb_header(out, &[8, 12, 16, 20], 40);
}

/// Copies so many bytes from the network header on to the stack.
fn read_header(out: &mut Assembler, len: i32, otherwise: Label) {
    out.copy(R1, R6);
    out.set(R2, 0);
    out.copy(R3, STACK);
    out.add(R3, i32::from(HEADER));
    out.set(R4, len);
    out.set(R5, FROM_NETWORK_HEADER);
    out.call(LOAD_BYTES_RELATIVE);
    out.jump_if(R0, When::NotEqual, 0, otherwise);
}

/// `R1` becomes a number of the header.
fn read(out: &mut Assembler, width: Width, offset: i16) {
    out.load(width, R1, STACK, HEADER + offset);
    match width {
        Width::Byte => {}
        Width::Half => out.host_order(R1, 16),
        Width::Word => out.host_order(R1, 32),
        Width::Double => out.host_order(R1, 64),
    }
}

/// Gives a packet that meets all conditions (a width, an offset, the value) to the listener whose key its
/// source port names. Where there is none, it is a connection like any other.
fn probe(
    out: &mut Assembler,
    maps: Maps,
    conditions: &[(Width, i16, u32)],
    port: i16,
    choice: Label,
    pass: Label,
) {
    let no_probe = out.label();
    for &(width, offset, value) in conditions {
        read(out, width, offset);
        out.jump_if(R1, When::NotEqual, value.cast_signed(), no_probe);
    }
    read(out, Width::Half, port);
    out.and(R1, PROBED.cast_signed() - 1);
    out.store_word(STACK, KEY, R1);
    select(out, maps, pass);
    out.jump(choice);
    out.place(no_probe);
}

/// Adds words of the header, the port and a word more to the hash.
fn absorb_header(out: &mut Assembler, words: &[i16], port: i16) {
    for &offset in words {
        read(out, Width::Word, offset);
        absorb(out, R1);
    }
    read(out, Width::Half, port);
    absorb(out, R1);
    out.set(R1, 0);
    absorb(out, R1);
}

/// Adds 32 bits to the hash in `R7`.
fn absorb(out: &mut Assembler, word: Register) {
    out.xor_register(R7, word);
    out.multiply(R7, MULTIPLIER);
    out.copy_low(R2, R7);
    out.shift_right(R2, SHIFT.cast_signed());
    out.xor_register(R7, R2);
}

/// Selects the listener with the key that is on the stack; goes on where there is none.
fn select(out: &mut Assembler, maps: Maps, selected: Label) {
    out.copy(R1, R6);
    out.map(R2, maps.sockets);
    out.copy(R3, STACK);
    out.add(R3, i32::from(KEY));
    out.set(R4, 0);
    out.call(SELECT_REUSEPORT);
    out.jump_if(R0, When::Equal, 0, selected);
}

/// A register becomes the word in a map whose key is on the stack.
fn look_up(out: &mut Assembler, map: i32, to: Register, otherwise: Label) {
    out.map(R1, map);
    out.copy(R2, STACK);
    out.add(R2, i32::from(KEY));
    out.call(MAP_LOOKUP);
    out.jump_if(R0, When::Equal, 0, otherwise);
    out.load(Width::Word, to, R0, 0);
}

/// Selects the listener that the hash in `R7` falls on, or one of those that follow it. Where there is nobody to
/// choose from, new connections are refused.
///
/// Each key is looked up by itself: without `CAP_PERFMON` the kernel's verifier does not accept an address
/// that is computed within a value.
fn choose(out: &mut Assembler, maps: Maps, chosen: Label, pass: Label, refuse: Label) {
    out.store_word_constant(STACK, KEY, 0);
    look_up(out, maps.current, R8, pass);
    out.store_word(STACK, KEY, R8);
    look_up(out, maps.banks, R9, pass);
    out.jump_if(R9, When::Equal, 0, refuse);
    out.remainder_register(R7, R9);
    for _ in 0..TRIES {
        let in_range = out.label();
        out.copy(R1, R8);
        out.add_register(R1, R7);
        out.add(R1, 1);
        out.store_word(STACK, KEY, R1);
        look_up(out, maps.banks, R1, pass);
        out.store_word(STACK, KEY, R1);
        select(out, maps, chosen);
        out.add(R7, 1);
        out.jump_if_register(R7, When::Below, R9, in_range);
        out.set(R7, 0);
        out.place(in_range);
    }
    // The choice is left to the kernel, and is not known here.
    out.jump(pass);
}

/// Counts one more for the key that is on the stack, if this is a SYN: what comes late for a connection that has ended asks
/// for a listener, too.
fn count(out: &mut Assembler, counts: i32, pass: Label) {
    out.copy(R1, R6);
    out.set(R2, FLAGS_OF_TCP);
    out.copy(R3, STACK);
    out.add(R3, i32::from(HEADER));
    out.set(R4, 1);
    out.call(LOAD_BYTES);
    out.jump_if(R0, When::NotEqual, 0, pass);
    out.load(Width::Byte, R1, STACK, HEADER);
    out.and(R1, SYN | ACK);
    out.jump_if(R1, When::NotEqual, SYN, pass);
    out.map(R1, counts);
    out.copy(R2, STACK);
    out.add(R2, i32::from(KEY));
    out.call(MAP_LOOKUP);
    out.jump_if(R0, When::Equal, 0, pass);
    out.set(R1, 1);
    out.add_atomically(R0, 0, R1);
}
