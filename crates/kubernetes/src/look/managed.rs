//! Who owns which field of workloads, as their metadata says. Decides nothing.

use super::fetch::{Collection, Part, list};
use astern_model::failure::Failure;
use astern_model::target::{Target, WorkloadKind};
use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// `metadata.managedFields` of each of these that is there.
pub(super) async fn read(
    client: &Client,
    targets: &[Target],
) -> Result<BTreeMap<Target, Vec<Value>>, Failure> {
    let kinds: BTreeSet<(&str, WorkloadKind)> = targets
        .iter()
        .map(|target| (target.namespace.as_str(), target.kind))
        .collect();
    let lists = kinds.iter().map(|(namespace, kind)| async move {
        let collection = Collection::workloads(*kind, namespace);
        let of = |object: Value| managed(namespace, *kind, &object);
        list(client, &collection, Part::Metadata, of).await
    });
    let listed = try_join_all(lists).await?;
    Ok(listed
        .into_iter()
        .flat_map(|listed| listed.items)
        .filter(|(target, _)| targets.contains(target))
        .collect())
}

fn managed(namespace: &str, kind: WorkloadKind, object: &Value) -> (Target, Vec<Value>) {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let fields = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let target = Target {
        namespace: namespace.to_owned(),
        kind,
        name: name.unwrap_or_default().to_owned(),
    };
    (target, fields.cloned().unwrap_or_default())
}
