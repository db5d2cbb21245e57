//! sock_diag(7): asking the kernel for the TCP sockets of one port, and reading its answers.
//!
//! One [request] asks for one address family. The kernel answers it with several datagrams, each of
//! several messages, the last of which is [`Message::Done`] or [`Message::Failed`]. All numbers are in
//! the machine's byte order, except for addresses and ports.
//!
//! The hazard is in what an answer means: it is a walk over the kernel's tables, not a picture of one
//! moment. A connection that is opened or closed meanwhile may or may not be in it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

pub use super::connection::{Connection, States, TcpState};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Sockets of IPv4.
    V4 = 2,
    /// Sockets of IPv6; the IPv4 connections that they have are among theirs.
    V6 = 10,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This side's.
    Local,
    /// The other side's.
    Remote,
}

/// One part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A socket.
    Connection(Connection),
    /// All sockets have been told.
    Done,
    /// There are no more, because of this errno.
    Failed(i32),
    /// The answer to another request, or of a kind that is not known.
    Other,
    /// The datagram ends in the middle of a message, or a message is too short for what it says it is.
    Malformed,
}

/// Lengths, message types and flags, from linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 8 + 48;
const SOCKET: usize = 72;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const IPPROTO_TCP: u8 = 6;

/// The condition "port = p" of one end as the kernel's small filter language has it: at least p, and at most
/// p. Each comparison is followed by its operand, and says how far to go on when it is true and when
/// it is false; "false" leads one word past the end, which means "leave it out".
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const CONDITION: usize = 16;
const SOURCE_AT_LEAST: u8 = 2;
const SOURCE_AT_MOST: u8 = 3;
const DESTINATION_AT_LEAST: u8 = 4;
const DESTINATION_AT_MOST: u8 = 5;

/// `idiag_timer` of what is only remembered: `idiag_expires` are the milliseconds until it is forgotten
/// (`inet_twsk_diag_fill`, net/ipv4/inet_diag.c; `tcp_twsk_diag_fill`, net/ipv4/tcp_diag.c, in the newest kernels).
const TIMER_OF_MEMORY: u8 = 3;

/// Asks for the sockets of one family, in one of `states`, one end of which has this port. `sequence` comes
/// back in the answers.
pub fn request(family: Family, states: States, (end, port): (End, u16), sequence: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST + 4 + CONDITION);
    out.extend(((REQUEST + 4 + CONDITION) as u32).to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]); // to the kernel
    out.extend([family as u8, IPPROTO_TCP, 0, 0]);
    out.extend(states.bits().to_ne_bytes());
    out.resize(REQUEST, 0); // no socket in particular
    out.extend(((4 + CONDITION) as u16).to_ne_bytes());
    out.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
    let mut left = CONDITION as u16;
    let comparisons = match end {
        End::Local => [SOURCE_AT_LEAST, SOURCE_AT_MOST],
        End::Remote => [DESTINATION_AT_LEAST, DESTINATION_AT_MOST],
    };
    for comparison in comparisons {
        out.extend([comparison, 8]);
        out.extend((left + 4).to_ne_bytes());
        out.extend([0, 0]);
        out.extend(port.to_ne_bytes());
        left -= 8;
    }
    out
}

/// Asks for one socket by its addresses: `local` is this host's end. The answer is one message, with errno
/// `ENOENT` where there is no such socket.
pub fn request_one(
    family: Family,
    local: SocketAddr,
    remote: SocketAddr,
    sequence: u32,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST);
    out.extend((REQUEST as u32).to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend(NLM_F_REQUEST.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]); // to the kernel
    out.extend([family as u8, IPPROTO_TCP, 0, 0]);
    out.extend(u32::MAX.to_ne_bytes()); // in any state
    out.extend(local.port().to_be_bytes());
    out.extend(remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        match ip {
            IpAddr::V4(v4) => out.extend([&v4.octets()[..], &[0; 12]].concat()),
            IpAddr::V6(v6) => out.extend(v6.octets()),
        }
    }
    out.extend([0; 4]); // of any interface
    out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    out
}

