//! The compiler: targets and probes in, a classic BPF program out.
//!
//! The program runs for each SYN, in this order: take the source's address and port apart (`X` becomes
//! the hash of all but the last 32 bits of the address); a probe's answer; the hash; the choice among the runs.
//!
//! The hazard: when an instruction cannot be executed, a program answers 0, and 0 may be a listener that
//! nobody accepts from. What could abort it is a load outside of the packet: the data of a reuseport
//! program starts behind the TCP header, where a SYN has nothing (`reuseport_select_sock` of the
//! kernel pulls the header). So headers are read relative to the network header, and only where every
//! IP packet with a TCP header has bytes.

use super::instruction::{self as op, Instruction, NETWORK_HEADER};
use super::spread::{MULTIPLIER, Run, SHIFT, Spread, Target};
use core::fmt;

/// A rule that sends one source to one index, before anything else is looked at.
///
/// It reaches a given worker through the shared port, also one that gets no connections yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The probe's source port.
    pub port: u16,
    /// The last 32 bits of its source address, first byte highest: all of an IPv4 address
    /// (127.0.0.1 is `0x7f00_0001`), 1 for `::1`.
    pub address: u32,
    /// The index that it shall reach.
    pub index: u32,
}

/// A program for a group of listeners; its answer is an index of the group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// The instructions; never none, at most 4,096 (the kernel's `BPF_MAXINSNS`).
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

/// Why there is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// No target has a weight. Keep the program that is attached.
    NoTarget,
    /// More probes than 64 at a time. Let some wait.
    TooManyProbes(usize),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget => write!(
                f,
                "no listener can be steered to; start or restore a worker first"
            ),
            Self::TooManyProbes(n) => write!(
                f,
                "{n} probes at a time are more than a steering program has room for; run at most {MAX_PROBES} at once"
            ),
        }
    }
}

impl core::error::Error for Unfit {}

/// With `MAX_RUNS` runs and as many probes as this, a program stays under the kernel's limits.
const MAX_PROBES: usize = 64;

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

/// Compiles the choice that [`choose`](super::choose) describes, with `probes` answered before it.
///
/// Targets need not be sorted. Neighbours of equal weight cost no more than one, so that a thousand
/// workers are some 50 instructions; of more than 256 runs of neighbours, the 256 longest are served.
///
/// # Errors
///
/// [`Unfit::NoTarget`] and [`Unfit::TooManyProbes`]; what is attached then stays as it is.
pub fn compile(targets: &[Target], probes: &[Probe]) -> Result<Program, Unfit> {
    if probes.len() > MAX_PROBES {
        return Err(Unfit::TooManyProbes(probes.len()));
    }
    let spread = Spread::new(targets).ok_or(Unfit::NoTarget)?;
    let mut program = source();
    program.extend(probes.iter().flat_map(|&probe| answer(probe)));
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
        op::unless_equal(6, 1),
        op::over(&v4),
    ];
    block.extend(v4);
    block.extend(v6);
    block
}

fn source_v4() -> Vec<Instruction> {
    let mut block = keep(op::LOAD_HALF, IPV4_PORT, PORT).to_vec();
    block.extend(keep(op::LOAD_WORD, IPV4_SOURCE, ADDRESS));
    block
}

fn source_v6() -> Vec<Instruction> {
    let mut block = keep(op::LOAD_HALF, IPV6_PORT, PORT).to_vec();
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

/// Answers a probe, or passes any other packet on with `X` as it was.
fn answer(probe: Probe) -> [Instruction; 5] {
    [
        op::plain(op::LOAD_SCRATCH, PORT),
        op::unless_equal(u32::from(probe.port), 3),
        op::plain(op::LOAD_SCRATCH, ADDRESS),
        op::unless_equal(probe.address, 1),
        op::plain(op::RETURN, probe.index),
    ]
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
    use crate::supervisor::steering::cbpf::choose;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    /// The IP and TCP headers of a SYN, as the group's program gets to see them.
    fn syn(source: IpAddr, port: u16) -> Vec<u8> {
        let mut packet = match source {
            IpAddr::V4(v4) => [&[0x45; 12][..], &v4.octets(), &[0; 4]].concat(),
            IpAddr::V6(v6) => [&[0x60; 8][..], &v6.octets(), &[0; 16]].concat(),
        };
        packet.extend(port.to_be_bytes());
        packet.extend([0; 18]);
        packet
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

    fn probes() -> impl Strategy<Value = Vec<Probe>> {
        let one = (any::<u16>(), any::<u32>(), any::<u32>());
        let probe = one.prop_map(|(port, address, index)| Probe {
            port,
            address,
            index,
        });
        proptest::collection::vec(probe, 0..=MAX_PROBES)
    }

    proptest! {
        #[test]
        fn the_program_chooses_as_choose_does(
            targets in targets(), probes in probes(), source in address(), port: u16,
        ) {
            prop_assume!(targets.iter().any(|target| target.weight > 0));
            let program = compile(&targets, &probes).unwrap();
            prop_assert_eq!(validate(&program), Ok(()));
            prop_assume!(probes.iter().all(|probe| probe.port != port));
            let answer = run(&program, &syn(source, port));
            prop_assert_eq!(answer, choose(&targets, source, port));
            prop_assert!(targets.iter().any(|target| Some(target.index) == answer));
        }

        #[test]
        fn a_probe_is_known_by_its_port_and_address(
            targets in targets(), mut probes in probes(), source in address(), port: u16, index: u32,
        ) {
            prop_assume!(targets.iter().any(|target| target.weight > 0));
            probes.retain(|probe| probe.port != port);
            probes.truncate(MAX_PROBES - 1);
            let packet = syn(source, port);
            let address = match source {
                IpAddr::V4(v4) => v4.to_bits(),
                IpAddr::V6(v6) => (v6.to_bits() & u128::from(u32::MAX)) as u32,
            };
            let run_with = |probe| run(&compile(&targets, &[&probes[..], &[probe]].concat()).unwrap(), &packet);
            let probe = Probe { port, address, index };
            prop_assert_eq!(run_with(probe), Some(index));
            let stranger = choose(&targets, source, port);
            prop_assert_eq!(run_with(Probe { port: port.wrapping_add(1), ..probe }), stranger);
            prop_assert_eq!(run_with(Probe { address: address ^ 1, ..probe }), stranger);
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
        let program = compile(&targets, &[]).unwrap();
        assert!(
            program.instructions().len() <= 60,
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
        let probes: Vec<Probe> = (0..64)
            .map(|i| Probe {
                port: i,
                address: u32::MAX,
                index: 1,
            })
            .collect();
        assert_eq!(validate(&compile(&targets, &probes).unwrap()), Ok(()));
    }

    #[test]
    fn what_cannot_be_compiled_is_said() {
        let probe = Probe {
            port: 1,
            address: 1,
            index: 1,
        };
        let target = Target {
            index: 0,
            weight: 1,
        };
        assert_eq!(compile(&[], &[probe]), Err(Unfit::NoTarget));
        assert_eq!(
            compile(&[target], &[probe; 65]),
            Err(Unfit::TooManyProbes(65))
        );
        assert!(Unfit::TooManyProbes(65).to_string().contains("at most 64"));
    }

    #[test]
    fn no_load_can_abort_on_a_whole_header() {
        let program = compile(
            &[Target {
                index: 7,
                weight: 1,
            }],
            &[],
        )
        .unwrap();
        for source in ["10.0.0.1", "2001:db8::1"] {
            assert_eq!(run(&program, &syn(source.parse().unwrap(), 80)), Some(7));
        }
    }
}
