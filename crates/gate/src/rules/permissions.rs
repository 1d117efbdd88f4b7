//! AST0218: everything that the plan and its run will do is permitted, asked before the first effect.

use super::{refuse, warn};
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::owner::PausableKind;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question};
use astern_model::step::Step;
use astern_model::target::Hub;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CODE: &str = "AST0218";

/// The lock: without it no run starts.
const LOCK: Right<'static> = Right {
    group: "coordination.k8s.io",
    resource: "leases",
    need: Need::Must,
    elsewhere: None,
};
const LOCK_VERBS: [&str; 3] = ["create", "get", "update"];
/// The journal and the vault, where they lie in the cluster; with `--store FILE` they do not.
const JOURNAL: Right<'static> = Right {
    group: "",
    resource: "secrets",
    need: Need::Journal,
    elsewhere: None,
};
/// A batch is a Secret that is made; those of a run that is over become one, and the others go; whoever watches a run
/// watches them.
const JOURNAL_VERBS: [&str; 5] = ["create", "delete", "get", "list", "watch"];

/// A resource that something is done to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Right<'a> {
    group: &'static str,
    resource: &'static str,
    need: Need,
    /// The namespace, where it is not the plan's own: an owner's.
    elsewhere: Option<&'a str>,
}

impl<'a> Right<'a> {
    fn namespace(self, plan: &'a Plan) -> &'a str {
        self.elsewhere.unwrap_or(&plan.namespace)
    }
}

/// For what a right is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Without it the plan cannot be carried out.
    Must,
    /// Without it the journal must lie elsewhere.
    Journal,
}

pub(crate) fn ask(plan: &Plan, _: &[Write<'_>]) -> Vec<Question> {
    let rights = rights(plan.steps.iter());
    let each = rights
        .into_iter()
        .flat_map(|(right, verbs)| verbs.into_iter().map(move |verb| (right, verb)));
    each.map(|(right, verb)| question(plan, right, verb)).collect()
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let in_file = context.allow.journal_in_file;
    let needed = |right: &Right<'_>| !(in_file && right.need == Need::Journal);
    for (right, verbs) in rights(context.ahead())
        .into_iter()
        .filter(|(right, _)| needed(right))
    {
        let (mut refused, mut unknown) = (Vec::new(), Vec::new());
        let (mut why_unknown, mut barred) = (BTreeSet::new(), BTreeSet::new());
        for verb in verbs {
            match context.answers.get(&question(context.plan, right, verb)) {
                Answer::Yes => {}
                Answer::No { .. } => refused.push(verb),
                Answer::Barred { why, remedy } => drop(barred.insert((why, remedy))),
                Answer::Unknown { why } => {
                    unknown.push(verb);
                    why_unknown.insert(why);
                }
            }
        }
        findings.extend(denied(context, right, &refused));
        findings.extend(
            barred
                .into_iter()
                .map(|(why, remedy)| refuse(CODE, None, why, remedy)),
        );
        let why = why_unknown.into_iter().collect::<Vec<_>>().join("; ");
        findings.extend(untold(context, right, &unknown, &why));
    }
    findings
}

/// What the steps and the run itself need, by resource.
fn rights<'a>(steps: impl Iterator<Item = &'a Step>) -> BTreeMap<Right<'a>, BTreeSet<&'static str>> {
    let mut rights: BTreeMap<Right<'_>, BTreeSet<&'static str>> = BTreeMap::new();
    let verbs = steps.flat_map(|step| {
        let elsewhere = step.spec.owner().map(|spec| spec.owner().namespace.as_str());
        step.spec.verbs().into_iter().map(move |verb| (elsewhere, verb))
    });
    for (elsewhere, verb) in verbs {
        let right = Right {
            group: verb.group,
            resource: verb.resource,
            need: Need::Must,
            elsewhere,
        };
        rights.entry(right).or_default().insert(verb.verb);
    }
    rights.entry(LOCK).or_default().extend(LOCK_VERBS);
    rights.entry(JOURNAL).or_default().extend(JOURNAL_VERBS);
    rights
}

