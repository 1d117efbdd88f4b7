//! The assessment: how each workload stands, why in one phrase, and which conditions of the matrix hold. Serves
//! `status`, the decision and the verdict alike. Reads an inventory; decides nothing.

use crate::choose;
use crate::errors::{self, Errors};
use crate::signals::{self, Signals};
use crate::timeline;
use crate::world::{View, World};
use astern_model::assessment::{Assessment, Health, WorkloadAssessment};
use astern_model::choice::{Because, Choice, KnownGood};
use astern_model::evidence::Trouble;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::policy::When;
use astern_model::target::Target;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Logs and probes that were read longer ago than this say nothing about now: twice the default log window.
pub const EVIDENCE_FRESH_FOR: SignedDuration = SignedDuration::from_mins(10);
/// This many restarts of a pod are "again and again"; two may be a node's hiccup.
pub const RESTARTS_OFTEN: u32 = 3;
/// … if they come at least this often: the kubelet forgets its back-off after ten minutes without a crash.
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>.
pub const RESTART_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// Assesses `targets`; empty means every workload of the platform. Targets that the inventory does not hold are left
/// out. A workload whose earlier version fails in the same way is found by comparing with the revision that astern
/// would choose.
pub fn assess(inventory: &Inventory, platform: &Platform, targets: &[Target]) -> Assessment {
    let world = World::new(inventory, platform);
    let targets: BTreeSet<&Target> = if targets.is_empty() {
        world.platform_targets()
    } else {
        targets.iter().collect()
    };
    let choices = targets
        .iter()
        .filter_map(|target| world.views.get(target))
        .map(|view| choose::choose_in(view, &platform.policy, None, world.taken_at()))
        .collect::<Vec<_>>();
    assess_against(&world, &targets, &choices)
}

/// Assesses `targets`, each against the revision that was chosen for it.
pub(crate) fn assess_against<'c>(
    world: &World<'_>,
    targets: &BTreeSet<&Target>,
    choices: impl IntoIterator<Item = &'c Choice>,
) -> Assessment {
    let chosen: BTreeMap<&Target, &KnownGood> = choices
        .into_iter()
        .filter_map(|choice| choice.good.as_ref().map(|good| (&choice.target, good)))
        .collect();
    let workloads = targets
        .iter()
        .filter_map(|target| world.views.get(target))
        .map(|view| one(view, world, chosen.get(&view.workload.target).copied()))
        .collect();
    Assessment { workloads }
}

fn one(view: &View<'_>, world: &World<'_>, chosen: Option<&KnownGood>) -> WorkloadAssessment {
    let at = world.taken_at();
    let signals = Signals::of(view, world);
    let (state, reason) = state(view, &signals, at);
    let live_since = timeline::live_since(view);
    let ready = view
        .pods
        .iter()
        .filter(|pod| pod.ready && !pod.terminating)
        .count();
    WorkloadAssessment {
        target: view.workload.target.clone(),
        version: view.workload.version(),
        digest: digest(view),
        revision: view.live_revision().map(|revision| revision.number),
        ready: if signals.pods_unread {
            view.workload.status.ready
        } else {
            crate::world::number(ready)
        },
        desired: view.workload.desired,
        former_ready: signals.ready_former,
        live_since,
        age: live_since.map(|since| at.duration_since(since)),
        state,
        reason,
        holds: holds(view, &signals, state, chosen),
        evidence: signals::complete_evidence(view, &signals, at),
    }
}

fn state(view: &View<'_>, signals: &Signals, at: Timestamp) -> (Health, String) {
    let workload = view.workload;
    if let Some(reason) = against(view, signals) {
        let state = if signals.ready_live == 0 {
            Health::Failing
        } else {
            Health::Degraded
        };
        return (state, reason);
    }
    if let Some(reason) = flaw(view, signals, at) {
        return (Health::Degraded, reason);
    }
    if workload.desired == 0 {
        return (
            Health::Unknown,
            "scaled to zero: nothing runs that could be judged".to_owned(),
        );
    }
    if signals.pods_unread {
        return (Health::Unknown, "its pods could not be read".to_owned());
    }
    if let Some(lost) = signals.lost.first() {
        let state = if signals.ready_live + signals.ready_former == 0 {
            Health::Unknown
        } else {
            Health::Degraded
        };
        return (state, signals::told(lost, signals.pods_live));
    }
    let complete = signals.ready_live >= workload.desired && signals.pods_former == 0;
    if complete && workload.status.observed {
        return (Health::Healthy, String::new());
    }
    if workload.paused && signals.pods_live < workload.desired {
        return (
            Health::Progressing,
            "paused: its newest template is not rolled out".to_owned(),
        );
    }
    if !workload.status.observed {
        return (
            Health::Progressing,
            "its controller has not taken in the newest template yet".to_owned(),
        );
    }
    (Health::Progressing, signals::progress(view, signals))
}

