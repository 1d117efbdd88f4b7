//! AST0207: the steps of one workload agree with each other: one object, one write, and each step expects what the
//! step before it leaves. Whether the world agrees is not asked here.

use super::{NOT_OURS, refuse};
use crate::context::{Context, spec};
use astern_model::finding::Finding;
use astern_model::id::TemplateHash;
use astern_model::step::Step;
use astern_model::step::workload::Spec;
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::RevisionKind;

pub(crate) const CODE: &str = "AST0207";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (target, steps) in &context.by_target {
        let mut wrong = Vec::new();
        wrong.extend(identity(steps));
        wrong.extend(sequence(context, steps));
        wrong.extend(states(target, steps));
        findings.extend(
            wrong
                .into_iter()
                .map(|what| refuse(CODE, Some(target), what, NOT_OURS)),
        );
    }
    findings
}

/// Pins are there, and speak of one object.
fn identity(steps: &[&Step]) -> Vec<String> {
    let mut wrong = Vec::new();
    let first = steps.first().map(|step| spec(step).uid());
    for step in steps {
        let uid = spec(step).uid();
        if uid.as_str().is_empty() {
            wrong.push(format!("step {} pins no uid", step.id));
        } else if let Some(other) = first.filter(|first| first != &uid) {
            wrong.push(format!(
                "step {} is about uid {uid}, and the workload's first step about uid {other}",
                step.id
            ));
        }
        wrong.extend(
            hashes(spec(step))
                .into_iter()
                .filter(|hash| !is_hash(hash))
                .map(|hash| {
                    format!(
                        "step {} pins {:?}, which is no template hash",
                        step.id,
                        hash.as_str()
                    )
                }),
        );
    }
    wrong
}

/// Writes to one object come one after another, and its template is written once.
fn sequence(context: &Context<'_>, steps: &[&Step]) -> Vec<String> {
    let writing: Vec<&&Step> = steps.iter().filter(|step| !step.spec.only_reads()).collect();
    let mut wrong: Vec<String> = writing
        .windows(2)
        .filter(|pair| !context.order.follows(&pair[1].id, &pair[0].id))
        .map(|pair| format!("steps {} and {} write at the same time", pair[0].id, pair[1].id))
        .collect();
    let templates = writing
        .iter()
        .filter(|step| matches!(spec(step), Spec::WriteTemplate { .. } | Spec::Restart { .. }))
        .count();
    if templates > 1 {
        wrong.push(format!("its template is written {templates} times"));
    }
    wrong
}

/// Each step expects the template, strategy and pause that the steps before it leave.
fn states(target: &Target, steps: &[&Step]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut template, mut paused): (Option<&TemplateHash>, Option<bool>) = (None, None);
    let mut strategy = None;
    for step in steps {
        let spec = spec(step);
        let (expects, pin) = match spec {
            Spec::WriteTemplate { pin, .. }
            | Spec::Restart { pin, .. }
            | Spec::SetPaused { pin, .. }
            | Spec::Scale { pin, .. } => (&pin.template, Some(pin)),
            Spec::AwaitRollout { template, .. }
            | Spec::AwaitGone { template, .. }
            | Spec::DeletePod { template, .. } => (template, None),
        };
        if template.is_some_and(|template| template != expects) {
            wrong.push(format!(
                "step {} expects another template than the step before it leaves",
                step.id
            ));
        }
        if let Some(pin) = pin {
            if paused.is_some_and(|paused| paused != pin.paused) {
                wrong.push(format!(
                    "step {} expects paused: {}, and the step before it leaves another",
                    step.id, pin.paused
                ));
            }
            if strategy.is_some_and(|strategy| strategy != &pin.strategy) {
                wrong.push(format!(
                    "step {} expects another strategy than the step before it",
                    step.id
                ));
            }
            strategy = Some(&pin.strategy);
            paused = Some(pin.paused);
        }
        template = Some(spec.writes().unwrap_or(expects));
        match spec {
            Spec::SetPaused { paused: set, .. } => paused = Some(*set),
            Spec::WriteTemplate { .. }
            | Spec::Restart { .. }
            | Spec::AwaitRollout { .. }
            | Spec::AwaitGone { .. }
            | Spec::Scale { .. }
            | Spec::DeletePod { .. } => {}
        }
        wrong.extend(fits(target.kind, spec).map(|what| format!("step {} {what}", step.id)));
    }
    wrong
}

