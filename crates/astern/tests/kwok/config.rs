//! The content of ConfigMaps and Secrets: back before whoever reads it, exactly its readers restarted, once.

use crate::input::own_user;
use crate::support::{Done, Place, config, kubeconfig};
use astern_faultproxy::{Class, How, Proxy, Unseen};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A Deployment whose pods read what `reads` names.
pub(crate) fn deployment(name: &str, reads: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": name, "image": format!("{name}:v1"), "envFrom": reads}]},
        }},
    })
}

pub(crate) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub(crate) fn reads(name: &str) -> Value {
    json!([{"configMapRef": {"name": name}}])
}

pub(crate) fn apply(place: &Place, objects: &[Value]) {
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}

pub(crate) fn rolled_out(place: &Place, names: &[&str]) {
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

pub(crate) fn record(place: &Place, version: &str) {
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

pub(crate) fn roll_back(place: &Place, more: &[&str]) -> Done {
    place.astern(&[&["rollback", "--yes", "--reason", "the release is bad"], more].concat())
}

pub(crate) fn pods(place: &Place, app: &str) -> BTreeSet<String> {
    let names = place.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"]);
    names.lines().map(str::to_owned).collect()
}

pub(crate) fn data(place: &Place, object: &str) -> Value {
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

/// By the API server's own log the content was written once, and then each reader's template once; and by its clock every pod that
/// reads it was made after that.
fn content_is_older_than_its_readers(place: &Place, readers: &[&str]) {
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let by_astern = |path: &str| -> Vec<String> {
        let path = format!("/namespaces/{}/{path}", place.namespace);
        log.lines()
            .filter(|line| line.contains(&path) && line.contains("\"ResponseComplete\""))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|entry| {
                entry["verb"] == "update" && !entry["requestURI"].as_str().unwrap().contains("dryRun")
            })
            .map(|entry| entry["stageTimestamp"].as_str().unwrap().to_owned())
            .collect()
    };
    let written = by_astern("configmaps/app-config");
    assert_eq!(written.len(), 1, "{written:?}");
    for reader in readers {
        let restarted = by_astern(&format!("deployments/{reader}"));
        assert_eq!(restarted.len(), 1, "{reader}: {restarted:?}");
        assert!(
            restarted[0] > written[0],
            "{reader} was restarted at {restarted:?}, before {written:?}"
        );
        let second = written[0].split('.').next().unwrap();
        let selected = [
            "get",
            "pods",
            "-l",
            &format!("app={reader}"),
            "-o",
            "jsonpath={.items[*].metadata.creationTimestamp}",
        ];
        let made = place.kubectl(&selected);
        assert_eq!(made.split_whitespace().count(), 2, "{made}");
        assert!(
            made.split_whitespace()
                .all(|made| made.trim_end_matches('Z') >= second),
            "{made} before {written:?}"
        );
    }
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

pub(crate) fn newest_run(place: &Place) -> String {
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
    content_is_older_than_its_readers(&place, &["api", "worker"]);
    let steps = applied(&place, &newest_run(&place)).join("\n");
    assert!(
        steps.contains("put the content of configmap/app-config back to release 1.0, recorded 20"),
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

#[test]
fn a_pruned_config_map_under_a_hashed_name_is_made_again_from_the_ledger() {
    let place = Place::new("config-pruned");
    place.platform("");
    let mut then = config_map("app-config-5f7b2d9c8k", json!({"MODE": "calm"}));
    then["immutable"] = json!(true);
    apply(&place, &[then, deployment("api", reads("app-config-5f7b2d9c8k"))]);
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    apply(
        &place,
        &[
            config_map("app-config-8m4h6g2t9f", json!({"MODE": "storm"})),
            deployment("api", reads("app-config-8m4h6g2t9f")),
        ],
    );
    rolled_out(&place, &["api"]);
    place.kubectl(&["delete", "configmap", "app-config-5f7b2d9c8k"]);
    let plan = place.astern(&["plan", "--to", "1.0"]).expect(0);
    let words = "configmap/app-config-5f7b2d9c8k is made anew as of release 1.0";
    assert!(plan.out.contains(words), "{}", plan.out);
    roll_back(&place, &["--to", "1.0"]).expect(0);
    let made = place.get("configmap/app-config-5f7b2d9c8k");
    assert_eq!(
        (&made["data"], &made["immutable"]),
        (&json!({"MODE": "calm"}), &json!(true))
    );
    // The sibling of now is nobody's business.
    assert_eq!(
        data(&place, "configmap/app-config-8m4h6g2t9f"),
        json!({"MODE": "storm"})
    );
    let template = &place.get("deployment/api")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(template["envFrom"], reads("app-config-5f7b2d9c8k"));
}

#[test]
fn an_immutable_config_map_is_deleted_and_made_anew_and_undo_has_it_as_it_was() {
    let place = bad_config("config-immutable");
    place.kubectl(&["patch", "configmap", "app-config", "-p", r#"{"immutable": true}"#]);
    let before = place.get("configmap/app-config");
    let planned = place.astern(&["plan", "--to", "1.0"]).expect(0);
    let gap = "configmap/app-config is immutable: it is deleted, and made anew at once";
    assert!(planned.out.contains(gap), "{}", planned.out);
    assert_eq!(place.get("configmap/app-config"), before);
    roll_back(&place, &["--to", "1.0"]).expect(0);
    let calm = json!({"MODE": "calm", "LIMIT": "10"});
    assert_eq!(data(&place, "configmap/app-config"), calm);
    let anew = place.get("configmap/app-config");
    assert_ne!(anew["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(anew["metadata"]["labels"], before["metadata"]["labels"]);
    assert_eq!(anew["immutable"], Value::Null, "release 1.0 had none that is");
    let run = newest_run(&place);
    let undo = |run: &str| {
        let words = ["undo", run, "--yes", "--reason", "it was not the config"];
        place.astern(&words).expect(0)
    };
    undo(&run);
    let back = place.get("configmap/app-config");
    assert_eq!(
        (&back["data"], &back["immutable"]),
        (&before["data"], &json!(true))
    );
    undo(&newest_run(&place));
    let again = place.get("configmap/app-config");
    assert_eq!((&again["data"], &again["immutable"]), (&calm, &Value::Null));
}

#[test]
fn an_edit_after_the_plan_is_refused_with_the_object_and_an_annotation_is_not() {
    let place = bad_config("config-moved");
    place
        .astern(&["plan", "--to", "1.0", "-o", "back.json"])
        .expect(0);
    place.kubectl(&["annotate", "configmap", "app-config", "team=shop"]);
    let pods_before = pods(&place, "api");
    let words = ["run", "back.json", "--yes", "--reason", "the release is bad"];
    place.kubectl(&[
        "patch",
        "configmap",
        "app-config",
        "--field-manager=night-shift",
        "-p",
        r#"{"data": {"MODE": "gale"}}"#,
    ]);
    let refused = place.astern(&words).expect(3);
    for words in [
        "AST0212",
        "configmap/app-config",
        "from hmac-sha256:",
        "to hmac-sha256:",
        "night-shift",
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "gale", "NEW": "1"})
    );
    assert_eq!(pods(&place, "api"), pods_before, "a reader was started");
    place.kubectl(&[
        "patch",
        "configmap",
        "app-config",
        "-p",
        r#"{"data": {"MODE": "storm"}}"#,
    ]);
    place.astern(&words).expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "calm", "LIMIT": "10"})
    );
    assert_eq!(
        place.get("configmap/app-config")["metadata"]["annotations"]["team"],
        "shop"
    );
}

#[test]
fn an_undo_puts_the_content_of_before_the_run_back_and_restarts_the_readers_again() {
    let place = bad_config("config-undo");
    roll_back(&place, &["--to", "1.0"]).expect(0);
    rolled_out(&place, &["api", "worker", "web"]);
    let before = [pods(&place, "api"), pods(&place, "web")];
    let run = newest_run(&place);
    place
        .astern(&["undo", &run, "--yes", "--reason", "it was the database"])
        .expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "storm", "NEW": "1"})
    );
    rolled_out(&place, &["api", "worker", "web"]);
    assert!(pods(&place, "api").is_disjoint(&before[0]));
    assert_eq!(pods(&place, "web"), before[1]);
    let template = &place.get("deployment/api")["spec"]["template"]["metadata"];
    assert!(template.get("annotations").is_none(), "{template:#}");
}

#[test]
fn a_runner_that_died_before_it_wrote_down_that_content_is_back_writes_it_once() {
    let place = bad_config("config-killed");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(async {
        let direct = Proxy::before(config().await).await.unwrap();
        direct.another(Vec::new(), Arc::new(Unseen)).await.unwrap()
    });
    proxy.next(Class::Write, How::AnswerSwallowed);
    let by_proxy = place.file("proxy.kubeconfig");
    std::fs::write(&by_proxy, proxy.kubeconfig()).unwrap();
    let words = [
        "rollback",
        "--to",
        "1.0",
        "--yes",
        "--reason",
        "the release is bad",
        "--foreground",
    ];
    let mut killed = place.command(&by_proxy, &words).spawn().unwrap();
    place.until("the content to be back", 30, |place| {
        data(place, "configmap/app-config")["MODE"] == "calm"
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let pods_then = pods(&place, "api");
    let run = newest_run(&place);
    place.astern(&["resume", &run, "--yes"]).expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "calm", "LIMIT": "10"})
    );
    rolled_out(&place, &["api", "worker", "web"]);
    assert!(pods(&place, "api").is_disjoint(&pods_then));
    // The write of the one that died, and the mark by which the one that went on has fenced it.
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let here = format!("/namespaces/{}/configmaps/app-config", place.namespace);
    let writes = log
        .lines()
        .filter(|line| line.contains(&here) && !line.contains("dryRun=All"))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["stage"] == "ResponseComplete" && entry["verb"] == "update");
    assert_eq!(writes.count(), 2);
}

