//! Whether a rollout is complete: one decision over the workload and its pods as they were last seen. Owns that
//! decision; watches nothing, and says nothing of rollouts that cannot succeed (see [`super::standing`]).

use super::delivery::{self, Halt};
use super::object::{Object, writer_phrase};
use super::pin;
use super::pod::PodView;
use astern_model::evidence::Trouble;
use astern_model::id::{TemplateHash, Uid};
use astern_model::target::WorkloadKind;
use astern_model::workload::Strategy;
use std::collections::{BTreeMap, BTreeSet};

/// Which version of the workload a pod is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// Made from the template that is waited for.
    Target,
    /// Made from another template of the same workload.
    Other,
    /// Its revision has not been read yet.
    Unresolved,
}

/// One pod of the workload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) pod: PodView,
    pub(crate) belongs: Belongs,
}

impl Member {
    /// Whether it is there to stay: neither on its way out nor ended.
    pub(crate) fn stands(&self) -> bool {
        !self.pod.terminating && !self.pod.finished
    }
}

/// How a rollout stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rollout {
    /// Every pod that is asked for is of the template and serves; the others are gone.
    Serving {
        ready: u32,
        desired: u32,
        digests: BTreeMap<String, String>,
    },
    /// Not yet, and why.
    Waiting { why: String },
    /// It would be complete if these revisions are not the workload's own: they must be read.
    Unclear { revisions: BTreeSet<String> },
    /// It does not go on by itself.
    Halted(Halt),
    /// The workload is not what is waited for any more.
    Moved { message: String },
}

/// Decides how the rollout of `template` stands. Both must agree: the controller's status, which knows what
/// `minReadySeconds` makes available, and the pods themselves, which status trails.
pub(crate) fn rollout(now: &Object, uid: &Uid, template: &TemplateHash, members: &[Member]) -> Rollout {
    if let Some(message) = moved(now, uid, template) {
        return Rollout::Moved { message };
    }
    let asked = asked(now);
    let serving = || {
        members
            .iter()
            .filter(|member| is_target(member) && member.stands() && member.pod.ready)
    };
    let ready = narrow(serving().count() as u64);
    if let Some(why) = status_lags(now, &asked) {
        return paused(now)
            .or_else(|| halted(now))
            .unwrap_or(Rollout::Waiting { why });
    }
    let unresolved: BTreeSet<String> = members
        .iter()
        .filter(|member| member.belongs == Belongs::Unresolved && member.stands() && !asked.may_stay(member))
        .filter_map(|member| member.pod.revision.clone())
        .collect();
    if !unresolved.is_empty() {
        return Rollout::Unclear {
            revisions: unresolved,
        };
    }
    // Below a partition pods may be of the template too: they do not stand in for those that were to become it.
    let renewed = narrow(serving().filter(|member| !asked.may_stay(member)).count() as u64);
    if renewed < asked.updated {
        return Rollout::Waiting {
            why: format!(
                "{renewed} of {} pods of the new template are ready",
                asked.updated
            ),
        };
    }
    let former = |member: &&Member| {
        !is_target(member) && member.stands() && !asked.may_stay(member) && !asked.former_may_stay
    };
    if let Some(other) = members.iter().find(former) {
        return Rollout::Waiting {
            why: format!("pod/{} of another version is still there", other.pod.name),
        };
    }
    let digests = serving().flat_map(|member| member.pod.digests.clone()).collect();
    Rollout::Serving {
        ready,
        desired: asked.desired,
        digests,
    }
}

