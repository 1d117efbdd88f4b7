//! What workloads asked for before by what their owner had deployed from Git, where neither the cluster nor the ledger nor Helm keeps it:
//! the commits of the owner's own history, the manifest there, and what the API server makes of its template. Reads, tries, and keeps in
//! the vault what a plan is to name; whose word counts is the planner's.

use crate::history::Past;
use crate::reconstruct::{Commit, of_deployment, same};
use crate::world::{Git, World};
use astern_model::content::ContentRef;
use astern_model::evidence::Known;
use astern_model::id::{StepId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::reconstruction::{Provenance, short};
use astern_model::source::{Deployments, FolderManifests, Manifest};
use astern_model::step::workload::Spec;
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::{Template, canonical};
use astern_model::workload::{Kept, Recalled, Revision};
use astern_plan::{deployed_while, looked_at, unrecalled, without_values};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Asks for what was deployed before of every workload that somebody deploys from Git, or with `lacking` of those of which nothing good is
/// known. Whether anything was heard.
pub(crate) async fn all(
    world: &World,
    platform: &Platform,
    inventory: &mut Inventory,
    past: &Past,
    lacking: bool,
) -> bool {
    let Some(git) = &world.git else {
        return false;
    };
    let wanted = unrecalled(inventory, &platform.policy, lacking);
    if wanted.is_empty() {
        return false;
    }
    let deployments = match git.origins.deployments(&wanted).await {
        Ok(deployments) => deployments,
        Err(failure) => {
            let why = format!("what their owners had deployed from Git could not be read: {failure}");
            inventory.unread.push(why);
            return false;
        }
    };
    let mut deployed = deployed(git, &deployments);
    read(world, git, &mut deployed).await;
    let mut heard = false;
    for (target, deployed) in of_target(deployed) {
        let recalled = recalled(world, inventory, &target, deployed).await;
        if let Some(workload) = inventory.workloads.get_mut(&target) {
            heard |= !recalled.is_empty();
            workload.recalled = recalled;
        }
    }
    past.mark(inventory);
    heard
}

/// Takes out of the vault again what a plan's steps go back to, of those that `ahead` names, where only a manifest of then had told it.
pub(crate) async fn of_plan(
    world: &World,
    inventory: &mut Inventory,
    plan: &Plan,
    ahead: impl Fn(&StepId) -> bool,
) {
    for step in plan.steps.iter().filter(|step| ahead(&step.id)) {
        let Some(Spec::WriteTemplate {
            target,
            to,
            kept: Some(content),
            ..
        }) = step.spec.workload()
        else {
            continue;
        };
        let mut changes = plan.changes.iter();
        let change = changes.find(|change| &change.target == target);
        let (Some(provenance), Some(workload)) = (
            change.and_then(|change| change.provenance.clone()),
            inventory.workloads.get_mut(target),
        ) else {
            continue;
        };
        if workload
            .all_revisions()
            .any(|revision| revision.hash == to.template)
        {
            continue;
        }
        let json = world.vault.get(content).await.ok();
        let json = json.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let template = json
            .map(Template::clean)
            .filter(|template| template.hash() == to.template);
        workload.recalled.extend(template.map(|template| Recalled {
            in_force: None,
            template: Known::Is(kept(target, content.clone(), template, Timestamp::UNIX_EPOCH)),
            provenance,
        }));
    }
}

/// One deployment of one workload.
struct Before<'a> {
    target: &'a Target,
    owner: &'a str,
    at: Timestamp,
    /// The commit that was deployed, and once it was read, the manifest there; or why that is not known, a clause.
    said: Result<(Commit<'a>, Option<Manifest>), String>,
}

impl Before<'_> {
    /// What a refusal says of a deployment that tells nothing.
    fn untold(&self, why: &str) -> String {
        match &self.said {
            Ok((commit, _)) => format!(
                "{} had deployed commit {}: {why}",
                self.owner,
                short(&commit.folder.commit)
            ),
            Err(_) => why.to_owned(),
        }
    }
}

/// The deployments that are looked at, each workload's oldest first.
fn deployed<'a>(git: &'a Git, deployments: &'a BTreeMap<Target, Deployments>) -> Vec<Before<'a>> {
    let of = |(target, deployments): (&'a Target, &'a Deployments)| {
        let owner = deployments.owner.as_str();
        looked_at(deployments).iter().map(move |one| Before {
            target,
            owner,
            at: one.at,
            said: of_deployment(git, target, owner, one).map(|commit| (commit, None)),
        })
    };
    deployments.iter().flat_map(of).collect()
}

/// Reads each folder at each commit once, and takes the workloads' manifests out of it.
async fn read(world: &World, git: &Git, deployed: &mut [Before<'_>]) {
    let mut commits: Vec<Commit<'_>> = Vec::new();
    for (commit, _) in deployed.iter().filter_map(|one| one.said.as_ref().ok()) {
        if !commits.iter().any(|other| same(other, commit)) {
            commits.push(commit.clone());
        }
    }
    let read = commits.iter().map(|commit| async move {
        let asked = git.sources.manifests(commit.source, commit.folder);
        (commit, git.within(world, commit.source, asked).await)
    });
    for (commit, said) in join_all(read).await {
        for one in deployed.iter_mut() {
            let Ok((own, manifest)) = &mut one.said else {
                continue;
            };
            if !same(own, commit) {
                continue;
            }
            match said
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|said| made(said, own, one.target))
            {
                Ok(found) => *manifest = Some(found),
                Err(why) => one.said = Err(one.untold(&why)),
            }
        }
    }
}

