//! The compiler: targets in, a classic BPF program out.
//!
//! The program runs for each SYN, in this order: a probe is answered; the source's address and port are
//! taken apart (`X` becomes the hash of all but the last 32 bits of the address); the hash; the choice
//! among the runs.
//!
//! The rule for probes is that of [`probe_rule`](crate::supervisor::steering::probe_rule), with indexes for
//! numbers.
//!
//! The hazard: when an instruction cannot be executed, a program answers 0, and 0 may be a listener that
//! nobody accepts from. What could abort it is a load outside of the packet: the data of a reuseport
//! program starts behind the TCP header, where a SYN has nothing (`reuseport_select_sock` of the
//! kernel pulls the header). So headers are read relative to the network header, and only where every
//! IP packet with a TCP header has bytes.

use super::instruction::{self as op, NETWORK_HEADER};
use crate::supervisor::steering::probe_rule::{PROBE_HOPS, PROBED};
use crate::supervisor::steering::spread::{MULTIPLIER, Run, SHIFT, Spread, Target};
use crate::sys::steering::Instruction;

/// A program for a group of listeners; its answer is an index of the group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// The instructions; never none, at most 4,096 (the kernel's `BPF_MAXINSNS`).
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

/// Why there is no program: no target has a weight. The program that is attached stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoTarget;

const IPV4_TIME_TO_LIVE: u32 = NETWORK_HEADER + 8;
const IPV6_HOP_LIMIT: u32 = NETWORK_HEADER + 7;
const IPV4_SOURCE: u32 = NETWORK_HEADER + 12;
const IPV6_SOURCE: u32 = NETWORK_HEADER + 8;
/// Right behind an IPv4 header without options. With options these are two bytes of the options: a
/// worse hash for a packet that hardly exists, but a right answer.
const IPV4_PORT: u32 = NETWORK_HEADER + 20;
/// Right behind an IPv6 header without extensions; as above with them.
const IPV6_PORT: u32 = NETWORK_HEADER + 40;

/// Scratch memory: the last 32 bits of the source address.
const ADDRESS: u32 = 0;
/// Scratch memory: the source port.
const PORT: u32 = 1;

/// Compiles the choice that [`choose`](crate::supervisor::steering::spread::choose) describes, with probes answered before it.
///
/// Targets need not be sorted. Neighbours of equal weight cost no more than one, so that a thousand
/// workers are some 60 instructions; of more than 256 runs of neighbours, the 256 longest are served.
///
/// # Errors
///
/// [`NoTarget`]; the program that is attached then stays.
pub fn compile(targets: &[Target]) -> Result<Program, NoTarget> {
    let spread = Spread::new(targets).ok_or(NoTarget)?;
    let mut program = source();
    program.extend(hash());
    program.push(op::plain(op::REMAINDER, spread.total));
    program.extend(choice(&spread.runs));
    Ok(Program(program))
}

/// Takes IPv4 and IPv6 apart. The version is asked of each packet, because a group on `[::]` for both
/// families sees the headers of both.
fn source() -> Vec<Instruction> {
    let (mut v4, v6) = (source_v4(), source_v6());
    v4.push(op::over(&v6));
    let mut block = vec![
        op::plain(op::SET_X, 0),
        op::plain(op::LOAD_BYTE, NETWORK_HEADER),
        op::plain(op::SHIFT_RIGHT, 4),
        op::unless_equal(6, &[op::over(&v4)]),
        op::over(&v4),
    ];
    block.extend(v4);
    block.extend(v6);
    block
}

fn source_v4() -> Vec<Instruction> {
    let mut block = probe(
        &[
            (op::LOAD_BYTE, IPV4_TIME_TO_LIVE, PROBE_HOPS),
            (op::LOAD_BYTE, IPV4_SOURCE, 127),
        ],
        IPV4_PORT,
    );
    block.extend(keep(op::LOAD_HALF, IPV4_PORT, PORT));
    block.extend(keep(op::LOAD_WORD, IPV4_SOURCE, ADDRESS));
    block
}

fn source_v6() -> Vec<Instruction> {
    let mut block = probe(
        &[
            (op::LOAD_BYTE, IPV6_HOP_LIMIT, PROBE_HOPS),
            (op::LOAD_WORD, IPV6_SOURCE, 0),
            (op::LOAD_WORD, IPV6_SOURCE + 4, 0),
            (op::LOAD_WORD, IPV6_SOURCE + 8, 0),
            (op::LOAD_WORD, IPV6_SOURCE + 12, 1),
        ],
        IPV6_PORT,
    );
    block.extend(keep(op::LOAD_HALF, IPV6_PORT, PORT));
    for offset in [0, 4, 8] {
        block.push(op::plain(op::LOAD_WORD, IPV6_SOURCE + offset));
        block.extend(absorb());
    }
    block.extend(keep(op::LOAD_WORD, IPV6_SOURCE + 12, ADDRESS));
    block
}

fn keep(load: u16, offset: u32, scratch: u32) -> [Instruction; 2] {
    [
        op::plain(load, offset),
        op::plain(op::STORE_SCRATCH, scratch),
    ]
}

/// `A` and `X` become the hash of what `X` was, with the word `A` added.
fn absorb() -> [Instruction; 6] {
    [
        op::plain(op::XOR_X, 0),
        op::plain(op::MULTIPLY, MULTIPLIER),
        op::plain(op::A_TO_X, 0),
        op::plain(op::SHIFT_RIGHT, SHIFT),
        op::plain(op::XOR_X, 0),
        op::plain(op::A_TO_X, 0),
    ]
}