/// Why the next pod of an `OnDelete` workload stays for now, if it does: a pod that was deleted before it has not come
/// back yet, or does not serve.
pub(crate) fn not_renewed(now: &Object, members: &[Member]) -> Option<Lack> {
    let lacking = members
        .iter()
        .find(|member| is_target(member) && member.stands() && !member.pod.ready);
    if let Some(Member { pod, .. }) = lacking {
        return Some(Lack {
            why: match &pod.trouble {
                Some(trouble) => format!(
                    "pod/{} of the new template does not serve ({})",
                    pod.name,
                    trouble.phrase()
                ),
                None => format!("pod/{} of the new template does not serve yet", pod.name),
            },
            for_good: pod.trouble.as_ref().is_some_and(Trouble::cannot_pass),
        });
    }
    let desired = asked(now).desired;
    let there = members.iter().filter(|member| member.stands()).count();
    (there < usize::try_from(desired).unwrap_or(usize::MAX)).then(|| Lack {
        why: format!("{there} of {desired} pods are there"),
        for_good: false,
    })
}

/// What a workload lacks before its next pod may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) why: String,
    /// Whether waiting does not mend it.
    pub(crate) for_good: bool,
}

/// What the workload asks for.
struct Asked {
    /// Pods in all.
    desired: u32,
    /// Pods that must be of the newest template.
    updated: u32,
    /// StatefulSets with a partition: pods below this ordinal keep the version that they have.
    partition: Option<u64>,
    /// Rollouts whose traffic is moved over at once: pods of the version before stay for a while and get none.
    former_may_stay: bool,
}

impl Asked {
    /// Whether a pod of another version may stay where it is.
    fn may_stay(&self, member: &Member) -> bool {
        match (self.partition, member.pod.ordinal()) {
            (Some(partition), Some(ordinal)) => ordinal < partition,
            _ => false,
        }
    }
}

fn asked(now: &Object) -> Asked {
    let replicas = || narrow(now.number("/spec/replicas").unwrap_or(1));
    match (now.kind(), now.strategy()) {
        (WorkloadKind::DaemonSet, _) => {
            let desired = status(now, "desiredNumberScheduled");
            Asked {
                desired,
                updated: desired,
                partition: None,
                former_may_stay: false,
            }
        }
        (WorkloadKind::StatefulSet, Strategy::RollingUpdate { partition, .. }) if partition > 0 => {
            let first = now.number("/spec/ordinals/start").unwrap_or(0);
            let kept = narrow(u64::from(partition).saturating_sub(first)).min(replicas());
            Asked {
                desired: replicas(),
                updated: replicas() - kept,
                partition: Some(partition.into()),
                former_may_stay: false,
            }
        }
        (WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout, strategy) => Asked {
            desired: replicas(),
            updated: replicas(),
            partition: None,
            former_may_stay: matches!(
                strategy,
                Strategy::BlueGreen { .. } | Strategy::Canary { routed: true, .. }
            ),
        },
    }
}

/// What the controller's status still lacks. Source of the rules: the completeness that `kubectl rollout status`
/// applies, with availability asked of every kind.
fn status_lags(now: &Object, asked: &Asked) -> Option<String> {
    if !now.observed() {
        return Some("its controller has not seen the new template yet".to_owned());
    }
    if now.kind() == WorkloadKind::Rollout {
        return delivery::lags(now);
    }
    let (exist, updated, available) = match now.kind() {
        WorkloadKind::DaemonSet => (
            asked.desired,
            status(now, "updatedNumberScheduled"),
            status(now, "numberAvailable"),
        ),
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => (
            status(now, "replicas"),
            status(now, "updatedReplicas"),
            status(now, "availableReplicas"),
        ),
    };
    if updated < asked.updated {
        return Some(format!(
            "{updated} of {} pods are of the new template",
            asked.updated
        ));
    }
    if exist > asked.desired || (asked.partition.is_none() && exist > updated) {
        return Some(format!("{exist} pods exist, {} are asked for", asked.desired));
    }
    // Pods that a partition keeps on another version may be as broken as they were.
    (available < asked.updated).then(|| format!("{available} of {} pods are available", asked.updated))
}

