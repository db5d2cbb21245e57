//! Socket addresses as system calls get them.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The address families' numbers, the same on every architecture (`include/linux/socket.h`).
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// An address as bind(2) gets it (ip(7), ipv6(7)); none if it is of another family or too short.
pub fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        AF_INET => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((Ipv4Addr::from(address), port).into())
        }
        AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            // The flow label is nothing to a listener, and the oldest form has no scope.
            let scope = bytes
                .get(24..28)
                .and_then(|scope| scope.try_into().ok())
                .map_or(0, u32::from_ne_bytes);
            Some(SocketAddrV6::new(Ipv6Addr::from(address), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn ipv6(scope: &[u8]) -> Vec<u8> {
        let mut bytes = AF_INET6.to_ne_bytes().to_vec();
        bytes.extend(8080_u16.to_be_bytes());
        bytes.extend([9; 4]);
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend(scope);
        bytes
    }

    #[test]
    fn both_families_are_read() {
        let mut bytes = AF_INET.to_ne_bytes().to_vec();
        bytes.extend(80_u16.to_be_bytes());
        bytes.extend([10, 0, 0, 1]);
        assert_eq!(socket_address(&bytes), Some("10.0.0.1:80".parse().unwrap()));
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 8080, 0, 3);
        assert_eq!(
            socket_address(&ipv6(&3_u32.to_ne_bytes())),
            Some(scoped.into())
        );
    }

    #[test]
    fn the_oldest_form_of_ipv6_has_no_scope() {
        assert_eq!(
            socket_address(&ipv6(&[])),
            Some("[::1]:8080".parse().unwrap())
        );
    }

    #[test]
    fn other_families_are_not_ours() {
        assert_eq!(socket_address(b"\x01\x00/run/socket"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = socket_address(&bytes);
        }
    }
}
