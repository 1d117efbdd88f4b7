//! Drift: what runs, held against a release of the ledger.

use crate::config::{apply, config_map, deployment, reads, record, rolled_out};
use crate::support::{Done, Place};
use serde_json::{Value, json};

/// Values that must not be seen anywhere.
const THEN: &str = "hunter2-th3n";
const NOW: &str = "hunter2-n0w";

/// Three Deployments, of which one reads a ConfigMap and a Secret and one is scaled by an autoscaler, as good release 1.0.
fn recorded(name: &str) -> Place {
    let place = Place::new(name);
    place.platform("");
    place.kubectl(&[
        "create",
        "configmap",
        "app-config",
        "--from-literal=MODE=calm",
        "--from-literal=OLD=1",
    ]);
    place.kubectl(&[
        "create",
        "secret",
        "generic",
        "api-keys",
        &format!("--from-literal=key={THEN}"),
    ]);
    let deployment = |name: &str, env: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": format!("{name}:v1"), "envFrom": env}]},
            }},
        })
    };
    let reads = json!([{"configMapRef": {"name": "app-config"}}, {"secretRef": {"name": "api-keys"}}]);
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
    });
    let items = [
        deployment("api", reads),
        deployment("web", json!([])),
        deployment("mail", json!([])),
        autoscaler,
    ];
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    for name in ["api", "web", "mail"] {
        let name = format!("deployment/{name}");
        place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
    }
    place
        .astern(&[
            "releases",
            "record",
            "--version",
            "1.0",
            "--good",
            "--reason",
            "it serves",
        ])
        .expect(0);
    place
}

fn json(place: &Place, code: i32) -> Value {
    place.astern(&["drift", "-o", "json"]).expect(code).json()
}

fn object<'a>(drift: &'a Value, name: &str) -> &'a Value {
    let objects = drift["objects"].as_array().unwrap();
    let named = |object: &&Value| object["object"]["name"] == name;
    objects.iter().find(named).unwrap_or_else(|| panic!("{drift:#}"))
}

fn field<'a>(drift: &'a Value, object_name: &str, path: &str) -> &'a Value {
    let fields = object(drift, object_name)["fields"].as_array().unwrap();
    let of_path = |field: &&Value| field["path"] == path;
    fields.iter().find(of_path).unwrap_or_else(|| panic!("{drift:#}"))
}