fn moved(now: &Object, uid: &Uid, template: &TemplateHash) -> Option<String> {
    if let Some(message) = pin::another(uid, now) {
        return Some(message);
    }
    if now.text("/metadata/deletionTimestamp").is_some() {
        return Some("somebody is deleting it".to_owned());
    }
    let hash = now.template_hash();
    (&hash != template).then(|| {
        let writer = writer_phrase(now.template_manager().as_ref());
        format!(
            "its template is not the one that was to be rolled out: {hash} instead of {template}, {writer}"
        )
    })
}

fn halted(now: &Object) -> Option<Rollout> {
    (now.kind() == WorkloadKind::Rollout)
        .then(|| delivery::halted(now).map(Rollout::Halted))
        .flatten()
}

/// A paused Deployment or Rollout rolls nothing, so waiting for it is in vain.
fn paused(now: &Object) -> Option<Rollout> {
    let can_be = matches!(now.kind(), WorkloadKind::Deployment | WorkloadKind::Rollout);
    (can_be && now.paused()).then(|| Rollout::Moved {
        message: format!(
            "it is paused, so nothing rolls, {}",
            writer_phrase(now.paused_manager().as_ref())
        ),
    })
}

fn is_target(member: &Member) -> bool {
    member.belongs == Belongs::Target
}

