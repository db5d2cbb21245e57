//! The lines of /proc/net/tcp and /proc/net/tcp6.
//!
//! Of all sockets they tell what sock_diag(7) tells (but for the cookie), more slowly, and on every kernel.
//!
//! Of listeners they tell more. It is the only place where the kernel tells, without privilege, how many
//! connections a listener still has to give: every half-open handshake and every connection in the accept queue holds one
//! reference to its listener, and the line shows the references. Once nothing new is steered to it, a
//! listener with one reference is empty; sock_diag and `TCP_INFO` show the accept queue only, and who
//! trusts them closes on the handshakes that are under way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::connection::{Connection, TcpState};

/// A socket in LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenLine {
    /// Where it listens. A v4-mapped address is given as it is, in IPv6.
    pub address: SocketAddr,
    /// The user whose socket it is.
    pub uid: u32,
    /// Names the socket within the machine, as in /proc/PID/fd.
    pub inode: u64,
    /// One, and one for each half-open handshake and each connection in the accept queue; and one, for
    /// a moment, for a packet that is being handled. (Column `ref`; so since Linux 4.4.)
    pub references: u32,
}

impl ListenLine {
    /// Whether it has neither a handshake under way nor a connection that waits to be accepted.
    pub fn is_empty(&self) -> bool {
        self.references <= 1
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The names of the columns.
    Header,
    /// A listener.
    Listen(ListenLine),
    /// A socket in another state. The listeners come first, so no more of them will follow.
    Other,
    /// Not a line of such a file.
    Malformed,
}

/// Reads one line, with or without its newline.
pub fn parse_line(line: &[u8]) -> Line {
    let Ok(line) = core::str::from_utf8(line) else {
        return Line::Malformed;
    };
    if line.trim_start().starts_with("sl ") {
        return Line::Header;
    }
    parse_socket(line).unwrap_or(Line::Malformed)
}

/// Reads the line of a socket in any state; none for another line.
///
/// How many connections may wait in a listener is not told, and is 0. The cookie, which is not told, is made of the two addresses: no two connections that exist at the same time
/// have both.
pub fn parse_connection(line: &[u8]) -> Option<Connection> {
    let columns = Columns::of(core::str::from_utf8(line).ok()?)?;
    let (local, remote) = (columns.local()?, parse_address(columns.remote)?);
    let (send, receive) = columns.queues.split_once(':')?;
    let mut cookie = DefaultHasher::new();
    (local, remote).hash(&mut cookie);
    Some(Connection {
        local: canonical(local),
        remote: canonical(remote),
        state: columns.state,
        inode: columns.inode.parse().ok()?,
        cookie: cookie.finish(),
        uid: columns.uid.parse().ok()?,
        receive_queue: u32::from_str_radix(receive, 16).ok()?,
        send_queue: u32::from_str_radix(send, 16).ok()?,
        remembered_for: remembered_for(columns.timer),
    })
}

/// Which timer runs, a colon, and the hundredths of a second until it expires (`USER_HZ`, proc(5)). The timer of what
/// is only remembered has the number 3.
fn remembered_for(timer: &str) -> Option<Duration> {
    let hundredths = u64::from_str_radix(timer.strip_prefix("03:")?, 16).ok()?;
    Some(Duration::from_millis(hundredths.saturating_mul(10)))
}

/// An IPv4 address that an IPv6 socket has, in IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

fn parse_socket(line: &str) -> Option<Line> {
    let columns = Columns::of(line)?;
    if columns.state != TcpState::LISTEN {
        return Some(Line::Other);
    }
    Some(Line::Listen(ListenLine {
        address: columns.local()?,
        uid: columns.uid.parse().ok()?,
        inode: columns.inode.parse().ok()?,
        references: columns.references.parse().ok()?,
    }))
}

/// The columns: number, local, remote, state, queues, timer, retransmissions, uid, time-out, inode,
/// references, and more that differ between states.
struct Columns<'a> {
    local: &'a str,
    remote: &'a str,
    state: TcpState,
    queues: &'a str,
    timer: &'a str,
    uid: &'a str,
    inode: &'a str,
    references: &'a str,
}

impl<'a> Columns<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut columns = line.split_ascii_whitespace();
        columns.next()?.strip_suffix(':')?;
        Some(Self {
            local: columns.next()?,
            remote: columns.next()?,
            state: TcpState(u8::from_str_radix(columns.next()?, 16).ok()?),
            queues: columns.next()?,
            timer: columns.next()?,
            uid: columns.nth(1)?,
            inode: columns.nth(1)?,
            references: columns.next()?,
        })
    }

    fn local(&self) -> Option<SocketAddr> {
        parse_address(self.local)
    }
}

