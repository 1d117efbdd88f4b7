//! A namespace as it stands, object by object, for a copy of it: what its controllers, quotas and scheduler go by. Only
//! reads. Owns which kinds those are and what of each is left out: values of ConfigMaps and Secrets are passed over while
//! reading, and pods of other namespaces are kept as the room that they take.

use super::IN_FLIGHT;
use super::fetch::{Collection, Part, get, list};
use crate::connect::Connection;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use futures::StreamExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Secrets that no pod consumes and that are large: Helm's memory and this program's own.
const NOT_CONSUMED: [&str; 4] = [
    "helm.sh/release.v1",
    "astern.dev/journal",
    "astern.dev/saved",
    "astern.dev/vault-key",
];

/// A namespace's objects, with what of its cluster decides where pods go.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// Each with `apiVersion` and `kind`.
    pub objects: Vec<Value>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// A resource that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The API group; empty for the core one.
    pub group: &'static str,
    /// Its plural.
    pub resource: &'static str,
    /// The namespace; none for all of the cluster.
    pub namespace: Option<String>,
    /// Why not.
    pub why: String,
}

/// One kind that is copied.
struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    place: Place,
    /// Without it there is nothing to rehearse.
    needed: bool,
    keep: fn(Value) -> Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Namespace,
    Cluster,
}

const fn apps(kind: &'static str, plural: &'static str, keep: fn(Value) -> Value) -> Kind {
    Kind {
        group: "apps",
        version: "v1",
        kind,
        plural,
        place: Place::Namespace,
        needed: true,
        keep,
    }
}

const fn wanted(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    place: Place,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        place,
        needed: false,
        keep: super::round::without_managers,
    }
}

use Place::{Cluster as InCluster, Namespace as InNamespace};

/// What is copied whole. Of workloads it matters who manages which field.
const KINDS: [Kind; 18] = [
    apps("Deployment", "deployments", whole),
    apps("StatefulSet", "statefulsets", whole),
    apps("DaemonSet", "daemonsets", whole),
    apps("ReplicaSet", "replicasets", super::round::without_managers),
    apps(
        "ControllerRevision",
        "controllerrevisions",
        super::round::without_managers,
    ),
    Kind {
        needed: true,
        ..wanted("", "v1", "Pod", "pods", InNamespace)
    },
    wanted("", "v1", "Service", "services", InNamespace),
    wanted("", "v1", "ServiceAccount", "serviceaccounts", InNamespace),
    wanted(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        InNamespace,
    ),
    wanted("", "v1", "ResourceQuota", "resourcequotas", InNamespace),
    wanted("", "v1", "LimitRange", "limitranges", InNamespace),
    wanted(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        InNamespace,
    ),
    wanted("batch", "v1", "Job", "jobs", InNamespace),
    wanted("batch", "v1", "CronJob", "cronjobs", InNamespace),
    wanted(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        InNamespace,
    ),
    wanted(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        InNamespace,
    ),
    wanted("", "v1", "Node", "nodes", InCluster),
    wanted(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        InCluster,
    ),
];

impl Kind {
    fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    fn collection(&self, namespace: &str) -> Collection {
        let root = match self.group {
            "" => format!("api/{}", self.version),
            group => format!("apis/{group}/{}", self.version),
        };
        match self.place {
            Place::Namespace => Collection::namespaced(&root, namespace, self.plural),
            Place::Cluster => Collection::cluster(&root, self.plural),
        }
    }

    fn unread(&self, namespace: &str, failure: Failure) -> Unread {
        Unread {
            group: self.group,
            resource: self.plural,
            namespace: (self.place == Place::Namespace).then(|| namespace.to_owned()),
            why: failure.message,
        }
    }
}

/// Reads a namespace: two dozen requests side by side, more only where a list has more than one page.
///
/// # Errors
/// When workloads, their revisions or their pods cannot be listed.
pub async fn dump(connection: &Connection, namespace: &str) -> Result<Dump, Failure> {
    let client = &connection.client;
    let lists: Vec<_> = KINDS
        .iter()
        .map(|kind| async move {
            let read = list(client, &kind.collection(namespace), Part::Whole, kind.keep).await;
            (kind, read.map(|listed| listed.items))
        })
        .collect();
    let lists = futures::stream::iter(lists)
        .buffered(IN_FLIGHT)
        .collect::<Vec<_>>();
    let (lists, configs, secrets, elsewhere, namespaces) = futures::join!(
        lists,
        content(connection, namespace, "configmaps"),
        content(connection, namespace, "secrets"),
        elsewhere(connection, namespace),
        namespaces(connection, namespace),
    );
    let mut dump = Dump::default();
    for (kind, read) in lists {
        match read {
            Ok(items) => dump.objects.extend(
                items
                    .into_iter()
                    .map(|item| typed(item, &kind.api_version(), kind.kind)),
            ),
            Err(failure) if kind.needed => return Err(failure),
            Err(failure) => dump.unread.push(kind.unread(namespace, failure)),
        }
    }
    for read in [configs, secrets, elsewhere] {
        match read {
            Ok(objects) => dump.objects.extend(objects),
            Err(unread) => dump.unread.push(unread),
        }
    }
    for read in namespaces {
        match read {
            Ok(object) => dump.objects.extend(object),
            Err(unread) => dump.unread.push(unread),
        }
    }
    Ok(dump)
}

/// A list's items do not say what they are.
fn typed(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object
}

fn whole(object: Value) -> Value {
    object
}

