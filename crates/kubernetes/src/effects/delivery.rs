//! What Argo Rollouts says of a Rollout in its spec and status, and what it puts into the ReplicaSets that it makes. Owns that
//! reading; decides nothing. Source of the rules: `utils/rollout` and `rollout/canary.go` of Argo Rollouts 1.9.

use super::object::Object;
use astern_model::template::{ROLLOUTS_POD_TEMPLATE_HASH, Template};
use astern_model::workload::{CanaryStep, Delivery, Promotion, Strategy};
use jiff::SignedDuration;
use serde_json::{Map, Value};

/// What its controller adds to the pods of a canary or stable version only for as long as it is that, as JSON.
const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";

/// Why a Rollout does not go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It waits until somebody promotes it.
    ForAPerson { why: String },
    /// The update was aborted: the stable version serves.
    Aborted { why: String },
    /// Its spec is refused by its own controller.
    Invalid { why: String },
}

/// How a Rollout replaces its pods.
pub(crate) fn strategy(spec: &Value) -> Strategy {
    let rollback_window = at(spec, &["rollbackWindow", "revisions"])
        .and_then(Value::as_u64)
        .and_then(|revisions| u32::try_from(revisions).ok());
    if let Some(blue_green) = at(spec, &["strategy", "blueGreen"]) {
        let waits = blue_green.get("autoPromotionSeconds").and_then(Value::as_i64);
        let promotion = match (blue_green.get("autoPromotionEnabled"), waits) {
            (Some(Value::Bool(false)), None | Some(0)) => Promotion::Person,
            (_, Some(waits)) if waits > 0 => Promotion::ControllerAfter {
                waits: SignedDuration::from_secs(waits),
            },
            _ => Promotion::Controller,
        };
        return Strategy::BlueGreen {
            promotion,
            rollback_window,
        };
    }
    let canary = at(spec, &["strategy", "canary"]).unwrap_or(&Value::Null);
    let limit = |name: &str| canary.get(name).and_then(super::strategy::int_or_percent);
    let steps = canary.get("steps").and_then(Value::as_array);
    Strategy::Canary {
        max_surge: limit("maxSurge"),
        max_unavailable: limit("maxUnavailable"),
        steps: steps.into_iter().flatten().map(step).collect(),
        routed: canary
            .get("trafficRouting")
            .is_some_and(|routing| !routing.is_null()),
        rollback_window,
    }
}

fn step(json: &Value) -> CanaryStep {
    if let Some(percent) = json.get("setWeight").and_then(Value::as_u64) {
        return CanaryStep::SetWeight {
            percent: u32::try_from(percent).unwrap_or(u32::MAX),
        };
    }
    if let Some(pause) = json.get("pause") {
        return CanaryStep::Pause {
            lasts: pause.get("duration").map(duration),
        };
    }
    let name = json.as_object().and_then(|step| step.keys().next());
    CanaryStep::Other {
        name: name.cloned().unwrap_or_default(),
    }
}

/// Seconds as a number or a text, or a text such as `1h30m`. One that cannot be read is refused by the controller as well.
fn duration(json: &Value) -> SignedDuration {
    let seconds = json.as_i64().or_else(|| json.as_str()?.parse().ok());
    let spelled = || json.as_str()?.parse::<SignedDuration>().ok();
    seconds
        .map(SignedDuration::from_secs)
        .or_else(spelled)
        .unwrap_or_default()
}

/// How it stands by its status. Which revision the stable one is, and what the live template was made into, is for whoever has
/// read the ReplicaSets.
pub(crate) fn delivery(now: &Object) -> Delivery {
    let text = |path: &str| now.text(path).unwrap_or_default().to_owned();
    let reference = |field: &str| text(&format!("/spec/workloadRef/{field}"));
    Delivery {
        phase: text("/status/phase"),
        message: text("/status/message"),
        stable: None,
        aborted: is_aborted(now),
        template_of: now
            .text("/spec/workloadRef/name")
            .map(|name| format!("{}/{name}", reference("kind").to_ascii_lowercase())),
        made: None,
    }
}

/// What its status still lacks, once its controller has seen the newest spec. The phase is the controller's own conclusion, for
/// which it has counted the pods.
pub(crate) fn lags(now: &Object) -> Option<String> {
    let resuming = now.at("/status/controllerPause") == Some(&Value::Bool(true)) && pauses(now).is_empty();
    let phase = now.text("/status/phase").unwrap_or_default();
    if resuming || phase != "Healthy" {
        let message = now.text("/status/message").unwrap_or_default();
        let message = if message.is_empty() {
            "it says no more"
        } else {
            message
        };
        return Some(match phase {
            "" => "Argo Rollouts has not said yet how it stands".to_owned(),
            phase => format!("Argo Rollouts calls it {phase}: {message}"),
        });
    }
    let (stable, current) = (now.text("/status/stableRS"), now.text("/status/currentPodHash"));
    (stable != current).then(|| "Argo Rollouts does not call the new template stable yet".to_owned())
}

