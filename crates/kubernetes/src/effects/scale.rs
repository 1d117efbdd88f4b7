//! Setting how many pods a workload asks for, and taking that back. Owns what is read, decided and written for this step.

use super::access::Access;
use super::fence;
use super::object::Object;
use super::pin;
use super::stamp::{Claim, MARKS, found, is_ours, marks};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::step::workload::{After, Before, Pin, Stamp};
use astern_model::target::{Target, WorkloadKind};
use astern_port::provider::Settled;

/// The step in one direction: what `spec.replicas` was and what it shall be.
pub(crate) struct Effect<'a> {
    pub(crate) uid: &'a Uid,
    /// None where an autoscaler may have moved it.
    pub(crate) former: Option<u32>,
    pub(crate) wanted: u32,
}

impl Effect<'_> {
    /// Whether it stands at the count from before the step; with an autoscaler any count may be that.
    fn stands_before(&self, now: &Object) -> bool {
        self.former.is_none_or(|former| former == now.replicas())
    }

    /// Whether the step has been done: an autoscaler may have gone on from there.
    fn is_done(&self, stamp: &Stamp, now: &Object) -> bool {
        let moved_on = self.former.is_none() && now.replicas() > 0 && self.wanted > 0;
        &now.uid() == self.uid && is_ours(now, stamp) && (now.replicas() == self.wanted || moved_on)
    }
}

/// Reads the workload and checks the pins.
pub(crate) async fn prepare(
    access: &Access,
    target: &Target,
    pin: &Pin,
    from: Option<u32>,
    operation: &str,
) -> Result<Before, Failure> {
    has_a_count(target, operation)?;
    let now = access.workload(target, operation).await?;
    if let Some(message) = pin::broken(pin, &now).or_else(|| counted(from, &now)) {
        return Err(moved(operation, &message));
    }
    Ok(Before::Count {
        replicas: now.replicas(),
        annotations: found(&now, &MARKS),
    })
}

/// Sets `spec.replicas`, unless that is done already.
pub(crate) async fn apply(
    access: &Access,
    target: &Target,
    pin: &Pin,
    (from, to): (Option<u32>, u32),
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    has_a_count(target, operation)?;
    let now = access.workload(target, operation).await?;
    let effect = Effect {
        uid: &pin.uid,
        former: from,
        wanted: to,
    };
    if effect.is_done(claim.stamp, &now) {
        return Ok(written(&now));
    }
    if let Some(message) = pin::broken(pin, &now).or_else(|| counted(from, &now)) {
        return Err(moved(operation, &message));
    }
    write(access, target, now, to, claim, operation).await
}

/// Sets `spec.replicas` back, if it is still as this run set it.
pub(crate) async fn reverse(
    access: &Access,
    target: &Target,
    effect: &Effect<'_>,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    let now = access.workload(target, operation).await?;
    if effect.is_done(claim.stamp, &now) {
        return Ok(written(&now));
    }
    if let Some(message) = pin::another(effect.uid, &now) {
        return Err(moved(operation, &message));
    }
    if !effect.stands_before(&now) {
        let message = format!(
            "it asks for {} pods now, and this run had left it at {}",
            now.replicas(),
            effect.former.unwrap_or_default()
        );
        return Err(moved(operation, &message));
    }
    write(access, target, now, effect.wanted, claim, operation).await
}

/// Finds out whether the effect with this key is there, in either direction.
pub(crate) async fn settle(
    access: &Access,
    target: &Target,
    effect: &Effect<'_>,
    claim: &Claim<'_>,
    operation: &str,
) -> Settled<After> {
    fence::settle(access, target, effect.uid, claim, operation, |now| {
        if effect.is_done(claim.stamp, now) {
            return Settled::Applied(written(now));
        }
        if effect.stands_before(now) && !is_ours(now, claim.stamp) {
            return Settled::NotApplied;
        }
        let message = format!(
            "it asks for {} pods, and this step's mark does not account for that; nothing was written by this look",
            now.replicas()
        );
        Settled::Unknown(Failure::new(FailureClass::Unknown, operation, message))
    })
    .await
}

fn written(object: &Object) -> After {
    After::Written {
        template: object.template_hash(),
        generation: object.generation(),
    }
}

async fn write(
    access: &Access,
    target: &Target,
    now: Object,
    count: u32,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    if let Some(message) = claim.refused(&now) {
        return Err(moved(operation, &message));
    }
    let object = now.with_replicas(count).with_annotations(marks(claim.stamp));
    let stored = access.replace(target, &object, operation).await?;
    Ok(written(&stored))
}

fn counted(from: Option<u32>, now: &Object) -> Option<String> {
    let from = from.filter(|from| *from != now.replicas())?;
    Some(format!(
        "somebody scaled it since the plan was made: from {from} to {}",
        now.replicas()
    ))
}

fn has_a_count(target: &Target, operation: &str) -> Result<(), Failure> {
    match target.kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => Ok(()),
        WorkloadKind::DaemonSet => Err(Failure::new(
            FailureClass::Permanent,
            operation,
            format!("{target} has no count that could be set; nothing was written"),
        )),
    }
}

fn moved(operation: &str, message: &str) -> Failure {
    Failure::new(
        FailureClass::Conflict,
        operation,
        format!("{message}; nothing was written"),
    )
    .hint("look at what changed, then make a new plan: astern plan")
}
