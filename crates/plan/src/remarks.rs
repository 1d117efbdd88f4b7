//! What a plan says beside its steps: what a reader must know before saying yes, and what it does not change. Owns
//! the sentences; it decides nothing, and leaves to the gate what the gate finds.

use crate::config::Restoring;
use crate::delivery;
use crate::phrase;
use crate::refuse::list;
use crate::scope::Scope;
use crate::steps::{Move, Moves, may_stay, on_delete, partition, stuck};
use crate::world::{View, World, count};
use astern_model::assessment::{Assessment, WorkloadAssessment};
use astern_model::choice::{Choice, human};
use astern_model::decision::Decision;
use astern_model::id::TemplateHash;
use astern_model::policy::{Say, When};
use astern_model::release::ReleaseName;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::{RevisionKind, Workload};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A version that has run for longer than this before it failed is seldom the cause.
const OLD_RELEASE: SignedDuration = SignedDuration::from_hours(24);

/// What the decision means for whoever approves.
pub(crate) fn of_decision(decision: &Decision, overrides: &BTreeSet<String>) -> Vec<String> {
    let mut remarks = Vec::new();
    for fired in &decision.fired {
        let on: Vec<String> = fired
            .on
            .iter()
            .map(|(target, why)| format!("{target}: {why}"))
            .collect();
        let rest = format!("{} ({})", fired.because, on.join("; "));
        match fired.say {
            Say::DoNot if overrides.contains(&fired.row) => {
                remarks.push(format!("overridden by --override-decision {}: {rest}", fired.row));
            }
            Say::Ask if decision.say == Say::Ask => {
                remarks.push(format!(
                    "the matrix asks ({}): {rest}; saying yes decides over it",
                    fired.row
                ));
            }
            Say::Ask => remarks.push(format!("{rest}: graver rows decide without it")),
            Say::DoNot | Say::RollBack => {}
        }
    }
    if decision.fired.is_empty() {
        remarks.push("no row of the matrix fires: saying yes decides without it".to_owned());
    }
    remarks
}

/// How the scope came about.
pub(crate) fn of_scope(scope: &Scope<'_>, moves: &Moves<'_>) -> Vec<String> {
    let joined = scope
        .joined
        .iter()
        .filter(|(target, _)| moves.contains_key(*target));
    scope
        .remarks
        .iter()
        .chain(joined.map(|(_, sentence)| sentence))
        .cloned()
        .collect()
}

/// What is remarkable about each workload of the plan and about its choice.
pub(crate) fn of_targets(moves: &Moves<'_>, assessment: &Assessment, choices: &[Choice]) -> Vec<String> {
    let entries: BTreeMap<&Target, &WorkloadAssessment> = assessment
        .workloads
        .iter()
        .map(|entry| (&entry.target, entry))
        .collect();
    let choices: BTreeMap<&Target, &Choice> = choices.iter().map(|choice| (&choice.target, choice)).collect();
    let mut remarks = Vec::new();
    for one in moves.values() {
        remarks.extend(
            choices
                .get(one.target())
                .and_then(|choice| of_choice(choice, one)),
        );
        remarks.extend(
            entries
                .get(one.target())
                .into_iter()
                .flat_map(|entry| of_entry(entry, one)),
        );
        remarks.extend(of_autoscaler(one));
        remarks.extend(of_pods(one));
        remarks.extend(delivery::remarks(one));
    }
    remarks
}

/// The forecast held against the budget.
pub(crate) fn of_budget(forecast: SignedDuration, rto: SignedDuration) -> Option<String> {
    (forecast > rto).then(|| {
        format!(
            "the forecast of {} is over the RTO of {}",
            human(forecast),
            human(rto)
        )
    })
}

