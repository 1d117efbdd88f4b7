//! Who reads which ConfigMap and Secret: from a workload's template and its annotations. Owns where a template may name
//! one, and what controllers that restart workloads on a change are told by; asks nobody.

use astern_model::config::{ConfigKind, ConfigName, Use};
use astern_model::template::{Container, Template};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Annotations by which Reloader is told which objects to watch, comma separated.
/// Source: <https://github.com/stakater/Reloader>, "Named resource reload".
const NAMED: [(&str, ConfigKind); 2] = [
    ("configmap.reloader.stakater.com/reload", ConfigKind::ConfigMap),
    ("secret.reloader.stakater.com/reload", ConfigKind::Secret),
];

/// Annotations by which Reloader is told to watch whatever the template names, and of which kind.
const AUTO: [(&str, Option<ConfigKind>); 3] = [
    ("reloader.stakater.com/auto", None),
    (
        "configmap.reloader.stakater.com/auto",
        Some(ConfigKind::ConfigMap),
    ),
    ("secret.reloader.stakater.com/auto", Some(ConfigKind::Secret)),
];

/// Volume sources that name one Secret: the field, then the path to the name inside it.
/// Source: `core/v1` PodSpec.
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

/// Every ConfigMap and Secret that a workload reads, each with every place, in template order. `annotations` are the
/// workload's own; those of the template count as well.
pub fn consumers(
    template: &Template,
    annotations: &BTreeMap<String, String>,
) -> BTreeMap<ConfigName, Vec<Use>> {
    let mut found = Found::default();
    for container in template.containers() {
        of_container(container, &mut found);
    }
    let mounts = mounts(template);
    for volume in template.list("volumes") {
        of_volume(volume, &mounts, &mut found);
    }
    for secret in template.list("imagePullSecrets") {
        found.add(ConfigKind::Secret, text(secret, "/name"), || Use::ImagePull);
    }
    let inner = template.json().pointer("/metadata/annotations");
    let inner = inner.and_then(Value::as_object).into_iter().flatten();
    let inner = inner.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let own = annotations
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (annotation, value) in own.chain(inner) {
        of_annotation(annotation, value, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Found(BTreeMap<ConfigName, Vec<Use>>);

impl Found {
    /// An empty name refers to nothing, as the API reads it.
    fn add(&mut self, kind: ConfigKind, name: Option<&str>, by: impl FnOnce() -> Use) {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return;
        };
        let name = ConfigName {
            kind,
            name: name.to_owned(),
        };
        let uses = self.0.entry(name).or_default();
        let by = by();
        if !uses.contains(&by) {
            uses.push(by);
        }
    }
}

fn text<'a>(json: &'a Value, pointer: &str) -> Option<&'a str> {
    json.pointer(pointer).and_then(Value::as_str)
}

fn of_container(container: Container<'_>, found: &mut Found) {
    let name = container.name();
    for entry in container.list("env") {
        for (kind, field) in [
            (ConfigKind::ConfigMap, "/valueFrom/configMapKeyRef"),
            (ConfigKind::Secret, "/valueFrom/secretKeyRef"),
        ] {
            let Some(of) = entry.pointer(field) else { continue };
            found.add(kind, text(of, "/name"), || Use::Env {
                container: name.to_owned(),
                variable: text(entry, "/name").unwrap_or_default().to_owned(),
                key: text(of, "/key").unwrap_or_default().to_owned(),
            });
        }
    }
    for source in container.list("envFrom") {
        for (kind, pointer) in [
            (ConfigKind::ConfigMap, "/configMapRef/name"),
            (ConfigKind::Secret, "/secretRef/name"),
        ] {
            found.add(kind, text(source, pointer), || Use::EnvFrom {
                container: name.to_owned(),
            });
        }
    }
}

/// Who mounts a volume, and whether by a part of it.
type Mounts<'a> = BTreeMap<&'a str, BTreeSet<(&'a str, bool)>>;

fn mounts(template: &Template) -> Mounts<'_> {
    let mut mounts = Mounts::new();
    for container in template.containers() {
        for mount in container.list("volumeMounts") {
            let sub_path = ["/subPath", "/subPathExpr"]
                .iter()
                .any(|field| text(mount, field).is_some_and(|path| !path.is_empty()));
            if let Some(volume) = text(mount, "/name") {
                mounts
                    .entry(volume)
                    .or_default()
                    .insert((container.name(), sub_path));
            }
        }
    }
    mounts
}

fn of_volume(volume: &Value, mounts: &Mounts<'_>, found: &mut Found) {
    let name = text(volume, "/name").unwrap_or_default();
    let mut read = |kind: ConfigKind, of: Option<&str>| {
        let by = |container: Option<&str>, sub_path| Use::Volume {
            volume: name.to_owned(),
            container: container.map(str::to_owned),
            sub_path,
        };
        match mounts.get(name) {
            None => found.add(kind, of, || by(None, false)),
            Some(mounts) => {
                for (container, sub_path) in mounts {
                    found.add(kind, of, || by(Some(container), *sub_path));
                }
            }
        }
    };
    read(ConfigKind::ConfigMap, text(volume, "/configMap/name"));
    read(ConfigKind::Secret, text(volume, "/secret/secretName"));
    for (source, pointer) in VOLUME_SECRETS {
        read(
            ConfigKind::Secret,
            volume.get(source).and_then(|source| text(source, pointer)),
        );
    }
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
    for source in sources.into_iter().flatten() {
        read(ConfigKind::ConfigMap, text(source, "/configMap/name"));
        read(ConfigKind::Secret, text(source, "/secret/name"));
    }
}

