//! Network interfaces by ioctl, so that no `ip` program is needed: netdevice(7), and for the TUN
//! the kernel's Documentation/networking/tuntap.rst.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Missing;

/// Packets that may wait in the kernel for the hairpin, the most first: kernels since 6.1.192 and 6.12.118 refuse
/// long queues. A dropped packet would be sent again by TCP and look like a loss of the supervisor's.
const QUEUE_LENS: [i32; 3] = [25_000, 10_000, 4_000];

pub const MTU: usize = 1500;

/// An interface of this network namespace.
pub struct Interface {
    control: OwnedFd,
    name: String,
}

impl Interface {
    pub fn named(name: &str) -> io::Result<Self> {
        let control = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        Ok(Self {
            control,
            name: name.into(),
        })
    }

    /// Gives it an address with a 24-bit network.
    pub fn set_address(&self, address: Ipv4Addr) -> io::Result<()> {
        self.set(libc::SIOCSIFADDR, |request| {
            request.ifr_ifru.ifru_addr = sockaddr(address)
        })?;
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        self.set(libc::SIOCSIFNETMASK, |request| {
            request.ifr_ifru.ifru_netmask = sockaddr(mask)
        })
    }

    /// Sets the packet size and lengthens the queue.
    pub fn set_capacity(&self) -> io::Result<()> {
        let mtu = i32::try_from(MTU).unwrap_or(i32::MAX);
        self.set(libc::SIOCSIFMTU, |request| request.ifr_ifru.ifru_mtu = mtu)?;
        let lengthen = |len: &i32| {
            self.set(libc::SIOCSIFTXQLEN, |request| {
                request.ifr_ifru.ifru_metric = *len
            })
        };
        let mut lengthened = Ok(());
        for len in &QUEUE_LENS {
            lengthened = lengthen(len);
            if lengthened.is_ok() {
                break;
            }
        }
        lengthened
    }

    pub fn bring_up(&self) -> io::Result<()> {
        // Both flags are below 2^7.
        let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        self.set(libc::SIOCSIFFLAGS, |request| {
            request.ifr_ifru.ifru_flags = flags
        })
    }

    fn set(&self, code: libc::Ioctl, fill: impl FnOnce(&mut libc::ifreq)) -> io::Result<()> {
        let mut request = request(&self.name);
        fill(&mut request);
        configure(&self.control, code, &mut request)
    }
}

/// Makes a TUN interface; its packets are read from and written to the file.
pub fn open_tun(name: &str) -> Result<File, Missing> {
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    let device = options.open("/dev/net/tun");
    let device = device.map_err(|error| format!("needs /dev/net/tun: {error}"))?;
    let mut request = request(name);
    // Both flags are below 2^15.
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    configure(&device, libc::TUNSETIFF, &mut request)
        .map_err(|error| format!("needs a TUN interface: {error}"))?;
    Ok(device)
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: an ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: it ends the name.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request
}

fn configure(on: &impl AsRawFd, code: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: each of these calls reads or writes one ifreq, which `request` is.
    let result = unsafe { libc::ioctl(on.as_raw_fd(), code, std::ptr::from_mut(request)) };
    nix::errno::Errno::result(result)
        .map(drop)
        .map_err(io::Error::from)
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    // sockaddr_in: two bytes of port, then the address.
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: data,
    }
}
