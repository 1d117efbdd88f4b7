//! Kubernetes manifests as text: which images they would run, and what ConfigMaps they hold. Owns where those stand; judges none.

use astern_model::config::{ConfigKind, ConfigName};
use astern_model::image::Image;
use serde_json::Value;
use std::collections::BTreeSet;

/// A platform of a thousand services has manifests of some MiB.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Deeper than any manifest, with room for custom resources.
const MAX_DEPTH: usize = 128;
/// Documents in one file.
const MAX_DOCUMENTS: usize = 10_000;

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than astern reads.
    #[error("it has {} MiB; astern reads up to {} MiB", .0 / 1024 / 1024, MAX_BYTES / 1024 / 1024)]
    TooLarge(usize),
    /// Not YAML. Values are not repeated: a manifest may hold secrets.
    #[error("it is not YAML (line {line}, column {column})")]
    NotYaml {
        /// Where.
        line: u64,
        /// Where.
        column: u64,
    },
    /// Nothing in it would run.
    #[error("it names no image: nothing in it would run")]
    NoImages,
}

/// The images that manifests name, without repetition: of containers, init containers and ephemeral ones, in pod
/// templates of any kind, in lists, and in as many documents as there are. JSON is YAML too.
///
/// # Errors
/// [`ManifestError`].
pub fn images(text: &str) -> Result<Vec<Image>, ManifestError> {
    let documents = documents(text)?;
    let mut found = BTreeSet::new();
    for document in &documents {
        of(document, &mut found);
    }
    if found.is_empty() {
        return Err(ManifestError::NoImages);
    }
    Ok(found.iter().map(|reference| Image::parse(reference)).collect())
}

/// The ConfigMaps of manifests, whole, also those in lists.
///
/// # Errors
/// [`ManifestError`], never for want of any.
pub fn config_maps(text: &str) -> Result<Vec<(ConfigName, Value)>, ManifestError> {
    let mut found = Vec::new();
    for document in documents(text)? {
        config_maps_of(document, &mut found);
    }
    Ok(found)
}

fn config_maps_of(mut json: Value, found: &mut Vec<(ConfigName, Value)>) {
    if let Some(items) = json.get_mut("items").and_then(Value::as_array_mut) {
        let items = std::mem::take(items);
        items.into_iter().for_each(|item| config_maps_of(item, found));
        return;
    }
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
    if let (Some("ConfigMap"), Some("v1"), Some(name)) =
        (text("/kind"), text("/apiVersion"), text("/metadata/name"))
    {
        let name = ConfigName {
            kind: ConfigKind::ConfigMap,
            name: name.to_owned(),
        };
        found.push((name, json));
    }
}

fn documents(text: &str) -> Result<Vec<Value>, ManifestError> {
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge(text.len()));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location();
        ManifestError::NotYaml {
            line: place.map_or(0, |place| place.line()),
            column: place.map_or(0, |place| place.column()),
        }
    })
}

const CONTAINERS: [&str; 3] = ["containers", "ephemeralContainers", "initContainers"];

fn of<'a>(json: &'a Value, found: &mut BTreeSet<&'a str>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if CONTAINERS.contains(&name.as_str()) {
                    let containers = value.as_array().map(Vec::as_slice).unwrap_or_default();
                    let images = containers
                        .iter()
                        .filter_map(|container| container.get("image")?.as_str());
                    found.extend(images.filter(|image| !image.is_empty()));
                }
                of(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| of(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_wherever_a_pod_template_stands() {
        let check = |text: &str, expected: Result<&[&str], ManifestError>| {
            let found = images(text).map(|images| images.into_iter().map(|image| image.reference).collect());
            let expected = expected.map(|images| images.iter().map(|image| (*image).to_owned()).collect());
            assert_eq!(found as Result<Vec<String>, _>, expected, "{text}");
        };
        check(
            "kind: Deployment\nspec: {template: {spec: {initContainers: [{name: m, image: 'm:v1'}], containers: [{name: a, image: 'a:v2'}]}}}\n---\nkind: ConfigMap\n---\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a:v2}, {image: b}]}}}}}\n",
            Ok(&["a:v2", "b", "m:v1"]),
        );
        check(
            r#"{"kind": "List", "items": [{"kind": "Pod", "spec": {"containers": [{"image": "a@sha256:ab"}]}}]}"#,
            Ok(&["a@sha256:ab"]),
        );
        check(
            "kind: ConfigMap\ndata: {image: 'a:v1'}\n",
            Err(ManifestError::NoImages),
        );
        check("", Err(ManifestError::NoImages));
        check("a: [", Err(ManifestError::NotYaml { line: 1, column: 4 }));
    }

    #[test]
    fn config_maps_are_found_in_documents_and_lists_and_nothing_else_is_one() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n---\napiVersion: v1\nkind: List\nitems:\n\
            - {apiVersion: v1, kind: ConfigMap, metadata: {name: other}}\n- {apiVersion: v1, kind: Secret, metadata: {name: keys}}\n---\n\
            apiVersion: example.test/v1\nkind: ConfigMap\nmetadata: {name: custom}\n";
        let found = config_maps(text).unwrap();
        let names: Vec<String> = found.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["configmap/app", "configmap/other"]);
        assert_eq!(found[0].1["data"]["a"], "b");
        assert_eq!(config_maps("").unwrap(), []);
    }
}
