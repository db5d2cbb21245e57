//! Who is there to pass requests on to when workers retire.

use std::os::fd::OwnedFd;

use super::Surroundings;
use super::peer_names::PeerNames;
use crate::fleet::RetirementId;
use crate::wire::peer_names::owner;

/// Who follows the workers of one retirement.
#[derive(Debug)]
pub(super) enum Successors {
    /// Nobody.
    Nobody,
    /// Workers.
    Workers,
    /// Workers that are told, by the entries of this array, whose a request is.
    WorkersThatAreTold(OwnedFd),
}

/// Who follows the workers of each retirement.
#[derive(Debug, Default)]
pub(super) struct Succession {
    names: Option<PeerNames>,
    /// The retirement that nobody follows.
    last: Option<RetirementId>,
}

impl Succession {
    pub(super) fn new(names: Option<PeerNames>) -> Self {
        Self { names, last: None }
    }

    /// Nobody follows the workers of this retirement.
    pub(super) fn ends_with(&mut self, last: RetirementId) {
        self.last = Some(last);
    }

    /// A rescuer is about to start.
    pub(super) fn begin(
        &mut self,
        around: &Surroundings<'_>,
        retirement: RetirementId,
    ) -> Successors {
        if self.last == Some(retirement) {
            return Successors::Nobody;
        }
        let names = self.names.as_mut();
        let names = names.and_then(|it| it.begin(owner(retirement.0), around.workers));
        names.map_or(Successors::Workers, Successors::WorkersThatAreTold)
    }

    /// A rescuer is gone.
    pub(super) fn end(&mut self, retirement: RetirementId) {
        if let Some(names) = &mut self.names {
            names.end(owner(retirement.0));
        }
    }
}
