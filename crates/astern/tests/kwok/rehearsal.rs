//! What a rehearsal says of a plan, that the real run then bears out, and that it leaves no trace on the cluster.

use crate::input::own_user;
use crate::manifest::{CRASHES, YES, crashing, deployment, pod, refused, says, workload};
use crate::support::{Place, kubeconfig};
use serde_json::{Value, json};
use std::path::Path;

/// The plan of everything, written to a file.
fn plan(place: &Place, config: &Path) {
    place.astern_as(config, &["plan", "-o", "plan.json"]).expect(0);
}

/// The requests of this user that could have written something: no reads, no reviews, no dry runs.
pub(crate) fn writes(user: &str) -> Vec<String> {
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let mark = format!("\"username\":\"{user}\"");
    log.lines()
        .filter(|line| line.contains(&mark))
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|entry| {
            let verb = entry["verb"].as_str().unwrap();
            let uri = entry["requestURI"].as_str().unwrap();
            let asks = uri.contains("/selfsubject") && verb == "create";
            !matches!(verb, "get" | "list" | "watch") && !asks && !uri.contains("dryRun=All")
        })
        .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]))
        .collect()
}

fn asked(user: &str) -> usize {
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    log.matches(&format!("\"username\":\"{user}\"")).count()
}

/// The steps of a document, each with how it ended.
fn ends(document: &Value, steps: &str) -> Vec<Value> {
    let steps = document.pointer(steps).unwrap().as_array().unwrap();
    steps
        .iter()
        .map(|step| json!([step["id"], step["state"]]))
        .collect()
}

#[test]
fn a_rehearsal_tells_what_the_run_then_does_and_writes_nothing_to_the_cluster() {
    let place = Place::new("rehearse");
    place.platform("");
    place.bad_release("api", 3);
    let (config, user) = own_user(&place);
    plan(&place, &config);
    let everything = [
        "get",
        "deployments,replicasets,pods,secrets,leases,configmaps",
        "-o",
        "name",
    ];
    let (standing, names) = (place.standing(), place.kubectl(&everything));

    let text = place.astern_as(&config, &["rehearse", "plan.json"]).expect(0);
    let first = place
        .astern_as(&config, &["rehearse", "plan.json", "-o", "json"])
        .expect(0)
        .json();
    place
        .astern_as(&config, &["rehearse", "plan.json", "--faults"])
        .expect(0);

    assert!(asked(&user) > 60, "the audit log was misread");
    assert_eq!(writes(&user), [""; 0]);
    assert_eq!(place.standing(), standing);
    assert_eq!(place.kubectl(&everything), names);

    says(
        &text,
        &[
            "✓ restores service on a copy of the namespace",
            "wait until deployment/api serves v1",
            "measured on 3 pods",
            "as now: crash loop, exit 1",
            "✓ serves, 3 of 3 ready",
            "that the image works",
            "nodes could not be read",
        ],
    );
    assert_eq!(first["kind"], "Rehearsal");
    assert_eq!(first["ending"]["kind"], "restored");
    let points = first["lanes"][0]["points"].as_array().unwrap();
    let last = points.last().unwrap();
    assert_eq!(
        [&last["toReady"], &last["from"]],
        [&json!(3), &json!(0)],
        "{points:?}"
    );

    let report = place
        .astern_as(&config, &[&["run", "plan.json", "-o", "json"], &YES[..]].concat())
        .expect(0)
        .json();
    assert_eq!(ends(&first, "/steps"), ends(&report, "/rollback/steps"));
}

#[test]
fn every_kind_of_workload_rolls_on_the_copy_as_it_then_does_on_the_cluster() {
    let place = Place::new("kinds-copied");
    place.platform("");
    let members = [
        (
            "Deployment",
            "recreate",
            json!({ "replicas": 2, "strategy": { "type": "Recreate" } }),
        ),
        (
            "StatefulSet",
            "ordered",
            json!({ "replicas": 2, "serviceName": "ordered" }),
        ),
        (
            "StatefulSet",
            "staged",
            json!({
                "replicas": 3,
                "serviceName": "staged",
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } },
            }),
        ),
        ("DaemonSet", "agent", json!({})),
    ];
    for (kind, name, more) in &members {
        place.put(&workload(kind, name, pod(name, "v1"), more.clone()));
    }
    for (kind, name, _) in &members {
        place.kubectl(&["rollout", "status", &format!("{kind}/{name}"), "--timeout=60s"]);
    }
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for (kind, name, more) in &members {
        place.put(&workload(kind, name, crashing(name, "v2"), more.clone()));
    }
    place.until("a crash loop of each", 60, |place| {
        let pods = place.kubectl(&["get", "pods"]);
        members.iter().all(|(_, name, _)| {
            pods.lines()
                .any(|line| line.starts_with(name) && line.contains("CrashLoopBackOff"))
        })
    });
    plan(&place, &kubeconfig());
    let rehearsal = place
        .astern(&["rehearse", "plan.json", "--faults", "-o", "json"])
        .expect(0)
        .json();
    let report = place
        .astern(&[&["run", "plan.json", "-o", "json"], &YES[..]].concat())
        .expect(0)
        .json();
    assert_eq!(ends(&rehearsal, "/steps"), ends(&report, "/rollback/steps"));
    let stands = |document: &Value| -> Vec<Value> {
        let standings = document["standings"].as_array().unwrap();
        standings
            .iter()
            .map(|standing| {
                json!([
                    standing["target"],
                    standing["on"]["version"],
                    standing["on"]["ready"]
                ])
            })
            .collect()
    };
    assert_eq!(stands(&rehearsal), stands(&report));
}

