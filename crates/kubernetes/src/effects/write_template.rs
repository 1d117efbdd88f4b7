//! Writing a remembered template back, and taking that back. Owns what is read, what is decided and what is written
//! for this step; nothing of the rollout that follows.

use super::access::Access;
use super::last_applied::{LAST_APPLIED, carried_over, with_template_of};
use super::object::{Object, writer_phrase};
use super::revision::{self, Origin, Remembered};
use super::stamp::{Annotated, CHANGE_CAUSE, Claim, OVERWRITTEN, change_cause, found, is_ours, marks};
use super::{Seen, fence, pin};
use astern_model::choice::RevisionRef;
use astern_model::content::ContentRef;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{TemplateHash, Uid};
use astern_model::step::workload::{After, Before, Pin, RestartMark, Stamp};
use astern_model::target::Target;
use astern_model::template::{Template, canonical};
use astern_model::workload::RevisionKind;
use astern_port::provider::Settled;
use astern_port::vault::Vault;
use std::collections::BTreeMap;

/// The step, as its spec says it.
pub(crate) struct Write<'a> {
    pub(crate) target: &'a Target,
    pub(crate) pin: &'a Pin,
    pub(crate) to: &'a RevisionRef,
    pub(crate) kept: Option<&'a ContentRef>,
    pub(crate) mark: Option<&'a RestartMark>,
    pub(crate) operation: &'a str,
}

/// The step in one direction: which template it replaces by which.
pub(crate) struct Effect<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) former: &'a TemplateHash,
    pub(crate) wanted: &'a TemplateHash,
}

/// What was kept before the step, and is put back by its reversal.
pub(crate) struct Kept<'a> {
    pub(crate) template: &'a ContentRef,
    pub(crate) last_applied: Option<&'a ContentRef>,
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// Reads the workload, checks the pins, and keeps in the vault what the reversal needs.
pub(crate) async fn prepare(
    access: &Access,
    vault: &dyn Vault,
    target: &Target,
    pin: &Pin,
    operation: &str,
) -> Result<Before, Failure> {
    let now = access.workload(target, operation).await?;
    if let Some(message) = pin::broken(pin, &now) {
        return Err(moved(operation, &message));
    }
    let template = now.template();
    let text = canonical(template.json());
    let last_applied = now.annotation(LAST_APPLIED);
    let keep_last_applied = async {
        match last_applied {
            Some(text) => vault.put("last-applied", text.as_bytes()).await.map(Some),
            None => Ok(None),
        }
    };
    let (kept, last_applied) = futures::try_join!(vault.put("template", text.as_bytes()), keep_last_applied)?;
    Ok(Before::Template {
        template: kept,
        hash: template.hash(),
        last_applied,
        annotations: found(&now, &OVERWRITTEN),
    })
}

/// Writes the planned template, unless that is done already. The revision is read beside the workload, so that two
/// round trips lie between the command and the effect.
pub(crate) async fn apply(
    access: &Access,
    vault: &dyn Vault,
    seen: &Seen,
    write: &Write<'_>,
    claim: &Claim<'_>,
) -> Result<After, Failure> {
    let Write {
        target,
        pin,
        to,
        kept,
        mark,
        operation,
    } = *write;
    let (now, remembered) = futures::join!(
        access.workload(target, operation),
        revision::read(access, vault, target, to, kept, operation)
    );
    let now = now?;
    let effect = Effect {
        uid: &pin.uid,
        former: &pin.template,
        wanted: mark.map_or(&to.template, |mark| &mark.template),
    };
    if let Some(after) = already(&effect, claim.stamp, &now) {
        return Ok(after);
    }
    let refused = overwritten(&effect, claim.stamp, &now)
        .or_else(|| pin::broken(pin, &now))
        .or_else(|| claim.refused(&now));
    if let Some(message) = refused {
        return Err(moved(operation, &message));
    }
    let remembered = remembered?;
    if matches!(remembered.from, Origin::Cluster { .. }) {
        seen.insert(&pin.uid, &to.name, to.template.clone());
    }
    let live = as_made(access, target, &now, operation).await?;
    let written = access
        .replace(
            target,
            &forward(now, &live, &remembered, mark, claim.stamp),
            operation,
        )
        .await?;
    Ok(after(&effect, &written))
}