/// An address in hexadecimal words, a colon, and a port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    match words.len() {
        8 => Some((Ipv4Addr::from(parse_word(words)?), port).into()),
        32 => Some((parse_v6(words)?, port).into()),
        _ => None,
    }
}

fn parse_v6(words: &str) -> Option<Ipv6Addr> {
    let mut octets = [0; 16];
    for (index, word) in octets.chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&parse_word(words.get(8 * index..8 * index + 8)?)?);
    }
    Some(octets.into())
}

/// Four bytes of an address in network order, which the kernel has printed as one number of its own
/// byte order.
fn parse_word(hex: &str) -> Option<[u8; 4]> {
    u32::from_str_radix(hex, 16).ok().map(u32::to_ne_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The kernel's way of printing, given the octets in network order.
    fn hex(octets: &[u8]) -> String {
        let word = |w: &[u8]| format!("{:08X}", u32::from_ne_bytes(w.try_into().unwrap()));
        octets.chunks(4).map(word).collect()
    }

    fn line(address: &str, state: &str) -> String {
        format!(
            "   0: {address} 00000000:0000 {state} 00000000:00000003 00:00000000 00000000  1000        0 18446744073709551615 4 00000000cb2 100 0 0 10 0"
        )
    }

    fn listen(line: &str) -> ListenLine {
        match parse_line(line.as_bytes()) {
            Line::Listen(listen) => listen,
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn a_listener_is_read_from_both_families() {
        let v4 = listen(&line(&format!("{}:1F90", hex(&[127, 0, 0, 1])), "0A"));
        assert_eq!(v4.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((v4.uid, v4.inode, v4.references), (1000, u64::MAX, 4));
        assert!(!v4.is_empty());
        let octets = "2001:db8::9:1".parse::<Ipv6Addr>().unwrap().octets();
        let v6 = listen(&line(&format!("{}:0050", hex(&octets)), "0A"));
        assert_eq!(v6.address, "[2001:db8::9:1]:80".parse().unwrap());
    }

    #[test]
    fn a_connection_is_read_with_both_its_ends() {
        let (near, far) = (hex(&[127, 0, 0, 1]), hex(&[10, 0, 0, 7]));
        let text = format!(
            "  12: {near}:1F90 {far}:C001 08 00000010:0000000A 00:00000000 00000000   33 0 4711 1 0 20 4 30 10 -1"
        );
        let found = parse_connection(text.as_bytes()).unwrap();
        assert_eq!(found.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(found.remote, "10.0.0.7:49153".parse().unwrap());
        assert_eq!(found.state, TcpState::CLOSE_WAIT);
        assert_eq!((found.uid, found.inode), (33, 4711));
        assert_eq!((found.send_queue, found.receive_queue), (16, 10));
        assert_eq!(found.remembered_for, None);
        let over = text.replace("00:00000000", "03:0000176E");
        assert_eq!(
            parse_connection(over.as_bytes()).unwrap().remembered_for,
            Some(Duration::from_millis(59_980))
        );
        let mapped = |address: &str| {
            let words = hex(&"::ffff:0:0".parse::<Ipv6Addr>().unwrap().octets());
            format!("{}{address}", &words[..24])
        };
        let mapped = text
            .replace(&near, &mapped(&near))
            .replace(&far, &mapped(&far));
        let found_mapped = parse_connection(mapped.as_bytes()).unwrap();
        assert_eq!(
            (found_mapped.local, found_mapped.remote),
            (found.local, found.remote)
        );
        let other = text.replace("C001", "C002");
        assert_ne!(
            parse_connection(other.as_bytes()).unwrap().cookie,
            found.cookie
        );
        assert_eq!(parse_connection(b"  sl  local_address rem_address"), None);
    }

    #[test]
    fn one_reference_is_empty() {
        let text = line("00000000:0050", "0A").replace(" 4 ", " 1 ");
        assert!(listen(&text).is_empty());
    }

    #[test]
    fn the_other_lines_are_told_apart() {
        let header = b"  sl  local_address rem_address   st tx_queue rx_queue tr\n";
        assert_eq!(parse_line(header), Line::Header);
        let other = line("00000000:0050", "01");
        assert_eq!(parse_line(other.as_bytes()), Line::Other);
        for broken in ["", "x", "0:", "0: 1 2 0A", "0: 00:1 0 0A 0 0 0 0 0 0 1"] {
            assert_eq!(parse_line(broken.as_bytes()), Line::Malformed, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            parse_line(&bytes);
            parse_connection(&bytes);
        }

        #[test]
        fn no_broken_line_makes_it_panic(at in 0..120usize, with in any::<[u8; 3]>()) {
            let mut bytes = line("00000000000000000000000000000000:0050", "0A").into_bytes();
            bytes.splice(at..at + 1, with);
            parse_line(&bytes);
            parse_connection(&bytes);
        }
    }
}