/// The manifest of a workload among those that a commit makes.
fn made(said: &FolderManifests, commit: &Commit<'_>, target: &Target) -> Result<Manifest, String> {
    if commit.folder.sets_templates {
        return Err("its own settings change what the files say of pods".to_owned());
    }
    let is_it = |manifest: &&Manifest| {
        WorkloadKind::parse(&manifest.kind.to_lowercase()) == Some(target.kind)
            && manifest.name == target.name
            && manifest
                .namespace
                .as_ref()
                .is_none_or(|namespace| namespace == &target.namespace)
    };
    let found: Vec<&Manifest> = said.objects.iter().filter(is_it).collect();
    match found.as_slice() {
        [only] => Ok((*only).clone()),
        [] if said.unread.is_empty() => Err("no file there makes it".to_owned()),
        [] => Err(format!(
            "no file there makes it that was read; not looked into: {}",
            said.unread.join("; ")
        )),
        _ => Err("several files there make it".to_owned()),
    }
}

fn of_target(deployed: Vec<Before<'_>>) -> BTreeMap<Target, Vec<Before<'_>>> {
    let mut of_target: BTreeMap<Target, Vec<Before<'_>>> = BTreeMap::new();
    for one in deployed {
        of_target.entry(one.target.clone()).or_default().push(one);
    }
    of_target
}

/// What a workload asked for at these deployments, the newest first, each template once and without those that something else keeps.
async fn recalled(
    world: &World,
    inventory: &Inventory,
    target: &Target,
    deployed: Vec<Before<'_>>,
) -> Vec<Recalled> {
    let Some(workload) = inventory.workloads.get(target) else {
        return Vec::new();
    };
    let mut tried: Vec<(Value, Result<Template, String>)> = Vec::new();
    let mut templates: Vec<Result<Template, String>> = Vec::new();
    for one in &deployed {
        let template = match &one.said {
            Ok((_, manifest)) => written(manifest.as_ref()).map_err(|why| one.untold(&why)),
            Err(why) => Err(why.clone()),
        };
        let template = match template {
            Ok(json) => match tried.iter().find(|(other, _)| *other == json) {
                Some((_, answer)) => answer.clone(),
                None => {
                    let answer = world.look.completed(target, &json).await.map_err(|failure| {
                        let message = without_values(&failure.message, [&json, workload.template.json()]);
                        one.untold(&message)
                    });
                    tried.push((json, answer.clone()));
                    answer
                }
            },
            Err(why) => Err(why),
        };
        templates.push(template);
    }
    let hashes: Vec<Option<TemplateHash>> = templates
        .iter()
        .map(|template| template.as_ref().ok().map(Template::hash))
        .collect();
    let times = deployed.iter().map(|one| one.at);
    let course: Vec<(Timestamp, Option<&TemplateHash>)> =
        times.zip(hashes.iter().map(Option::as_ref)).collect();
    let live = workload.template.hash();
    let is_kept = |hash: &TemplateHash| {
        *hash == live || workload.all_revisions().any(|revision| &revision.hash == hash)
    };
    let mut recalled: Vec<Recalled> = Vec::new();
    for (place, (one, template)) in deployed.iter().zip(templates).enumerate().rev() {
        let hash = hashes[place].as_ref();
        let is_told = |other: &Recalled| other.revision().map(|revision| &revision.hash) == hash;
        if hash.is_some_and(&is_kept) || hash.is_some() && recalled.iter().any(is_told) {
            continue;
        }
        let template = match template {
            Ok(template) => match world
                .vault
                .put("template", canonical(template.json()).as_bytes())
                .await
            {
                Ok(content) => Known::Is(kept(target, content, template, one.at)),
                Err(failure) => Known::Unknown(one.untold(&format!("it could not be kept: {failure}"))),
            },
            Err(why) => Known::Unknown(why),
        };
        recalled.push(Recalled {
            provenance: provenance(one),
            in_force: deployed_while(&course, place),
            template,
        });
    }
    recalled
}

/// The template as a manifest writes it.
fn written(manifest: Option<&Manifest>) -> Result<Value, String> {
    let manifest = manifest.ok_or("it was not read")?;
    let json = manifest.json.as_ref().map_err(Clone::clone)?;
    let template = json.pointer("/spec/template");
    template
        .cloned()
        .ok_or_else(|| format!("{} has no pod template of it", manifest.file))
}

fn provenance(one: &Before<'_>) -> Provenance {
    let (commit, file) = match &one.said {
        Ok((commit, manifest)) => (
            commit.folder.commit.clone(),
            manifest.as_ref().map(|manifest| manifest.file.clone()),
        ),
        Err(_) => (String::new(), None),
    };
    Provenance::Git {
        commit,
        file: file.unwrap_or_default(),
        owner: one.owner.to_owned(),
        at: one.at,
    }
}

fn kept(target: &Target, content: ContentRef, template: Template, at: Timestamp) -> Kept {
    let revision = Revision::kept_as(&content.name, target.kind, at, template);
    Kept { content, revision }
}