#[test]
fn who_reloads_by_itself_or_is_restarted_by_reloader_is_not_restarted() {
    let place = Place::new("config-reloads");
    place.platform("  workloads: [{name: api, reloads: true}, {name: worker}, {name: web}]\n");
    let mut worker = deployment("worker", reads("app-config"));
    worker["metadata"]["annotations"] = json!({"reloader.stakater.com/auto": "true"});
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm"})),
            deployment("api", reads("app-config")),
            worker,
            deployment("web", reads("app-config")),
        ],
    );
    rolled_out(&place, &["api", "worker", "web"]);
    record(&place, "1.0");
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"}))]);
    let before = [pods(&place, "api"), pods(&place, "worker"), pods(&place, "web")];
    let done = roll_back(&place, &["--to", "1.0"]).expect(0);
    for words in [
        "deployment/api takes it in by itself",
        "deployment/worker is left to Reloader",
        "deployment/web is restarted",
    ] {
        assert!(
            done.err.contains(words) || done.out.contains(words),
            "no {words:?}: {done:?}"
        );
    }
    rolled_out(&place, &["api", "worker", "web"]);
    assert_eq!(
        [pods(&place, "api"), pods(&place, "worker")],
        [before[0].clone(), before[1].clone()]
    );
    assert!(pods(&place, "web").is_disjoint(&before[2]));
}