fn of_annotation(annotation: &str, value: &str, found: &mut Found) {
    let by = || Use::Annotation {
        annotation: annotation.to_owned(),
    };
    for (_, kind) in NAMED.iter().filter(|(named, _)| *named == annotation) {
        for name in value.split(',').map(str::trim) {
            found.add(*kind, Some(name), by);
        }
    }
    for (_, of) in AUTO
        .iter()
        .filter(|(auto, _)| *auto == annotation && value == "true")
    {
        for (name, uses) in &mut found.0 {
            if of.is_none_or(|kind| kind == name.kind) && !uses.contains(&by()) {
                uses.push(by());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(spec: Value, annotations: &[(&str, &str)]) -> Vec<String> {
        let template = Template::clean(json!({"spec": spec}));
        let annotations = annotations
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let phrase = |by: &Use| match by {
            Use::Env {
                container,
                variable,
                key,
            } => format!("env {container} {variable}<-{key}"),
            Use::EnvFrom { container } => format!("envFrom {container}"),
            Use::Volume {
                volume,
                container,
                sub_path,
            } => format!(
                "volume {volume} {}{}",
                container.as_deref().unwrap_or("unmounted"),
                if *sub_path { " subPath" } else { "" }
            ),
            Use::ImagePull => "pull".to_owned(),
            Use::Annotation { annotation } => annotation.clone(),
        };
        consumers(&template, &annotations)
            .iter()
            .map(|(name, uses)| {
                format!(
                    "{name}: {}",
                    uses.iter().map(phrase).collect::<Vec<_>>().join(", ")
                )
            })
            .collect()
    }

    #[test]
    fn every_place_where_a_template_reads_config_is_found() {
        let check = |spec: Value, expected: &[&str]| assert_eq!(told(spec.clone(), &[]), expected, "{spec}");
        check(json!({"containers": [{"name": "api", "image": "api:v1"}]}), &[]);
        check(
            json!({"containers": [{"name": "api", "env": [
                {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "PLAIN", "value": "app"}]}]}),
            &[
                "configmap/app: env api LEVEL<-level",
                "secret/keys: env api TOKEN<-token",
            ],
        );
        check(
            json!({"initContainers": [{"name": "migrate", "envFrom": [{"secretRef": {"name": "db"}}]}],
                "containers": [{"name": "api", "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}]}),
            &[
                "configmap/app: envFrom api",
                "secret/db: envFrom migrate, envFrom api",
            ],
        );
        check(
            json!({"volumes": [
                {"name": "conf", "configMap": {"name": "app"}},
                {"name": "tls", "secret": {"secretName": "tls"}},
                {"name": "both", "projected": {"sources": [
                    {"configMap": {"name": "app"}}, {"secret": {"name": "keys"}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "nobody", "configMap": {"name": "unused"}}],
                "containers": [{"name": "api", "volumeMounts": [
                    {"name": "conf", "mountPath": "/a", "subPath": "a.yaml"}, {"name": "tls", "mountPath": "/tls"},
                    {"name": "both", "mountPath": "/b"}]}]}),
            &[
                "configmap/app: volume conf api subPath, volume both api",
                "configmap/unused: volume nobody unmounted",
                "secret/keys: volume both api",
                "secret/tls: volume tls api",
            ],
        );
        check(
            json!({"imagePullSecrets": [{"name": "registry"}, {"name": ""}],
                "volumes": [{"name": "d", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}}],
                "containers": []}),
            &["secret/csi: volume d unmounted", "secret/registry: pull"],
        );
    }

    #[test]
    fn annotations_that_reloaders_follow_make_a_consumer() {
        let spec = json!({"containers": [{"name": "api", "envFrom": [
            {"configMapRef": {"name": "app"}}, {"secretRef": {"name": "keys"}}]}]});
        let check = |annotation: (&str, &str), expected: &[&str]| {
            assert_eq!(told(spec.clone(), &[annotation]), expected, "{annotation:?}");
        };
        let named = "configmap.reloader.stakater.com/reload";
        check(
            (named, "app, flags"),
            &[
                "configmap/app: envFrom api, configmap.reloader.stakater.com/reload",
                "configmap/flags: configmap.reloader.stakater.com/reload",
                "secret/keys: envFrom api",
            ],
        );
        check(
            ("reloader.stakater.com/auto", "true"),
            &[
                "configmap/app: envFrom api, reloader.stakater.com/auto",
                "secret/keys: envFrom api, reloader.stakater.com/auto",
            ],
        );
        check(
            ("secret.reloader.stakater.com/auto", "true"),
            &[
                "configmap/app: envFrom api",
                "secret/keys: envFrom api, secret.reloader.stakater.com/auto",
            ],
        );
        check(
            ("reloader.stakater.com/auto", "false"),
            &["configmap/app: envFrom api", "secret/keys: envFrom api"],
        );
    }
}
