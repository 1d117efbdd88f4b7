//! AST0221: a paused workload is resumed by the plan, after its template is back and before its rollout is awaited;
//! and a person is told, since somebody paused it for a reason.

use super::{NOT_OURS, refuse, warn};
use crate::context::{Context, Write, spec};
use astern_model::choice::clock;
use astern_model::finding::Finding;
use astern_model::step::workload::Spec;
use astern_model::workload::Workload;

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
    let hint = "ask whoever paused it before you say yes; the step that resumes it can be taken back";
    warn(CODE, target, message, hint)
}

/// What the object tells of who paused it. Kubernetes itself keeps nothing.
fn traces(workload: &Workload) -> String {
    let notes: Vec<String> = workload
        .annotations
        .iter()
        .filter(|(key, _)| key.to_ascii_lowercase().contains("paused"))
        .map(|(key, value)| format!("annotation {key}: {value}"))
        .collect();
    if !notes.is_empty() {
        return notes.join(", ");
    }
    match &workload.template_manager {
        None => "who did it is not recorded".to_owned(),
        Some(manager) => {
            let at = manager
                .at
                .map_or_else(String::new, |at| format!(" at {}", clock(at)));
            format!(
                "who did it is not recorded; its template was last written by {}{at}",
                manager.name
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

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