/// Reads the messages of one datagram. `sequence` is that of the request.
pub fn parse(datagram: &[u8], sequence: u32) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((message, tail)) = split_message(rest) else {
            messages.push(Message::Malformed);
            break;
        };
        messages.push(parse_message(message, sequence).unwrap_or(Message::Malformed));
        rest = tail;
    }
    messages
}

/// The first message, header and all, and what follows it: at the next multiple of four.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    let message = bytes.get(..length).filter(|_| length >= HEADER)?;
    let tail = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((message, tail))
}

fn parse_message(message: &[u8], sequence: u32) -> Option<Message> {
    if word(message, 8)? != sequence {
        return Some(Message::Other);
    }
    let body = message.get(HEADER..)?;
    match half(message, 4)? {
        SOCK_DIAG_BY_FAMILY => parse_socket(body).map(Message::Connection),
        // Both carry a negative errno, or 0: older kernels leave it out of the first.
        NLMSG_DONE => Some(outcome(word(body, 0).unwrap_or(0))),
        NLMSG_ERROR => Some(outcome(word(body, 0)?)),
        _ => Some(Message::Other),
    }
}

fn outcome(error: u32) -> Message {
    match error.cast_signed() {
        0 => Message::Done,
        negative => Message::Failed(negative.saturating_neg()),
    }
}

/// `struct inet_diag_msg`.
fn parse_socket(body: &[u8]) -> Option<Connection> {
    let body = body.get(..SOCKET)?;
    let family = body[0];
    Some(Connection {
        local: SocketAddr::new(address(family, body, 8)?, port(body, 4)?),
        remote: SocketAddr::new(address(family, body, 24)?, port(body, 6)?),
        state: TcpState(body[1]),
        remembered_for: remembered_for(body[2], word(body, 52)?),
        cookie: u64::from(word(body, 44)?) | u64::from(word(body, 48)?) << 32,
        receive_queue: word(body, 56)?,
        send_queue: word(body, 60)?,
        uid: word(body, 64)?,
        inode: word(body, 68)?.into(),
    })
}

fn remembered_for(timer: u8, expires: u32) -> Option<Duration> {
    (timer == TIMER_OF_MEMORY).then(|| Duration::from_millis(expires.into()))
}

