//! ConfigMaps and Secrets that change with a Helm release: what a step pins of them, what proves them, and who starts anew for
//! them. What they hold is compared elsewhere, and written by helm.

use crate::config::{self, Restoring, readers};
use crate::planner::Request;
use crate::releases::Through;
use crate::steps::{self, Moves};
use crate::world::World;
use astern_model::config::{ConfigName, HeldConfig};
use astern_model::helm::ReleaseName;
use astern_model::id::StepId;
use astern_model::reconstruction::Provenance;
use astern_model::step::helm::CarriedContent;
use astern_model::target::Target;
use jiff::Timestamp;

/// The ConfigMaps and Secrets that hold something else once a release has gone back.
pub(crate) fn contents(through: &Through<'_>, world: &World<'_>) -> Vec<CarriedContent> {
    let seen = &world.inventory.config;
    let carried = |held: &HeldConfig| CarriedContent {
        object: held.name.clone(),
        pin: seen.live(&held.name).map(config::pin),
        to: config::wanted(held, origin(through), world),
    };
    differing(through, world).map(carried).collect()
}

fn differing<'a>(through: &Through<'_>, world: &World<'a>) -> impl Iterator<Item = &'a HeldConfig> {
    let seen = &world.inventory.config;
    let seen = seen.through(&through.release.name, through.to.number);
    seen.into_iter().flat_map(|seen| &seen.differing)
}

/// The source of what goes back, with its date.
fn origin(through: &Through<'_>) -> String {
    let (release, revision) = (&through.release.name, through.to);
    match revision.created_at {
        Some(at) => Provenance::Helm {
            release: release.name.clone(),
            revision: revision.number,
            at,
        }
        .phrase(),
        None => format!("revision {} of {release}", revision.number),
    }
}

/// What proves of each Secret that its content of then still works; nothing of those that nobody vouches for.
pub(crate) fn proofs(through: &Through<'_>, world: &World<'_>) -> Vec<String> {
    let contents = contents(through, world).into_iter();
    let proof = |one: CarriedContent| {
        let proof = config::proof_phrase(&one.object, &one.to, &world.inventory.config)?;
        Some(format!("{} holds again what it held then: {proof}", one.object))
    };
    contents.filter_map(proof).collect()
}

/// What changes with one release, and who reads it.
pub(crate) struct Carrying<'a> {
    pub(crate) release: &'a ReleaseName,
    /// Each object, and everybody who reads it with how it comes to read what is back.
    pub(crate) objects: Vec<(ConfigName, Vec<(Target, String)>)>,
}

/// Has everybody who reads what releases change start after them; those whose template stays are restarted, once.
pub(crate) fn starts<'a>(
    request: &Request,
    through: &[Through<'a>],
    moves: &Moves<'_>,
    world: &'a World<'a>,
    restoring: &mut Restoring<'a>,
    now: Timestamp,
) {
    let members = world.platform_targets();
    let only = |target: &Target| request.only.is_empty() || request.only.contains(target);
    let about = |target: &Target| members.contains(target) && only(target);
    // What releases write at one moment has no order among itself.
    let at_once = |target: &Target| {
        let carried = through.iter().any(|one| one.targets.contains(target));
        carried || moves.get(target).is_some_and(|one| one.template.is_none())
    };
    for one in through {
        let looked = (!contents(one, world).is_empty()).then(|| steps::look_id(one));
        let after: Vec<StepId> = [steps::release_id(one)].into_iter().chain(looked).collect();
        let objects = differing(one, world).map(|held| {
            let mut readers = readers(&held.name, moves, world, about);
            // What a release writes is no reason to put off who only leaves it: that could set aside what it depends on.
            readers.retain(|reader| !reader.leaves());
            if let Some(live) = world.inventory.config.live(&held.name) {
                restoring.renew(&mut readers, live, moves, through, now);
            }
            let (carried, others): (Vec<_>, Vec<_>) = readers
                .into_iter()
                .partition(|reader| at_once(&reader.view().workload.target));
            let mut told = restoring.begin(&[], &held.name, carried, now);
            told.extend(restoring.begin(&after, &held.name, others, now));
            (held.name.clone(), told)
        });
        let objects = objects.collect();
        restoring.carried.push(Carrying {
            release: &one.release.name,
            objects,
        });
    }
}
