//! What workers' processes are given, with all that must be found out before any is started.
//!
//! Whether a value is permitted is tried on ourselves where that can be undone: the kernel knows who may do what, in
//! containers too, and what we have is what launchers inherit.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use super::account::{self, Account};
use super::exit::Exit;
use super::limit::limit;
use super::settings::Settings;
use super::value;
use crate::config::{Identity, LimitValue, Login, ProcessAttributes};
use crate::sys::limit::{Limit, shown};
use crate::sys::{oom_score, priority};

/// The fewest descriptors that a worker can be given: a program needs some to begin at all, and the launcher does.
const MIN_DESCRIPTORS: u64 = 16;

/// Whom the workers belong to, by the options that say so: looked up once, at the start. A directory server that does not
/// answer must not be in the way of a reload.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Option<(Asked, Found)>>);

/// What `--user` and `--group` say.
type Asked = [Option<OsString>; 2];
type Found = (Option<Identity>, Option<Login>);

impl Accounts {
    fn find(&self, settings: &Settings) -> Result<Found, Exit> {
        let asked = ["user", "group"].map(|name| settings.text(name));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((before, found)) if *before == asked => Ok(found.clone()),
            Some(_) | None => {
                let found = identity(settings)?;
                *known = Some((asked, found.clone()));
                Ok(found)
            }
        }
    }
}

/// Reads the options. A worker has so many listeners from the start.
///
/// # Errors
/// A usage error that names the option.
pub(super) fn attributes(
    settings: &Settings,
    accounts: &Accounts,
    listeners: usize,
) -> Result<ProcessAttributes, Exit> {
    let limits = distinct(settings.all("rlimit", |text| {
        let value = limit(text)?;
        check_descriptors(value, listeners)?;
        check_hard(value)?;
        Ok(value)
    })?)?;
    let is_nice_limited = limits.iter().any(|value| value.limit == Limit::Nice);
    let (identity, login) = accounts.find(settings)?;
    Ok(ProcessAttributes {
        nice: settings.one("nice", |text| {
            let nice = value::nice(text)?;
            // A limit of its own is what then decides.
            if !is_nice_limited {
                check_nice(nice)?;
            }
            Ok(nice)
        })?,
        umask: settings.one("umask", value::umask)?,
        limits,
        oom_score_adj: settings.one("oom-score-adj", |text| {
            let adjustment = value::oom_score_adj(text)?;
            check_oom_score(adjustment)?;
            Ok(adjustment)
        })?,
        is_pinned: settings.need("pin", value::switch)?,
        identity,
        login,
    })
}

fn identity(settings: &Settings) -> Result<Found, Exit> {
    let group = settings.one("group", account::group)?;
    let user = settings.one("user", |text| {
        let Account { identity, login } = Account::of(text, group)?;
        Ok((account::permitted(identity)?, Some(login)))
    })?;
    if let Some(user) = user {
        return Ok(user);
    }
    let own = settings.one("group", |text| {
        account::permitted(account::own_user_in(account::group(text)?))
    })?;
    Ok((own.flatten(), None))
}

fn distinct(limits: Vec<LimitValue>) -> Result<Vec<LimitValue>, Exit> {
    let repeated = limits
        .iter()
        .enumerate()
        .find(|(i, this)| limits[..*i].iter().any(|other| other.limit == this.limit));
    match repeated {
        Some((_, twice)) => Err(Exit::usage(format!(
            "--rlimit {}: it is given twice; SOFT:HARD sets both",
            twice.limit.name()
        ))),
        None => Ok(limits),
    }
}

fn check_descriptors(value: LimitValue, listeners: usize) -> Result<(), String> {
    let least = MIN_DESCRIPTORS + listeners as u64;
    match value.limit {
        Limit::Nofile if value.soft < least => Err(format!(
            "no worker can run with so few descriptors; give at least {least}"
        )),
        _ => Ok(()),
    }
}

fn check_hard(value: LimitValue) -> Result<(), String> {
    value.limit.try_hard(value.hard).map_err(|error| {
        let most = value.limit.get().map_or_else(
            |_| "what it is".to_owned(),
            |(_, hard)| format!("{} ({})", shown(hard), value.limit.name()),
        );
        let more = match value.limit {
            Limit::Nofile => ", and not above fs.nr_open",
            _ => "",
        };
        format!(
            "its hard limit cannot be raised to {}: {error}; give at most {most}, or run as root (CAP_SYS_RESOURCE{more})",
            shown(value.hard)
        )
    })
}

fn check_nice(nice: i32) -> Result<(), String> {
    priority::try_nice(nice).map_err(|error| {
        format!(
            "it cannot be set: {error}; a lower value than the supervisor's takes root (CAP_SYS_NICE) or RLIMIT_NICE; \
             give a higher one"
        )
    })
}

fn check_oom_score(adjustment: i32) -> Result<(), String> {
    oom_score::try_adjust(adjustment).map_err(|error| {
        format!(
            "it cannot be written to /proc/self/oom_score_adj: {error}; a lower value than the supervisor's takes root \
             (CAP_SYS_RESOURCE); give a higher one"
        )
    })
}
