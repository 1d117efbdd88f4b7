//! What a payload's manifest and hooks say: objects by kind and name, pod templates, what Helm keeps. Every secret
//! value is hidden on the way.

use crate::mask::{self, Masker};
use crate::payload::{Defect, Hook as RawHook, Payload};
use astern_model::helm::{Hook, Record};
use astern_model::id::sha256;
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::{Template, canonical};
use serde_json::Value;
use std::collections::BTreeMap;

/// Words in a hook that tell that it changes a database.
const MIGRATIONS: [&str; 9] = [
    "migrat",
    "alembic",
    "flyway",
    "liquibase",
    "schema",
    "goose",
    "prisma",
    "rails db",
    "db-upgrade",
];

/// Reads a payload. `namespace` is where objects go that name none.
pub(crate) fn record(payload: Payload, namespace: &str, masker: &Masker) -> Result<Record, Defect> {
    let objects = documents(&payload.manifest)?;
    let hooks: Vec<RawHook> = payload.hooks.unwrap_or_default();
    let chart = payload.chart.as_ref().and_then(|chart| chart.metadata.as_ref());
    let chart_name = chart.map_or_else(
        || "unknown chart".to_owned(),
        |chart| format!("{}-{}", chart.name, chart.version),
    );
    let content = content(&chart_name, &objects, &hooks);
    let mut record = Record {
        app_version: chart.and_then(|chart| chart.app_version.clone()),
        chart: chart_name,
        server_side: payload.apply_method == "ssa",
        description: payload.info.description,
        content,
        templates: BTreeMap::new(),
        objects: BTreeMap::new(),
        values: payload.config,
        hooks: read_hooks(&hooks),
        kept: Vec::new(),
        crds: crds(payload.chart.as_ref()),
    };
    let mut known = Vec::new();
    for mut object in objects {
        if is_secret(&object) {
            known.extend(masker.secret(&mut object));
        }
        let Some(key) = key(&object) else { continue };
        if object.pointer("/metadata/annotations/helm.sh~1resource-policy") == Some(&Value::from("keep")) {
            record.kept.push(key.clone());
        }
        if let Some((target, template)) = template(&object, namespace) {
            record.templates.insert(target, template);
        }
        record.objects.insert(key, object);
    }
    for (key, object) in &mut record.objects {
        if !key.starts_with("secret/") {
            masker.values("", object, &known);
        }
    }
    masker.values("", &mut record.values, &known);
    Ok(record)
}

/// Every value of a payload that no text may show: what its Secrets hold, and values that are secret by their names.
pub(crate) fn secret_values(payload: &Payload, masker: &Masker) -> Result<Vec<String>, Defect> {
    let mut values: Vec<String> = documents(&payload.manifest)?
        .iter_mut()
        .filter(|object| is_secret(object))
        .flat_map(|object| masker.secret(object))
        .collect();
    mask::named(&payload.config, &mut values);
    Ok(values)
}

/// A hash of what comes back with this revision. Secrets count without what they hold: the hash is written down.
fn content(chart: &str, objects: &[Value], hooks: &[RawHook]) -> String {
    let mut text = chart.to_owned();
    for object in objects {
        text.push('\n');
        if is_secret(object) {
            text.push_str(&key(object).unwrap_or_default());
        } else {
            text.push_str(&canonical(object));
        }
    }
    for hook in hooks {
        text.push_str(&format!(
            "\n{} {} {:?} {}",
            hook.kind, hook.name, hook.events, hook.weight
        ));
    }
    sha256(text.as_bytes())
}

pub(crate) fn documents(manifest: &str) -> Result<Vec<Value>, Defect> {
    // As Helm's own reader takes it: YAML 1.1, where `0644` is octal.
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
    };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(manifest, options).map_err(|_| Defect::NotAManifest)?;
    Ok(documents
        .into_iter()
        .flat_map(items)
        .filter(Value::is_object)
        .collect())
}

/// A `List` is what it holds.
fn items(mut document: Value) -> Vec<Value> {
    let is_list = document.get("kind") == Some(&Value::from("List"));
    match document.get_mut("items") {
        Some(Value::Array(items)) if is_list => std::mem::take(items),
        _ => vec![document],
    }
}

fn is_secret(object: &Value) -> bool {
    object.get("kind") == Some(&Value::from("Secret"))
}

fn key(object: &Value) -> Option<String> {
    let kind = object.get("kind")?.as_str()?.to_ascii_lowercase();
    let name = object.pointer("/metadata/name")?.as_str()?;
    Some(format!("{kind}/{name}"))
}

fn template(object: &Value, namespace: &str) -> Option<(Target, Template)> {
    let target = workload(object, namespace)?;
    Some((target, Template::clean(object.pointer("/spec/template")?.clone())))
}

