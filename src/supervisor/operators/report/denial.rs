//! Why a request is not begun.

use super::phrase::workers;
use crate::fleet::Denial;

pub(super) fn denied(denial: &Denial) -> String {
    match denial {
        Denial::Busy { kind, milestone } => {
            format!(
                "a {kind} is in progress ({milestone}); ask again when it is done, or reload --wait"
            )
        }
        Denial::NothingToPromote => {
            "there is nothing to promote: no new workers are tried (reload --canary), and no old ones stand by (--soak)"
                .to_owned()
        }
        Denial::NothingToRollBack => {
            "there is nothing to go back to: no reload has succeeded since the start".to_owned()
        }
        Denial::NothingToPause => "there is nothing to pause: no new workers are tried (reload --canary)".to_owned(),
        Denial::NotSteered => {
            "new connections cannot be shared out, because nothing is steered (the status says why)".to_owned()
        }
        Denial::Stopping => "the supervisor is stopping".to_owned(),
        Denial::NoSuchWorker(worker) => {
            format!("there is no worker {worker} that serves; status lists them")
        }
        Denial::NoRoom { together: 1 } => {
            "one worker more would have to start, as none of those that serve may be missing meanwhile, and --max-surge is 0: \
             reload with --max-surge 1"
                .to_owned()
        }
        Denial::NoRoom { together } => format!(
            "{} would have to start together, because they share a queue or are tried, and --max-surge allows fewer: reload \
             with a greater one",
            workers(*together)
        ),
        Denial::NobodyLeft { count } => format!(
            "with {} nobody would serve: the workers that do are in the slots that would go; reload first, or restart \
             the slots that stay",
            workers(*count as usize)
        ),
        Denial::BadCount { asked, most } => {
            format!("cannot run {asked} workers; give a number from 1 to {most}")
        }
    }
}
