//! Variables for the workers: from files, from the configuration, from the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::exit::Exit;
use super::file::contents;
use super::settings::Settings;
use crate::config::{Overrides, is_set_by_us};

/// By name.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// All of them. What comes later replaces what has the same name: files in their order, the table of the configuration,
/// `--env`, what was given with a reload.
///
/// # Errors
/// A usage error that names the option or the file, and the line.
pub(super) fn environment(settings: &Settings, given: &Overrides) -> Result<Variables, Exit> {
    let mut all = Variables::new();
    for path in settings.paths("env-file")? {
        all.extend(read(&path)?);
    }
    all.extend(settings.all_raw("environment", variable)?);
    all.extend(settings.all_raw("env", variable)?);
    for (name, value) in &given.environment {
        let text = [name.as_bytes(), b"=", value.as_bytes()].concat();
        let checked = variable(OsStr::from_bytes(&text));
        let checked =
            checked.map_err(|reason| Exit::usage(format!("--env {}: {reason}", name.display())))?;
        all.extend([checked]);
    }
    Ok(all)
}

/// `NAME=VALUE`.
fn variable(text: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=');
    let (name, value) = match at {
        None | Some(0) => return Err("give NAME=VALUE".to_owned()),
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
    };
    if bytes.contains(&0) {
        return Err("it has a NUL byte".to_owned());
    }
    if name.iter().any(u8::is_ascii_whitespace) {
        return Err("a name has no spaces".to_owned());
    }
    let name = OsStr::from_bytes(name);
    if is_set_by_us(name) {
        let name = name.display();
        return Err(format!("{name} is set by reuseport-run itself"));
    }
    Ok((name.to_owned(), OsString::from_vec(value.to_vec())))
}

/// A line each: `NAME=VALUE`. Empty lines, and those that begin with `#` or `;`, say nothing. Quotes around the whole
/// value are taken away. Nothing else has a meaning: no `$`, no `\`, no `export`.
fn read(path: &Path) -> Result<Vec<(OsString, OsString)>, Exit> {
    let file = path.display();
    let text =
        contents(path).map_err(|reason| Exit::usage(format!("--env-file {file}: {reason}")))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let entry = entry(line)
            .map_err(|reason| Exit::usage(format!("{file}, line {}: {reason}", number + 1)))?;
        all.extend(entry);
    }
    Ok(all)
}

fn entry(line: &str) -> Result<Option<(OsString, OsString)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let (name, value) = variable(line.as_ref())?;
    let value = value.to_string_lossy();
    Ok(Some((name, unquoted(&value)?.into())))
}

fn unquoted(value: &str) -> Result<&str, String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest
                .strip_suffix(quote)
                .ok_or_else(|| format!("the value begins with {quote} and does not end with it"));
        }
    }
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &str) -> Result<Vec<(String, String)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        let text = |text: OsString| text.into_string().unwrap();
        let read = read(file.path()).map_err(|exit| exit.text)?;
        Ok(read
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect())
    }

    #[test]
    fn a_file_has_a_variable_a_line() {
        let text =
            "# comment\n\nA=1\n B = two words \nC=\"in quotes\"\nD='$HOME \\n'\nE=\n; x\nF=a=b\n";
        let error = read_text(text).unwrap_err();
        assert!(error.ends_with("line 4: a name has no spaces"), "{error}");
        let read = read_text(&text.replace("B = ", "B= ")).unwrap();
        let of = |name: &str| {
            read.iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(of("A"), "1");
        assert_eq!(of("B"), " two words");
        assert_eq!(of("C"), "in quotes");
        assert_eq!(of("D"), "$HOME \\n");
        assert_eq!(of("E"), "");
        assert_eq!(of("F"), "a=b");
        assert_eq!(read.len(), 6);
    }

    #[test]
    fn what_is_no_variable_is_told_with_its_line() {
        for (text, words) in [
            ("A=1\nB\n", "line 2: give NAME=VALUE"),
            ("=1", "line 1: give NAME=VALUE"),
            ("export A=1", "line 1: a name has no spaces"),
            (
                "A=\"x",
                "line 1: the value begins with \" and does not end with it",
            ),
            (
                "A='",
                "line 1: the value begins with ' and does not end with it",
            ),
            (
                "NOTIFY_SOCKET=/x",
                "NOTIFY_SOCKET is set by reuseport-run itself",
            ),
            (
                "REUSEPORT_WORKER=1",
                "REUSEPORT_WORKER is set by reuseport-run itself",
            ),
            ("A=\0", "line 1: it has a NUL byte"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        proptest::proptest!(|(text in ".{0,80}")| drop(entry(&text)));
    }
}
