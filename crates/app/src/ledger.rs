//! The ledger: recording a release, reading what was recorded, proving candidates, and somebody's word on one. Owns when
//! an entry is written; what proves a release, and what its quarantine covers, is the planner's.

use crate::history::Past;
use crate::survey;
use crate::world::World;
use astern_model::config::{ConfigName, Consumer};
use astern_model::content::ContentRef;
use astern_model::evidence::Known;
use astern_model::id::{TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{
    AutoscalerSettings, Reason, Release, ReleaseName, ReleasedConfig, ReleasedWorkload, Standing, Word,
};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::{Template, canonical};
use astern_model::workload::{Released, Revision, RevisionKind, Workload};
use astern_plan::Proof;
use astern_port::config::ConfigObject;
use astern_port::ledger::{Entry, Version, WriteError};
use astern_port::{Failure, FailureClass};
use astern_wire::envelope;
use futures::future::{join_all, try_join_all};
use jiff::SignedDuration;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Whose word it is when a release proves itself.
const JUDGE: &str = "astern";

/// Why the ledger was not read or written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The name is taken.
    #[error("release {name} is recorded already; nothing was changed")]
    Exists {
        /// The name.
        name: ReleaseName,
    },
    /// There is no release of that name.
    #[error("the ledger holds no release {name}; nothing was changed")]
    Unknown {
        /// The name that was asked for.
        name: ReleaseName,
        /// What there is, newest first.
        known: Vec<ReleaseName>,
    },
    /// Somebody wrote the entry meanwhile, more than once.
    #[error("release {name} was written by somebody else meanwhile; nothing was changed")]
    Conflict {
        /// The name.
        name: ReleaseName,
    },
    /// There is nothing to record.
    #[error("namespace {namespace} holds no workload of the platform; nothing was recorded")]
    Empty {
        /// The namespace.
        namespace: String,
    },
    /// Some workloads could not be read, so the release would be recorded in part.
    #[error("not everything of the release could be read; nothing was recorded")]
    Partial {
        /// What, as sentences.
        unread: Vec<String>,
    },
    /// The platform's owners pinned another cluster.
    #[error("this is another cluster: uid {expected} is meant, this one has uid {found}")]
    WrongCluster {
        /// The pinned one.
        expected: Uid,
        /// This one.
        found: Uid,
    },
    /// An entry or its content is damaged, or the cluster does not answer.
    #[error(transparent)]
    Store(#[from] Failure),
}

/// A release with the writing of its entry that it was read from.
#[derive(Clone, Debug)]
pub struct Held {
    /// The release.
    pub release: Release,
    /// Which writing.
    pub version: Version,
}

/// What the ledger holds.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// The releases, newest first.
    pub held: Vec<Held>,
    /// What could not be read, as sentences.
    pub unread: Vec<String>,
}

impl Shelf {
    /// The releases, newest first.
    pub fn releases(&self) -> Vec<Release> {
        self.held.iter().map(|held| held.release.clone()).collect()
    }

    /// The release of this name.
    pub fn find(&self, name: &ReleaseName) -> Option<&Release> {
        let found = self.held.iter().find(|held| &held.release.name == name);
        found.map(|held| &held.release)
    }

    /// Their names, newest first.
    pub fn names(&self) -> Vec<ReleaseName> {
        self.held.iter().map(|held| held.release.name.clone()).collect()
    }

    /// Says of each workload what the releases hold of it, and what could not be read.
    pub fn mark(&self, inventory: &mut Inventory) {
        inventory.unread.extend(self.unread.iter().cloned());
        for (target, workload) in &mut inventory.workloads {
            let released = self.held.iter().filter_map(|held| {
                let release = &held.release;
                let one = release.workload(target)?;
                Some(Released {
                    release: release.name.clone(),
                    standing: release.standing.clone(),
                    template: one.template.clone(),
                    content: one.content.clone(),
                    images: one.images.clone(),
                    kept: None,
                })
            });
            workload.released = released.collect();
        }
    }
}

/// Reads the ledger, by one request. A damaged entry is told and hides no other.
///
/// # Errors
/// When it cannot be listed.
pub async fn open(world: &World) -> Result<Shelf, Failure> {
    let entries = world.ledger.entries().await?;
    let mut shelf = Shelf::default();
    for unreadable in entries.unreadable {
        shelf.unread.push(unreadable.failure.to_string());
    }
    for entry in entries.entries {
        match unseal(&entry) {
            Ok(release) => shelf.held.push(Held {
                release,
                version: entry.version,
            }),
            Err(failure) => shelf.unread.push(failure.to_string()),
        }
    }
    shelf.unread.sort();
    let place = |held: &Held| (held.release.at, held.release.name.clone());
    shelf.held.sort_by_key(|held| std::cmp::Reverse(place(held)));
    Ok(shelf)
}