#[test]
fn a_failing_release_goes_back_with_the_content_that_its_templates_read_then() {
    let place = Place::new("config-both");
    place.platform("");
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm"})),
            deployment("api", reads("app-config")),
            deployment("worker", reads("app-config")),
            deployment("web", json!([])),
        ],
    );
    rolled_out(&place, &["api", "worker", "web"]);
    record(&place, "1.0");
    let mut bad = deployment("api", reads("app-config"));
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = json!("api:v2");
    bad["spec"]["template"]["metadata"]["labels"]["kwok.astern.dev/crash-loop"] = json!("true");
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"})), bad]);
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let before = [pods(&place, "worker"), pods(&place, "web")];
    roll_back(&place, &[]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "calm"}));
    rolled_out(&place, &["api", "worker", "web"]);
    assert!(pods(&place, "worker").is_disjoint(&before[0]));
    assert_eq!(pods(&place, "web"), before[1]);
    // The mark of a restart does not take a workload off its release.
    let stands = place
        .astern(&["status", "--release", "-o", "json"])
        .expect(0)
        .json();
    for of in stands["items"].as_array().unwrap() {
        assert_eq!(of["releases"][0][0], "1.0", "{stands:#}");
    }
    let drift = place.astern(&["drift"]).expect(0);
    assert!(drift.out.contains("a restart"), "{}", drift.out);
}

