//! AST0220: no other run holds the namespace. The lock itself is taken later; this only says it early. A resumed run
//! takes its own lock over, so it is not asked.

use super::{refuse, warn};
use crate::context::{Context, Door, Write};
use astern_model::finding::Finding;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question};

pub(crate) const CODE: &str = "AST0220";

pub(crate) fn ask(plan: &Plan, _: &[Write<'_>]) -> Vec<Question> {
    vec![Question::LockFree {
        namespace: plan.namespace.clone(),
    }]
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    if matches!(context.door, Door::Resume { .. }) {
        return Vec::new();
    }
    let namespace = &context.plan.namespace;
    let answer = context.answers.get(&Question::LockFree {
        namespace: namespace.clone(),
    });
    let found = match answer {
        Answer::Yes => None,
        Answer::No { why } | Answer::Barred { why, .. } => {
            let message = format!("another run holds namespace {namespace}: {why}");
            let hint = "see it with `astern runs`, watch it with `astern attach RUN`, or carry it on with `astern resume RUN`";
            Some(refuse(CODE, None, message, hint))
        }
        Answer::Unknown { why } => {
            let message =
                format!("whether another run holds namespace {namespace} could not be found out: {why}");
            Some(warn(
                CODE,
                None,
                message,
                "the run takes the lock before its first effect, or does not start",
            ))
        }
    };
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, no, unknown};

    #[test]
    fn a_namespace_that_another_run_holds_is_refused_with_who() {
        let free = Question::LockFree {
            namespace: "shop".to_owned(),
        };
        let held = |f: &mut Fixture| f.answers.insert(free.clone(), no("run r1 of jo on host-a"));
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(&held, "another run holds namespace shop: run r1 of jo on host-a");
        check(
            &|f| {
                f.answers
                    .insert(free.clone(), unknown("get leases is not permitted"))
            },
            "whether another run holds namespace shop could not be found out: get leases is not permitted",
        );
        check(
            &|f| {
                held(f);
                f.progress = Some(std::collections::BTreeMap::new());
            },
            "",
        );
    }
}
