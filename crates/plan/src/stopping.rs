//! Workloads that are stopped before anything of them is written, and started again afterwards, with what would start pods
//! beside them: CronJobs and KEDA. Owns the counts and the order; a count is in the plan, so that it comes back from anywhere.

use crate::forecast;
use crate::owners;
use crate::steps::{self, Moves};
use crate::world::{View, World};
use astern_model::id::{StepId, TemplateHash};
use astern_model::owner::{OwnerSeen, PausableKind};
use astern_model::reversal::Reversal;
use astern_model::step::owner::{Pin as OwnerPin, Spec as OwnerSpec};
use astern_model::step::workload::{Pin, Spec as WorkloadSpec};
use astern_model::step::{Spec, Step};
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::OwnerState;
use std::collections::{BTreeMap, BTreeSet};

/// What a plan stops.
#[derive(Default)]
pub(crate) struct Stopping<'a> {
    /// The stops and their waits.
    pub(crate) steps: Vec<Step>,
    /// What must be over before anything of a stopped workload is written.
    stopped: BTreeSet<StepId>,
    /// The stopped workloads, each with the count that comes back and the ScaledObject that goes on before.
    counts: BTreeMap<&'a Target, (u32, Option<&'a OwnerSeen>)>,
    /// The CronJobs that go on at the end.
    jobs: Vec<&'a OwnerSeen>,
    pub(crate) warnings: Vec<String>,
}

/// The workloads among `begun_anew` that are stopped: all that have a count where the request asks for it, else those that
/// astern.yaml names.
pub(crate) fn stopping<'a>(
    all: bool,
    begun_anew: &BTreeSet<&'a Target>,
    world: &'a World<'a>,
) -> Stopping<'a> {
    let mut stopping = Stopping::default();
    let wanted = |target: &Target| all || world.members.get(target).is_some_and(|member| member.stops);
    for target in begun_anew.iter().copied().filter(|target| wanted(target)) {
        let Some(view) = world.views.get(target) else {
            continue;
        };
        if target.kind == WorkloadKind::DaemonSet {
            stopping.warnings.push(format!(
                "{target} has no count, and is not stopped: pods of two versions of it run beside each other while it rolls"
            ));
        } else if view.workload.desired > 0 {
            stopping.stop(view, world);
        }
    }
    if !stopping.counts.is_empty() {
        stopping.suspend_jobs(world);
    }
    stopping
}

impl<'a> Stopping<'a> {
    fn stop(&mut self, view: &'a View<'a>, world: &'a World<'a>) {
        let workload = view.workload;
        let target = &workload.target;
        let seen = world.inventory.owners.iter();
        let scaler = seen
            .filter(|seen| seen.name.kind == PausableKind::ScaledObject && !seen.is_paused())
            .find(|seen| seen.scales.as_ref() == Some(target));
        let after = scaler.map(|seen| self.pause(seen, world));
        let autoscaled = workload.autoscaler.as_ref();
        let scale = Step {
            id: steps::id("stop", target),
            after: after.into_iter().collect(),
            spec: Spec::Workload(WorkloadSpec::Scale {
                target: target.clone(),
                pin: steps::pin(view, &view.live),
                from: (autoscaled.is_none() && scaler.is_none()).then_some(workload.desired),
                to: 0,
            }),
            reversal: Reversal::Exact,
            deadline: forecast::WRITE_DEADLINE,
            forecast: forecast::request(),
        };
        let gone = Step {
            id: steps::id("gone", target),
            after: vec![scale.id.clone()],
            spec: Spec::Workload(WorkloadSpec::AwaitGone {
                target: target.clone(),
                uid: workload.uid.clone(),
                template: view.live.clone(),
            }),
            reversal: Reversal::Nothing,
            deadline: forecast::deletion_deadline(&workload.template),
            forecast: forecast::deletion(&workload.template, None),
        };
        let count = workload.desired.max(autoscaled.map_or(0, |scaler| scaler.min));
        self.counts.insert(target, (count, scaler));
        self.stopped.insert(gone.id.clone());
        self.steps.extend([scale, gone]);
    }

    /// Its pause, and that of those above it before; the wait after which it is at rest.
    fn pause(&mut self, seen: &'a OwnerSeen, world: &World<'_>) -> StepId {
        let [pause, wait] = owners::pause(seen, Vec::new(), &world.inventory.namespace, world.platform.guard);
        let id = wait.id.clone();
        self.steps.extend([pause, wait]);
        id
    }

    /// Every CronJob of the namespace: what it starts may be of any version.
    fn suspend_jobs(&mut self, world: &'a World<'a>) {
        let seen = world.inventory.owners.iter();
        let jobs = seen
            .filter(|seen| {
                seen.name.kind == PausableKind::CronJob && seen.name.namespace == world.inventory.namespace
            })
            .filter(|seen| matches!(seen.state, OwnerState::WritesBack { .. }));
        self.jobs = jobs.collect();
        for seen in self.jobs.clone() {
            let id = self.pause(seen, world);
            self.stopped.insert(id);
        }
    }

    /// Whether a workload is stopped.
    pub(crate) fn stops(&self, target: &Target) -> bool {
        self.counts.contains_key(target)
    }

    /// What must be over before anything of a workload is written.
    pub(crate) fn before(&self, target: &Target) -> impl Iterator<Item = StepId> {
        let stops = self.stops(target);
        self.stopped.iter().filter(move |_| stops).cloned()
    }

    /// What starts a stopped workload again, once its template is back; none of one that is not stopped.
    pub(crate) fn start(&self, view: &View<'_>, template: &TemplateHash, after: StepId) -> Vec<Step> {
        let target = &view.workload.target;
        let Some((count, scaler)) = self.counts.get(target) else {
            return Vec::new();
        };
        let resumed = scaler.map(|seen| go_on(seen, vec![after.clone()]));
        let after = resumed.as_ref().map_or(after, |step| step.id.clone());
        let start = Step {
            id: steps::id("start", target),
            after: vec![after],
            spec: Spec::Workload(WorkloadSpec::Scale {
                target: target.clone(),
                // A pause was taken off before.
                pin: Pin {
                    paused: false,
                    ..steps::pin(view, template)
                },
                // KEDA may have begun to scale it.
                from: resumed.is_none().then_some(0),
                to: *count,
            }),
            reversal: Reversal::Exact,
            deadline: forecast::WRITE_DEADLINE,
            forecast: forecast::request(),
        };
        resumed.into_iter().chain([start]).collect()
    }

    /// The CronJobs go on, after everything else.
    pub(crate) fn end(&self, after: &[StepId]) -> Vec<Step> {
        self.jobs.iter().map(|seen| go_on(seen, after.to_vec())).collect()
    }
}

/// What the run itself has paused is set to what it was.
fn go_on(seen: &OwnerSeen, after: Vec<StepId>) -> Step {
    let owner = &seen.name;
    Step {
        id: StepId(format!(
            "resume:{}/{}/{}",
            owner.kind.plural(),
            owner.namespace,
            owner.name
        )),
        after,
        spec: Spec::Owner(OwnerSpec::Resume {
            owner: owner.clone(),
            pin: OwnerPin {
                uid: seen.uid.clone(),
                setting: owner.kind.paused(),
            },
            paused_by: None,
            if_in_sync: false,
            to: seen.setting.clone(),
        }),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    }
}

/// The workloads that a plan begins anew.
pub(crate) fn begun_anew<'a>(
    moves: &Moves<'a>,
    restarted: impl Iterator<Item = &'a Target>,
) -> BTreeSet<&'a Target> {
    moves.keys().copied().chain(restarted).collect()
}
