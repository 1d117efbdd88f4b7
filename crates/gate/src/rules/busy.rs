//! AST0219: nobody else is in the middle of changing what the plan changes. The suspect's own unfinished rollout is
//! the normal case and no finding.

use super::{refuse, warn};
use crate::context::{Context, targets};
use crate::owners::{Hold, hold};
use astern_model::finding::Finding;
use astern_model::step::{Step, helm};
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerKind, OwnerState};

pub(crate) const CODE: &str = "AST0219";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in context.ahead().filter(|step| !step.spec.only_reads()) {
        for target in targets(step) {
            let owners = context
                .inventory
                .workloads
                .get(target)
                .into_iter()
                .flat_map(|workload| &workload.owners);
            findings.extend(owners.filter_map(|owner| judge(context, step, target, owner)));
        }
    }
    findings
}

/// Whether the plan itself mends what a dead client has left of the release.
fn repairs(context: &Context<'_>, release: &str) -> bool {
    let mends = |step: &astern_model::step::Step| matches!(step.spec.helm(), Some(helm::Spec::Repair { release: named, .. }) if named.name == release);
    context.plan.steps.iter().any(mends)
}

fn judge(context: &Context<'_>, step: &Step, target: &Target, owner: &Owner) -> Option<Finding> {
    let hold = hold(context, owner, &step.id);
    // Somebody above may be at work instead.
    let owner = match hold {
        Hold::Free(free) => free,
        Hold::Held | Hold::Quiet => owner,
    };
    let OwnerState::Busy { operation } = &owner.state else {
        return None;
    };
    if owner.kind == OwnerKind::Helm && repairs(context, &owner.name) {
        return None;
    }
    if hold == Hold::Held {
        let message = format!("{}, which owns {target}, is at work: {operation}", who(owner));
        let hint = "the plan pauses it, and waits until that has ended before it writes";
        return Some(warn(CODE, Some(target), message, hint));
    }
    let (name, namespace) = (&owner.name, &context.plan.namespace);
    let message = format!("{}, which owns {target}, is at work: {operation}", who(owner));
    let hint = match owner.kind {
        OwnerKind::ArgoCd => {
            format!("wait for it, or end it: `argocd app terminate-op {name}`; then plan again")
        }
        OwnerKind::Flux => "wait until it is reconciled (`flux get all`), then plan again".to_owned(),
        OwnerKind::Helm => format!(
            "wait for it (`helm history {name} -n {namespace}`), then plan again; if no client works on it any more, \
             say so: `--accept-revert {name}`"
        ),
        OwnerKind::Controller
        | OwnerKind::Olm
        | OwnerKind::Canary
        | OwnerKind::PodAutoscaler
        | OwnerKind::Presumed => "wait until it is done, then plan again".to_owned(),
    };
    // A pending record outlives a Helm client that was killed, and only a person can know that. The others clear
    // their own state.
    let accepted = owner.kind == OwnerKind::Helm && context.allow.accept_revert.contains(name);
    Some(if accepted {
        let hint =
            "accepted beforehand: should a client still work on it, it will write the workload as well";
        warn(CODE, Some(target), message, hint)
    } else {
        refuse(CODE, Some(target), message, hint)
    })
}

fn who(owner: &Owner) -> String {
    let name = &owner.name;
    match owner.kind {
        OwnerKind::ArgoCd => format!("Argo CD application {name}"),
        OwnerKind::Flux => format!("Flux object {name}"),
        OwnerKind::Helm => format!("Helm release {name}"),
        OwnerKind::Controller
        | OwnerKind::Olm
        | OwnerKind::Canary
        | OwnerKind::PodAutoscaler
        | OwnerKind::Presumed => format!("controller {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, owner};
    use astern_model::finding::Severity;

    #[test]
    fn an_operation_of_an_owner_is_waited_for() {
        let check = |kind: OwnerKind, accept: bool, expected: &[(Severity, &str)]| {
            let mut fixture = Fixture::sound();
            let busy = OwnerState::Busy {
                operation: "syncing".to_owned(),
            };
            fixture.workload().owners = vec![owner(kind, busy)];
            if accept {
                fixture.allow.accept_revert.insert("shop".to_owned());
            }
            let findings = super::check(&fixture.context());
            let found: Vec<_> = findings
                .iter()
                .map(|f| (f.severity, f.message.as_str()))
                .collect();
            assert_eq!(found, expected);
        };
        let argo = "Argo CD application shop, which owns deployment/api-gateway, is at work: syncing";
        let helm = "Helm release shop, which owns deployment/api-gateway, is at work: syncing";
        check(OwnerKind::ArgoCd, false, &[(Severity::Refuse, argo)]);
        check(OwnerKind::ArgoCd, true, &[(Severity::Refuse, argo)]);
        check(OwnerKind::Helm, false, &[(Severity::Refuse, helm)]);
        check(OwnerKind::Helm, true, &[(Severity::Warn, helm)]);
    }

    #[test]
    fn the_suspects_own_unfinished_rollout_is_no_obstacle() {
        let mut fixture = Fixture::sound();
        fixture.workload().status.updated = 1;
        fixture.workload().status.observed = false;
        assert_eq!(fixture.findings(), []);
    }
}
