//! Templates of which the cluster remembers nothing and for which Helm's records stand: which they are, and while when a record says
//! that they were in force. What the API server makes of them is asked elsewhere.

use crate::matching::matched;
use crate::releases::belongs;
use crate::world::View;
use astern_model::choice::RevisionRef;
use astern_model::helm::{Release, ReleaseName, Revision, Status};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::reconstruction::{Period, Provenance};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{Revision as Remembered, RevisionKind};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A template that an earlier revision of a Helm release writes, and that is none of those that the cluster remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Unremembered {
    /// The workload.
    pub target: Target,
    /// The Helm release.
    pub release: ReleaseName,
    /// The release's newest revision, from which Helm goes back.
    pub newest: u64,
    /// The revision that writes it.
    pub revision: u64,
    /// The uid of its record.
    pub uid: Uid,
    /// When its record was made.
    pub created_at: Option<Timestamp>,
    /// What Helm says of it.
    pub status: Status,
    /// While Helm's newest manifest wrote it; none where the records do not tell.
    pub in_force: Option<Period>,
    /// The template as the manifest writes it, without defaults.
    pub manifest: Template,
}

/// The templates of the records that were read which the cluster does not remember, and which nobody has asked for yet. Rollouts are
/// left out: the API server knows no defaults for them, so that it tells no template by which their pods are known.
pub fn unremembered(inventory: &Inventory) -> Vec<Unremembered> {
    let workloads = inventory.workloads.iter();
    let views: BTreeMap<&Target, View<'_>> = workloads
        .map(|(target, workload)| (target, View::new(workload, Vec::new())))
        .collect();
    let mut found = Vec::new();
    for release in &inventory.releases {
        let Some(newest) = release.newest() else { continue };
        for (place, revision) in release.revisions.iter().enumerate().skip(1) {
            let templates = revision.content().map(|record| &record.templates);
            for (target, manifest) in templates.into_iter().flatten() {
                let Some(view) = views.get(target) else {
                    continue;
                };
                let is_asked = view.foretold_of(&release.name.name, revision.number).is_some();
                if is_asked
                    || target.kind == WorkloadKind::Rollout
                    || !belongs(target, view, release)
                    || matched(view, release, manifest).is_some()
                {
                    continue;
                }
                found.push(Unremembered {
                    target: target.clone(),
                    release: release.name.clone(),
                    newest: newest.number,
                    revision: revision.number,
                    uid: revision.uid.clone(),
                    created_at: revision.created_at,
                    status: revision.status.clone(),
                    in_force: in_force(release, place, target, manifest),
                    manifest: manifest.clone(),
                });
            }
        }
    }
    found
}

/// Whether the cluster remembers no earlier template of a workload for which the records that were read have one.
pub fn forgotten(inventory: &Inventory) -> bool {
    unremembered(inventory).iter().any(|one| {
        inventory.workloads.get(&one.target).is_some_and(|workload| {
            let live = workload.template.hash();
            workload.revisions.iter().all(|revision| revision.hash == live)
        })
    })
}

/// While the template of a revision that only Helm's record keeps was in force.
///
/// # Errors
/// The records do not tell; a clause.
pub(crate) fn period(view: &View<'_>, revision: &Remembered) -> Result<Period, String> {
    let mut foretold = view.workload.foretold.iter();
    let foretold = foretold.find(|one| one.template.value() == Some(revision));
    foretold
        .and_then(|one| one.in_force)
        .ok_or_else(|| "it is unknown how long it served: Helm's records do not tell".to_owned())
}

/// Who says what a workload asked for at a revision that the cluster does not remember.
pub(crate) fn provenance(view: &View<'_>, to: &RevisionRef) -> Option<Provenance> {
    let mut foretold = view.workload.foretold.iter();
    let (release, revision) = foretold.find_map(|one| {
        let revision = one.template.value()?;
        let is_it =
            to.kind == RevisionKind::HelmRecord && (&revision.name, &revision.uid) == (&to.name, &to.uid);
        is_it.then_some((one.release.clone(), revision))
    })?;
    Some(Provenance::Helm {
        release,
        revision: revision.number,
        at: revision.created_at,
    })
}

/// From when the revision at `place`, or an older one right before it with the same template, was made until the next one that brought
/// another. A record that was not read may have brought another one.
fn in_force(release: &Release, place: usize, target: &Target, manifest: &Template) -> Option<Period> {
    let same = |revision: &&Revision| {
        let record = revision.content();
        record.is_some_and(|record| record.templates.get(target) == Some(manifest))
    };
    let (newer, older) = release.revisions.split_at(place);
    let until = newer.iter().rev().find(|revision| !same(revision))?.created_at?;
    let since = older.iter().take_while(same).last()?.created_at?;
    Some(Period { since, until })
}
