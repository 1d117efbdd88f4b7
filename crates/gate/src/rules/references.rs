//! AST0214: what the target's template refers to is there, with its keys.

use super::{refuse, some, warn};
use crate::context::{Context, Write};
use crate::reference::{Need, Reference, references};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::finding::Finding;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question, ReferenceKind};
use astern_model::step::config::Spec;
use astern_model::target::Target;
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0214";

/// The length of the suffix that kustomize puts behind a generated name.
const SUFFIX_LENGTH: usize = 10;
/// Its alphabet: hexadecimal digits with vowels and what looks like them replaced.
/// Source: `api/hasher` of <https://github.com/kubernetes-sigs/kustomize>.
const SUFFIX_ALPHABET: &str = "bcdfghkmt2456789";

pub(crate) fn ask(plan: &Plan, writes: &[Write<'_>]) -> Vec<Question> {
    writes
        .iter()
        .flat_map(needed)
        .map(|reference| question(plan, &reference))
        .collect()
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for write in context.writes_ahead() {
        for reference in needed(&write) {
            let answer = match written(context, &write, &reference) {
                Some(answer) => answer,
                None => context.answers.get(&question(context.plan, &reference)),
            };
            findings.extend(judge(&write, &reference, answer, &context.plan.namespace));
        }
    }
    findings.extend(starved(context));
    findings
}

/// Workloads that keep their template, and need a key that the content which the plan puts back does not have: restarted by the
/// plan or by anybody later, their pods would not start.
fn starved(context: &Context<'_>) -> Vec<Finding> {
    let written: BTreeSet<&Target> = context.writes.iter().map(|write| write.target).collect();
    let mut findings = Vec::new();
    for (target, workload) in &context.inventory.workloads {
        if written.contains(target) {
            continue;
        }
        for reference in references(&workload.template) {
            let step = context
                .config_ahead()
                .find(|(_, spec)| is_of(spec.object(), &reference));
            let Some((_, spec)) = step.filter(|_| reference.need == Need::Must) else {
                continue;
            };
            let Answer::No { why } = holds_keys(spec, &reference) else {
                continue;
            };
            let places: Vec<&String> = reference.places.iter().collect();
            let message = format!(
                "{}, which {target} needs ({}) with the template that it keeps, is to go back, and {why}",
                spec.object(),
                some(&places)
            );
            findings.push(refuse(
                CODE,
                Some(target),
                message,
                "take it back too (without --only), or name a release with --to whose templates and content belong together",
            ));
        }
    }
    findings
}

fn is_of(object: &ConfigName, reference: &Reference) -> bool {
    let kind = match reference.kind {
        ReferenceKind::ConfigMap => ConfigKind::ConfigMap,
        ReferenceKind::Secret => ConfigKind::Secret,
        _ => return false,
    };
    object.kind == kind && object.name == reference.name
}

/// Whether the content that a step writes has every key that is needed of it.
fn holds_keys(spec: &Spec, reference: &Reference) -> Answer {
    let lacking: Vec<&String> = reference
        .keys
        .iter()
        .filter(|key| !spec.to().keys.contains(key))
        .collect();
    if lacking.is_empty() {
        return Answer::Yes;
    }
    Answer::No {
        why: format!(
            "the content of {} has no key {}",
            spec.to().origin,
            some(&lacking)
        ),
    }
}

/// What the plan itself says of an object that it writes before the template: a key that is not there now may be by then.
fn written(context: &Context<'_>, write: &Write<'_>, reference: &Reference) -> Option<Answer> {
    let (step, spec) = context
        .config()
        .find(|(_, spec)| is_of(spec.object(), reference))?;
    let before = context.order.follows(&write.step.id, &step.id);
    before.then(|| holds_keys(spec, reference))
}

fn needed(write: &Write<'_>) -> Vec<Reference> {
    write
        .revision
        .map_or_else(Vec::new, |revision| references(&revision.template))
}

fn question(plan: &Plan, reference: &Reference) -> Question {
    Question::Exists {
        kind: reference.kind,
        namespace: plan.namespace.clone(),
        name: reference.name.clone(),
        keys: reference.keys.iter().cloned().collect(),
    }
}

fn judge(write: &Write<'_>, reference: &Reference, answer: Answer, namespace: &str) -> Option<Finding> {
    let object = format!("{}/{}", singular(reference.kind), reference.name);
    let places: Vec<&String> = reference.places.iter().collect();
    let use_ = format!("{object}, which {} needs ({})", write.label(), some(&places));
    let target = Some(write.target);
    match (answer, reference.need) {
        (Answer::Yes, _) => None,
        (Answer::No { why } | Answer::Barred { why, .. }, Need::Must) => {
            let hint = missing_hint(reference, namespace);
            Some(refuse(
                CODE,
                target,
                format!("{use_}, cannot be used: {why}"),
                hint,
            ))
        }
        (Answer::No { why } | Answer::Barred { why, .. }, Need::Wanted) => {
            let message = format!("{use_}, cannot be used: {why}; pods start, and images may not be pulled");
            Some(warn(CODE, target, message, missing_hint(reference, namespace)))
        }
        (Answer::Unknown { why }, _) => {
            let message = format!("whether {use_}, is there could not be found out: {why}");
            Some(warn(
                CODE,
                target,
                message,
                format!(
                    "look yourself: {}",
                    look(reference.kind, &reference.name, namespace)
                ),
            ))
        }
    }
}

/// What brings it back. Generated names are the usual case: a pruning apply removes what only old revisions need.
fn missing_hint(reference: &Reference, namespace: &str) -> String {
    let look = look(reference.kind, &reference.name, namespace);
    if is_generated(reference) {
        return format!(
            "the name ends in a content hash, so a pruning apply has probably removed it: render that release's \
             manifests again (`kubectl kustomize`) and apply this one object, then `astern plan`; now: {look}"
        );
    }
    format!("bring it back as it was at that release, or choose another revision with `--to`; now: {look}")
}

fn look(kind: ReferenceKind, name: &str, namespace: &str) -> String {
    match kind {
        ReferenceKind::PriorityClass | ReferenceKind::RuntimeClass => {
            format!("`kubectl get {} {name}`", singular(kind))
        }
        _ => format!("`kubectl get {} {name} -n {namespace}`", singular(kind)),
    }
}

fn is_generated(reference: &Reference) -> bool {
    let suffix = reference.name.rsplit_once('-').map_or("", |(_, suffix)| suffix);
    matches!(reference.kind, ReferenceKind::ConfigMap | ReferenceKind::Secret)
        && suffix.len() == SUFFIX_LENGTH
        && suffix.chars().all(|c| SUFFIX_ALPHABET.contains(c))
}

fn singular(kind: ReferenceKind) -> &'static str {
    match kind {
        ReferenceKind::ConfigMap => "configmap",
        ReferenceKind::Secret => "secret",
        ReferenceKind::ServiceAccount => "serviceaccount",
        ReferenceKind::PersistentVolumeClaim => "persistentvolumeclaim",
        ReferenceKind::PriorityClass => "priorityclass",
        ReferenceKind::RuntimeClass => "runtimeclass",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, no, unknown};
    use astern_model::template::Template;
    use serde_json::json;

    fn exists(kind: ReferenceKind, name: &str, keys: &[&str]) -> Question {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Question::Exists {
            kind,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            keys,
        }
    }

    #[test]
    fn a_missing_reference_is_refused_with_where_it_is_needed() {
        let config = exists(ReferenceKind::ConfigMap, "app-config", &[]);
        let keys = exists(ReferenceKind::Secret, "api-keys", &["token"]);
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.answers.insert(config.clone(), no("it does not exist")),
            "configmap/app-config, which deployment/api-gateway at v1.2.3 needs (envFrom of container api), cannot be \
             used: it does not exist",
        );
        check(
            &|f| f.answers.insert(keys.clone(), no("it has no key token")),
            "secret/api-keys, which deployment/api-gateway at v1.2.3 needs (env TOKEN of container api), cannot be \
             used: it has no key token",
        );
        check(
            &|f| {
                f.answers
                    .insert(keys.clone(), unknown("get secrets is not permitted"))
            },
            "whether secret/api-keys, which deployment/api-gateway at v1.2.3 needs (env TOKEN of container api), is \
             there could not be found out: get secrets is not permitted",
        );
    }

    #[test]
    fn a_pruned_generated_configmap_is_recognised_and_a_pull_secret_only_warns() {
        let mut fixture = Fixture::sound();
        fixture.retemplate(json!({
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "api", "image": "registry.test/api:v1.2.3",
                "envFrom": [{"configMapRef": {"name": "app-config-5f2t8m9hgk"}}]}]}));
        fixture.answer_yes();
        fixture.answers.insert(
            exists(ReferenceKind::ConfigMap, "app-config-5f2t8m9hgk", &[]),
            no("it does not exist"),
        );
        fixture.answers.insert(
            exists(ReferenceKind::Secret, "pull", &[]),
            no("it does not exist"),
        );
        insta::assert_snapshot!(fixture.full(super::check), @r#"
        refuse: configmap/app-config-5f2t8m9hgk, which deployment/api-gateway at v1.2.3 needs (envFrom of container api), cannot be used: it does not exist
          the name ends in a content hash, so a pruning apply has probably removed it: render that release's manifests again (`kubectl kustomize`) and apply this one object, then `astern plan`; now: `kubectl get configmap app-config-5f2t8m9hgk -n shop`
        warn: secret/pull, which deployment/api-gateway at v1.2.3 needs (imagePullSecrets), cannot be used: it does not exist; pods start, and images may not be pulled
          bring it back as it was at that release, or choose another revision with `--to`; now: `kubectl get secret pull -n shop`
        "#);
    }

    #[test]
    fn a_key_that_the_plan_brings_back_is_there_and_one_that_it_does_not_bring_back_is_not() {
        let check = |keys: &[&str], after: bool, expected: &str| {
            let mut fixture = Fixture::with_config();
            let needed = |reference: &Reference| reference.name == "app-config";
            let write = crate::context::writes(&fixture.plan, &fixture.inventory)[0];
            let reference = super::needed(&write).into_iter().find(needed).unwrap();
            let question = super::question(&fixture.plan, &reference);
            let why = "it has no key MODE".to_owned();
            fixture.answers.insert(question, Answer::No { why });
            if let astern_model::step::config::Spec::Restore { to, .. } = fixture.config() {
                to.keys = keys.iter().map(|key| (*key).to_owned()).collect();
            }
            if !after {
                fixture.plan.steps[1].after.clear();
            }
            let told = fixture.told(super::check);
            assert!(
                told.contains(expected) && told.is_empty() == expected.is_empty(),
                "{told}"
            );
        };
        check(&["MODE"], true, "");
        check(&["OTHER"], true, "the content of release v1.2.3 has no key MODE");
        check(&["MODE"], false, "it has no key MODE");
    }

    #[test]
    fn content_that_lacks_what_a_workload_needs_that_keeps_its_template_is_refused() {
        let mut fixture = Fixture::restarted();
        assert_eq!(fixture.told(super::check), "");
        let needs = json!({"containers": [{"name": "api", "image": "registry.test/api:v1.2.4", "env": [{"name": "NEW_FLAG",
            "valueFrom": {"configMapKeyRef": {"name": "app-config", "key": "NEW_FLAG"}}}]}]});
        fixture.workload().template = Template::clean(json!({"spec": needs}));
        assert_eq!(
            fixture.told(super::check),
            "configmap/app-config, which deployment/api-gateway needs (env NEW_FLAG of container api) with the template that it \
             keeps, is to go back, and the content of release v1.2.3 has no key NEW_FLAG"
        );
    }
}
