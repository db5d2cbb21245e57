//! `--rlimit`: a limit's name and its values.

use crate::config::LimitValue;
use crate::sys::limit::{Limit, UNLIMITED, Unit, shown};

/// `NAME=SOFT` or `NAME=SOFT:HARD`. One value is both, as with systemd's `LimitNOFILE=` and with `ulimit`.
pub(super) fn limit(text: &str) -> Result<LimitValue, String> {
    let (name, values) = text
        .split_once('=')
        .ok_or("give NAME=SOFT or NAME=SOFT:HARD, such as nofile=65536 or core=0:unlimited")?;
    let limit = named(name.trim())?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(limit, soft)?, value(limit, hard)?);
    if soft > hard {
        return Err(format!(
            "its soft limit {} is above its hard limit {}; give a hard one that is not lower",
            shown(soft),
            shown(hard)
        ));
    }
    Ok(LimitValue { limit, soft, hard })
}

fn named(name: &str) -> Result<Limit, String> {
    let mut all = Limit::ALL.into_iter();
    all.find(|limit| limit.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Limit::ALL.into_iter().map(Limit::name).collect();
        format!("there is no limit '{name}'; there are {}", names.join(", "))
    })
}

fn value(limit: Limit, text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text == "unlimited" || text == "infinity" {
        return Ok(UNLIMITED);
    }
    let value = match limit.unit() {
        Unit::Bytes => bytes(text),
        Unit::Seconds | Unit::Microseconds | Unit::Count => whole_number(text),
    };
    value.ok_or_else(|| {
        let what = match limit.unit() {
            Unit::Bytes => "bytes, with K, M or G behind it for 1024 and so on",
            Unit::Seconds => "seconds",
            Unit::Microseconds => "microseconds",
            Unit::Count => "how many",
        };
        format!(
            "'{text}' is no value of {}: give a whole number ({what}), or unlimited",
            limit.name()
        )
    })
}

/// A number of bytes; with K, M or G behind it of 1024 and so on.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    whole_number(digits)?.checked_mul(unit)
}

/// Digits alone: a sign is none.
fn whole_number(digits: &str) -> Option<u64> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_sense() {
        let unlimited = UNLIMITED;
        for (text, kind, soft, hard) in [
            ("nofile=65536", Limit::Nofile, 65_536, 65_536),
            ("nofile=512:1024", Limit::Nofile, 512, 1024),
            ("core=0:unlimited", Limit::Core, 0, unlimited),
            ("as=infinity", Limit::As, unlimited, unlimited),
            ("stack=8M:1G", Limit::Stack, 8 << 20, 1 << 30),
            ("memlock=64K", Limit::Memlock, 64 << 10, 64 << 10),
            ("cpu=60", Limit::Cpu, 60, 60),
            (" rttime = 5 : 6 ", Limit::Rttime, 5, 6),
        ] {
            let expected = LimitValue {
                limit: kind,
                soft,
                hard,
            };
            assert_eq!(limit(text), Ok(expected), "{text}");
        }
        for known in Limit::ALL {
            let text = format!("{}=1:2", known.name());
            assert_eq!(limit(&text).unwrap().limit, known);
        }
    }

    #[test]
    fn values_that_make_none() {
        for (text, words) in [
            ("", "give NAME=SOFT"),
            ("nofile", "give NAME=SOFT"),
            ("files=1", "no limit 'files'; there are as, core,"),
            ("NOFILE=1", "no limit 'NOFILE'"),
            ("=1", "no limit ''"),
            ("nofile=", "'' is no value of nofile"),
            ("nofile=1:", "'' is no value of nofile"),
            ("nofile=:1", "'' is no value of nofile"),
            ("nofile=-1", "'-1' is no value of nofile"),
            ("nofile=+1", "'+1' is no value of nofile"),
            ("nofile=1K", "(how many), or unlimited"),
            ("nofile=1:2:3", "'2:3' is no value"),
            ("stack=8m", "K, M or G"),
            ("stack=M", "'M' is no value"),
            ("stack=18446744073709551615K", "is no value of stack"),
            ("stack=é", "is no value of stack"),
            ("cpu=1m", "(seconds)"),
            ("rttime=1s", "(microseconds)"),
            (
                "nproc=5:4",
                "its soft limit 5 is above its hard limit 4; give a hard",
            ),
            ("core=unlimited:0", "soft limit unlimited is above"),
        ] {
            let reason = limit(text).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
