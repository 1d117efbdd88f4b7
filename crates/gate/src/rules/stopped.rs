//! AST0236: what a plan stops it starts again, with no fewer pods than asked for today; nothing of it is written before its pods
//! are gone; and what would start pods meanwhile goes on at the end.

use super::{NOT_OURS, refuse};
use crate::context::{Context, spec, targets};
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::owner::Spec as OwnerSpec;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use astern_model::workload::Workload;

pub(crate) const CODE: &str = "AST0236";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (target, steps) in &context.by_target {
        let wrong = of_target(context, target, steps);
        findings.extend(
            wrong
                .into_iter()
                .map(|what| refuse(CODE, Some(target), what, NOT_OURS)),
        );
    }
    findings.extend(
        starters(context)
            .into_iter()
            .map(|what| refuse(CODE, None, what, NOT_OURS)),
    );
    findings
}

fn of_target(context: &Context<'_>, target: &Target, steps: &[&Step]) -> Vec<String> {
    let counts = || {
        steps.iter().filter_map(|step| match spec(step) {
            Spec::Scale { to, .. } => Some((*step, *to)),
            _ => None,
        })
    };
    let mut wrong = Vec::new();
    let Some((stop, _)) = counts().find(|(_, to)| *to == 0) else {
        if let Some((step, to)) = counts().next() {
            wrong.push(format!(
                "step {} sets the count of {target} to {to}, and nothing has stopped it",
                step.id
            ));
        }
        return wrong;
    };
    let workload = context.inventory.workloads.get(target);
    if workload.is_some_and(|workload| workload.deletes_claims) {
        wrong.push(format!(
            "{target} is scaled to 0, and its persistentVolumeClaimRetentionPolicy deletes its volumes then"
        ));
    }
    let follows = |later: &Step, earlier: &Step| context.order.follows(&later.id, &earlier.id);
    let least = workload.map_or(0, least);
    let started = counts().find(|(step, to)| *to > 0 && follows(step, stop));
    match started {
        None => wrong.push(format!("{target} is stopped and not started again")),
        Some((_, to)) if context.progress(&stop.id) == crate::Progress::Pending && to < least => {
            wrong.push(format!(
                "{target} is started again with {to} pods, and asks for {least} today"
            ));
        }
        Some(_) => {}
    }
    let gone = steps
        .iter()
        .find(|step| matches!(spec(step), Spec::AwaitGone { .. }) && follows(step, stop));
    let writes = context.plan.steps.iter().filter(|step| {
        let counts = matches!(step.spec.workload(), Some(Spec::Scale { .. }));
        !counts && !step.spec.only_reads() && targets(step).contains(&target)
    });
    for write in writes {
        if !gone.is_some_and(|gone| follows(write, gone)) {
            wrong.push(format!(
                "step {} writes {target} before its pods are gone",
                write.id
            ));
        }
    }
    wrong
}

/// The fewest pods that it may come back with.
fn least(workload: &Workload) -> u32 {
    let floor = workload.autoscaler.as_ref().map_or(0, |scaler| scaler.min);
    workload.desired.max(floor)
}

/// What only starts pods: it is paused where something is stopped, and goes on after it.
fn starters(context: &Context<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let stops = context
        .plan
        .steps
        .iter()
        .any(|step| matches!(step.spec.workload(), Some(Spec::Scale { to: 0, .. })));
    for (step, spec) in context.owners() {
        let OwnerSpec::Pause { owner, pin, .. } = spec else {
            continue;
        };
        if !owner.kind.only_starts() {
            continue;
        }
        if !stops {
            wrong.push(format!("step {} pauses {owner}, and nothing is stopped", step.id));
        }
        let goes_on = context.owners().any(|(later, spec)| match spec {
            OwnerSpec::Resume { owner: named, to, .. } => {
                named == owner && *to == pin.setting && context.order.follows(&later.id, &step.id)
            }
            OwnerSpec::Pause { .. } | OwnerSpec::AwaitPaused { .. } => false,
        });
        if !goes_on {
            wrong.push(format!("{owner} is paused and does not go on again as it was"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use astern_model::workload::Autoscaler;

    fn check(change: &dyn Fn(&mut Fixture), expected: &str) {
        let mut fixture = Fixture::stopped();
        change(&mut fixture);
        assert_eq!(fixture.told(super::check), expected);
    }

    fn count(fixture: &mut Fixture, place: usize) -> &mut u32 {
        match fixture.spec(place) {
            Spec::Scale { to, .. } => to,
            other => panic!("{other:?} sets no count"),
        }
    }

    #[test]
    fn what_is_stopped_is_started_again_with_no_fewer_pods() {
        check(&|_| (), "");
        let target = "deployment/api-gateway";
        check(
            &|f| {
                f.plan.steps.remove(3);
            },
            &format!("{target} is stopped and not started again"),
        );
        check(
            &|f| *count(f, 3) = 1,
            &format!("{target} is started again with 1 pods, and asks for 3 today"),
        );
        check(
            &|f| {
                f.workload().autoscaler = Some(Autoscaler {
                    name: "api".to_owned(),
                    min: 5,
                    max: 9,
                    current: 5,
                    wanted: 5,
                });
            },
            &format!("{target} is started again with 3 pods, and asks for 5 today"),
        );
        check(
            &|f| *count(f, 0) = 2,
            &format!("step stop:{target} sets the count of {target} to 2, and nothing has stopped it"),
        );
    }

    #[test]
    fn what_loses_its_volumes_at_zero_is_not_stopped() {
        check(
            &|f| f.workload().deletes_claims = true,
            "deployment/api-gateway is scaled to 0, and its persistentVolumeClaimRetentionPolicy deletes its volumes then",
        );
    }

    #[test]
    fn nothing_is_written_before_the_pods_are_gone() {
        check(
            &|f| f.plan.steps[2].after = vec!["stop:deployment/api-gateway".into()],
            "step template:deployment/api-gateway writes deployment/api-gateway before its pods are gone",
        );
    }
}