/// Why it does not go on by itself, if its controller has seen the newest spec and says so.
pub(crate) fn halted(now: &Object) -> Option<Halt> {
    if !now.observed() {
        return None;
    }
    if is_aborted(now) {
        let why = now.text("/status/message").unwrap_or_default().to_owned();
        return Some(Halt::Aborted { why });
    }
    let conditions = now.at("/status/conditions").and_then(Value::as_array);
    let invalid = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some("InvalidSpec"));
    if let Some(invalid) = invalid {
        let why = invalid.get("message").and_then(Value::as_str).unwrap_or_default();
        return Some(Halt::Invalid { why: why.to_owned() });
    }
    pauses(now).iter().find_map(|reason| lasting_pause(now, reason))
}

fn lasting_pause(now: &Object, reason: &str) -> Option<Halt> {
    let why = match (reason, now.strategy()) {
        ("CanaryPauseStep", Strategy::Canary { steps, .. }) => {
            let place = usize::try_from(now.number("/status/currentStepIndex").unwrap_or(0)).ok()?;
            if !matches!(steps.get(place), Some(CanaryStep::Pause { lasts: None })) {
                return None;
            }
            format!(
                "it has paused at step {} of {}, a pause without a duration",
                place + 1,
                steps.len()
            )
        }
        (
            "BlueGreenPause",
            Strategy::BlueGreen {
                promotion: Promotion::Person,
                ..
            },
        ) => "all pods of the new version serve, and autoPromotionEnabled is false".to_owned(),
        ("InconclusiveAnalysisRun" | "InconclusiveExperiment", _) => {
            format!("it has paused: {reason}")
        }
        _ => return None,
    };
    Some(Halt::ForAPerson { why })
}

/// The reasons for which its controller has paused it.
fn pauses(now: &Object) -> Vec<&str> {
    let pauses = now.at("/status/pauseConditions").and_then(Value::as_array);
    pauses
        .into_iter()
        .flatten()
        .filter_map(|pause| pause.get("reason")?.as_str())
        .collect()
}

fn is_aborted(now: &Object) -> bool {
    now.at("/status/abort") == Some(&Value::Bool(true))
}

/// The template inside a ReplicaSet, without what Argo Rollouts has put in beside its label: metadata of a canary or stable
/// version, and the rule that keeps the two apart. ReplicaSets of Deployments have neither.
pub(crate) fn template_of(replica_set: &Value) -> Template {
    let mut template = replica_set
        .pointer("/spec/template")
        .cloned()
        .unwrap_or(Value::Null);
    let annotations = replica_set.pointer("/metadata/annotations");
    let ephemeral = annotations
        .and_then(|annotations| annotations.get(EPHEMERAL_METADATA)?.as_str())
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(ephemeral) = ephemeral {
        without_metadata(&mut template, &ephemeral);
    }
    without_anti_affinity(&mut template);
    Template::clean(template)
}

fn without_metadata(template: &mut Value, ephemeral: &Value) {
    for field in ["labels", "annotations"] {
        let names = ephemeral.get(field).and_then(Value::as_object);
        let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        if let (Some(names), Some(Value::Object(held))) = (names, metadata.get_mut(field)) {
            held.retain(|name, _| !names.contains_key(name));
            if held.is_empty() {
                metadata.remove(field);
            }
        }
    }
}

/// Takes the injected term away, and what was made only to hold it.
fn without_anti_affinity(template: &mut Value) {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let mut found = false;
    if let Some(rules) = spec
        .get_mut("affinity")
        .and_then(|affinity| affinity.get_mut("podAntiAffinity")?.as_object_mut())
    {
        for (list, term) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            (
                "preferredDuringSchedulingIgnoredDuringExecution",
                "/podAffinityTerm",
            ),
        ] {
            if let Some(terms) = rules.get_mut(list).and_then(Value::as_array_mut) {
                let before = terms.len();
                terms.retain(|one| !one.pointer(term).is_some_and(is_injected));
                found |= terms.len() < before;
            }
        }
        if found {
            rules.retain(|_, terms| terms.as_array().is_none_or(|terms| !terms.is_empty()));
        }
    }
    if found {
        remove_if_empty(spec.get_mut("affinity"), "podAntiAffinity");
        if spec
            .get("affinity")
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty)
        {
            spec.remove("affinity");
        }
    }
}

fn remove_if_empty(of: Option<&mut Value>, field: &str) {
    if let Some(Value::Object(of)) = of
        && of
            .get(field)
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty)
    {
        of.remove(field);
    }
}

fn is_injected(term: &Value) -> bool {
    let expressions = term
        .pointer("/labelSelector/matchExpressions")
        .and_then(Value::as_array);
    expressions
        .into_iter()
        .flatten()
        .any(|expression| expression.get("key").and_then(Value::as_str) == Some(ROLLOUTS_POD_TEMPLATE_HASH))
}

