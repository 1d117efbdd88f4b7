//! AST0227: an owner that would write the workload back undoes a rollback within seconds, so the plan stops it first, and
//! whoever would switch it on again; one that does not write by itself undoes it when it is next told to, which is said.
//! Helm, which writes only when somebody upgrades, and operations under way are other rules' matters.

use super::{NOT_OURS, refuse, warn};
use crate::context::{Context, Progress, targets};
use crate::owners::{Hold, concerned, hold};
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::owner::Spec as OwnerSpec;
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerKind, OwnerState};

pub(crate) const CODE: &str = "AST0227";

/// The word by which a Flux HelmRelease's mark is told from a Kustomization's.
const HELM_RELEASE_MARK: &str = "helm.toolkit.fluxcd.io";

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
    findings.extend(without_reason(context));
    findings
}

/// Pauses of owners that write nothing of the plan's.
fn without_reason(context: &Context<'_>) -> Vec<Finding> {
    let concerned = concerned(context);
    let pauses = context.owners().filter_map(|(step, spec)| match spec {
        // What only starts pods is another rule's matter: it is stopped with what it would start.
        OwnerSpec::Pause { owner, .. } if owner.kind.only_starts() => None,
        // What has been done is not judged again: a run goes on, or back, also where its owner cannot be read any more.
        OwnerSpec::Pause { .. } if context.progress(&step.id) != Progress::Pending => None,
        OwnerSpec::Pause { owner, .. } => Some((step, owner)),
        OwnerSpec::AwaitPaused { .. } | OwnerSpec::Resume { .. } => None,
    });
    pauses
        .filter(|(_, owner)| !concerned.contains(owner))
        .map(|(step, owner)| {
            let message = format!(
                "step {} pauses {owner}, which writes nothing that the plan changes",
                step.id
            );
            refuse(CODE, None, message, NOT_OURS)
        })
        .collect()
}

fn judge(context: &Context<'_>, step: &Step, target: &Target, owner: &Owner) -> Option<Finding> {
    match owner.kind {
        OwnerKind::PodAutoscaler => return Some(resizes(target, owner)),
        OwnerKind::Presumed => return Some(presumed(target, owner)),
        OwnerKind::ArgoCd
        | OwnerKind::Flux
        | OwnerKind::Helm
        | OwnerKind::Controller
        | OwnerKind::Olm
        | OwnerKind::Canary => {}
    }
    let accepted = context.allow.accept_revert.contains(&owner.name);
    let (who, belongs) = match hold(context, owner, &step.id) {
        Hold::Held => return None,
        Hold::Free(free) if free == owner => (owner, String::new()),
        Hold::Free(above) => (above, above_it(owner, above)),
        Hold::Quiet => (owner, String::new()),
    };
    let name = who_is(who)?;
    let (does, because) = match &who.state {
        OwnerState::WritesBack { because } => ("writes it back", because),
        OwnerState::Unknown { why } => ("may write it back and cannot be paused", why),
        OwnerState::Passive { because } => return Some(later(context, target, who, &name, because)),
        OwnerState::Busy { .. } => return None,
    };
    let message = format!(
        "{target} belongs to {belongs}{name} ({}), which {does}: {because}",
        who.known_by
    );
    Some(if accepted {
        warn(
            CODE,
            Some(target),
            message,
            "accepted beforehand: revert in Git as well, or the rollback will not last",
        )
    } else {
        refuse(CODE, Some(target), message, ways_out(who))
    })
}

/// It writes no template, so it takes nothing back; but what it changes was learnt from the version that is taken back.
fn resizes(target: &Target, owner: &Owner) -> Finding {
    let (OwnerState::Passive { because: how }
    | OwnerState::WritesBack { because: how }
    | OwnerState::Unknown { why: how }
    | OwnerState::Busy { operation: how }) = &owner.state;
    let message = format!(
        "{} ({}) changes what pods of {target} request ({how}); the template it leaves alone",
        owner.name, owner.known_by
    );
    let hint = "it has learnt from the version that is taken back: should the earlier one need more, set its updateMode to Off";
    warn(CODE, Some(target), message, hint)
}

/// One sign alone refuses nothing: what a pipeline's client leaves looks the same.
fn presumed(target: &Target, owner: &Owner) -> Finding {
    let message = format!(
        "{target} may belong to {} ({}): whether that is an operator, which would write it back, cannot be seen in the cluster",
        owner.name, owner.known_by
    );
    let hint = "if it is one, change what it follows, or stop it before you say yes; if it is a pipeline, revert in its source";
    warn(CODE, Some(target), message, hint)
}

/// `Argo CD application shop, and that to `.
fn above_it(owner: &Owner, above: &Owner) -> String {
    match who_is(owner) {
        Some(below) if owner != above => format!("{below}, and that to "),
        _ => String::new(),
    }
}

