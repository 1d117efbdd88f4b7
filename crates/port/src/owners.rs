//! Effects on whoever would write targets back.

use crate::Failure;
use crate::workloads::Settled;
use astern_model::id::{Epoch, RunId};
use astern_model::step::owner::{After, Before, Spec};
use astern_model::step::workload::Stamp;
use async_trait::async_trait;

/// The owners' layer.
///
/// # Flow
/// As of [`crate::workloads::Workloads`]: `prepare` reads and checks the pin, `apply` reads again, checks the pin and the marks
/// of others, and writes the one setting under the resourceVersion that it has just read.
///
/// # Guarantees
/// - `apply` with a stamp whose key is on the object already, with the setting there, writes nothing and answers as if it had.
/// - A pin that does not hold is `Conflict`, and nothing was written; the message says which, from what to what.
/// - A pause leaves on the object which run did it, since when, until when, and what the setting was.
/// - `reverse` puts back the setting that [`Before`] recorded, and only while it is as the step left it.
/// - A wait watches; it ends with [`After::Quiet`] also where the controller does not answer, and says so.
#[async_trait]
pub trait Owners: Send + Sync {
    /// Reads what is there, and checks the pin.
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure>;

    /// Carries the step out.
    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure>;

    /// Finds out whether the effect with this key is there; where it is not, moves the object on before it says so.
    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After>;

    /// Takes back what the step left behind (`after`).
    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure>;

    /// Finds out whether the reversal with this key is there.
    async fn settle_reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Settled<After>;

    /// After a takeover: writes the new epoch on the object, so that the predecessor's write is refused.
    async fn fence(
        &self,
        spec: &Spec,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure>;
}

/// On a copy of a namespace there is nobody who would write it back: to pause somebody changes nothing there.
#[derive(Clone, Copy, Debug)]
pub struct NoOwners;

impl NoOwners {
    fn done(spec: &Spec) -> After {
        match spec {
            Spec::Pause { owner, .. } => After::Written {
                setting: owner.kind.paused(),
            },
            Spec::Resume { to, .. } => After::Written { setting: to.clone() },
            Spec::AwaitPaused { .. } => After::Quiet { known_by: None },
        }
    }
}

#[async_trait]
impl Owners for NoOwners {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        Ok(match spec {
            Spec::Pause { pin, .. } | Spec::Resume { pin, .. } => Before::Setting {
                was: pin.setting.clone(),
                annotations: std::collections::BTreeMap::new(),
            },
            Spec::AwaitPaused { .. } => Before::Nothing,
        })
    }

    async fn apply(&self, spec: &Spec, _: &Before, _: &Stamp) -> Result<After, Failure> {
        Ok(Self::done(spec))
    }

    async fn settle(&self, _: &Spec, _: &Before, _: &Stamp) -> Settled<After> {
        Settled::NotApplied
    }

    async fn reverse(&self, _: &Spec, before: &Before, _: &After, _: &Stamp) -> Result<After, Failure> {
        Ok(match before {
            Before::Setting { was, .. } => After::Written { setting: was.clone() },
            Before::Nothing => After::Quiet { known_by: None },
        })
    }

    async fn settle_reverse(&self, _: &Spec, _: &Before, _: &After, _: &Stamp) -> Settled<After> {
        Settled::NotApplied
    }

    async fn fence(&self, _: &Spec, _: &Before, _: &RunId, _: Epoch, _: Epoch) -> Result<(), Failure> {
        Ok(())
    }
}
