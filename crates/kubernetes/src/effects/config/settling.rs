//! What is known of a write whose answer was not: whether it is there, is not, or may still arrive; and the takeover of what a
//! predecessor has written.

use super::KubernetesContents;
use super::place::{Found, Place};
use crate::connect::READ_TIMEOUT;
use crate::effects::fence::LOOKS;
use crate::effects::stamp::{Claim, EPOCH, RUN, SETTLED, epoch_of, is_ours, strange, unexpected};
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, Epoch, RunId, Uid};
use astern_model::step::config::{After, Before};
use astern_model::step::workload::Stamp;
use astern_port::provider::Settled;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an API server works on a request at most: its `--request-timeout`, as it is by default. Source:
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>.
const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(1);

/// So long after its intent a creation may still arrive: its sender gives it up after the client's patience, and an API server
/// that has it by then goes on working on it.
pub const ON_ITS_WAY: SignedDuration =
    SignedDuration::from_secs(READ_TIMEOUT.as_secs().cast_signed() + REQUEST_TIMEOUT.as_secs());

/// For how long a creation of this stamp may still arrive; none once it cannot.
fn on_its_way(stamp: &Stamp) -> Option<Duration> {
    let left = Duration::try_from(ON_ITS_WAY.saturating_sub(stamp.open_for)).ok()?;
    (!left.is_zero() && !planted(Defect::CallAbsent)).then_some(left)
}

/// Who takes a run over, and from which epoch.
pub(super) struct Takeover<'a> {
    pub(super) before: &'a Before,
    pub(super) run: &'a RunId,
    pub(super) from: Epoch,
    pub(super) to: Epoch,
}

/// A write, by what it leads from and to; none is "not there".
pub(super) struct Way<'a> {
    pub(super) uid: Option<&'a Uid>,
    pub(super) from: Option<&'a ContentHash>,
    pub(super) to: Option<&'a ContentHash>,
}

impl KubernetesContents {
    /// Marks an object with the epoch of whoever took the run over.
    pub(super) async fn take(
        &self,
        place: &Place<'_>,
        now: Found,
        takeover: &Takeover<'_>,
    ) -> Result<(), Failure> {
        let Takeover {
            before,
            run,
            from,
            to,
        } = *takeover;
        let found = epoch_of(&now, run);
        if let Some(message) = unexpected(found, from, to).or_else(|| strange(&now, before, run)) {
            return Err(place.moved(&message));
        }
        if found != Some(to) {
            let marks = BTreeMap::from([(EPOCH, Some(to.to_string())), (RUN, Some(run.to_string()))]);
            self.replace(place, &now.with_annotations(marks)).await?;
        }
        Ok(())
    }

    /// What this stamp's effect has left. A predecessor's creation may arrive after the takeover, which found nothing to mark
    /// then: it is marked now, so that the next holder does not take it for somebody else's.
    pub(super) async fn taken_over(
        &self,
        place: &Place<'_>,
        now: Found,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        if epoch_of(&now, &stamp.run).is_none_or(|epoch| epoch >= stamp.epoch) {
            return self.written(&now).await;
        }
        let epoch = BTreeMap::from([(EPOCH, Some(stamp.epoch.to_string()))]);
        let stored = self.replace(place, &now.with_annotations(epoch)).await?;
        self.written(&stored).await
    }

    /// What is known of a creation whose object is not there: there is no version by which one that arrives late could be
    /// refused.
    pub(super) fn not_made(&self, place: &Place<'_>, stamp: &Stamp, there: &str) -> Settled<After> {
        let Some(left) = on_its_way(stamp) else {
            return Settled::NotApplied;
        };
        let message = format!("{there}, and the request that makes it may still arrive for {left:.0?}");
        Settled::Unknown(Failure::new(FailureClass::Unknown, &place.operation, message))
    }

    /// What the object says about a write of this stamp that leads from one content to another.
    pub(super) async fn settled(
        &self,
        place: &Place<'_>,
        way: &Way<'_>,
        claim: &Claim<'_>,
    ) -> Result<Settled<After>, Failure> {
        let unknown = |message: String| {
            Settled::Unknown(Failure::new(FailureClass::Unknown, &place.operation, message))
        };
        for look in 1.. {
            let found = self.find(place).await?;
            let meant = |now: &Found| way.uid.is_none_or(|uid| uid == &now.uid());
            let Some(now) = found.filter(meant) else {
                return Ok(match way.to {
                    None => Settled::Applied(After::Gone),
                    Some(_) if way.uid.is_none() => self.not_made(place, claim.stamp, "it is not there"),
                    // A write carries the uid and the version of what was there.
                    Some(_) => Settled::NotApplied,
                });
            };
            let (held, ours) = (self.hash(&now.0).await?, is_ours(&now, claim.stamp));
            if ours && way.to == Some(&held) {
                return self
                    .taken_over(place, now, claim.stamp)
                    .await
                    .map(Settled::Applied);
            }
            if !ours && way.from.is_none() {
                // It keeps ours out only as long as it is there.
                let there = format!("somebody else's is there, {}", now.writer());
                return Ok(self.not_made(place, claim.stamp, &there));
            }
            if ours || way.from != Some(&held) {
                return Ok(unknown(format!(
                    "it holds {held}, and this step's mark does not account for that, {}; nothing was written by this look",
                    now.writer()
                )));
            }
            if planted(Defect::SkipSettleMark) {
                break;
            }
            if let Some(message) = claim.refused(&now) {
                return Ok(unknown(message));
            }
            let version = now.text("resourceVersion").to_owned();
            let moved_on = now.with_annotations(BTreeMap::from([(SETTLED, Some(version))]));
            match self.replace(place, &moved_on).await {
                Ok(_) => break,
                Err(failure) if failure.class == FailureClass::Conflict && look < LOOKS => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Settled::NotApplied)
    }
}
