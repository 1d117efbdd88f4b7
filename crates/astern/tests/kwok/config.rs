//! The content of ConfigMaps and Secrets: back before whoever reads it, exactly its readers restarted, once.

use crate::support::{Done, Place};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A Deployment whose pods read what `reads` names.
fn deployment(name: &str, reads: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": name, "image": format!("{name}:v1"), "envFrom": reads}]},
        }},
    })
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn reads(name: &str) -> Value {
    json!([{"configMapRef": {"name": name}}])
}

fn apply(place: &Place, objects: &[Value]) {
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}

fn rolled_out(place: &Place, names: &[&str]) {
    for name in names {
        place.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ]);
    }
    place.until("former pods to be gone", 60, |place| {
        let pods = place.get("pods");
        let terminating = |pod: &Value| pod["metadata"].get("deletionTimestamp").is_some();
        !pods["items"].as_array().unwrap().iter().any(terminating)
    });
}

fn record(place: &Place, version: &str) {
    let words = [
        "releases",
        "record",
        "--version",
        version,
        "--good",
        "--reason",
        "it serves",
    ];
    place.astern(&words).expect(0);
}

fn roll_back(place: &Place, more: &[&str]) -> Done {
    place.astern(&[&["rollback", "--yes", "--reason", "the release is bad"], more].concat())
}

fn pods(place: &Place, app: &str) -> BTreeSet<String> {
    let names = place.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"]);
    names.lines().map(str::to_owned).collect()
}

fn data(place: &Place, object: &str) -> Value {
    place.get(object)["data"].clone()
}

/// `api` and `worker` read app-config, `web` reads nothing; release 1.0 is good; then the content of app-config goes bad.
fn bad_config(name: &str) -> Place {
    let place = Place::new(name);
    place.platform("");
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm", "LIMIT": "10"})),
            deployment("api", reads("app-config")),
            deployment("worker", reads("app-config")),
            deployment("web", json!([])),
        ],
    );
    rolled_out(&place, &["api", "worker", "web"]);
    record(&place, "1.0");
    apply(
        &place,
        &[config_map("app-config", json!({"MODE": "storm", "NEW": "1"}))],
    );
    place
}

/// The record's number of a step's result, by the step.
fn applied(place: &Place, run: &str) -> Vec<String> {
    let journal = place.astern(&["report", run, "-o", "json"]).expect(0);
    let mut steps = Vec::new();
    collect(&journal.json(), &mut steps);
    steps
}

fn collect(json: &Value, steps: &mut Vec<String>) {
    match json {
        Value::Object(map) => map.values().for_each(|value| collect(value, steps)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, steps)),
        Value::String(text) => steps.push(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn newest_run(place: &Place) -> String {
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    runs["items"][0]["run"].as_str().unwrap().to_owned()
}

#[test]
fn content_is_back_before_exactly_its_readers_are_restarted_once() {
    let place = bad_config("config");
    let before = [pods(&place, "api"), pods(&place, "worker"), pods(&place, "web")];
    let plan = place.astern(&["plan", "--to", "1.0"]).expect(0);
    for words in [
        "configmap/app-config goes back to release 1.0",
        "data[MODE]: storm → calm",
        "data[NEW]: 1 → (none)",
        "deployment/api is restarted",
        "deployment/worker is restarted",
    ] {
        assert!(plan.out.contains(words), "no {words:?}:\n{}", plan.out);
    }
    roll_back(&place, &["--to", "1.0"]).expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "calm", "LIMIT": "10"})
    );
    rolled_out(&place, &["api", "worker", "web"]);
    let after = [pods(&place, "api"), pods(&place, "worker"), pods(&place, "web")];
    assert!(
        before[0].is_disjoint(&after[0]) && before[1].is_disjoint(&after[1]),
        "{after:?}"
    );
    assert_eq!(before[2], after[2], "a workload that reads nothing was touched");
    for name in ["api", "worker"] {
        let sets = place.get("replicasets");
        let of = |set: &&Value| set["metadata"]["ownerReferences"][0]["name"] == *name;
        let count = sets["items"].as_array().unwrap().iter().filter(of).count();
        assert_eq!(count, 2, "{name} was restarted more than once");
    }
    // The content is older than any pod that reads it.
    let steps = applied(&place, &newest_run(&place)).join("\n");
    assert!(
        steps.contains("put the content of configmap/app-config back to release 1.0"),
        "{steps}"
    );
    // What is applied next is held against the content of then.
    let last = place.get("configmap/app-config")["metadata"]["annotations"]
        ["kubectl.kubernetes.io/last-applied-configuration"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(last.contains("calm") && !last.contains("storm"), "{last}");
    let again = roll_back(&place, &["--to", "1.0"]).expect(3);
    assert!(again.err.contains("AST0105"), "{}", again.err);
}