/// A restart, as its spec says it.
pub(crate) struct Restart<'a> {
    pub(crate) target: &'a Target,
    pub(crate) pin: &'a Pin,
    pub(crate) at: &'a str,
    pub(crate) template: &'a TemplateHash,
    pub(crate) operation: &'a str,
}

/// Marks the template as it is, unless that is done already. last-applied stays as it is, as after `kubectl rollout restart`:
/// the next apply then leaves the mark.
pub(crate) async fn restart(
    access: &Access,
    restart: &Restart<'_>,
    claim: &Claim<'_>,
) -> Result<After, Failure> {
    let Restart {
        target,
        pin,
        at,
        template,
        operation,
    } = *restart;
    let now = access.workload(target, operation).await?;
    let effect = Effect {
        uid: &pin.uid,
        former: &pin.template,
        wanted: template,
    };
    if let Some(after) = already(&effect, claim.stamp, &now) {
        return Ok(after);
    }
    let refused = overwritten(&effect, claim.stamp, &now)
        .or_else(|| pin::broken(pin, &now))
        .or_else(|| claim.refused(&now));
    if let Some(message) = refused {
        return Err(moved(operation, &message));
    }
    let mut annotations = marks(claim.stamp);
    annotations.insert(CHANGE_CAUSE, Some(change_cause(claim.stamp)));
    let marked = now.template().restarted(at);
    let object = now.with_template(&marked).with_annotations(annotations).spoiled();
    let written = access.replace(target, &object, operation).await?;
    Ok(after(&effect, &written))
}

