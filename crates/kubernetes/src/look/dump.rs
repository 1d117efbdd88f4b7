//! A namespace as it stands, object by object, for a copy of it: what its controllers, quotas and scheduler go by. Only
//! lists. Owns which kinds those are; pods of other namespaces are kept as the room that they take, and of ConfigMaps and Secrets
//! only those are read that somebody names.

use super::fetch::{Collection, Part, list};
use super::unmanaged::Unmanaged;
use crate::connect::Connection;
use crate::failure::{Attempt, Verb};
use astern_model::config::ConfigName;
use astern_model::failure::Failure;
use kube::core::Request;
use kube::core::params::GetParams;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

/// A namespace's objects, with what of its cluster decides where pods go. Its `Debug` shows none of them: Secrets may be among
/// them.
#[derive(Clone, Default)]
pub struct Dump {
    /// Each with `apiVersion` and `kind`.
    pub objects: Vec<Value>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump")
            .field("objects", &self.objects.len())
            .field("unread", &self.unread)
            .finish()
    }
}

/// A resource that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
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
    /// Whether it matters who manages which field.
    managed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Namespace,
    Cluster,
}

const fn apps(kind: &'static str, plural: &'static str, managed: bool) -> Kind {
    Kind {
        group: "apps",
        version: "v1",
        kind,
        plural,
        place: Place::Namespace,
        needed: true,
        managed,
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
        managed: false,
    }
}

use Place::{Cluster as InCluster, Namespace as InNamespace};

/// What is copied.
const KINDS: [Kind; 13] = [
    apps("Deployment", "deployments", true),
    apps("StatefulSet", "statefulsets", true),
    apps("DaemonSet", "daemonsets", true),
    apps("ReplicaSet", "replicasets", false),
    apps("ControllerRevision", "controllerrevisions", false),
    Kind {
        needed: true,
        ..wanted("", "v1", "Pod", "pods", InNamespace)
    },
    wanted(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        InNamespace,
    ),
    wanted("", "v1", "ResourceQuota", "resourcequotas", InNamespace),
    wanted("", "v1", "LimitRange", "limitranges", InNamespace),
    wanted("batch", "v1", "Job", "jobs", InNamespace),
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
            resource: self.plural,
            namespace: (self.place == Place::Namespace).then(|| namespace.to_owned()),
            why: failure.message,
        }
    }
}

/// Reads a namespace: a dozen lists side by side, more requests only where one has more than one page.
///
/// # Errors
/// When workloads, their revisions or their pods cannot be listed.
pub async fn dump(connection: &Connection, namespace: &str) -> Result<Dump, Failure> {
    let client = &connection.client;
    let lists = KINDS.iter().map(|kind| async move {
        let collection = kind.collection(namespace);
        let read = if kind.managed {
            list(client, &collection, Part::Whole, |object: Value| object).await
        } else {
            list(client, &collection, Part::Whole, |Unmanaged(object)| object).await
        };
        (kind, read.map(|listed| listed.items))
    });
    let (lists, elsewhere) =
        futures::join!(futures::future::join_all(lists), elsewhere(connection, namespace));
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
    match elsewhere {
        Ok(pods) => dump.objects.extend(pods),
        Err(unread) => dump.unread.push(unread),
    }
    Ok(dump)
}

/// ConfigMaps and Secrets by name, whole; those that are not there are left out.
///
/// # Errors
/// When one cannot be read.
pub async fn contents(
    connection: &Connection,
    namespace: &str,
    names: &BTreeSet<ConfigName>,
) -> Result<Vec<Value>, Failure> {
    let read = names.iter().map(|name| content(connection, namespace, name));
    let found = futures::future::try_join_all(read).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The client's own reading of an answer would write what it cannot read into the log.
async fn content(
    connection: &Connection,
    namespace: &str,
    name: &ConfigName,
) -> Result<Option<Value>, Failure> {
    let plural = name.kind.plural();
    let attempt = Attempt::new(Verb::Get, plural, format!("read {name}"));
    let request = Request::new(format!("/api/v1/namespaces/{namespace}/{plural}"));
    let request = request
        .get(&name.name, &GetParams::default())
        .map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
    match connection.client.request_text(request).await {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| attempt.unreadable()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(attempt.failed(&error)),
    }
}

/// A list's items do not say what they are.
fn typed(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object
}

/// The pods of other namespaces that are on a node, as the room that they take there.
async fn elsewhere(connection: &Connection, namespace: &str) -> Result<Vec<Value>, Unread> {
    let placed = format!(
        "metadata.namespace!={namespace},spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
    );
    let pods = Collection::cluster("api/v1", "pods").fields(placed);
    let room = |Unmanaged(pod)| room(pod);
    match list(&connection.client, &pods, Part::Whole, room).await {
        Ok(listed) => Ok(listed.items),
        Err(failure) => Err(Unread {
            resource: "pods",
            namespace: None,
            why: failure.message,
        }),
    }
}

/// What it takes, and that it runs: nothing about it is to change by itself.
fn room(pod: Value) -> Value {
    let since = &pod["metadata"]["creationTimestamp"];
    let each = |field: &str, of: fn(&Value, &Value) -> Value| -> Vec<Value> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.map(|container| of(container, since)).collect()
    };
    let requests = |container: &Value, _: &Value| {
        let mut kept = json!({
            "name": container["name"],
            "image": "",
            "resources": {"requests": container["resources"]["requests"]},
        });
        if let Some(policy) = container.get("restartPolicy") {
            kept["restartPolicy"] = policy.clone();
        }
        kept
    };
    let running = |container: &Value, since: &Value| {
        json!({
            "name": container["name"],
            "ready": true,
            "restartCount": 0,
            "state": {"running": {"startedAt": since}},
        })
    };
    let begun = |container: &Value, since: &Value| {
        let state = if container["restartPolicy"] == "Always" {
            json!({"running": {"startedAt": since}})
        } else {
            json!({"terminated": {"exitCode": 0, "startedAt": since, "finishedAt": since}})
        };
        json!({"name": container["name"], "ready": true, "restartCount": 0, "state": state})
    };
    let mut spec = json!({
        "nodeName": pod["spec"]["nodeName"],
        "containers": each("containers", requests),
        "initContainers": each("initContainers", requests),
    });
    if let Some(overhead) = pod["spec"].get("overhead") {
        spec["overhead"] = overhead.clone();
    }
    let metadata = json!({
        "name": pod["metadata"]["name"],
        "namespace": pod["metadata"]["namespace"],
        "uid": pod["metadata"]["uid"],
        "creationTimestamp": since,
    });
    let status = json!({
        "phase": "Running",
        "containerStatuses": each("containers", running),
        "initContainerStatuses": each("initContainers", begun),
    });
    let object = json!({"metadata": metadata, "spec": spec, "status": status});
    typed(object, "v1", "Pod")
}

#[cfg(test)]
mod tests {
    use super::*;

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
