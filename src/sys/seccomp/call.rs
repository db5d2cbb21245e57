//! The calls that are of interest: what their numbers are, and what one that was trapped is.
//!
//! The filter is made from the same table of numbers that a trapped call is decoded with, so that
//! they cannot disagree.

pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
pub(super) const AUDIT_ARCH_I386: u32 = 0x4000_0003;
pub(super) const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
pub(super) const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
/// What x32 adds to its numbers; the architecture is that of x86_64.
pub(super) const X32: u32 = 0x4000_0000;

/// `call` numbers of socketcall(2), from linux/net.h.
pub(super) const SYS_BIND: u32 = 2;
pub(super) const SYS_LISTEN: u32 = 4;

/// The options that give a reuseport group a program and take it away, from asm-generic/socket.h: the number is the same
/// on all architectures here.
pub(super) const PROGRAM_OPTIONS: [i32; 3] = [
    libc::SO_ATTACH_REUSEPORT_CBPF,
    libc::SO_ATTACH_REUSEPORT_EBPF,
    SO_DETACH_REUSEPORT_BPF,
];
/// Since Linux 5.3; libc does not name it.
const SO_DETACH_REUSEPORT_BPF: i32 = 68;

/// What the thread asked the kernel to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// bind(2).
    Bind {
        /// The socket, as a descriptor of the calling process.
        fd: i32,
        /// Where in its memory the socket address is.
        address: u64,
        /// How long that is, in bytes.
        length: u32,
    },
    /// listen(2).
    Listen {
        /// The socket, as a descriptor of the calling process.
        fd: i32,
        /// The backlog that it asks for.
        backlog: i32,
    },
    /// `setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, ...)`.
    SetV6Only {
        /// The socket, as a descriptor of the calling process.
        fd: i32,
        /// Where in its memory the value is.
        value_address: u64,
        /// How long that is, in bytes.
        length: u32,
    },
    /// `setsockopt(fd, SOL_SOCKET, ...)` that gives the socket's group a BPF program which chooses among its
    /// members, or takes the program away.
    SetProgram {
        /// The socket, as a descriptor of the calling process.
        fd: i32,
    },
    /// The 32-bit x86 way to do any of these: the arguments are in memory. Read the three `u32` words
    /// there and give them to [`decode_socketcall`].
    Socketcall {
        /// Which call it stands for.
        which: u32,
        /// Where in its memory the array of arguments is.
        arguments_address: u64,
    },
    /// None of these: let it [pass](super::pass).
    Other,
}

/// The shape of a trapped call: what its number stands for on its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bind,
    Listen,
    SetOption,
    Socketcall,
}

/// An architecture, a system call number of it, and what that is.
pub(super) struct Number(pub(super) u32, pub(super) u32, pub(super) Shape);

/// What one kernel of this architecture accepts: its own numbers and its 32-bit ones. A number alone
/// says nothing: 102 is socketcall(2) on i386 and getuid(2) on x86_64. None is here twice: the filter
/// looks at the first only.
pub(super) const NUMBERS: &[Number] = if cfg!(target_arch = "x86_64") {
    &[
        Number(AUDIT_ARCH_X86_64, 49, Shape::Bind),
        Number(AUDIT_ARCH_X86_64, 50, Shape::Listen),
        Number(AUDIT_ARCH_X86_64, 54, Shape::SetOption),
        Number(AUDIT_ARCH_X86_64, X32 | 49, Shape::Bind),
        Number(AUDIT_ARCH_X86_64, X32 | 50, Shape::Listen),
        Number(AUDIT_ARCH_X86_64, X32 | 541, Shape::SetOption),
        Number(AUDIT_ARCH_I386, 361, Shape::Bind),
        Number(AUDIT_ARCH_I386, 363, Shape::Listen),
        Number(AUDIT_ARCH_I386, 366, Shape::SetOption),
        Number(AUDIT_ARCH_I386, 102, Shape::Socketcall),
    ]
} else if cfg!(target_arch = "aarch64") {
    &[
        Number(AUDIT_ARCH_AARCH64, 200, Shape::Bind),
        Number(AUDIT_ARCH_AARCH64, 201, Shape::Listen),
        Number(AUDIT_ARCH_AARCH64, 208, Shape::SetOption),
        Number(AUDIT_ARCH_ARM, 282, Shape::Bind),
        Number(AUDIT_ARCH_ARM, 284, Shape::Listen),
        Number(AUDIT_ARCH_ARM, 294, Shape::SetOption),
    ]
} else {
    &[]
};

/// What a trapped call is.
pub(super) fn decode(data: &libc::seccomp_data) -> Call {
    let matches =
        |Number(arch, number, _): &&Number| *arch == data.arch && *number == data.nr as u32;
    let Some(Number(.., shape)) = NUMBERS.iter().find(matches) else {
        return Call::Other;
    };
    let [a, b, c, d, e, _] = data.args;
    // The kernel, too, takes the low half of an argument that is an `int` or an `unsigned`.
    match shape {
        Shape::Bind => Call::Bind {
            fd: a as i32,
            address: b,
            length: c as u32,
        },
        Shape::Listen => Call::Listen {
            fd: a as i32,
            backlog: b as i32,
        },
        Shape::Socketcall => Call::Socketcall {
            which: a as u32,
            arguments_address: b,
        },
        Shape::SetOption if is_v6only(b as i32, c as i32) => Call::SetV6Only {
            fd: a as i32,
            value_address: d,
            length: e as u32,
        },
        Shape::SetOption if sets_program(b as i32, c as i32) => Call::SetProgram { fd: a as i32 },
        Shape::SetOption => Call::Other,
    }
}

fn sets_program(level: i32, option: i32) -> bool {
    level == libc::SOL_SOCKET && PROGRAM_OPTIONS.contains(&option)
}

fn is_v6only(level: i32, option: i32) -> bool {
    level == libc::IPPROTO_IPV6 && option == libc::IPV6_V6ONLY
}

/// What a [`Call::Socketcall`] is, given its `which` and the first three words of its arguments.
pub fn decode_socketcall(which: u32, arguments: [u32; 3]) -> Call {
    let [a, b, c] = arguments;
    match which {
        SYS_BIND => Call::Bind {
            fd: a as i32,
            address: u64::from(b),
            length: c,
        },
        SYS_LISTEN => Call::Listen {
            fd: a as i32,
            backlog: b as i32,
        },
        _ => Call::Other,
    }
}
