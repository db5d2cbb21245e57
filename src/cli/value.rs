//! One option's text turned into its meaning.
//!
//! Every function gives, on refusal, a clause that says what is allowed; who calls it knows where
//! the text came from and puts that before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::config::{
    CrashLoop, Forwarding, KillMode, MAX_WORKERS, Readiness, RescueClients, ServedProtocol,
    Steering,
};
use crate::fleet::{Endpoint, Share};
use crate::wire::control::Scale;

/// The longest name, in bytes: it is a file's name with `.sock` behind it, and a column in logs.
const MAX_NAME_LEN: usize = 64;

/// The longest name of a host, in bytes (RFC 1035, 2.3.4), and a port.
const MAX_HOST_LEN: usize = 255 + 6;

/// The longest path of `--ready http:/PATH`, in bytes.
const MAX_PROBE_PATH_LEN: usize = 1024;

/// The greatest `--max-restarts`.
const MAX_RESTARTS: u32 = 1_000_000;

/// A number of workers.
pub(crate) fn workers(text: &str) -> Result<u32, String> {
    number(text, 1, MAX_WORKERS)
}

/// A number of queues. More than there are workers is no mistake: there may be more later.
pub(crate) fn queues(text: &str) -> Result<u32, String> {
    number(text, 1, MAX_WORKERS)
}

/// How many connections may be held.
pub(crate) fn connections(text: &str) -> Result<u32, String> {
    number(text, 1, 1 << 20)
}

/// A number of restarts.
pub(crate) fn restarts(text: &str) -> Result<u32, String> {
    number(text, 0, MAX_RESTARTS)
}

/// A number of workers, or so many of a hundred of them.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    let reason = format!("give a number of workers up to {MAX_WORKERS}, or 0% to 100%");
    match text.trim().strip_suffix('%') {
        Some(percent) => number(percent, 0, 100).map(Share::Percent),
        None => number(text, 0, MAX_WORKERS).map(Share::Count),
    }
    .map_err(|_| reason)
}

/// What share of the new connections some workers get, 1 % to 99 %.
pub(crate) fn canary_percent(text: &str) -> Result<u32, String> {
    let percent = text.trim().strip_suffix('%');
    let reason = "give 1% to 99%: with 0% they would not be tried, and with 100% it is a reload";
    number(percent.unwrap_or(text), 1, 99).map_err(|_| reason.to_owned())
}

/// A nice value.
pub(crate) fn nice(text: &str) -> Result<i32, String> {
    signed(text, -20, 19)
}

/// An adjustment of the score by which the kernel chooses what it kills without memory.
pub(crate) fn oom_score_adj(text: &str) -> Result<i32, String> {
    signed(text, -1000, 1000)
}

/// The bits of a mode that are taken away, in octal. `0o` may stand before it: a TOML file has no other way to write an
/// octal number that is not a string.
pub(crate) fn umask(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // A sign is no digit, and `from_str_radix` would take it.
    let is_octal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let mask = u32::from_str_radix(digits, 8).ok();
    mask.filter(|mask| is_octal && *mask <= 0o777)
        .ok_or_else(|| "give an octal number from 0 to 0777, such as 027".to_owned())
}

fn signed(text: &str, least: i32, most: i32) -> Result<i32, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("give a whole number from {least} to {most}"))
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("give a whole number from {least} to {most}"))
}

/// `PORT`, `IPV4:PORT` or `[IPV6]:PORT`; a port alone is on every IPv4 address.
///
/// IPv4, so that it means the same on a machine without IPv6, where `[::]` cannot be bound. An
/// IPv6 socket is left as the kernel makes it: `[::]` takes IPv4 connections as well.
pub(crate) fn listen(text: &str) -> Result<Endpoint, String> {
    let text = text.trim();
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        Err(_) => text.parse().map_err(|_| {
            "give PORT, ADDRESS:PORT or [IPV6]:PORT in numbers, such as 8080, 127.0.0.1:8080 or \
             [::]:8080"
                .to_owned()
        })?,
    };
    match address.port() {
        0 => Err("give a port from 1 to 65535; nobody could know where port 0 is".to_owned()),
        _ => Ok(Endpoint {
            address,
            v6_only: false,
        }),
    }
}

/// A supervisor's name, which is also its control socket's file name.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME_LEN).contains(&text.len());
    let is_dot = text == "." || text == "..";
    if fits && !is_dot && !text.contains(|c: char| c == '/' || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "give a name of 1 to {MAX_NAME_LEN} bytes without '/' and control characters, and not \
         '.' or '..'"
    ))
}

