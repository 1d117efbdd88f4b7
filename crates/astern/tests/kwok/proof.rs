//! How a workload stands and why, and when service counts as restored: from the API's conditions and counts, over a window.

use crate::manifest::{CRASHES, YES, crashing, deployment, pod, says};
use crate::support::Place;
use serde_json::{Value, json};

#[test]
fn status_names_for_each_workload_the_cause_and_the_evidence() {
    let place = Place::new("causes");
    let label = |name: &str, label: &str| {
        let mut template = pod(name, "v1");
        template["metadata"]["labels"][label] = json!("true");
        deployment(name, 1, template)
    };
    place.put(&deployment("crash", 1, crashing("crash", "v1")));
    place.put(&label("pull", "kwok.astern.dev/image-missing"));
    let mut unready = label("unready", "kwok.astern.dev/never-ready");
    unready["spec"]["progressDeadlineSeconds"] = json!(1);
    place.put(&unready);
    let mut huge = deployment("huge", 1, pod("huge", "v1"));
    huge["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1M" } });
    place.put(&huge);
    place.until("pods of all", 30, |place| place.pods().len() == 4);
    place.kubectl(&["create", "quota", "tight", "--hard=pods=4"]);
    place.until("the quota to be counted", 30, |place| {
        place.get("resourcequota/tight")["status"]["used"]["pods"] == "4"
    });
    place.put(&deployment("more", 1, pod("more", "v1")));
    let causes = [
        (
            "crash",
            "CrashLoopBackOff, exit 1, 4 restarts: \"error: REQUIRED_SETTING is not set\"",
        ),
        ("pull", "ImagePullBackOff pull:v1"),
        ("unready", "progress deadline exceeded"),
        ("huge", "unschedulable: 0/"),
        ("more", "exceeded quota: tight"),
    ];
    let mut seen = String::new();
    place.until("every cause in status", 30, |place| {
        seen = place.astern(&["status"]).expect(0).out;
        causes.iter().all(|(name, cause)| {
            let line = seen
                .lines()
                .find(|line| line.starts_with(&format!("deployment/{name} ")));
            line.is_some_and(|line| line.contains("failing") && line.contains(cause))
        })
    });
    assert!(
        seen.contains("Insufficient cpu"),
        "what is lacking is not said:\n{seen}"
    );
}

#[test]
fn pods_that_run_and_are_not_ready_do_not_pass() {
    let place = Place::new("running");
    place.platform("");
    let mut template = pod("api", "v1");
    template["metadata"]["labels"]["kwok.astern.dev/never-ready"] = json!("true");
    place.put(&deployment("api", 1, template));
    place.until("a running pod", 30, |place| {
        place.kubectl(&["get", "pods"]).contains("Running")
    });
    let done = place.astern(&["validate"]).expect(5);
    says(&done, &["deployment/api", "0 of 1"]);
}

#[test]
fn a_service_that_breaks_within_the_soak_window_is_done_and_not_validated() {
    let place = Place::new("soak");
    place.platform("");
    let file = place.file("astern.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("soak: 2s", "soak: 10s")).unwrap();
    place.bad_release("api", 2);
    let child = place.start(&[&["rollback"], &YES[..]].concat());
    place.until("v1 alone", 60, |place| {
        let pods = place.kubectl(&["get", "pods"]);
        place.image("api") == "api:v1" && !pods.contains("CrashLoopBackOff") && pods.lines().count() == 3
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    let done = crate::support::Done::from(crate::support::output_of(child, "a started astern")).expect(5);
    says(&done, &["deployment/api", "restarts since the run began", "fail"]);
    assert_eq!(place.image("api"), "api:v1", "what was done stays");
}

#[test]
fn who_took_what_back_to_what_and_why_is_told_after_the_cluster_has_forgotten_it() {
    let place = Place::new("remembered");
    place.platform("");
    place.bad_release("api", 2);
    place
        .astern(&["rollback", "--yes", "--reason", "checkout answers 500"])
        .expect(0);
    // Somebody tidies up: no ReplicaSet but the live one stays, and with them every revision number.
    place.kubectl(&[
        "patch",
        "deployment/api",
        "--type=merge",
        "-p",
        r#"{"spec": {"revisionHistoryLimit": 0}}"#,
    ]);
    place.until("the history to be pruned", 60, |place| {
        place.get("replicasets")["items"].as_array().map(Vec::len) == Some(1)
    });
    let report = place.astern(&["report"]).expect(0);
    for words in ["checkout answers 500", "v2", "v1", "admin@example.test"] {
        assert!(report.out.contains(words), "{words}\n{}", report.out);
    }
    let json = place.astern(&["report", "-o", "json"]).expect(0).json();
    let changes = &json["changes"][0];
    assert_eq!(
        (&changes["fromVersion"], &changes["toVersion"]),
        (&Value::from("v2"), &Value::from("v1")),
        "{json:#}"
    );
    let runs = place.astern(&["runs"]).expect(0);
    assert!(runs.out.contains("checkout answers 500"), "{}", runs.out);
}
