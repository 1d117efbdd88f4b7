//! What ConfigMaps and Secrets held where no ledger says it: every source is asked, and of their words the one is taken that is
//! trusted most. Reads, and keeps in the vault what a plan is to name; whose word counts is the planner's.

mod helm;

use crate::config;
use crate::world::{Git, World};
use crate::writeback::named;
use astern_model::config::{ConfigKind, ConfigName, content};
use astern_model::hashed;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::reconstruction::{
    Period, Provenance, Rebuilt, Reconstruction, Sought, Trust, Untold, short,
};
use astern_model::source::{Deployed, Deployments, Folder, Source, same_repository};
use astern_model::target::Target;
use astern_model::workload::OwnerKind;
use astern_port::Failure;
use astern_port::config::ConfigObject;
use astern_port::source::{FolderContents, Told};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The annotation in which client-side apply keeps the manifest that it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was heard of one object.
#[derive(Default)]
struct Heard {
    told: Vec<(Provenance, Value)>,
    /// Why others told nothing: how far each would have been trusted, and a clause.
    silent: Vec<(Trust, String)>,
}

impl Heard {
    /// A source of this trust tells nothing.
    fn nothing(&mut self, trust: Trust, why: String) {
        if !self.silent.iter().any(|(_, other)| other == &why) {
            self.silent.push((trust, why));
        }
    }

    /// Sources of this trust that contradict each other tell nothing.
    fn agree(&mut self, trust: Trust) {
        let differs = |pair: &[(Provenance, Value)]| content(&pair[0].1) != content(&pair[1].1);
        if self.told.windows(2).any(differs) {
            let said: Vec<String> = self.told.drain(..).map(|(said, _)| said.phrase()).collect();
            self.nothing(trust, format!("these contradict each other: {}", said.join("; ")));
        }
    }

    /// Why those told nothing that are trusted as far as `than` or further, or all.
    fn silence(self, than: Option<Trust>) -> Vec<String> {
        let silent = self.silent.into_iter();
        let meant = silent.filter(|(trust, _)| than.is_none_or(|than| *trust <= than));
        meant.map(|(_, why)| why).collect()
    }
}

/// Asks for what the plan's templates read, as it was when they were the newest.
pub(crate) async fn of_plan(world: &World, platform: &Platform, inventory: &mut Inventory, draft: &Plan) {
    let Some(git) = &world.git else {
        return;
    };
    let mut sought = astern_plan::sought(draft, inventory, platform);
    if sought.is_empty() {
        return;
    }
    let readers = deployed_readers(&sought, inventory);
    let (objects, deployments) =
        futures::join!(world.config.all(&inventory.namespace), deployments(git, &readers));
    let objects = match objects {
        Ok(objects) => objects,
        Err(failure) => {
            inventory.unread.push(format!(
                "ConfigMaps and Secrets could not be read, so they are left as they are: {failure}"
            ));
            return;
        }
    };
    let live: BTreeMap<&ConfigName, &ConfigObject> =
        objects.iter().map(|object| (&object.name, object)).collect();
    sought.retain(|sought| !helm::carries(draft, inventory, sought, live.get(&sought.name).copied()));
    let by_name = |name: &ConfigName| {
        let object = live.get(name).copied()?;
        (name.kind == ConfigKind::ConfigMap && hashed::is_of(&name.name, &object.json)).then_some(object)
    };
    let open: Vec<&Sought> = sought
        .iter()
        .filter(|sought| by_name(&sought.name).is_none())
        .collect();
    let mut heard = helm::heard(world, platform, inventory, &open, &live).await;
    // Nobody is asked whose word would not count.
    let open: Vec<&Sought> = open
        .into_iter()
        .filter(|sought| {
            let heard = heard.get(&sought.name);
            heard.is_none_or(|heard| heard.told.is_empty())
        })
        .collect();
    match deployments {
        Ok(deployments) => from_git(world, git, inventory, &deployments, &open, &mut heard).await,
        Err(failure) => {
            let why = format!("what its owner has deployed could not be read: {failure}");
            let maps = open
                .iter()
                .filter(|sought| sought.name.kind == ConfigKind::ConfigMap);
            for sought in maps {
                let heard = heard.entry(sought.name.clone()).or_default();
                heard.nothing(Trust::DeployedCommit, why.clone());
            }
        }
    }
    let mut known = Reconstruction::default();
    for sought in sought {
        let now = live.get(&sought.name).copied();
        if by_name(&sought.name).is_some() {
            known.same.push((sought.name, Provenance::Named));
            continue;
        }
        let mut heard = heard.remove(&sought.name).unwrap_or_default();
        if let Some(now) = now {
            last_applied(now, &sought, &mut heard);
        }
        settle(world, inventory, &mut known, sought, now, heard).await;
    }
    inventory.config.reconstruction = Some(known);
}

