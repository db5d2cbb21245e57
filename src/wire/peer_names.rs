//! What the program that names peers finds of a connection: words in an array, by the port that the connection
//! comes from.
//!
//! | word | what it is |
//! | --- | --- |
//! | 0 to 3 | the address that the connection comes from, as one of IPv6 |
//! | 4 | the port that it goes to |
//! | 5 to 8 | the address of the client |
//! | 9 | the port of the client, in the order of the network |
//! | 10 | whose the entry is; 0: nobody's |
//! | 11 | 4 or 6, the IP version; 0: there is no entry |
//!
//! Addresses are in the order of the network, as the kernel's are.
//!
//! The order of events: the owner is claimed, then all words are stored, the version last. An entry ends with
//! its version, and then its owner: whatever else is in it is overwritten by the next.

use core::net::{IpAddr, SocketAddr};

/// How many words an entry has.
pub const ENTRY_WORDS: usize = 12;

/// How many entries there are: one a port.
pub const ENTRIES: usize = 65_536;

/// One word each.
pub const SOURCE: usize = 0;
/// See the module.
pub const TARGET_PORT: usize = 4;
/// See the module.
pub const CLIENT: usize = 5;
/// See the module.
pub const CLIENT_PORT: usize = 9;
/// See the module.
pub const OWNER: usize = 10;
/// See the module.
pub const VERSION: usize = 11;

/// Who makes entries has a number that is not 0.
pub fn owner(number: u64) -> u32 {
    // Two rescuers that run at the same time are not two billion retirements apart.
    number as u32 | 1 << 31
}

/// The words for a connection from `source` to the port `target`, whose client is `client`. `source` and `client`
/// are of one IP version.
pub fn entry(source: IpAddr, target: u16, client: SocketAddr, owner: u32) -> [u32; ENTRY_WORDS] {
    let mut words = [0; ENTRY_WORDS];
    words[SOURCE..TARGET_PORT].copy_from_slice(&address(source));
    words[TARGET_PORT] = u32::from(target);
    words[CLIENT..CLIENT_PORT].copy_from_slice(&address(client.ip()));
    words[CLIENT_PORT] = u32::from(client.port().to_be());
    words[OWNER] = owner;
    words[VERSION] = if source.to_canonical().is_ipv4() {
        4
    } else {
        6
    };
    words
}

fn address(ip: IpAddr) -> [u32; 4] {
    let octets = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let mut words = [0; 4];
    for (word, octets) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]);
    }
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_addresses_in_the_order_of_the_network() {
        let client = "192.0.2.7:4711".parse().unwrap();
        let words = entry("10.0.0.1".parse().unwrap(), 80, client, 3);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes[10..16], [255, 255, 10, 0, 0, 1]);
        assert_eq!(words[TARGET_PORT], 80);
        assert_eq!(bytes[32..36], [192, 0, 2, 7]);
        assert_eq!(bytes[36..38], 4711_u16.to_be_bytes());
        assert_eq!((words[OWNER], words[VERSION]), (3, 4));
    }
}