/// What may stand in a `Host` line: it must not end the line, and a server would refuse what is no host.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    let fits = (1..=MAX_HOST_LEN).contains(&text.len());
    match fits && text.bytes().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("give a host's name or address, with :PORT if it is wanted".to_owned()),
    }
}

/// The path of `http:/PATH`. It goes into a request line as it is, where a space or a line break would end it.
pub(super) fn http_path(text: &str) -> Option<String> {
    let path = text.strip_prefix("http:")?;
    let fits = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= MAX_PROBE_PATH_LEN
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| path.to_owned())
}

/// `listen`, `notify`, `channel` or `http:/PATH`.
pub(crate) fn readiness(text: &str) -> Result<Readiness, String> {
    match text {
        "listen" => Ok(Readiness::Listen),
        "notify" => Ok(Readiness::Notify),
        "channel" => Ok(Readiness::Channel),
        _ => match http_path(text) {
            Some(path) => Ok(Readiness::Http(path)),
            None => Err(
                "give listen, notify, channel or http:/PATH, such as http:/health (no spaces, no \
                      host)"
                    .to_owned(),
            ),
        },
    }
}

/// `auto`, `ebpf`, `cbpf` or `none`.
pub(crate) fn steering(text: &str) -> Result<Steering, String> {
    match text {
        "auto" => Ok(Steering::Auto),
        "ebpf" => Ok(Steering::Ebpf),
        "cbpf" => Ok(Steering::Cbpf),
        "none" => Ok(Steering::None),
        _ => Err("give auto, ebpf, cbpf or none".to_owned()),
    }
}

/// Whether workers are replaced some after the others: `all` or `rolling`.
pub(crate) fn is_rolling(text: &str) -> Result<bool, String> {
    match text {
        "all" => Ok(false),
        "rolling" => Ok(true),
        _ => Err("give all or rolling".to_owned()),
    }
}

/// `auto`, `local` or `all`.
pub(crate) fn rescue_clients(text: &str) -> Result<RescueClients, String> {
    match text {
        "auto" => Ok(RescueClients::Auto),
        "local" => Ok(RescueClients::Local),
        "all" => Ok(RescueClients::All),
        _ => Err("give auto, local or all".into()),
    }
}

/// `auto`, `http1` or `opaque`.
pub(crate) fn protocol(text: &str) -> Result<ServedProtocol, String> {
    match text {
        "auto" => Ok(ServedProtocol::Auto),
        "http1" => Ok(ServedProtocol::Http1),
        "opaque" => Ok(ServedProtocol::Opaque),
        _ => Err("give auto, http1 or opaque".into()),
    }
}

/// `no`, `forwarded` or `x-forwarded-for`.
pub(crate) fn forwarding(text: &str) -> Result<Forwarding, String> {
    match text {
        "no" => Ok(Forwarding::No),
        "forwarded" => Ok(Forwarding::Forwarded),
        "x-forwarded-for" => Ok(Forwarding::XForwardedFor),
        _ => Err("give no, forwarded or x-forwarded-for".to_owned()),
    }
}

/// `hold` or `exit`.
pub(crate) fn kill_mode(text: &str) -> Result<KillMode, String> {
    match text {
        "group" => Ok(KillMode::Group),
        "tree" => Ok(KillMode::Tree),
        _ => Err("give group or tree".to_owned()),
    }
}

pub(crate) fn crash_loop(text: &str) -> Result<CrashLoop, String> {
    match text {
        "hold" => Ok(CrashLoop::Hold),
        "exit" => Ok(CrashLoop::Exit),
        _ => Err("give hold or exit".to_owned()),
    }
}

/// `true` or `false`.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

/// A signal that a worker can obey: `TERM`, `SIGTERM` or its number (signal(7)).
///
/// KILL and STOP cannot be obeyed; who wants no draining says so with `--drain-timeout 0`. Signals
/// 32 and 33 belong to the C library's threads (nptl(7)).
pub(crate) fn stop_signal(text: &str) -> Result<i32, String> {
    let text = text.trim().to_ascii_uppercase();
    let number = match text.parse() {
        Ok(number) => Some(number).filter(|number| matches!(number, 1..=31 | 34..=64)),
        Err(_) => signal_named(text.strip_prefix("SIG").unwrap_or(&text)),
    };
    match number {
        Some(libc::SIGKILL | libc::SIGSTOP) => Err(
            "no worker can obey KILL or STOP; to stop workers at once, give another signal \
                 and --drain-timeout 0"
                .to_owned(),
        ),
        Some(number) => Ok(number),
        None => Err("give a signal such as TERM, SIGINT or 15".to_owned()),
    }
}

