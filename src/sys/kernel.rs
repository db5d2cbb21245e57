//! What the running kernel is known to do, by looking at it and not at its number: distributions
//! bring fixes to old numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// The kernel's symbols (proc_kallsyms(5)). Their names need no privilege, only their addresses do.
const SYMBOLS: &str = "/proc/kallsyms";

/// Whether a steering program can be replaced while connections arrive.
///
/// Kernels with CVE-2026-52910 free the replaced program while packets may still run it. The fix frees
/// it by a function of its own, `sk_reuseport_prog_free_rcu`. Of nine kernels the fixed ones had that
/// name (5.10.262, 6.1.192, 6.12.118, 6.18.44, 7.3.4) and the others had not (5.10.218, 6.1.170,
/// 6.12.43, 6.18.15).
///
/// Reads up to 10 MB, in some 30 ms.
///
/// # Errors
///
/// Those of reading `/proc/kallsyms`: the kernel has no `CONFIG_KALLSYMS`, or a container hides it.
pub fn replaces_programs_safely() -> io::Result<bool> {
    is_named(
        BufReader::with_capacity(64 * 1024, File::open(SYMBOLS)?),
        b"sk_reuseport_prog_free_rcu",
    )
}

/// Whether a line `ADDRESS TYPE NAME` has this name.
fn is_named(mut symbols: impl BufRead, name: &[u8]) -> io::Result<bool> {
    let mut line = Vec::new();
    while symbols.read_until(b'\n', &mut line)? > 0 {
        let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        if words.nth(2) == Some(name) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
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
    }
}
