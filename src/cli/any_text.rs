//! Values that the parser of the command line lets through.

use std::ffi::{OsStr, OsString};

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

/// Takes any text, and names choices for completions only: what is allowed is decided in one place
/// for the command line, the environment and the file.
#[derive(Clone)]
pub(super) struct AnyText(pub(super) &'static [&'static str]);

impl TypedValueParser for AnyText {
    type Value = OsString;

    fn parse_ref(
        &self,
        _: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = self.0.iter().map(|choice| PossibleValue::new(*choice));
        (!self.0.is_empty()).then(|| Box::new(values) as _)
    }
}
