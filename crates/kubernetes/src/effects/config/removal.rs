//! Deleting an object that cannot hold something else under its name, and making it again as it was. Between the two there is
//! nothing: pods that start meanwhile wait for it.

use super::{Found, KubernetesContents, Place, Takeover, Way, broken};
use crate::effects::mismatch;
use crate::effects::stamp::{Claim, epoch_of};
use astern_model::failure::{Failure, FailureClass};
use astern_model::step::config::{After, Before, Pin, Spec, Wanted};
use astern_model::step::workload::Stamp;
use astern_port::provider::Settled;
use serde_json::Value;

/// One deletion.
pub(super) struct Removal<'a> {
    port: &'a KubernetesContents,
    place: Place<'a>,
    pin: &'a Pin,
    to: &'a Wanted,
}

impl<'a> Removal<'a> {
    /// None of a step that does something else.
    pub(super) fn of(port: &'a KubernetesContents, spec: &'a Spec, operation: String) -> Option<Self> {
        let Spec::Remove { pin, to, .. } = spec else {
            return None;
        };
        Some(Self {
            port,
            place: Place::of(spec, operation),
            pin,
            to,
        })
    }

    pub(super) async fn prepare(&self) -> Result<Before, Failure> {
        let now = self.port.find(&self.place).await?;
        let now = now.ok_or_else(|| self.place.gone())?;
        match self.stays(&now) {
            Some(failure) => Err(failure),
            None => self.port.before(&self.place, self.pin, now).await,
        }
    }

    pub(super) async fn apply(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let Place {
            object, operation, ..
        } = &self.place;
        // Before anything is gone: where nobody is let in with what comes instead, it stays.
        self.port.prove_kept(object, self.to, operation).await?;
        let Some(now) = self.port.find(&self.place).await? else {
            return Ok(After::Gone);
        };
        let held = self.port.hash(&now.0).await?;
        let claim = Claim { stamp, before };
        if let Some(message) = broken(self.pin, &now.0, &held).or_else(|| claim.refused(&now)) {
            return Err(self.place.moved(&message));
        }
        self.port.delete(&self.place, &now).await.map(|()| After::Gone)
    }

    pub(super) async fn settle(&self, before: &Before, stamp: &Stamp) -> Settled<After> {
        let Before::Content { content, .. } = before else {
            return Settled::Unknown(mismatch(&self.place.operation));
        };
        let way = Way {
            uid: Some(&self.pin.uid),
            from: Some(content),
            to: None,
        };
        self.look(&way, &Claim { stamp, before }).await
    }

    pub(super) async fn reverse(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let Before::Content { kept, content, .. } = before else {
            return Err(mismatch(&self.place.operation));
        };
        let then = self.port.kept(kept, content, &self.place.operation).await?;
        let claim = Claim { stamp, before };
        self.port.made(&self.place, then, content, &claim).await
    }

    pub(super) async fn settle_reverse(&self, before: &Before, stamp: &Stamp) -> Settled<After> {
        let Before::Content { content, .. } = before else {
            return Settled::Unknown(mismatch(&self.place.operation));
        };
        let way = Way {
            uid: None,
            from: None,
            to: Some(content),
        };
        self.look(&way, &Claim { stamp, before }).await
    }

    async fn look(&self, way: &Way<'_>, claim: &Claim<'_>) -> Settled<After> {
        let settled = self.port.settled(&self.place, way, claim).await;
        settled.unwrap_or_else(Settled::Unknown)
    }

    pub(super) async fn fence(&self, takeover: &Takeover<'_>) -> Result<(), Failure> {
        let Some(now) = self.port.find(&self.place).await? else {
            return Ok(());
        };
        if now.uid() != self.pin.uid && epoch_of(&now, takeover.run).is_none() {
            // Somebody else's, made once this one was gone.
            return Ok(());
        }
        self.port.take(&self.place, now, takeover).await
    }

    /// Why a deletion would leave it there.
    fn stays(&self, now: &Found) -> Option<Failure> {
        let finalizers = now.0.pointer("/metadata/finalizers").and_then(Value::as_array)?;
        let names: Vec<&str> = finalizers.iter().filter_map(Value::as_str).collect();
        if names.is_empty() {
            return None;
        }
        let message = format!(
            "{} has finalizers ({}), so it would stay until somebody takes those away; nothing was changed",
            self.place.object,
            names.join(", ")
        );
        Some(
            Failure::new(FailureClass::Permanent, &self.place.operation, message)
                .hint("find out whose they are, have them taken away, and plan again: astern plan"),
        )
    }
}