/// The workload that an object of a manifest is.
pub(crate) fn workload(object: &Value, namespace: &str) -> Option<Target> {
    let group = object.get("apiVersion")?.as_str()?.split('/').next()?;
    let kind = WorkloadKind::ALL
        .into_iter()
        .find(|kind| object.get("kind").and_then(Value::as_str) == Some(kind.name()))
        .filter(|kind| group == kind.group())?;
    Some(Target {
        kind,
        namespace: object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or(namespace)
            .to_owned(),
        name: object.pointer("/metadata/name")?.as_str()?.to_owned(),
    })
}

/// The hooks in the order in which Helm runs them.
fn read_hooks(hooks: &[RawHook]) -> Vec<Hook> {
    let mut read: Vec<Hook> = hooks
        .iter()
        .map(|hook| {
            let text = format!("{} {}", hook.name, hook.manifest).to_ascii_lowercase();
            Hook {
                object: format!("{}/{}", hook.kind.to_ascii_lowercase(), hook.name),
                events: hook.events.clone().unwrap_or_default(),
                weight: hook.weight,
                migrates: hook.kind == "Job" && MIGRATIONS.iter().any(|word| text.contains(word)),
            }
        })
        .collect();
    read.sort_by(|a, b| (a.weight, &a.object).cmp(&(b.weight, &b.object)));
    read
}

fn crds(chart: Option<&crate::payload::Chart>) -> Vec<String> {
    chart
        .and_then(|chart| chart.files.as_ref())
        .into_iter()
        .flatten()
        .filter(|file| file.name.starts_with("crds/"))
        .map(|file| file.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{compress, decode};
    use serde_json::json;

    fn read(manifest: &str, hooks: &Value) -> Result<Record, Defect> {
        let release = json!({
            "name": "shop", "version": 1, "namespace": "shop",
            "info": {"status": "deployed", "description": "Install complete"},
            "chart": {
                "metadata": {"name": "shop", "version": "1.2.3", "appVersion": "v1.2.3"},
                "files": [{"name": "crds/carts.yaml", "data": ""}, {"name": "README.md", "data": ""}],
            },
            "config": {"db": {"url": "postgres://api:hunter2@db"}},
            "manifest": manifest,
            "hooks": hooks,
        });
        let payload = decode(&compress(release.to_string().as_bytes()), "shop", 1)?;
        record(payload, "shop", &Masker::new())
    }

    const MANIFEST: &str = "---
# Source: shop/templates/api.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    metadata: {labels: {app: api}}
    spec:
      containers: [{name: api, image: \"api:v1\", env: [{name: DSN, value: \"postgres://api:hunter2@db\"}]}]
      volumes: [{name: c, configMap: {name: c, defaultMode: 0644}}]
---
apiVersion: v1
kind: Secret
metadata: {name: dsn}
stringData: {dsn: \"postgres://api:hunter2@db\"}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, annotations: {helm.sh/resource-policy: keep}}
---
";

    #[test]
    fn a_record_tells_objects_templates_hooks_and_what_helm_keeps_and_hides_what_is_secret() {
        let hooks = json!([
            {"name": "seed", "kind": "Job", "manifest": "image: seed", "events": ["post-install"], "weight": 5},
            {"name": "db", "kind": "Job", "manifest": "command: [alembic, upgrade, head]", "events": ["pre-upgrade", "pre-rollback"], "weight": -1},
        ]);
        let record = read(MANIFEST, &hooks).unwrap();
        let objects: Vec<&String> = record.objects.keys().collect();
        assert_eq!(
            objects,
            ["deployment/api", "persistentvolumeclaim/data", "secret/dsn"]
        );
        assert_eq!(record.kept, ["persistentvolumeclaim/data"]);
        assert_eq!(record.crds, ["crds/carts.yaml"]);
        assert_eq!(record.chart, "shop-1.2.3");
        let hooks: Vec<(&str, bool, bool)> = record
            .hooks
            .iter()
            .map(|hook| (hook.object.as_str(), hook.migrates, hook.runs_at_rollback()))
            .collect();
        assert_eq!(hooks, [("job/db", true, true), ("job/seed", false, false)]);
        let (_, template) = record.templates.first_key_value().unwrap();
        assert_eq!(
            template.json().pointer("/spec/volumes/0/configMap/defaultMode"),
            Some(&json!(420))
        );
        assert!(
            !serde_json::to_string(&record.objects)
                .unwrap()
                .contains("hunter2")
        );
        assert!(!record.values.to_string().contains("hunter2"));
    }

    #[test]
    fn the_hash_of_a_record_changes_with_what_comes_back_and_does_not_tell_a_secret() {
        let content = |manifest: &str| read(manifest, &Value::Null).unwrap().content;
        assert_ne!(content(MANIFEST), content(&MANIFEST.replace("api:v1", "api:v2")));
        let other_secret = MANIFEST.replace("{dsn: \"postgres://api:hunter2@db\"}", "{dsn: other}");
        assert_eq!(content(MANIFEST), content(&other_secret));
    }

    #[test]
    fn a_manifest_that_is_no_yaml_is_a_defect() {
        assert_eq!(read("{", &Value::Null), Err(Defect::NotAManifest));
    }
}
