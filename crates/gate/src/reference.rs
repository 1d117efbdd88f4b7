//! What a pod template refers to: the objects without which its pods do not start. Reads untyped JSON; asks nobody.

use astern_model::config::{ConfigKind, ConfigName};
use astern_model::question::ReferenceKind;
use astern_model::template::{Container, Template};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One object that a template needs, with everything that it needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) kind: ReferenceKind,
    pub(crate) name: String,
    /// The keys it must hold; empty where the object alone is needed.
    pub(crate) keys: BTreeSet<String>,
    /// Where the template names it: `env TOKEN of container api`.
    pub(crate) places: BTreeSet<String>,
    /// Whether pods cannot start without it.
    pub(crate) need: Need,
}

/// How much depends on a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The kubelet goes on without it, and pulls may fail.
    Wanted,
    /// Pods are not made, or do not start.
    Must,
}

/// Volume sources that name one Secret: the field, then the path to the name inside it.
/// Source: `core/v1` PodSpec. Claims made from a StatefulSet's or an ephemeral volume's template are not among them:
/// they come into being with the pod.
const VOLUME_SECRETS: [(&str, &str); 8] = [
    ("azureFile", "/secretName"),
    ("cephfs", "/secretRef/name"),
    ("csi", "/nodePublishSecretRef/name"),
    ("flexVolume", "/secretRef/name"),
    ("iscsi", "/secretRef/name"),
    ("rbd", "/secretRef/name"),
    ("scaleIO", "/secretRef/name"),
    ("storageos", "/secretRef/name"),
];

/// Everything that the template needs, in the order of kind and name. Optional references are left out.
pub(crate) fn references(template: &Template) -> Vec<Reference> {
    let mut found = Found::default();
    for container in template.containers() {
        of_container(&container, &mut found);
    }
    for volume in template.list("volumes") {
        of_volume(volume, &mut found);
    }
    for secret in template.list("imagePullSecrets") {
        found.add(
            ReferenceKind::Secret,
            name(secret, "/name"),
            None,
            "imagePullSecrets",
            Need::Wanted,
        );
    }
    let account = template
        .text("serviceAccountName")
        .or_else(|| template.text("serviceAccount"));
    found.add(
        ReferenceKind::ServiceAccount,
        account,
        None,
        "serviceAccountName",
        Need::Must,
    );
    let priority = template.text("priorityClassName");
    found.add(
        ReferenceKind::PriorityClass,
        priority,
        None,
        "priorityClassName",
        Need::Must,
    );
    let runtime = template.text("runtimeClassName");
    found.add(
        ReferenceKind::RuntimeClass,
        runtime,
        None,
        "runtimeClassName",
        Need::Must,
    );
    found.0.into_values().collect()
}

/// Every ConfigMap and Secret that a template names, whether its pods can start without it or not.
pub(crate) fn names(template: &Template) -> BTreeSet<ConfigName> {
    let mut names = BTreeSet::new();
    let mut add = |kind: ConfigKind, source: Option<&Value>, path: &str| {
        let named = source.and_then(|source| name(source, path));
        names.extend(named.map(|name| ConfigName {
            kind,
            name: name.to_owned(),
        }));
    };
    for container in template.containers() {
        for env in container.list("env") {
            let from = env.get("valueFrom");
            add(
                ConfigKind::ConfigMap,
                from.and_then(|from| from.get("configMapKeyRef")),
                "/name",
            );
            add(
                ConfigKind::Secret,
                from.and_then(|from| from.get("secretKeyRef")),
                "/name",
            );
        }
        for from in container.list("envFrom") {
            add(ConfigKind::ConfigMap, from.get("configMapRef"), "/name");
            add(ConfigKind::Secret, from.get("secretRef"), "/name");
        }
    }
    for volume in template.list("volumes") {
        add(ConfigKind::ConfigMap, volume.get("configMap"), "/name");
        add(ConfigKind::Secret, volume.get("secret"), "/secretName");
        for source in volume
            .get("projected")
            .map_or(&[][..], |projected| list(projected, "sources"))
        {
            add(ConfigKind::ConfigMap, source.get("configMap"), "/name");
            add(ConfigKind::Secret, source.get("secret"), "/name");
        }
        for (field, path) in VOLUME_SECRETS {
            add(ConfigKind::Secret, volume.get(field), path);
        }
    }
    names
}

/// References by kind and name: one object is asked for once, with all its keys.
#[derive(Default)]
struct Found(BTreeMap<(ReferenceKind, String), Reference>);

impl Found {
    fn add(&mut self, kind: ReferenceKind, name: Option<&str>, key: Option<&str>, place: &str, need: Need) {
        // An empty name refers to nothing, as the API reads it.
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return;
        };
        let reference = self
            .0
            .entry((kind, name.to_owned()))
            .or_insert_with(|| Reference {
                kind,
                name: name.to_owned(),
                keys: BTreeSet::new(),
                places: BTreeSet::new(),
                need,
            });
        reference.keys.extend(key.map(str::to_owned));
        reference.places.insert(place.to_owned());
        reference.need = reference.need.max(need);
    }

    /// A source with `items`: the object, and the keys that the items name.
    fn add_items(&mut self, kind: ReferenceKind, name: Option<&str>, source: &Value, place: &str) {
        self.add(kind, name, None, place, Need::Must);
        for item in list(source, "items") {
            self.add(
                kind,
                name,
                item.get("key").and_then(Value::as_str),
                place,
                Need::Must,
            );
        }
    }
}

