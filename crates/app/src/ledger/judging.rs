//! Judging what is recorded: candidates by what is seen, every release by what runs took back. What proves a release, and what its
//! quarantine covers, is the planner's.

use super::{Held, Shelf, open, write};
use crate::config;
use crate::history::{self, Past};
use crate::survey;
use crate::world::World;
use astern_model::config::ConfigName;
use astern_model::id::ContentHash;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{
    QuarantinedContent, Reason, Release, ReleaseName, ReleasedWorkload, Standing, Word,
};
use astern_model::target::Target;
use astern_plan::{Kept, Proof};
use astern_port::Failure;
use astern_port::config::ConfigObject;
use astern_port::ledger::WriteError;
use futures::future::{join_all, try_join_all};
use std::collections::{BTreeMap, BTreeSet};

/// Whose word it is when a release proves itself.
const JUDGE: &str = "astern";

/// Judges the candidates by what is seen now, and the good ones by what runs took back; writes down what that shows. Logs
/// and probes are asked only where nothing else is missing, ConfigMaps and Secrets (`config`) where the caller has not read them and a
/// candidate holds some. What could not be written is told, and what stays open has its reason.
pub async fn settle(
    world: &World,
    platform: &Platform,
    shelf: &mut Shelf,
    inventory: &Inventory,
    config: Option<&[ConfigObject]>,
    past: &Past,
) -> BTreeMap<ReleaseName, String> {
    let mut open = BTreeMap::new();
    let is_live = |released: &ReleasedWorkload| {
        let workload = inventory.workloads.get(&released.target);
        workload.is_some_and(|workload| workload.template.hash() == released.template)
    };
    condemn(world, shelf, past, is_live).await;
    let candidates: Vec<usize> = (0..shelf.held.len())
        .filter(|at| matches!(shelf.held[*at].release.standing, Standing::Candidate { .. }))
        .collect();
    if candidates.is_empty() {
        return open;
    }
    let now = Contents::of(world, shelf, &candidates, inventory, config).await;
    let mut reading = Vec::new();
    for at in candidates {
        let release = &shelf.held[at].release;
        match now.other(world, release).await {
            Some(why) => {
                open.insert(release.name.clone(), why);
            }
            None => reading.push(at),
        }
    }
    let candidates = reading;
    let provable = |at: &&usize| astern_plan::may_be_proven(&shelf.held[**at].release, inventory, platform);
    let mut inventory = inventory.clone();
    if let Some(at) = candidates.iter().find(provable) {
        let targets: Vec<Target> = shelf.held[*at]
            .release
            .workloads
            .iter()
            .map(|workload| workload.target.clone())
            .collect();
        let seen = survey::senses(world, platform, &inventory, &targets, None, survey::SENSES_WITHIN).await;
        survey::merge(&mut inventory, seen);
    }
    for at in candidates {
        let held = &mut shelf.held[at];
        let mut release = held.release.clone();
        let at = inventory.taken_at;
        match astern_plan::prove(&release, &inventory, platform, &past.rolled_back) {
            Proof::Open(why) => {
                open.insert(release.name.clone(), why);
                continue;
            }
            Proof::Good(reason, health) => {
                release.standing = Standing::Good(judges(reason, at));
                release.health = Some(health);
            }
            Proof::Bad(reason) => release.standing = Standing::Bad(judges(reason, at)),
            Proof::Failed(failed) => {
                let what = failed.what.to_string();
                open.insert(release.name.clone(), format!("it fails: {what}"));
                if matches!(release.standing, Standing::Candidate { failed: Some(_) }) {
                    continue;
                }
                release.standing = Standing::Candidate { failed: Some(failed) };
            }
        }
        shelf.unread.extend(rewrite(world, held, release).await);
    }
    open
}

/// What the objects of the candidates hold now, or why that is not known.
struct Contents(Result<BTreeMap<ConfigName, ContentHash>, String>);

impl Contents {
    async fn of(
        world: &World,
        shelf: &Shelf,
        candidates: &[usize],
        inventory: &Inventory,
        config: Option<&[ConfigObject]>,
    ) -> Self {
        let held = candidates.iter().flat_map(|at| &shelf.held[*at].release.config);
        let names: BTreeSet<&ConfigName> = held.map(|held| &held.name).collect();
        let hashed = async {
            let fetched = match config {
                None if !names.is_empty() => world.config.all(&inventory.namespace).await?,
                _ => Vec::new(),
            };
            let read = config.unwrap_or(&fetched).iter();
            let read = read
                .filter(|object| names.contains(&object.name))
                .map(|object| async {
                    let hash = config::hash(world, &object.json).await?;
                    Ok::<_, Failure>((object.name.clone(), hash))
                });
            try_join_all(read).await
        };
        let hashed: Result<_, Failure> = hashed.await;
        Self(match hashed {
            Ok(hashed) => Ok(hashed.into_iter().collect()),
            Err(failure) => Err(format!(
                "what ConfigMaps and Secrets hold now is unknown: {failure}"
            )),
        })
    }