/// What keeps the live version's pods from serving, gravest first.
fn against(view: &View<'_>, signals: &Signals) -> Option<String> {
    if let Some(message) = &signals.not_created {
        return Some(format!("new pods cannot be made: {message}"));
    }
    if let Some(troubled) = signals.troubles.first() {
        return Some(signals::told(
            troubled,
            signals.pods_live.max(view.workload.desired),
        ));
    }
    if let Some(blocked) = &signals.blocked {
        return Some(blocked.clone());
    }
    signals
        .deadline
        .as_ref()
        .map(|message| format!("progress deadline exceeded: {message}"))
}

/// What is wrong with a version whose pods serve.
fn flaw(view: &View<'_>, signals: &Signals, at: Timestamp) -> Option<String> {
    if let Some(restarting) = &signals.restarting {
        return Some(signals::restarted(view, restarting, at));
    }
    if let Some((name, detail)) = signals.probes_failed.first() {
        return Some(format!("probe {name} fails: {detail}"));
    }
    match &signals.errors {
        Errors::Bad { live, former } => Some(errors::told(*live, *former)),
        Errors::BothBad { live, former } => Some(errors::told(*live, Some(*former))),
        Errors::Well { .. } | Errors::Unknown(_) => None,
    }
}

fn holds(view: &View<'_>, signals: &Signals, state: Health, chosen: Option<&KnownGood>) -> Vec<When> {
    let any = |test: fn(&Trouble) -> bool| signals.troubles.iter().any(|troubled| test(&troubled.trouble));
    let not_starting = any(|trouble| {
        matches!(
            trouble,
            Trouble::ImagePull { .. } | Trouble::CannotStart { .. } | Trouble::Unschedulable { .. }
        )
    });
    let nothing_wrong = match state {
        Health::Healthy | Health::Progressing => true,
        Health::Unknown => view.workload.desired == 0,
        Health::Degraded | Health::Failing => false,
    };
    let alike = chosen.is_some_and(|chosen| signals.former_fails_alike(view, &chosen.revision.template));
    let unwell =
        chosen.is_some_and(|chosen| matches!(chosen.because, Because::Observed { unwell: Some(_), .. }));
    let conditions = [
        (
            When::PodsNotStarting,
            not_starting || signals.not_created.is_some(),
        ),
        (
            When::CrashLoop,
            any(|trouble| matches!(trouble, Trouble::CrashLoop { .. })) || signals.restarting.is_some(),
        ),
        (
            When::NotReady,
            any(|trouble| matches!(trouble, Trouble::NotReady { .. } | Trouble::Starting))
                || signals.deadline.is_some()
                // What was brought back waits as well, and going further back would not help it.
                || (signals.blocked.is_some() && !timeline::brought_back(view)),
        ),
        (When::ErrorLines, matches!(signals.errors, Errors::Bad { .. })),
        (When::ProbeFails, !signals.probes_failed.is_empty()),
        (When::FormerFailsAlike, alike),
        (When::FormerUnwell, unwell && !alike),
        (When::EvidenceMissing, !signals.missing.is_empty()),
        (When::AllHealthy, nothing_wrong),
    ];
    conditions
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(when, _)| when)
        .collect()
}

/// The digest of the first container's image, where a running pod tells.
fn digest(view: &View<'_>) -> Option<String> {
    let containers = view.workload.template.containers();
    let image = containers.iter().find(|container| !container.init)?.image()?;
    if let Some(pinned) = image.digest() {
        return Some(pinned.to_owned());
    }
    let told = view.live_pods().find_map(|pod| pod.digest_of(&image))?;
    Some(told.to_owned())
}