#[test]
fn pods_of_the_good_version_that_started_on_the_bad_content_are_made_anew_by_the_write_of_their_template() {
    let place = Place::new("config-kept");
    place.platform("");
    let good = [
        config_map("app-config", json!({"MODE": "calm"})),
        deployment("api", reads("app-config")),
    ];
    apply(&place, &good);
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"}))]);
    // The API server's times are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let first = pods(&place, "api").first().unwrap().clone();
    place.kubectl(&["delete", &first]);
    rolled_out(&place, &["api"]);
    let mut bad = deployment("api", reads("app-config"));
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = json!("api:v2");
    bad["spec"]["template"]["metadata"]["labels"]["kwok.astern.dev/crash-loop"] = json!("true");
    let before = pods(&place, "api");
    apply(&place, &[bad]);
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    assert!(
        pods(&place, "api").is_superset(&before),
        "the good version still serves"
    );
    let done = roll_back(&place, &[]).expect(0);
    let words =
        "1 of its pods run that already and may have read what is there now, so all of them are made anew";
    assert!(done.err.contains(words) || done.out.contains(words), "{done:?}");
    assert_eq!(place.image("api"), "api:v1");
    rolled_out(&place, &["api"]);
    assert!(pods(&place, "api").is_disjoint(&before));
    content_is_older_than_its_readers(&place, &["api"]);
    let stands = place
        .astern(&["status", "--release", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(stands["items"][0]["releases"][0][0], "1.0", "{stands:#}");
    // Taken back, it asks for what it asked for before, without a mark; that does not serve, as before.
    place.astern(&[
        "undo",
        &newest_run(&place),
        "--yes",
        "--reason",
        "it was the wrong one",
    ]);
    assert_eq!(place.image("api"), "api:v2");
    let template = &place.get("deployment/api")["spec"]["template"];
    assert!(template["metadata"].get("annotations").is_none(), "{template:#}");
}

#[test]
fn pods_that_only_a_deletion_replaces_are_deleted_once_the_content_is_back() {
    let place = Place::new("config-by-hand");
    place.platform("");
    let mut db = deployment("db", reads("app-config"));
    db["kind"] = json!("StatefulSet");
    db["spec"]["serviceName"] = json!("db");
    db["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    apply(&place, &[config_map("app-config", json!({"MODE": "calm"})), db]);
    place.kubectl(&[
        "wait",
        "statefulset/db",
        "--for=jsonpath={.status.readyReplicas}=2",
        "--timeout=60s",
    ]);
    record(&place, "1.0");
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"}))]);
    let uids = |place: &Place| {
        let pods = place.get("pods")["items"].as_array().unwrap().clone();
        let uid = |pod: Value| pod["metadata"]["uid"].to_string();
        pods.into_iter().map(uid).collect::<BTreeSet<_>>()
    };
    let before = uids(&place);
    let done = roll_back(&place, &["--to", "1.0"]).expect(0);
    let words = "statefulset/db is OnDelete: 2 pods are deleted one after the other";
    assert!(done.err.contains(words) || done.out.contains(words), "{done:?}");
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "calm"}));
    let after = uids(&place);
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after.is_disjoint(&before), "{after:?}");
}

