//! What somebody asks for, as typed, and the names in it found among what there is.

use super::NoPlan;
use crate::ledger::Shelf;
use crate::survey;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::policy::{Acceptor, OnFailure};
use astern_model::release::ReleaseName;
use astern_model::target::{Target, WorkloadKind};
use astern_plan::{Request, Selector};
use std::collections::{BTreeMap, BTreeSet};

/// A workload as somebody typed it: `api-gateway` or `deployment/api-gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The kind, if it was typed.
    pub kind: Option<WorkloadKind>,
    /// The name.
    pub name: String,
}

impl Name {
    /// Reads `NAME` or `KIND/NAME`; none when the kind is not known or the name is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (Some(WorkloadKind::parse(kind)?), name),
            None => (None, text),
        };
        (!name.is_empty()).then(|| Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// What somebody asks for, as typed: names are found in the inventory later.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Only these; empty for the platform.
    pub only: Vec<Name>,
    /// Where workloads go.
    pub to: Vec<(Name, Selector)>,
    /// Which revision a Helm release goes back to, by its name.
    pub releases: BTreeMap<String, u64>,
    /// Whether workloads of Helm releases are written beside their releases.
    pub outside_helm: bool,
    /// Helm releases whose pending operation has no client any more, by somebody's word.
    pub abandoned: BTreeSet<String>,
    /// Whether everything that is written is stopped before.
    pub stop: bool,
    /// Whether ConfigMaps and Secrets keep what they hold.
    pub leave_config: bool,
    /// The release of the ledger onto which all its members go.
    pub release: Option<ReleaseName>,
    /// Rows of the matrix that are overridden.
    pub overrides: BTreeSet<String>,
    /// Who approves.
    pub acceptor: Acceptor,
    /// What a failure leads to, where it differs from the policy.
    pub on_failure: Option<OnFailure>,
}

impl Asked {
    /// All of the platform that needs it, with nothing said beforehand.
    pub fn everything(acceptor: Acceptor) -> Self {
        Self {
            only: Vec::new(),
            to: Vec::new(),
            releases: BTreeMap::new(),
            outside_helm: false,
            abandoned: BTreeSet::new(),
            stop: false,
            leave_config: false,
            release: None,
            overrides: BTreeSet::new(),
            acceptor,
            on_failure: None,
        }
    }
}

/// The request with its names found. The platform's members must exist too, unless only some of them are meant.
pub(super) fn request(
    asked: &Asked,
    platform: &Platform,
    inventory: &Inventory,
    shelf: &Shelf,
) -> Result<Request, NoPlan> {
    let lost: Vec<(String, Vec<String>)> = survey::missing(platform, inventory)
        .iter()
        .filter(|_| asked.only.is_empty())
        .map(|target| {
            (
                format!("{target} (named in astern.yaml)"),
                astern_plan::near(&target.name, inventory.workloads.keys()),
            )
        })
        .collect();
    if !lost.is_empty() {
        return Err(NoPlan::Unknown(lost));
    }
    let names: Vec<Name> = asked.to.iter().map(|(name, _)| name.clone()).collect();
    let mut to: BTreeMap<Target, Selector> = resolve(&names, inventory)?
        .into_iter()
        .zip(asked.to.iter().map(|(_, selector)| selector.clone()))
        .collect();
    let mut only = resolve(&asked.only, inventory)?;
    let mut gone = Vec::new();
    if let Some(name) = &asked.release {
        let (members, lost) = members_of(name, platform, inventory, shelf)?;
        gone.extend(lost.into_iter().map(|target| (name.clone(), target)));
        let meant = |target: &Target| only.is_empty() || only.contains(target);
        for target in members.into_iter().filter(meant) {
            to.entry(target)
                .or_insert_with(|| Selector::Release(name.clone()));
        }
        if only.is_empty() {
            only = to.keys().cloned().collect();
        }
    }
    Ok(Request {
        only,
        to,
        gone,
        releases: asked.releases.clone(),
        outside_helm: asked.outside_helm,
        abandoned: asked.abandoned.clone(),
        overrides: asked.overrides.clone(),
        acceptor: asked.acceptor,
        on_failure: asked.on_failure,
        accept_revert: BTreeSet::new(),
        stop: asked.stop,
        leave_config: asked.leave_config,
    })
}

/// The members of the platform that a release holds, and what it holds and the namespace does not. The plan says by itself of members
/// that astern.yaml names that they are not there.
fn members_of(
    name: &ReleaseName,
    platform: &Platform,
    inventory: &Inventory,
    shelf: &Shelf,
) -> Result<(Vec<Target>, Vec<Target>), NoPlan> {
    let Some(release) = shelf.find(name) else {
        return Err(NoPlan::UnknownRelease(name.clone(), shelf.names()));
    };
    if let Some(word) = release.standing.against() {
        return Err(NoPlan::BadRelease(name.clone(), word.clone()));
    }
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for released in &release.workloads {
        if inventory.workloads.contains_key(&released.target) {
            there.push(released.target.clone());
        } else if platform
            .members
            .iter()
            .all(|member| member.target != released.target)
        {
            gone.push(released.target.clone());
        }
    }
    let scope = survey::scope(platform, inventory);
    there.retain(|target| scope.contains(target));
    Ok((there, gone))
}

/// Finds typed names among the workloads, in the same order. A name without a kind must be one workload's alone.
///
/// # Errors
/// [`NoPlan::Unknown`] with the nearest names, or with all that the name could mean.
pub fn resolve(names: &[Name], inventory: &Inventory) -> Result<Vec<Target>, NoPlan> {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for name in names {
        let fits =
            |target: &&Target| target.name == name.name && name.kind.is_none_or(|kind| kind == target.kind);
        let fitting: Vec<&Target> = inventory.workloads.keys().filter(fits).collect();
        match fitting.as_slice() {
            [only] => found.push((*only).clone()),
            [] => lost.push((
                name.name.clone(),
                astern_plan::near(&name.name, inventory.workloads.keys()),
            )),
            several => lost.push((
                name.name.clone(),
                several.iter().map(ToString::to_string).collect(),
            )),
        }
    }
    if lost.is_empty() {
        Ok(found)
    } else {
        Err(NoPlan::Unknown(lost))
    }
}
