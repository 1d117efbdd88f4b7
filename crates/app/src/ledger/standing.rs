//! Which workload stands on which release: it asks for what the release holds of it, and what it reads holds what it held then.

use super::{Survey, contents};
use crate::config;
use crate::survey;
use crate::world::World;
use astern_model::config::{ConfigName, Consumer};
use astern_model::id::ContentHash;
use astern_model::platform::Platform;
use astern_model::release::{Release, ReleaseName, ReleasedConfig, Standing};
use astern_model::target::Target;
use astern_model::workload::{Released, Workload};
use astern_port::Failure;
use astern_port::config::ConfigObject;
use futures::future::{join_all, try_join_all};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// For each release the workloads that read something else now than they did in it, and what that is.
pub(super) type ReadsOtherwise = BTreeMap<ReleaseName, BTreeMap<Target, BTreeSet<ConfigName>>>;

/// Compares what ConfigMaps and Secrets hold now (`objects`) with what releases hold of them. What an entry keeps and cannot be
/// read counts as the same: it says nothing against it.
///
/// # Errors
/// The vault's, when what they hold now cannot be compared.
pub(super) async fn read_otherwise<'a>(
    world: &World,
    releases: impl Iterator<Item = &'a Release> + Clone,
    objects: &[ConfigObject],
) -> Result<ReadsOtherwise, Failure> {
    let names: BTreeSet<&ConfigName> = releases
        .clone()
        .flat_map(|release| &release.config)
        .map(|held| &held.name)
        .collect();
    let known = objects.iter().filter(|object| names.contains(&object.name));
    let hashes = known.map(|object| async {
        let hash = config::hash(world, &object.json).await?;
        Ok::<_, Failure>((&object.name, hash))
    });
    let now: BTreeMap<&ConfigName, ContentHash> = try_join_all(hashes).await?.into_iter().collect();
    let compared = releases.map(|release| async {
        let then = contents(world, release, &names).await;
        let other = |held: &&ReleasedConfig| {
            let then = then.get(&held.name);
            then.is_some_and(|then| now.get(&held.name) != Some(then))
        };
        let mut targets: BTreeMap<Target, BTreeSet<ConfigName>> = BTreeMap::new();
        for held in release.config.iter().filter(other) {
            for Consumer { target, .. } in &held.consumers {
                targets
                    .entry(target.clone())
                    .or_default()
                    .insert(held.name.clone());
            }
        }
        (release.name.clone(), targets)
    });
    Ok(join_all(compared).await.into_iter().collect())
}

/// On which releases a workload stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StandsOn {
    /// The workload.
    pub target: Target,
    /// The version that it asks for; none where it is not there.
    pub version: Option<String>,
    /// The releases that hold the template that it asks for and what it reads, newest first, each with what is believed of it.
    pub releases: Vec<(ReleaseName, Standing)>,
    /// The newest one that holds the template, where none holds what it reads as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub but_for: Option<ButFor>,
}

/// A release whose template a workload asks for while it reads something else.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ButFor {
    /// The release.
    pub release: ReleaseName,
    /// What is believed of it.
    pub standing: Standing,
    /// What holds something else now.
    pub objects: Vec<ConfigName>,
}

/// Which workload of the platform stands on which release; with those that the newest good release has and that are not there.
pub fn stands_on(platform: &Platform, survey: &Survey) -> Vec<StandsOn> {
    let inventory = &survey.inventory;
    let targets = survey::scope(platform, inventory);
    let workloads = targets
        .iter()
        .filter_map(|target| inventory.workloads.get(target));
    let there = workloads.map(|workload| of_workload(workload, survey));
    let good = survey
        .shelf
        .held
        .iter()
        .find(|held| held.release.standing.is_good());
    let had = good.into_iter().flat_map(|held| &held.release.workloads);
    let gone = had.filter(|had| !inventory.workloads.contains_key(&had.target));
    there
        .chain(gone.map(|had| StandsOn {
            target: had.target.clone(),
            version: None,
            releases: Vec::new(),
            but_for: None,
        }))
        .collect()
}

fn of_workload(workload: &Workload, survey: &Survey) -> StandsOn {
    let target = &workload.target;
    let same = workload
        .released
        .iter()
        .filter(|released| astern_plan::asks_for(workload, &released.template));
    let (exactly, otherwise): (Vec<&Released>, Vec<&Released>) =
        same.partition(|released| survey.reads_otherwise(&released.release, target).is_none());
    let but_for = otherwise.first().filter(|_| exactly.is_empty()).map(|released| {
        let objects = survey.reads_otherwise(&released.release, target);
        ButFor {
            release: released.release.clone(),
            standing: released.standing.clone(),
            objects: objects.into_iter().flatten().cloned().collect(),
        }
    });
    let told = |released: &Released| (released.release.clone(), released.standing.clone());
    StandsOn {
        target: target.clone(),
        version: Some(workload.version()),
        releases: exactly.into_iter().map(told).collect(),
        but_for,
    }
}
