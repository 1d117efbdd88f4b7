//! Pausing and resuming a Deployment, and taking that back. Owns what is read, decided and written for this step.

use super::access::Access;
use super::fence;
use super::object::{Object, writer_phrase};
use super::pin;
use super::stamp::{Claim, MARKS, found, is_ours, marks};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::step::workload::{After, Before, Pin, Stamp};
use astern_model::target::{Target, WorkloadKind};
use astern_port::provider::Settled;

/// The step in one direction: what `spec.paused` was and what it shall be.
pub(crate) struct Effect<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) former: bool,
    pub(crate) wanted: bool,
}

/// Reads the workload and checks the pins.
pub(crate) async fn prepare(
    access: &Access,
    target: &Target,
    pin: &Pin,
    operation: &str,
) -> Result<Before, Failure> {
    can_be_paused(target, operation)?;
    let now = access.workload(target, operation).await?;
    match pin::broken(pin, &now) {
        Some(message) => Err(moved(operation, &message)),
        None => Ok(Before::Paused {
            paused: now.paused(),
            annotations: found(&now, &MARKS),
        }),
    }
}

/// Sets `spec.paused`, unless that is done already.
pub(crate) async fn apply(
    access: &Access,
    target: &Target,
    pin: &Pin,
    wanted: bool,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    can_be_paused(target, operation)?;
    let now = access.workload(target, operation).await?;
    let effect = Effect {
        uid: &pin.uid,
        former: pin.paused,
        wanted,
    };
    if let Some(after) = already(&effect, claim.stamp, &now) {
        return Ok(after);
    }
    if let Some(message) = pin::broken(pin, &now) {
        return Err(moved(operation, &message));
    }
    write(access, target, now, wanted, claim, operation).await
}

/// Sets `spec.paused` back, if it is still as this run set it.
pub(crate) async fn reverse(
    access: &Access,
    target: &Target,
    effect: &Effect<'_>,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    let now = access.workload(target, operation).await?;
    if let Some(after) = already(effect, claim.stamp, &now) {
        return Ok(after);
    }
    if let Some(message) = pin::another(effect.uid, &now) {
        return Err(moved(operation, &message));
    }
    if now.paused() != effect.former {
        let message = format!(
            "it is not {} any more as this run left it, {}",
            word(effect.former),
            writer_phrase(now.paused_manager().as_ref())
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
        settled(effect, claim.stamp, now, operation)
    })
    .await
}

fn settled(effect: &Effect<'_>, stamp: &Stamp, now: &Object, operation: &str) -> Settled<After> {
    if let Some(after) = already(effect, stamp, now) {
        return Settled::Applied(after);
    }
    if now.paused() == effect.former && !is_ours(now, stamp) {
        return Settled::NotApplied;
    }
    let message = format!(
        "it is {}, and this step's mark does not account for that, {}; nothing was written by this look",
        word(now.paused()),
        writer_phrase(now.paused_manager().as_ref())
    );
    Settled::Unknown(Failure::new(FailureClass::Unknown, operation, message))
}

fn already(effect: &Effect<'_>, stamp: &Stamp, now: &Object) -> Option<After> {
    let done = &now.uid() == effect.uid && is_ours(now, stamp) && now.paused() == effect.wanted;
    done.then(|| After::Written {
        template: now.template_hash(),
        generation: now.generation(),
    })
}

async fn write(
    access: &Access,
    target: &Target,
    now: Object,
    paused: bool,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    if let Some(message) = claim.refused(&now) {
        return Err(moved(operation, &message));
    }
    let object = now.with_paused(paused).with_annotations(marks(claim.stamp));
    let written = access.replace(target, &object, operation).await?;
    Ok(After::Written {
        template: written.template_hash(),
        generation: written.generation(),
    })
}

fn can_be_paused(target: &Target, operation: &str) -> Result<(), Failure> {
    match target.kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => Ok(()),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => Err(Failure::new(
            FailureClass::Permanent,
            operation,
            format!("{target} cannot be paused: only Deployments and Rollouts can; nothing was written"),
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

fn word(paused: bool) -> &'static str {
    if paused { "paused" } else { "running" }
}
