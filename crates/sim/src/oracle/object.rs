//! Reading what the oracle looks at in an object, and the marks that astern leaves on one.

use astern_model::id::{RunId, TemplateHash};
use astern_model::template::Template;
use serde_json::Value;

pub(super) const EFFECT: &str = "astern.dev/effect";
pub(super) const EPOCH: &str = "astern.dev/epoch";
pub(super) const RUN: &str = "astern.dev/run";
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The API server counts a DaemonSet's templates in it.
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn hash(object: &Value) -> TemplateHash {
    Template::clean(object.pointer("/spec/template").cloned().unwrap_or_default()).hash()
}

pub(super) fn paused(object: &Value) -> bool {
    object
        .pointer("/spec/paused")
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(name)?.as_str())
        .unwrap_or_default()
}

pub(super) fn epoch_on(object: &Value, run: &RunId) -> Option<u64> {
    (annotation(object, RUN) == run.as_str()).then(|| annotation(object, EPOCH).parse().ok())?
}