/// The same where a missing ledger is no reason to stop: what it would have said is unknown, and that is said.
pub async fn open_or_tell(world: &World) -> Shelf {
    open(world).await.unwrap_or_else(|failure| Shelf {
        held: Vec::new(),
        unread: vec![format!("the releases of the ledger are unknown: {failure}")],
    })
}

fn unseal(entry: &Entry) -> Result<Release, Failure> {
    let operation = format!("read release {} of the ledger", entry.name);
    let release: Release = envelope::open(&entry.bytes).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let message = format!("{error}{}", cause.unwrap_or_default());
        Failure::new(FailureClass::Permanent, &operation, message).hint(error.hint())
    })?;
    if release.name == entry.name {
        return Ok(release);
    }
    let message = format!("it calls itself {}; somebody copied it", release.name);
    Err(Failure::new(FailureClass::Permanent, operation, message))
}

/// Reads back templates that the cluster no longer remembers: those that are `wanted`, and for each workload that of the
/// newest good release. Asks nothing where the cluster remembers them.
pub async fn read_back(
    world: &World,
    inventory: &mut Inventory,
    wanted_too: impl Fn(&Target, &Released) -> bool,
) {
    let mut wanted: Vec<(Target, usize)> = Vec::new();
    for (target, workload) in &inventory.workloads {
        let known: BTreeSet<&TemplateHash> =
            workload.revisions.iter().map(|revision| &revision.hash).collect();
        let live = workload.template.hash();
        let good = workload
            .released
            .iter()
            .position(|released| released.standing.is_good());
        let is_wanted = |place: usize, released: &Released| {
            let is_away = released.template != live && !known.contains(&released.template);
            is_away && (Some(place) == good || wanted_too(target, released))
        };
        let places = workload.released.iter().enumerate();
        let places = places.filter(|(place, released)| is_wanted(*place, released));
        wanted.extend(places.map(|(place, _)| (target.clone(), place)));
    }
    let reads = wanted.iter().filter_map(|(target, place)| {
        let released = inventory.workloads.get(target)?.released.get(*place)?;
        Some(async move { world.vault.get(&released.content).await })
    });
    let read = join_all(reads).await;
    for ((target, place), content) in wanted.iter().zip(read) {
        let Some(workload) = inventory.workloads.get_mut(target) else {
            continue;
        };
        let Some(released) = workload.released.get_mut(*place) else {
            continue;
        };
        released.kept = Some(match content {
            Ok(bytes) => revision(target, released, &bytes),
            Err(failure) => Known::Unknown(failure.to_string()),
        });
    }
}

