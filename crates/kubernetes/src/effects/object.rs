//! A workload object as the API server returned it, whole and untyped, so that writing it back drops no field that
//! this program does not know. Owns what is read from it and set in it; sends nothing.

use super::stamp::Annotated;
use super::strategy::strategy;
use astern_model::defect::{Defect, planted};
use astern_model::id::{TemplateHash, Uid};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{FieldManager, Strategy};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One workload, just read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    kind: WorkloadKind,
    json: Value,
}

impl Object {
    /// Takes the API server's answer for a workload of this kind.
    pub(crate) fn new(kind: WorkloadKind, json: Value) -> Self {
        Self { kind, json }
    }

    /// The kind.
    pub(crate) fn kind(&self) -> WorkloadKind {
        self.kind
    }

    /// The whole JSON.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// `metadata.uid`.
    pub(crate) fn uid(&self) -> Uid {
        Uid(self.text("/metadata/uid").unwrap_or_default().to_owned())
    }

    /// `metadata.resourceVersion`.
    pub(crate) fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion").unwrap_or_default()
    }

    /// `metadata.generation`.
    pub(crate) fn generation(&self) -> u64 {
        self.number("/metadata/generation").unwrap_or(0)
    }

    /// Whether its controller has taken in the newest spec.
    pub(crate) fn observed(&self) -> bool {
        let observed = match self.kind {
            // Argo Rollouts writes it as a text.
            WorkloadKind::Rollout => self
                .text("/status/observedGeneration")
                .and_then(|text| text.parse().ok()),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                self.number("/status/observedGeneration")
            }
        };
        observed.unwrap_or(0) >= self.generation()
    }

    /// `spec.template` without what controllers put in.
    pub(crate) fn template(&self) -> Template {
        Template::clean(self.at("/spec/template").cloned().unwrap_or(Value::Null))
    }

    /// The hash of that.
    pub(crate) fn template_hash(&self) -> TemplateHash {
        self.template().hash()
    }

    /// The ReplicaSet of the template, as Argo Rollouts names it once it has taken the template in.
    pub(crate) fn current_replica_set(&self) -> Option<String> {
        let hash = self
            .text("/status/currentPodHash")
            .filter(|hash| !hash.is_empty())?;
        let name = self.text("/metadata/name")?;
        (self.kind == WorkloadKind::Rollout).then(|| format!("{name}-{hash}"))
    }

    /// How it replaces pods.
    pub(crate) fn strategy(&self) -> Strategy {
        strategy(self.kind, self.json.get("spec").unwrap_or(&Value::Null))
    }

    /// `spec.paused` of a Deployment or Rollout.
    pub(crate) fn paused(&self) -> bool {
        self.at("/spec/paused").and_then(Value::as_bool).unwrap_or(false)
    }

    /// `metadata.managedFields`, empty where the server sent none.
    pub(crate) fn managed_fields(&self) -> &[Value] {
        self.at("/metadata/managedFields")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The field manager that wrote the template last.
    pub(crate) fn template_manager(&self) -> Option<FieldManager> {
        self.manager_of(|spec| spec.get("f:template").is_some())
    }

    /// The field manager that wrote `spec.paused` last.
    pub(crate) fn paused_manager(&self) -> Option<FieldManager> {
        self.manager_of(|spec| spec.get("f:paused").is_some())
    }

    /// What lies at a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Value> {
        at(&self.json, path)
    }

    /// The number at a path.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.at(path)?.as_u64()
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The same object asking for another template. Nothing beside the template changes.
    #[must_use]
    pub(crate) fn with_template(mut self, template: &Template) -> Self {
        self.spec_mut()
            .insert("template".to_owned(), template.json().clone());
        self
    }

    /// The same object, to be set whatever was written meanwhile: for dry runs alone.
    #[must_use]
    pub(crate) fn of_any_version(mut self) -> Self {
        if let Some(metadata) = self.json.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        self
    }

    /// The same object paused or not.
    #[must_use]
    pub(crate) fn with_paused(mut self, paused: bool) -> Self {
        self.spec_mut().insert("paused".to_owned(), json!(paused));
        self
    }

    /// The pods it asks for; 1 where it says nothing, as the API server has it.
    pub(crate) fn replicas(&self) -> u32 {
        let count = self.json().pointer("/spec/replicas").and_then(Value::as_u64);
        count.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The same object with another count.
    #[must_use]
    pub(crate) fn with_replicas(mut self, count: u32) -> Self {
        self.spec_mut().insert("replicas".to_owned(), json!(count));
        self
    }

    /// The same object with these annotations set, or removed where there is no value.
    #[must_use]
    pub(crate) fn with_annotations(mut self, values: BTreeMap<&str, Option<String>>) -> Self {
        set_annotations(&mut self.json, values);
        self
    }

    /// The same object, with what a planted defect does to it before it is written.
    #[must_use]
    pub(crate) fn spoiled(mut self) -> Self {
        if planted(Defect::ForgetReplicas) {
            self.spec_mut().insert("replicas".to_owned(), json!(1));
        }
        if planted(Defect::DropLabels) {
            self.entry_mut("metadata").remove("labels");
        }
        if planted(Defect::IgnoreVersion) {
            self.entry_mut("metadata").remove("resourceVersion");
        }
        self
    }

    fn spec_mut(&mut self) -> &mut Map<String, Value> {
        self.entry_mut("spec")
    }

    fn entry_mut(&mut self, name: &str) -> &mut Map<String, Value> {
        entry_mut(&mut self.json, name)
    }

    fn manager_of(&self, wrote: impl Fn(&Value) -> bool) -> Option<FieldManager> {
        let text = |entry: &Value, name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        self.managed_fields()
            .iter()
            .filter(|entry| entry.pointer("/fieldsV1/f:spec").is_some_and(&wrote))
            .map(|entry| FieldManager {
                name: text(entry, "manager"),
                operation: text(entry, "operation"),
                at: text(entry, "time").parse::<Timestamp>().ok(),
            })
            .max_by_key(|manager| manager.at)
    }
}

