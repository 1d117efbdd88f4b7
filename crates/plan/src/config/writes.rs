//! The steps that have an object hold what it held: put back in place, made anew, or deleted first where it cannot change under its
//! name.

use super::permission::proof;
use super::proof_phrase;
use crate::external;
use crate::forecast;
use crate::world::World;
use astern_model::config::{HeldConfig, LiveConfig};
use astern_model::decision::Refusal;
use astern_model::id::StepId;
use astern_model::plan::ConfigChanges;
use astern_model::reversal::Reversal;
use astern_model::step::config::{Pin, Spec as ConfigSpec, Wanted};
use astern_model::step::{Spec, Step};
use jiff::SignedDuration;

/// What an object is to hold again. `origin` says since when it was so.
pub(crate) fn wanted(object: &HeldConfig, origin: String, world: &World<'_>) -> Wanted {
    Wanted {
        kept: object.kept.clone(),
        content: object.content.clone(),
        keys: object.keys.clone(),
        origin,
        proof: proof(&object.name, world.platform),
    }
}

/// The writes of what an object held, and what they change.
///
/// # Errors
/// Its source cannot be changed.
pub(crate) fn write(
    object: &HeldConfig,
    live: Option<&LiveConfig>,
    to: Wanted,
    world: &World<'_>,
) -> Result<(Vec<Step>, ConfigChanges), Refusal> {
    let change = ConfigChanges {
        object: object.name.clone(),
        anew: live.is_none(),
        to: to.origin.clone(),
        because: None,
        changes: object.changes.clone(),
        proof: proof_phrase(&object.name, &to, &world.inventory.config),
        readers: Vec::new(),
    };
    let namespace = world.inventory.namespace.clone();
    let spec = match live {
        Some(live) => {
            if let Some(source) = &live.source {
                let versions = external::redrawn(object, live, source, world)?;
                let steps = external::drawn_again(live, &versions, to, &namespace);
                return Ok((steps.unwrap_or_default(), change));
            }
            if fixed(live, object).is_some() {
                let change = ConfigChanges { anew: true, ..change };
                return Ok((replaced(live, to, &namespace), change));
            }
            ConfigSpec::Restore {
                object: object.name.clone(),
                namespace,
                pin: pin(live),
                to,
            }
        }
        None => ConfigSpec::Create {
            object: object.name.clone(),
            namespace,
            to,
        },
    };
    Ok((vec![step(spec)], change))
}

/// Why an object cannot hold something else under its name, a clause; none where it can.
pub(crate) fn fixed(live: &LiveConfig, then: &HeldConfig) -> Option<&'static str> {
    let types = [live.secret_type.as_deref(), then.secret_type.as_deref()];
    astern_model::config::fixed(live.immutable, types)
}

/// What is said of an object that is not there for a moment.
pub(crate) fn gap(live: &LiveConfig, then: &HeldConfig) -> Option<String> {
    let why = fixed(live, then)?;
    Some(format!(
        "{} {why}: it is deleted, and made anew at once; a pod that starts between the two waits for it",
        live.name
    ))
}

/// The steps that delete an object and make it anew.
pub(crate) fn replaced(live: &LiveConfig, to: Wanted, namespace: &str) -> Vec<Step> {
    let object = live.name.clone();
    let remove = step(ConfigSpec::Remove {
        object: object.clone(),
        namespace: namespace.to_owned(),
        pin: pin(live),
        to: to.clone(),
    });
    let remove = Step {
        id: StepId(format!("remove:{object}")),
        ..remove
    };
    let create = step(ConfigSpec::Create {
        object,
        namespace: namespace.to_owned(),
        to,
    });
    let create = Step {
        after: vec![remove.id.clone()],
        ..create
    };
    vec![remove, create]
}

/// What must still hold of an object.
pub(crate) fn pin(live: &LiveConfig) -> Pin {
    Pin {
        uid: live.uid.clone(),
        content: live.content.clone(),
    }
}

/// A write of an object's content. Nothing comes before it.
pub(crate) fn step(spec: ConfigSpec) -> Step {
    let login = spec
        .to()
        .login()
        .map_or(SignedDuration::ZERO, |probe| probe.timeout);
    Step {
        id: StepId(format!("config:{}", spec.object())),
        after: Vec::new(),
        spec: Spec::Config(spec),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE + login,
        forecast: forecast::request(),
    }
}
