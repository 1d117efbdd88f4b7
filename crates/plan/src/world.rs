//! The inventory, indexed once: each workload with its live hash, its pods and its evidence in a fixed order. Owns
//! the order that makes plans byte-equal; draws no conclusion.

use astern_model::choice::RevisionRef;
use astern_model::evidence::Evidence;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::platform::{Member, Platform};
use astern_model::target::Target;
use astern_model::template::{RESTARTED_AT, Template};
use astern_model::workload::{Foretold, Pod, Recalled, Revision, Workload};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// An inventory and a platform, ready to be looked things up in.
pub(crate) struct World<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) platform: &'a Platform,
    pub(crate) views: BTreeMap<&'a Target, View<'a>>,
    pub(crate) members: BTreeMap<&'a Target, &'a Member>,
}

impl<'a> World<'a> {
    /// Indexes everything: linear in workloads and evidence, but for sorting.
    pub(crate) fn new(inventory: &'a Inventory, platform: &'a Platform) -> Self {
        let mut evidence = by_subject(inventory);
        let views = inventory
            .workloads
            .iter()
            .map(|(target, workload)| {
                (
                    target,
                    View::new(workload, evidence.remove(target).unwrap_or_default()),
                )
            })
            .collect();
        let members = platform
            .members
            .iter()
            .map(|member| (&member.target, member))
            .collect();
        Self {
            inventory,
            platform,
            views,
            members,
        }
    }

    /// The workloads of the platform that exist: its members, or all of the namespace when it names none.
    pub(crate) fn platform_targets(&self) -> BTreeSet<&'a Target> {
        let is_member = |target: &Target| self.members.is_empty() || self.members.contains_key(target);
        self.views
            .keys()
            .copied()
            .filter(|target| is_member(target))
            .collect()
    }

    /// When everything was read.
    pub(crate) fn taken_at(&self) -> Timestamp {
        self.inventory.taken_at
    }
}

fn by_subject(inventory: &Inventory) -> BTreeMap<&Target, Vec<&Evidence>> {
    let mut by_subject: BTreeMap<&Target, Vec<&Evidence>> = BTreeMap::new();
    for evidence in &inventory.evidence {
        by_subject.entry(&evidence.subject).or_default().push(evidence);
    }
    by_subject
}

/// One workload with what belongs to it.
pub(crate) struct View<'a> {
    pub(crate) workload: &'a Workload,
    /// The hash of the template that it asks for now.
    pub(crate) live: TemplateHash,
    /// The same without kubectl's restart mark.
    pub(crate) essence: TemplateHash,
    /// Its pods, by name.
    pub(crate) pods: Vec<&'a Pod>,
    /// Its evidence, in an order that does not depend on how it was gathered.
    pub(crate) evidence: Vec<&'a Evidence>,
    /// The revisions, newest first by number.
    pub(crate) revisions: Vec<&'a Revision>,
}

impl<'a> View<'a> {
    /// The view of one workload, with the evidence about it.
    pub(crate) fn new(workload: &'a Workload, mut evidence: Vec<&'a Evidence>) -> Self {
        let live = workload.template.hash();
        let essence = essence(&workload.template, &live);
        let mut pods: Vec<&Pod> = workload.pods.iter().collect();
        pods.sort_by(|a, b| (&a.name, &a.uid).cmp(&(&b.name, &b.uid)));
        evidence.sort_by_cached_key(|evidence| evidence_key(evidence));
        let mut revisions: Vec<&Revision> = workload.revisions.iter().collect();
        revisions.sort_by(|a, b| (b.number, b.created_at, &b.name).cmp(&(a.number, a.created_at, &a.name)));
        Self {
            workload,
            live,
            essence,
            pods,
            evidence,
            revisions,
        }
    }

