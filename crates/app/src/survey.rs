//! Looks at a platform once: the inventory, and what logs and probes add to it.

use crate::following;
use crate::ledger;
use crate::world::World;
use astern_model::assessment::{Assessment, Health};
use astern_model::choice::Choice;
use astern_model::evidence::{Evidence, Fact};
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::target::Target;
use astern_port::Failure;
use astern_port::config::ConfigObject;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// How long logs and probes may take before a decision is made without them. A person waits for this.
pub const SENSES_WITHIN: SignedDuration = SignedDuration::from_secs(4);

/// The workloads of a platform: its members, or all of the namespace where it names none. A member that the cluster
/// does not have is left out here; [`missing`] names it.
pub fn scope(platform: &Platform, inventory: &Inventory) -> Vec<Target> {
    if platform.members.is_empty() {
        return inventory.workloads.keys().cloned().collect();
    }
    platform
        .members
        .iter()
        .map(|member| &member.target)
        .filter(|target| inventory.workloads.contains_key(*target))
        .cloned()
        .collect()
}

/// Members of the platform that the cluster does not have.
pub fn missing(platform: &Platform, inventory: &Inventory) -> Vec<Target> {
    platform
        .members
        .iter()
        .map(|member| &member.target)
        .filter(|target| !inventory.workloads.contains_key(*target))
        .cloned()
        .collect()
}

/// A namespace with everybody who would write it back, also those who own nothing but ConfigMaps and Secrets, and with what a run
/// has paused of that which starts pods. Where an owner that is paused compares nothing itself, its source is held against what
/// runs.
///
/// # Errors
/// The cluster's, when the inventory cannot be had. What else could not be read is named in it.
pub async fn owners(world: &World, namespace: &str) -> Result<Inventory, Failure> {
    let mut inventory = world.look.inventory(namespace).await?;
    let objects = see_owners(world, &mut inventory).await;
    following::compare(world, &mut inventory, objects.as_deref()).await;
    inventory
        .owners
        .retain(|seen| !seen.name.kind.only_starts() || seen.paused.is_some());
    Ok(inventory)
}

/// Takes in the owners that no workload leads to. The ConfigMaps and Secrets of the namespace; none where they cannot be read.
pub(crate) async fn see_owners(world: &World, inventory: &mut Inventory) -> Option<Vec<ConfigObject>> {
    let (starters, objects) = futures::join!(
        world.look.starters(&inventory.namespace),
        world.config.all(&inventory.namespace)
    );
    match starters {
        Ok(starters) => inventory.see(starters),
        Err(failure) => inventory.unread.push(format!(
            "CronJobs and ScaledObjects could not be read: {}",
            failure.message
        )),
    }
    match objects {
        Ok(objects) => {
            let owned = objects.iter().map(|object| world.config.owners(object));
            for owned in futures::future::join_all(owned).await {
                inventory.see(owned.seen);
            }
            Some(objects)
        }
        Err(failure) => {
            inventory.unread.push(format!(
                "ConfigMaps and Secrets could not be read: {}",
                failure.message
            ));
            None
        }
    }
}

/// How a platform stands, on the API alone: logs are read only for what fails.
///
/// # Errors
/// The cluster's, when the inventory cannot be had.
pub async fn status(world: &World, platform: &Platform) -> Result<(Inventory, Assessment), Failure> {
    let mut inventory = world.look.inventory(&platform.namespace).await?;
    let targets = scope(platform, &inventory);
    let first = astern_plan::assess(&inventory, platform, &targets);
    let failing: Vec<Target> = first
        .workloads
        .iter()
        .filter(|entry| matches!(entry.state, Health::Failing | Health::Degraded))
        .map(|entry| entry.target.clone())
        .collect();
    if failing.is_empty() {
        return Ok((inventory, first));
    }
    let lines = world
        .sense
        .error_lines(&inventory, &failing, &platform.policy.logs, None, SENSES_WITHIN)
        .await;
    merge(&mut inventory, lines);
    let assessment = astern_plan::assess(&inventory, platform, &targets);
    Ok((inventory, assessment))
}

/// The ledger, what the cluster remembers of each workload, and which revision would be chosen.
///
/// # Errors
/// The cluster's, when the inventory cannot be had.
pub async fn releases(world: &World, platform: &Platform) -> Result<(ledger::Survey, Vec<Choice>), Failure> {
    let mut survey = ledger::survey(world, platform).await?;
    ledger::read_back(world, &mut survey.inventory, |_, _| false).await;
    let inventory = &survey.inventory;
    let choices = scope(platform, inventory)
        .iter()
        .map(|target| astern_plan::choose(inventory, &platform.policy, target, None))
        .collect();
    Ok((survey, choices))
}

/// Adds what the senses saw. A better account of the same trouble (with its last log line) replaces the former one.
pub fn merge(inventory: &mut Inventory, seen: Vec<Evidence>) {
    let better: BTreeSet<(Target, &'static str)> = seen
        .iter()
        .filter_map(|evidence| trouble_kind(evidence).map(|kind| (evidence.subject.clone(), kind)))
        .collect();
    inventory.evidence.retain(|evidence| {
        trouble_kind(evidence).is_none_or(|kind| !better.contains(&(evidence.subject.clone(), kind)))
    });
    inventory.evidence.extend(seen);
}

fn trouble_kind(evidence: &Evidence) -> Option<&'static str> {
    use astern_model::evidence::Trouble;
    match &evidence.fact {
        Fact::Trouble {
            trouble: Trouble::CrashLoop { .. },
            ..
        } => Some("crash loop"),
        _ => None,
    }
}

/// The senses' view of `targets` since `since`: logs and probes side by side, as far as they come `within` this time.
pub async fn senses(
    world: &World,
    platform: &Platform,
    inventory: &Inventory,
    targets: &[Target],
    since: Option<Timestamp>,
    within: SignedDuration,
) -> Vec<Evidence> {
    let probes: Vec<_> = platform
        .members
        .iter()
        .filter(|member| targets.contains(&member.target))
        .flat_map(|member| {
            member
                .probes
                .iter()
                .map(|probe| (member.target.clone(), probe.clone()))
        })
        .collect();
    let (mut lines, answers) = futures::join!(
        world
            .sense
            .error_lines(inventory, targets, &platform.policy.logs, since, within),
        world.sense.probe(&platform.namespace, &probes, within)
    );
    lines.extend(answers);
    lines
}
