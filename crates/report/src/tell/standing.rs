//! Which workload stands on which release, as far as the journal tells.

use super::fold::Fold;
use crate::report::{PLAN, Standing, Stands};
use crate::story::StepState;
use astern_model::id::{Seq, StepId};
use astern_model::plan::Plan;
use astern_model::step::{After, Spec, workload};
use astern_model::target::Target;
use std::collections::BTreeMap;

/// One entry for each workload that the plan touches, by name.
pub(super) fn standings(plan: &Plan, fold: &Fold<'_>) -> Vec<Standing> {
    plan.targets()
        .into_iter()
        .map(|target| standing(plan, fold, target))
        .collect()
}

/// The version that `target` had when the plan was made.
pub(crate) fn version_before(plan: &Plan, target: &Target) -> String {
    let change = plan
        .changes
        .iter()
        .find(|change| &change.target == target)
        .map(|change| change.from_version.clone());
    let assessed = || plan.assessment.of(target).map(|entry| entry.version.clone());
    change.or_else(assessed).unwrap_or_else(|| "unknown".to_owned())
}

fn standing(plan: &Plan, fold: &Fold<'_>, target: &Target) -> Standing {
    let from = version_before(plan, target);
    let untouched = |seq: Seq| Standing {
        target: target.clone(),
        on: Stands::Untouched {
            version: from.clone(),
        },
        seq,
    };
    let Some((id, to)) = written(plan, target) else {
        return untouched(PLAN);
    };
    let Some(doing) = fold.step(id) else {
        return untouched(PLAN);
    };
    let seq = doing.last.map_or(PLAN, |moment| moment.seq);
    let on = match doing.state {
        None | Some(StepState::NotStarted | StepState::Failed) => return untouched(seq),
        Some(StepState::TakenBack) => Stands::TakenBack { version: from },
        Some(StepState::UnderWay | StepState::Unsettled | StepState::BeingTakenBack) => Stands::NotKnown {
            from,
            to: to.to_owned(),
        },
        Some(StepState::NotTakenBack) => Stands::Asks {
            version: to.to_owned(),
        },
        Some(StepState::Done) => {
            let (on, waited) = awaited(plan, fold, target).unwrap_or((
                Stands::Asks {
                    version: to.to_owned(),
                },
                None,
            ));
            return Standing {
                target: target.clone(),
                on,
                seq: waited.unwrap_or(seq),
            };
        }
    };
    Standing {
        target: target.clone(),
        on,
        seq,
    }
}

/// The step that writes the target's template, and the version that it writes.
fn written<'a>(plan: &'a Plan, target: &Target) -> Option<(&'a StepId, &'a str)> {
    plan.steps.iter().rev().find_map(|step| match &step.spec {
        Spec::Workload(workload::Spec::WriteTemplate { target: of, to, .. }) if of == target => {
            Some((&step.id, to.version.as_str()))
        }
        Spec::Workload(workload::Spec::Restart { target: of, .. }) if of == target => {
            let change = plan.changes.iter().find(|change| &change.target == target)?;
            Some((&step.id, change.to_version.as_str()))
        }
        Spec::Workload(_) | Spec::Config(_) | Spec::Owner(_) => None,
        Spec::Helm(spec) => {
            let carried = spec.workloads().iter().find(|one| &one.target == target)?;
            Some((&step.id, carried.to.version.as_str()))
        }
    })
}

/// What the wait for the target's rollout saw, with the record that says so.
fn awaited(plan: &Plan, fold: &Fold<'_>, target: &Target) -> Option<(Stands, Option<Seq>)> {
    plan.steps.iter().rev().find_map(|step| {
        let Spec::Workload(workload::Spec::AwaitRollout {
            target: of, version, ..
        }) = &step.spec
        else {
            return None;
        };
        if of != target {
            return None;
        }
        let doing = fold.step(&step.id)?;
        let seq = doing.last.map(|moment| moment.seq);
        match (doing.state, doing.after) {
            (
                Some(StepState::Done),
                Some(After::Workload(workload::After::Serving {
                    ready,
                    desired,
                    digests,
                    ..
                })),
            ) => {
                let digests = BTreeMap::clone(digests);
                Some((
                    Stands::Serves {
                        version: version.clone(),
                        ready: *ready,
                        desired: *desired,
                        digests,
                    },
                    seq,
                ))
            }
            (Some(StepState::Failed), _) => {
                let why = doing
                    .failures
                    .last()
                    .map(|failure| failure.what.message.clone())
                    .unwrap_or_default();
                Some((
                    Stands::Fails {
                        version: version.clone(),
                        why,
                    },
                    seq,
                ))
            }
            _ => None,
        }
    })
}