/// What an owner will do that does not write by itself now.
fn later(context: &Context<'_>, target: &Target, owner: &Owner, who: &str, because: &str) -> Finding {
    let when = match owner.kind {
        OwnerKind::ArgoCd => "at its next sync",
        OwnerKind::Flux | OwnerKind::Canary => "once it is resumed",
        OwnerKind::Controller
        | OwnerKind::Helm
        | OwnerKind::Olm
        | OwnerKind::PodAutoscaler
        | OwnerKind::Presumed => "when it is next told to",
    };
    let message = format!(
        "{target} belongs to {who} ({}), which writes it again {when}, not before: {because}",
        owner.known_by
    );
    let hint = "revert in Git before that, or the bad version comes back";
    let above = owner
        .object
        .as_ref()
        .and_then(|name| context.inventory.owner(name));
    let mut above = above.into_iter().flat_map(|seen| &seen.parents);
    let writes = above.find(|parent| matches!(parent.state, OwnerState::WritesBack { .. }));
    let hint = match writes.and_then(who_is) {
        Some(above) => format!("{hint}; and {above}, which stands above it, may switch it on at any time"),
        None => hint.to_owned(),
    };
    warn(CODE, Some(target), message, hint)
}

fn who_is(owner: &Owner) -> Option<String> {
    let name = &owner.name;
    match owner.kind {
        OwnerKind::ArgoCd => {
            let kind = owner
                .object
                .as_ref()
                .map_or("Argo CD application", |object| object.kind.noun());
            Some(format!("{kind} {name}"))
        }
        OwnerKind::Flux if is_helm_release(owner) => Some(format!("Flux HelmRelease {name}")),
        OwnerKind::Flux => Some(format!("Flux Kustomization {name}")),
        OwnerKind::Controller => Some(format!("controller {name}")),
        OwnerKind::Olm => Some(format!("the Operator Lifecycle Manager's {name}")),
        OwnerKind::Canary => Some(format!("Flagger's {name}")),
        OwnerKind::Helm | OwnerKind::PodAutoscaler | OwnerKind::Presumed => None,
    }
}

