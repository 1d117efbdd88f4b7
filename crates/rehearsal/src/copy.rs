//! From what was read of a namespace to a cluster that goes on from there. Owns what a copy needs that was not read: what
//! pods cannot be made without is put in its place, and what follows from a missing right is said.

use crate::jobs::{Jobs, jobs};
use crate::pace::{Paces, paces};
use astern_kubernetes::look::{Dump, Unread};
use astern_model::target::Cluster as Identity;
use astern_report::rehearsal::Copied;
use astern_sandbox::dump::DumpError;
use astern_sandbox::{Autoscaling, Cluster, IdleAutoscaler, Options, dump};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A copy of a namespace, at the moment when it was read.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The cluster.
    pub cluster: Cluster,
    /// How the pods of each revision behave in it, and how that is known.
    pub paces: Paces,
    /// What it is made of.
    pub made_of: Copied,
    /// The disruption budgets, as they were read.
    pub budgets: Vec<Value>,
    /// What the sandbox does not do as a real cluster does.
    pub not_imitated: Vec<NotImitated>,
}

/// An object that the sandbox holds, or leaves out, and does not act by as a real cluster does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotImitated {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What is not imitated.
    pub why: String,
}

impl NotImitated {
    fn sentence(&self) -> String {
        let so = match self.kind.as_str() {
            "ResourceQuota" => ": left out, so it is in nobody's way",
            "Job" => ": left out, and its pods stay as they are",
            _ => "",
        };
        format!("{}{so}", self.why)
    }
}

/// Makes a copy of what was read at `now`, of a namespace of the cluster `of`.
///
/// # Errors
/// When an object is of a kind that the sandbox does not serve; [`Dump`] holds none.
pub fn copy(read: Dump, namespace: &str, of: &Identity, now: Timestamp) -> Result<Copy, DumpError> {
    let Dump { mut objects, unread } = read;
    let not_imitated = not_imitated(&mut objects);
    let mut paces = paces(&objects, now);
    let Jobs { rules, unknown } = jobs(&objects);
    paces.behaviours.rules.extend(rules);
    let in_namespace = |kind: &str| {
        let of_kind = objects
            .iter()
            .filter(|object| object["kind"] == kind && object["metadata"]["namespace"] == namespace);
        of_kind.count() as u64
    };
    let nodes = objects.iter().filter(|object| object["kind"] == "Node").count() as u64;
    let mut made_of = Copied {
        at: now,
        objects: objects.len() as u64,
        pods: in_namespace("Pod"),
        nodes,
        missing: unread
            .iter()
            .map(follows)
            .chain(not_imitated.iter().map(NotImitated::sentence))
            .chain(
                unknown
                    .iter()
                    .map(|job| format!("Job {job}: none of its pods has ended, so that they run on here")),
            )
            .collect(),
    };
    let budgets = objects
        .iter()
        .filter(|object| object["kind"] == "PodDisruptionBudget")
        .cloned()
        .collect();
    let mut added = stand_ins(&objects, namespace);
    added.extend(roomy_nodes(&objects));
    objects.extend(added);
    set_free(&mut objects);
    let options = Options {
        version: of.version.clone(),
        user: of.user.clone(),
        behaviours: paces.behaviours.clone(),
        autoscaling: Autoscaling::ByLoad,
        ..Options::default()
    };
    let cluster = dump::cluster(objects, options, now)?;
    let idle = cluster.idle_autoscalers().into_iter();
    let told = idle.map(|IdleAutoscaler { name, why, .. }| {
        format!("HorizontalPodAutoscaler {name}: {why}: it does nothing here")
    });
    made_of.missing.extend(told);
    Ok(Copy {
        cluster,
        paces,
        made_of,
        budgets,
        not_imitated,
    })
}

/// The kinds of which it matters how the sandbox acts by them.
const ACTED_BY: [&str; 6] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "ResourceQuota",
    "LimitRange",
];