/// Whether the step is one that this kind of workload has.
fn fits(kind: WorkloadKind, spec: &Spec) -> Option<&'static str> {
    match (spec, kind) {
        (Spec::SetPaused { .. }, WorkloadKind::StatefulSet | WorkloadKind::DaemonSet) => {
            Some("pauses or resumes what is neither a Deployment nor a Rollout")
        }
        (Spec::Scale { .. } | Spec::AwaitGone { .. }, WorkloadKind::DaemonSet) => {
            Some("stops or starts what has no count")
        }
        (
            Spec::Scale {
                from: Some(from), to, ..
            },
            _,
        ) if from == to => Some("sets the count that is already there"),
        (Spec::SetPaused { pin, paused, .. }, _) if pin.paused == *paused => {
            Some("sets the pause that is already there")
        }
        (Spec::WriteTemplate { pin, to, .. }, _) if pin.template == to.template => {
            Some("goes back to the template that it starts from")
        }
        (Spec::Restart { pin, template, .. }, _) if &pin.template == template => {
            Some("restarts by the template that it starts from")
        }
        (Spec::WriteTemplate { to, .. }, _) if to.kind != keeper(kind) => {
            Some("takes its template from an object that does not keep this kind's revisions")
        }
        _ => None,
    }
}

/// Which objects keep the revisions of a kind.
fn keeper(kind: WorkloadKind) -> RevisionKind {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => RevisionKind::ReplicaSet,
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => RevisionKind::ControllerRevision,
    }
}

fn hashes(spec: &Spec) -> Vec<&TemplateHash> {
    match spec {
        Spec::WriteTemplate { pin, to, mark, .. } => {
            let marked = mark.iter().map(|mark| &mark.template);
            [&pin.template, &to.template].into_iter().chain(marked).collect()
        }
        Spec::Restart { pin, template, .. } => vec![&pin.template, template],
        Spec::SetPaused { pin, .. } | Spec::Scale { pin, .. } => vec![&pin.template],
        Spec::AwaitRollout { template, .. }
        | Spec::AwaitGone { template, .. }
        | Spec::DeletePod { template, .. } => vec![template],
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
fn is_hash(hash: &TemplateHash) -> bool {
    let digits = hash.as_str().strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, hash};
    use astern_model::id::Uid;
    use astern_model::workload::Strategy;

    #[test]
    fn the_steps_of_one_workload_agree_with_each_other() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::paused();
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(&|_| (), "");
        check(
            &|f| *f.uid(2) = Uid::from("other"),
            "step rollout:deployment/api-gateway is about uid other, and the workload's first step about uid \
             uid-api-gateway",
        );
        check(
            &|f| *f.uid(0) = Uid::from(""),
            "\
            step resume:deployment/api-gateway is about uid uid-api-gateway, and the workload's first step about uid \n\
            step rollout:deployment/api-gateway is about uid uid-api-gateway, and the workload's first step about uid \n\
            step template:deployment/api-gateway pins no uid",
        );
        check(
            &|f| f.pin(1).template = hash('9'),
            "step resume:deployment/api-gateway expects another template than the step before it leaves\n\
             step rollout:deployment/api-gateway expects another template than the step before it leaves",
        );
        check(
            &|f| f.pin(1).paused = false,
            "step resume:deployment/api-gateway expects paused: false, and the step before it leaves another\n\
             step resume:deployment/api-gateway sets the pause that is already there",
        );
        check(
            &|f| f.pin(1).strategy = Strategy::Recreate,
            "step resume:deployment/api-gateway expects another strategy than the step before it",
        );
        check(
            &|f| f.pin(0).template = TemplateHash::from("sha256:12"),
            "step template:deployment/api-gateway pins \"sha256:12\", which is no template hash",
        );
        check(
            &|f| f.plan.steps[1].after.clear(),
            "steps template:deployment/api-gateway and resume:deployment/api-gateway write at the same time",
        );
        // What follows a write with the mark of a restart expects that mark.
        check(
            &|f| f.mark(0),
            "step resume:deployment/api-gateway expects another template than the step before it leaves",
        );
        check(
            &|f| f.pin(0).template = f.to(0).template.clone(),
            "step template:deployment/api-gateway goes back to the template that it starts from",
        );
        check(
            &|f| f.to(0).kind = RevisionKind::ControllerRevision,
            "step template:deployment/api-gateway takes its template from an object that does not keep this kind's \
             revisions",
        );
    }
}