fn at<'a>(json: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(json, |value, name| value.get(name))
        .filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::target::WorkloadKind;
    use serde_json::json;

    fn rollout(strategy: Value, status: Value) -> Object {
        Object::new(
            WorkloadKind::Rollout,
            json!({"metadata": {"name": "web", "generation": 7}, "spec": {"strategy": strategy}, "status": status}),
        )
    }

    #[test]
    fn the_steps_of_a_canary_are_read_with_how_long_each_pause_lasts() {
        let spec = json!({"rollbackWindow": {"revisions": 3}, "strategy": {"canary": {
            "maxSurge": "20%", "maxUnavailable": 0, "trafficRouting": {"nginx": {}},
            "steps": [{"setWeight": 20}, {"pause": {}}, {"pause": {"duration": 90}}, {"pause": {"duration": "1h30m"}},
                {"pause": {"duration": "45"}}, {"analysis": {"templates": []}}]}}});
        let pause = |seconds: Option<i64>| CanaryStep::Pause {
            lasts: seconds.map(SignedDuration::from_secs),
        };
        let expected = Strategy::Canary {
            max_surge: Some("20%".to_owned()),
            max_unavailable: Some("0".to_owned()),
            steps: vec![
                CanaryStep::SetWeight { percent: 20 },
                pause(None),
                pause(Some(90)),
                pause(Some(5400)),
                pause(Some(45)),
                CanaryStep::Other {
                    name: "analysis".to_owned(),
                },
            ],
            routed: true,
            rollback_window: Some(3),
        };
        assert_eq!(strategy(&spec), expected);
        let asks = expected.waits_for_a_person();
        assert_eq!(asks.as_deref(), Some("step 2 of 6 is a pause without a duration"));
    }

    #[test]
    fn a_blue_green_rollout_is_promoted_by_its_controller_unless_it_says_otherwise() {
        let check = |blue_green: Value, expected: Promotion| {
            let Strategy::BlueGreen { promotion, .. } =
                strategy(&json!({"strategy": {"blueGreen": blue_green}}))
            else {
                panic!("no blue-green strategy");
            };
            assert_eq!(promotion, expected);
        };
        check(json!({}), Promotion::Controller);
        check(json!({"autoPromotionEnabled": true}), Promotion::Controller);
        check(json!({"autoPromotionEnabled": false}), Promotion::Person);
        let waits = SignedDuration::from_secs(30);
        check(
            json!({"autoPromotionEnabled": false, "autoPromotionSeconds": 30}),
            Promotion::ControllerAfter { waits },
        );
    }

    #[test]
    fn a_rollout_halts_where_a_person_must_promote_it_or_it_was_aborted() {
        let check = |index: u64, mut status: Value, expected: Option<&str>| {
            let steps =
                json!({"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"pause": {"duration": 5}}]}});
            status["observedGeneration"] = json!("7");
            status["currentStepIndex"] = json!(index);
            let told = halted(&rollout(steps, status)).map(|halt| match halt {
                Halt::ForAPerson { why } | Halt::Aborted { why } | Halt::Invalid { why } => why,
            });
            assert_eq!(told.as_deref(), expected);
        };
        let paused = json!({"pauseConditions": [{"reason": "CanaryPauseStep"}]});
        check(
            1,
            paused.clone(),
            Some("it has paused at step 2 of 3, a pause without a duration"),
        );
        check(2, paused, None);
        check(
            1,
            json!({"abort": true, "message": "RolloutAborted: metric failed"}),
            Some("RolloutAborted: metric failed"),
        );
        check(0, json!({}), None);
    }

    #[test]
    fn a_status_of_an_older_spec_tells_of_no_halt() {
        let status = json!({"abort": true, "observedGeneration": "6"});
        assert_eq!(halted(&rollout(json!({"canary": {}}), status)), None);
    }

    #[test]
    fn a_rollout_is_done_once_its_controller_calls_the_new_version_healthy_and_stable() {
        let check = |phase: &str, stable: &str, expected: Option<&str>| {
            let status = json!({"phase": phase, "message": "more replicas need to be updated", "stableRS": stable,
                "currentPodHash": "bbb"});
            let told = lags(&rollout(json!({"canary": {}}), status));
            assert_eq!(told.as_deref(), expected);
        };
        check("Healthy", "bbb", None);
        check(
            "Healthy",
            "aaa",
            Some("Argo Rollouts does not call the new template stable yet"),
        );
        check(
            "Progressing",
            "aaa",
            Some("Argo Rollouts calls it Progressing: more replicas need to be updated"),
        );
    }

    #[test]
    fn what_argo_rollouts_puts_into_a_replica_set_is_no_part_of_its_template() {
        let plain =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "api"}]}});
        let mut injected = plain.clone();
        injected["metadata"]["labels"][ROLLOUTS_POD_TEMPLATE_HASH] = json!("aaa");
        injected["metadata"]["labels"]["role"] = json!("canary");
        injected["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchExpressions": [
                {"key": ROLLOUTS_POD_TEMPLATE_HASH, "operator": "In", "values": ["bbb"]}]}}]}});
        let annotations = json!({EPHEMERAL_METADATA: r#"{"labels":{"role":"canary"}}"#});
        let replica_set = json!({"metadata": {"annotations": annotations}, "spec": {"template": injected}});
        assert_eq!(template_of(&replica_set).json(), &plain);
    }
}