fn status(now: &Object, field: &str) -> u32 {
    narrow(now.number(&format!("/status/{field}")).unwrap_or(0))
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A workload of three pods whose rollout is complete, with these changes merged in.
    fn workload(kind: WorkloadKind, changes: &Value) -> Object {
        let mut json = json!({
            "metadata": {"uid": "w", "generation": 4},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "api", "image": "api:v1"}]}}},
            "status": {
                "observedGeneration": 4,
                "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
                "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3,
            },
        });
        merge(&mut json, changes);
        Object::new(kind, json)
    }

    fn merge(into: &mut Value, changes: &Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (key, change) in changes {
                    merge(into.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
            (into, change) => *into = change.clone(),
        }
    }

    /// Pods from a row of letters: `t` ready and of the template, `T` the same and not ready, `o` of another
    /// version, `O` of another version and terminating, `?` not resolved. The position is the ordinal.
    fn pods(row: &str) -> Vec<Member> {
        let member = |(ordinal, letter): (usize, char)| Member {
            pod: PodView {
                name: format!("web-{ordinal}"),
                uid: Uid(format!("p-{ordinal}")),
                revision: Some("rev".to_owned()),
                ready: letter != 'T',
                terminating: letter == 'O',
                finished: false,
                restarts: 0,
                trouble: None,
                digests: BTreeMap::from([("api:v1".to_owned(), "sha256:ab".to_owned())]),
            },
            belongs: match letter {
                't' | 'T' => Belongs::Target,
                '?' => Belongs::Unresolved,
                _ => Belongs::Other,
            },
        };
        row.chars().enumerate().map(member).collect()
    }

    fn check(kind: WorkloadKind, changes: Value, row: &str, expected: &str) {
        let wanted = workload(kind, &json!({})).template_hash();
        let told = match rollout(&workload(kind, &changes), &"w".into(), &wanted, &pods(row)) {
            Rollout::Serving { ready, desired, .. } => format!("serving {ready}/{desired}"),
            Rollout::Waiting { why } => why,
            Rollout::Unclear { .. } => "unclear".to_owned(),
            Rollout::Halted(_) => "halted".to_owned(),
            Rollout::Moved { message } => message,
        };
        assert!(told.starts_with(expected), "{row} {changes}: {told}");
    }

    #[test]
    fn the_next_pod_of_an_on_delete_workload_goes_once_those_before_it_serve() {
        let check = |row: &str, trouble: Option<Trouble>, expected: Option<(&str, bool)>| {
            let mut members = pods(row);
            let lacking = members.iter_mut().filter(|member| !member.pod.ready);
            lacking.for_each(|member| member.pod.trouble.clone_from(&trouble));
            let lack = not_renewed(&workload(WorkloadKind::StatefulSet, &json!({})), &members);
            let told = lack.as_ref().map(|lack| (lack.why.as_str(), lack.for_good));
            assert_eq!(told, expected, "{row}");
        };
        let crashes = Trouble::CrashLoop {
            container: "a".to_owned(),
            exit_code: None,
            restarts: 3,
            last_line: None,
        };
        check("ooo", None, None);
        check("oot", None, None);
        check("oo", None, Some(("2 of 3 pods are there", false)));
        check("ooO", None, Some(("2 of 3 pods are there", false)));
        let starts = "pod/web-2 of the new template does not serve yet";
        check("ooT", None, Some((starts, false)));
        let fails = "pod/web-2 of the new template does not serve (CrashLoopBackOff, 3 restarts)";
        check("ooT", Some(crashes), Some((fails, true)));
    }

    #[test]
    fn a_rollout_serves_when_argo_rollouts_calls_it_healthy_and_the_pods_agree() {
        let status = |phase: &str| {
            json!({"metadata": {"name": "web"}, "status": {"observedGeneration": "4", "phase": phase,
                "stableRS": "aaa", "currentPodHash": "aaa", "message": "more replicas need to be updated"}})
        };
        let rollout = |more: Value, row: &str, expected: &str| {
            let mut changes = status("Healthy");
            merge(&mut changes, &more);
            check(WorkloadKind::Rollout, changes, row, expected);
        };
        rollout(json!({}), "ttt", "serving 3/3");
        rollout(json!({}), "ttT", "2 of 3 pods of the new template are ready");
        rollout(json!({}), "ttto", "pod/web-3 of another version is still there");
        rollout(
            json!({"status": {"observedGeneration": "3"}}),
            "ttt",
            "its controller has not seen",
        );
        rollout(
            json!({"status": {"phase": "Progressing"}}),
            "ttt",
            "Argo Rollouts calls it Progressing: more replicas",
        );
        rollout(
            json!({"status": {"phase": "Degraded", "abort": true}}),
            "ooo",
            "halted",
        );
        // Former pods of these stay for a while, without traffic.
        rollout(
            json!({"spec": {"strategy": {"blueGreen": {}}}}),
            "tttooo",
            "serving 3/3",
        );
        let routed = json!({"spec": {"strategy": {"canary": {"trafficRouting": {"nginx": {}}}}}});
        rollout(routed, "tttooo", "serving 3/3");
    }

    #[test]
    fn a_deployment_serves_when_status_and_pods_agree() {
        let deployment = |changes: Value, row: &str, expected: &str| {
            check(WorkloadKind::Deployment, changes, row, expected)
        };
        deployment(json!({}), "ttt", "serving 3/3");
        deployment(json!({}), "tttOO", "serving 3/3");
        deployment(
            json!({"status": {"observedGeneration": 3}}),
            "ttt",
            "its controller has not seen",
        );
        deployment(
            json!({"status": {"updatedReplicas": 2}}),
            "ttt",
            "2 of 3 pods are of the new template",
        );
        deployment(
            json!({"status": {"replicas": 4}}),
            "tttO",
            "4 pods exist, 3 are asked for",
        );
        // minReadySeconds: ready, and not available yet.
        deployment(
            json!({"status": {"availableReplicas": 1}}),
            "ttt",
            "1 of 3 pods are available",
        );
        // Status is ahead of the pods, or behind them.
        deployment(json!({}), "ttT", "2 of 3 pods of the new template are ready");
        deployment(json!({}), "ttto", "pod/web-3 of another version is still there");
        deployment(json!({}), "ttt?", "unclear");
        deployment(json!({}), "???", "unclear");
        // An autoscaler asks for more meanwhile.
        deployment(
            json!({"spec": {"replicas": 4}}),
            "ttt",
            "3 of 4 pods are of the new template",
        );
        let none = json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "updatedReplicas": 0, "availableReplicas": 0}});
        deployment(none.clone(), "", "serving 0/0");
        deployment(none.clone(), "O", "serving 0/0");
        deployment(none, "o", "pod/web-0 of another version is still there");
    }

    #[test]
    fn a_statefulset_with_a_partition_serves_when_the_pods_above_it_do() {
        let partition =
            |number: u32| json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": number}}}});
        let with = |number: u32, updated: u32| {
            let mut changes = partition(number);
            changes["status"] = json!({"updatedReplicas": updated});
            changes
        };
        check(WorkloadKind::StatefulSet, with(2, 1), "oot", "serving 1/3");
        check(
            WorkloadKind::StatefulSet,
            with(2, 1),
            "ooT",
            "0 of 1 pods of the new template are ready",
        );
        check(
            WorkloadKind::StatefulSet,
            with(1, 1),
            "oot",
            "1 of 2 pods are of the new template",
        );
        check(WorkloadKind::StatefulSet, with(1, 2), "ott", "serving 2/3");
        // The pods below it are of the template too, and do not count for the one that is not ready.
        check(
            WorkloadKind::StatefulSet,
            with(2, 3),
            "ttT",
            "0 of 1 pods of the new template are ready",
        );
        check(WorkloadKind::StatefulSet, with(2, 3), "ttt", "serving 3/3");
        check(WorkloadKind::StatefulSet, with(9, 0), "ooo", "serving 0/3");
        // Ordinals that begin at 5: of three pods, the partition at 6 keeps one.
        let mut late = with(6, 1);
        late["spec"]["ordinals"] = json!({"start": 5});
        check(
            WorkloadKind::StatefulSet,
            late,
            "oot",
            "1 of 2 pods are of the new template",
        );
    }

    #[test]
    fn a_daemonset_serves_on_every_node_that_it_is_scheduled_to() {
        check(WorkloadKind::DaemonSet, json!({}), "ttt", "serving 3/3");
        check(
            WorkloadKind::DaemonSet,
            json!({"status": {"updatedNumberScheduled": 1}}),
            "too",
            "1 of 3 pods are of",
        );
        check(
            WorkloadKind::DaemonSet,
            json!({"status": {"numberAvailable": 2}}),
            "ttt",
            "2 of 3 pods are available",
        );
        check(
            WorkloadKind::DaemonSet,
            json!({"status": {"desiredNumberScheduled": 0, "updatedNumberScheduled": 0, "numberAvailable": 0}}),
            "",
            "serving 0/0",
        );
        let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"updatedNumberScheduled": 2}});
        check(
            WorkloadKind::DaemonSet,
            on_delete,
            "tto",
            "2 of 3 pods are of the new template",
        );
    }

    #[test]
    fn a_wait_ends_when_the_workload_is_not_what_is_waited_for() {
        let deployment =
            |changes: Value, expected: &str| check(WorkloadKind::Deployment, changes, "ttt", expected);
        deployment(
            json!({"metadata": {"uid": "w2"}}),
            "it was deleted and made again: its uid changed from w to w2",
        );
        deployment(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            "somebody is deleting it",
        );
        let edited = json!({
            "metadata": {"managedFields": [{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}]},
            "spec": {"template": {"spec": {"containers": []}}},
        });
        deployment(
            edited,
            "its template is not the one that was to be rolled out: sha256:",
        );
        deployment(
            json!({"spec": {"paused": true}, "status": {"updatedReplicas": 1}}),
            "it is paused, so nothing rolls",
        );
        deployment(json!({"spec": {"paused": true}}), "serving 3/3");
    }

    #[test]
    fn the_digests_are_those_of_the_pods_that_serve() {
        let now = workload(WorkloadKind::Deployment, &json!({}));
        let Rollout::Serving { digests, .. } = rollout(&now, &"w".into(), &now.template_hash(), &pods("ttt"))
        else {
            panic!("the rollout is complete");
        };
        assert_eq!(
            digests,
            BTreeMap::from([("api:v1".to_owned(), "sha256:ab".to_owned())])
        );
    }
}
