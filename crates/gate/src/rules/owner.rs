//! AST0227: an owner that would write the workload back undoes a rollback within seconds; one that does not do so by
//! itself undoes it when it is next told to, which is said. Helm, which writes only when somebody upgrades, and
//! operations under way are other rules' matters.

use super::{refuse, warn};
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerKind, OwnerState};

pub(crate) const CODE: &str = "AST0227";

/// The word by which a Flux HelmRelease's mark is told from a Kustomization's.
const HELM_RELEASE_MARK: &str = "helm.toolkit.fluxcd.io";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (target, workload) in context.changed_ahead() {
        findings.extend(
            workload
                .owners
                .iter()
                .filter_map(|owner| judge(context, target, owner)),
        );
    }
    findings
}

fn judge(context: &Context<'_>, target: &Target, owner: &Owner) -> Option<Finding> {
    let who = who(owner)?;
    let (does, because) = match &owner.state {
        OwnerState::WritesBack { because } => ("writes it back", because),
        OwnerState::Unknown { why } => ("may write it back and cannot be paused", why),
        OwnerState::Passive { because } => return Some(later(target, owner, &who, because)),
        OwnerState::Busy { .. } => return None,
    };
    let message = format!(
        "{target} belongs to {who} ({}), which {does}: {because}",
        owner.known_by
    );
    Some(if context.allow.accept_revert.contains(&owner.name) {
        warn(
            CODE,
            Some(target),
            message,
            "accepted beforehand: revert in Git as well, or the rollback will not last",
        )
    } else {
        refuse(CODE, Some(target), message, ways_out(owner))
    })
}

/// What an owner will do that does not write by itself now.
fn later(target: &Target, owner: &Owner, who: &str, because: &str) -> Finding {
    let when = match owner.kind {
        OwnerKind::ArgoCd => "at its next sync",
        OwnerKind::Flux => "once it is resumed",
        OwnerKind::Controller | OwnerKind::Helm => "when it is next told to",
    };
    let message = format!(
        "{target} belongs to {who} ({}), which writes it again {when}, not before: {because}",
        owner.known_by
    );
    let hint = "revert in Git before that, or the bad version comes back";
    warn(CODE, Some(target), message, hint)
}

fn who(owner: &Owner) -> Option<String> {
    let name = &owner.name;
    match owner.kind {
        OwnerKind::ArgoCd => Some(format!("Argo CD application {name}")),
        OwnerKind::Flux if is_helm_release(owner) => Some(format!("Flux HelmRelease {name}")),
        OwnerKind::Flux => Some(format!("Flux Kustomization {name}")),
        OwnerKind::Controller => Some(format!("controller {name}")),
        OwnerKind::Helm => None,
    }
}

/// The three ways: change what the owner follows, stop the owner for a while, or bear that it writes back.
fn ways_out(owner: &Owner) -> String {
    let name = &owner.name;
    let pause = match owner.kind {
        OwnerKind::ArgoCd => format!("`argocd app set {name} --sync-policy none`"),
        OwnerKind::Flux if is_helm_release(owner) => format!("`flux suspend helmrelease {name}`"),
        OwnerKind::Flux => format!("`flux suspend kustomization {name}`"),
        OwnerKind::Controller | OwnerKind::Helm => format!("stop {name} from reconciling it"),
    };
    let source = match owner.kind {
        OwnerKind::Controller => "change the object that it follows",
        OwnerKind::ArgoCd | OwnerKind::Flux | OwnerKind::Helm => "revert in Git",
    };
    format!(
        "three ways out: {source} and let it roll; or pause it by hand ({pause}), roll back, then resume it; or accept \
         that it may write back: `--accept-revert {name}`"
    )
}

fn is_helm_release(owner: &Owner) -> bool {
    owner.known_by.contains(HELM_RELEASE_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, owner};

    fn found(kind: OwnerKind, state: OwnerState, accept: bool) -> String {
        let mut fixture = Fixture::sound();
        fixture.workload().owners = vec![owner(kind, state)];
        if accept {
            fixture.allow.accept_revert.insert("shop".to_owned());
        }
        fixture.full(super::check)
    }

    fn writes_back() -> OwnerState {
        OwnerState::WritesBack {
            because: "automated.selfHeal: true".to_owned(),
        }
    }

    #[test]
    fn an_owner_that_writes_back_is_refused_with_the_three_ways_out() {
        insta::assert_snapshot!(found(OwnerKind::ArgoCd, writes_back(), false), @r#"
        refuse: deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which writes it back: automated.selfHeal: true
          three ways out: revert in Git and let it roll; or pause it by hand (`argocd app set shop --sync-policy none`), roll back, then resume it; or accept that it may write back: `--accept-revert shop`
        "#);
        insta::assert_snapshot!(found(OwnerKind::Controller, writes_back(), false), @r#"
        refuse: deployment/api-gateway belongs to controller shop (label shop.test/owner), which writes it back: automated.selfHeal: true
          three ways out: change the object that it follows and let it roll; or pause it by hand (stop shop from reconciling it), roll back, then resume it; or accept that it may write back: `--accept-revert shop`
        "#);
        let unknown = OwnerState::Unknown {
            why: "get applications.argoproj.io is not permitted".to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::ArgoCd, unknown, false), @r#"
        refuse: deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which may write it back and cannot be paused: get applications.argoproj.io is not permitted
          three ways out: revert in Git and let it roll; or pause it by hand (`argocd app set shop --sync-policy none`), roll back, then resume it; or accept that it may write back: `--accept-revert shop`
        "#);
    }

    #[test]
    fn an_owner_whose_writing_back_was_accepted_only_warns() {
        insta::assert_snapshot!(found(OwnerKind::Flux, writes_back(), true), @r#"
        warn: deployment/api-gateway belongs to Flux Kustomization shop (label shop.test/owner), which writes it back: automated.selfHeal: true
          accepted beforehand: revert in Git as well, or the rollback will not last
        "#);
    }

    #[test]
    fn an_owner_that_does_not_write_by_itself_warns_of_its_next_sync() {
        let passive = |because: &str| OwnerState::Passive {
            because: because.to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::Flux, passive("spec.suspend: true"), false), @r"
        warn: deployment/api-gateway belongs to Flux Kustomization shop (label shop.test/owner), which writes it again once it is resumed, not before: spec.suspend: true
          revert in Git before that, or the bad version comes back
        ");
        insta::assert_snapshot!(found(OwnerKind::ArgoCd, passive("automated without selfHeal"), false), @r"
        warn: deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which writes it again at its next sync, not before: automated without selfHeal
          revert in Git before that, or the bad version comes back
        ");
        assert_eq!(
            found(OwnerKind::Helm, passive("it writes at the next upgrade"), false),
            ""
        );
    }
}
