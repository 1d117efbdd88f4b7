//! A dump of a real namespace, as `kubectl get … -o json` writes it. Reads it, says what is wrong with it, and makes a
//! cluster of it with the namespaces and nodes that it names.

use crate::api::validate;
use crate::cluster::{Cluster, NodeSpec, Options};
use crate::kinds::Kinds;
use crate::object::text;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

/// Ten thousand Deployments with their pods are a fifth of this.
pub const MAX_DUMP_BYTES: usize = 256 * 1024 * 1024;

/// Why a dump is none. Nothing was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// More than [`MAX_DUMP_BYTES`].
    TooLarge {
        /// So many bytes.
        bytes: usize,
    },
    /// It cannot be read as JSON.
    NotJson {
        /// Where and why, as the parser says it.
        why: String,
    },
    /// It is JSON, and neither an object of Kubernetes nor a list of some.
    NoObjects,
    /// An object lacks what every live one has.
    Incomplete {
        /// Which one, as `Kind NAME`, or its place in the list.
        object: String,
        /// `metadata.uid`
        field: &'static str,
    },
    /// Objects of kinds that are not served.
    UnknownKinds {
        /// Each as `Kind of group/version`.
        kinds: Vec<String>,
    },
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => write!(
                f,
                "it has {} MiB; a sandbox takes up to {} MiB",
                bytes >> 20,
                MAX_DUMP_BYTES >> 20
            ),
            Self::NotJson { why } => write!(f, "it is no JSON: {why}"),
            Self::NoObjects => write!(f, "it holds no objects of Kubernetes"),
            Self::UnknownKinds { kinds } => write!(f, "the sandbox has no kind {}", kinds.join(", ")),
            Self::Incomplete { object, field } => {
                write!(f, "{object} has no {field}, which every live object has")
            }
        }
    }
}

impl std::error::Error for DumpError {}

/// The objects of a dump, each with kind, name and uid.
///
/// # Errors
/// [`DumpError`], with the first object that is not whole.
pub fn read(bytes: &[u8]) -> Result<Vec<Value>, DumpError> {
    if bytes.len() > MAX_DUMP_BYTES {
        return Err(DumpError::TooLarge { bytes: bytes.len() });
    }
    let mut dump: Value = serde_json::from_slice(bytes).map_err(|error| DumpError::NotJson {
        why: error.to_string(),
    })?;
    let objects = match dump.get_mut("items") {
        Some(Value::Array(items)) => std::mem::take(items),
        _ => vec![dump],
    };
    if objects.is_empty() || objects.iter().all(|object| text(object, "kind").is_empty()) {
        return Err(DumpError::NoObjects);
    }
    for (place, object) in objects.iter().enumerate() {
        for field in ["apiVersion", "kind", "metadata.name", "metadata.uid"] {
            if text(object, field).is_empty() {
                let (kind, name) = (text(object, "kind"), text(object, "metadata.name"));
                let object = if kind.is_empty() || name.is_empty() {
                    format!("object {} of the list", place + 1)
                } else {
                    format!("{kind} {name}")
                };
                return Err(DumpError::Incomplete { object, field });
            }
        }
    }
    Ok(objects)
}

/// Of which objects a sandbox would not take a write, and why: each with its place among them. It can hold them as they are.
pub fn not_imitated(objects: &[Value]) -> Vec<(usize, String)> {
    let kinds = Kinds::built_in();
    let refused = |object: &Value| {
        let kind = kinds.of(text(object, "apiVersion"), text(object, "kind"))?;
        let refusal = validate::object(kind, object).err()?;
        Some(refusal.message)
    };
    objects
        .iter()
        .enumerate()
        .filter_map(|(place, object)| Some((place, refused(object)?)))
        .collect()
}