#[test]
fn drift_names_each_place_that_differs_with_who_wrote_it_and_no_secret_value() {
    let place = recorded("drift");
    let none = place.astern(&["drift"]).expect(0);
    assert!(none.out.contains("✓ no drift: 5 objects compared"), "{none:?}");

    place.kubectl(&["set", "image", "deployment/api", "api=api:v2"]);
    place.kubectl(&["scale", "deployment/mail", "--replicas=1"]);
    place.kubectl(&[
        "patch",
        "configmap",
        "app-config",
        "--field-manager=night-shift",
        "-p",
        r#"{"data": {"MODE": "storm", "OLD": null, "NEW": "2"}}"#,
    ]);
    place.kubectl(&[
        "patch",
        "secret",
        "api-keys",
        "-p",
        &format!(r#"{{"stringData": {{"key": "{NOW}"}}}}"#),
    ]);
    place.deploy("extra", "v1", 1, &[]);

    let drift = json(&place, 7);
    let image = field(&drift, "api", "containers[api].image");
    assert_eq!(
        [&image["from"]["value"], &image["to"]["value"]],
        ["api:v1", "api:v2"]
    );
    assert_eq!(image["by"]["name"], "kubectl-set");
    let when: jiff::Timestamp = serde_json::from_value(image["by"]["at"].clone()).unwrap();
    assert!(
        jiff::Timestamp::now().duration_since(when).as_secs() < 300,
        "{image:#}"
    );
    let mode = field(&drift, "app-config", "data[MODE]");
    assert_eq!([&mode["from"]["value"], &mode["to"]["value"]], ["calm", "storm"]);
    assert_eq!(mode["by"]["name"], "night-shift");
    assert!(field(&drift, "app-config", "data[OLD]").get("to").is_none());
    assert!(field(&drift, "app-config", "data[NEW]").get("from").is_none());
    assert_eq!(
        field(&drift, "api-keys", "data[key]")["by"]["name"],
        "kubectl-patch"
    );
    assert_eq!(field(&drift, "mail", "replicas")["to"]["value"], "1");
    assert_eq!(object(&drift, "extra")["is"], "new");

    let told: Vec<Done> = ["text", "json", "yaml", "markdown"]
        .map(|format| place.astern(&["drift", "-o", format]).expect(7))
        .into();
    for done in told {
        for value in [THEN, NOW, "aHVudGVyMi"] {
            assert!(!format!("{done:?}").contains(value), "{done:?}");
        }
    }
}

#[test]
fn what_an_autoscaler_or_a_restart_has_done_is_told_and_is_no_drift() {
    let place = recorded("drift-harmless");
    place.kubectl(&["scale", "deployment/web", "--replicas=4"]);
    place.kubectl(&["rollout", "restart", "deployment/mail"]);
    let drift = json(&place, 0);
    assert_eq!(field(&drift, "web", "replicas")["harmless"]["kind"], "autoscaled");
    let restarted = &object(&drift, "mail")["fields"][0];
    assert_eq!(restarted["harmless"]["kind"], "restarted", "{drift:#}");
    place.kubectl(&["scale", "deployment/web", "--replicas=6"]);
    let beyond = json(&place, 7);
    assert!(field(&beyond, "web", "replicas").get("harmless").is_none());
}

#[test]
fn a_drift_is_restored_by_a_plan_and_what_is_gone_is_named() {
    let place = recorded("drift-restore");
    place.kubectl(&["set", "image", "deployment/api", "api=api:v2"]);
    place.kubectl(&["delete", "deployment/mail"]);
    let drift = json(&place, 7);
    assert_eq!(object(&drift, "mail")["is"], "gone");
    place.kubectl(&["scale", "deployment/web", "--replicas=6"]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    let restore = place.astern(&["drift", "--restore", "-o", "back.json"]).expect(0);
    let said = restore.out + &restore.err;
    for stays in [
        "A plan does not restore",
        "deployment/mail: it is not there; apply its manifest again",
        "deployment/web: its count; kubectl scale deployment/web",
    ] {
        assert!(said.contains(stays), "no {stays:?}: {said}");
    }
    place
        .astern(&[
            "run",
            "back.json",
            "--yes",
            "--reason",
            "somebody tried something",
        ])
        .expect(0);
    assert_eq!(place.image("api"), "api:v1");
    let left = json(&place, 7);
    let left: Vec<&Value> = left["objects"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = left
        .iter()
        .filter_map(|of| of["object"]["name"].as_str())
        .collect();
    assert_eq!(names, ["mail", "web"], "{left:#?}");
}

#[test]
fn without_a_good_release_there_is_nothing_to_compare_with_and_a_named_one_is_taken_all_the_same() {
    let place = Place::new("drift-none");
    place.platform("");
    place.deploy("api", "v1", 1, &[]);
    let empty = place.astern(&["drift"]).expect(1);
    assert!(
        empty.err.contains("AST0511") && empty.err.contains("releases record"),
        "{empty:?}"
    );
    place
        .astern(&["releases", "record", "--version", "1.0"])
        .expect(0);
    let candidate = place.astern(&["drift"]).expect(1);
    assert!(candidate.err.contains("astern drift 1.0"), "{candidate:?}");
    place.astern(&["drift", "1.0"]).expect(0);
    let unknown = place.astern(&["drift", "0.9"]).expect(1);
    assert!(unknown.err.contains("holds no release 0.9"), "{unknown:?}");
}

#[test]
fn status_says_on_which_release_a_workload_stands_but_for_what_it_reads_and_which_one_is_gone() {
    let place = Place::new("drift-but-for");
    place.platform("");
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm"})),
            config_map("web-config", json!({"COLOUR": "green"})),
        ],
    );
    let readers = [
        ("api", "app-config"),
        ("web", "web-config"),
        ("worker", "web-config"),
    ];
    apply(
        &place,
        &readers.map(|(name, config)| deployment(name, reads(config))),
    );
    rolled_out(&place, &["api", "web", "worker"]);
    record(&place, "1.0");
    place.kubectl(&[
        "patch",
        "configmap",
        "app-config",
        "-p",
        r#"{"data": {"MODE": "storm"}}"#,
    ]);
    place.kubectl(&["delete", "deployment", "worker"]);
    let told = place.astern(&["status", "--release"]).expect(0).out;
    for (workload, words) in [
        ("deployment/api", "1.0 (good), but for configmap/app-config"),
        ("deployment/web", "1.0 (good)"),
        ("deployment/worker", "none: it is not there"),
    ] {
        let line = told.lines().find(|line| line.contains(workload)).unwrap();
        assert!(line.contains(words), "no {words:?}: {told}");
    }
    let list = place.astern(&["releases"]).expect(0).out;
    assert!(list.contains(" 1/3 "), "{list}");
}
