//! One round of reads made into an inventory. Owns the joining; `second` says what a further round must ask, and
//! `assemble` is a function of what was read and the time.

use super::facts::facts;
use super::owners::{self, Aimed, Mark, Word, marks, owner, presumed};
use super::pods::{doubtful_node, is_finished, pod};
use super::revisions::{Kept, Remembered, count, revision_of};
use super::round::Round;
use super::warnings::Warnings;
use super::workload::{autoscaler, target, workload};
use astern_model::inventory::{Inventory, Quota, Scope};
use astern_model::target::{Hub, Target};
use astern_model::workload::Pod;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What only a second round can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Second {
    /// Owners whose own objects are to be read.
    pub(super) owners: BTreeSet<Mark>,
    /// Those that may be owners, which only their own objects can tell.
    pub(super) hints: BTreeSet<Mark>,
    /// Nodes that may not answer.
    pub(super) nodes: BTreeSet<String>,
}

/// What a second round told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// What the owners' objects say.
    pub(super) owners: BTreeMap<Mark, Word>,
    /// Argo CD's cluster, where it is a hub.
    pub(super) hub: Option<Hub>,
    /// Nodes that do not answer.
    pub(super) lost: BTreeSet<String>,
    /// What could not be read, as sentences.
    pub(super) unread: Vec<String>,
}

/// What must be asked further. Empty in a namespace without owners and without doubtful nodes.
pub(super) fn second(round: &Round, namespace: &str, now: Timestamp) -> Second {
    let all = round
        .workloads
        .iter()
        .flat_map(|object| marks(object.json(), namespace))
        .filter(|marked| marked.mark.is_asked());
    let (hints, owners): (Vec<owners::Marked>, Vec<owners::Marked>) = all.partition(|marked| marked.hint);
    let marks = |all: Vec<owners::Marked>| all.into_iter().map(|marked| marked.mark);
    let owners: BTreeSet<Mark> = marks(owners).collect();
    Second {
        hints: marks(hints).filter(|mark| !owners.contains(mark)).collect(),
        owners,
        nodes: round
            .pods
            .iter()
            .filter_map(|pod| doubtful_node(pod, now))
            .map(str::to_owned)
            .collect(),
    }
}

/// The inventory.
pub(super) fn assemble(round: &Round, told: &Told, namespace: &str, now: Timestamp) -> Inventory {
    let kept = Kept::new(&round.replica_sets, &round.controller_revisions, &round.pods);
    let warnings = Warnings::new(&round.warnings);
    let aimed = Aimed {
        canaries: &round.canaries,
        pod_autoscalers: &round.pod_autoscalers,
    };
    let mut workloads = BTreeMap::new();
    let mut evidence = Vec::new();
    for object in &round.workloads {
        let target = target(object, namespace);
        let mut revisions = kept.revisions(object);
        let pods: Vec<Pod> = kept
            .pods(target.kind, &target.name)
            .iter()
            .filter(|api| !is_finished(api))
            .map(|api| {
                let revision = revision_of(&api.metadata, &target.name, &revisions);
                pod(api, revision, &told.lost, &warnings, now)
            })
            .collect();
        count(&mut revisions, &pods);
        let delivery = kept.delivery(object, &revisions);
        let remembered = Remembered {
            revisions,
            pods,
            delivery,
        };
        let mut read = workload(object, namespace, remembered);
        read.autoscaler = autoscaler(&target, &round.autoscalers);
        read.owners = owners_of(object.json(), &told.owners, aimed, &target);
        evidence.extend(facts(&read, &warnings, now));
        workloads.insert(target, read);
    }
    Inventory {
        releases: Vec::new(),
        cluster: round.cluster.clone(),
        namespace: namespace.to_owned(),
        taken_at: now,
        workloads,
        evidence,
        quotas: quotas(&round.quotas),
        config: astern_model::config::ConfigSeen::default(),
        owners: owners::seen(&told.owners),
        hub: told.hub.clone(),
        marks: Default::default(),
        cordoned_nodes: sorted(round.cordoned.clone()),
        unread: round.unread.iter().chain(&told.unread).cloned().collect(),
    }
}

fn owners_of(
    object: &Value,
    words: &BTreeMap<Mark, Word>,
    aimed: Aimed<'_>,
    target: &Target,
) -> Vec<astern_model::workload::Owner> {
    let mut owners: Vec<_> = marks(object, &target.namespace)
        .iter()
        .filter_map(|marked| owner(marked, words, target))
        .map(|owner| aimed.told(owner))
        .collect();
    owners.extend(aimed.at(target));
    owners.extend(presumed(object, &owners));
    owners
}

