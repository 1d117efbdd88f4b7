//! AST0228: Helm writes a workload again at the next upgrade, and until then its record says something else.

use super::warn;
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerKind, OwnerState};

pub(crate) const CODE: &str = "AST0228";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let steps = context.plan.steps.iter();
    let through: Vec<&String> = steps
        .filter_map(|step| Some(&step.spec.helm()?.release().name))
        .collect();
    for (target, workload) in context.changed_ahead() {
        let helm = workload
            .owners
            .iter()
            .filter(|owner| owner.kind == OwnerKind::Helm);
        let beside = |owner: &&Owner| !through.contains(&&owner.name);
        findings.extend(helm.filter(beside).filter_map(|owner| said(target, owner)));
    }
    findings
}

fn said(target: &Target, owner: &Owner) -> Option<Finding> {
    let name = &owner.name;
    let but = match &owner.state {
        OwnerState::Passive { .. } | OwnerState::WritesBack { .. } => String::new(),
        OwnerState::Unknown { why } => format!("; whether one is under way is not known: {why}"),
        OwnerState::Busy { .. } => return None,
    };
    let message = format!("{target} belongs to Helm release {name}, whose next upgrade writes it again{but}");
    let hint = format!(
        "before the next upgrade, put the good version into its values or chart; its record is not changed by this \
         plan (`helm history {name} -n {}`)",
        target.namespace
    );
    Some(warn(CODE, Some(target), message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, owner};

    #[test]
    fn a_workload_that_goes_back_through_its_release_needs_no_warning_of_it() {
        let passive = || OwnerState::Passive {
            because: "it writes at the next upgrade".to_owned(),
        };
        let mut fixture = Fixture::through_release();
        fixture.workload().owners = vec![owner(OwnerKind::Helm, passive())];
        assert_eq!(fixture.told(super::check), "");
        fixture.workload().owners[0].name = "another".to_owned();
        assert_eq!(
            fixture.told(super::check),
            "deployment/api-gateway belongs to Helm release another, whose next upgrade writes it again"
        );
    }

    #[test]
    fn a_helm_release_is_named_since_its_next_upgrade_writes_again() {
        let check = |kind: OwnerKind, state: OwnerState, expected: &str| {
            let mut fixture = Fixture::sound();
            fixture.workload().owners = vec![owner(kind, state)];
            assert_eq!(fixture.told(super::check), expected);
        };
        let passive = || OwnerState::Passive {
            because: "it writes at the next upgrade".to_owned(),
        };
        let said = "deployment/api-gateway belongs to Helm release shop, whose next upgrade writes it again";
        check(OwnerKind::Flux, passive(), "");
        check(OwnerKind::Helm, passive(), said);
        check(
            OwnerKind::Helm,
            OwnerState::Unknown {
                why: "list secrets is not permitted".to_owned(),
            },
            &format!("{said}; whether one is under way is not known: list secrets is not permitted"),
        );
        check(
            OwnerKind::Helm,
            OwnerState::Busy {
                operation: "pending-upgrade".to_owned(),
            },
            "",
        );
    }
}