/// A ConfigMap or Secret without its values, and without annotations: what `kubectl apply` remembers holds them too.
#[derive(Deserialize)]
struct Content {
    metadata: ContentMetadata,
    #[serde(rename = "type")]
    of_type: Option<String>,
    data: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "binaryData")]
    binary_data: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentMetadata {
    name: String,
    namespace: String,
    uid: String,
    creation_timestamp: Value,
    #[serde(default)]
    labels: Value,
}

impl Content {
    fn keys(self, kind: &str) -> Value {
        let keys = |data: Option<BTreeMap<String, IgnoredAny>>| {
            let keys = data.into_iter().flatten().map(|(key, _)| (key, Value::from("")));
            Value::Object(keys.collect::<Map<_, _>>())
        };
        let metadata = json!({
            "name": self.metadata.name,
            "namespace": self.metadata.namespace,
            "uid": self.metadata.uid,
            "creationTimestamp": self.metadata.creation_timestamp,
            "labels": self.metadata.labels,
        });
        let mut object = json!({"metadata": metadata, "data": keys(self.data)});
        if let Some(of_type) = self.of_type {
            object["type"] = of_type.into();
        }
        if self.binary_data.is_some() {
            object["binaryData"] = keys(self.binary_data);
        }
        typed(object, "v1", kind)
    }
}

async fn content(
    connection: &Connection,
    namespace: &str,
    resource: &'static str,
) -> Result<Vec<Value>, Unread> {
    let all = Collection::namespaced("api/v1", namespace, resource);
    let (kind, collection) = match resource {
        "secrets" => {
            let types = NOT_CONSUMED.map(|one| format!("type!={one}"));
            ("Secret", all.fields(types.join(",")))
        }
        _ => ("ConfigMap", all),
    };
    let keep = |content: Content| content.keys(kind);
    match list(&connection.client, &collection, Part::Whole, keep).await {
        Ok(listed) => Ok(listed.items),
        Err(failure) => Err(Unread {
            group: "",
            resource,
            namespace: Some(namespace.to_owned()),
            why: failure.message,
        }),
    }
}

/// The pods of other namespaces that are on a node, as the room that they take there.
async fn elsewhere(connection: &Connection, namespace: &str) -> Result<Vec<Value>, Unread> {
    let placed = format!(
        "metadata.namespace!={namespace},spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
    );
    let pods = Collection::cluster("api/v1", "pods").fields(placed);
    match list(&connection.client, &pods, Part::Whole, room).await {
        Ok(listed) => Ok(listed.items),
        Err(failure) => Err(Unread {
            group: "",
            resource: "pods",
            namespace: None,
            why: failure.message,
        }),
    }
}

fn room(pod: Value) -> Value {
    let requests = |field: &str| -> Vec<Value> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers
            .map(|container| {
                let mut kept = json!({
                    "name": container["name"],
                    "image": "",
                    "resources": {"requests": container["resources"]["requests"]},
                });
                if let Some(policy) = container.get("restartPolicy") {
                    kept["restartPolicy"] = policy.clone();
                }
                kept
            })
            .collect()
    };
    let mut spec = json!({
        "nodeName": pod["spec"]["nodeName"],
        "containers": requests("containers"),
        "initContainers": requests("initContainers"),
    });
    if let Some(overhead) = pod["spec"].get("overhead") {
        spec["overhead"] = overhead.clone();
    }
    let metadata = json!({
        "name": pod["metadata"]["name"],
        "namespace": pod["metadata"]["namespace"],
        "uid": pod["metadata"]["uid"],
    });
    let object = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}});
    typed(object, "v1", "Pod")
}

/// The namespace itself, and the one by whose uid the cluster is known.
async fn namespaces(connection: &Connection, namespace: &str) -> [Result<Option<Value>, Unread>; 2] {
    let read = |name: String| async move {
        let attempt = Attempt::new(Verb::Get, "namespaces", format!("read namespace {name}"));
        let path = "/api/v1/namespaces";
        match get(&connection.client, path, &name, Part::Whole, &attempt).await {
            Ok(found) => {
                let found = super::round::without_managers(found);
                Ok(Some(typed(found, "v1", "Namespace")))
            }
            Err(failure) if failure.class == FailureClass::Permanent => Ok(None),
            Err(failure) => Err(Unread {
                group: "",
                resource: "namespaces",
                namespace: Some(name),
                why: failure.message,
            }),
        }
    };
    let (own, system) = futures::join!(read(namespace.to_owned()), read("kube-system".to_owned()));
    [own, system]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_configmaps_and_secrets_the_keys_are_kept_and_no_value() {
        let secret: Content = serde_json::from_value(json!({
            "metadata": {
                "name": "db",
                "namespace": "shop",
                "uid": "1",
                "creationTimestamp": null,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"},
            },
            "type": "Opaque",
            "data": {"password": "aHVudGVyMg=="},
        }))
        .unwrap();
        let kept = secret.keys("Secret");
        assert_eq!(kept["data"], json!({"password": ""}));
        let text = kept.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
    }

    #[test]
    fn a_pod_of_another_namespace_is_kept_as_the_room_it_takes() {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "other", "uid": "1", "ownerReferences": [{"name": "gone"}]},
            "spec": {"nodeName": "n-1", "containers": [{
                "name": "a",
                "env": [{"name": "PASSWORD", "value": "hunter2"}],
                "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}},
            }]},
        });
        let kept = room(pod);
        assert_eq!(kept["spec"]["nodeName"], "n-1");
        assert_eq!(
            kept["spec"]["containers"],
            json!([{"name": "a", "image": "", "resources": {"requests": {"cpu": "2"}}}])
        );
        assert!(kept["metadata"].get("ownerReferences").is_none());
    }
}
