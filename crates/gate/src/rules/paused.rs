//! AST0221: a paused workload is resumed by the plan, after its template is back and before its rollout is awaited;
//! and a person is asked, since somebody paused it for a reason. `--yes` asks nobody, so it must name the workload.

use super::{NOT_OURS, refuse, warn};
use crate::context::{Context, Write, spec};
use astern_model::choice::clock;
use astern_model::finding::Finding;
use astern_model::policy::Acceptor;
use astern_model::step::workload::Spec;
use astern_model::workload::{FieldManager, Workload};

pub(crate) const CODE: &str = "AST0221";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let paused = context.written_ahead().filter(|(_, workload)| workload.paused);
    paused
        .map(|(write, workload)| judge(context, &write, workload))
        .collect()
}

fn judge(context: &Context<'_>, write: &Write<'_>, workload: &Workload) -> Finding {
    let steps = &context.by_target[write.target];
    let resume = steps
        .iter()
        .find(|step| matches!(spec(step), Spec::SetPaused { paused: false, .. }));
    let target = Some(write.target);
    let Some(resume) = resume else {
        let message = format!(
            "{} is paused, and the plan does not resume it: nothing would roll",
            write.target
        );
        return refuse(CODE, target, message, NOT_OURS);
    };
    if !context.order.follows(&resume.id, &write.step.id) {
        let message = format!(
            "{} is resumed before its template is back: the bad version would roll",
            write.target
        );
        return refuse(CODE, target, message, NOT_OURS);
    }
    let awaits = |step: &&&astern_model::step::Step| matches!(spec(step), Spec::AwaitRollout { .. });
    if steps
        .iter()
        .filter(awaits)
        .any(|step| !context.order.follows(&step.id, &resume.id))
    {
        let message = format!(
            "the rollout of {} is awaited before it is resumed: the wait could not end",
            write.target
        );
        return refuse(CODE, target, message, NOT_OURS);
    }
    let message = format!(
        "{} is paused ({}), and the plan resumes it",
        write.target,
        traces(workload)
    );
    let named = |name: &String| *name == write.target.name || *name == write.target.to_string();
    let agreed = context.allow.resume_paused.iter().any(named);
    match context.allow.acceptor {
        Acceptor::Yes if !agreed => {
            let hint = format!(
                "ask whoever paused it, then say so: `--resume-paused {}`; without --yes you are asked",
                write.target.name
            );
            refuse(CODE, target, message, hint)
        }
        Acceptor::Yes => warn(
            CODE,
            target,
            message,
            "accepted beforehand; the step that resumes it can be taken back",
        ),
        Acceptor::Person => warn(
            CODE,
            target,
            message,
            "ask whoever paused it before you say yes; the step that resumes it can be taken back",
        ),
    }
}

/// What the object tells of who paused it and when.
fn traces(workload: &Workload) -> String {
    let notes: Vec<String> = workload
        .annotations
        .iter()
        .filter(|(key, _)| key.to_ascii_lowercase().contains("paused"))
        .map(|(key, value)| format!("annotation {key}: {value}"))
        .collect();
    let paused = workload
        .paused_manager
        .as_ref()
        .map(|manager| format!("by field manager {}", by(manager)));
    let told: Vec<String> = paused.into_iter().chain(notes).collect();
    if !told.is_empty() {
        return told.join(", ");
    }
    match &workload.template_manager {
        None => "who did it is not recorded".to_owned(),
        Some(manager) => format!(
            "who did it is not recorded; its template was last written by {}",
            by(manager)
        ),
    }
}

fn by(manager: &FieldManager) -> String {
    let at = manager
        .at
        .map_or_else(String::new, |at| format!(" at {}", clock(at)));
    format!("{}{at}", manager.name)
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::policy::Acceptor;
    use astern_model::workload::FieldManager;

    #[test]
    fn yes_resumes_no_paused_workload_that_it_does_not_name() {
        let check = |named: Option<&str>, expected: &str| {
            let mut fixture = Fixture::paused();
            fixture.workload().paused_manager = Some(FieldManager {
                name: "kubectl-rollout".to_owned(),
                operation: "Update".to_owned(),
                at: "2026-11-23T14:05:00Z".parse().ok(),
            });
            fixture.allow.acceptor = Acceptor::Yes;
            fixture.allow.resume_paused = named.map(str::to_owned).into_iter().collect();
            assert_eq!(fixture.full(super::check), expected);
        };
        let message = "deployment/api-gateway is paused (by field manager kubectl-rollout at 2026-11-23 14:05:00 UTC), \
                       and the plan resumes it";
        let refused = format!(
            "refuse: {message}\n  ask whoever paused it, then say so: `--resume-paused api-gateway`; without --yes you \
             are asked"
        );
        let accepted =
            format!("warn: {message}\n  accepted beforehand; the step that resumes it can be taken back");
        check(None, &refused);
        check(Some("web"), &refused);
        check(Some("api-gateway"), &accepted);
        check(Some("deployment/api-gateway"), &accepted);
    }

    #[test]
    fn a_paused_workload_is_resumed_after_its_template_and_whoever_paused_it_is_named() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::paused();
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(
            &|_| (),
            "deployment/api-gateway is paused (who did it is not recorded; its template was last written by \
             kubectl-client-side-apply at 2026-11-23 14:02:00 UTC), and the plan resumes it",
        );
        check(
            &|f| {
                drop(
                    f.workload()
                        .annotations
                        .insert("shop.test/paused-by".to_owned(), "jo".to_owned()),
                )
            },
            "deployment/api-gateway is paused (annotation shop.test/paused-by: jo), and the plan resumes it",
        );
        check(
            &|f| drop(f.plan.steps.remove(1)),
            "deployment/api-gateway is paused, and the plan does not resume it: nothing would roll",
        );
        check(
            &|f| f.plan.steps[1].after.clear(),
            "deployment/api-gateway is resumed before its template is back: the bad version would roll",
        );
        check(
            &|f| f.plan.steps[2].after = vec![f.plan.steps[0].id.clone()],
            "the rollout of deployment/api-gateway is awaited before it is resumed: the wait could not end",
        );
        check(&|f| f.workload().paused = false, "");
    }
}
