//! The addresses of this host.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The addresses that this host's interfaces have, in the calling thread's network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses(BTreeSet<IpAddr>);

impl HostAddresses {
    /// Reads them (getifaddrs(3), which asks rtnetlink(7); no privilege).
    ///
    /// # Errors
    /// Those of getifaddrs(3).
    pub fn read() -> io::Result<Self> {
        let addresses = getifaddrs()?.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
        });
        Ok(Self(addresses.collect()))
    }

    /// Whether an address is this host's. All of 127.0.0.0/8 is (RFC 1122, 3.2.1.3).
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.0.contains(&address)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_hosts_and_a_documentation_address_is_not() {
        let host = HostAddresses::read().unwrap();
        for own in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(host.has(own.parse().unwrap()), "{own}");
        }
        for other in ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", "0.0.0.0"] {
            assert!(!host.has(other.parse().unwrap()), "{other}");
        }
    }
}
