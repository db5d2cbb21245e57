//! How a program ends before its work or instead of it: one text and an exit code.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What to print, and the exit code. Text for code 0 is what was asked for (help, a manual page);
/// else it is one sentence that says what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code: 0 done, 1 failed or denied, 2 usage, 3 no supervisor.
    pub code: u8,
    /// What to print: to standard output for code 0, else to standard error.
    pub text: String,
}

impl Exit {
    /// Nothing went wrong; `text` is the answer.
    pub fn answer(text: impl Into<String>) -> Self {
        Self::new(0, text)
    }

    /// It was tried, and it failed or was denied.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(1, text)
    }

    /// What was typed makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(2, text)
    }

    /// There is no supervisor to talk to.
    pub fn absent(text: impl Into<String>) -> Self {
        Self::new(3, text)
    }

    fn new(code: u8, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    /// Prints the text, after the `program`'s name if it is a complaint, and gives the exit code.
    ///
    /// A reader that has gone (`reuseport-run --help | head -1`) is no failure.
    pub fn report(&self, program: &str) -> ExitCode {
        let printed = match self.code {
            0 => io::stdout().write_all(self.text.as_bytes()),
            _ => writeln!(io::stderr(), "{program}: {}", printable(&self.text)),
        };
        match printed {
            Err(error) if self.code == 0 && error.kind() != io::ErrorKind::BrokenPipe => {
                ExitCode::FAILURE
            }
            _ => ExitCode::from(self.code),
        }
    }
}

impl From<clap::Error> for Exit {
    /// Help and version are answers; all else is a usage error, told in one sentence.
    fn from(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Self::answer(error.render().to_string())
            }
            ErrorKind::UnknownArgument => Self::usage(unknown(&error)),
            ErrorKind::InvalidSubcommand => Self::usage(unknown_verb(&error)),
            ErrorKind::InvalidValue => Self::usage(bad_choice(&error)),
            ErrorKind::ValueValidation => Self::usage(bad_value(&error)),
            _ => Self::usage(first_paragraph(&error)),
        }
    }
}

fn unknown(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let mut text = format!("{argument} is not an option");
    match context(error, ContextKind::SuggestedArg) {
        near if near.is_empty() => text.push_str("; --help lists those that there are"),
        // Writing to a string does not fail.
        near => drop(write!(text, "; did you mean {near}?")),
    }
    text
}

fn unknown_verb(error: &clap::Error) -> String {
    let verb = context(error, ContextKind::InvalidSubcommand);
    format!("{verb} is not a verb; --help lists those that there are, such as status and reload")
}

fn bad_choice(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let choices = context(error, ContextKind::ValidValue);
    match context(error, ContextKind::InvalidValue) {
        value if value.is_empty() => format!("{argument}: its value is missing"),
        value => format!("{} {value}: give one of {choices}", bare(&argument)),
    }
}

fn bad_value(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    let reason = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    format!("{} {value}: {reason}", bare(&argument))
}

/// `--workers` of `--workers <N>`.
fn bare(argument: &str) -> &str {
    argument.split([' ', '[', '=']).next().unwrap_or(argument)
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

/// What clap says, without its label and its tips.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let paragraph: Vec<&str> = lines.map(str::trim).collect();
    let paragraph = paragraph.join(" ");
    paragraph
        .strip_prefix("error: ")
        .map_or(paragraph.clone(), str::to_owned)
}

/// Without control characters: replies quote what workers print, complaints quote what was typed,
/// and neither must steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let safe = |c: char| c == '\n' || c == '\t' || !c.is_control();
    text.chars()
        .map(|c| {
            if safe(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\tb\n\u{1b}[2J\u{9b}c"),
            "a\tb\n\u{fffd}[2J\u{fffd}c"
        );
    }
}
