//! Recording a release: what runs and what it reads, kept in the vault and named in an entry. Owns when an entry is written, and which
//! old ones are forgotten.

use super::{LedgerError, Shelf, open, right_cluster};
use crate::config;
use crate::helm;
use crate::survey;
use crate::world::World;
use astern_model::config::{ConfigName, Consumer};
use astern_model::content::ContentRef;
use astern_model::id::{TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{
    AutoscalerSettings, Reason, Release, ReleaseName, ReleasedConfig, ReleasedWorkload, Standing, Word,
};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::canonical;
use astern_model::workload::Workload;
use astern_port::Failure;
use astern_port::config::ConfigObject;
use astern_port::ledger::WriteError;
use astern_wire::envelope;
use futures::future::try_join_all;
use std::collections::BTreeMap;

/// A release that is to be recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its version.
    pub name: ReleaseName,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// Who records it; the cluster's user where nobody said.
    pub by: Option<String>,
    /// Why it is good already, if it is.
    pub good: Option<Reason>,
}

/// What runs, what it reads, and the ledger beside it, of one moment.
pub(crate) struct Sight {
    pub(crate) inventory: Inventory,
    pub(crate) config: Vec<ConfigObject>,
    pub(crate) shelf: Shelf,
}

/// Records what runs now: reads it in one round of requests, keeps in the vault what an earlier release has not kept
/// already, and adds the entry.
///
/// # Errors
/// [`LedgerError`]; no entry was added. Content may lie in the vault: the next recording uses it.
pub async fn record(
    world: &World,
    platform: &Platform,
    recording: &Recording,
) -> Result<Release, LedgerError> {
    let namespace = &platform.namespace;
    let (inventory, config, shelf) = futures::join!(
        world.look.inventory(namespace),
        world.config.all(namespace),
        open(world)
    );
    let sight = Sight {
        inventory: inventory?,
        config: config?,
        shelf: shelf?,
    };
    right_cluster(platform, sight.inventory.cluster.identity.uid())?;
    record_sight(world, platform, recording, &sight).await
}

/// Records what was seen.
///
/// # Errors
/// As [`record`].
pub(crate) async fn record_sight(
    world: &World,
    platform: &Platform,
    recording: &Recording,
    sight: &Sight,
) -> Result<Release, LedgerError> {
    let Sight {
        inventory,
        config,
        shelf,
    } = sight;
    if shelf.find(&recording.name).is_some() {
        return Err(LedgerError::Exists {
            name: recording.name.clone(),
        });
    }
    let targets = survey::scope(platform, inventory);
    if targets.is_empty() {
        let namespace = platform.namespace.clone();
        return Err(LedgerError::Empty { namespace });
    }
    let kinds = WorkloadKind::ALL.map(WorkloadKind::plural);
    let unread: Vec<String> = inventory
        .unread
        .iter()
        .filter(|unread| kinds.iter().any(|kind| unread.starts_with(kind)))
        .cloned()
        .collect();
    if !unread.is_empty() {
        return Err(LedgerError::Partial { unread });
    }
    let workloads: Vec<&Workload> = targets
        .iter()
        .filter_map(|target| inventory.workloads.get(target))
        .collect();
    let config = consumed(&workloads, config);
    let config = config
        .iter()
        .map(|(object, consumers)| configured(world, shelf, object, consumers));
    let workloads = workloads.iter().map(|workload| released(world, shelf, workload));
    let (workloads, config, helm) = futures::try_join!(
        try_join_all(workloads),
        try_join_all(config),
        helm::recorded(world, inventory, &targets)
    )?;
    let by = recording
        .by
        .clone()
        .unwrap_or_else(|| inventory.cluster.user.clone());
    let at = inventory.taken_at;
    let standing = match &recording.good {
        Some(reason) => Standing::Good(Word {
            reason: reason.clone(),
            by: by.clone(),
            at,
        }),
        None => Standing::Candidate { failed: None },
    };
    let mut release = Release {
        name: recording.name.clone(),
        platform: platform.name.clone(),
        namespace: platform.namespace.clone(),
        commit: recording.commit.clone(),
        by,
        at,
        standing,
        health: None,
        restarts: restarts(&targets, inventory),
        workloads,
        config,
        helm,
        schemas: Vec::new(),
        stack_commit: None,
    };
    release.health = Some(astern_plan::health(&release, inventory, platform));
    let bytes = envelope::seal(&release);
    match world
        .ledger
        .add(&release.name, release.standing.word(), &bytes)
        .await
    {
        Ok(_) => {}
        Err(WriteError::Exists | WriteError::Conflict) => {
            return Err(LedgerError::Exists { name: release.name });
        }
        Err(WriteError::Store(failure)) => return Err(failure.into()),
    }
    prune(world, shelf, &release).await;
    Ok(release)
}