/// Sets the most trusted word beside what stands.
async fn settle(
    world: &World,
    inventory: &mut Inventory,
    known: &mut Reconstruction,
    sought: Sought,
    now: Option<&ConfigObject>,
    mut heard: Heard,
) {
    let Sought {
        name,
        readers,
        period,
    } = sought;
    let word = astern_plan::most_trusted(std::mem::take(&mut heard.told));
    let (Some((provenance, then)), Ok(period)) = (word, period) else {
        let why = heard.silence(None);
        known
            .untold
            .extend((!why.is_empty()).then_some(Untold { name, why }));
        return;
    };
    match config::differing(world, &name, now, &then).await {
        Ok(None) => known.same.push((name, provenance)),
        Ok(Some((live, held))) => {
            if let Some((live, owners)) = live {
                inventory.config.live.push(live);
                inventory.see(owners);
            }
            known.rebuilt.push(Rebuilt {
                held,
                readers: readers.into_iter().collect(),
                until: period.until,
                unasked: heard.silence(Some(provenance.trust())),
                provenance,
            });
        }
        Err(failure) => {
            let why = format!(
                "{} says it, and that could not be compared and kept: {failure}",
                provenance.phrase()
            );
            known.untold.push(Untold { name, why: vec![why] });
        }
    }
}

/// What was applied last, where somebody has changed it since.
fn last_applied(now: &ConfigObject, sought: &Sought, heard: &mut Heard) {
    let annotations = now.json.pointer("/metadata/annotations");
    let text = annotations.and_then(|annotations| annotations.get(LAST_APPLIED)?.as_str());
    let applied: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    // What stands in `stringData` is held encoded, and cannot be set beside it as it is.
    let plain = |applied: &Value| applied.get("stringData").is_none();
    let Some(mut applied) = applied.filter(plain) else {
        return;
    };
    if now.name.kind == ConfigKind::Secret {
        applied["type"] = now.json["type"].clone();
    }
    if content(&applied) == content(&now.json) {
        return;
    }
    let by = now
        .managed
        .iter()
        .filter_map(applied_by)
        .max_by_key(|(_, at)| *at);
    let (Some((manager, at)), Ok(period)) = (by, &sought.period) else {
        let why = sought.period.as_ref().err().cloned();
        let why = why.unwrap_or_else(|| {
            "somebody has changed it since it was applied last, and when that was is not known".to_owned()
        });
        heard.nothing(Trust::LastApplied, why);
        return;
    };
    let changed = now.manager.as_ref().and_then(|manager| manager.at);
    match astern_plan::applied_in(at, changed, period) {
        Ok(()) => heard
            .told
            .push((Provenance::LastApplied { manager, at }, applied)),
        Err(why) => heard.nothing(Trust::LastApplied, why),
    }
}

/// The manager that wrote the annotation, and when it wrote last.
fn applied_by(entry: &Value) -> Option<(String, Timestamp)> {
    let fields = entry.get("fieldsV1")?;
    let annotations = fields.get("f:metadata")?.get("f:annotations")?;
    annotations.get(format!("f:{LAST_APPLIED}"))?;
    let manager = entry.get("manager")?.as_str()?.to_owned();
    Some((manager, entry.get("time")?.as_str()?.parse().ok()?))
}