/// What lies at a path such as `/spec/template`. No name in it holds a slash, so none is unescaped, which would cost more
/// than to go there.
pub(crate) fn at<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    let mut names = path.split('/').skip(1);
    names.try_fold(json, |value, name| value.get(name))
}

impl Annotated for Object {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.json.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }
}

/// Sets annotations of an object, or removes them where there is no value.
pub(crate) fn set_annotations(object: &mut Value, values: BTreeMap<&str, Option<String>>) {
    let metadata = entry_mut(object, "metadata");
    let slot = metadata.entry("annotations").or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    if let Value::Object(annotations) = slot {
        for (name, value) in values {
            match value {
                Some(text) => annotations.insert(name.to_owned(), Value::String(text)),
                None => annotations.remove(name),
            };
        }
    }
}

fn entry_mut<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !object.get(name).is_some_and(Value::is_object) {
        object[name] = json!({});
    }
    object[name]
        .as_object_mut()
        .expect("BUG: it was made an object on the line before")
}

/// The API path under which the workloads of a target's kind and namespace lie.
pub(crate) fn collection(target: &Target) -> String {
    let Target { kind, namespace, .. } = target;
    format!(
        "/apis/{}/{}/namespaces/{namespace}/{}",
        kind.group(),
        kind.version(),
        kind.plural()
    )
}

/// Who wrote the template last, as a phrase for a message: `last written by kubectl-edit at …`.
pub(crate) fn writer_phrase(manager: Option<&FieldManager>) -> String {
    match manager {
        Some(FieldManager {
            name, at: Some(at), ..
        }) => {
            format!(
                "last written by field manager {name} at {}",
                astern_model::choice::clock(*at)
            )
        }
        Some(FieldManager { name, at: None, .. }) => format!("last written by field manager {name}"),
        None => "nobody is named as its last writer".to_owned(),
    }
}
