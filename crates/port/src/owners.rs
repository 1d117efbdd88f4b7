//! Effects on whoever would write targets back, where there is nobody.

use crate::Failure;
use crate::provider::{Provider, Settled};
use astern_model::id::{Epoch, RunId};
use astern_model::step::owner::{After, Before, Spec};
use astern_model::step::workload::Stamp;
use async_trait::async_trait;

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
impl Provider<Spec> for NoOwners {
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
