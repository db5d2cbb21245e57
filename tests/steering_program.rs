//! The eBPF steering program against the choice that it is another form of, run by an interpreter: all
//! sources, all tables, and packets that are cut off. tests/steering.rs has the kernel run it.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use reuseport_run::supervisor::steering::ebpf::{MAX_CHOICES, Maps, TRIES, program};
use reuseport_run::supervisor::steering::probe_rule::{PROBE_HOPS, probe_ports};
use reuseport_run::supervisor::steering::spread::{Target, choose, shares};

const MAPS: Maps = Maps {
    sockets: 101,
    current: 102,
    banks: 103,
    counts: None,
};
/// Where the bank begins.
const BANK: u32 = 12_000;
const PASS: u64 = 1;
const DROP: u64 = 0;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The listener with this key gets it.
    Given(u32),
    /// The kernel chooses among all.
    LeftToKernel,
    Refused,
}

/// What the kernel would have: the program's functions have no other way to it.
#[derive(Default)]
struct Kernel {
    packet: Vec<u8>,
    /// The keys that have a listener.
    keys: BTreeSet<u32>,
    current: Box<[u32; 1]>,
    bank: Vec<u32>,
    selected: Option<u32>,
}

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::default();
}

/// The word at an address that the program gave.
fn word(address: u64) -> u32 {
    // SAFETY: the interpreter runs the program on a stack of its own, where the program keeps its keys.
    unsafe { (address as *const u32).read_unaligned() }
}

fn look_up(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow(|kernel| match (map, word(key)) {
        (102, 0) => kernel.current.as_ptr() as u64,
        (103, key) => {
            let word = key.checked_sub(BANK).map(|at| &kernel.bank[at as usize]);
            std::ptr::from_ref(word.unwrap()) as u64
        }
        (map, key) => panic!("key {key} of map {map}"),
    })
}

fn load_bytes(_: u64, offset: u64, to: u64, len: u64, start: u64) -> u64 {
    assert_eq!((offset, start), (0, 1), "from the network header on");
    KERNEL.with_borrow(|kernel| match kernel.packet.get(..len as usize) {
        Some(bytes) => {
            // SAFETY: the program gives as many bytes of the interpreter's stack as it asks for.
            unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes.len()) }
                .copy_from_slice(bytes);
            0
        }
        None => (-i64::from(libc::EFAULT)).cast_unsigned(),
    })
}

fn select(_: u64, map: u64, key: u64, flags: u64, _: u64) -> u64 {
    assert_eq!((map, flags), (101, 0));
    KERNEL.with_borrow_mut(|kernel| {
        let key = word(key);
        if kernel.keys.contains(&key) {
            kernel.selected = Some(key);
            return 0;
        }
        (-i64::from(libc::ENOENT)).cast_unsigned()
    })
}

fn given(key: Option<u32>) -> Answer {
    key.map_or(Answer::LeftToKernel, Answer::Given)
}

/// What the program does with a packet, when these keys have listeners and these are to be chosen from.
fn run(packet: Vec<u8>, keys: &[u32], choices: &[u32]) -> Answer {
    let mut bytes = Vec::new();
    for instruction in program(MAPS) {
        bytes.extend([instruction.code, instruction.registers]);
        bytes.extend(instruction.offset.to_le_bytes());
        bytes.extend(instruction.immediate.to_le_bytes());
    }
    let mut machine = rbpf::EbpfVmNoData::new(None).unwrap();
    machine.set_verifier(|_| Ok(())).unwrap();
    machine.set_program(&bytes).unwrap();
    for (number, function) in [
        (1, look_up as rbpf::ebpf::Helper),
        (68, load_bytes),
        (82, select),
    ] {
        machine.register_helper(number, function).unwrap();
    }
    KERNEL.with_borrow_mut(|kernel| {
        let mut bank = vec![u32::try_from(choices.len()).unwrap()];
        bank.extend(choices);
        bank.resize(1 + MAX_CHOICES as usize, 0);
        *kernel = Kernel {
            packet,
            keys: keys.iter().copied().collect(),
            current: Box::new([BANK]),
            bank,
            selected: None,
        };
        let memory = |words: &[u32]| {
            let first = words.as_ptr() as u64;
            first..first + size_of_val(words) as u64
        };
        machine.register_allowed_memory(memory(&kernel.current[..]));
        machine.register_allowed_memory(memory(&kernel.bank));
    });
    let action = machine.execute_program().unwrap();
    let selected = KERNEL.with_borrow(|kernel| kernel.selected);
    match (action, selected) {
        (PASS, Some(key)) => Answer::Given(key),
        (PASS, None) => Answer::LeftToKernel,
        (DROP, None) => Answer::Refused,
        other => panic!("the program has answered {other:?}"),
    }
}

