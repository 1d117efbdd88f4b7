//! AST0211: a plan is started while what it rests on is fresh. A resume does not start anything.

use super::refuse;
use crate::context::{Context, Door};
use astern_model::choice::clock;
use astern_model::finding::Finding;

pub(crate) const CODE: &str = "AST0211";
pub(crate) const HINT: &str = "make it again from what stands now: `astern plan`, or `astern rollback`";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let Door::Start { now } = context.door else {
        return Vec::new();
    };
    let at = context.plan.expires_at;
    if now < at {
        return Vec::new();
    }
    vec![refuse(
        CODE,
        None,
        format!("the plan expired at {}, and it is {}", clock(at), clock(now)),
        HINT,
    )]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn a_plan_is_not_started_from_the_moment_on_at_which_it_expires() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.now = f.plan.expires_at,
            "the plan expired at 2026-11-23 15:12:00 UTC, and it is 2026-11-23 15:12:00 UTC",
        );
        check(
            &|f| {
                f.now = f.plan.expires_at;
                f.progress = Some(std::collections::BTreeMap::new());
            },
            "",
        );
    }
}
