//! Drift: what runs now, held against a release of the ledger. Reads and compares; writes nothing but the vault's key where
//! there is none, by which hidden values are told apart.

use crate::config::{marks, marks_of};
use crate::helm;
use crate::ledger::{self, Shelf};
use crate::survey;
use crate::world::World;
use astern_model::content::ContentRef;
use astern_model::drift::{Compared, Drift, How, ObjectDrift};
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{Release, ReleaseName};
use astern_model::target::Target;
use astern_model::template::Template;
use astern_plan::{config_drift, consumers, hidden_in, workload_drift};
use astern_port::Failure;
use astern_port::config::ConfigObject;
use futures::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// No release of that name.
    #[error("the ledger holds no release {name}")]
    Unknown {
        /// The name that was asked for.
        name: ReleaseName,
        /// What there is, newest first.
        known: Vec<ReleaseName>,
    },
    /// No release is known to be good.
    #[error("no release of the ledger is known to be good, so there is nothing to compare with")]
    NoneGood {
        /// What there is, newest first.
        known: Vec<ReleaseName>,
    },
    /// The cluster does not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Compares what runs with a release: the named one, or the newest that is known to be good.
///
/// # Errors
/// [`DriftError`]. Content of the release that cannot be read is told in [`Drift::unread`].
pub async fn drift(
    world: &World,
    platform: &Platform,
    named: Option<&ReleaseName>,
) -> Result<Drift, DriftError> {
    let namespace = &platform.namespace;
    let (inventory, config, shelf) = futures::join!(
        world.look.inventory(namespace),
        world.config.all(namespace),
        ledger::open(world)
    );
    let (inventory, config, shelf) = (inventory?, config?, shelf?);
    let release = chosen(&shelf, named)?;
    let mut drift = Drift {
        release: release.name.clone(),
        recorded_at: release.at,
        at: inventory.taken_at,
        compared: 0,
        objects: Vec::new(),
        unread: inventory.unread.clone(),
    };
    let scope = survey::scope(platform, &inventory);
    workloads(world, &scope, &inventory, release, &mut drift).await;
    configuration(world, &scope, &inventory, &config, release, &mut drift).await;
    helm::drift(world, &inventory, release, &mut drift).await;
    drift.objects.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(drift)
}

fn chosen<'a>(shelf: &'a Shelf, named: Option<&ReleaseName>) -> Result<&'a Release, DriftError> {
    if let Some(name) = named {
        return shelf.find(name).ok_or_else(|| DriftError::Unknown {
            name: name.clone(),
            known: shelf.names(),
        });
    }
    let mut releases = shelf.held.iter().map(|held| &held.release);
    let good = releases.find(|release| release.standing.is_good());
    good.ok_or_else(|| DriftError::NoneGood { known: shelf.names() })
}

async fn workloads(
    world: &World,
    scope: &[Target],
    inventory: &Inventory,
    release: &Release,
    drift: &mut Drift,
) {
    let held: BTreeSet<&Target> = release.workloads.iter().map(|held| &held.target).collect();
    let new = scope.iter().filter(|target| !held.contains(target));
    drift.objects.extend(new.map(|target| ObjectDrift {
        object: Compared::Workload(target.clone()),
        how: How::New,
    }));
    let gone = held
        .iter()
        .filter(|target| !inventory.workloads.contains_key(target));
    drift.objects.extend(gone.map(|target| ObjectDrift {
        object: Compared::Workload((*target).clone()),
        how: How::Gone,
    }));
    let both: Vec<_> = release
        .workloads
        .iter()
        .filter_map(|held| Some((held, inventory.workloads.get(&held.target)?)))
        .collect();
    drift.compared += both.len();

    let moved: Vec<_> = both
        .iter()
        .filter(|(held, now)| held.template != now.template.hash() || held.replicas != now.desired)
        .collect();
    let targets: Vec<Target> = moved.iter().map(|(held, _)| held.target.clone()).collect();
    let templates = moved
        .iter()
        .filter(|(held, now)| held.template != now.template.hash())
        .map(|(held, _)| async move { (held.target.clone(), json(world, &held.content).await) });
    let (managed, templates) = futures::join!(managed(world, &targets), join_all(templates));
    let managed = managed.unwrap_or_else(|failure| {
        drift.unread.push(format!("who wrote what is unknown: {failure}"));
        BTreeMap::new()
    });
    let mut then = BTreeMap::new();
    for (target, template) in templates {
        match template {
            Ok(json) => {
                then.insert(target, Template::clean(json));
            }
            Err(failure) => drift.unread.push(unknown(release, &target.to_string(), &failure)),
        }
    }
    let templates = then.values().chain(both.iter().map(|(_, now)| &now.template));
    let marks = marks_of(world, hidden_in(templates.map(Template::json))).await;
    for (held, now) in both {
        let managed = managed.get(&held.target).map(Vec::as_slice).unwrap_or_default();
        drift
            .objects
            .extend(workload_drift(held, then.get(&held.target), now, managed, &marks));
    }
}

async fn managed(world: &World, targets: &[Target]) -> Result<BTreeMap<Target, Vec<Value>>, Failure> {
    if targets.is_empty() {
        return Ok(BTreeMap::new());
    }
    world.look.managed(targets).await
}

async fn configuration(
    world: &World,
    scope: &[Target],
    inventory: &Inventory,
    config: &[ConfigObject],
    release: &Release,
    drift: &mut Drift,
) {
    let live: BTreeMap<_, &ConfigObject> = config.iter().map(|object| (&object.name, object)).collect();
    let readers = scope.iter().filter_map(|target| inventory.workloads.get(target));
    let read_now: BTreeSet<_> = readers
        .flat_map(|workload| consumers(&workload.template, &workload.annotations).into_keys())
        .filter(|name| live.contains_key(name))
        .collect();
    let held: BTreeSet<_> = release.config.iter().map(|held| &held.name).collect();
    let new = read_now.iter().filter(|name| !held.contains(name));
    drift.objects.extend(new.map(|name| ObjectDrift {
        object: Compared::Config(name.clone()),
        how: How::New,
    }));
    let gone = held.iter().filter(|name| !live.contains_key(*name));
    drift.objects.extend(gone.map(|name| ObjectDrift {
        object: Compared::Config((*name).clone()),
        how: How::Gone,
    }));
    let both: Vec<_> = release
        .config
        .iter()
        .filter_map(|held| Some((held, *live.get(&held.name)?)))
        .collect();
    drift.compared += both.len();
    let written = both
        .into_iter()
        .filter(|(held, now)| held.uid != now.uid || held.version != now.version);
    let read = written.map(|(held, now)| async move { (held, now, json(world, &held.content).await) });
    for (held, now, then) in join_all(read).await {
        match then {
            Ok(then) => {
                let marks = marks(world, &then, &now.json).await;
                let differs = config_drift(&held.name, &then, &now.json, &now.managed, &marks);
                drift.objects.extend(differs);
            }
            Err(failure) => drift
                .unread
                .push(unknown(release, &held.name.to_string(), &failure)),
        }
    }
}

async fn json(world: &World, content: &ContentRef) -> Result<Value, Failure> {
    let bytes = world.vault.get(content).await?;
    serde_json::from_slice(&bytes).map_err(|_| {
        let operation = format!("read {} from the vault", content.name);
        Failure::new(astern_port::FailureClass::Permanent, operation, "it is no JSON")
    })
}

fn unknown(release: &Release, object: &str, failure: &Failure) -> String {
    format!(
        "what release {} holds of {object} is unknown: {failure}",
        release.name
    )
}