fn address(family: u8, body: &[u8], at: usize) -> Option<IpAddr> {
    let octets = body.get(at..at + 16)?;
    if family == Family::V4 as u8 {
        let octets: [u8; 4] = octets.get(..4)?.try_into().ok()?;
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets: [u8; 16] = octets.try_into().ok()?;
    let is_v6 = family == Family::V6 as u8;
    is_v6.then(|| IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
}

fn port(bytes: &[u8], at: usize) -> Option<u16> {
    half(bytes, at).map(u16::from_be)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([2, 0]);
        out.extend(sequence.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    fn socket(family: u8, local: &[u8], remote: &[u8]) -> Vec<u8> {
        let mut body = vec![family, 1, 0, 0, 0x1f, 0x90, 0xc0, 0x01];
        body.extend(local);
        body.resize(24, 0);
        body.extend(remote);
        body.resize(44, 0);
        // Cookie, expiry, queues, user, inode.
        for word in [0x5566_7788_u32, 0x1122_3344, 9, 3, 4, 1000, 77] {
            body.extend(word.to_ne_bytes());
        }
        body
    }

    fn connection(body: &[u8]) -> Connection {
        let datagram = message(SOCK_DIAG_BY_FAMILY, 5, body);
        match parse(&datagram, 5)[..] {
            [Message::Connection(connection)] => connection,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_socket_is_read() {
        let found = connection(&socket(2, &[127, 0, 0, 1], &[10, 0, 0, 9]));
        let expected = Connection {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.9:49153".parse().unwrap(),
            state: TcpState::ESTABLISHED,
            inode: 77,
            cookie: 0x1122_3344_5566_7788,
            uid: 1000,
            receive_queue: 3,
            send_queue: 4,
            remembered_for: None,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn how_long_a_closed_one_is_remembered_is_read() {
        let mut body = socket(2, &[127, 0, 0, 1], &[127, 0, 0, 1]);
        (body[1], body[2]) = (6, TIMER_OF_MEMORY);
        body[52..56].copy_from_slice(&58_932_u32.to_ne_bytes());
        let found = connection(&body);
        assert_eq!(found.state, TcpState::TIME_WAIT);
        assert_eq!(found.remembered_for, Some(Duration::from_millis(58_932)));
    }

    #[test]
    fn a_mapped_address_is_plain() {
        let mapped = Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets();
        let other = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let found = connection(&socket(10, &mapped, &other));
        assert_eq!(found.local, "10.1.2.3:8080".parse().unwrap());
        assert_eq!(found.remote, "[2001:db8::1]:49153".parse().unwrap());
    }

    #[test]
    fn an_orphan_is_not_a_connection_that_waits() {
        let mut connection = connection(&socket(2, &[], &[]));
        for (state, inode, orphan) in [
            (TcpState::FIN_WAIT2, 0, true),
            (TcpState::FIN_WAIT2, 77, false),
            (TcpState::ESTABLISHED, 0, false),
            (TcpState::CLOSE_WAIT, 0, false),
        ] {
            (connection.state, connection.inode) = (state, inode);
            assert_eq!(connection.is_orphan(), orphan, "{state:?} {inode}");
        }
    }

    #[test]
    fn several_messages_are_read_and_the_end_is_seen() {
        let mut datagram = message(SOCK_DIAG_BY_FAMILY, 5, &socket(2, &[], &[]));
        datagram.extend(message(SOCK_DIAG_BY_FAMILY, 4, &socket(2, &[], &[])));
        datagram.extend(message(99, 5, b"odd"));
        datagram.extend([0]);
        datagram.extend(message(NLMSG_DONE, 5, &[0; 4]));
        let messages = parse(&datagram, 5);
        assert!(matches!(messages[0], Message::Connection(_)));
        assert_eq!(
            messages[1..],
            [Message::Other, Message::Other, Message::Done]
        );
    }

    #[test]
    fn an_error_is_told() {
        let refused = (-13_i32).to_ne_bytes();
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            assert_eq!(parse(&message(kind, 5, &refused), 5), [Message::Failed(13)]);
        }
        assert_eq!(parse(&message(NLMSG_DONE, 5, &[]), 5), [Message::Done]);
        assert_eq!(
            parse(&message(NLMSG_ERROR, 5, &[]), 5),
            [Message::Malformed]
        );
        let least = i32::MIN.to_ne_bytes();
        assert_eq!(
            parse(&message(NLMSG_ERROR, 5, &least), 5),
            [Message::Failed(i32::MAX)]
        );
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        let whole = message(SOCK_DIAG_BY_FAMILY, 5, &socket(2, &[], &[]));
        for length in 1..whole.len() {
            assert_eq!(parse(&whole[..length], 5), [Message::Malformed], "{length}");
        }
        // A length that does not even cover the header must not be believed, nor loop for ever.
        assert_eq!(parse(&[0; 64], 0), [Message::Malformed]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            parse(&bytes, 0);
        }

        #[test]
        fn no_broken_answer_makes_it_panic(at in 0..180usize, with in any::<[u8; 4]>(), cut in 0..200usize) {
            let mut datagram = message(SOCK_DIAG_BY_FAMILY, 5, &socket(10, &[], &[]));
            datagram.extend(message(SOCK_DIAG_BY_FAMILY, 5, &socket(2, &[], &[])));
            let at = at.min(datagram.len() - 4);
            datagram.splice(at..at + 4, with);
            datagram.truncate(cut);
            parse(&datagram, 5);
        }
    }
}