/// What a release that was named holds, and the namespace does not any more.
pub(crate) fn gone(gone: &[(ReleaseName, Target)]) -> Vec<String> {
    let mut of: BTreeMap<&ReleaseName, Vec<&Target>> = BTreeMap::new();
    for (release, target) in gone {
        of.entry(release).or_default().push(target);
    }
    let sentence = |(release, targets): (&ReleaseName, Vec<&Target>)| {
        format!(
            "release {release} holds {}, which the namespace does not any more: astern makes no workload anew, so apply the manifest again",
            list(targets)
        )
    };
    of.into_iter().map(sentence).collect()
}

/// Members that do not exist. What could not be read is the gate's to say.
pub(crate) fn of_gaps(world: &World<'_>) -> Vec<String> {
    let absent = world
        .members
        .keys()
        .filter(|target| !world.views.contains_key(*target));
    let sentence = |target: &&Target| {
        format!(
            "{target} is a member of the platform and does not exist: astern makes no workload anew, so apply its manifest again"
        )
    };
    absent.map(sentence).collect()
}

fn of_choice(choice: &Choice, one: &Move<'_>) -> Option<String> {
    let good = choice.good.as_ref()?;
    let revision = one.view.revision(&good.revision.template)?;
    let to = format!(
        "{} goes back to {} ({})",
        choice.target,
        good.revision.version,
        good.revision.label()
    );
    let marks: Vec<String> = revision
        .marks
        .iter()
        .filter(|(mark, _)| {
            [crate::choose::MARK_BAD, crate::choose::MARK_ROLLED_BACK_BY].contains(&mark.as_str())
        })
        .map(|(mark, value)| format!("{mark}={value}"))
        .collect();
    if !marks.is_empty() {
        return Some(format!("{to}, which is marked {}", marks.join(", ")));
    }
    if good.revision.kind == RevisionKind::HelmRecord {
        let fared = match good.because.is_presumed() {
            true => good.because.sentence(),
            false => "nothing tells how its pods fared".to_owned(),
        };
        return Some(format!(
            "{to}, which the cluster does not remember: what it then asks for is foretold by a dry run of what helm writes; {fared}"
        ));
    }
    good.because
        .is_presumed()
        .then(|| format!("{to}, {}", good.because.sentence()))
}

fn of_entry(entry: &WorkloadAssessment, one: &Move<'_>) -> Vec<String> {
    let target = &entry.target;
    let mut remarks = Vec::new();
    if entry.former_ready > 0 {
        let versions: BTreeSet<String> = one
            .view
            .former_pods()
            .filter(|pod| pod.ready)
            .map(|pod| one.view.version_of(pod))
            .collect();
        let versions: Vec<String> = versions.into_iter().collect();
        let serve = if entry.former_ready == 1 {
            "serves"
        } else {
            "serve"
        };
        remarks.push(format!(
            "{} of {} still {serve} {target}: {} of {} ready in all",
            count(entry.former_ready, "pod"),
            versions.join(" and "),
            entry.ready,
            entry.desired
        ));
    }
    let alike = entry.holds.contains(&When::FormerFailsAlike);
    if let Some(why) = phrase::same_trouble(entry).filter(|_| !alike) {
        remarks.push(format!("{target}: some pods fail in the same way on {why}"));
    }
    if let Some(age) = entry.age.filter(|age| *age > OLD_RELEASE) {
        remarks.push(format!(
            "{target} has been at {} for {}: what fails now may have another cause",
            entry.version,
            human(age)
        ));
    }
    if entry.live_since.is_none() {
        remarks.push(format!(
            "it is unknown since when {target} is at {}, so which workloads moved with it is not known either",
            entry.version
        ));
    }
    remarks
}

fn of_autoscaler(one: &Move<'_>) -> Vec<String> {
    let target = one.target();
    let Some(autoscaler) = &one.view.workload.autoscaler else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    if autoscaler.max > 0 && autoscaler.current.max(autoscaler.wanted) >= autoscaler.max {
        remarks.push(format!(
            "autoscaler {} of {target} is at its maximum of {}: it cannot add pods while versions change",
            autoscaler.name, autoscaler.max
        ));
    }
    if autoscaler.min == 0 {
        remarks.push(format!(
            "autoscaler {} of {target} may go down to 0 pods: none to judge the version by",
            autoscaler.name
        ));
    }
    remarks
}