    /// The object that keeps the live template; the newest one should two keep the same.
    pub(crate) fn live_revision(&self) -> Option<&'a Revision> {
        self.revisions
            .iter()
            .copied()
            .find(|revision| revision.hash == self.live)
    }

    /// The revision with this template: one that the cluster remembers, else one that the ledger keeps, that is foretold or recalled.
    pub(crate) fn revision(&self, hash: &TemplateHash) -> Option<&'a Revision> {
        self.revisions
            .iter()
            .copied()
            .chain(self.workload.all_revisions())
            .find(|revision| &revision.hash == hash)
    }

    /// Revisions that the ledger alone keeps, those of the newest release first, each template once.
    pub(crate) fn kept(&self) -> Vec<&'a Revision> {
        let mut seen: BTreeSet<&TemplateHash> =
            self.revisions.iter().map(|revision| &revision.hash).collect();
        let kept = self
            .workload
            .released
            .iter()
            .filter_map(|one| one.kept.as_ref()?.value());
        kept.filter(|revision| seen.insert(&revision.hash)).collect()
    }

    /// Templates of Helm's records that nothing else keeps, each once.
    pub(crate) fn foretold(&self) -> Vec<&'a Revision> {
        let kept = self.kept();
        let mut seen: BTreeSet<&TemplateHash> =
            self.revisions.iter().map(|revision| &revision.hash).collect();
        seen.extend(kept.iter().map(|revision| &revision.hash));
        let foretold = self.workload.foretold.iter();
        let foretold = foretold.filter_map(|one| one.template.value());
        foretold.filter(|revision| seen.insert(&revision.hash)).collect()
    }

    /// Templates that only a manifest of then tells, each once.
    pub(crate) fn recalled(&self) -> Vec<&'a Revision> {
        let known = self.kept().into_iter().chain(self.foretold());
        let known = known.chain(self.revisions.iter().copied());
        let mut seen: BTreeSet<&TemplateHash> = known.map(|revision| &revision.hash).collect();
        let recalled = self.workload.recalled.iter().filter_map(Recalled::revision);
        recalled.filter(|revision| seen.insert(&revision.hash)).collect()
    }

    /// What is foretold of one revision of a Helm release; none where nobody asked.
    pub(crate) fn foretold_of(&self, release: &str, number: u64) -> Option<&'a Foretold> {
        let mut foretold = self.workload.foretold.iter();
        foretold.find(|one| one.release == release && one.revision == number)
    }

    /// Pods that are not on their way out and are of the live version.
    pub(crate) fn live_pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.standing()
            .filter(|pod| pod.revision.as_ref() == Some(&self.live))
    }

    /// Pods that are not on their way out and are of any other version.
    pub(crate) fn former_pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.standing()
            .filter(|pod| pod.revision.as_ref() != Some(&self.live))
    }

    /// Pods that are not on their way out.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().copied().filter(|pod| !pod.terminating)
    }

    /// The version of a pod, for people.
    pub(crate) fn version_of(&self, pod: &Pod) -> String {
        match pod.revision.as_ref().and_then(|hash| self.revision(hash)) {
            Some(revision) => revision.version(),
            None if pod.revision.as_ref() == Some(&self.live) => self.workload.version(),
            None => "a version that the cluster no longer remembers".to_owned(),
        }
    }
}

/// The hash of a template without kubectl's restart mark: equal for two revisions of the same version. `hash` is the
/// template's own, given so that it need not be computed again where there is no mark.
pub(crate) fn essence(template: &Template, hash: &TemplateHash) -> TemplateHash {
    let marked = |json: &serde_json::Value| {
        json.get("metadata")?.get("annotations")?.get(RESTARTED_AT)?;
        Some(())
    };
    if marked(template.json()).is_none() {
        return hash.clone();
    }
    let mut json = template.json().clone();
    if let Some(metadata) = json
        .get_mut("metadata")
        .and_then(serde_json::Value::as_object_mut)
    {
        let emptied = metadata
            .get_mut("annotations")
            .and_then(serde_json::Value::as_object_mut)
            .is_some_and(|annotations| {
                annotations.remove(RESTARTED_AT);
                annotations.is_empty()
            });
        if emptied {
            metadata.remove("annotations");
        }
    }
    Template::clean(json).hash()
}

/// Whether a workload asks for this template, or for the same one but for the mark of a restart.
pub fn asks_for(workload: &Workload, template: &TemplateHash) -> bool {
    let live = workload.template.hash();
    if &live == template {
        return true;
    }
    let essential = essence(&workload.template, &live);
    let remembered = || {
        workload
            .all_revisions()
            .find(|revision| &revision.hash == template)
    };
    &essential == template
        || remembered().is_some_and(|revision| essence(&revision.template, &revision.hash) == essential)
}

/// A revision as a plan names it.
pub(crate) fn reference(revision: &Revision) -> RevisionRef {
    RevisionRef {
        number: revision.number,
        kind: revision.kind,
        name: revision.name.clone(),
        uid: revision.uid.clone(),
        template: revision.hash.clone(),
        version: revision.version(),
        images: revision
            .template
            .images()
            .into_iter()
            .map(|image| image.reference)
            .collect(),
    }
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(number: u32, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// The trailing number of a StatefulSet's pod, `2` of `db-2`.
pub(crate) fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name
        .rsplit_once('-')
        .and_then(|(_, ordinal)| ordinal.parse().ok())
}

/// As counts fit into the model's `u32`: more pods than that do not exist.
pub(crate) fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// A total order over evidence about one subject. Facts hold floats and have no order of their own; their JSON has.
pub(crate) fn evidence_key(evidence: &Evidence) -> (u8, u8, String, Timestamp) {
    let fact = serde_json::to_string(&evidence.fact).unwrap_or_default();
    (
        evidence.side as u8,
        evidence.source as u8,
        fact,
        evidence.observed_at,
    )
}
