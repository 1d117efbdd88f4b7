//! What a manifest says that ConfigMaps and Secrets hold, as the API server keeps it once Helm has applied it. Owns that reading
//! and the marks that Helm adds; whoever asks keeps the values to itself.

use astern_model::config::{ConfigKind, ConfigName};
use astern_model::helm::ReleaseName;
use astern_port::releases::{ManifestContents, Manifested};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the API server calls a Secret that says no type.
const OPAQUE: &str = "Opaque";

/// The ConfigMaps and Secrets among the objects of a manifest.
pub(crate) fn contents(objects: Vec<Value>, release: &ReleaseName) -> ManifestContents {
    let mut contents = ManifestContents::default();
    for object in objects {
        let Some(name) = name(&object) else { continue };
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = namespace.unwrap_or(&release.namespace).to_owned();
        let stored = stored(name.kind, object, &namespace, release);
        if namespace == release.namespace {
            contents.here.insert(name, stored);
        } else {
            contents.elsewhere.insert((namespace, name), stored);
        }
    }
    contents
}

fn name(object: &Value) -> Option<ConfigName> {
    let kind = [ConfigKind::ConfigMap, ConfigKind::Secret]
        .into_iter()
        .find(|kind| object.get("kind").and_then(Value::as_str) == Some(api_kind(*kind)))
        .filter(|_| object.get("apiVersion") == Some(&Value::from("v1")))?;
    Some(ConfigName {
        kind,
        name: object.pointer("/metadata/name")?.as_str()?.to_owned(),
    })
}

fn api_kind(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "ConfigMap",
        ConfigKind::Secret => "Secret",
    }
}

/// The object as it is kept: a Secret's plain text encoded, Helm's marks on it.
fn stored(kind: ConfigKind, mut object: Value, namespace: &str, release: &ReleaseName) -> Manifested {
    let mut part = |name: &str| match object.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(format!("its {name} is no map in the manifest")),
    };
    let (data, plain, binary) = (part("data")?, part("stringData")?, part("binaryData")?);
    let mut kept = json!({
        "apiVersion": "v1",
        "kind": api_kind(kind),
        "metadata": marked(&object, namespace, release),
    });
    let held = match kind {
        ConfigKind::ConfigMap => texts(data)?,
        ConfigKind::Secret => {
            kept["type"] = match object.get("type").and_then(Value::as_str) {
                Some(kind) if !kind.is_empty() => Value::from(kind),
                _ => Value::from(OPAQUE),
            };
            let mut held = encoded(data)?;
            let plain = texts(plain)?.into_iter();
            held.extend(plain.map(|(key, text)| (key, STANDARD.encode(text))));
            held
        }
    };
    if !held.is_empty() {
        kept["data"] = json!(held);
    }
    let binary = encoded(binary)?;
    if kind == ConfigKind::ConfigMap && !binary.is_empty() {
        kept["binaryData"] = json!(binary);
    }
    if object.get("immutable") == Some(&Value::Bool(true)) {
        kept["immutable"] = Value::Bool(true);
    }
    Ok(kept)
}

/// Name, labels and annotations, with the marks by which Helm knows what is its own: an object without them it refuses to adopt.
/// Source: `setMetadataVisitor` in `pkg/action/validate.go` of Helm 3 and 4.
pub(crate) fn marked(object: &Value, namespace: &str, release: &ReleaseName) -> Value {
    let texts = |field: &str| {
        let map = object.get("metadata").and_then(|metadata| metadata.get(field));
        let map = map.and_then(Value::as_object).cloned().unwrap_or_default();
        map.into_iter()
            .filter(|(_, value)| value.is_string())
            .collect::<Map<_, _>>()
    };
    let (mut labels, mut annotations) = (texts("labels"), texts("annotations"));
    labels.insert("app.kubernetes.io/managed-by".to_owned(), Value::from("Helm"));
    for (mark, value) in [
        ("meta.helm.sh/release-name", &release.name),
        ("meta.helm.sh/release-namespace", &release.namespace),
    ] {
        annotations.insert(mark.to_owned(), Value::from(value.as_str()));
    }
    json!({
        "name": object.pointer("/metadata/name"),
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations,
    })
}

fn texts(map: Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    map.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(format!("its key {key} holds no text in the manifest")),
        })
        .collect()
}

/// Base64 as the API server writes it again; line ends in it count for nothing there.
fn encoded(map: Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    texts(map)?
        .into_iter()
        .map(|(key, text)| {
            let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            match STANDARD.decode(text) {
                Ok(bytes) => Ok((key, STANDARD.encode(bytes))),
                Err(_) => Err(format!("its key {key} holds no base64 in the manifest")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::documents;

    fn read(manifest: &str) -> ManifestContents {
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "shop".to_owned(),
        };
        contents(documents(manifest).unwrap(), &release)
    }

    fn only(manifest: &str) -> Manifested {
        read(manifest).here.into_values().next().unwrap()
    }

    #[test]
    fn an_object_is_told_as_the_api_server_keeps_it_with_the_marks_of_helm() {
        let told = only(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: db, labels: {app: api}}\n\
             data: {user: \"YX\\nBp\"}\nstringData: {user: api, password: hunter2}\n",
        );
        assert_eq!(
            told,
            Ok(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {
                    "name": "db", "namespace": "shop",
                    "labels": {"app": "api", "app.kubernetes.io/managed-by": "Helm"},
                    "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "shop"},
                },
                "data": {"user": "YXBp", "password": "aHVudGVyMg=="},
            }))
        );
        let map =
            only("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {MODE: calm}\n").unwrap();
        assert_eq!(map["data"], json!({"MODE": "calm"}));
        assert_eq!(map.get("type"), None);
    }

    #[test]
    fn what_the_manifest_does_not_say_for_certain_is_not_told_and_no_value_stands_in_the_reason() {
        let why = |kind: &str, held: &str| {
            only(&format!(
                "apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{held}\n"
            ))
            .unwrap_err()
        };
        assert_eq!(
            why("ConfigMap", "data: {PORT: 8080}"),
            "its key PORT holds no text in the manifest"
        );
        assert_eq!(
            why("Secret", "data: {pin: hunter2!}"),
            "its key pin holds no base64 in the manifest"
        );
        assert_eq!(
            why("ConfigMap", "data: [1]"),
            "its data is no map in the manifest"
        );
        let elsewhere = read("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: bank}\n");
        assert!(
            elsewhere.here.is_empty() && elsewhere.elsewhere.len() == 1,
            "{elsewhere:?}"
        );
        let shown = format!(
            "{:?}",
            read("apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {p: hunter2}\n")
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
            "{shown}"
        );
    }
}
