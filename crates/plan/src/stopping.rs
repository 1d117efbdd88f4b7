//! Workloads that are stopped before anything of them is written, and started again afterwards, with what would start pods
//! beside them: CronJobs and KEDA. Owns the counts and the order; a count is in the plan, so that it comes back from anywhere.

use crate::forecast;
use crate::owners::{self, Pausing};
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
/// astern.yaml names. `carried` go back through a Helm release, which sets their counts itself.
pub(crate) fn stopping<'a>(
    all: bool,
    begun_anew: &BTreeSet<&'a Target>,
    carried: &BTreeSet<&Target>,
    world: &'a World<'a>,
) -> Stopping<'a> {
    let mut stopping = Stopping::default();
    let wanted = |target: &Target| all || world.members.get(target).is_some_and(|member| member.stops);
    for target in begun_anew.iter().copied().filter(|target| wanted(target)) {
        let Some(view) = world.views.get(target) else {
            continue;
        };
        let workload = view.workload;
        let because = match target.kind {
            WorkloadKind::DaemonSet => Some("it has no count"),
            _ if carried.contains(target) => Some("its Helm release sets its count itself"),
            _ if workload.deletes_claims => {
                Some("its persistentVolumeClaimRetentionPolicy would delete its volumes")
            }
            _ => None,
        };
        if let Some(because) = because {
            stopping.warnings.push(format!(
                "{target} is not stopped, since {because}: pods of two versions of it run beside each other while it rolls"
            ));
        } else if workload.desired > 0 {
            let scaler =
                starters(world, PausableKind::ScaledObject).find(|seen| seen.scales.as_ref() == Some(target));
            let floor = workload.autoscaler.as_ref().map_or(0, |scaler| scaler.min);
            stopping
                .counts
                .insert(target, (workload.desired.max(floor), scaler));
        }
    }
    if !stopping.counts.is_empty() {
        // Every CronJob of the namespace: what it starts may be of any version.
        stopping.jobs = starters(world, PausableKind::CronJob).collect();
    }
    stopping
}

/// What starts pods by itself, and is not at rest.
fn starters<'a>(world: &'a World<'a>, kind: PausableKind) -> impl Iterator<Item = &'a OwnerSeen> {
    let namespace = &world.inventory.namespace;
    let seen = world.inventory.owners.iter();
    seen.filter(move |seen| seen.name.kind == kind && &seen.name.namespace == namespace)
        .filter(|seen| matches!(seen.state, OwnerState::WritesBack { .. }))
}

impl<'a> Stopping<'a> {
    /// What is paused with what is stopped.
    pub(crate) fn starters(&self) -> impl Iterator<Item = &'a OwnerSeen> {
        let scalers = self.counts.values().filter_map(|(_, scaler)| *scaler);
        scalers.chain(self.jobs.iter().copied())
    }

    /// The steps, each after the owners that would undo it are paused.
    pub(crate) fn plan(&mut self, pausing: &Pausing<'_>, world: &World<'_>) {
        for (target, (_, scaler)) in self.counts.clone() {
            let Some(view) = world.views.get(target) else {
                continue;
            };
            let workload = view.workload;
            let mut after: BTreeSet<StepId> = pausing.before(target).collect();
            after.extend(scaler.map(|seen| self.pause(seen, pausing, world)));
            let scale = Step {
                id: steps::id("stop", target),
                after: after.into_iter().collect(),
                spec: Spec::Workload(WorkloadSpec::Scale {
                    target: target.clone(),
                    pin: steps::pin(view, &view.live),
                    from: (workload.autoscaler.is_none() && scaler.is_none()).then_some(workload.desired),
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
            self.stopped.insert(gone.id.clone());
            self.steps.extend([scale, gone]);
        }
        for seen in self.jobs.clone() {
            let id = self.pause(seen, pausing, world);
            self.stopped.insert(id);
        }
    }

    /// The pause of what starts pods, after those above it; the wait after which it is at rest.
    fn pause(&mut self, seen: &OwnerSeen, pausing: &Pausing<'_>, world: &World<'_>) -> StepId {
        let after = pausing.before_starter(&seen.name).collect();
        let [pause, wait] = owners::pause(seen, after, &world.inventory.namespace, world.platform.guard);
        let id = wait.id.clone();
        self.steps.extend([pause, wait]);
        id
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
