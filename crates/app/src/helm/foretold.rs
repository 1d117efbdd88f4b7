//! What workloads would ask for once their Helm release had gone back to revisions of whose templates the cluster remembers nothing:
//! asked of the API server, each template once. Owns which are asked for; what a dry run is made of is the Helm layer's.

use crate::history::Past;
use crate::world::World;
use astern_model::evidence::Known;
use astern_model::helm::ReleaseName;
use astern_model::id::StepId;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::step::helm::{Carried, Spec};
use astern_model::target::Target;
use astern_model::workload::{Foretold, Revision, RevisionKind};
use astern_plan::{Unremembered, unremembered, without_values};
use astern_port::releases::{Depth, Foretelling};
use futures::future::join_all;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Asks for every template of the records that were read and that nobody has asked for yet. Whether there was any.
pub(crate) async fn all(world: &World, platform: &Platform, inventory: &mut Inventory, past: &Past) -> bool {
    let wanted = unremembered(inventory);
    let any = !wanted.is_empty();
    ask(world, inventory, wanted, platform.helm.force_conflicts).await;
    past.mark(inventory);
    any
}

/// Asks again for those to which the steps go back that `ahead` names: what is foretold changes with what stands. What cannot be asked
/// stays unknown, and the gate says so.
pub(crate) async fn of_plan(
    world: &World,
    inventory: &mut Inventory,
    plan: &Plan,
    ahead: impl Fn(&StepId) -> bool,
) {
    let steps = plan.steps.iter().filter(|step| ahead(&step.id));
    for spec in steps.filter_map(|step| step.spec.helm()) {
        let (release, force) = (spec.release(), spec.settings().force_conflicts);
        let Spec::Rollback { to, workloads, .. } = spec else {
            continue;
        };
        let foretold = |one: &Carried| one.to.kind == RevisionKind::HelmRecord;
        if !workloads.iter().any(foretold) {
            continue;
        }
        let names = [release.name.clone()];
        let read = world.releases.read(&release.namespace, &names, Depth::Few);
        if let Ok(releases) = read.await {
            inventory.releases.retain(|known| &known.name != release);
            inventory.releases.extend(releases);
        }
        let mut wanted = unremembered(inventory);
        wanted.retain(|one| (&one.release, one.revision) == (release, to.number));
        ask(world, inventory, wanted, force).await;
    }
}

async fn ask(world: &World, inventory: &mut Inventory, wanted: Vec<Unremembered>, force_conflicts: bool) {
    let mut of_release: BTreeMap<ReleaseName, Vec<Unremembered>> = BTreeMap::new();
    for one in wanted {
        of_release.entry(one.release.clone()).or_default().push(one);
    }
    let asked = of_release
        .iter()
        .map(|(release, wanted)| of(world, release, wanted, force_conflicts));
    let answers = join_all(asked).await;
    for (wanted, answers) in of_release.into_values().zip(answers) {
        for (one, answer) in wanted.into_iter().zip(answers) {
            if let Some(workload) = inventory.workloads.get_mut(&one.target) {
                let manifests = [one.manifest.json(), workload.template.json()];
                let answer = answer.map_err(|why| without_values(&why, manifests));
                workload.foretold.push(foretold(one, answer));
            }
        }
    }
    for workload in inventory.workloads.values_mut() {
        let newest_deployed = |one: &Foretold| (one.was_deployed(), one.revision);
        workload
            .foretold
            .sort_by_key(|one| std::cmp::Reverse(newest_deployed(one)));
    }
}

/// What is foretold of each, in the same order. Revisions that write the same are tried once.
async fn of(
    world: &World,
    release: &ReleaseName,
    wanted: &[Unremembered],
    force_conflicts: bool,
) -> Vec<Foretelling> {
    let first = |one: &Unremembered| {
        let mut alike = wanted.iter();
        let alike = alike.find(|other| other.target == one.target && other.manifest == one.manifest);
        (alike.unwrap_or(one).revision, one.target.clone())
    };
    let Some(newest) = wanted.first().map(|one| one.newest) else {
        return Vec::new();
    };
    let mut tried: BTreeMap<u64, BTreeSet<Target>> = BTreeMap::new();
    for (revision, target) in wanted.iter().map(first) {
        tried.entry(revision).or_default().insert(target);
    }
    let answers = world
        .releases
        .foretell(release, newest, &tried, force_conflicts)
        .await;
    let answer = |one: &Unremembered| match &answers {
        Ok(answers) => answers
            .get(&first(one))
            .cloned()
            .unwrap_or_else(|| Err("it was not tried".to_owned())),
        Err(failure) => Err(failure.message.clone()),
    };
    wanted.iter().map(answer).collect()
}

fn foretold(one: Unremembered, answer: Foretelling) -> Foretold {
    let template = match answer {
        Ok(template) => {
            let name = one.release.record(one.revision);
            let created_at = one.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
            Known::Is(Revision {
                number: one.revision,
                kind: RevisionKind::HelmRecord,
                uid: one.uid,
                ..Revision::kept_as(&name, one.target.kind, created_at, template)
            })
        }
        Err(why) => Known::Unknown(why),
    };
    Foretold {
        release: one.release.name,
        revision: one.revision,
        status: one.status,
        in_force: one.in_force,
        template,
    }
}