#[test]
fn a_failed_restart_is_unwound_with_the_content_first() {
    let place = bad_config("config-unwound");
    // No pod of `worker` starts any more, whatever it reads.
    place.kubectl(&["create", "quota", "none", "--hard=pods=6"]);
    let before = data(&place, "configmap/app-config");
    let templates = |place: &Place| {
        ["api", "worker"].map(|name| place.get(&format!("deployment/{name}"))["spec"]["template"].clone())
    };
    let then = templates(&place);
    place.kubectl(&[
        "patch",
        "deployment",
        "worker",
        "-p",
        r#"{"spec": {"progressDeadlineSeconds": 2, "strategy": {"rollingUpdate": {"maxUnavailable": 0}}}}"#,
    ]);
    let done = roll_back(&place, &["--to", "1.0", "--on-failure", "unwind"]);
    assert_eq!(done.code, 4, "{done:?}");
    assert_eq!(data(&place, "configmap/app-config"), before);
    assert_eq!(templates(&place), then);
}

#[test]
fn a_drift_of_content_is_restored_by_a_plan() {
    let place = bad_config("config-drift");
    let shown = place.astern(&["drift"]).expect(7);
    assert!(shown.out.contains("configmap/app-config"), "{}", shown.out);
    place.astern(&["drift", "--restore", "-o", "back.json"]).expect(0);
    place
        .astern(&["run", "back.json", "--yes", "--reason", "somebody edited it"])
        .expect(0);
    place.astern(&["drift"]).expect(0);
}

#[test]
fn a_plan_with_content_is_rehearsed_with_every_fault_and_then_carried_out_as_it_was() {
    let place = bad_config("config-rehearse");
    place
        .astern(&["plan", "--to", "1.0", "-o", "back.json"])
        .expect(0);
    let version = || {
        let path = "jsonpath={.metadata.resourceVersion}";
        place.kubectl(&["get", "configmap", "app-config", "-o", path])
    };
    let before = version();
    let told = place.astern(&["rehearse", "back.json", "--faults"]).expect(0).out;
    assert!(
        told.contains("put the content of configmap/app-config back"),
        "{told}"
    );
    assert!(!told.contains("calm") && !told.contains("storm"), "{told}");
    assert_eq!(version(), before);
    place
        .astern(&["run", "back.json", "--yes", "--reason", "it storms"])
        .expect(0);
    assert_eq!(data(&place, "configmap/app-config")["MODE"], "calm");
}

#[test]
fn the_documented_rights_suffice_and_without_those_on_config_maps_the_plan_says_which_is_missing() {
    let place = bad_config("config-rights");
    let (kubeconfig, user) = own_user(&place);
    let account = user.trim_start_matches("system:serviceaccount:");
    place.kubectl(&["delete", "rolebinding", "counted"]);
    let rights =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rbac.yaml")).unwrap();
    let (role, _) = rights.split_once("\n---\n").unwrap();
    let bind = |role: &str| {
        place.apply(role);
        let account = format!("--serviceaccount={account}");
        place.kubectl(&["delete", "rolebinding", "astern", "--ignore-not-found"]);
        place.kubectl(&["create", "rolebinding", "astern", "--role=astern", &account]);
    };
    let writes = "verbs: [create, update, delete]";
    assert!(role.contains(writes), "the rights on ConfigMaps stand elsewhere");
    bind(&role.replace(writes, "verbs: [create]"));
    let words = [
        "rollback",
        "--to",
        "1.0",
        "--yes",
        "--reason",
        "the release is bad",
    ];
    let refused = place.astern_as(&kubeconfig, &words).expect(3);
    for words in ["AST0218", "may not update configmaps"] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(data(&place, "configmap/app-config")["MODE"], "storm");
    bind(role);
    place.astern_as(&kubeconfig, &words).expect(0);
    assert_eq!(
        data(&place, "configmap/app-config"),
        json!({"MODE": "calm", "LIMIT": "10"})
    );
}

/// The role of docs/rbac.yaml, bound to a user of its own.
pub(crate) fn with_rights(place: &Place, change: impl Fn(&str) -> String) -> std::path::PathBuf {
    let (kubeconfig, user) = own_user(place);
    place.kubectl(&["delete", "rolebinding", "counted"]);
    let rights =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rbac.yaml")).unwrap();
    let (role, _) = rights.split_once("\n---\n").unwrap();
    let changed = change(role);
    assert_ne!(changed, role, "the right stands elsewhere");
    place.apply(&changed);
    let account = format!(
        "--serviceaccount={}",
        user.trim_start_matches("system:serviceaccount:")
    );
    place.kubectl(&["create", "rolebinding", "astern", "--role=astern", &account]);
    kubeconfig
}

