//! Whether what a plan pinned still holds. Owns the comparison and its words; reads nothing itself.

use super::object::{Object, writer_phrase};
use super::strategy::strategy_phrase;
use astern_model::defect::{Defect, planted};
use astern_model::id::Uid;
use astern_model::step::workload::Pin;

/// The first pin that does not hold, from what to what; none when all do.
pub(crate) fn broken(pin: &Pin, now: &Object) -> Option<String> {
    if planted(Defect::IgnorePins) {
        return None;
    }
    if let Some(message) = another(&pin.uid, now) {
        return Some(message);
    }
    let template = now.template_hash();
    if template != pin.template {
        return Some(format!(
            "its template changed since the plan was made: from {} to {}, {}",
            pin.template,
            template,
            writer_phrase(now.template_manager().as_ref())
        ));
    }
    let strategy = now.strategy();
    if strategy != pin.strategy {
        return Some(format!(
            "its strategy changed since the plan was made: from {} to {}",
            strategy_phrase(&pin.strategy),
            strategy_phrase(&strategy)
        ));
    }
    let paused = now.paused();
    (paused != pin.paused).then(|| {
        let word = |paused: bool| if paused { "paused" } else { "not paused" };
        format!(
            "somebody paused or resumed it since the plan was made: from {} to {}, {}",
            word(pin.paused),
            word(paused),
            writer_phrase(now.paused_manager().as_ref())
        )
    })
}

/// The message for an object that was deleted and made again.
pub(crate) fn another(uid: &Uid, now: &Object) -> Option<String> {
    let found = now.uid();
    (&found != uid).then(|| format!("it was deleted and made again: its uid changed from {uid} to {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::id::TemplateHash;
    use astern_model::target::WorkloadKind;
    use serde_json::{Value, json};

    fn deployment() -> Value {
        json!({
            "metadata": {"uid": "u-1", "generation": 7, "resourceVersion": "9", "managedFields": [
                {"manager": "kubectl-client-side-apply", "operation": "Update", "time": "2026-01-02T03:00:00Z",
                 "fieldsV1": {"f:spec": {"f:template": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T03:04:05Z",
                 "fieldsV1": {"f:spec": {"f:template": {}, "f:paused": {}}}},
            ]},
            "spec": {
                "replicas": 3,
                "strategy": {"type": "Recreate"},
                "template": {"spec": {"containers": [{"name": "api", "image": "api:v1.2.4"}]}},
            },
        })
    }

    fn pin() -> Pin {
        let object = Object::new(WorkloadKind::Deployment, deployment());
        Pin {
            uid: object.uid(),
            template: object.template_hash(),
            strategy: object.strategy(),
            paused: false,
        }
    }

    /// Changes one place of the pinned Deployment and returns what is then said about its pins.
    fn after(pointer: &str, value: Value) -> String {
        let mut json = deployment();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap()[field] = value;
        broken(&pin(), &Object::new(WorkloadKind::Deployment, json)).unwrap_or_else(|| "holds".to_owned())
    }

    #[test]
    fn a_broken_pin_is_named_with_what_it_was_and_what_it_is() {
        assert_eq!(
            after("/metadata/uid", json!("u-2")),
            "it was deleted and made again: its uid changed from u-1 to u-2"
        );
        assert_eq!(
            after("/spec/strategy/type", json!("RollingUpdate")),
            "its strategy changed since the plan was made: from Recreate to RollingUpdate"
        );
        assert_eq!(
            after("/spec/paused", json!(true)),
            "somebody paused or resumed it since the plan was made: from not paused to paused, last written by field manager kubectl-edit at 2026-01-02 03:04:05 UTC"
        );
        let template = after("/spec/template/spec/containers", json!([]));
        let shown = template.replace(&pin().template.to_string(), "PINNED");
        let now = TemplateHash(
            shown
                .split(' ')
                .find(|word| word.starts_with("sha256:"))
                .unwrap()
                .replace(',', ""),
        );
        assert_ne!(now, pin().template);
        assert_eq!(
            shown.replace(now.as_str(), "FOUND"),
            "its template changed since the plan was made: from PINNED to FOUND, last written by field manager kubectl-edit at 2026-01-02 03:04:05 UTC"
        );
    }

    #[test]
    fn status_annotations_replicas_and_versions_may_move() {
        for (pointer, value) in [
            ("/metadata/generation", json!(8)),
            ("/metadata/resourceVersion", json!("10")),
            ("/metadata/annotations", json!({"a": "b"})),
            ("/spec/replicas", json!(12)),
            ("/status", json!({"readyReplicas": 0})),
        ] {
            assert_eq!(after(pointer, value), "holds", "{pointer}");
        }
    }
}