fn of_pods(one: &Move<'_>) -> Vec<String> {
    let target = one.target();
    let mut remarks = Vec::new();
    for (pod, trouble) in stuck(one.view, one.written()) {
        remarks.push(format!(
            "pod/{} of {target} is deleted, which is irreversible: it cannot recover ({}) and the others wait for it",
            pod.name,
            trouble.phrase()
        ));
    }
    for pod in may_stay(one.view, one.written()) {
        remarks.push(format!(
            "pod/{} of {target} is not ready and is not deleted, because it may yet become ready or cannot be seen: should the others go on waiting for it, the run stops at the deadline and asks",
            pod.name
        ));
    }
    remarks.extend(of_on_delete(one.view, one.written()));
    if let Some(partition) = partition(one.view) {
        remarks.push(format!(
            "{target} has partition {partition}: only pods from ordinal {partition} on take the template; those below run {} already and stay",
            one.to.version
        ));
    }
    remarks
}

/// What is said of the pods that only a deletion replaces, where they are to take the template `to`.
pub(crate) fn of_on_delete(view: &View<'_>, to: &TemplateHash) -> Vec<String> {
    let target = &view.workload.target;
    let mut remarks = Vec::new();
    let (old, lost) = on_delete(view, to);
    if !old.is_empty() {
        let serving = old.iter().filter(|pod| pod.ready).count();
        remarks.push(format!(
            "{target} is OnDelete: {} deleted one after the other, which is irreversible; {serving} of them ready now, and one that is goes only once those before it serve again",
            match old.len() {
                1 => "1 pod is".to_owned(),
                many => format!("{many} pods are"),
            }
        ));
    }
    for pod in lost {
        remarks.push(format!(
            "pod/{} of {target} is not deleted: its node does not answer, so the rollout may not end",
            pod.name
        ));
    }
    remarks
}

/// What the plan leaves as it is. `left` are workloads that were looked at and stay, each with a reason.
pub(crate) fn unchanged(
    moves: &Moves<'_>,
    restoring: &Restoring<'_>,
    world: &World<'_>,
    left: &BTreeMap<&Target, String>,
) -> Vec<String> {
    let touched: BTreeMap<&Target, &Workload> = moves
        .values()
        .map(|one| one.view)
        .chain(restoring.restarts.values().map(|one| one.view))
        .map(|view| (&view.workload.target, view.workload))
        .collect();
    let mut told = Vec::new();
    if !touched.is_empty() {
        told.push(format!("replicas stay as they are: {}", counts(&touched)));
    }
    let autoscalers: Vec<String> = touched
        .iter()
        .filter_map(|(target, workload)| Some((target, workload.autoscaler.as_ref()?)))
        .map(|(target, autoscaler)| {
            format!(
                "{} ({target}, {} to {})",
                autoscaler.name, autoscaler.min, autoscaler.max
            )
        })
        .collect();
    told.extend((!touched.is_empty()).then(|| {
        if autoscalers.is_empty() {
            "autoscalers stay as they are: these workloads have none".to_owned()
        } else {
            format!("autoscalers stay as they are: {}", autoscalers.join(", "))
        }
    }));
    if restoring.is_empty() && restoring.stays.is_empty() {
        told.extend(config(moves, restoring));
    }
    told.extend(restoring.stays.iter().cloned());
    if !moves.is_empty() {
        told.push(format!(
            "databases are not looked at: whether {} works with today's schema and data is not known",
            versions(moves)
        ));
    }
    for (target, view) in &world.views {
        if moves.contains_key(target) {
            continue;
        }
        let stays = format!("{target} stays at {}", view.workload.version());
        if restoring.restarts.contains_key(target) {
            told.push(format!("{stays}: it is restarted, with the same template"));
            continue;
        }
        match left.get(target) {
            Some(why) => told.push(format!("{stays}: {why}")),
            None if !world.members.is_empty() && !world.members.contains_key(target) => {
                told.push(format!("{stays}: it is not a member of the platform"));
            }
            None => told.push(stays),
        }
    }
    told
}