fn question(plan: &Plan, right: Right<'_>, verb: &str) -> Question {
    Question::MayI {
        verb: verb.to_owned(),
        group: right.group.to_owned(),
        resource: right.resource.to_owned(),
        namespace: right.namespace(plan).to_owned(),
    }
}

fn denied(context: &Context<'_>, right: Right<'_>, verbs: &[&str]) -> Option<Finding> {
    if verbs.is_empty() {
        return None;
    }
    let message = format!(
        "user {} may not {} {} in {}",
        user(context, right),
        verbs.join(", "),
        full(right),
        place(context, right)
    );
    let rule = rule(context, right, verbs);
    Some(match right.need {
        Need::Must => refuse(CODE, None, message, rule),
        Need::Journal => {
            let message = format!("{message}, so the journal cannot lie in the cluster");
            let hint = format!("keep the journal in a file, `--store FILE`, or {rule}");
            refuse(CODE, None, message, hint)
        }
    })
}

fn untold(context: &Context<'_>, right: Right<'_>, verbs: &[&str], why: &str) -> Option<Finding> {
    if verbs.is_empty() {
        return None;
    }
    let message = format!(
        "whether user {} may {} {} in {} could not be found out: {why}",
        user(context, right),
        verbs.join(", "),
        full(right),
        place(context, right)
    );
    let there = hub(context, right)
        .map(|hub| format!(" --context {}", hub.context))
        .unwrap_or_default();
    let hint = format!(
        "ask yourself: `kubectl auth can-i {} {} -n {}{there}`",
        verbs[0],
        full(right),
        right.namespace(context.plan)
    );
    Some(warn(CODE, None, message, hint))
}

/// Argo CD's cluster, where the right counts there and not in the workloads' own.
fn hub<'a>(context: &Context<'a>, right: Right<'_>) -> Option<&'a Hub> {
    let hub = context.inventory.hub.as_ref();
    hub.filter(|_| PausableKind::is_of_argo_cd(right.group, right.resource))
}

/// Who lacks the right.
fn user<'a>(context: &Context<'a>, right: Right<'_>) -> &'a str {
    hub(context, right).map_or(&context.inventory.cluster.user, |hub| &hub.user)
}

/// Where the right counts.
fn place(context: &Context<'_>, right: Right<'_>) -> String {
    let namespace = right.namespace(context.plan);
    match hub(context, right) {
        Some(hub) => format!(
            "namespace {namespace} of the hub cluster (context {})",
            hub.context
        ),
        None => format!("namespace {namespace}"),
    }
}

/// `deployments.apps`, as kubectl names it.
fn full(right: Right<'_>) -> String {
    if right.group.is_empty() {
        right.resource.to_owned()
    } else {
        format!("{}.{}", right.resource, right.group)
    }
}

