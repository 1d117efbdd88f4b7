//! Templates of which neither the cluster nor the ledger nor Helm keeps anything, and that an owner had deployed from Git: for which
//! workloads they are looked for, which deployments are looked at, and while when each was in force. Repositories are read, and the API
//! server is asked, elsewhere.

use crate::choose::good_revisions;
use crate::world::View;
use astern_model::choice::RevisionRef;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::policy::Policy;
use astern_model::reconstruction::{Period, Provenance};
use astern_model::source::{Deployed, Deployments};
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::{OwnerKind, Recalled, Revision};
use jiff::Timestamp;

/// So many deployments are looked at, the newest first: what lies further back is seldom what somebody wants at night, and each may take
/// as long as a repository may.
const LOOKED_BACK: usize = 5;

/// The workloads that somebody deploys from Git and of which nobody has asked yet what was deployed before: all of them, or with `lacking`
/// those of which nothing good is known. Rollouts are left out: the API server knows no defaults for them.
pub fn unrecalled(inventory: &Inventory, policy: &Policy, lacking: bool) -> Vec<Target> {
    let deployed = |kind: OwnerKind| matches!(kind, OwnerKind::ArgoCd | OwnerKind::Flux);
    let workloads = inventory.workloads.iter().filter(|(target, workload)| {
        target.kind != WorkloadKind::Rollout
            && workload.recalled.is_empty()
            && workload.owners.iter().any(|owner| deployed(owner.kind))
    });
    let meant = workloads.filter(|(target, _)| !lacking || good_revisions(inventory, policy, target) == 0);
    meant.map(|(target, _)| target.clone()).collect()
}

/// Whether the cluster remembers no earlier template of a workload that somebody deploys from Git.
pub fn forgotten_beside_git(inventory: &Inventory, policy: &Policy) -> bool {
    unrecalled(inventory, policy, true).iter().any(|target| {
        inventory.workloads.get(target).is_some_and(|workload| {
            let live = workload.template.hash();
            workload.revisions.iter().all(|revision| revision.hash == live)
        })
    })
}

/// The deployments that are looked at, oldest first. One alone has nothing before it.
pub fn looked_at(deployments: &Deployments) -> &[Deployed] {
    let all = deployments.deployed.as_slice();
    match all.len() {
        0 | 1 => &[],
        many => &all[many.saturating_sub(LOOKED_BACK)..],
    }
}

/// While the deployment at `place` of these was in force, by its own template and those of the others: from the oldest one right before
/// it with the same template until the next one that brought another. None where one between them is not known, or none came.
pub fn deployed_while(deployed: &[(Timestamp, Option<&TemplateHash>)], place: usize) -> Option<Period> {
    let (_, own) = deployed.get(place)?;
    let own = (*own)?;
    let same = |of: &&(Timestamp, Option<&TemplateHash>)| of.1 == Some(own);
    let (until, other) = deployed[place..].iter().find(|of| !same(of))?;
    (*other)?;
    let (since, _) = deployed[..=place].iter().rev().take_while(same).last()?;
    Some(Period {
        since: *since,
        until: *until,
    })
}

/// Who says what a workload asked for at a revision that only a manifest of then tells.
pub(crate) fn provenance(view: &View<'_>, to: &RevisionRef) -> Option<Provenance> {
    let is_it = |revision: &Revision| {
        (&revision.name, &revision.uid, &revision.hash) == (&to.name, &to.uid, &to.template)
    };
    let mut recalled = view.workload.recalled.iter();
    let found = recalled.find(|one| one.revision().is_some_and(is_it))?;
    Some(found.provenance.clone())
}

/// What is told of this template by its manifest.
pub(crate) fn of<'a>(view: &View<'a>, template: &TemplateHash) -> Option<&'a Recalled> {
    let is_it = |revision: &Revision| &revision.hash == template;
    let mut recalled = view.workload.recalled.iter();
    recalled.find(|one| one.revision().is_some_and(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_in_force_until_the_next_one_that_brought_another_template() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let (a, b) = (TemplateHash::from("a"), TemplateHash::from("b"));
        let of = |templates: &[Option<&TemplateHash>], place: usize| {
            let times = (0..).map(at);
            let deployed: Vec<_> = times.zip(templates.iter().copied()).collect();
            deployed_while(&deployed, place)
                .map(|period| (period.since.as_second() / 60, period.until.as_second() / 60))
        };
        assert_eq!(of(&[Some(&a), Some(&b)], 0), Some((0, 1)));
        assert_eq!(of(&[Some(&a), Some(&a), Some(&b)], 1), Some((0, 2)));
        assert_eq!(of(&[Some(&b), Some(&a), Some(&a), Some(&b)], 1), Some((1, 3)));
        // What nobody can tell may have been another one.
        assert_eq!(of(&[Some(&a), None, Some(&b)], 0), None);
        assert_eq!(of(&[None, Some(&a), Some(&b)], 1), Some((1, 2)));
        // Nothing came after it.
        assert_eq!(of(&[Some(&b), Some(&a)], 1), None);
        assert_eq!(of(&[None], 0), None);
    }
}
