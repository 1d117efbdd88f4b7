//! Watching: looks at a platform again and again, records what it has come to rest on, and judges candidates while they serve. Owns one
//! look and what is told of it; how often, and until when, is the caller's. Writes to the ledger alone.

use crate::config;
use crate::history;
use crate::ledger::{self, LedgerError, Recording, Shelf, Sight};
use crate::survey;
use crate::world::World;
use astern_engine::Phase;
use astern_model::config::ConfigName;
use astern_model::id::{ContentHash, RunId};
use astern_model::owner::OwnerSeen;
use astern_model::platform::Platform;
use astern_model::release::{ReleaseName, Standing};
use astern_model::workload::Workload;
use astern_plan::{ReadObject, Stand};
use astern_port::config::ConfigObject;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Who records what a watch has seen.
const WATCH: &str = "watch";

/// What one look has shown.
#[derive(Debug)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// The releases of which something else is believed now than before this look.
    pub judged: Vec<Judged>,
    /// How the platform stands.
    pub stands: Stands,
    /// The owners of its workloads that a run has paused and nobody has let go on by astern.
    pub held: Vec<OwnerSeen>,
    /// What could not be read, a sentence each.
    pub unread: Vec<String>,
}

/// What is believed of a release since this look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The release.
    pub release: ReleaseName,
    /// What is believed.
    pub standing: Standing,
}

/// How the platform stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum Stands {
    /// A rollout, a run or somebody who writes is at work.
    Moving {
        /// What, a clause.
        why: String,
    },
    /// It is this release of the ledger.
    Known {
        /// The newest one that it is.
        release: ReleaseName,
    },
    /// It was recorded in this look.
    Recorded {
        /// As.
        release: ReleaseName,
        /// What differs from the newest release before, object by object; empty where it is the first one.
        changed: Vec<String>,
        /// That newest release.
        since: Option<ReleaseName>,
    },
}

/// Looks once: judges what is recorded, then records what stands, where it has come to rest and no release is that.
///
/// # Errors
/// [`LedgerError`]. What was judged before it stays.
pub async fn look(world: &World, platform: &Platform) -> Result<Look, LedgerError> {
    let namespace = &platform.namespace;
    let (inventory, config, past, shelf) = futures::join!(
        world.look.inventory(namespace),
        world.config.all(namespace),
        history::look_back(world, namespace),
        ledger::open(world)
    );
    let (mut inventory, config, past, mut shelf) = (inventory?, config?, past?, shelf?);
    ledger::right_cluster(platform, inventory.cluster.identity.uid())?;
    past.mark(&mut inventory);
    let before = shelf.releases();
    ledger::settle(world, platform, &mut shelf, &inventory, Some(&config), &past).await;
    let judged = shelf
        .held
        .iter()
        .filter(|held| {
            let was = before.iter().find(|was| was.name == held.release.name);
            was.is_none_or(|was| was.standing != held.release.standing)
        })
        .map(|held| Judged {
            release: held.release.name.clone(),
            standing: held.release.standing.clone(),
        })
        .collect();
    let (at, unread) = (inventory.taken_at, shelf.unread.clone());
    let held = inventory.owners.iter().filter(|seen| seen.paused.is_some());
    let held = held.cloned().collect();
    shelf.mark(&mut inventory);
    let sight = Sight {
        inventory,
        config,
        shelf,
    };
    let stands = stands(world, platform, &sight, past.open).await?;
    Ok(Look {
        at,
        judged,
        stands,
        held,
        unread,
    })
}

async fn stands(
    world: &World,
    platform: &Platform,
    sight: &Sight,
    open: Option<(RunId, Phase)>,
) -> Result<Stands, LedgerError> {
    if let Some((run, phase)) = open {
        let why = format!("run {run} is not over: {}", crate::planning::stands(&phase));
        return Ok(Stands::Moving { why });
    }
    let targets = survey::scope(platform, &sight.inventory);
    if targets.is_empty() {
        let why = format!(
            "namespace {} holds no workload of the platform",
            platform.namespace
        );
        return Ok(Stands::Moving { why });
    }
    let workloads: Vec<&Workload> = targets
        .iter()
        .filter_map(|target| sight.inventory.workloads.get(target))
        .collect();
    let read = read(world, &workloads, &sight.config).await?;
    let stand = Stand {
        inventory: &sight.inventory,
        targets: &targets,
        read: &read,
    };
    if let Some(why) = stand.moves() {
        return Ok(Stands::Moving { why });
    }
    if let Some(release) = known(world, &sight.shelf, &stand).await {
        return Ok(Stands::Known { release });
    }
    let newest = sight.shelf.held.first().map(|held| &held.release);
    let recording = Recording {
        name: stand.name(newest, &platform.policy.mutable_tags, &sight.shelf.names()),
        commit: None,
        by: Some(WATCH.to_owned()),
        good: None,
    };
    match ledger::record_sight(world, platform, &recording, sight).await {
        Ok(release) => {
            let changed = match newest {
                Some(newest) => stand.changed_since(newest, &held(world, newest).await),
                None => Vec::new(),
            };
            Ok(Stands::Recorded {
                release: release.name,
                changed,
                since: newest.map(|newest| newest.name.clone()),
            })
        }
        // Another one saw the same, and found the same name for it.
        Err(LedgerError::Exists { name }) => Ok(Stands::Known { release: name }),
        Err(error) => Err(error),
    }
}

/// What the workloads read, as it is now.
async fn read(
    world: &World,
    workloads: &[&Workload],
    config: &[ConfigObject],
) -> Result<BTreeMap<ConfigName, ReadObject>, LedgerError> {
    let read = ledger::consumed(workloads, config).into_iter();
    let read = read.map(|(object, _)| async {
        let content = config::hash(world, &object.json).await?;
        let written = object.manager.as_ref().and_then(|manager| manager.at);
        Ok::<_, LedgerError>((object.name.clone(), ReadObject { content, written }))
    });
    Ok(try_join_all(read).await?.into_iter().collect())
}

/// The newest release that is what stands.
async fn known(world: &World, shelf: &Shelf, stand: &Stand<'_>) -> Option<ReleaseName> {
    for of in &shelf.held {
        if stand.runs(&of.release) && stand.is(&of.release, &held(world, &of.release).await) {
            return Some(of.release.name.clone());
        }
    }
    None
}

async fn held(world: &World, release: &astern_model::release::Release) -> BTreeMap<ConfigName, ContentHash> {
    let names: BTreeSet<&ConfigName> = release.config.iter().map(|held| &held.name).collect();
    ledger::contents(world, release, &names).await
}