/// A template of the vault as a revision that no object keeps.
fn revision(target: &Target, released: &Released, bytes: &[u8]) -> Known<Revision> {
    let Ok(json) = serde_json::from_slice(bytes) else {
        return Known::Unknown(format!("the content {} is no JSON", released.content.name));
    };
    let template = Template::clean(json);
    let hash = template.hash();
    if hash != released.template {
        return Known::Unknown(format!(
            "the content {} has hash {hash} instead of {}",
            released.content.name, released.template
        ));
    }
    Known::Is(Revision {
        number: 0,
        former_numbers: Vec::new(),
        kind: RevisionKind::of(target.kind),
        name: released.content.name.clone(),
        uid: Uid(String::new()),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        template,
        hash,
        change_cause: None,
        marks: BTreeMap::new(),
        pods: 0,
        ready: 0,
        serving_since: None,
    })
}

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
    let (inventory, config, shelf) = (inventory?, config?, shelf?);
    right_cluster(platform, inventory.cluster.identity.uid())?;
    if shelf.find(&recording.name).is_some() {
        return Err(LedgerError::Exists {
            name: recording.name.clone(),
        });
    }
    let targets = survey::scope(platform, &inventory);
    if targets.is_empty() {
        let namespace = namespace.clone();
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
        .map(|(object, consumers)| configured(world, &shelf, object, consumers));
    let workloads = workloads.iter().map(|workload| released(world, &shelf, workload));
    let (workloads, config) = futures::try_join!(try_join_all(workloads), try_join_all(config))?;
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
        namespace: namespace.clone(),
        commit: recording.commit.clone(),
        by,
        at,
        standing,
        health: None,
        restarts: restarts(&targets, &inventory),
        workloads,
        config,
        helm: Vec::new(),
        schemas: Vec::new(),
        stack_commit: None,
    };
    release.health = Some(astern_plan::health(&release, &inventory, platform));
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
    prune(world, &shelf, &release).await;
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
fn consumed(workloads: &[&Workload], config: Vec<ConfigObject>) -> Vec<(ConfigObject, Vec<Consumer>)> {
    let mut by_name: BTreeMap<ConfigName, Vec<Consumer>> = BTreeMap::new();
    for workload in workloads {
        for (name, uses) in astern_plan::consumers(&workload.template, &workload.annotations) {
            by_name.entry(name).or_default().push(Consumer {
                target: workload.target.clone(),
                uses,
            });
        }
    }
    let mut consumed: Vec<(ConfigObject, Vec<Consumer>)> = config
        .into_iter()
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
    let earlier = shelf.held.iter().flat_map(|held| &held.release.config);
    let same = |earlier: &&ReleasedConfig| {
        earlier.name == object.name && earlier.uid == object.uid && earlier.version == object.version
    };
    let content = match earlier.into_iter().find(same) {
        Some(earlier) => earlier.content.clone(),
        None => keep(world, object.name.kind.singular(), &object.json).await?,
    };
    Ok(ReleasedConfig {
        name: object.name.clone(),
        uid: object.uid.clone(),
        version: object.version.clone(),
        immutable: object.is_immutable(),
        keys: object.keys(),
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

fn right_cluster(platform: &Platform, found: &Uid) -> Result<(), LedgerError> {
    match &platform.cluster_uid {
        Some(expected) if expected != found => Err(LedgerError::WrongCluster {
            expected: expected.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

/// Somebody's word on a release: good, or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It may be gone back to.
    Good,
    /// It must not be, nor be deployed again.
    Bad,
}

/// Takes somebody's word on a release.
///
/// # Errors
/// [`LedgerError`]; nothing was changed.
pub async fn mark(
    world: &World,
    platform: &Platform,
    name: &ReleaseName,
    mark: Mark,
    reason: &Reason,
    by: Option<&str>,
) -> Result<Release, LedgerError> {
    let cluster = world.look.identify(&platform.namespace).await?;
    right_cluster(platform, cluster.identity.uid())?;
    let word = Word {
        reason: reason.clone(),
        by: by.unwrap_or(&cluster.user).to_owned(),
        at: world.clock.now(),
    };
    let standing = match mark {
        Mark::Good => Standing::Good(word),
        Mark::Bad => Standing::Bad(word),
    };
    // A word is about the release, not about what was believed of it: whoever wrote meanwhile does not change it.
    for _ in 0..TRIES {
        let Some(entry) = world.ledger.read(name).await? else {
            let known = open(world).await?.names();
            let name = name.clone();
            return Err(LedgerError::Unknown { name, known });
        };
        let mut release = unseal(&entry)?;
        release.standing = standing.clone();
        match write(world, &release, &entry.version).await {
            Ok(_) => return Ok(release),
            Err(WriteError::Conflict | WriteError::Exists) => {}
            Err(WriteError::Store(failure)) => return Err(failure.into()),
        }
    }
    Err(LedgerError::Conflict { name: name.clone() })
}

/// A few writers of one entry at the same time are many.
const TRIES: usize = 4;

async fn write(world: &World, release: &Release, version: &Version) -> Result<Version, WriteError> {
    let bytes = envelope::seal(release);
    world
        .ledger
        .replace(&release.name, version, release.standing.word(), &bytes)
        .await
}

/// Judges the candidates by what is seen now, and the good ones by what runs took back; writes down what that shows. Logs
/// and probes are asked only where nothing else is missing. What could not be written is told, and what stays open has its
/// reason.
pub async fn settle(
    world: &World,
    platform: &Platform,
    shelf: &mut Shelf,
    inventory: &Inventory,
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
        if let Some(reason) = astern_plan::taken_back(&held.release, &past.rolled_back, &is_live) {
            let mut release = held.release.clone();
            release.standing = Standing::Bad(judges(reason, now));
            shelf.unread.extend(rewrite(world, held, release).await);
        }
    }
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
    let past = crate::history::look_back(world, &platform.namespace).await?;
    condemn(world, &mut shelf, &past, |_| false).await;
    Ok(())
}

/// The ledger beside what runs, with its candidates judged.
#[derive(Debug)]
pub struct Survey {
    /// What runs, with what the releases hold of it.
    pub inventory: Inventory,
    /// The ledger.
    pub shelf: Shelf,
    /// Why each candidate that is still one is one.
    pub open: BTreeMap<ReleaseName, String>,
}

/// Reads the ledger and what runs, side by side, and judges the candidates.
///
/// # Errors
/// The cluster's, when the inventory cannot be had.
pub async fn survey(world: &World, platform: &Platform) -> Result<Survey, Failure> {
    let (inventory, past, shelf) = futures::join!(
        world.look.inventory(&platform.namespace),
        crate::history::look_back(world, &platform.namespace),
        open_or_tell(world)
    );
    judged(world, platform, inventory?, past, shelf).await
}

async fn judged(
    world: &World,
    platform: &Platform,
    mut inventory: Inventory,
    past: Result<Past, Failure>,
    mut shelf: Shelf,
) -> Result<Survey, Failure> {
    // What the cluster remembers can be told without the journal; a run that took something back is then not known.
    let past = past.unwrap_or_else(|failure| {
        inventory
            .unread
            .push(format!("earlier runs are unknown: {failure}"));
        Past::default()
    });
    past.mark(&mut inventory);
    let open = settle(world, platform, &mut shelf, &inventory, &past).await;
    shelf.mark(&mut inventory);
    Ok(Survey {
        inventory,
        shelf,
        open,
    })
}

/// The ledger for whoever asks what may be deployed: candidates are judged first, while what they describe still runs.
///
/// # Errors
/// When the ledger cannot be listed: what must not be deployed is then not known.
pub async fn releases_for_check(world: &World, platform: &Platform) -> Result<Shelf, Failure> {
    let mut shelf = open(world).await?;
    if shelf
        .held
        .iter()
        .all(|held| held.release.standing.against().is_some())
    {
        return Ok(shelf);
    }
    let (inventory, past) = futures::join!(
        world.look.inventory(&platform.namespace),
        crate::history::look_back(world, &platform.namespace)
    );
    match (inventory, past) {
        (Ok(inventory), Ok(past)) => {
            settle(world, platform, &mut shelf, &inventory, &past).await;
        }
        (Err(failure), _) | (_, Err(failure)) => {
            shelf
                .unread
                .push(format!("candidates were not judged: {failure}"));
        }
    }
    Ok(shelf)
}

/// One line of `astern releases`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseLine {
    /// The release.
    pub release: ReleaseName,
    /// What is believed of it.
    pub standing: Standing,
    /// Who recorded it.
    pub by: String,
    /// When.
    pub at: jiff::Timestamp,
    /// How long ago.
    pub age: SignedDuration,
    /// The commit that it was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its workloads that ask for what it holds, of all.
    pub live: (usize, usize),
    /// Why a candidate is still one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

/// The lines of the ledger, newest first.
pub fn lines(survey: &Survey) -> Vec<ReleaseLine> {
    let now = survey.inventory.taken_at;
    let line = |held: &Held| {
        let release = &held.release;
        let is_live = |released: &&ReleasedWorkload| {
            let workload = survey.inventory.workloads.get(&released.target);
            workload.is_some_and(|workload| astern_plan::asks_for(workload, &released.template))
        };
        ReleaseLine {
            release: release.name.clone(),
            standing: release.standing.clone(),
            by: release.by.clone(),
            at: release.at,
            age: now.duration_since(release.at),
            commit: release.commit.clone(),
            live: (
                release.workloads.iter().filter(is_live).count(),
                release.workloads.len(),
            ),
            open: survey.open.get(&release.name).cloned(),
        }
    };
    survey.shelf.held.iter().map(line).collect()
}

/// On which releases a workload stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StandsOn {
    /// The workload.
    pub target: Target,
    /// The version that it asks for.
    pub version: String,
    /// The releases that hold the template that it asks for, newest first, each with what is believed of it.
    pub releases: Vec<(ReleaseName, Standing)>,
}

/// Which workload of the platform stands on which release.
pub fn stands_on(platform: &Platform, inventory: &Inventory) -> Vec<StandsOn> {
    let targets = survey::scope(platform, inventory);
    let workloads = targets
        .iter()
        .filter_map(|target| inventory.workloads.get(target));
    workloads
        .map(|workload| {
            let same = workload
                .released
                .iter()
                .filter(|released| astern_plan::asks_for(workload, &released.template));
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