/// Of these, those that are rather not there: a quota must not stand in the way of pods that it does not count, and a
/// Job's controller must not take its pods for others.
const LEFT_OUT: [&str; 2] = ["ResourceQuota", "Job"];

/// Finds what the sandbox does not imitate, and takes out what would otherwise act as it should not.
fn not_imitated(objects: &mut Vec<Value>) -> Vec<NotImitated> {
    let text = |object: &Value, pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let mut found = Vec::new();
    // From behind, so that the places of the others stay.
    for (place, why) in dump::not_imitated(objects).into_iter().rev() {
        let object = &objects[place];
        let named = NotImitated {
            kind: text(object, "/kind"),
            name: text(object, "/metadata/name"),
            why,
        };
        if LEFT_OUT.contains(&named.kind.as_str()) {
            objects.remove(place);
        }
        if ACTED_BY.contains(&named.kind.as_str()) {
            found.push(named);
        }
    }
    found.reverse();
    found
}

/// What follows for the rehearsal from something that could not be read.
fn follows(unread: &Unread) -> String {
    let Unread { resource, why, .. } = unread;
    let so = match (*resource, &unread.namespace) {
        ("pods", None) => "room on nodes counts without other namespaces' pods",
        ("nodes", _) => "nodes are taken to have room for all",
        ("resourcequotas", _) => "quotas do not stand in the way here, and may there",
        ("limitranges", _) => "what LimitRanges add to pods is not known",
        ("poddisruptionbudgets", _) => "disruption budgets are not told",
        ("horizontalpodautoscalers", _) => "autoscalers are not told",
        ("jobs", _) => "pods of Jobs stay as they are",
        _ => "claims are made anew, and count against quotas as such",
    };
    format!("{resource} could not be read ({why}): {so}")
}

/// Kinds of owners without which an object would be collected.
const OWNERS: [&str; 3] = ["Job", "CronJob", "ReplicationController"];

/// Whoever belongs to what was left behind belongs to nobody here, or it would be collected.
fn set_free(objects: &mut [Value]) {
    let here: BTreeSet<String> = objects
        .iter()
        .filter_map(|object| Some(object["metadata"]["uid"].as_str()?.to_owned()))
        .collect();
    let left_behind = |owner: &Value| {
        OWNERS.iter().any(|kind| owner["kind"] == *kind)
            && owner["uid"].as_str().is_none_or(|uid| !here.contains(uid))
    };
    for object in objects {
        let owners = object.pointer_mut("/metadata/ownerReferences");
        if let Some(owners) = owners.and_then(Value::as_array_mut) {
            owners.retain(|owner| !left_behind(owner));
        }
    }
}

/// The service accounts and priority classes that pods name, without which none can be made. Whether they are there is
/// the gate's question, and it has asked the real cluster.
fn stand_ins(objects: &[Value], namespace: &str) -> Vec<Value> {
    let specs = || {
        objects
            .iter()
            .filter_map(|object| match object["kind"].as_str()? {
                "Pod" => object.pointer("/spec"),
                "ControllerRevision" => object.pointer("/data/spec/template/spec"),
                _ => object.pointer("/spec/template/spec"),
            })
    };
    let mut stand_ins: BTreeMap<(&str, &str), Value> = BTreeMap::new();
    let accounts = specs().filter_map(|spec| spec["serviceAccountName"].as_str());
    for name in accounts.chain(["default"]) {
        let account = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        });
        stand_ins.insert(("ServiceAccount", name), account);
    }
    for spec in specs() {
        let Some(name) = spec["priorityClassName"].as_str() else {
            continue;
        };
        // A pod knows its priority, a template only the class.
        let priority = spec["priority"].as_i64();
        let known = stand_ins.get(&("PriorityClass", name));
        if known.is_none() || priority.is_some() {
            let class = json!({
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": priority.unwrap_or_default(),
            });
            stand_ins.insert(("PriorityClass", name), class);
        }
    }
    stand_ins.into_values().collect()
}

