//! Options from a TOML file (`--config`).
//!
//! A key is an option's long name; `command` is the command with its arguments. What is not known
//! is refused, with its line: a misspelt `drain-timout` must not silently mean the default.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::exit::Exit;
use super::option_table::OPTIONS;
use super::settings::{Given, Layer};

/// The longest file that is read, in bytes. One that is longer is not a configuration.
const MAX_FILE_LEN: u64 = 1 << 20;

/// Reads the file.
///
/// # Errors
/// A usage error that names the file, and the line where there is one.
pub(crate) fn read(path: &Path) -> Result<Layer, Exit> {
    let text = contents(path)
        .map_err(|reason| Exit::usage(format!("--config {}: {reason}", path.display())))?;
    layer(&text, &path.display().to_string())
}

/// The text of a file of options or of variables.
///
/// # Errors
/// A clause that says why there is none.
pub(super) fn contents(path: &Path) -> Result<String, String> {
    let file = open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err("it is not a regular file, and it is read anew at each reload".to_owned());
    }
    let mut text = String::new();
    let length = file.take(MAX_FILE_LEN + 1).read_to_string(&mut text);
    match length.map_err(|error| format!("it cannot be read: {error}"))? as u64 {
        length if length > MAX_FILE_LEN => Err(format!("it is longer than {MAX_FILE_LEN} bytes")),
        _ => Ok(text),
    }
}

/// Opens it without waiting, as one would for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// What the text says; `file` is its name, for complaints.
fn layer(text: &str, file: &str) -> Result<Layer, Exit> {
    let config = ConfigText { text, file };
    let table = DeTable::parse(text).map_err(|error| {
        config.complain(error.span().unwrap_or_default(), error.message().trim())
    })?;
    table
        .into_inner()
        .into_iter()
        .map(|(key, value)| config.entry(&key, &value))
        .collect()
}

/// The text of a configuration file, which turns positions into lines.
struct ConfigText<'a> {
    text: &'a str,
    file: &'a str,
}

impl ConfigText<'_> {
    fn entry(
        &self,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(&'static str, Vec<Given>), Exit> {
        if let ("environment", DeValue::Table(table)) = (key.get_ref().as_ref(), value.get_ref()) {
            return self.variables(table);
        }
        let (name, is_list) =
            known(key.get_ref().as_ref()).map_err(|reason| self.complain(key.span(), &reason))?;
        let texts = texts(value.get_ref(), name, is_list)
            .map_err(|reason| self.complain(value.span(), &reason))?;
        let given = texts.iter().map(|text| {
            let origin = format!("{}: {name} = {text}", self.place(value.span()));
            Given::new(OsStr::new(text), origin)
        });
        Ok((name, given.collect()))
    }

    fn variables(&self, table: &DeTable<'_>) -> Result<(&'static str, Vec<Given>), Exit> {
        let given = table.iter().map(|(key, value)| {
            let name = key.get_ref();
            if name.is_empty() || name.contains('=') {
                let reason = format!("{name:?} is no name of a variable: give one without =");
                return Err(self.complain(key.span(), &reason));
            }
            let text = scalar(value.get_ref(), name)
                .map_err(|reason| self.complain(value.span(), &reason))?;
            let origin = format!("{}: {name}", self.place(key.span()));
            Ok(Given::new(OsStr::new(&format!("{name}={text}")), origin))
        });
        Ok(("environment", given.collect::<Result<_, Exit>>()?))
    }

    fn complain(&self, span: Range<usize>, reason: &str) -> Exit {
        Exit::usage(format!(
            "{}: {}",
            self.place(span),
            reason.replace('\n', ", ")
        ))
    }

    fn place(&self, span: Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |text| text.chars().count())
            + 1;
        format!("{}, line {line}, column {column}", self.file)
    }
}