/// A folder at a commit that was deployed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    pub(crate) source: &'a Source,
    pub(crate) folder: &'a Folder,
    pub(crate) owner: &'a str,
    pub(crate) at: Timestamp,
}

/// The readers that somebody deploys from Git.
fn deployed_readers(sought: &[Sought], inventory: &Inventory) -> Vec<Target> {
    let readers: BTreeSet<&Target> = sought.iter().flat_map(|sought| sought.readers.keys()).collect();
    let deployed = |target: &&Target| {
        let owners = inventory.workloads.get(*target).map(|workload| &workload.owners);
        owners
            .into_iter()
            .flatten()
            .any(|owner| matches!(owner.kind, OwnerKind::ArgoCd | OwnerKind::Flux))
    };
    readers.into_iter().filter(deployed).cloned().collect()
}

/// Where nobody deploys, nobody is asked.
async fn deployments(git: &Git, readers: &[Target]) -> Result<BTreeMap<Target, Deployments>, Failure> {
    if readers.is_empty() {
        return Ok(BTreeMap::new());
    }
    git.origins.deployments(readers).await
}

/// What the commits say that were deployed then. Secrets are not asked for: no value of theirs comes out of Git.
async fn from_git(
    world: &World,
    git: &Git,
    inventory: &Inventory,
    deployments: &BTreeMap<Target, Deployments>,
    sought: &[&Sought],
    heard: &mut BTreeMap<ConfigName, Heard>,
) {
    let sought: Vec<&Sought> = sought
        .iter()
        .copied()
        .filter(|sought| sought.name.kind == ConfigKind::ConfigMap)
        .collect();
    let commits = commits(git, deployments, &sought, heard);
    let read = commits.iter().map(|(commit, names)| async move {
        (
            commit,
            names,
            contents(world, git, commit, &inventory.namespace, names).await,
        )
    });
    for (commit, names, said) in join_all(read).await {
        let meant = sought.iter().filter(|sought| names.contains(&sought.name.name));
        for sought in meant {
            let word = match &said {
                Ok(said) => word(commit, said, sought, inventory),
                Err(why) => Err(why.clone()),
            };
            let name = sought.name.clone();
            hear(heard.entry(name).or_default(), commit, word);
        }
    }
    for sought in sought {
        if let Some(heard) = heard.get_mut(&sought.name) {
            heard.agree(Trust::DeployedCommit);
        }
    }
}

/// The commits that are to be read, each once, with the names that are looked for there; and what is not known of others.
fn commits<'a>(
    git: &'a Git,
    deployments: &'a BTreeMap<Target, Deployments>,
    sought: &[&Sought],
    heard: &mut BTreeMap<ConfigName, Heard>,
) -> Vec<(Commit<'a>, BTreeSet<String>)> {
    let mut commits: Vec<(Commit<'_>, BTreeSet<String>)> = Vec::new();
    for sought in sought {
        for commit in commits_of(git, sought, deployments) {
            let commit = match commit {
                Ok(commit) => commit,
                Err(why) => {
                    let heard = heard.entry(sought.name.clone()).or_default();
                    heard.nothing(Trust::DeployedCommit, why);
                    continue;
                }
            };
            let name = sought.name.name.clone();
            match commits.iter_mut().find(|(other, _)| same(other, &commit)) {
                Some((_, names)) => drop(names.insert(name)),
                None => commits.push((commit, BTreeSet::from([name]))),
            }
        }
    }
    commits
}

/// Whether both are the same folder of the same repository at the same commit.
pub(crate) fn same(one: &Commit<'_>, other: &Commit<'_>) -> bool {
    one.source == other.source
        && (&one.folder.commit, &one.folder.path, one.folder.reach)
            == (&other.folder.commit, &other.folder.path, other.folder.reach)
}

/// What a commit says of an object, if it is the commit of these readers' versions at all.
fn word(
    commit: &Commit<'_>,
    said: &FolderContents,
    sought: &Sought,
    inventory: &Inventory,
) -> Result<Told, String> {
    let checked = !commit.folder.sets_templates;
    let other = checked.then(|| astern_plan::other_image(&said.images, &sought.readers, inventory));
    let told = match (other.flatten(), said.config.get(&sought.name.name)) {
        (Some(other), _) => Err(other),
        (None, Some(told)) => told.clone(),
        (None, None) => Err("no file there makes it".to_owned()),
    };
    told.map_err(|why| format!("Git commit {}: {why}", short(&commit.folder.commit)))
}

/// Takes in what one commit says.
fn hear(heard: &mut Heard, commit: &Commit<'_>, word: Result<Told, String>) {
    match word {
        Err(why) => heard.nothing(Trust::DeployedCommit, why),
        Ok(told) => {
            let provenance = Provenance::Git {
                commit: commit.folder.commit.clone(),
                file: told.file,
                owner: commit.owner.to_owned(),
                at: commit.at,
            };
            heard.told.push((provenance, told.json));
        }
    }
}

/// The commit from which each reader was deployed then, or why it is not known.
fn commits_of<'a>(
    git: &'a Git,
    sought: &Sought,
    deployments: &'a BTreeMap<Target, Deployments>,
) -> Vec<Result<Commit<'a>, String>> {
    let owned: Vec<(&Target, &Deployments)> = sought
        .readers
        .keys()
        .filter_map(|reader| Some((reader, deployments.get(reader)?)))
        .collect();
    let period = match &sought.period {
        Ok(period) => period,
        Err(_) if owned.is_empty() => return Vec::new(),
        Err(why) => return vec![Err(why.clone())],
    };
    owned
        .into_iter()
        .map(|(reader, deployments)| commit(git, reader, deployments, period))
        .collect()
}