    /// Why what runs proves nothing of a release: it reads something else now. None where it reads the same.
    async fn other(&self, world: &World, release: &Release) -> Option<String> {
        if release.config.is_empty() {
            return None;
        }
        let now = match &self.0 {
            Ok(now) => now,
            Err(why) => return Some(why.clone()),
        };
        let names = release.config.iter().map(|held| &held.name).collect();
        let then = contents(world, release, &names).await;
        release.config.iter().find_map(|held| {
            let name = &held.name;
            match then.get(name) {
                None => Some(format!("what it held of {name} cannot be read")),
                Some(hash) if now.get(name) != Some(hash) => {
                    Some(format!("{name} holds something else now than in that release"))
                }
                Some(_) => None,
            }
        })
    }
}

/// What astern's own judge says.
fn judges(reason: Reason, at: jiff::Timestamp) -> Word {
    let by = JUDGE.to_owned();
    Word { reason, by, at }
}

/// Writes an entry anew. Whoever wrote it meanwhile has judged it, and what could not be written is told.
async fn rewrite(world: &World, held: &mut Held, release: Release) -> Option<String> {
    match write(world, &release, &held.version).await {
        Ok(version) => {
            *held = Held { release, version };
            None
        }
        Err(WriteError::Conflict | WriteError::Exists) => None,
        Err(WriteError::Store(failure)) => Some(format!(
            "what is now known of release {} was not written down: {failure}",
            release.name
        )),
    }
}

/// Calls the good releases and the candidates bad that a run took back, unless they are live again.
async fn condemn(world: &World, shelf: &mut Shelf, past: &Past, is_live: impl Fn(&ReleasedWorkload) -> bool) {
    let now = world.clock.now();
    for held in &mut shelf.held {
        if held.release.standing.against().is_some() {
            continue;
        }
        let mut reason = astern_plan::taken_back(&held.release, &past.rolled_back, &is_live);
        if reason.is_none() {
            let taken = &past.replaced_content;
            let names = taken.keys().map(|(name, _)| name).collect();
            let contents = contents(world, &held.release, &names).await;
            reason = astern_plan::content_taken_back(&held.release, &contents, taken);
        }
        if let Some(reason) = reason {
            let mut release = held.release.clone();
            release.standing = Standing::Bad(judges(reason, now));
            shelf.unread.extend(rewrite(world, held, release).await);
        }
    }
}

/// What a release holds of these objects. An entry that does not say it is asked for its content; what cannot be read is not known.
pub(crate) async fn contents(
    world: &World,
    release: &Release,
    names: &BTreeSet<&ConfigName>,
) -> BTreeMap<ConfigName, ContentHash> {
    let asked = release.config.iter().filter(|held| names.contains(&held.name));
    let read = asked.map(|held| async move {
        let hash = match &held.hash {
            Some(hash) => hash.clone(),
            None => config::kept_hash(world, &held.content).await.ok()?,
        };
        Some((held.name.clone(), hash))
    });
    join_all(read).await.into_iter().flatten().collect()
}

/// Which of these ConfigMaps must not be given to hold again what they hold here: a bad release brought it, or a run took it back.
///
/// # Errors
/// When what they hold cannot be compared, or the runs cannot be read.
pub async fn quarantined_content(
    world: &World,
    platform: &Platform,
    shelf: &Shelf,
    config_maps: &[(ConfigName, serde_json::Value)],
) -> Result<Vec<QuarantinedContent>, Failure> {
    if config_maps.is_empty() {
        return Ok(Vec::new());
    }
    let names: BTreeSet<&ConfigName> = config_maps.iter().map(|(name, _)| name).collect();
    let kept = shelf.held.iter().map(|held| async {
        let release = &held.release;
        let contents = contents(world, release, &names).await;
        Kept { release, contents }
    });
    let (past, kept) = futures::join!(history::look_back(world, &platform.namespace), join_all(kept));
    let taken = past?.replaced_content;
    let is_known = kept.iter().any(|kept| !kept.contents.is_empty())
        || taken.keys().any(|(name, _)| names.contains(name));
    if !is_known {
        // Comparing may make the vault's key, and there is nothing to compare with.
        return Ok(Vec::new());
    }
    let hashed = config_maps.iter().map(|(name, object)| async move {
        let hash = config::hash(world, object).await?;
        Ok::<_, Failure>((name.clone(), hash))
    });
    let hashed = try_join_all(hashed).await?;
    Ok(astern_plan::quarantined_content(&kept, &taken, &hashed))
}

/// Writes down what a run that is over says of the releases that it took back, while its journal is at hand.
///
/// # Errors
/// When ledger or journal cannot be read. Nothing depends on it: whoever looks at the ledger next finds the same.
pub async fn learn(world: &World, platform: &Platform) -> Result<(), Failure> {
    let mut shelf = open(world).await?;
    if shelf
        .held
        .iter()
        .all(|held| held.release.standing.against().is_some())
    {
        return Ok(());
    }
    let past = history::look_back(world, &platform.namespace).await?;
    condemn(world, &mut shelf, &past, |_| false).await;
    Ok(())
}
