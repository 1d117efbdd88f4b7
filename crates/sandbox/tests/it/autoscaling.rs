//! Autoscalers on the traffic that a scenario names.

use crate::support::Sandbox;
use astern_sandbox::{Autoscaling, Behaviour, Behaviours, Options, Traffic};
use jiff::SignedDuration;
use serde_json::{Value, json};

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";

/// A Deployment whose pods ask for 100m, work 10 ms on a request, and get so many requests a second together.
fn shop(requests: f64, replicas: i64) -> Sandbox {
    let mut sandbox = Sandbox::with(Options {
        behaviours: Behaviours {
            rules: Vec::new(),
            otherwise: Behaviour {
                cpu_per_request: SignedDuration::from_millis(10),
                ..Behaviour::default()
            },
        },
        traffic: vec![Traffic {
            namespace: "shop".to_owned(),
            service: "web".to_owned(),
            requests_per_second: requests,
        }],
        autoscaling: Autoscaling::ByTraffic,
        ..Options::default()
    });
    sandbox.create("/apis/apps/v1/namespaces/shop/deployments", json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "web:v1", "resources": {"requests": {"cpu": "100m"}}}]},
            },
        },
    }));
    sandbox.create(
        "/api/v1/namespaces/shop/services",
        json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }),
    );
    sandbox.pass(10);
    sandbox
}

fn autoscaled(sandbox: &mut Sandbox, spec: Value) {
    let mut whole = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
    });
    for (name, value) in spec.as_object().unwrap() {
        whole[name] = value.clone();
    }
    sandbox.create(AUTOSCALERS, json!({"metadata": {"name": "web"}, "spec": whole}));
}

fn replicas(sandbox: &mut Sandbox) -> i64 {
    sandbox.read(WEB)["spec"]["replicas"].as_i64().unwrap()
}

/// Whether a condition holds, and its reason.
fn says(sandbox: &mut Sandbox, kind: &str) -> (String, String) {
    let autoscaler = sandbox.read(&format!("{AUTOSCALERS}/web"));
    let conditions = autoscaler["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let found = found.unwrap_or_else(|| panic!("no {kind} in {autoscaler}"));
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

fn is(sandbox: &mut Sandbox, kind: &str, status: &str, reason: &str) {
    assert_eq!(says(sandbox, kind), (status.to_owned(), reason.to_owned()));
}

#[test]
fn more_requests_than_the_pods_are_to_take_bring_more_pods() {
    // 20 requests a second take 200m; with 50m for each pod that is four.
    let mut sandbox = shop(20.0, 2);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    sandbox.pass(60);
    assert_eq!(replicas(&mut sandbox), 4);
    is(&mut sandbox, "AbleToScale", "True", "ReadyForNewScale");
    is(&mut sandbox, "ScalingActive", "True", "ValidMetricFound");
    is(&mut sandbox, "ScalingLimited", "False", "DesiredWithinRange");
    let autoscaler = sandbox.read(&format!("{AUTOSCALERS}/web"));
    assert_eq!(autoscaler["status"]["currentReplicas"], 4);
    assert_eq!(autoscaler["status"]["desiredReplicas"], 4);
    assert_eq!(
        autoscaler["status"]["currentMetrics"][0]["resource"]["current"],
        json!({"averageUtilization": 50, "averageValue": "50m"})
    );
    assert!(autoscaler["status"]["lastScaleTime"].is_string());
    let events = sandbox.read("/api/v1/namespaces/shop/events?fieldSelector=reason=SuccessfulRescale");
    assert_eq!(
        events["items"][0]["message"],
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    );
}

#[test]
fn the_count_that_it_finds_stands_for_five_minutes_before_fewer_come() {
    // 20 requests a second are four pods' work, and eight are there: a real controller takes these for its first word.
    let mut sandbox = shop(20.0, 8);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    sandbox.pass(280);
    assert_eq!(replicas(&mut sandbox), 8);
    is(&mut sandbox, "AbleToScale", "True", "ScaleDownStabilized");
    sandbox.pass(60);
    assert_eq!(replicas(&mut sandbox), 4);
}

#[test]
fn at_its_maximum_it_stays_and_says_that_it_is_limited() {
    let mut sandbox = shop(40.0, 2);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 3}));
    sandbox.pass(120);
    assert_eq!(replicas(&mut sandbox), 3);
    is(&mut sandbox, "ScalingLimited", "True", "TooManyReplicas");
    is(&mut sandbox, "AbleToScale", "True", "ReadyForNewScale");
}