#[test]
fn old_templates_go_back_on_content_that_nobody_could_compare_only_on_somebodys_word() {
    let place = Place::new("config-unknown");
    place.platform("");
    apply(
        &place,
        &[
            config_map("app-config", json!({"MODE": "calm"})),
            deployment("api", reads("app-config")),
            deployment("web", json!([])),
        ],
    );
    rolled_out(&place, &["api", "web"]);
    record(&place, "1.0");
    let mut bad = deployment("api", reads("app-config"));
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = json!("api:v2");
    bad["spec"]["template"]["metadata"]["labels"]["kwok.astern.dev/crash-loop"] = json!("true");
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"})), bad]);
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let right = "resources: [configmaps]\n    verbs: [list]";
    let kubeconfig = with_rights(&place, |role| {
        role.replace(right, "resources: [configmaps]\n    verbs: [get]")
    });
    let words = ["rollback", "--yes", "--reason", "the release is bad"];
    let refused = place.astern_as(&kubeconfig, &words).expect(3);
    for words in [
        "AST0237",
        "deployment/api goes back to what release 1.0 has of it",
        "configmap/app-config",
        "configmaps",
        "--leave-config",
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(place.image("api"), "api:v2");
    let done = place
        .astern_as(&kubeconfig, &[&words[..], &["--leave-config"]].concat())
        .expect(0);
    let told = done.out + &done.err;
    assert!(
        told.contains("keep their content of now, as --leave-config says"),
        "{told}"
    );
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "storm"}));
}

/// Characters of a value that kubectl cannot remember beside its object: annotations take 256 KiB.
const NOT_REMEMBERED: usize = 300_000;

#[test]
fn content_that_does_not_fit_beside_what_kubectl_remembers_of_it_is_refused_with_sizes_and_the_way_out() {
    let place = Place::new("config-large");
    place.platform("");
    let large = |size: usize| config_map("app-config", json!({"CATALOG": "x".repeat(size)}));
    let write = |verb: &[&str], object: &Value| {
        let file = place.file("large.json");
        std::fs::write(&file, object.to_string()).unwrap();
        place.kubectl(&[verb, &["-f", file.to_str().unwrap()]].concat());
    };
    write(&["create"], &large(NOT_REMEMBERED));
    apply(&place, &[deployment("api", reads("app-config"))]);
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    place.kubectl(&["delete", "configmap", "app-config"]);
    apply(&place, &[config_map("app-config", json!({"CATALOG": "small"}))]);
    let before = place.get("configmap/app-config");
    let pods_before = pods(&place, "api");
    let refused = roll_back(&place, &["--to", "1.0"]).expect(3);
    for words in [
        "AST0217",
        "configmap/app-config",
        "its annotations would take 300",
        "262144",
        "kubectl annotate configmap/app-config kubectl.kubernetes.io/last-applied-configuration-",
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(place.get("configmap/app-config"), before);
    assert_eq!(pods(&place, "api"), pods_before, "a reader was started");
    place.kubectl(&[
        "annotate",
        "configmap/app-config",
        "kubectl.kubernetes.io/last-applied-configuration-",
    ]);
    roll_back(&place, &["--to", "1.0"]).expect(0);
    let back = data(&place, "configmap/app-config");
    assert_eq!(back["CATALOG"].as_str().map(str::len), Some(NOT_REMEMBERED));
    // As much as an object may hold at all.
    write(&["replace"], &large((1 << 20) - "CATALOG".len()));
    record(&place, "2.0");
    write(
        &["replace"],
        &config_map("app-config", json!({"CATALOG": "small"})),
    );
    roll_back(&place, &["--to", "2.0"]).expect(0);
    let back = data(&place, "configmap/app-config");
    assert_eq!(
        back["CATALOG"].as_str().map(str::len),
        Some((1 << 20) - "CATALOG".len())
    );
}