/// Answers a packet that meets all conditions (a load, its offset, the value) with the index that its source
/// port names, and passes any other on.
fn probe(conditions: &[(u16, u32, u32)], port: u32) -> Vec<Instruction> {
    let mut block = vec![
        op::plain(op::LOAD_HALF, port),
        op::plain(op::AND, PROBED - 1),
        op::plain(op::RETURN_A, 0),
    ];
    for (load, offset, value) in conditions.iter().rev() {
        let condition = [op::plain(*load, *offset), op::unless_equal(*value, &block)];
        block.splice(0..0, condition);
    }
    block
}

/// `A` becomes the hash of the address and the port.
fn hash() -> Vec<Instruction> {
    let last = [
        op::plain(op::LOAD_SCRATCH, ADDRESS),
        op::plain(op::LOAD_SCRATCH, PORT),
        op::plain(op::LOAD, 0),
    ];
    last.into_iter()
        .flat_map(|load| [load].into_iter().chain(absorb()))
        .collect()
}

/// Finds the run in which `A` falls, taking from `A` the share of each that it passes.
fn choice(runs: &[Run]) -> Vec<Instruction> {
    let mut block = Vec::new();
    for (place, &run) in runs.iter().enumerate() {
        let answer = within(run);
        if place + 1 == runs.len() {
            block.extend(answer);
            break;
        }
        block.push(op::if_at_least(run.share(), &answer));
        block.extend(answer);
        block.push(op::plain(op::SUBTRACT, run.share()));
    }
    block
}

/// Answers with the index at which `A` falls in a run.
fn within(run: Run) -> Vec<Instruction> {
    let mut block = Vec::new();
    if run.weight != 1 {
        block.push(op::plain(op::DIVIDE, run.weight));
    }
    if run.first != 0 {
        block.push(op::plain(op::ADD, run.first));
    }
    block.push(op::plain(op::RETURN_A, 0));
    block
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::interpreter::{run, validate};
    use super::*;
    use crate::supervisor::steering::probe_rule::probe_ports;
    use crate::supervisor::steering::spread::choose;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    /// The IP and TCP headers of a SYN, as the group's program gets to see them.
    fn syn_with(source: IpAddr, port: u16, hops: u8) -> Vec<u8> {
        let mut packet = match source {
            IpAddr::V4(v4) => [&[0x45; 8][..], &[hops, 6, 0, 0], &v4.octets(), &[0; 4]].concat(),
            IpAddr::V6(v6) => [&[0x60; 7][..], &[hops], &v6.octets(), &[0; 16]].concat(),
        };
        packet.extend(port.to_be_bytes());
        packet.extend([0; 18]);
        packet
    }

    fn syn(source: IpAddr, port: u16) -> Vec<u8> {
        syn_with(source, port, 64)
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        ]
    }

    fn targets() -> impl Strategy<Value = Vec<Target>> {
        let one = (0_u32..600, prop_oneof![Just(1), 1_u32..6, any::<u32>()]);
        proptest::collection::vec(
            one.prop_map(|(index, weight)| Target { index, weight }),
            1..700,
        )
    }

    fn loopback() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([127, a, b, c])),
            Just(IpAddr::from(Ipv6Addr::LOCALHOST)),
        ]
    }

    proptest! {
        #[test]
        fn the_program_chooses_as_choose_does(targets in targets(), source in address(), port: u16, hops: u8) {
            prop_assume!(targets.iter().any(|target| target.weight > 0));
            prop_assume!(!source.is_loopback() || u32::from(hops) != PROBE_HOPS);
            let program = compile(&targets).unwrap();
            prop_assert_eq!(validate(&program), Ok(()));
            let answer = run(&program, &syn_with(source, port, hops));
            prop_assert_eq!(answer, choose(&targets, source, port));
            prop_assert!(targets.iter().any(|target| Some(target.index) == answer));
        }

        #[test]
        fn a_probe_reaches_the_index_that_its_port_names(
            targets in targets(), source in loopback(), index in 0..PROBED, hops: u8,
        ) {
            prop_assume!(targets.iter().any(|target| target.weight > 0));
            let program = compile(&targets).unwrap();
            let ports: Vec<u16> = probe_ports(index).collect();
            prop_assert!(ports.len() >= 7, "{:?}", ports);
            for port in ports {
                prop_assert_eq!(run(&program, &syn_with(source, port, 1)), Some(index));
                if u32::from(hops) != PROBE_HOPS {
                    let answer = run(&program, &syn_with(source, port, hops));
                    prop_assert_eq!(answer, choose(&targets, source, port));
                }
            }
        }
    }

    #[test]
    fn a_thousand_neighbours_are_a_short_program() {
        let targets: Vec<Target> = (0..1_000)
            .map(|i| Target {
                index: 1_000 + i,
                weight: 1,
            })
            .collect();
        let program = compile(&targets).unwrap();
        assert!(
            program.instructions().len() <= 80,
            "{}",
            program.instructions().len()
        );
        assert_eq!(validate(&program), Ok(()));
    }

    #[test]
    fn the_longest_program_is_within_the_limits() {
        let targets: Vec<Target> = (0..5_000)
            .map(|i| Target {
                index: 3 + i * 2,
                weight: 1 << 31,
            })
            .collect();
        assert_eq!(validate(&compile(&targets).unwrap()), Ok(()));
    }

    #[test]
    fn without_a_target_there_is_no_program() {
        assert_eq!(compile(&[]), Err(NoTarget));
        assert_eq!(
            compile(&[Target {
                index: 0,
                weight: 0
            }]),
            Err(NoTarget)
        );
    }

    #[test]
    fn no_load_can_abort_on_a_whole_header() {
        let program = compile(&[Target {
            index: 7,
            weight: 1,
        }])
        .unwrap();
        for source in ["10.0.0.1", "2001:db8::1"] {
            assert_eq!(run(&program, &syn(source.parse().unwrap(), 80)), Some(7));
        }
    }
}
