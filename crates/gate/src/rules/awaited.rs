//! AST0202: every template that is written is awaited, after the write and for that very template.

use super::{NOT_OURS, refuse};
use crate::context::{Context, Write, spec};
use astern_model::finding::Finding;
use astern_model::step::workload::Spec;

pub(crate) const CODE: &str = "AST0202";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let awaited = |write: &Write<'_>| {
        context.by_target[write.target]
            .iter()
            .any(|step| match spec(step) {
                Spec::AwaitRollout { template, .. } => {
                    template == &write.to.template && context.order.follows(&step.id, &write.step.id)
                }
                Spec::WriteTemplate { .. } | Spec::SetPaused { .. } | Spec::DeletePod { .. } => false,
            })
    };
    let refused = |write: &Write<'_>| {
        let message = format!(
            "the plan writes the template of {} and does not wait until it serves",
            write.label()
        );
        refuse(CODE, Some(write.target), message, NOT_OURS)
    };
    context
        .writes
        .iter()
        .filter(|write| !awaited(write))
        .map(refused)
        .collect()
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
}