/// A cluster with these objects as they are. What else `options` say holds; its nodes only where the objects name none.
///
/// # Errors
/// [`DumpError::UnknownKinds`]; then there is no cluster.
pub fn cluster(objects: Vec<Value>, options: Options, now: Timestamp) -> Result<Cluster, DumpError> {
    let of_kind = |kind: &'static str| {
        let named = objects.iter().filter(move |object| text(object, "kind") == kind);
        named
            .map(|object| text(object, "metadata.name"))
            .collect::<BTreeSet<&str>>()
    };
    let all = |field: &'static str| {
        let named = objects.iter().map(move |object| text(object, field));
        named.filter(|name| !name.is_empty()).collect::<BTreeSet<&str>>()
    };
    let (described, named) = (of_kind("Node"), all("spec.nodeName"));
    let nodes = if described.is_empty() && named.is_empty() {
        options.nodes
    } else {
        named
            .difference(&described)
            .map(|name| NodeSpec::named(*name))
            .collect()
    };
    let options = Options { nodes, ..options };
    let namespaces: Vec<Value> = all("metadata.namespace")
        .difference(&of_kind("Namespace"))
        .map(|name| {
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            })
        })
        .collect();
    let mut cluster = Cluster::new(options, now);
    let left = cluster.load(namespaces.into_iter().chain(objects));
    if left.is_empty() {
        cluster.advance(now);
        return Ok(cluster);
    }
    let kinds: BTreeSet<String> = left
        .iter()
        .map(|object| format!("{} of {}", text(object, "kind"), text(object, "apiVersion")))
        .collect();
    Err(DumpError::UnknownKinds {
        kinds: kinds.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_copy_has_the_namespaces_and_nodes_that_its_objects_name_or_does_not_come_about() {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "shop", "uid": "1"},
            "spec": {"nodeName": "worker-7", "containers": [{"name": "a", "image": "a:v1"}]},
        });
        let copy = cluster(vec![pod.clone()], Options::default(), Timestamp::UNIX_EPOCH).unwrap();
        for (resource, name) in [("nodes", "worker-7"), ("namespaces", "shop")] {
            assert!(copy.store.find(resource, "", name).is_some(), "{resource} {name}");
        }
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-7", "uid": "3"}});
        let described = cluster(vec![pod.clone(), node], Options::default(), Timestamp::UNIX_EPOCH).unwrap();
        let nodes: Vec<&str> = described
            .store
            .iter("nodes", "")
            .map(|(name, _)| &**name)
            .collect();
        assert_eq!(nodes, ["worker-7"], "nodes that nobody named are there");
        let thing = json!({"apiVersion": "v9", "kind": "Thing", "metadata": {"name": "b", "uid": "2"}});
        let refused = cluster(vec![pod, thing], Options::default(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.to_string(), "the sandbox has no kind Thing of v9");
    }

    #[test]
    fn what_no_controller_here_knows_is_named_with_the_reason() {
        let quota = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name, "uid": "1"}, "spec": spec});
        let objects = [
            quota("plain", json!({"hard": {"pods": "4"}})),
            quota(
                "scoped",
                json!({"hard": {"pods": "4"}, "scopes": ["Terminating"]}),
            ),
        ];
        let told = not_imitated(&objects);
        let [(1, why)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            why.contains("the sandbox does not support scopes of quotas"),
            "{why}"
        );
    }

    #[test]
    fn a_dump_is_read_whole_or_told_what_is_wrong_with_it() {
        let whole = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "1"}});
        let check = |dump: Value, expected: Result<usize, &str>| {
            let read = read(dump.to_string().as_bytes());
            let told = read
                .map(|objects| objects.len())
                .map_err(|error| error.to_string());
            assert_eq!(told, expected.map_err(str::to_owned), "{dump}");
        };
        check(whole.clone(), Ok(1));
        check(json!({"kind": "List", "items": [whole, whole]}), Ok(2));
        check(
            json!({"kind": "List", "items": []}),
            Err("it holds no objects of Kubernetes"),
        );
        check(json!(["a"]), Err("it holds no objects of Kubernetes"));
        let mut nameless = whole.clone();
        nameless["metadata"]["uid"] = json!(null);
        check(
            json!({"items": [whole, nameless]}),
            Err("Pod a has no metadata.uid, which every live object has"),
        );
        assert_eq!(
            super::read(b"{\"kind\": ").unwrap_err().to_string(),
            "it is no JSON: EOF while parsing a value at line 1 column 9"
        );
    }
}
