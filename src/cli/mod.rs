//! What people type and read: options, verbs, help, tables.
//!
//! `reuseport-run`: `options` say what there is, `settings` ask the command line, the
//! environment, a `file` and the defaults for it in this order (`any_text` passes), `value` and `duration` turn
//! text into meaning (of its `channel`; of a worker's process `attributes` does, with `limit` and `account`; of its limits `recycling`),
//! [`run`] puts the [`Config`](crate::config::Config) together, [`again`] does so for each reload, `environment` is what
//! workers find, and `contradictions` are what does not go together. `sections` follow the
//! options in the help.
//!
//! `reuseport-ctl`: `verb` has the verbs (`reload` the options of one), [`ctl`] does what they say, `find` finds the
//! supervisor that is meant, `client` talks to it, [`table`] prints its status, `grid` in columns, `short_list` what would be too wide,
//! `units` spans, sizes and shares. Both agree on
//! [`runtime_dir`], where control sockets are, on [`exit`], how a program ends, and on `generate`, manual pages
//! and completions.
//!
//! Rule of this layer: it never ends the process and writes only where it is told to; it returns
//! an [`Exit`], which `main` [reports](Exit::report). So all of it is tested without a process.

mod account;
pub mod again;
mod any_text;
mod attributes;
mod channel;
mod client;
mod context;
mod contradictions;
pub mod ctl;
mod duration;
mod environment;
pub mod exit;
mod file;
mod find;
mod generate;
mod grid;
mod health;
mod limit;
mod option_table;
mod options;
mod recycling;
mod reload;
pub mod run;
pub mod runtime_dir;
mod sections;
mod settings;
mod short_list;
pub mod table;
mod units;
mod value;
mod verb;

pub use exit::Exit;
