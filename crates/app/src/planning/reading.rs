//! What a plan is made from: the namespace, its runs and releases, Helm's records, and what starts pods or writes back. Decides
//! nothing but whether this is the cluster, and whether another run stands in the way.

use super::NoPlan;
use crate::following;
use crate::helm;
use crate::history;
use crate::history::Past;
use crate::ledger::{self, Shelf};
use crate::survey;
use crate::world::World;
use astern_engine::Phase;
use astern_model::helm::{Read, Release, Status};
use astern_model::inventory::Inventory;
use astern_model::plan::{Intent, Plan};
use astern_model::platform::Platform;
use astern_model::workload::OwnerKind;
use astern_port::releases::{Depth, FEW};

/// What every plan back to an earlier version is made from, of one moment.
pub(crate) struct Seen {
    /// The namespace; its revisions know what runs did to them, and which releases have them.
    pub(crate) inventory: Inventory,
    pub(crate) past: Past,
    pub(crate) shelf: Shelf,
}

/// Looks at the namespace, its runs and its releases, side by side.
///
/// # Errors
/// [`NoPlan::Failed`] or [`NoPlan::WrongCluster`].
pub(crate) async fn look(world: &World, platform: &Platform, namespace: &str) -> Result<Seen, NoPlan> {
    let (inventory, past, shelf) = futures::join!(
        world.look.inventory(namespace),
        history::look_back(world, namespace),
        ledger::open_or_tell(world)
    );
    let mut inventory = inventory.map_err(NoPlan::Failed)?;
    let past = past.map_err(NoPlan::Failed)?;
    right_cluster(platform, &inventory)?;
    past.mark(&mut inventory);
    shelf.mark(&mut inventory);
    Ok(Seen {
        inventory,
        past,
        shelf,
    })
}

/// Whether another run stands in the way.
pub(super) fn nobody_runs(past: &Past) -> Result<(), NoPlan> {
    match &past.open {
        None => Ok(()),
        Some((run, phase)) => Err(NoPlan::RunOpen {
            run: run.clone(),
            stands: stands(phase),
        }),
    }
}

/// Whether older records of a release may say more: of what a plan was refused for, of a workload that says it belongs to the
/// release and that no record read so far lists, or of the revision that the ledger names.
pub(super) fn older(release: &Release, inventory: &Inventory, refused: bool) -> bool {
    let mut revisions = release.revisions.iter();
    let not_read = revisions.any(|revision| {
        let was_deployed = matches!(revision.status, Status::Deployed | Status::Superseded);
        was_deployed && revision.record == Read::NotAsked
    });
    let records: Vec<_> = release
        .revisions
        .iter()
        .filter_map(|revision| revision.content())
        .collect();
    let unlisted = || {
        inventory.workloads.values().any(|workload| {
            let mut owners = workload.owners.iter();
            owners.any(|owner| owner.kind == OwnerKind::Helm && owner.name == release.name.name)
                && !records
                    .iter()
                    .any(|record| record.templates.contains_key(&workload.target))
        })
    };
    let named_by_the_ledger = || {
        let recorded = release.recorded.as_ref();
        let revision = recorded.and_then(|recorded| release.revision(recorded.revision));
        revision.is_some_and(|revision| revision.record == Read::NotAsked)
    };
    not_read && records.len() < FEW && (refused || unlisted() || named_by_the_ledger())
}

/// The Helm releases that the workloads say they belong to. Where there is none, nothing is asked.
pub(crate) async fn read_releases(world: &World, inventory: &mut Inventory, depth: Depth) {
    let names = helm::names(inventory, inventory.workloads.keys());
    if names.is_empty() {
        return;
    }
    match world.releases.read(&inventory.namespace, &names, depth).await {
        Ok(mut releases) => {
            let standing = releases.iter().map(|release| world.releases.standing(release));
            let standing = futures::future::join_all(standing).await;
            for (release, standing) in releases.iter_mut().zip(standing) {
                release.standing = standing;
                let known = inventory.releases.iter().find(|known| known.name == release.name);
                release.recorded = known.and_then(|known| known.recorded.clone());
            }
            inventory.releases = releases;
        }
        Err(failure) => inventory.unread.push(format!(
            "the Helm releases {} could not be read ({}): their workloads are written beside them",
            names.join(", "),
            failure.message
        )),
    }
}

/// Whether a rollback stops anything of the platform.
pub(crate) fn stops(platform: &Platform) -> bool {
    platform.members.iter().any(|member| member.stops)
}

/// What starts pods beside the workloads' own controllers.
pub(crate) async fn read_starters(world: &World, inventory: &mut Inventory) {
    match world.look.starters(&inventory.namespace).await {
        Ok(starters) => inventory.see(starters),
        Err(failure) => inventory.unread.push(format!(
            "CronJobs and ScaledObjects could not be read, and are not paused: {}",
            failure.message
        )),
    }
}

/// The owners of a plan's steps that no workload leads to; where the plan lets some go on, with their sources held against what
/// runs.
pub(crate) async fn paused_by(world: &World, inventory: &mut Inventory, plan: &Plan) {
    if plan.intent == Intent::ResumeOwners {
        let objects = survey::see_owners(world, inventory).await;
        following::compare(world, inventory, objects.as_deref()).await;
        return;
    }
    let mut owners = plan
        .steps
        .iter()
        .filter_map(|step| Some(step.spec.owner()?.owner()));
    if owners.any(|owner| inventory.owner(owner).is_none()) {
        survey::see_owners(world, inventory).await;
    }
}

pub(crate) fn right_cluster(platform: &Platform, inventory: &Inventory) -> Result<(), NoPlan> {
    let found = inventory.cluster.identity.uid();
    match &platform.cluster_uid {
        Some(expected) if expected != found => Err(NoPlan::WrongCluster {
            expected: expected.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

/// How an open run stands, as a clause.
pub fn stands(phase: &Phase) -> String {
    match phase {
        Phase::Running => "it is under way".to_owned(),
        Phase::Held { why, .. } => format!("it is held: {why}"),
        Phase::Unwinding { why } => format!("it is being taken back: {why}"),
        Phase::Finished(_) => "it is over".to_owned(),
    }
}