fn counts(touched: &BTreeMap<&Target, &Workload>) -> String {
    let counts: Vec<String> = touched
        .iter()
        .map(|(target, workload)| format!("{target} {}", workload.desired))
        .collect();
    counts.join(", ")
}

fn versions(moves: &Moves<'_>) -> String {
    let versions: BTreeSet<&str> = moves.values().map(|one| one.to.version.as_str()).collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    versions.join(" and ")
}

/// What stays of what the templates read: all but what Helm releases change.
fn config(moves: &Moves<'_>, restoring: &Restoring<'_>) -> Option<String> {
    let mut names = BTreeSet::new();
    for one in moves.values() {
        referred(one.template.unwrap_or(&one.view.workload.template), &mut names);
    }
    let carried = restoring.carried.iter().flat_map(|one| &one.objects);
    let carried: BTreeSet<String> = carried.map(|(object, _)| object.to_string()).collect();
    if names.is_empty() && carried.is_empty() {
        return Some("ConfigMaps and Secrets stay as they are: the templates refer to none".to_owned());
    }
    names.retain(|(kind, name)| !carried.contains(&format!("{}/{name}", kind.to_lowercase())));
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names
        .into_iter()
        .map(|(kind, name)| format!("{kind} {name}"))
        .collect();
    Some(format!(
        "ConfigMaps and Secrets keep their content of now: the templates refer to {}",
        names.join(", ")
    ))
}

/// The ConfigMaps and Secrets that a template names, wherever a pod can: env, envFrom, volumes, image pulls.
fn referred(template: &Template, names: &mut BTreeSet<(&'static str, String)>) {
    let mut add = |kind: &'static str, place: Option<&Value>, field: &str| {
        let name = place.and_then(|place| place.get(field)).and_then(Value::as_str);
        names.extend(name.map(|name| (kind, name.to_owned())));
    };
    for container in template.containers() {
        for from in container.list("envFrom") {
            add("ConfigMap", from.get("configMapRef"), "name");
            add("Secret", from.get("secretRef"), "name");
        }
        for env in container.list("env") {
            let from = env.get("valueFrom");
            add(
                "ConfigMap",
                from.and_then(|from| from.get("configMapKeyRef")),
                "name",
            );
            add("Secret", from.and_then(|from| from.get("secretKeyRef")), "name");
        }
    }
    for volume in template.list("volumes") {
        add("ConfigMap", volume.get("configMap"), "name");
        add("Secret", volume.get("secret"), "secretName");
        let projected = volume
            .get("projected")
            .and_then(|projected| projected.get("sources"));
        for source in projected.and_then(Value::as_array).into_iter().flatten() {
            add("ConfigMap", source.get("configMap"), "name");
            add("Secret", source.get("secret"), "name");
        }
    }
    for secret in template.list("imagePullSecrets") {
        add("Secret", Some(secret), "name");
    }
}

/// Why a workload of the same release is left: a choice without anything good.
pub(crate) fn without_good(choice: &Choice) -> String {
    match choice.notes.first().filter(|_| choice.passed_over.is_empty()) {
        Some(note) => format!("it moved in the same release, and {note}"),
        None => "it moved in the same release, and no revision of it is known good".to_owned(),
    }
}

/// Said when workloads of the release stay because nothing good is known of them.
pub(crate) fn mixed(left: &[&Target]) -> Option<String> {
    (!left.is_empty()).then(|| {
        format!(
            "{} moved in the same release and cannot go back with it: two releases will stand side by side",
            list(left.iter().copied())
        )
    })
}
