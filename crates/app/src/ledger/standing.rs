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
use astern_port::Failure;
use astern_port::config::ConfigObject;
use futures::future::{join_all, try_join_all};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// For each release the workloads that read something else now than they did in it.
pub(super) type ReadsOtherwise = BTreeMap<ReleaseName, BTreeSet<Target>>;

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
        let readers = release
            .config
            .iter()
            .filter(other)
            .flat_map(|held| &held.consumers);
        let targets = readers.map(|Consumer { target, .. }| target.clone()).collect();
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
    /// The version that it asks for.
    pub version: String,
    /// The releases that hold the template that it asks for and what it reads, newest first, each with what is believed of it.
    pub releases: Vec<(ReleaseName, Standing)>,
}

/// Which workload of the platform stands on which release.
pub fn stands_on(platform: &Platform, survey: &Survey) -> Vec<StandsOn> {
    let inventory = &survey.inventory;
    let targets = survey::scope(platform, inventory);
    let workloads = targets
        .iter()
        .filter_map(|target| inventory.workloads.get(target));
    workloads
        .map(|workload| {
            let same = workload.released.iter().filter(|released| {
                astern_plan::asks_for(workload, &released.template)
                    && !survey.reads_otherwise(&released.release, &workload.target)
            });
            StandsOn {
                target: workload.target.clone(),
                version: workload.version(),
                releases: same
                    .map(|released| (released.release.clone(), released.standing.clone()))
                    .collect(),
            }
        })
        .collect()
}
