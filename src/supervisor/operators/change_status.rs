//! What `status` shows of the change that is under way.

use super::report::{seconds, workers};
use super::status::milliseconds;
use crate::fleet::{ChangeView, WaitsFor, WorkerId};
use crate::supervisor::workers::Workers;
use crate::wire::control::ChangeStatus;

pub(super) fn change(view: &ChangeView, all: &Workers) -> ChangeStatus {
    ChangeStatus {
        kind: view.kind.to_string(),
        generation: view.generation.0,
        for_ms: milliseconds(view.after),
        waits_for: waits_for(&view.waits_for, all),
    }
}

fn waits_for(what: &WaitsFor, all: &Workers) -> String {
    match what {
        WaitsFor::Deployment => "options and files are being read".to_owned(),
        WaitsFor::Ready(unready) => format!("{} to become ready", named(unready, all)),
        WaitsFor::Uptime(left) => {
            let left = seconds(*left);
            format!("the new workers are ready, and to stay so for {left} more (--min-uptime)")
        }
        WaitsFor::Room => "replaced workers to end, for no more may run (--max-surge)".to_owned(),
        WaitsFor::Trial(Some(left)) => {
            let left = seconds(*left);
            format!("the end of the trial in {left}, promote or rollback")
        }
        WaitsFor::Trial(None) => "promote or rollback".to_owned(),
        WaitsFor::Soak(left) => {
            let left = seconds(*left);
            format!("the end of the soak in {left}, promote or rollback")
        }
        WaitsFor::Old(milestone, old) => match old.as_slice() {
            [one] => format!("{}, which is {milestone}", all.describe(*one)),
            more => format!("{}, which are {milestone}", workers(more.len())),
        },
    }
}

/// One by its name, more by their number.
fn named(ids: &[WorkerId], all: &Workers) -> String {
    match ids {
        [one] => all.describe(*one),
        more => workers(more.len()),
    }
}
