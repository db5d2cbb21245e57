//! An option's value, from the strongest layer that has one.
//!
//! Command line, environment, file, default: each is a [`Layer`] of plain text that remembers
//! where it came from, so that precedence is decided once and all errors have one form.
//! A value that a stronger one hides is not looked at: in an emergency the command line
//! must be able to override a broken file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::exit::Exit;

/// A text, and where it was found, for complaints: `--workers 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: OsString,
    pub(crate) origin: String,
}

impl Given {
    pub(crate) fn new(text: &OsStr, origin: String) -> Self {
        let text = text.to_owned();
        Self { text, origin }
    }

    fn complain(&self, reason: &str) -> Exit {
        Exit::usage(format!("{}: {reason}", self.origin))
    }

    fn parse<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Exit> {
        let text = self
            .text
            .to_str()
            .ok_or_else(|| self.complain("it is not UTF-8"))?;
        parse(text).map_err(|reason| self.complain(&reason))
    }

    /// As it is: what the kernel takes, which is all but NUL.
    fn raw(&self) -> Result<OsString, Exit> {
        match self.text.as_bytes() {
            [] => Err(self.complain("it is empty")),
            bytes if bytes.contains(&0) => Err(self.complain("it has a NUL byte")),
            _ => Ok(self.text.clone()),
        }
    }
}

/// What one layer says, by the option's long name.
pub(crate) type Layer = BTreeMap<&'static str, Vec<Given>>;

/// All layers, the strongest first.
#[derive(Debug, Default)]
pub(crate) struct Settings(pub(crate) Vec<Layer>);

impl Settings {
    /// All values of a list, from the strongest layer alone.
    pub(crate) fn all<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Exit> {
        self.given(name)
            .iter()
            .map(|given| given.parse(&parse))
            .collect()
    }

    /// The value, if any layer has it.
    pub(crate) fn one<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Exit> {
        self.given(name)
            .first()
            .map(|given| given.parse(parse))
            .transpose()
    }

    /// The value of an option that has a default.
    pub(crate) fn need<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Exit> {
        self.one(name, parse)?
            .ok_or_else(|| Exit::usage(format!("--{name} is missing")))
    }

    /// A path, if any layer has it.
    pub(crate) fn path(&self, name: &str) -> Result<Option<PathBuf>, Exit> {
        self.given(name)
            .first()
            .map(|given| given.raw().map(PathBuf::from))
            .transpose()
    }

    /// What is given, as it is.
    pub(crate) fn text(&self, name: &str) -> Option<OsString> {
        self.given(name).first().map(|given| given.text.clone())
    }

    /// All paths of a list, from the strongest layer alone.
    pub(crate) fn paths(&self, name: &str) -> Result<Vec<PathBuf>, Exit> {
        let path = |given: &Given| given.raw().map(PathBuf::from);
        self.given(name).iter().map(path).collect()
    }

    /// All values of a list that need not be UTF-8, from the strongest layer alone.
    pub(crate) fn all_raw<T>(
        &self,
        name: &str,
        parse: impl Fn(&OsStr) -> Result<T, String>,
    ) -> Result<Vec<T>, Exit> {
        let value = |given: &Given| parse(&given.text).map_err(|reason| given.complain(&reason));
        self.given(name).iter().map(value).collect()
    }

    /// Words that are passed on as they are; they may be empty.
    pub(crate) fn words(&self, name: &str) -> Result<Vec<OsString>, Exit> {
        let word = |given: &Given| match given.text.is_empty() {
            true => Ok(OsString::new()),
            false => given.raw(),
        };
        self.given(name).iter().map(word).collect()
    }

    fn given(&self, name: &str) -> &[Given] {
        self.0
            .iter()
            .find_map(|layer| layer.get(name))
            .map_or(&[], Vec::as_slice)
    }
}
