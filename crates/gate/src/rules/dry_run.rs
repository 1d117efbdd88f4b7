//! AST0217: the API server would take each write and each deletion, and a pod made from each template: admission, Pod
//! Security, and policies newer than the old version.

use super::{refuse, warn};
use crate::context::{Context, Write, spec, target};
use astern_model::finding::Finding;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question, RevisionKey};
use astern_model::step::config::Spec as ConfigSpec;
use astern_model::step::workload::Spec;
use astern_model::step::{Spec as StepSpec, Step};
use astern_model::target::Target;

pub(crate) const CODE: &str = "AST0217";

pub(crate) fn ask(plan: &Plan, writes: &[Write<'_>]) -> Vec<Question> {
    let templates = writes.iter().flat_map(asked).map(|(_, question)| question);
    let others = plan.steps.iter().filter_map(|step| other(plan, step));
    templates.chain(others).collect()
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for write in context.writes_ahead() {
        for (what, question) in asked(&write) {
            let answer = context.answers.get(&question);
            findings.extend(judge(
                write.target,
                &format!("{what} of {}", write.label()),
                answer,
            ));
        }
    }
    for step in context.ahead() {
        if let Some(question) = other(context.plan, step) {
            let answer = context.answers.get(&question);
            findings.extend(match &step.spec {
                StepSpec::Config(spec) => judge_config(spec, answer),
                _ => target(step).and_then(|target| judge(target, &deed(step), answer)),
            });
        }
    }
    findings
}

/// The trial of a step that writes no template.
fn other(plan: &Plan, step: &Step) -> Option<Question> {
    if let StepSpec::Config(spec) = &step.spec {
        let written = matches!(spec, ConfigSpec::Restore { .. } | ConfigSpec::Create { .. });
        return written.then(|| Question::ConfigAccepted {
            object: spec.object().clone(),
            namespace: spec.namespace().to_owned(),
            kept: spec.to().kept.clone(),
        });
    }
    match step.spec.workload()? {
        Spec::Restart { target, at, .. } => Some(Question::RestartAccepted {
            target: target.clone(),
            at: at.clone(),
        }),
        Spec::SetPaused { target, paused, .. } => Some(Question::PauseAccepted {
            target: target.clone(),
            paused: *paused,
            revision: written(plan, target),
        }),
        Spec::DeletePod {
            target, pod, pod_uid, ..
        } => Some(Question::DeleteAccepted {
            namespace: target.namespace.clone(),
            pod: pod.clone(),
            uid: pod_uid.clone(),
        }),
        Spec::WriteTemplate { .. }
        | Spec::AwaitRollout { .. }
        | Spec::Scale { .. }
        | Spec::AwaitGone { .. } => None,
    }
}

/// The template that the plan writes into a workload before it is paused or resumed.
fn written(plan: &Plan, of: &Target) -> Option<RevisionKey> {
    plan.steps.iter().find_map(|step| match &step.spec {
        StepSpec::Workload(Spec::WriteTemplate { target, to, .. }) if target == of => {
            Some(RevisionKey::from(to))
        }
        StepSpec::Workload(_) | StepSpec::Config(_) | StepSpec::Owner(_) => None,
        StepSpec::Helm(spec) => {
            let carried = spec.workloads().iter().find(|one| &one.target == of)?;
            Some(RevisionKey::from(&carried.to))
        }
    })
}

/// A step that writes no template, as the object of a sentence.
fn deed(step: &Step) -> String {
    match spec(step) {
        Spec::SetPaused {
            target, paused: true, ..
        } => format!("the pausing of {target}"),
        Spec::SetPaused { target, .. } => format!("the resuming of {target}"),
        Spec::DeletePod { pod, target, .. } => format!("the deletion of pod/{pod} of {target}"),
        Spec::Restart { target, .. } => format!("the restart of {target}"),
        Spec::WriteTemplate { target, .. }
        | Spec::AwaitRollout { target, .. }
        | Spec::Scale { target, .. }
        | Spec::AwaitGone { target, .. } => target.to_string(),
    }
}

/// Each trial with its name. Without the revision in the cluster there is no template to try.
fn asked(write: &Write<'_>) -> Vec<(&'static str, Question)> {
    if write.revision.is_none() {
        return Vec::new();
    }
    let target = || write.target.clone();
    let revision = || RevisionKey::from(write.to);
    vec![
        (
            "the write",
            Question::WriteAccepted {
                target: target(),
                revision: revision(),
            },
        ),
        (
            "a pod",
            Question::PodAccepted {
                target: target(),
                revision: revision(),
            },
        ),
    ]
}

fn judge_config(spec: &ConfigSpec, answer: Answer) -> Option<Finding> {
    let object = spec.object();
    match answer {
        Answer::Yes => None,
        Answer::No { why } | Answer::Barred { why, .. } => {
            let message = format!("the API server would not take the content of {object} as planned: {why}");
            let hint = "look what stands in the way, have it allow the content of then, and plan again: `astern plan`";
            Some(refuse(CODE, None, message, hint))
        }
        Answer::Unknown { why } => {
            let message = format!("whether the API server takes the content of {object} is not known: {why}");
            Some(warn(
                CODE,
                None,
                message,
                "should it refuse, the run stops before any workload that reads it",
            ))
        }
    }
}

fn judge(target: &Target, what: &str, answer: Answer) -> Option<Finding> {
    match answer {
        Answer::Yes => None,
        Answer::No { why } | Answer::Barred { why, .. } => {
            let message = format!("the API server would not take {what} as planned: {why}");
            let hint = "a policy newer than that version stands in the way: have it allow the version, or choose \
                        another revision: `--to`";
            Some(refuse(CODE, Some(target), message, hint))
        }
        Answer::Unknown { why } => {
            let message = format!("whether the API server takes {what} could not be tried: {why}");
            let hint =
                "the run tries it for real and holds if it is refused; nothing else is changed by that";
            Some(warn(CODE, Some(target), message, hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, no, unknown};

    #[test]
    fn resuming_and_deleting_are_tried_like_the_writes() {
        let check = |mut fixture: Fixture, expected: &str| {
            let question = fixture.asked(super::ask).pop().unwrap();
            fixture.answers.insert(question, no("denied by policy"));
            assert_eq!(fixture.told(super::check), expected);
        };
        check(
            Fixture::paused(),
            "the API server would not take the resuming of deployment/api-gateway as planned: denied by policy",
        );
        check(
            Fixture::stuck_statefulset(),
            "the API server would not take the deletion of pod/store-0 of statefulset/store as planned: denied by policy",
        );
    }

    #[test]
    fn what_the_server_refuses_in_a_dry_run_is_refused_in_its_words() {
        let check = |place: usize, answer: Answer, expected: &str| {
            let mut fixture = Fixture::sound();
            let question = fixture.asked(super::ask).swap_remove(place);
            fixture.answers.insert(question, answer);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(0, Answer::Yes, "");
        check(
            0,
            no("spec.template.spec.containers[0].image: Forbidden"),
            "the API server would not take the write of deployment/api-gateway at v1.2.3 as planned: \
             spec.template.spec.containers[0].image: Forbidden",
        );
        check(
            1,
            no("violates PodSecurity \"restricted:latest\""),
            "the API server would not take a pod of deployment/api-gateway at v1.2.3 as planned: violates \
             PodSecurity \"restricted:latest\"",
        );
        check(
            1,
            unknown("create pods is not permitted"),
            "whether the API server takes a pod of deployment/api-gateway at v1.2.3 could not be tried: create pods is \
             not permitted",
        );
    }
}