/// The option's name, and whether it takes a list.
fn known(key: &str) -> Result<(&'static str, bool), String> {
    if key == "command" {
        return Ok(("command", true));
    }
    let named = |name: &str| OPTIONS.iter().find(|opt| opt.name == name);
    match (named(key), named(&key.replace('_', "-"))) {
        (Some(opt), _) => Ok((opt.name, opt.repeats)),
        (None, Some(opt)) => Err(format!("{key} is not an option; write {}", opt.name)),
        _ => Err(format!(
            "{key} is not an option; keys are long options without their dashes"
        )),
    }
}

fn texts(value: &DeValue<'_>, name: &str, is_list: bool) -> Result<Vec<String>, String> {
    match value {
        // One word with spaces or a word list? Only the list is beyond doubt.
        DeValue::String(_) if name == "command" => {
            Err("command: give a list, such as [\"./server\", \"--flag\"]".to_owned())
        }
        DeValue::Array(items) if is_list => items
            .iter()
            .map(|item| scalar(item.get_ref(), name))
            .collect(),
        value => Ok(vec![scalar(value, name)?]),
    }
}

fn scalar(value: &DeValue<'_>, name: &str) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        other => Err(format!(
            "{name}: it takes one value, not a {}",
            other.type_str()
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_become_text() {
        let text = "workers = 4\nlisten = [\"[::]:80\", 8080]\nlog-prefix = true\npre-stop = 0.5\n\
                    command = [\"./server\", \"a b\"]\n";
        let layer = layer(text, "f").unwrap();
        let texts = |name| {
            layer[name]
                .iter()
                .map(|given| given.text.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("workers"), ["4"]);
        assert_eq!(texts("listen"), ["[::]:80", "8080"]);
        assert_eq!(texts("log-prefix"), ["true"]);
        assert_eq!(texts("pre-stop"), ["0.5"]);
        assert_eq!(texts("command"), ["./server", "a b"]);
        let origin = &layer["workers"][0].origin;
        assert_eq!(origin, "f, line 1, column 11: workers = 4");
    }

    #[test]
    fn variables_have_a_table_of_their_own() {
        let text = "workers = 4\n[environment]\nRUST_LOG = \"debug\"\nTHREADS = 8\n";
        let layer = layer(text, "f").unwrap();
        let given = &layer["environment"];
        assert_eq!(given[0].text, "RUST_LOG=debug");
        assert_eq!(given[1].text, "THREADS=8");
        assert_eq!(given[1].origin, "f, line 4, column 1: THREADS");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, words) in [
            ("workers = 4\n\nwokers = 5", 3, "wokers is not an option"),
            ("start_timeout = 5", 1, "write start-timeout"),
            ("config = \"x\"", 1, "config is not an option"),
            ("\nworkers = [1, 2]", 2, "one value, not a array"),
            ("[workers]\nn = 1", 1, "one value, not a table"),
            ("name = \"a\"\nname = \"b\"", 2, "duplicate key"),
            ("workers 4", 1, ""),
            ("name = \"open", 1, ""),
            ("command = \"./server --flag\"", 1, "give a list"),
            (
                "[environment]\n\"A=B\" = 1",
                2,
                "column 1: \"A=B\" is no name of a variable",
            ),
            (
                "[environment]\nA = [1]",
                2,
                "column 5: A: it takes one value",
            ),
            ("environment = 1", 1, "environment is not an option"),
            ("a = 1\n  wokers = 2", 1, "column 1: a is not"),
        ] {
            let exit = layer(text, "/etc/x.toml").unwrap_err();
            assert_eq!(exit.code, 2);
            let origin = format!("/etc/x.toml, line {line}, column ");
            assert!(exit.text.starts_with(&origin), "{text:?}: {}", exit.text);
            assert!(exit.text.contains(words), "{text:?}: {}", exit.text);
            assert!(!exit.text.contains('\n'), "{:?}", exit.text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        proptest::proptest!(|(text in ".{0,200}")| drop(layer(&text, "f")));
    }
}
