//! AST0217: the API server would take each write, and a pod made from each template: admission, Pod Security, and
//! policies newer than the old version.

use super::{refuse, warn};
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question, RevisionKey};

pub(crate) const CODE: &str = "AST0217";

pub(crate) fn ask(_: &Plan, writes: &[Write<'_>]) -> Vec<Question> {
    writes
        .iter()
        .flat_map(asked)
        .map(|(_, question)| question)
        .collect()
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for write in context.writes_ahead() {
        for (what, question) in asked(&write) {
            findings.extend(judge(&write, what, context.answers.get(&question)));
        }
    }
    findings
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

fn judge(write: &Write<'_>, what: &str, answer: Answer) -> Option<Finding> {
    let label = write.label();
    match answer {
        Answer::Yes => None,
        Answer::No { why } => {
            let message = format!("the API server refuses {what} of {label}: {why}");
            let hint = "a policy newer than that version stands in the way: have it allow the version, or choose \
                        another revision: `--to`";
            Some(refuse(CODE, Some(write.target), message, hint))
        }
        Answer::Unknown { why } => {
            let message = format!("whether the API server takes {what} of {label} could not be tried: {why}");
            let hint =
                "the run tries it for real and holds if it is refused; nothing else is changed by that";
            Some(warn(CODE, Some(write.target), message, hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, no, unknown};

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
            "the API server refuses the write of deployment/api-gateway at v1.2.3: \
             spec.template.spec.containers[0].image: Forbidden",
        );
        check(
            1,
            no("violates PodSecurity \"restricted:latest\""),
            "the API server refuses a pod of deployment/api-gateway at v1.2.3: violates PodSecurity \
             \"restricted:latest\"",
        );
        check(
            1,
            unknown("create pods is not permitted"),
            "whether the API server takes a pod of deployment/api-gateway at v1.2.3 could not be tried: create pods is \
             not permitted",
        );
    }
}