/// The nodes that pods are on and that could not be read: nothing is known of them, so nothing there is in the way.
fn roomy_nodes(objects: &[Value]) -> Vec<Value> {
    let described: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "Node")
        .filter_map(|node| node["metadata"]["name"].as_str())
        .collect();
    let named: BTreeSet<&str> = objects
        .iter()
        .filter_map(|object| object["spec"]["nodeName"].as_str())
        .collect();
    let amounts = json!({"cpu": "100k", "memory": "1Pi", "pods": "100k"});
    named
        .difference(&described)
        .map(|name| {
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": {},
                "status": {
                    "capacity": amounts,
                    "allocatable": amounts,
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_cannot_be_made_without_is_there_under_the_names_that_they_use() {
        let pod = json!({"kind": "Pod", "spec": {
            "serviceAccountName": "web", "priorityClassName": "high", "priority": 1000,
        }});
        let revision =
            json!({"kind": "ReplicaSet", "spec": {"template": {"spec": {"priorityClassName": "high"}}}});
        let made = stand_ins(&[pod, revision], "shop");
        let told: Vec<(&Value, &Value)> = made
            .iter()
            .map(|made| (&made["metadata"]["name"], &made["value"]))
            .collect();
        let (high, default, web) = (json!("high"), json!("default"), json!("web"));
        let (priority, none) = (json!(1000), Value::Null);
        assert_eq!(told, [(&high, &priority), (&default, &none), (&web, &none)]);
    }

    #[test]
    fn a_quota_that_would_be_counted_otherwise_is_left_out_and_a_workload_stays_and_both_are_told() {
        let surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
        let mut objects = vec![
            json!({
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "jobs"},
                "spec": {"hard": {"pods": "0"}, "scopes": ["Terminating"]},
            }),
            json!({
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": "agent"},
                "spec": {
                    "selector": {"matchLabels": {"app": "agent"}},
                    "updateStrategy": surge,
                    "template": {
                        "metadata": {"labels": {"app": "agent"}},
                        "spec": {"containers": [{"name": "agent", "image": "agent:v1"}]},
                    },
                },
            }),
        ];
        let told = not_imitated(&mut objects);
        let sentences: Vec<String> = told.iter().map(NotImitated::sentence).collect();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0]["kind"], "DaemonSet");
        assert!(sentences[0].contains("scopes of quotas") && sentences[0].contains("left out"));
        assert!(sentences[1].contains("a surge of DaemonSets"), "{sentences:?}");
    }

    #[test]
    fn a_pod_of_a_job_stays_although_its_job_is_not_copied() {
        let owned = |kind: &str| {
            let owner = json!({"kind": kind, "name": "a", "uid": "u-1"});
            json!({"kind": "Pod", "metadata": {"ownerReferences": [owner]}})
        };
        let job = json!({"kind": "Job", "metadata": {"name": "a", "uid": "u-1"}});
        for (kind, copied, left) in [("Job", false, 0), ("Job", true, 1), ("ReplicaSet", false, 1)] {
            let mut objects = vec![owned(kind)];
            objects.extend(copied.then(|| job.clone()));
            set_free(&mut objects);
            let owners = objects[0]["metadata"]["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), left, "{kind}");
        }
    }

    #[test]
    fn a_job_that_would_be_carried_out_otherwise_is_left_out_and_that_is_told() {
        let own = json!({"batch.kubernetes.io/controller-uid": "u-1"});
        let mut objects = vec![json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "sums", "uid": "u-1"},
            "spec": {
                "completionMode": "Indexed",
                "completions": 2,
                "parallelism": 1,
                "selector": {"matchLabels": own},
                "template": {
                    "metadata": {"labels": own},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "sums", "image": "sums:v1"}]},
                },
            },
        })];
        let told = not_imitated(&mut objects);
        assert!(objects.is_empty());
        let said = told[0].sentence();
        let end = "does not support indexed Jobs: left out, and its pods stay as they are";
        assert!(said.ends_with(end), "{said}");
    }
}
