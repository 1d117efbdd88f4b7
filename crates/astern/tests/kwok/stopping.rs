//! Workloads that are stopped before they are written: counts that come back, also after a crash, and what would start pods
//! meanwhile.

use crate::manifest::{crashing, deployment, pod, says};
use crate::support::{Done, Place, output_of};
use serde_json::{Value, json};

const YES: [&str; 5] = ["--yes", "--reason", "it crashes", "--foreground", "--accessible"];

/// Deployment api with three pods whose v2 crashes, and a CronJob.
fn scene(name: &str, held: bool) -> Place {
    let place = Place::new(name);
    place.platform("");
    let with = |mut template: Value| {
        if held {
            template["metadata"]["labels"]["kwok.astern.dev/stays"] = json!("true");
        }
        template
    };
    place.roll_out(&deployment("api", 3, with(pod("api", "v1"))));
    place.put(&deployment("api", 3, with(crashing("api", "v2"))));
    place.until_it_crashes();
    place.put(&json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": { "name": "nightly" },
        "spec": {
            "schedule": "0 1 * * *",
            "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "job", "image": "api:v2" }],
            } } } },
        },
    }));
    place
}

fn stopped(place: &Place, more: &[&str]) -> Done {
    place.astern(&[&["rollback", "--stop"], &YES[..], more].concat())
}

fn count(place: &Place) -> u64 {
    place.get("deployment/api")["spec"]["replicas"].as_u64().unwrap()
}

fn suspended(place: &Place) -> bool {
    place.get("cronjob/nightly")["spec"]["suspend"] == true
}

#[test]
fn a_stopped_workload_comes_back_with_the_count_of_before_and_cron_jobs_pause_meanwhile() {
    let place = scene("stop", false);
    place.put(&json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "api" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" },
            "minReplicas": 2,
            "maxReplicas": 9,
        },
    }));
    let plan = place.astern(&["plan", "--stop"]).expect(0);
    says(
        &plan,
        &[
            "1 workload stopped and started again",
            &format!("pause CronJob {}/nightly", place.namespace),
            "stop deployment/api: scale it to 0",
            "wait until the pods of deployment/api are gone",
            "start deployment/api: scale it to 3",
            &format!("resume CronJob {}/nightly", place.namespace),
        ],
    );
    // Somebody's own pod that bears the same label is none of the workload's, and stays.
    place.kubectl(&["run", "debug", "--image=debug:v1", "--labels=app=api"]);
    stopped(&place, &[]).expect(0);
    assert_eq!((count(&place), place.image("api")), (3, "api:v1".to_owned()));
    assert!(!suspended(&place));
    place.kubectl(&["get", "pod/debug"]);
    let annotations = place.get("cronjob/nightly")["metadata"]["annotations"].clone();
    assert_eq!(annotations["astern.dev/paused"], Value::Null);
    // Two versions never ran beside each other: when the first pod of v1 was made, the last of v2 was gone.
    let told = place.astern(&["report", "-o", "markdown"]).expect(0);
    let at = |words: &str| {
        told.out
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {}", told.out))
    };
    assert!(at("wait until the pods of deployment/api are gone") < at("put deployment/api back"));
}

#[test]
fn counts_come_back_after_the_one_who_stopped_was_killed() {
    let place = scene("stop-killed", true);
    let mut run = place.start(&[&["rollback", "--stop"], &YES[..]].concat());
    place.until("it to be stopped", 60, |place| {
        count(place) == 0 && suspended(place)
    });
    run.kill().unwrap();
    output_of(run, "rollback");
    place.let_pods_go();
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let id = runs["items"][0]["run"].as_str().unwrap().to_owned();
    // Somebody else, once the lock of the dead has lapsed.
    place.until("the lock to lapse", 90, |place| {
        place.let_pods_go();
        let done = place.astern(&["resume", &id, "--yes", "--foreground"]);
        assert!([0, 3, 6].contains(&done.code), "{done:?}");
        done.code == 0
    });
    assert_eq!((count(&place), place.image("api")), (3, "api:v1".to_owned()));
    assert!(!suspended(&place));
}

#[test]
fn whoever_scales_it_up_meanwhile_ends_the_run_and_nothing_was_written() {
    let place = scene("stop-scaled", true);
    let run = place.start(&[&["rollback", "--stop"], &YES[..]].concat());
    place.until("it to be stopped", 60, |place| count(place) == 0);
    place.kubectl(&["scale", "deployment/api", "--replicas=1"]);
    let done: Done = output_of(run, "rollback").into();
    // The count is not the run's any more, so it leaves it to a person.
    assert!([4, 6].contains(&done.code), "{done:?}");
    says(&done, &["somebody has scaled deployment/api to 1 again"]);
    assert_eq!(place.image("api"), "api:v2");
    place.let_pods_go();
}

#[test]
fn pods_that_do_not_go_are_named_and_everything_is_as_before() {
    let place = scene("stop-stuck", true);
    let file = place.file("plan.json");
    place.astern(&["plan", "--stop", "-o", "plan.json"]).expect(0);
    // No test waits for minutes: the same plan with a shorter deadline is another plan, which the gate reads as well.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut plan: Value = serde_json::from_str(&text).unwrap();
    for step in plan["steps"].as_array_mut().unwrap() {
        if step["id"] == "gone:deployment/api" {
            step["deadline"] = json!("PT5S");
        }
    }
    std::fs::write(&file, serde_json::to_string(&plan).unwrap()).unwrap();
    let done = place
        .astern(&[&["run", "plan.json"], &YES[..]].concat())
        .expect(4);
    says(&done, &["is on its way out"]);
    assert_eq!((count(&place), place.image("api")), (3, "api:v2".to_owned()));
    assert!(!suspended(&place));
    place.let_pods_go();
}

#[test]
fn keda_is_paused_before_the_count_and_goes_on_before_it_comes_back() {
    let place = scene("stop-keda", false);
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    place.put(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "scaledobjects.keda.sh" },
        "spec": {
            "group": "keda.sh",
            "scope": "Namespaced",
            "names": { "plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": open } }],
        },
    }));
    place.kubectl(&[
        "wait",
        "crd",
        "scaledobjects.keda.sh",
        "--for=condition=Established",
        "--timeout=60s",
    ]);
    place.put(&json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": { "name": "api" },
        "spec": { "scaleTargetRef": { "name": "api" } },
        "status": { "pausedReplicaCount": 0, "conditions": [{ "type": "Paused", "status": "True" }] },
    }));
    let plan = place.astern(&["plan", "--stop"]).expect(0);
    let told = format!("{}{}", plan.out, plan.err);
    let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
    assert!(at("pause KEDA ScaledObject") < at("stop deployment/api"));
    assert!(at("put deployment/api back") < at("resume KEDA ScaledObject"));
    assert!(at("resume KEDA ScaledObject") < at("start deployment/api"));
    stopped(&place, &[]).expect(0);
    assert_eq!(count(&place), 3);
    let annotations = place.get("scaledobject/api")["metadata"]["annotations"].clone();
    assert_eq!(annotations["autoscaling.keda.sh/paused-replicas"], Value::Null);
}