/// Forgets what is beyond the limits. What stays although it might go is looked at again by the next recording.
async fn prune(world: &World, shelf: &Shelf, newest: &Release) {
    let releases: Vec<Release> = std::iter::once(newest.clone()).chain(shelf.releases()).collect();
    for release in astern_plan::prunable(&releases) {
        let held = shelf.held.iter().find(|held| held.release.name == release.name);
        if let Some(held) = held
            && let Err(error) = world.ledger.remove(&release.name, &held.version).await
        {
            tracing::info!(release = %release.name, ?error, "an old release was not forgotten");
        }
    }
}

async fn released(world: &World, shelf: &Shelf, workload: &Workload) -> Result<ReleasedWorkload, Failure> {
    let hash = workload.template.hash();
    let earlier = shelf.held.iter().flat_map(|held| &held.release.workloads);
    let kept = earlier
        .filter(|earlier| earlier.target == workload.target && earlier.template == hash)
        .map(|earlier| earlier.content.clone())
        .next();
    let content = match kept {
        Some(content) => content,
        None => keep(world, "template", workload.template.json()).await?,
    };
    Ok(ReleasedWorkload {
        target: workload.target.clone(),
        images: running(workload, &hash),
        template: hash,
        content,
        replicas: workload.desired,
        autoscaler: workload.autoscaler.as_ref().map(|autoscaler| AutoscalerSettings {
            name: autoscaler.name.clone(),
            min: autoscaler.min,
            max: autoscaler.max,
        }),
    })
}

/// The images of the live template; with their digests where a pod of it tells.
fn running(workload: &Workload, hash: &TemplateHash) -> Vec<astern_model::workload::RunningImage> {
    let known = workload.running_images(hash);
    if !known.is_empty() {
        return known;
    }
    let images = workload.template.images().into_iter();
    images
        .map(|image| astern_model::workload::RunningImage { image, digest: None })
        .collect()
}

/// The objects that somebody reads, each with everybody who does.
pub(crate) fn consumed<'a>(
    workloads: &[&Workload],
    config: &'a [ConfigObject],
) -> Vec<(&'a ConfigObject, Vec<Consumer>)> {
    let mut by_name: BTreeMap<ConfigName, Vec<Consumer>> = BTreeMap::new();
    for workload in workloads {
        for (name, uses) in astern_plan::consumers(&workload.template, &workload.annotations) {
            by_name.entry(name).or_default().push(Consumer {
                target: workload.target.clone(),
                uses,
            });
        }
    }
    let mut consumed: Vec<(&ConfigObject, Vec<Consumer>)> = config
        .iter()
        .filter_map(|object| {
            let consumers = by_name.remove(&object.name)?;
            Some((object, consumers))
        })
        .collect();
    consumed.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    consumed
}

async fn configured(
    world: &World,
    shelf: &Shelf,
    object: &ConfigObject,
    consumers: &[Consumer],
) -> Result<ReleasedConfig, Failure> {
    let mut earlier = shelf.held.iter().flat_map(|held| &held.release.config);
    let same = |earlier: &&ReleasedConfig| {
        earlier.name == object.name && earlier.uid == object.uid && earlier.version == object.version
    };
    let content = match earlier.find(same) {
        Some(earlier) => earlier.content.clone(),
        None => keep(world, object.name.kind.singular(), &object.json).await?,
    };
    Ok(ReleasedConfig {
        name: object.name.clone(),
        uid: object.uid.clone(),
        version: object.version.clone(),
        immutable: object.is_immutable(),
        keys: object.keys(),
        hash: Some(config::hash(world, &object.json).await?),
        written: object.manager.as_ref().and_then(|manager| manager.at),
        content,
        // Without it a rollback does not change the ExternalSecret: no reason to record nothing at all.
        drawn: world.config.drawn(object).await.unwrap_or_default(),
        consumers: consumers.to_vec(),
    })
}

async fn keep(world: &World, label: &str, json: &serde_json::Value) -> Result<ContentRef, Failure> {
    world.vault.put(label, canonical(json).as_bytes()).await
}

fn restarts(targets: &[Target], inventory: &Inventory) -> BTreeMap<Uid, u32> {
    let workloads = targets
        .iter()
        .filter_map(|target| inventory.workloads.get(target));
    workloads
        .flat_map(|workload| &workload.pods)
        .filter(|pod| pod.restarts > 0)
        .map(|pod| (pod.uid.clone(), pod.restarts))
        .collect()
}
