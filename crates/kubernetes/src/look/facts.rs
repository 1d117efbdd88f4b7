//! What an inventory's own objects testify: who serves, who does not and why. Owns the grouping of pods into facts;
//! decides nothing.

use super::warnings::Warnings;
use astern_model::evidence::{Evidence, Fact, Side, Source, Trouble};
use astern_model::workload::{Pod, RevisionKind, Workload};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The facts about one workload, in a stable order.
pub(super) fn facts(workload: &Workload, warnings: &Warnings<'_>, now: Timestamp) -> Vec<Evidence> {
    let evidence = |side, fact, source| Evidence {
        subject: workload.target.clone(),
        side,
        fact,
        source,
        window: None,
        observed_at: now,
    };
    let mut all = Vec::new();
    for side in [Side::Live, Side::Former] {
        let pods: Vec<&Pod> = standing(workload, side);
        if side == Side::Former && pods.is_empty() {
            continue;
        }
        let serving = Fact::Serving {
            ready: count(pods.iter().filter(|pod| pod.ready).count()),
            pods: count(pods.len()),
            desired: workload.desired,
        };
        all.push(evidence(side, serving, Source::Pods));
        all.extend(
            troubles(&pods)
                .into_iter()
                .map(|fact| evidence(side, fact, Source::Pods)),
        );
    }
    all.extend(deadline(workload).map(|fact| evidence(Side::Live, fact, Source::Rollout)));
    all.extend(not_created(workload, warnings).map(|(fact, source)| evidence(Side::Live, fact, source)));
    all
}

/// The pods of a side that are not on their way out.
fn standing(workload: &Workload, side: Side) -> Vec<&Pod> {
    let live = workload.template.hash();
    let of_side = |pod: &&Pod| match pod.revision.as_ref() == Some(&live) {
        true => side == Side::Live,
        false => side == Side::Former,
    };
    workload
        .pods
        .iter()
        .filter(|pod| !pod.terminating)
        .filter(of_side)
        .collect()
}

/// One fact a cause and container; the pod with the most restarts speaks for the others.
fn troubles(pods: &[&Pod]) -> Vec<Fact> {
    let mut groups: BTreeMap<(u8, String), Vec<(&Pod, &Trouble)>> = BTreeMap::new();
    for pod in pods {
        if let Some(trouble) = &pod.trouble {
            groups.entry(cause(trouble)).or_default().push((pod, trouble));
        }
    }
    let speaker = |group: &Vec<(&Pod, &Trouble)>| {
        let most = |(pod, _): &&(&Pod, &Trouble)| (pod.restarts, std::cmp::Reverse(pod.name.clone()));
        group.iter().max_by_key(most).map(|(pod, trouble)| Fact::Trouble {
            trouble: (*trouble).clone(),
            pods: count(group.len()),
            example: pod.name.clone(),
        })
    };
    groups.values().filter_map(speaker).collect()
}

/// What makes two troubles the same: the cause, and the container or node it is in. The first part is the order in
/// which they are told.
fn cause(trouble: &Trouble) -> (u8, String) {
    match trouble {
        Trouble::ImagePull { container, .. } => (0, container.clone()),
        Trouble::CannotStart { container, .. } => (1, container.clone()),
        Trouble::Unschedulable { .. } => (2, String::new()),
        Trouble::CrashLoop { container, .. } => (3, container.clone()),
        Trouble::NotReady { container, .. } => (4, container.clone()),
        Trouble::NodeLost { node } => (5, node.clone()),
        Trouble::Starting => (6, String::new()),
        Trouble::Terminating => (7, String::new()),
    }
}

fn deadline(workload: &Workload) -> Option<Fact> {
    let exceeded = workload.status.conditions.iter().find(|condition| {
        condition.kind == "Progressing"
            && condition.status == "False"
            && condition.reason == "ProgressDeadlineExceeded"
    })?;
    // Until the controller has seen the newest spec, its conditions speak of the one before.
    workload.status.observed.then(|| Fact::ProgressDeadlineExceeded {
        message: exceeded.message.clone(),
    })
}

/// Deployments and Rollouts have a condition for it; of the other kinds only an event tells, and only one since the live revision
/// is about it.
fn not_created(workload: &Workload, warnings: &Warnings<'_>) -> Option<(Fact, Source)> {
    if RevisionKind::of(workload.target.kind) == RevisionKind::ReplicaSet {
        let condition = workload
            .status
            .conditions
            .iter()
            .find(|condition| condition.kind == "ReplicaFailure" && condition.status == "True")?;
        return Some((
            Fact::PodsNotCreated {
                message: condition.message.clone(),
            },
            Source::Rollout,
        ));
    }
    let standing = workload.pods.iter().filter(|pod| !pod.terminating).count();
    if count(standing) >= workload.desired {
        return None;
    }
    let since = workload
        .live_revision()
        .map_or(workload.created_at, |revision| revision.created_at);
    let message = warnings.newest_since(workload.uid.as_str(), "FailedCreate", since)?;
    Some((
        Fact::PodsNotCreated {
            message: message.to_owned(),
        },
        Source::Events,
    ))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
