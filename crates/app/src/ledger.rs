//! The ledger: reading what was recorded, and somebody's word on a release.

mod judging;
mod recording;
mod standing;

pub(crate) use judging::contents;
pub use judging::{learn, quarantined_content, settle};
pub use recording::{Recording, record};
pub(crate) use recording::{Sight, consumed, record_sight};
pub use standing::{ButFor, StandsOn, stands_on};

use crate::history::Past;
use crate::world::World;
use astern_model::config::ConfigName;
use astern_model::evidence::Known;
use astern_model::id::{TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::release::{Reason, Release, ReleaseName, ReleasedWorkload, Standing, Word};
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::{Released, Revision};
use astern_plan::ImagesTakenBack;
use astern_port::config::ConfigObject;
use astern_port::ledger::{Entry, Version, WriteError};
use astern_port::{Failure, FailureClass};
use astern_wire::envelope;
use futures::future::join_all;
use jiff::SignedDuration;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
    let name = &released.content.name;
    Known::Is(Revision::kept_as(
        name,
        target.kind,
        jiff::Timestamp::UNIX_EPOCH,
        template,
    ))
}

pub(crate) fn right_cluster(platform: &Platform, found: &Uid) -> Result<(), LedgerError> {
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

/// The ledger beside what runs, with its candidates judged.
#[derive(Debug)]
pub struct Survey {
    /// What runs, with what the releases hold of it.
    pub inventory: Inventory,
    /// The ledger.
    pub shelf: Shelf,
    /// Why each candidate that is still one is one.
    pub open: BTreeMap<ReleaseName, String>,
    otherwise: standing::ReadsOtherwise,
}

impl Survey {
    /// What a workload reads that holds something else now than it did in a release; none where it reads the same.
    fn reads_otherwise(&self, release: &ReleaseName, target: &Target) -> Option<&BTreeSet<ConfigName>> {
        self.otherwise.get(release)?.get(target)
    }
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
    let config = read_config(world, &inventory.namespace, &shelf).await;
    let config = config.unwrap_or_else(|failure| {
        inventory.unread.push(format!(
            "what ConfigMaps and Secrets hold now is unknown, so templates alone say who stands on which release: {failure}"
        ));
        None
    });
    let open = settle(world, platform, &mut shelf, &inventory, config.as_deref(), &past).await;
    shelf.mark(&mut inventory);
    let otherwise = match &config {
        Some(objects) => {
            standing::read_otherwise(world, shelf.held.iter().map(|held| &held.release), objects).await
        }
        None => Ok(BTreeMap::new()),
    };
    let otherwise = otherwise.unwrap_or_else(|failure| {
        inventory.unread.push(format!(
            "what ConfigMaps and Secrets hold now cannot be compared, so templates alone say who stands on which release: {failure}"
        ));
        BTreeMap::new()
    });
    Ok(Survey {
        inventory,
        shelf,
        open,
        otherwise,
    })
}

/// A namespace's ConfigMaps and Secrets, where a release holds some; asks nothing where none does.
async fn read_config(
    world: &World,
    namespace: &str,
    shelf: &Shelf,
) -> Result<Option<Vec<ConfigObject>>, Failure> {
    if shelf.held.iter().all(|held| held.release.config.is_empty()) {
        return Ok(None);
    }
    world.config.all(namespace).await.map(Some)
}

/// What speaks against what may be deployed: the ledger, its candidates judged while what they describe still runs, and the images
/// that runs have taken back.
///
/// # Errors
/// When the ledger cannot be listed: what must not be deployed is then not known.
pub async fn against_deploying(
    world: &World,
    platform: &Platform,
) -> Result<(Shelf, ImagesTakenBack), Failure> {
    let (shelf, inventory, past) = futures::join!(
        open(world),
        world.look.inventory(&platform.namespace),
        crate::history::look_back(world, &platform.namespace)
    );
    let mut shelf = shelf?;
    match (inventory, past) {
        (Ok(inventory), Ok(past)) => {
            settle(world, platform, &mut shelf, &inventory, None, &past).await;
            Ok((shelf, taken_back(&past, &inventory)))
        }
        (Err(failure), _) | (_, Err(failure)) => {
            shelf.unread.push(format!(
                "candidates were not judged, and what runs took back is not known: {failure}"
            ));
            Ok((shelf, ImagesTakenBack::new()))
        }
    }
}

/// The images that runs took back and that no workload asks for now.
fn taken_back(past: &Past, inventory: &Inventory) -> ImagesTakenBack {
    let asked_for: BTreeSet<String> = inventory
        .workloads
        .values()
        .flat_map(|workload| workload.template.images())
        .map(|image| image.reference)
        .collect();
    let replaced = past.replaced_images.iter();
    let gone = replaced.filter(|(image, _)| !asked_for.contains(*image));
    gone.filter_map(|(image, replaced)| Some((image.clone(), replaced.word()?)))
        .collect()
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
    /// Its workloads that ask for what it holds and read what they read in it, of all.
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
                && survey.reads_otherwise(&release.name, &released.target).is_none()
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
