//! The programs that name the peers of passed on requests: pure.

use crate::sys::bpf::Instruction;
use crate::sys::bpf::assembler::{
    Assembler, Label, R0, R1, R2, R3, R4, R6, R8, Register, STACK, When, Width,
};
use crate::wire::peer_names::{CLIENT, CLIENT_PORT, SOURCE, TARGET_PORT, VERSION};

/// `BPF_FUNC_map_lookup_elem`.
const LOOK_UP: i32 = 1;
/// What the context of such a program has where (`struct bpf_sock_addr` of `linux/bpf.h`).
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;
const USER_PORT: i16 = 24;
const SOCKET: i16 = 64;
/// The own port, in the machine's order (`struct bpf_sock`).
const SOCKET_PORT: i16 = 44;

/// Which sockets a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sockets {
    V4,
    /// IPv4 connections that they have are in IPv6.
    V6,
}

/// A program that looks for an entry by the peer's port, and puts the client in the place of the peer where all
/// that the entry says of the connection is true.
pub(super) fn program(sockets: Sockets, array: i32) -> Vec<Instruction> {
    let mut to = Assembler::default();
    let end = to.label();
    to.copy(R6, R1);
    look_up(&mut to, array, end);
    to.load(Width::Double, R2, R6, SOCKET);
    to.load(Width::Word, R3, R2, SOCKET_PORT);
    unless_equal(&mut to, R3, TARGET_PORT, end);
    let parts = match sockets {
        Sockets::V4 => {
            to.load(Width::Word, R3, R0, word(VERSION));
            to.jump_if(R3, When::NotEqual, 4, end);
            vec![(USER_IP4, 3)]
        }
        Sockets::V6 => (0..4)
            .map(|part| (USER_IP6 + 4 * part as i16, part))
            .collect(),
    };
    for (user, part) in &parts {
        to.load(Width::Word, R3, R6, *user);
        unless_equal(&mut to, R3, SOURCE + part, end);
    }
    for (user, part) in &parts {
        to.load(Width::Word, R3, R0, word(CLIENT + part));
        to.store_word(R6, *user, R3);
    }
    to.load(Width::Word, R8, R0, word(CLIENT_PORT));
    to.store_word(R6, USER_PORT, R8);
    to.place(end);
    to.set(R0, 1);
    to.exit();
    to.finish()
}

/// The entry of the peer's port is in [`R0`]; ends where there is none.
fn look_up(to: &mut Assembler, array: i32, end: Label) {
    to.load(Width::Word, R2, R6, USER_PORT);
    to.host_order(R2, 16);
    to.store_word(STACK, -4, R2);
    to.map(R1, array);
    to.copy(R2, STACK);
    to.add(R2, -4);
    to.call(LOOK_UP);
    to.jump_if(R0, When::Equal, 0, end);
    to.load(Width::Word, R3, R0, word(VERSION));
    to.jump_if(R3, When::Equal, 0, end);
}

fn unless_equal(to: &mut Assembler, register: Register, number: usize, end: Label) {
    to.load(Width::Word, R4, R0, word(number));
    to.jump_if_register(register, When::NotEqual, R4, end);
}

/// Where a word of an entry is, in bytes; an entry has few.
fn word(number: usize) -> i16 {
    4 * number as i16
}