#[test]
fn fewer_pods_come_only_after_the_window_in_which_more_were_needed() {
    // Four pods at 20 requests: as many as are wanted, until another Service's requests are nobody's.
    let mut sandbox = shop(20.0, 4);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    sandbox.pass(30);
    assert_eq!(replicas(&mut sandbox), 4);
    let target = json!({"spec": {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}}]}});
    sandbox.patch(&format!("{AUTOSCALERS}/web"), crate::support::MERGE, target);
    sandbox.pass(200);
    assert_eq!(replicas(&mut sandbox), 4);
    is(&mut sandbox, "AbleToScale", "True", "ScaleDownStabilized");
    sandbox.pass(200);
    assert_eq!(replicas(&mut sandbox), 2);
    is(&mut sandbox, "AbleToScale", "True", "ReadyForNewScale");
}

#[test]
fn a_policy_of_one_pod_a_minute_takes_its_time() {
    let mut sandbox = shop(20.0, 1);
    let policy = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}});
    autoscaled(
        &mut sandbox,
        json!({"minReplicas": 1, "maxReplicas": 10, "behavior": policy}),
    );
    sandbox.pass(20);
    assert_eq!(replicas(&mut sandbox), 2);
    sandbox.pass(30);
    assert_eq!(replicas(&mut sandbox), 2);
    is(&mut sandbox, "ScalingLimited", "True", "ScaleUpLimit");
    sandbox.pass(180);
    assert_eq!(replicas(&mut sandbox), 4);
}

#[test]
fn within_a_tenth_of_the_target_nothing_is_done() {
    // 54% where 50% is wanted.
    let mut sandbox = shop(21.6, 4);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    sandbox.pass(600);
    assert_eq!(replicas(&mut sandbox), 4);
}

#[test]
fn a_target_at_zero_is_left_alone_and_one_outside_the_bounds_is_brought_within() {
    let mut sandbox = shop(20.0, 0);
    autoscaled(&mut sandbox, json!({"minReplicas": 2, "maxReplicas": 3}));
    sandbox.pass(60);
    assert_eq!(replicas(&mut sandbox), 0);
    is(&mut sandbox, "ScalingActive", "False", "ScalingDisabled");
    let back = json!({"spec": {"replicas": 1}});
    sandbox.patch(&format!("{WEB}/scale"), crate::support::MERGE, back);
    sandbox.pass(16);
    assert_eq!(replicas(&mut sandbox), 2);
}

#[test]
fn requests_of_pods_are_a_metric_too() {
    let mut sandbox = shop(20.0, 2);
    let metric = json!([{"type": "Pods", "pods": {
        "metric": {"name": "http_requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "4"},
    }}]);
    autoscaled(
        &mut sandbox,
        json!({"minReplicas": 1, "maxReplicas": 10, "metrics": metric}),
    );
    sandbox.pass(60);
    assert_eq!(replicas(&mut sandbox), 5);
}

#[test]
fn of_two_for_one_target_none_acts() {
    let mut sandbox = shop(20.0, 2);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    let mut other = sandbox.read(&format!("{AUTOSCALERS}/web"));
    other["metadata"] = json!({"name": "other"});
    sandbox.create(AUTOSCALERS, other);
    sandbox.pass(60);
    assert_eq!(replicas(&mut sandbox), 2);
    is(&mut sandbox, "ScalingActive", "False", "AmbiguousSelector");
}

#[test]
fn where_nothing_changes_nothing_is_written() {
    let mut sandbox = shop(20.0, 4);
    autoscaled(&mut sandbox, json!({"minReplicas": 1, "maxReplicas": 10}));
    sandbox.pass(3600);
    let version = sandbox.cluster.version();
    sandbox.pass(600);
    assert_eq!(sandbox.cluster.version(), version);
}
