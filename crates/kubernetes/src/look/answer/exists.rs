//! Whether what a template refers to is there, with the keys that it names. Values are never kept: where no key is
//! asked for they do not even leave the server.

use super::super::fetch::{Part, get};
use crate::failure::{Attempt, Verb};
use astern_model::failure::FailureClass;
use astern_model::question::{Answer, ReferenceKind};
use kube::Client;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};

/// An object's keys; its values are passed over while reading.
#[derive(Deserialize)]
struct Keys {
    data: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "binaryData")]
    binary_data: Option<BTreeMap<String, IgnoredAny>>,
}

/// Looks for one object.
pub(super) async fn exists(
    client: &Client,
    kind: ReferenceKind,
    namespace: &str,
    name: &str,
    keys: &[String],
) -> Answer {
    let place = Place::of(kind, namespace);
    let operation = format!("read {}/{name}", place.singular);
    let attempt = Attempt::new(Verb::Get, place.resource, operation);
    let part = if keys.is_empty() {
        Part::Metadata
    } else {
        Part::Whole
    };
    match get::<Keys>(client, &place.path, name, part, &attempt).await {
        Ok(found) => has(&found, keys, &format!("{}/{name}", place.singular)),
        Err(failure) if failure.class == FailureClass::Permanent => Answer::No {
            why: format!(
                "{}/{name} does not exist{}",
                place.singular, place.where_it_should_be
            ),
        },
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

fn has(found: &Keys, wanted: &[String], object: &str) -> Answer {
    let there: BTreeSet<&String> = found
        .data
        .iter()
        .flatten()
        .chain(found.binary_data.iter().flatten())
        .map(|(key, _)| key)
        .collect();
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|key| !there.contains(key))
        .map(String::as_str)
        .collect();
    match missing.as_slice() {
        [] => Answer::Yes,
        [one] => Answer::No {
            why: format!("{object} has no key {one}"),
        },
        many => Answer::No {
            why: format!("{object} has none of the keys {}", many.join(", ")),
        },
    }
}

struct Place {
    path: String,
    resource: &'static str,
    singular: &'static str,
    where_it_should_be: String,
}

impl Place {
    fn of(kind: ReferenceKind, namespace: &str) -> Self {
        let core = |resource: &'static str, singular| Self {
            path: format!("/api/v1/namespaces/{namespace}/{resource}"),
            resource,
            singular,
            where_it_should_be: format!(" in namespace {namespace}"),
        };
        let cluster = |group: &str, resource: &'static str, singular| Self {
            path: format!("/apis/{group}/{resource}"),
            resource,
            singular,
            where_it_should_be: String::new(),
        };
        match kind {
            ReferenceKind::ConfigMap => core("configmaps", "configmap"),
            ReferenceKind::Secret => core("secrets", "secret"),
            ReferenceKind::ServiceAccount => core("serviceaccounts", "serviceaccount"),
            ReferenceKind::PersistentVolumeClaim => core("persistentvolumeclaims", "persistentvolumeclaim"),
            ReferenceKind::PriorityClass => {
                cluster("scheduling.k8s.io/v1", "priorityclasses", "priorityclass")
            }
            ReferenceKind::RuntimeClass => cluster("node.k8s.io/v1", "runtimeclasses", "runtimeclass"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_key_is_named() {
        let found: Keys =
            serde_json::from_value(json!({"data": {"a": "1"}, "binaryData": {"b": "MQ=="}})).unwrap();
        let check = |keys: &[&str], expected: Answer| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(has(&found, &keys, "secret/api-keys"), expected);
        };
        check(&["a", "b"], Answer::Yes);
        check(
            &["a", "c"],
            Answer::No {
                why: "secret/api-keys has no key c".to_owned(),
            },
        );
    }
}
