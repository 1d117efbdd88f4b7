//! How a workload replaces its pods, read from the untyped object. Owns the reading and the words; decides nothing.

use super::delivery;
use astern_model::target::WorkloadKind;
use astern_model::workload::{CanaryStep, Strategy};
use serde_json::Value;

/// The strategy in a workload's `spec`: `strategy` of a Deployment, `updateStrategy` of the others. What the object
/// does not say is the API's default, `RollingUpdate`.
pub(crate) fn strategy(kind: WorkloadKind, spec: &Value) -> Strategy {
    let field = match kind {
        WorkloadKind::Rollout => return delivery::strategy(spec),
        WorkloadKind::Deployment => "strategy",
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => "updateStrategy",
    };
    let written = spec.get(field);
    match written
        .and_then(|strategy| strategy.get("type"))
        .and_then(Value::as_str)
    {
        Some("Recreate") => Strategy::Recreate,
        Some("OnDelete") => Strategy::OnDelete,
        _ => {
            let rolling = written.and_then(|strategy| strategy.get("rollingUpdate"));
            let number = |name| rolling.and_then(|r| r.get(name)).and_then(int_or_percent);
            let partition = rolling.and_then(|r| r.get("partition")).and_then(Value::as_u64);
            Strategy::RollingUpdate {
                max_surge: number("maxSurge"),
                max_unavailable: number("maxUnavailable"),
                partition: partition
                    .and_then(|partition| u32::try_from(partition).ok())
                    .unwrap_or(0),
                ordered: kind == WorkloadKind::StatefulSet
                    && spec.get("podManagementPolicy").and_then(Value::as_str) != Some("Parallel"),
            }
        }
    }
}

/// A strategy as a person reads it in a message.
pub(crate) fn strategy_phrase(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Recreate => "Recreate".to_owned(),
        Strategy::OnDelete => "OnDelete".to_owned(),
        Strategy::BlueGreen { .. } => "blueGreen".to_owned(),
        Strategy::Canary { steps, .. } if steps.is_empty() => "canary".to_owned(),
        Strategy::Canary { steps, .. } => {
            let pauses = steps
                .iter()
                .filter(|step| matches!(step, CanaryStep::Pause { .. }));
            format!(
                "canary ({} steps, {} of them pauses)",
                steps.len(),
                pauses.count()
            )
        }
        Strategy::RollingUpdate {
            max_surge,
            max_unavailable,
            partition,
            ordered,
        } => {
            let mut parts = Vec::new();
            parts.extend(max_surge.as_ref().map(|surge| format!("maxSurge {surge}")));
            parts.extend(
                max_unavailable
                    .as_ref()
                    .map(|unavailable| format!("maxUnavailable {unavailable}")),
            );
            parts.extend((*partition > 0).then(|| format!("partition {partition}")));
            parts.extend(ordered.then(|| "OrderedReady".to_owned()));
            if parts.is_empty() {
                "RollingUpdate".to_owned()
            } else {
                format!("RollingUpdate ({})", parts.join(", "))
            }
        }
    }
}

/// An int-or-string as it is written: `1`, `25%`.
pub(super) fn int_or_percent(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_strategy_is_read_from_the_field_of_its_kind() {
        let check =
            |kind, spec: Value, phrase: &str| assert_eq!(strategy_phrase(&strategy(kind, &spec)), phrase);
        let rolling =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}});
        check(
            WorkloadKind::Deployment,
            json!({"strategy": rolling}),
            "RollingUpdate (maxSurge 25%, maxUnavailable 1)",
        );
        check(
            WorkloadKind::Deployment,
            json!({"strategy": {"type": "Recreate"}}),
            "Recreate",
        );
        check(
            WorkloadKind::DaemonSet,
            json!({"updateStrategy": {"type": "OnDelete"}}),
            "OnDelete",
        );
        check(WorkloadKind::DaemonSet, json!({}), "RollingUpdate");
        let partition =
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
        check(
            WorkloadKind::StatefulSet,
            partition,
            "RollingUpdate (partition 2, OrderedReady)",
        );
        check(
            WorkloadKind::StatefulSet,
            json!({"podManagementPolicy": "Parallel"}),
            "RollingUpdate",
        );
    }
}