fn of_container(container: &Container<'_>, found: &mut Found) {
    for env in container.list("env") {
        let place = format!("env {} of container {}", text(env, "name"), container.name());
        for (field, kind) in [
            ("configMapKeyRef", ReferenceKind::ConfigMap),
            ("secretKeyRef", ReferenceKind::Secret),
        ] {
            let Some(source) = env.get("valueFrom").and_then(|from| required(from, field)) else {
                continue;
            };
            found.add(
                kind,
                name(source, "/name"),
                source.get("key").and_then(Value::as_str),
                &place,
                Need::Must,
            );
        }
    }
    for from in container.list("envFrom") {
        let place = format!("envFrom of container {}", container.name());
        for (field, kind) in [
            ("configMapRef", ReferenceKind::ConfigMap),
            ("secretRef", ReferenceKind::Secret),
        ] {
            let Some(source) = required(from, field) else {
                continue;
            };
            found.add(kind, name(source, "/name"), None, &place, Need::Must);
        }
    }
}

fn of_volume(volume: &Value, found: &mut Found) {
    let place = format!("volume {}", text(volume, "name"));
    if let Some(source) = required(volume, "configMap") {
        found.add_items(ReferenceKind::ConfigMap, name(source, "/name"), source, &place);
    }
    if let Some(source) = required(volume, "secret") {
        found.add_items(ReferenceKind::Secret, name(source, "/secretName"), source, &place);
    }
    for source in volume
        .get("projected")
        .map_or(&[][..], |projected| list(projected, "sources"))
    {
        for (field, kind) in [
            ("configMap", ReferenceKind::ConfigMap),
            ("secret", ReferenceKind::Secret),
        ] {
            let Some(source) = required(source, field) else {
                continue;
            };
            found.add_items(kind, name(source, "/name"), source, &place);
        }
    }
    let claim = volume
        .get("persistentVolumeClaim")
        .and_then(|claim| name(claim, "/claimName"));
    found.add(
        ReferenceKind::PersistentVolumeClaim,
        claim,
        None,
        &place,
        Need::Must,
    );
    for (field, path) in VOLUME_SECRETS {
        let secret = volume.get(field).and_then(|source| name(source, path));
        found.add(ReferenceKind::Secret, secret, None, &place, Need::Must);
    }
}

/// The source in `field`, unless it says that it is optional.
fn required<'a>(parent: &'a Value, field: &str) -> Option<&'a Value> {
    parent
        .get(field)
        .filter(|source| source.get("optional").and_then(Value::as_bool) != Some(true))
}

fn name<'a>(source: &'a Value, path: &str) -> Option<&'a str> {
    source.pointer(path).and_then(Value::as_str)
}

fn list<'a>(parent: &'a Value, field: &str) -> &'a [Value] {
    parent
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(parent: &'a Value, field: &str) -> &'a str {
    parent.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(spec: Value) -> String {
        let references = references(&Template::clean(json!({ "spec": spec })));
        let line = |r: Reference| {
            let all = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
            format!(
                "{:?} {} [{}] {:?}: {}",
                r.kind,
                r.name,
                all(r.keys),
                r.need,
                all(r.places)
            )
        };
        references.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_place_of_a_template_that_names_an_object_is_found() {
        let spec = json!({
            "serviceAccountName": "runner", "priorityClassName": "high", "runtimeClassName": "gvisor",
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "init", "env": [
                {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "mode"}}}]}],
            "containers": [{"name": "api",
                "env": [
                    {"name": "PLAIN", "value": "1"},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}],
                "envFrom": [{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "keys"}, "prefix": "K_"}]}],
            "volumes": [
                {"name": "a", "configMap": {"name": "files", "items": [{"key": "x", "path": "x"}]}},
                {"name": "b", "secret": {"secretName": "tls"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca"}]}},
                    {"secret": {"name": "tls", "items": [{"key": "tls.key", "path": "key"}]}},
                    {"serviceAccountToken": {"path": "token"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "e", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
                {"name": "f", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "g", "emptyDir": {}}],
        });
        insta::assert_snapshot!(told(spec), @r"
        ConfigMap ca [ca.crt] Must: volume c
        ConfigMap config [mode] Must: env MODE of container init, envFrom of container api
        ConfigMap files [x] Must: volume a
        Secret csi [] Must: volume e
        Secret keys [token] Must: env TOKEN of container api, envFrom of container api
        Secret pull [] Wanted: imagePullSecrets
        Secret tls [tls.key] Must: volume b, volume c
        ServiceAccount runner [] Must: serviceAccountName
        PersistentVolumeClaim data [] Must: volume d
        PriorityClass high [] Must: priorityClassName
        RuntimeClass gvisor [] Must: runtimeClassName
        ");
    }

    #[test]
    fn an_optional_reference_is_not_needed() {
        let spec = json!({
            "containers": [{"name": "api",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "a", "optional": true}}}],
                "envFrom": [{"secretRef": {"name": "b", "optional": true}}]}],
            "volumes": [
                {"name": "c", "configMap": {"name": "c", "optional": true, "items": [{"key": "c", "path": "c"}]}},
                {"name": "d", "secret": {"secretName": "d", "optional": true}},
                {"name": "e", "projected": {"sources": [{"secret": {"name": "e", "optional": true}}]}},
                {"name": "f", "secret": {"secretName": "f", "optional": false}}],
        });
        insta::assert_snapshot!(told(spec), @"Secret f [] Must: volume f");
    }
}
