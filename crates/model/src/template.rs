//! A pod template as untyped JSON: kept whole, since a typed copy drops the fields it does not know. Owns what a
//! template is compared and hashed by; knows nothing of where it is stored.

use crate::id::{TemplateHash, sha256};
use crate::image::Image;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The label that the Deployment controller puts into a ReplicaSet's template.
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// The label that Argo Rollouts puts into a ReplicaSet's template.
/// Source: `DefaultRolloutUniqueLabelKey` of its API.
pub const ROLLOUTS_POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";

/// The annotation that `kubectl rollout restart` puts into a template. It makes a new revision of the same version.
/// Source: <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-k8s-io-restart-at>.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A whole `spec.template`, free of the labels by which controllers tell ReplicaSets apart and of the `$patch` of ControllerRevisions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template {
    json: Value,
    /// Once somebody asked for it: a template never changes, and its hash is asked for again and again.
    #[serde(skip)]
    hash: OnceLock<TemplateHash>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Template {
    /// Takes a template as the cluster keeps it (in a workload, a ReplicaSet, or a ControllerRevision's data) and
    /// removes what a controller put in, so that it can be compared and written back.
    pub fn clean(mut raw: Value) -> Self {
        if let Some(object) = raw.as_object_mut() {
            object.remove("$patch");
        }
        if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
            if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
                labels.remove(POD_TEMPLATE_HASH);
                labels.remove(ROLLOUTS_POD_TEMPLATE_HASH);
            }
            if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
                metadata.remove("creationTimestamp");
            }
            if metadata
                .get("labels")
                .and_then(Value::as_object)
                .is_some_and(serde_json::Map::is_empty)
            {
                metadata.remove("labels");
            }
        }
        Self {
            json: raw,
            hash: OnceLock::new(),
        }
    }

    /// The template's JSON.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// SHA-256 over the canonical text: equal templates have equal hashes whatever the order of their keys.
    pub fn hash(&self) -> TemplateHash {
        let hash = || TemplateHash(sha256(canonical(&self.json).as_bytes()));
        self.hash.get_or_init(hash).clone()
    }

    /// The same template with the mark of a restart at this time, as `kubectl rollout restart` sets it.
    #[must_use]
    pub fn restarted(&self, at: &str) -> Self {
        let mut json = self.json.clone();
        for (place, inner) in [("", "metadata"), ("/metadata", "annotations")] {
            if let Some(fields) = json.pointer_mut(place).and_then(Value::as_object_mut)
                && !fields.get(inner).is_some_and(Value::is_object)
            {
                fields.insert(inner.to_owned(), Value::Object(serde_json::Map::new()));
            }
        }
        let annotations = json
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.insert(RESTARTED_AT.to_owned(), Value::from(at));
        }
        Self {
            json,
            hash: OnceLock::new(),
        }
    }

    /// Every container of the pod: init containers first, then containers, each with its name and image.
    pub fn containers(&self) -> Vec<Container<'_>> {
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| {
                let init = list == "initContainers";
                self.list(list).iter().map(move |json| Container { init, json })
            })
            .collect()
    }

    /// The images of the pod's containers, without repetition, in template order.
    pub fn images(&self) -> Vec<Image> {
        let mut seen = BTreeSet::new();
        self.containers()
            .iter()
            .filter_map(Container::image)
            .filter(|image| seen.insert(image.reference.clone()))
            .collect()
    }

    /// A list inside `spec`, empty where the template has none.
    pub fn list(&self, name: &str) -> &[Value] {
        self.json
            .get("spec")
            .and_then(|s| s.get(name))
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// A text inside `spec`, such as `serviceAccountName`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.json.get("spec")?.get(name)?.as_str()
    }
}

/// One container of a template.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// Whether it is an init container.
    pub init: bool,
    /// Its JSON.
    pub json: &'a Value,
}

impl<'a> Container<'a> {
    /// The container's name.
    pub fn name(&self) -> &'a str {
        self.json.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The container's image, if it names one.
    pub fn image(&self) -> Option<Image> {
        self.json.get("image").and_then(Value::as_str).map(Image::parse)
    }

    /// A list of the container, such as `env` or `envFrom`.
    pub fn list(&self, name: &str) -> &'a [Value] {
        self.json
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
}

/// JSON text with sorted keys and no white space. `serde_json`'s own order depends on a feature that any crate of
/// the build may switch on; hashes must not.
pub fn canonical(value: &Value) -> String {
    serde_json::to_string(&Sorted(value))
        .unwrap_or_else(|error| panic!("BUG: a JSON value has no text: {error}"))
}

/// A value whose objects are written in the order of their keys.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut fields: Vec<(&String, Self)> =
                    map.iter().map(|(key, value)| (key, Self(value))).collect();
                fields.sort_by_key(|(key, _)| *key);
                serializer.collect_map(fields)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Self)),
            plain => plain.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_controllers_inject_does_not_change_a_templates_hash() {
        let plain = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        let mut injected = plain.clone();
        injected["metadata"]["labels"][POD_TEMPLATE_HASH] = json!("7d9f8b6c5d");
        injected["metadata"]["creationTimestamp"] = Value::Null;
        injected["$patch"] = json!("replace");
        assert_eq!(Template::clean(plain).hash(), Template::clean(injected).hash());
    }

    #[test]
    fn a_restart_changes_its_mark_alone() {
        let plain = Template::clean(json!({"spec": {"containers": []}}));
        let once = plain.restarted("2026-11-23T14:00:00Z");
        assert_ne!(once.hash(), plain.hash());
        assert_eq!(
            once.json(),
            &json!({"metadata": {"annotations": {RESTARTED_AT: "2026-11-23T14:00:00Z"}}, "spec": {"containers": []}})
        );
        let again = once.restarted("2026-11-23T15:00:00Z");
        assert_eq!(again, plain.restarted("2026-11-23T15:00:00Z"));
    }

    #[test]
    fn a_field_that_no_typed_struct_knows_is_kept() {
        let raw = json!({"spec": {"containers": [], "fieldOfTheFuture": {"a": 1}}});
        assert_eq!(Template::clean(raw.clone()).json(), &raw);
    }
}
