//! What the running kernel is known to do, by looking at it before its number: distributions bring fixes to
//! old numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use nix::sys::utsname::uname;

/// The kernel's symbols (proc_kallsyms(5)). Their names need no privilege, only their addresses do.
const SYMBOLS: &str = "/proc/kallsyms";

/// Whether a steering program can be replaced while connections arrive.
///
/// Kernels with CVE-2026-52910 free the replaced program while packets may still run it. The fix frees
/// it by a function of its own, `sk_reuseport_prog_free_rcu`. Of nine kernels the fixed ones had that
/// name (5.10.262, 6.1.192, 6.12.118, 6.18.44, 7.3.4) and the others had not (5.10.218, 6.1.170,
/// 6.12.43, 6.18.15).
///
/// Reads up to 10 MB, in some 30 ms. Where the symbols cannot be seen, the release must do.
///
/// # Errors
///
/// `/proc/kallsyms` cannot be read, or nothing is in it (the kernel has no `CONFIG_KALLSYMS`, or a container
/// hides it), and the release is none that is known to have the fix.
pub fn replaces_programs_safely() -> io::Result<bool> {
    let symbols = File::open(SYMBOLS).map(|file| BufReader::with_capacity(64 * 1024, file));
    let found = symbols.and_then(|symbols| is_named(symbols, b"sk_reuseport_prog_free_rcu"));
    match found {
        Err(_) if has_fix(&release()) => Ok(true),
        found => found,
    }
}

/// Whether a line `ADDRESS TYPE NAME` has this name.
///
/// # Errors
/// Those of reading; there is no line at all.
fn is_named(mut symbols: impl BufRead, name: &[u8]) -> io::Result<bool> {
    let mut line = Vec::new();
    let mut is_empty = true;
    while symbols.read_until(b'\n', &mut line)? > 0 {
        let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        if words.nth(2) == Some(name) {
            return Ok(true);
        }
        line.clear();
        is_empty = false;
    }
    match is_empty {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        false => Ok(false),
    }
}

/// The running kernel's release, such as `6.1.0-18-amd64` (uname(2)); empty if it cannot be told.
pub fn release() -> String {
    uname().map_or_else(
        |_| String::new(),
        |names| names.release().to_string_lossy().into_owned(),
    )
}

/// The first three numbers of a release; what is missing is 0.
pub fn version(release: &str) -> [u32; 3] {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// Whether a release is known to have the fix of CVE-2026-52910: 6.1.176, 6.12.94 and 7.1 by their change
/// logs, 5.10.262 and 6.18.44 by their symbols. Distributions that give a kernel another number
/// (`6.1.0-47-amd64`) are not known by it.
fn has_fix(release: &str) -> bool {
    const FIXED: [[u32; 3]; 4] = [[5, 10, 262], [6, 1, 176], [6, 12, 94], [6, 18, 44]];
    let version = version(release);
    version >= [7, 1, 0]
        || FIXED
            .iter()
            .any(|fixed| version[..2] == fixed[..2] && version[2] >= fixed[2])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SOME: &[u8] = b"0000000000000000 t one\n0000000000000000 T two\t[module]\n0 D three";

    #[test]
    fn a_symbol_is_found_by_its_whole_name() {
        let found = |name: &[u8]| is_named(SOME, name).unwrap();
        assert!(found(b"one") && found(b"three"));
        assert!(!found(b"on") && !found(b"two") && !found(b"t one"));
        assert!(is_named(&b""[..], b"one").is_err(), "nothing can be told");
    }

    #[test]
    fn a_release_has_the_fix_from_its_series_number_on() {
        for fixed in [
            "5.10.262",
            "6.1.176-cloud",
            "6.12.118+deb13-amd64",
            "6.18.44-fc-v657",
            "7.1.0",
            "7.3.4",
            "10.0",
        ] {
            assert!(has_fix(fixed), "{fixed}");
        }
        for unknown in [
            "5.10.218",
            "5.15.300",
            "6.1.0-47-amd64",
            "6.1.170",
            "6.8.0-45-generic",
            "6.12.43",
            "6.18.15",
            "7.0.9",
            "",
            "x",
            "6",
            "99999999999.1",
        ] {
            assert!(!has_fix(unknown), "{unknown}");
        }
    }

    #[test]
    fn the_release_of_this_kernel_is_told() {
        assert!(version(&release())[0] >= 5);
    }
}
