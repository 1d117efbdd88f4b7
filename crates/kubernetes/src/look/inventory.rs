//! One round of reads made into an inventory. Owns the joining; `second` says what a further round must ask, and
//! `assemble` is a function of what was read and the time.

use super::facts::facts;
use super::owners::{Mark, Marked, marks, owner};
use super::pods::{doubtful_node, is_finished, pod};
use super::revisions::{Kept, Remembered, count, revision_of};
use super::round::Round;
use super::warnings::Warnings;
use super::workload::{autoscaler, target, workload};
use astern_model::inventory::{Inventory, Quota};
use astern_model::workload::{OwnerState, Pod};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::{BTreeMap, BTreeSet};

/// What only a second round can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Second {
    /// Owners whose own objects are to be read.
    pub(super) owners: BTreeSet<Mark>,
    /// Nodes that may not answer.
    pub(super) nodes: BTreeSet<String>,
}

/// What a second round told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// What the owners' objects say.
    pub(super) owners: BTreeMap<Mark, OwnerState>,
    /// Nodes that do not answer.
    pub(super) lost: BTreeSet<String>,
    /// What could not be read, as sentences.
    pub(super) unread: Vec<String>,
}

/// What must be asked further. Empty in a namespace without owners and without doubtful nodes.
pub(super) fn second(round: &Round, namespace: &str, now: Timestamp) -> Second {
    let all = round.workloads.iter().flat_map(|object| marks(object, namespace)).map(|marked| marked.mark);
    Second {
        owners: all.filter(|mark| !matches!(mark, Mark::Controller { .. })).collect(),
        nodes: round.pods.iter().filter_map(|pod| doubtful_node(pod, now)).map(str::to_owned).collect(),
    }
}

/// The inventory.
pub(super) fn assemble(round: &Round, told: &Told, namespace: &str, now: Timestamp) -> Inventory {
    let kept = Kept::new(&round.replica_sets, &round.controller_revisions, &round.pods);
    let warnings = Warnings::new(&round.warnings);
    let mut workloads = BTreeMap::new();
    let mut evidence = Vec::new();
    for object in &round.workloads {
        let target = target(object, namespace);
        let mut revisions = kept.revisions(object);
        let pods: Vec<Pod> = kept
            .pods(target.kind, &target.name)
            .iter()
            .filter(|api| !is_finished(api))
            .map(|api| {
                let revision = revision_of(&api.metadata, &target.name, &revisions);
                pod(api, revision, &told.lost, &warnings, now)
            })
            .collect();
        count(&mut revisions, &pods);
        let mut read = workload(object, namespace, Remembered { revisions, pods });
        read.autoscaler = autoscaler(&target, &round.autoscalers);
        read.owners = owners(&marks(object, namespace), &told.owners);
        evidence.extend(facts(&read, &warnings, now));
        workloads.insert(target, read);
    }
    Inventory {
        cluster: round.cluster.clone(),
        namespace: namespace.to_owned(),
        taken_at: now,
        workloads,
        evidence,
        quotas: quotas(&round.quotas),
        cordoned_nodes: sorted(round.cordoned.clone()),
        unread: round.unread.iter().chain(&told.unread).cloned().collect(),
    }
}

fn owners(marks: &[Marked], states: &BTreeMap<Mark, OwnerState>) -> Vec<astern_model::workload::Owner> {
    marks.iter().map(|marked| owner(marked, states)).collect()
}

fn quotas(all: &[ResourceQuota]) -> Vec<Quota> {
    let texts = |map: Option<&BTreeMap<String, Quantity>>| {
        map.into_iter().flatten().map(|(name, quantity)| (name.clone(), quantity.0.clone())).collect()
    };
    let mut quotas: Vec<Quota> = all
        .iter()
        .map(|quota| Quota {
            name: quota.metadata.name.clone().unwrap_or_default(),
            hard: texts(quota.status.as_ref().and_then(|status| status.hard.as_ref())),
            used: texts(quota.status.as_ref().and_then(|status| status.used.as_ref())),
        })
        .collect();
    quotas.sort_by(|a, b| a.name.cmp(&b.name));
    quotas
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