fn commit<'a>(
    git: &'a Git,
    reader: &Target,
    deployments: &'a Deployments,
    period: &Period,
) -> Result<Commit<'a>, String> {
    let deployed = astern_plan::deployed_in(deployments, period)?;
    of_deployment(git, reader, &deployments.owner, deployed)
}

/// The commit of one deployment of a workload, and where it is read.
///
/// # Errors
/// No commit of Git tells it, or its repository is none that astern.yaml names; a clause.
pub(crate) fn of_deployment<'a>(
    git: &'a Git,
    reader: &Target,
    owner: &'a str,
    deployed: &'a Deployed,
) -> Result<Commit<'a>, String> {
    let source = named(&git.named, reader).map_err(|error| error.to_string())?;
    let Some(source) = source else {
        let from = deployed.from.iter().filter_map(|part| part.as_ref().ok());
        let named = |folder: &Folder| match folder.repository.as_str() {
            "" => format!("commit {}", short(&folder.commit)),
            repository => format!("commit {} of {repository}", short(&folder.commit)),
        };
        let from: Vec<String> = from.map(named).collect();
        return Err(format!(
            "{owner} had deployed {}; a repository is read only where `sources` in astern.yaml names it for {reader}",
            if from.is_empty() {
                "what is no commit of Git".to_owned()
            } else {
                from.join(", ")
            }
        ));
    };
    Ok(Commit {
        source,
        folder: part(deployed, source).map_err(|why| format!("{owner} had deployed {why}"))?,
        owner,
        at: deployed.at,
    })
}

/// The part of a deployment that comes from this repository. A commit names its content, wherever it is read: the address
/// matters only where several were deployed at once.
fn part<'a>(deployed: &'a Deployed, source: &Source) -> Result<&'a Folder, String> {
    if let [only] = deployed.from.as_slice() {
        return only.as_ref().map_err(Clone::clone);
    }
    let parts = deployed.from.iter().filter_map(|part| part.as_ref().ok());
    let here: Vec<&Folder> = parts
        .filter(|folder| same_repository(&folder.repository, &source.repository))
        .collect();
    match here.as_slice() {
        [only] => Ok(only),
        [] => Err(format!("nothing from {}", source.repository)),
        _ => Err(format!("several folders of {}", source.repository)),
    }
}

async fn contents(
    world: &World,
    git: &Git,
    commit: &Commit<'_>,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Result<FolderContents, String> {
    let asked = git
        .sources
        .contents(commit.source, commit.folder, namespace, names);
    git.within(world, commit.source, asked).await
}
