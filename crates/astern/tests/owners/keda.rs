//! The real KEDA: it brings back what somebody else scaled to zero, leaves alone what a run has stopped, and goes on afterwards.

use crate::manifest::{crashing, deployment, pod, says};
use crate::support::{Done, Place, output_of};
use serde_json::{Value, json};
use std::process::Child;
use std::time::Duration;

const STOP: [&str; 7] = [
    "rollback",
    "--stop",
    "--yes",
    "--reason",
    "it crashes",
    "--foreground",
    "--accessible",
];
/// It looks every second here; a machine that builds needs longer.
const SEEN_WITHIN: u64 = 60;
const LONG_ENOUGH: Duration = Duration::from_secs(6);
/// What KEDA scales `api` to when it wakes it: fewer than run.
const FLOOR: u64 = 2;
const COUNT: u64 = 3;

/// Deployment `api` with three pods, of which KEDA keeps two or more as long as there is a pod with label `queue`: v1, then v2, which
/// crashes. The pods of v2 stay on their way out until they are let go.
fn scene(name: &str) -> Place {
    let place = Place::new(name);
    place.platform("");
    place.put(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "job", "labels": { "queue": "orders" } },
        "spec": { "containers": [{ "name": "job", "image": "job:v1" }] },
    }));
    place.roll_out(&deployment("api", 3, pod("api", "v1")));
    place.put(&json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": { "name": "api" },
        "spec": {
            "scaleTargetRef": { "name": "api" },
            "pollingInterval": 1,
            "minReplicaCount": FLOOR,
            "maxReplicaCount": 9,
            "triggers": [{
                "type": "kubernetes-workload",
                "metadata": { "podSelector": "queue=orders", "value": "1" },
            }],
        },
    }));
    until_keda_goes_on(&place);
    let mut bad = crashing("api", "v2");
    bad["metadata"]["labels"]["kwok.astern.dev/stays"] = json!("true");
    place.put(&deployment("api", 3, bad));
    place.until_it_crashes();
    place
}

fn count(place: &Place) -> u64 {
    place.get("deployment/api")["spec"]["replicas"].as_u64().unwrap()
}

fn condition(place: &Place, kind: &str) -> Value {
    let object = place.get("scaledobject/api");
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|each| each["type"] == kind);
    found.map_or(Value::Null, |each| each["status"].clone())
}

/// KEDA's own HorizontalPodAutoscaler, which bears its ScaledObject's name.
fn has_autoscaler(place: &Place) -> bool {
    place
        .kubectl(&["get", "hpa", "-o", "name"])
        .contains("keda-hpa-api")
}

/// Its trigger counts, and its HorizontalPodAutoscaler is there.
fn until_keda_goes_on(place: &Place) {
    place.until("KEDA to go on", SEEN_WITHIN, |place| {
        condition(place, "Active") == "True" && condition(place, "Paused") != "True" && has_autoscaler(place)
    });
}

/// Somebody scales it to zero, and KEDA wakes it.
fn is_brought_back(place: &Place) {
    place.kubectl(&["scale", "deployment/api", "--replicas=0"]);
    place.until("KEDA to bring it back", SEEN_WITHIN, |place| {
        count(place) >= FLOOR
    });
}

/// A run that has stopped `api` and waits for its pods.
fn stopped(place: &Place) -> Child {
    let run = place.start(&STOP);
    place.until("it to be stopped", SEEN_WITHIN, |place| {
        count(place) == 0 && !has_autoscaler(place)
    });
    run
}

/// The trigger counts, and nobody wakes it.
fn stays_at_zero(place: &Place) {
    let generation = |place: &Place| place.get("deployment/api")["metadata"]["generation"].clone();
    let before = generation(place);
    std::thread::sleep(LONG_ENOUGH);
    assert_eq!(count(place), 0);
    assert_eq!(generation(place), before, "nobody scaled it up in between");
    assert_eq!(condition(place, "Paused"), "True");
}

/// The good version with the count of before, and KEDA as before.
fn is_back(place: &Place) {
    assert_eq!(place.image("api"), "api:v1");
    assert!(count(place) >= COUNT, "{}", count(place));
    let annotations = &place.get("scaledobject/api")["metadata"]["annotations"];
    assert_eq!(annotations["autoscaling.keda.sh/paused-replicas"], Value::Null);
    assert_eq!(annotations["astern.dev/paused"], Value::Null);
    until_keda_goes_on(place);
    std::thread::sleep(LONG_ENOUGH);
    assert!(count(place) >= COUNT, "{}", count(place));
    is_brought_back(place);
}

#[test]
fn keda_brings_back_what_somebody_scaled_to_zero() {
    is_brought_back(&scene("keda-ground"));
}

#[test]
fn keda_leaves_a_stopped_workload_at_zero_and_goes_on_once_it_is_back() {
    let place = scene("keda-stop");
    let plan = place.astern(&["plan", "--stop"]).expect(0);
    let pause = format!("pause KEDA ScaledObject {}/api", place.namespace);
    says(&plan, &[&pause, "start deployment/api: scale it to 3"]);
    let run = stopped(&place);
    stays_at_zero(&place);
    place.let_pods_go();
    let done: Done = output_of(run, "rollback").into();
    done.expect(0);
    is_back(&place);
    let told = place.astern(&["report", "-o", "markdown"]).expect(0);
    says(&told, &["KEDA says that it is paused, and has scaled it to 0"]);
}

#[test]
fn a_workload_of_keda_comes_back_after_the_one_who_stopped_it_was_killed() {
    let place = scene("keda-killed");
    let mut run = stopped(&place);
    run.kill().unwrap();
    output_of(run, "rollback");
    stays_at_zero(&place);
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let id = runs["items"][0]["run"].as_str().unwrap().to_owned();
    // Somebody else, once the lock of the dead has lapsed.
    place.until("the lock to lapse", 90, |place| {
        place.let_pods_go();
        let done = place.astern(&["resume", &id, "--yes", "--foreground"]);
        assert!([0, 3, 6].contains(&done.code), "{done:?}");
        done.code == 0
    });
    is_back(&place);
}
