//! AST0234: what a ConfigMap or Secret holds can be changed, and nobody else writes it back.

use super::{refuse, warn};
use crate::context::Context;
use crate::owners::{Hold, hold};
use astern_model::config::LiveConfig;
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::config::Spec;
use astern_model::workload::{Owner, OwnerKind, OwnerState};

pub(crate) const CODE: &str = "AST0234";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let live = context
        .config_ahead()
        .filter(|(_, spec)| !spec.only_reads())
        .filter_map(|(step, spec)| Some((step, spec, context.inventory.config.live(spec.object())?)));
    live.flat_map(|(step, spec, live)| of(context, step, spec, live))
        .collect()
}

fn of(context: &Context<'_>, step: &Step, spec: &Spec, live: &LiveConfig) -> Vec<Finding> {
    let object = &live.name;
    let mut findings = Vec::new();
    let drawn = matches!(spec, Spec::Repin { .. });
    if live.immutable && matches!(spec, Spec::Restore { .. }) {
        let message = format!("{object} is immutable: the API server lets nobody change what it holds");
        let hint = "somebody made it so since the plan was: plan again, and it is deleted and made anew";
        findings.push(refuse(CODE, None, message, hint));
    }
    if let Some(source) = live.source.as_ref().filter(|_| !drawn) {
        let message = format!("{object} is made from {source}, which writes it again");
        let hint = format!("change the source, and let it roll: put the version of then into {source}");
        findings.push(refuse(CODE, None, message, hint));
    }
    let free = live
        .owners
        .iter()
        .filter_map(|owner| match hold(context, owner, &step.id) {
            Hold::Held => None,
            Hold::Free(free) => Some(free),
            Hold::Quiet => Some(owner),
        });
    findings.extend(free.filter_map(|owner| by(context, live, owner)));
    findings
}

fn by(context: &Context<'_>, live: &LiveConfig, owner: &Owner) -> Option<Finding> {
    let (object, name) = (&live.name, &owner.name);
    let who = match owner.kind {
        OwnerKind::ArgoCd => format!("Argo CD application {name}"),
        OwnerKind::Flux => format!("Flux object {name}"),
        OwnerKind::Helm => format!("Helm release {name}"),
        OwnerKind::Controller
        | OwnerKind::Olm
        | OwnerKind::Canary
        | OwnerKind::PodAutoscaler
        | OwnerKind::Presumed => format!("controller {name}"),
    };
    let belongs = format!("{object} belongs to {who} ({})", owner.known_by);
    Some(match &owner.state {
        OwnerState::WritesBack { because } if !context.allow.accept_revert.contains(name) => refuse(
            CODE,
            None,
            format!("{belongs}, which writes it back: {because}"),
            format!(
                "three ways out: change what {who} follows and let it roll; or pause it by hand and plan again; or accept that \
                 it may write back: `--accept-revert {name}`"
            ),
        ),
        OwnerState::Unknown { why } if !context.allow.accept_revert.contains(name) => refuse(
            CODE,
            None,
            format!("{belongs}, which may write it back: {why}"),
            format!(
                "look whether it does; then pause it by hand, or accept that it may write back: `--accept-revert {name}`"
            ),
        ),
        OwnerState::Busy { operation } => refuse(
            CODE,
            None,
            format!("{belongs}, which is being changed now: {operation}"),
            "wait until that is over, then plan again: `astern plan`".to_owned(),
        ),
        OwnerState::WritesBack { .. } | OwnerState::Unknown { .. } | OwnerState::Passive { .. } => warn(
            CODE,
            None,
            format!("{belongs}, which writes it again when it is next told to"),
            "put the content of then into its source before that, or the bad one comes back".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, owner};

    fn check(change: &dyn Fn(&mut Fixture), expected: &str) {
        let mut fixture = Fixture::with_config();
        change(&mut fixture);
        assert_eq!(fixture.told(super::check), expected);
    }

    #[test]
    fn what_cannot_be_changed_or_is_written_by_somebody_else_is_refused() {
        check(&|_| (), "");
        check(
            &|f| f.live_config().immutable = true,
            "configmap/app-config is immutable: the API server lets nobody change what it holds",
        );
        check(
            &|f| f.live_config().source = Some("externalsecret/app".to_owned()),
            "configmap/app-config is made from externalsecret/app, which writes it again",
        );
        let writes = || OwnerState::WritesBack {
            because: "selfHeal is on".to_owned(),
        };
        let said = "configmap/app-config belongs to Argo CD application shop (label shop.test/owner), which \
                    writes it back: selfHeal is on";
        let argo = |f: &mut Fixture| f.live_config().owners = vec![owner(OwnerKind::ArgoCd, writes())];
        check(&argo, said);
        let findings = |accepted: bool| {
            let mut fixture = Fixture::with_config();
            argo(&mut fixture);
            if accepted {
                fixture.allow.accept_revert.insert("shop".to_owned());
            }
            fixture.check().is_ok()
        };
        assert!(!findings(false));
        assert!(findings(true));
    }
}
