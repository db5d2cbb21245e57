//! The filter, run by an interpreter of as much classic BPF as it uses.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::sys::seccomp::call::*;
use libc::seccomp_data;
use proptest::prelude::*;

/// Runs the filter as the kernel would.
fn run(filter: &[sock_filter], data: &seccomp_data) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let sock_filter { code, jt, jf, k } = filter[at];
        at += 1;
        let branch = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = word(data, k),
            0x15 => at += branch(accumulator == k),
            0x35 => at += branch(accumulator >= k),
            0x06 => return k,
            other => panic!("the filter uses operation {other:#x}"),
        }
    }
}

/// The 32-bit word at an offset of `struct seccomp_data`.
fn word(data: &seccomp_data, offset: u32) -> u32 {
    let mut bytes = data.nr.to_ne_bytes().to_vec();
    bytes.extend(data.arch.to_ne_bytes());
    bytes.extend(data.instruction_pointer.to_ne_bytes());
    data.args.iter().for_each(|a| bytes.extend(a.to_ne_bytes()));
    let offset = offset as usize;
    assert_eq!(
        offset % 4,
        0,
        "the kernel refuses loads that are not aligned"
    );
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn call(arch: u32, number: u32, args: [u64; 3]) -> seccomp_data {
    let [a, b, c] = args;
    seccomp_data {
        nr: number as i32,
        arch,
        instruction_pointer: 0,
        args: [a, b, c, 77, 4, 0],
    }
}

fn is_trapped(filter: &[sock_filter], data: &seccomp_data) -> bool {
    match run(filter, data) {
        libc::SECCOMP_RET_USER_NOTIF => true,
        libc::SECCOMP_RET_ALLOW => false,
        other => panic!("the filter answers {other:#x}"),
    }
}

const V6ONLY: [u64; 3] = [3, libc::IPPROTO_IPV6 as u64, libc::IPV6_V6ONLY as u64];
const PROGRAMS: [u64; 3] = [51, 52, 68];
const BIND: [u64; 3] = [3, 0xffff_8000_1234_5678, 16];

#[cfg(target_arch = "x86_64")]
const CALLS: &[(u32, u32, u32, u32)] = &[
    (AUDIT_ARCH_X86_64, 49, 50, 54),
    (AUDIT_ARCH_X86_64, 0x4000_0031, 0x4000_0032, 0x4000_021d),
    (AUDIT_ARCH_I386, 361, 363, 366),
];
#[cfg(target_arch = "aarch64")]
const CALLS: &[(u32, u32, u32, u32)] = &[
    (AUDIT_ARCH_AARCH64, 200, 201, 208),
    (AUDIT_ARCH_ARM, 282, 284, 294),
];

#[test]
fn bind_and_listen_are_trapped_on_every_architecture_of_the_machine() {
    for filter in [build_filter(false), build_filter(true)] {
        for &(arch, bind, listen, _) in CALLS {
            assert!(is_trapped(&filter, &call(arch, bind, BIND)));
            assert!(is_trapped(&filter, &call(arch, listen, [3, 0, 0])));
        }
    }
}

#[test]
fn the_native_numbers_are_those_of_libc() {
    let filter = build_filter(true);
    let arch = CALLS[0].0;
    assert!(is_trapped(
        &filter,
        &call(arch, libc::SYS_bind as u32, BIND)
    ));
    assert!(is_trapped(
        &filter,
        &call(arch, libc::SYS_listen as u32, BIND)
    ));
    assert!(is_trapped(
        &filter,
        &call(arch, libc::SYS_setsockopt as u32, V6ONLY)
    ));
}

#[test]
fn a_short_address_is_not_trapped() {
    let filter = build_filter(false);
    for &(arch, bind, ..) in CALLS {
        assert!(!is_trapped(&filter, &call(arch, bind, [3, 4096, 12])));
        assert!(!is_trapped(&filter, &call(arch, bind, [3, 4096, 15])));
        // The kernel takes an int: the upper half is nothing to it.
        assert!(!is_trapped(
            &filter,
            &call(arch, bind, [3, 4096, 1 << 32 | 12])
        ));
        assert!(is_trapped(
            &filter,
            &call(arch, bind, [3, 4096, u64::from(u32::MAX)])
        ));
    }
}

#[test]
fn the_option_is_trapped_on_request_only_and_no_other_option_is() {
    for &(arch, _, _, set_option) in CALLS {
        assert!(!is_trapped(
            &build_filter(false),
            &call(arch, set_option, V6ONLY)
        ));
        let filter = build_filter(true);
        assert!(is_trapped(&filter, &call(arch, set_option, V6ONLY)));
        assert!(!is_trapped(
            &filter,
            &call(arch, set_option, [3, V6ONLY[1], 25])
        ));
        assert!(!is_trapped(
            &filter,
            &call(arch, set_option, [3, 1, V6ONLY[2]])
        ));
    }
}

#[test]
fn options_that_set_a_groups_program_are_trapped_and_their_neighbours_are_not() {
    let level = libc::SOL_SOCKET as u64;
    for (&(arch, _, _, set_option), v6_only) in CALLS.iter().zip([false, true].into_iter().cycle())
    {
        let filter = build_filter(v6_only);
        for option in 0..100 {
            let data = call(arch, set_option, [3, level, option]);
            let is_one = PROGRAMS.contains(&option);
            assert_eq!(is_trapped(&filter, &data), is_one, "{option}");
            let expected = if is_one {
                Call::SetProgram { fd: 3 }
            } else {
                Call::Other
            };
            assert_eq!(decode(&data), expected, "{option}");
            let other = call(arch, set_option, [3, 6, option]);
            assert!(!is_trapped(&filter, &other), "{option} of TCP");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_number_means_what_it_means_on_its_own_architecture() {
    let filter = build_filter(true);
    for number in [49, 50, 54] {
        assert!(
            !is_trapped(&filter, &call(AUDIT_ARCH_I386, number, V6ONLY)),
            "i386 {number}"
        );
    }
    for number in [102, 361, 363, 366] {
        assert!(
            !is_trapped(&filter, &call(AUDIT_ARCH_X86_64, number, [2, 0, 16])),
            "x86_64 {number}"
        );
    }
    assert!(!is_trapped(&filter, &call(AUDIT_ARCH_AARCH64, 200, BIND)));
    assert!(!is_trapped(&filter, &call(AUDIT_ARCH_AARCH64, 49, BIND)));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn socketcall_is_trapped_for_bind_and_listen() {
    let filter = build_filter(false);
    for which in 0..=20 {
        let data = call(AUDIT_ARCH_I386, 102, [which, 4096, 0]);
        assert_eq!(
            is_trapped(&filter, &data),
            which == 2 || which == 4,
            "{which}"
        );
        let arguments_address = 4096;
        assert_eq!(
            decode(&data),
            Call::Socketcall {
                which: which as u32,
                arguments_address
            }
        );
    }
    let bind = Call::Bind {
        fd: 3,
        address: 0xffff_0000,
        length: 28,
    };
    assert_eq!(decode_socketcall(2, [3, 0xffff_0000, 28]), bind);
    assert_eq!(
        decode_socketcall(4, [3, 128, 0]),
        Call::Listen {
            fd: 3,
            backlog: 128
        }
    );
    assert_eq!(decode_socketcall(14, [3, 41, 26]), Call::Other);
}

#[test]
fn what_is_trapped_is_decoded() {
    for &(arch, bind, listen, set_option) in CALLS {
        let expected = Call::Bind {
            fd: 3,
            address: BIND[1],
            length: 16,
        };
        assert_eq!(decode(&call(arch, bind, BIND)), expected);
        let listen = decode(&call(arch, listen, [3, u64::from(u32::MAX), 0]));
        assert_eq!(listen, Call::Listen { fd: 3, backlog: -1 });
        let set = decode(&call(arch, set_option, V6ONLY));
        assert_eq!(
            set,
            Call::SetV6Only {
                fd: 3,
                value_address: 77,
                length: 4
            }
        );
    }
}

#[test]
fn the_number_is_loaded_first_and_no_argument_before_its_call_is_known() {
    let filter = build_filter(true);
    assert_eq!(filter[0].k, offset::NUMBER);
    let loads: Vec<u32> = filter
        .iter()
        .filter(|i| i.code == 0x20)
        .map(|i| i.k)
        .collect();
    assert_eq!(loads[1], offset::ARCH);
    // Were every instruction to be stepped over, one jump must still reach the end.
    assert!(filter.len() < usize::from(u8::MAX));
}

#[test]
fn an_empty_filter_is_refused() {
    assert_eq!(install(&[]).unwrap_err().kind(), io::ErrorKind::Unsupported);
}

proptest! {
    #[test]
    fn the_filter_traps_exactly_what_is_decoded(
        number in prop_oneof![0..600u32, 0x4000_0000..0x4000_0300u32, any::<u32>()],
        arch in prop_oneof![Just(AUDIT_ARCH_X86_64), Just(AUDIT_ARCH_I386), Just(AUDIT_ARCH_AARCH64), any::<u32>()],
        args in proptest::array::uniform3(prop_oneof![0..64u64, any::<u64>()]),
    ) {
        let data = call(arch, number, args);
        let trapped = is_trapped(&build_filter(true), &data);
        let wanted = match decode(&data) {
            Call::Bind { length, .. } => length >= 16,
            Call::Socketcall { which, .. } => matches!(which, 2 | 4),
            Call::Listen { .. } | Call::SetV6Only { .. } | Call::SetProgram { .. } => true,
            Call::Other => false,
        };
        prop_assert_eq!(trapped, wanted);
    }
}