/// The RBAC rule that is missing, as it stands in a Role.
fn rule(context: &Context<'_>, right: Right<'_>, verbs: &[&str]) -> String {
    let quoted = verbs
        .iter()
        .map(|verb| format!("\"{verb}\""))
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "add to a Role in {} that is bound to {}: {{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [{quoted}]}}",
        place(context, right),
        user(context, right),
        right.group,
        right.resource
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, no, unknown};

    fn may(verb: &str, group: &str, resource: &str) -> Question {
        let text = str::to_owned;
        Question::MayI {
            verb: text(verb),
            group: text(group),
            resource: text(resource),
            namespace: text("shop"),
        }
    }

    #[test]
    fn a_missing_right_is_refused_with_the_rule_that_gives_it() {
        let mut fixture = Fixture::sound();
        assert_eq!(fixture.told(super::check), "");
        fixture
            .answers
            .insert(may("update", "apps", "deployments"), no("no RBAC rule allows it"));
        fixture
            .answers
            .insert(may("watch", "apps", "deployments"), no("no RBAC rule allows it"));
        fixture.answers.insert(
            may("create", "coordination.k8s.io", "leases"),
            no("no RBAC rule allows it"),
        );
        fixture
            .answers
            .insert(may("list", "", "secrets"), no("no RBAC rule allows it"));
        fixture
            .answers
            .insert(may("delete", "", "secrets"), no("no RBAC rule allows it"));
        fixture
            .answers
            .insert(may("watch", "", "pods"), unknown("the server did not answer"));
        insta::assert_snapshot!(fixture.full(super::check), @r#"
        refuse: user jo may not create leases.coordination.k8s.io in namespace shop
          add to a Role in namespace shop that is bound to jo: {apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"]}
        refuse: user jo may not delete, list secrets in namespace shop, so the journal cannot lie in the cluster
          keep the journal in a file, `--store FILE`, or add to a Role in namespace shop that is bound to jo: {apiGroups: [""], resources: ["secrets"], verbs: ["delete", "list"]}
        refuse: user jo may not update, watch deployments.apps in namespace shop
          add to a Role in namespace shop that is bound to jo: {apiGroups: ["apps"], resources: ["deployments"], verbs: ["update", "watch"]}
        warn: whether user jo may watch pods in namespace shop could not be found out: the server did not answer
          ask yourself: `kubectl auth can-i watch pods -n shop`
        "#);
    }

    #[test]
    fn a_right_that_counts_in_argo_cds_hub_is_told_with_the_user_and_the_context_there() {
        let mut fixture = Fixture::with_owner();
        fixture.inventory.hub = Some(Hub {
            context: "hub".to_owned(),
            user: "jo-at-hub".to_owned(),
        });
        let applications = |verb: &str| Question::MayI {
            verb: verb.to_owned(),
            group: "argoproj.io".to_owned(),
            resource: "applications".to_owned(),
            namespace: "argocd".to_owned(),
        };
        fixture
            .answers
            .insert(applications("patch"), no("no RBAC rule allows it"));
        fixture
            .answers
            .insert(applications("watch"), unknown("the server did not answer"));
        insta::assert_snapshot!(fixture.full(super::check), @r#"
        refuse: user jo-at-hub may not patch applications.argoproj.io in namespace argocd of the hub cluster (context hub)
          add to a Role in namespace argocd of the hub cluster (context hub) that is bound to jo-at-hub: {apiGroups: ["argoproj.io"], resources: ["applications"], verbs: ["patch"]}
        warn: whether user jo-at-hub may watch applications.argoproj.io in namespace argocd of the hub cluster (context hub) could not be found out: the server did not answer
          ask yourself: `kubectl auth can-i watch applications.argoproj.io -n argocd --context hub`
        "#);
    }

    #[test]
    fn where_rules_other_than_the_clusters_say_no_their_own_remedy_is_told() {
        let mut fixture = Fixture::sound();
        let told = |why: &str, remedy: &str| Answer::Barred {
            why: why.to_owned(),
            remedy: remedy.to_owned(),
        };
        for verb in ["get", "update", "watch"] {
            let answer = told(
                "the token for Argo CD may update nothing",
                "allow its account that",
            );
            fixture.answers.insert(may(verb, "apps", "deployments"), answer);
        }
        insta::assert_snapshot!(fixture.full(super::check), @r"
        refuse: the token for Argo CD may update nothing
          allow its account that
        ");
    }

    #[test]
    fn a_journal_in_a_file_needs_no_right_on_secrets() {
        let mut fixture = Fixture::sound();
        fixture
            .answers
            .insert(may("create", "", "secrets"), no("no RBAC rule allows it"));
        assert!(fixture.told(super::check).contains("may not create secrets"));
        fixture.allow.journal_in_file = true;
        assert_eq!(fixture.told(super::check), "");
    }

    #[test]
    fn rights_for_steps_that_are_done_are_not_asked_for_again() {
        let mut fixture = Fixture::sound();
        fixture
            .answers
            .insert(may("update", "apps", "deployments"), no("no RBAC rule allows it"));
        fixture.progress = Some([(fixture.plan.steps[0].id.clone(), crate::Progress::Done)].into());
        assert_eq!(fixture.told(super::check), "");
    }
}