/// v1 needs more than v2 gives back while it rolls: each pod of v2 that goes makes room for half a pod of v1.
fn outgrown(version: &str, cpu: &str) -> Value {
    let mut template = pod("api", version);
    template["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": cpu } });
    deployment("api", 4, template)
}

#[test]
fn a_rollback_that_begins_and_that_a_quota_then_stops_is_held_with_what_it_lacks() {
    let place = Place::new("outgrown");
    place.platform("");
    place.roll_out(&outgrown("v1", "200m"));
    place.roll_out(&outgrown("v2", "100m"));
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    place.until_it_crashes();
    place.until("v1 to be gone", 30, |place| place.pods().len() == 4);
    place.kubectl(&["create", "quota", "outgrown", "--hard=requests.cpu=450m"]);
    place.until("the quota to be counted", 30, |place| {
        place.get("resourcequota/outgrown")["status"]["used"]["requests.cpu"] == "400m"
    });
    plan(&place, &kubeconfig());
    let standing = place.standing();
    let done = place.astern(&["rehearse", "plan.json"]).expect(6);
    says(
        &done,
        &[
            "! is held on a copy of the namespace",
            "✗ deployment/api: a pod was not let in (FailedCreate)",
            "exceeded quota: outgrown, requested: requests.cpu=200m",
            "✗ failed   wait until deployment/api serves v1",
        ],
    );
    assert_eq!(place.standing(), standing);
}

#[test]
fn with_faults_each_failing_step_is_taken_back_and_each_crash_comes_to_the_same_end() {
    let place = Place::new("faults");
    place.platform("  workloads: [{name: web, dependsOn: [api]}, {name: api}]\n");
    place.bad_release("api", 2);
    place.bad_release("web", 2);
    plan(&place, &kubeconfig());
    let told = place
        .astern(&["rehearse", "plan.json", "--faults", "-o", "json"])
        .expect(0)
        .json();
    let steps = told["steps"].as_array().unwrap();
    let faults = &told["faults"];
    let failures = faults["failures"].as_array().unwrap();
    assert_eq!(failures.len(), steps.len());
    for failed in failures {
        let (ending, aborted) = (&failed["ending"]["kind"], &failed["aborted"]["kind"]);
        let back = if ending == "held" { aborted } else { ending };
        assert_eq!(back, "unwound", "{failed:#}");
        assert_eq!(failed["differs"], json!([]), "{failed:#}");
    }
    let crashes = faults["crashes"].as_array().unwrap();
    for step in steps {
        let at: Vec<&Value> = crashes
            .iter()
            .filter(|crash| {
                crash["steps"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|of| of[0] == step["id"])
            })
            .map(|crash| &crash["at"])
            .collect();
        for point in ["before", "after"] {
            for what in ["its intent", "its result"] {
                let point = json!(format!("{point} {what} is durable"));
                assert!(at.contains(&&point), "{point} of {}: {at:?}", step["id"]);
            }
        }
    }
    for crash in crashes {
        assert_eq!(crash["differs"], json!([]), "{crash:#}");
        let begun = crash["at"] != "before the approved plan is durable";
        assert_eq!(crash["ending"]["kind"] == "restored", begun, "{crash:#}");
    }
}

#[test]
fn what_a_template_refers_to_is_there_on_the_copy_too_and_what_a_job_runs_stays() {
    let place = Place::new("refers");
    place.platform("  workloads: [{name: api}]\n");
    place.kubectl(&[
        "create",
        "secret",
        "generic",
        "db",
        "--from-literal=password=hunter2",
    ]);
    place.kubectl(&["create", "configmap", "settings", "--from-literal=MODE=on"]);
    place.put(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": "nightly" },
        "spec": { "template": {
            "metadata": { "labels": { "app": "nightly" } },
            "spec": { "restartPolicy": "Never", "containers": [{ "name": "nightly", "image": "nightly:v1" }] },
        } },
    }));
    let refers = |mut template: Value| {
        let container = &mut template["spec"]["containers"][0];
        container["envFrom"] = json!([{ "configMapRef": { "name": "settings" } }]);
        let key = json!({ "secretKeyRef": { "name": "db", "key": "password" } });
        container["env"] = json!([{ "name": "PASSWORD", "valueFrom": key }]);
        template
    };
    place.roll_out(&deployment("api", 2, refers(pod("api", "v1"))));
    place.put(&deployment("api", 2, refers(crashing("api", "v2"))));
    place.until_it_crashes();
    plan(&place, &kubeconfig());
    let done = place
        .astern(&["rehearse", "plan.json", "--faults", "-o", "json"])
        .expect(0);
    assert!(!done.out.contains("hunter2") && !done.err.contains("hunter2"));
    assert_eq!(done.json()["copy"]["pods"], place.pods().len());
}

#[test]
fn what_the_gate_refuses_is_not_rehearsed() {
    let place = Place::new("refused");
    place.platform("");
    place.bad_release("api", 2);
    plan(&place, &kubeconfig());
    place.kubectl(&["rollout", "undo", "deployment/api"]);
    refused(&place, &["deployment/api", "AST02"], |place| {
        place.astern(&["rehearse", "plan.json"])
    });
}

#[test]
fn a_rehearsal_of_a_file_that_is_no_plan_says_how_one_is_made() {
    let place = Place::new("noplan");
    place.platform("");
    std::fs::write(place.file("plan.json"), "{}").unwrap();
    let done = place.astern(&["rehearse", "plan.json"]).expect(1);
    says(
        &done,
        &[
            "plan.json is not a plan; nothing was changed",
            "astern plan -o plan.json",
        ],
    );
}