/// The three ways: change what the owner follows, stop the owner for a while, or bear that it writes back.
fn ways_out(owner: &Owner) -> String {
    let name = &owner.name;
    let pause = match owner.kind {
        OwnerKind::ArgoCd => format!("`argocd app set {name} --sync-policy none`"),
        OwnerKind::Flux if is_helm_release(owner) => format!("`flux suspend helmrelease {name}`"),
        OwnerKind::Flux => format!("`flux suspend kustomization {name}`"),
        OwnerKind::Canary => {
            format!("`kubectl patch {name} --type=merge -p '{{\"spec\":{{\"suspend\":true}}}}'`")
        }
        OwnerKind::Olm => "scale olm-operator to zero in its namespace".to_owned(),
        OwnerKind::Controller | OwnerKind::Helm | OwnerKind::PodAutoscaler | OwnerKind::Presumed => {
            format!("stop {name} from reconciling it")
        }
    };
    let source = match owner.kind {
        OwnerKind::Controller | OwnerKind::PodAutoscaler | OwnerKind::Presumed => {
            "change the object that it follows"
        }
        OwnerKind::Olm => "have its Subscription install the earlier version",
        OwnerKind::Canary => "put the earlier version into the Canary's target by its own source",
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
    fn each_operator_is_refused_with_ways_out_of_its_own() {
        let because = |text: &str| OwnerState::WritesBack {
            because: text.to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::Olm, because("as its version says"), false), @r#"
        refuse: deployment/api-gateway belongs to the Operator Lifecycle Manager's shop (label shop.test/owner), which writes it back: as its version says
          three ways out: have its Subscription install the earlier version and let it roll; or pause it by hand (scale olm-operator to zero in its namespace), roll back, then resume it; or accept that it may write back: `--accept-revert shop`
        "#);
        insta::assert_snapshot!(found(OwnerKind::Canary, because("a new release"), false), @r#"
        refuse: deployment/api-gateway belongs to Flagger's shop (label shop.test/owner), which writes it back: a new release
          three ways out: put the earlier version into the Canary's target by its own source and let it roll; or pause it by hand (`kubectl patch shop --type=merge -p '{"spec":{"suspend":true}}'`), roll back, then resume it; or accept that it may write back: `--accept-revert shop`
        "#);
        let suspended = OwnerState::Passive {
            because: "spec.suspend: true".to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::Canary, suspended, false), @r#"
        warn: deployment/api-gateway belongs to Flagger's shop (label shop.test/owner), which writes it again once it is resumed, not before: spec.suspend: true
          revert in Git before that, or the bad version comes back
        "#);
    }

    #[test]
    fn what_writes_no_template_and_what_may_be_no_operator_is_told_and_refuses_nothing() {
        let evicts = OwnerState::Passive {
            because: "updateMode Recreate: as they start, and of those that run".to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::PodAutoscaler, evicts, false), @r#"
        warn: shop (label shop.test/owner) changes what pods of deployment/api-gateway request (updateMode Recreate: as they start, and of those that run); the template it leaves alone
          it has learnt from the version that is taken back: should the earlier one need more, set its updateMode to Off
        "#);
        let unseen = OwnerState::Unknown {
            why: "whether it is an operator cannot be seen in the cluster".to_owned(),
        };
        insta::assert_snapshot!(found(OwnerKind::Presumed, unseen, false), @r#"
        warn: deployment/api-gateway may belong to shop (label shop.test/owner): whether that is an operator, which would write it back, cannot be seen in the cluster
          if it is one, change what it follows, or stop it before you say yes; if it is a pipeline, revert in its source
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

    #[test]
    fn an_owner_that_the_plan_stops_first_with_those_above_it_is_no_obstacle() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::with_owner();
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(&|_| (), "");
        let free = "deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which writes it \
                    back: automated.selfHeal: true";
        // Written before the owner has seen that it is paused.
        check(&|f| f.plan.steps[4].after = vec!["pause:shop".into()], free);
        check(
            &|f| {
                f.plan.steps.drain(2..4);
                f.plan.steps[2].after = vec!["paused:root".into()];
            },
            free,
        );
        let switched_on = "deployment/api-gateway belongs to Argo CD application shop, and that to Argo CD application root \
                           (label shop.test/owner), which writes it back: automated.selfHeal: true";
        check(&|f| f.plan.steps[2].after.clear(), switched_on);
        check(
            &|f| {
                f.plan.steps.drain(0..2);
                f.plan.steps[0].after.clear();
            },
            switched_on,
        );
        check(
            &|f| {
                f.plan.steps.drain(0..2);
                f.plan.steps[0].after.clear();
                f.allow.accept_revert.insert("root".to_owned());
            },
            "",
        );
    }

    #[test]
    fn a_release_goes_back_only_once_its_owner_has_seen_that_it_is_paused() {
        let through_release = |after: &str| {
            let mut fixture = Fixture::with_owner();
            let step = Fixture::through_release().plan.steps[0].clone();
            fixture.plan.steps[4] = Step {
                after: vec![after.into()],
                ..step
            };
            fixture.told(super::check)
        };
        assert_eq!(through_release("paused:shop"), "");
        assert_eq!(
            through_release("pause:shop"),
            "deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which writes it back: \
             automated.selfHeal: true"
        );
    }

    #[test]
    fn nobody_is_paused_who_writes_nothing_of_the_plans() {
        let mut fixture = Fixture::with_owner();
        fixture.inventory.owners[1].parents.clear();
        assert_eq!(
            fixture.told(super::check),
            "step pause:root pauses Argo CD application argocd/root, which writes nothing that the plan changes"
        );
    }

    fn resumed(change: &dyn Fn(&mut Fixture), expected: &str) {
        let mut fixture = Fixture::with_owner();
        for seen in &mut fixture.inventory.owners {
            seen.setting = serde_json::Value::Null;
        }
        let paused = &fixture.plan.steps[..4];
        fixture.progress = Some(
            paused
                .iter()
                .map(|step| (step.id.clone(), Progress::Done))
                .collect(),
        );
        change(&mut fixture);
        assert_eq!(fixture.told(super::check), expected);
    }

    #[test]
    fn a_run_does_not_go_on_once_somebody_has_switched_its_owner_on_again() {
        resumed(&|_| (), "");
        let free = "deployment/api-gateway belongs to Argo CD application shop (label shop.test/owner), which writes it \
                    back: automated.selfHeal: true";
        resumed(
            &|f| f.inventory.owners[1].setting = serde_json::json!({"selfHeal": true}),
            free,
        );
        resumed(&|f| f.inventory.owners[1].uid = "made anew".into(), free);
        let switched_on = "deployment/api-gateway belongs to Argo CD application shop, and that to Argo CD application root \
                           (label shop.test/owner), which writes it back: automated.selfHeal: true";
        resumed(
            &|f| f.inventory.owners[0].setting = serde_json::json!({"selfHeal": true}),
            switched_on,
        );
    }

    #[test]
    fn a_run_goes_on_and_back_where_its_owner_cannot_be_read_any_more() {
        resumed(
            &|f| {
                f.workload().owners.clear();
                f.inventory.owners.clear();
            },
            "",
        );
    }
}
