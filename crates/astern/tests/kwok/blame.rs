//! A release that is bad by what it reads alone: found by what fails, taken back, and known as bad from then on.

use crate::config::{
    apply, config_map, data, deployment, newest_run, pods, reads, record, roll_back, rolled_out,
};
use crate::support::Place;
use serde_json::{Value, json};

/// `api` and `worker` read app-config, `web` reads another one. All of them ran v1 before, which is presumed good by now; release 1.0 is
/// v2, and good.
fn on_good_templates(name: &str) -> Place {
    let place = Place::new(name);
    place.platform("");
    let at = |name: &str, version: &str, config: &str| {
        let mut of = deployment(name, reads(config));
        of["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("{name}:{version}"));
        of
    };
    let readers = [
        ("api", "app-config"),
        ("worker", "app-config"),
        ("web", "web-config"),
    ];
    let all = |version: &str| readers.map(|(name, config)| at(name, version, config));
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm", "LIMIT": "10"})),
            config_map("web-config", json!({"COLOUR": "green"})),
        ],
    );
    apply(&place, &all("v1"));
    rolled_out(&place, &["api", "worker", "web"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    apply(&place, &all("v2"));
    rolled_out(&place, &["api", "worker", "web"]);
    record(&place, "1.0");
    place
}

fn storm(place: &Place) {
    place.kubectl(&[
        "patch",
        "configmap",
        "app-config",
        "--field-manager=night-shift",
        "-p",
        r#"{"data": {"MODE": "storm"}}"#,
    ]);
}

/// The pods of `api` crash from now on, with the template that they have.
fn crash(place: &Place) {
    place.kubectl(&[
        "label",
        "pods",
        "-l",
        "app=api",
        "kwok.astern.dev/crash-loop=true",
    ]);
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
}

fn manifest(place: &Place, mode: &str) -> Value {
    let map = config_map("app-config", json!({"MODE": mode, "LIMIT": "10"}));
    std::fs::write(place.file("config.yaml"), map.to_string()).unwrap();
    map
}

#[test]
fn what_failing_pods_read_goes_back_by_evidence_and_is_bad_from_then_on() {
    let place = on_good_templates("blame");
    storm(&place);
    // Recorded by the pipeline, with the templates of 1.0: nothing but its content can be bad.
    place
        .astern(&["releases", "record", "--version", "1.1"])
        .expect(0);
    manifest(&place, "storm");
    place.astern(&["check", "-f", "config.yaml"]).expect(0);
    crash(&place);
    let before = [pods(&place, "api"), pods(&place, "worker"), pods(&place, "web")];
    let plan = place.astern(&["plan"]).expect(0);
    for words in [
        "configmap/app-config goes back to release 1.0",
        "because deployment/api fails, reads it and runs its template of release 1.0, which is good",
        "written last by night-shift at 20",
        "data[MODE]: storm → calm",
        "deployment/api is restarted",
        "deployment/worker is restarted",
        "CrashLoopBackOff",
    ] {
        assert!(plan.out.contains(words), "no {words:?}:\n{}", plan.out);
    }
    roll_back(&place, &[]).expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "calm", "LIMIT": "10"})
    );
    rolled_out(&place, &["api", "worker", "web"]);
    for name in ["api", "worker", "web"] {
        assert_eq!(
            place.image(name),
            format!("{name}:v2"),
            "a template was taken back"
        );
    }
    assert!(pods(&place, "api").is_disjoint(&before[0]));
    assert!(pods(&place, "worker").is_disjoint(&before[1]));
    assert_eq!(
        pods(&place, "web"),
        before[2],
        "a workload that reads nothing of it was touched"
    );

    let shown = |name: &str| {
        let shown = place.astern(&["releases", "show", name, "-o", "json"]).expect(0);
        shown.json()["standing"].clone()
    };
    let run = newest_run(&place);
    let words = format!("run {run} took the content of configmap/app-config back from it");
    assert_eq!(
        (&shown("1.1")["is"], &shown("1.1")["reason"]),
        (&json!("bad"), &json!(words))
    );
    assert_eq!(shown("1.0")["is"], "good");
    let refused = place.astern(&["check", "-f", "config.yaml"]).expect(3);
    for words in ["AST0509", "configmap/app-config", "release 1.1"] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert!(!refused.err.contains("storm") && !refused.out.contains("storm"));
    manifest(&place, "calm");
    place.astern(&["check", "-f", "config.yaml"]).expect(0);
    // Its images are those of a good release.
    place.astern(&["check", "--image", "api:v2"]).expect(0);

    // An undo puts the content back and takes the word against it back, as far as no release was called bad for it.
    let named = roll_back(&place, &["--to", "1.1"]).expect(3);
    assert!(named.err.contains("AST0503"), "{}", named.err);
}

#[test]
fn content_that_nobody_recorded_is_refused_at_the_check_until_the_run_is_undone() {
    let place = on_good_templates("blame-undone");
    storm(&place);
    manifest(&place, "storm");
    crash(&place);
    roll_back(&place, &[]).expect(0);
    let run = newest_run(&place);
    let refused = place.astern(&["check", "-f", "config.yaml"]).expect(3);
    assert!(
        refused.err.contains("AST0509") && refused.err.contains(&run),
        "{}",
        refused.err
    );
    place
        .astern(&["undo", &run, "--yes", "--reason", "it was the node"])
        .expect(0);
    place.astern(&["check", "-f", "config.yaml"]).expect(0);
}

#[test]
fn content_that_differs_under_healthy_workloads_is_nobodys_rollback() {
    let place = on_good_templates("blame-healthy");
    // Nor does anybody else say what it held while v1 ran.
    let forget = "kubectl.kubernetes.io/last-applied-configuration-";
    place.kubectl(&["annotate", "configmap", "app-config", forget]);
    storm(&place);
    let planned = place.astern(&["plan", "-o", "json"]);
    assert!(
        !planned.out.contains("config:configmap/app-config"),
        "{}",
        planned.out
    );
    assert!(
        !planned.out.contains("which is good: what it holds"),
        "{}",
        planned.out
    );
    assert_eq!(data(&place, "configmap/app-config")["MODE"], "storm");
}