/// The IP and TCP headers of a SYN.
fn syn(source: IpAddr, port: u16, hops: u8) -> Vec<u8> {
    let mut packet = match source {
        IpAddr::V4(v4) => [&[0x45; 8][..], &[hops, 6, 0, 0], &v4.octets(), &[0; 4]].concat(),
        IpAddr::V6(v6) => [&[0x60; 7][..], &[hops], &v6.octets(), &[0; 16]].concat(),
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

fn loopback() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([127, a, b, c])),
        Just(IpAddr::from(Ipv6Addr::LOCALHOST)),
    ]
}

/// As few as the classic program serves wherever they are: [`choose`] is the same for both.
fn targets() -> impl Strategy<Value = Vec<Target>> {
    let one = (0_u32..8192, prop_oneof![3 => Just(1), 1 => 1_u32..6]);
    proptest::collection::vec(
        one.prop_map(|(index, weight)| Target { index, weight }),
        1..200,
    )
}

fn all(targets: &[Target]) -> Vec<u32> {
    targets.iter().map(|target| target.index).collect()
}

fn table(targets: &[Target]) -> Vec<u32> {
    shares(targets, MAX_CHOICES as usize)
}

proptest! {
    #[test]
    fn the_program_chooses_as_choose_does(targets in targets(), source in address(), port: u16, hops: u8) {
        prop_assume!(!source.is_loopback() || u32::from(hops) != PROBE_HOPS);
        let answer = run(syn(source, port, hops), &all(&targets), &table(&targets));
        prop_assert_eq!(answer, given(choose(&targets, source, port)));
    }

    #[test]
    fn a_probe_reaches_the_listener_that_its_port_names(
        targets in targets(), source in loopback(), key in 0_u32..8192, hops: u8,
    ) {
        let keys = [all(&targets), vec![key]].concat();
        for port in probe_ports(key) {
            prop_assert_eq!(run(syn(source, port, 1), &keys, &table(&targets)), Answer::Given(key));
            if u32::from(hops) != PROBE_HOPS {
                let answer = run(syn(source, port, hops), &keys, &table(&targets));
                prop_assert_eq!(answer, given(choose(&targets, source, port)));
            }
        }
    }

    /// The listener after it is as good; the choice is the kernel's only where nobody is found.
    #[test]
    fn a_key_without_a_listener_is_passed_over(
        count in 1_usize..40, gone in proptest::collection::btree_set(0_u32..40, 0..40), source in address(), port: u16,
    ) {
        let choices: Vec<u32> = (0..u32::try_from(count).unwrap()).collect();
        let there: Vec<u32> = choices.iter().copied().filter(|key| !gone.contains(key)).collect();
        let targets: Vec<Target> = choices.iter().map(|index| Target { index: *index, weight: 1 }).collect();
        let first = choose(&targets, source, port).unwrap();
        let mut tried = choices.iter().cycle().skip(first as usize).take(TRIES as usize);
        let expected = tried.find(|key| there.contains(key)).copied();
        prop_assert_eq!(run(syn(source, port, 64), &there, &choices), given(expected));
    }

    #[test]
    fn a_packet_that_is_cut_off_reaches_a_live_listener(
        source in address(), port: u16, hops: u8, len in 0_usize..60,
    ) {
        prop_assume!(!source.is_loopback());
        let mut packet = syn(source, port, hops);
        packet.truncate(len);
        let answer = run(packet, &[7, 8, 9], &[7, 9]);
        prop_assert!(matches!(answer, Answer::Given(7 | 9)), "{:?}", answer);
    }

    #[test]
    fn shares_fit_and_nobody_is_left_out(weights in proptest::collection::vec(1_u32.., 1..200)) {
        let targets: Vec<Target> = (0..).zip(&weights).map(|(index, weight)| Target { index, weight: *weight }).collect();
        let table = table(&targets);
        prop_assert!(table.len() <= MAX_CHOICES as usize);
        let present: BTreeSet<u32> = table.into_iter().collect();
        prop_assert_eq!(present.len(), targets.len());
    }
}

#[test]
fn where_nobody_is_to_be_chosen_whoever_comes_is_refused() {
    let choose = |choices| run(syn(Ipv4Addr::LOCALHOST.into(), 80, 64), &[1], choices);
    assert_eq!(choose(&[]), Answer::Refused);
    // One that has just left by itself is something else: a group must go on to answer.
    assert_eq!(choose(&[2]), Answer::LeftToKernel);
}
