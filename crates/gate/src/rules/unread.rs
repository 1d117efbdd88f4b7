//! AST0232: what could not be read was not checked, and that is said.

use super::warn;
use crate::context::Context;
use astern_model::finding::Finding;

pub(crate) const CODE: &str = "AST0232";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let hint =
        "what depends on it is unknown; use a user with that right, or look yourself before you say yes";
    let said = |what: &String| {
        warn(
            CODE,
            None,
            format!("something was not read, so not checked: {what}"),
            hint,
        )
    };
    context.inventory.unread.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn what_was_not_read_is_said() {
        let change = |f: &mut Fixture| f.inventory.unread = vec!["list nodes is not permitted".to_owned()];
        assert_eq!(
            Fixture::messages(super::check, &change),
            "something was not read, so not checked: list nodes is not permitted"
        );
        assert_eq!(Fixture::messages(super::check, &|_| ()), "");
    }
}