fn quotas(all: &[ResourceQuota]) -> Vec<Quota> {
    let texts = |map: Option<&BTreeMap<String, Quantity>>| {
        map.into_iter()
            .flatten()
            .map(|(name, quantity)| (name.clone(), quantity.0.clone()))
            .collect()
    };
    let mut quotas: Vec<Quota> = all
        .iter()
        .map(|quota| Quota {
            name: quota.metadata.name.clone().unwrap_or_default(),
            hard: texts(quota.status.as_ref().and_then(|status| status.hard.as_ref())),
            used: texts(quota.status.as_ref().and_then(|status| status.used.as_ref())),
            scopes: scopes(quota),
        })
        .collect();
    quotas.sort_by(|a, b| a.name.cmp(&b.name));
    quotas
}

/// Both ways in which a quota names its scopes; a bare name means that it exists.
fn scopes(quota: &ResourceQuota) -> Vec<Scope> {
    let spec = quota.spec.as_ref();
    let bare = spec
        .and_then(|spec| spec.scopes.as_deref())
        .unwrap_or_default()
        .iter()
        .map(|name| Scope {
            name: name.clone(),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
    let selected = spec
        .and_then(|spec| spec.scope_selector.as_ref()?.match_expressions.as_deref())
        .unwrap_or_default()
        .iter()
        .map(|scope| Scope {
            name: scope.scope_name.clone(),
            operator: scope.operator.clone(),
            values: scope.values.clone().unwrap_or_default(),
        });
    bare.chain(selected).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::object::Object;
    use astern_model::evidence::{Fact, Side};
    use astern_model::id::Uid;
    use astern_model::target::{Cluster, ClusterIdentity, WorkloadKind};
    use serde_json::json;

    fn template(image: &str, more: &[(&str, Value)]) -> Value {
        let mut template = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "api", "image": image}]},
        });
        for (pointer, value) in more {
            match *pointer {
                "$patch" => template["$patch"] = value.clone(),
                label => template["metadata"]["labels"][label] = value.clone(),
            }
        }
        template
    }

    fn pod(name: &str, labels: Value, owner: Value, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({
            "metadata": {"name": name, "uid": name, "labels": labels, "ownerReferences": [owner],
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "api", "image": "web:v1"}]},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
        })
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    fn replica_set(hash: &str, revision: &str, image: &str, annotations: Value) -> Value {
        let mut json = json!({
            "metadata": {
                "name": format!("web-{hash}"), "uid": format!("rs-{hash}"), "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [owner("Deployment", "web", "d-1")],
            },
            "spec": {"template": template(image, &[("pod-template-hash", json!(hash))])},
        });
        json["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .extend(annotations.as_object().unwrap().clone());
        json
    }

    fn round() -> Round {
        let deployment = json!({
            "metadata": {"name": "web", "uid": "d-1", "generation": 3,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"}},
            "spec": {"replicas": 2, "template": template("web:v2", &[])},
            "status": {"observedGeneration": 3, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]},
        });
        let set = json!({
            "metadata": {"name": "db", "uid": "s-1", "generation": 1},
            "spec": {"template": template("web:v1", &[])},
            "status": {"observedGeneration": 1},
        });
        let history = json!({"deployment.kubernetes.io/revision-history": "1,3", "astern.dev/run": "r-1",
            "kubernetes.io/change-cause": "v1"});
        let deploy = |name: &str, hash: &str, ready| {
            pod(
                name,
                json!({"pod-template-hash": hash}),
                owner("ReplicaSet", &format!("web-{hash}"), &format!("rs-{hash}")),
                ready,
            )
        };
        Round {
            cluster: Cluster {
                identity: ClusterIdentity::KubeSystem(Uid("c".to_owned())),
                context: "test".to_owned(),
                server: "https://api.test".to_owned(),
                user: "eve".to_owned(),
                version: "v1.34.4".to_owned(),
            },
            workloads: vec![
                Object::new(WorkloadKind::Deployment, deployment),
                Object::new(WorkloadKind::StatefulSet, set),
            ],
            replica_sets: vec![
                replica_set("aaa", "4", "web:v1", history),
                replica_set("bbb", "5", "web:v2", json!({})),
            ],
            controller_revisions: vec![json!({
                "metadata": {"name": "db-ccc", "uid": "cr-1", "ownerReferences": [owner("StatefulSet", "db", "s-1")]},
                "revision": 7,
                "data": {"spec": {"template": template("web:v1", &[("$patch", json!("replace"))])}},
            })],
            pods: serde_json::from_value(json!([
                deploy("web-aaa-1", "aaa", true),
                deploy("web-bbb-1", "bbb", false),
                pod(
                    "db-0",
                    json!({"controller-revision-hash": "db-ccc"}),
                    owner("StatefulSet", "db", "s-1"),
                    true
                ),
                pod("stray", json!({}), owner("Job", "j", "j-1"), true),
            ]))
            .unwrap(),
            warnings: Vec::new(),
            autoscalers: Vec::new(),
            canaries: Vec::new(),
            pod_autoscalers: Vec::new(),
            quotas: Vec::new(),
            cordoned: Vec::new(),
            versions: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    fn inventory(round: &Round) -> Inventory {
        assemble(
            round,
            &Told::default(),
            "shop",
            "2026-01-01T01:00:00Z".parse().unwrap(),
        )
    }

    #[test]
    fn revisions_and_pods_are_joined_with_their_workload() {
        let inventory = inventory(&round());
        let told: Vec<String> = inventory
            .workloads
            .values()
            .flat_map(|workload| {
                let live = workload.live_revision().map(|revision| revision.number);
                workload.revisions.iter().map(move |revision| {
                    let live = if live == Some(revision.number) {
                        " live"
                    } else {
                        ""
                    };
                    format!(
                        "{} {}{live} {} {} ready of {} formerly {:?} marks {:?} cause {:?}",
                        workload.target,
                        revision.number,
                        revision.version(),
                        revision.ready,
                        revision.pods,
                        revision.former_numbers,
                        revision.marks,
                        revision.change_cause
                    )
                })
            })
            .collect();
        assert_eq!(
            told,
            [
                "deployment/web 5 live v2 0 ready of 1 formerly [] marks {} cause None",
                "deployment/web 4 v1 1 ready of 1 formerly [1, 3] marks {\"astern.dev/run\": \"r-1\"} cause Some(\"v1\")",
                "statefulset/db 7 live v1 1 ready of 1 formerly [] marks {} cause None",
            ]
        );
    }

    #[test]
    fn facts_tell_the_live_version_from_the_former() {
        let inventory = inventory(&round());
        let web = inventory
            .evidence
            .iter()
            .filter(|evidence| evidence.subject.name == "web");
        let facts: Vec<(Side, Fact)> = web
            .map(|evidence| (evidence.side, evidence.fact.clone()))
            .collect();
        let serving = |ready, pods| Fact::Serving {
            ready,
            pods,
            desired: 2,
        };
        assert!(facts.contains(&(Side::Live, serving(0, 1))), "{facts:?}");
        assert!(facts.contains(&(Side::Former, serving(1, 1))), "{facts:?}");
        let deadline = Fact::ProgressDeadlineExceeded {
            message: "timed out".to_owned(),
        };
        assert!(facts.contains(&(Side::Live, deadline)), "{facts:?}");
    }

    #[test]
    fn a_quota_is_read_with_the_scopes_that_bound_it() {
        let mut round = round();
        round.quotas = serde_json::from_value(json!([{
            "metadata": {"name": "batch"},
            "spec": {
                "scopes": ["NotTerminating"],
                "scopeSelector": {"matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]},
            },
            "status": {"hard": {"pods": "3"}, "used": {"pods": "1"}},
        }]))
        .unwrap();
        let told: Vec<String> = inventory(&round).quotas[0]
            .scopes
            .iter()
            .map(|scope| format!("{} {} {:?}", scope.name, scope.operator, scope.values))
            .collect();
        assert_eq!(told, ["NotTerminating Exists []", r#"PriorityClass In ["high"]"#]);
    }

    #[test]
    fn a_manifest_that_kubectl_remembers_is_told_and_not_kept() {
        let inventory = inventory(&round());
        let web = inventory
            .workloads
            .values()
            .find(|workload| workload.target.name == "web")
            .unwrap();
        assert!(web.has_last_applied);
        assert_eq!(web.annotations.keys().collect::<Vec<_>>(), ["team"]);
    }

    #[test]
    fn pods_find_their_deployment_even_where_replicasets_may_not_be_read() {
        let mut round = round();
        round.replica_sets.clear();
        let inventory = inventory(&round);
        let web = inventory
            .workloads
            .values()
            .find(|workload| workload.target.name == "web")
            .unwrap();
        assert_eq!(web.pods.len(), 2);
        assert!(web.pods.iter().all(|pod| pod.revision.is_none()));
    }
}
