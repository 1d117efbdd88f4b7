//! AST0200: the bytes that an approval binds say the same as the plan that is carried out. Opening documents and
//! knowing their versions is not done here.

use super::{NOT_OURS, refuse};
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::plan::Plan;

pub(crate) const CODE: &str = "AST0200";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    // The envelope's own members stand beside the plan's, so the plan can be read through it.
    let said = serde_json::from_slice::<Plan>(context.sealed);
    if said.is_ok_and(|said| &said == context.plan) {
        return Vec::new();
    }
    vec![refuse(
        CODE,
        None,
        format!(
            "the sealed bytes of the plan for {} say something else than the plan",
            context.plan.platform
        ),
        NOT_OURS,
    )]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn a_plan_is_carried_out_only_as_its_sealed_bytes_say() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        let other = "the sealed bytes of the plan for shop say something else than the plan";
        check(&|_| (), "");
        check(
            &|fixture| fixture.plan.warnings.push("one more".to_owned()),
            other,
        );
        check(&|fixture| fixture.sealed = b"plan".to_vec(), other);
        check(&|fixture| fixture.sealed.clear(), other);
    }

    #[test]
    fn the_envelopes_own_members_are_no_difference() {
        let envelope = |fixture: &mut Fixture| {
            let head = b"{\"apiVersion\":\"astern.dev/v1alpha1\",\"kind\":\"Plan\",";
            fixture.sealed = [head, &fixture.sealed[1..], b"\n"].concat();
        };
        assert_eq!(Fixture::messages(super::check, &envelope), "");
    }
}