fn signal_named(name: &str) -> Option<i32> {
    Signal::from_str(&format!("SIG{name}"))
        .ok()
        .map(|signal| signal as i32)
}

/// What `scale` takes.
pub(crate) fn scale(text: &str) -> Result<Scale, String> {
    let number = |text: &str| match text.starts_with(['+', '-']) {
        true => Err("give a number once signed".to_owned()),
        false => workers(text),
    };
    let scale = match text.split_at_checked(1) {
        Some(("+", more)) => number(more).map(Scale::Up),
        Some(("-", fewer)) => number(fewer).map(Scale::Down),
        _ => number(text).map(Scale::Exactly),
    };
    scale.map_err(|_| "give N, +N or -N with N from 1 to 4096".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, address) in [
            ("8080", "0.0.0.0:8080"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::]:65535", "[::]:65535"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let endpoint = listen(text).unwrap();
            assert_eq!(endpoint.to_string(), address);
            assert!(!endpoint.v6_only);
        }
        for text in [
            "",
            ":80",
            "localhost:80",
            "::1",
            "::1:80x",
            "65536",
            "1.2.3.4",
            "-1",
            "80/tcp",
        ] {
            assert!(listen(text).unwrap_err().contains("[::]:8080"), "{text}");
        }
        for text in ["0", "127.0.0.1:0", "[::]:0"] {
            assert!(listen(text).unwrap_err().contains("1 to 65535"), "{text}");
        }
    }

    #[test]
    fn names() {
        for text in ["web", "a b", "..x", "é", &"n".repeat(64)] {
            assert_eq!(name(text).unwrap(), text);
        }
        for text in ["", ".", "..", "a/b", "a\0b", "a\nb", &"n".repeat(65)] {
            assert!(
                name(text).unwrap_err().contains("1 to 64 bytes"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn readiness_in_three_ways() {
        assert_eq!(readiness("listen").unwrap(), Readiness::Listen);
        assert_eq!(readiness("notify").unwrap(), Readiness::Notify);
        assert_eq!(
            readiness("http:/up?x=1").unwrap(),
            Readiness::Http("/up?x=1".to_owned())
        );
        for text in [
            "",
            "http",
            "http:",
            "http:up",
            "http://host/",
            "http:/a b",
            "http:/a\r\nb",
        ] {
            assert!(
                readiness(text).unwrap_err().contains("http:/PATH"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn masks() {
        for (text, mask) in [
            ("0", 0),
            ("027", 0o27),
            ("27", 0o27),
            ("0o27", 0o27),
            ("0777", 0o777),
        ] {
            assert_eq!(umask(text), Ok(mask), "{text}");
        }
        for text in ["", "0o", "8", "1000", "-1", "+7", "u=rwx", "0x1f", "027 1"] {
            assert!(umask(text).unwrap_err().contains("octal"), "{text}");
        }
    }

    #[test]
    fn priorities() {
        assert_eq!([nice("-20"), nice("0"), nice("19")], [-20, 0, 19].map(Ok));
        for text in ["", "-21", "20", "low", "1.5"] {
            assert!(nice(text).unwrap_err().contains("-20 to 19"), "{text}");
        }
        let scores = [oom_score_adj("-1000"), oom_score_adj("1000")];
        assert_eq!(scores, [-1000, 1000].map(Ok));
        for text in ["", "-1001", "1001"] {
            let refused = oom_score_adj(text).unwrap_err();
            assert!(refused.contains("-1000 to 1000"), "{text}");
        }
    }

    #[test]
    fn signals() {
        for (text, number) in [
            ("TERM", libc::SIGTERM),
            ("SIGTERM", libc::SIGTERM),
            ("sigint", libc::SIGINT),
            ("3", libc::SIGQUIT),
            ("34", 34),
            ("64", 64),
        ] {
            assert_eq!(stop_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "SIG", "0", "-15", "32", "65", "SIGSIGTERM", "NOPE"] {
            assert!(
                stop_signal(text).unwrap_err().contains("such as TERM"),
                "{text}"
            );
        }
        for text in ["KILL", "9", "SIGSTOP"] {
            assert!(
                stop_signal(text).unwrap_err().contains("--drain-timeout 0"),
                "{text}"
            );
        }
    }
}