/// Puts back what [`prepare`] kept: the template, last-applied and the change cause. The marks are this reversal's
/// own, so that settling can tell it.
pub(crate) async fn reverse(
    access: &Access,
    vault: &dyn Vault,
    target: &Target,
    effect: &Effect<'_>,
    kept: &Kept<'_>,
    claim: &Claim<'_>,
    operation: &str,
) -> Result<After, Failure> {
    let now = access.workload(target, operation).await?;
    if let Some(after) = already(effect, claim.stamp, &now) {
        return Ok(after);
    }
    if let Some(message) = not_as_written(effect, claim, &now)
        && !planted(Defect::ReverseBlindly)
    {
        return Err(moved(operation, &message));
    }
    let template = revision::from_vault(vault, kept.template, effect.wanted, operation).await?;
    let last_applied = match kept.last_applied {
        Some(reference) => Some(text(vault.get(reference).await?, operation)?),
        None => None,
    };
    let mut annotations = marks(claim.stamp);
    if !planted(Defect::ForgetChangeCause) {
        annotations.insert(CHANGE_CAUSE, kept.annotations.get(CHANGE_CAUSE).cloned());
    }
    annotations.insert(LAST_APPLIED, last_applied);
    let object = now.with_template(&template).with_annotations(annotations);
    let written = access.replace(target, &object, operation).await?;
    Ok(after(effect, &written))
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

/// What the object says about the effect.
fn settled(effect: &Effect<'_>, stamp: &Stamp, now: &Object, operation: &str) -> Settled<After> {
    if let Some(after) = already(effect, stamp, now) {
        return Settled::Applied(after);
    }
    let hash = now.template_hash();
    if &hash == effect.former && !is_ours(now, stamp) {
        if planted(Defect::BelieveSettled) {
            return Settled::Applied(after(effect, now));
        }
        return Settled::NotApplied;
    }
    let ours = if is_ours(now, stamp) {
        "this step wrote it, and then"
    } else {
        "this step's mark is not on it, and"
    };
    let message = format!(
        "{ours} somebody else wrote a template: it is {hash}, {}; nothing was written by this look",
        writer_phrase(now.template_manager().as_ref())
    );
    Settled::Unknown(Failure::new(FailureClass::Unknown, operation, message).hint(
        "find out who wrote it and decide which template shall stand: kubectl get -o yaml --show-managed-fields",
    ))
}

/// The answer when this very effect is there already.
fn already(effect: &Effect<'_>, stamp: &Stamp, now: &Object) -> Option<After> {
    let hash = now.template_hash();
    let done = &now.uid() == effect.uid && is_ours(now, stamp) && &hash == effect.wanted;
    done.then(|| After::Written {
        template: hash,
        generation: now.generation(),
    })
}

/// The message when this effect was there and somebody put the old template back. Writing it again would be a
/// fight with whoever did that, and the owner wins those.
fn overwritten(effect: &Effect<'_>, stamp: &Stamp, now: &Object) -> Option<String> {
    (is_ours(now, stamp) && &now.template_hash() == effect.former).then(|| {
        format!(
            "it was written by this run and then written back, {}",
            writer_phrase(now.template_manager().as_ref())
        )
    })
}

/// Why a reversal may not write, if it may not: it takes back what this run wrote and nothing else.
fn not_as_written(effect: &Effect<'_>, claim: &Claim<'_>, now: &Object) -> Option<String> {
    if let Some(message) = pin::another(effect.uid, now) {
        return Some(message);
    }
    let hash = now.template_hash();
    if &hash != effect.former {
        return Some(format!(
            "its template is not the one that this run wrote: {hash} instead of {}, {}",
            effect.former,
            writer_phrase(now.template_manager().as_ref())
        ));
    }
    claim.refused(now)
}

/// The template that stands, as a revision's is compared with it: that of a Rollout as its ReplicaSet keeps it, with the API
/// server's defaults, where last-applied must tell those from what somebody applied.
async fn as_made(
    access: &Access,
    target: &Target,
    now: &Object,
    operation: &str,
) -> Result<Template, Failure> {
    let current = now.current_replica_set().filter(|_| now.observed());
    let Some(current) = current.filter(|_| now.annotation(LAST_APPLIED).is_some()) else {
        return Ok(now.template());
    };
    let kind = RevisionKind::ReplicaSet;
    let kept = access.revision(target, kind, &current, operation).await?;
    Ok(kept.map_or_else(
        || now.template(),
        |replica_set| revision::template_in(kind, &replica_set),
    ))
}

/// The whole object as it shall be: only the template, last-applied inside it, and our annotations differ. The mark of a restart is not
/// in last-applied, as after `kubectl rollout restart`: the next apply then leaves it.
fn forward(
    now: Object,
    live: &Template,
    remembered: &Remembered,
    mark: Option<&RestartMark>,
    stamp: &Stamp,
) -> Object {
    let mut annotations = marks(stamp);
    annotations.insert(CHANGE_CAUSE, Some(change_cause(stamp)));
    if let Some(today) = now.annotation(LAST_APPLIED) {
        let from_revision = remembered
            .last_applied()
            .and_then(|then| with_template_of(today, then));
        let text = from_revision.unwrap_or_else(|| {
            carried_over(
                today,
                live.json(),
                remembered.template.json(),
                now.managed_fields(),
            )
        });
        annotations.insert(LAST_APPLIED, Some(text));
    }
    let marked = mark.map(|mark| remembered.template.restarted(&mark.at));
    now.with_template(marked.as_ref().unwrap_or(&remembered.template))
        .with_annotations(annotations)
        .spoiled()
}

/// What the server stored. Where admission changed the template, the effect is there, and it is not the planned one: the
/// wait for its rollout says so, and taking it back takes back what was stored.
fn after(effect: &Effect<'_>, written: &Object) -> After {
    let template = written.template_hash();
    if &template != effect.wanted {
        tracing::warn!(%template, wanted = %effect.wanted, "admission changed the template on the way");
    }
    After::Written {
        template,
        generation: written.generation(),
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

fn text(bytes: Vec<u8>, operation: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| {
        let message = "the kept last-applied-configuration is no text; nothing was written";
        Failure::new(FailureClass::Permanent, operation, message)
    })
}
