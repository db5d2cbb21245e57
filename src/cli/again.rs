//! Reading the configuration, and reading it again: for each reload as it is then.

use std::ffi::OsString;
use std::sync::Arc;

use super::context::Context;
use super::exit::Exit;
use super::run::parse_with;
use crate::config::{Overrides, Readable, directory_by_name};

/// Reads what this process was started with. `arguments` begin with the program's name.
///
/// # Errors
/// Those of [`parse`](super::run::parse).
pub fn read(arguments: Vec<OsString>) -> Result<Readable, Exit> {
    let environment = |name: &str| std::env::var_os(name);
    let first = Context {
        started_in: directory_by_name(environment("PWD")),
        ..Context::default()
    };
    let config = parse_with(arguments.clone(), &environment, &first)?;
    let name = config.name.clone();
    let again = move |overrides: &Overrides| {
        let context = Context {
            overrides: overrides.clone(),
            name: Some(name.clone()),
            ..first.clone()
        };
        parse_with(arguments.clone(), &environment, &context).map_err(|exit| exit.text)
    };
    Ok(Readable {
        config,
        read: Arc::new(again),
    })
}
