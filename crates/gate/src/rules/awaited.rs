//! AST0202: every template that is written is awaited, after the write and for that very template.

use super::{NOT_OURS, refuse};
use crate::context::{Context, spec};
use astern_model::finding::Finding;
use astern_model::id::TemplateHash;
use astern_model::step::Step;
use astern_model::step::workload::Spec;
use astern_model::target::Target;

pub(crate) const CODE: &str = "AST0202";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let awaited = |step: &Step, target: &Target, wanted: &TemplateHash| {
        context.by_target[target].iter().any(|later| match spec(later) {
            Spec::AwaitRollout { template, .. } => {
                template == wanted && context.order.follows(&later.id, &step.id)
            }
            Spec::WriteTemplate { .. }
            | Spec::Restart { .. }
            | Spec::SetPaused { .. }
            | Spec::Scale { .. }
            | Spec::AwaitGone { .. }
            | Spec::DeletePod { .. } => false,
        })
    };
    let refused = |target: &Target, what: &str| {
        let message = format!("the plan {what} and does not wait until it serves");
        refuse(CODE, Some(target), message, NOT_OURS)
    };
    let written = context
        .writes
        .iter()
        .filter(|write| !awaited(write.step, write.target, write.asks))
        .map(|write| {
            let what = format!("writes the template of {}", write.label());
            refused(write.target, &what)
        });
    let restarted = context.plan.steps.iter().filter_map(|step| {
        let Some(Spec::Restart { target, template, .. }) = step.spec.workload() else {
            return None;
        };
        (!awaited(step, target, template)).then(|| refused(target, &format!("restarts {target}")))
    });
    written.chain(restarted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, hash};

    #[test]
    fn a_template_that_nobody_waits_for_is_refused() {
        let check = |change: &dyn Fn(&mut Fixture), fires: bool| {
            let expected = "the plan writes the template of deployment/api-gateway at v1.2.3 and does not wait until \
                            it serves";
            assert_eq!(
                Fixture::messages(super::check, change),
                if fires { expected } else { "" }
            );
        };
        check(&|_| (), false);
        check(&|f| *f = Fixture::through_release(), false);
        check(
            &|f| {
                *f = Fixture::through_release();
                drop(f.plan.steps.pop());
            },
            true,
        );
        check(&|f| drop(f.plan.steps.pop()), true);
        check(&|f| f.plan.steps[1].after.clear(), true);
        check(
            &|f| {
                if let Spec::AwaitRollout { template, .. } = f.spec(1) {
                    *template = hash('9');
                }
            },
            true,
        );
    }

    #[test]
    fn a_restart_that_nobody_waits_for_is_refused() {
        let mut fixture = Fixture::restarted();
        assert_eq!(fixture.told(super::check), "");
        fixture.plan.steps.pop();
        assert_eq!(
            fixture.told(super::check),
            "the plan restarts deployment/api-gateway and does not wait until it serves"
        );
    }
}
