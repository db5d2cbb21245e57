//! How a probe is told from other connections, and reaches the listener that it is for.
//!
//! A probe is a SYN from this host ([`PROBE_HOPS`]) whose source port names a listener by a number: it
//! reaches the listener through the shared port, also one that gets no connections yet. The rule is part of
//! every program, so a probe needs no program of its own, and there can be any number at a time. No other
//! client is mistaken for a probe: the kernel drops a SYN with a loopback source that comes from elsewhere
//! (with `route_localnet=1` it does not, but then the answer stays here, and no connection comes of it),
//! and nobody limits a connection to his own host to one hop by accident.

/// The time to live (`IP_TTL`, ip(7)) or hop limit (`IPV6_UNICAST_HOPS`, ipv6(7)) of a probe, whose source
/// is a loopback address: 127.0.0.0/8 or `::1`.
pub const PROBE_HOPS: u32 = 1;

/// So many listeners can be probed: those of two generations of the most workers that there can be.
pub(super) const PROBED: u32 = 1 << 13;

/// Ports below are not for everybody to bind (`net.ipv4.ip_unprivileged_port_start`).
const LOWEST_PORT: u32 = 1024;

/// The source ports from which a probe reaches the listener with a number; none for one that is too high.
pub fn probe_ports(number: u32) -> impl Iterator<Item = u16> {
    let all = (0..8).map(move |turn| number.checked_add(turn * PROBED));
    all.filter_map(move |port| {
        let port = port.filter(|port| number < PROBED && *port >= LOWEST_PORT)?;
        u16::try_from(port).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_port_names_cannot_be_probed() {
        assert_eq!(probe_ports(PROBED).count(), 0);
        assert_eq!(probe_ports(u32::MAX).count(), 0);
    }
}
