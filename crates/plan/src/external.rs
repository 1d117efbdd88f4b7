//! Secrets that an ExternalSecret draws: the source is what changes, from version to version by their ids. Owns which ids go
//! back, and what is refused with what to type.

use crate::config::{pin, step};
use crate::forecast;
use crate::refuse;
use crate::world::World;
use astern_model::config::{HeldConfig, LiveConfig};
use astern_model::decision::Refusal;
use astern_model::external::{Drawn, Versions};
use astern_model::id::StepId;
use astern_model::reversal::Reversal;
use astern_model::step::config::{Spec as ConfigSpec, Wanted};
use astern_model::step::{Spec, Step};

/// The versions that the ExternalSecret of an object is to name again.
///
/// # Errors
/// Its source is another kind, draws something without an id, or did so in the release; with what to type.
pub(crate) fn redrawn(
    object: &HeldConfig,
    live: &LiveConfig,
    source: &str,
    world: &World<'_>,
) -> Result<Versions, Refusal> {
    let name = &object.name;
    let namespace = &world.inventory.namespace;
    let Some(drawn) = &live.drawn else {
        return Err(refuse::made_from(name, source));
    };
    let then = object.drawn.as_ref().filter(|then| then.draws_as(drawn));
    let versions = then.and_then(Drawn::versions);
    let Some(now) = drawn.versions() else {
        return Err(refuse::external::unpinned(
            name,
            drawn,
            versions.as_ref(),
            namespace,
        ));
    };
    let Some(versions) = versions else {
        return Err(refuse::external::unrecorded(
            name,
            drawn,
            object.drawn.as_ref(),
            namespace,
        ));
    };
    if drawn.once {
        return Err(refuse::external::drawn_once(name, drawn));
    }
    if now == versions {
        return Err(refuse::external::same_versions(name, drawn, namespace));
    }
    Ok(versions)
}

/// The steps that have an ExternalSecret name these versions, and wait until they are drawn; none where it does not name ids
/// now.
pub(crate) fn drawn_again(
    live: &LiveConfig,
    versions: &Versions,
    to: Wanted,
    namespace: &str,
) -> Option<Vec<Step>> {
    let drawn = live.drawn.as_ref()?;
    let repin = ConfigSpec::Repin {
        object: live.name.clone(),
        namespace: namespace.to_owned(),
        pin: pin(live),
        source: drawn.source.clone(),
        from: drawn.versions()?,
        versions: versions.clone(),
        to: to.clone(),
    };
    let mut first = step(repin);
    // Taking it back waits until the operator has drawn once more.
    first.deadline += forecast::DRAWN_DEADLINE;
    let wait = ConfigSpec::AwaitDrawn {
        object: live.name.clone(),
        namespace: namespace.to_owned(),
        source: drawn.source.clone(),
        versions: versions.clone(),
        to,
    };
    let wait = Step {
        id: StepId(format!("drawn:{}", live.name)),
        after: vec![first.id.clone()],
        spec: Spec::Config(wait),
        reversal: Reversal::Nothing,
        deadline: forecast::DRAWN_DEADLINE,
        forecast: forecast::request(),
    };
    Some(vec![first, wait])
}
