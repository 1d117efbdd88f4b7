//! What a rollback leaves on the objects: all of the good version, nothing of the bad one, and everything of others.

use crate::manifest::{crashing, deployment, pod, says, workload};
use crate::support::Place;
use serde_json::{Value, json};

/// v1 with fields of every kind that a release may change.
fn first(name: &str) -> Value {
    let mut template = pod(name, "v1");
    template["metadata"]["labels"]["tier"] = json!("front");
    template["metadata"]["annotations"] = json!({ "example.test/scrape": "yes" });
    template["spec"]["terminationGracePeriodSeconds"] = json!(7);
    let container = &mut template["spec"]["containers"][0];
    container["env"] = json!([{ "name": "OLD", "value": "1" }, { "name": "BOTH", "value": "v1" }]);
    container["resources"] = json!({ "requests": { "cpu": "100m" } });
    deployment(name, 2, template)
}

/// v2 takes some of that away, changes some, and adds a sidecar, a volume and a variable.
fn second(name: &str) -> Value {
    let mut template = crashing(name, "v2");
    template["spec"]["volumes"] = json!([{ "name": "scratch", "emptyDir": {} }]);
    let container = &mut template["spec"]["containers"][0];
    container["env"] = json!([{ "name": "NEW", "value": "1" }, { "name": "BOTH", "value": "v2" }]);
    container["resources"] = json!({ "requests": { "cpu": "200m" }, "limits": { "cpu": "1" } });
    container["volumeMounts"] = json!([{ "name": "scratch", "mountPath": "/scratch" }]);
    template["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "sidecar", "image": "sidecar:v2" }));
    deployment(name, 2, template)
}

/// v3 knows neither what only v1 had nor what only v2 had.
fn third(name: &str) -> Value {
    let mut template = pod(name, "v3");
    template["spec"]["containers"][0]["env"] = json!([{ "name": "BOTH", "value": "v3" }]);
    deployment(name, 2, template)
}

fn template(place: &Place, name: &str) -> Value {
    place.get(&format!("deployment/{name}"))["spec"]["template"].clone()
}

#[test]
fn the_whole_template_comes_back_and_what_others_wrote_stays() {
    let place = Place::new("whole");
    place.platform("");
    place.roll_out(&first("api"));
    let good = template(&place, "api");
    place.put(&second("api"));
    place.until_it_crashes();
    place.kubectl(&["annotate", "deployment/api", "example.test/owner=shop"]);
    let report = place.roll_back(&["-o", "json"]).expect(0).json();
    assert_eq!(report["kind"], "Report", "{report:#}");
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let run = runs["items"][0]["run"].as_str().unwrap();
    assert_eq!(template(&place, "api"), good);
    let annotations = place.get("deployment/api")["metadata"]["annotations"].clone();
    assert_eq!(annotations["example.test/owner"], "shop");
    assert_eq!(
        annotations["kubernetes.io/change-cause"],
        format!("{run}: v2 crashes")
    );
}

#[test]
fn the_next_apply_after_a_rollback_makes_what_it_makes_where_nobody_rolled_back() {
    let place = Place::new("apply");
    place.platform("  workloads: [{name: api}]\n");
    for name in ["api", "twin"] {
        place.roll_out(&first(name));
        place.put(&second(name));
    }
    place.until_it_crashes();
    place.roll_back(&[]).expect(0);
    for name in ["api", "twin"] {
        place.put(&third(name));
    }
    let expected = template(&place, "twin").to_string().replace("twin", "api");
    assert_eq!(template(&place, "api").to_string(), expected);
}

#[test]
fn what_client_side_apply_remembers_is_never_made_where_it_was_not() {
    let place = Place::new("created");
    place.platform("");
    place.kubectl(&["create", "deployment", "api", "--image=api:v1"]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let bad = json!({ "spec": { "template": crashing("api", "v2") } }).to_string();
    place.kubectl(&["patch", "deployment", "api", "-p", &bad]);
    place.until_it_crashes();
    place.roll_back(&[]).expect(0);
    let api = place.get("deployment/api");
    assert_eq!(
        api["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
        Value::Null
    );
}

#[test]
fn every_kind_and_strategy_of_workload_goes_back_in_one_run() {
    let place = Place::new("kinds");
    place.platform("");
    let members = [
        (
            "Deployment",
            "recreate",
            json!({ "replicas": 2, "strategy": { "type": "Recreate" } }),
        ),
        ("Deployment", "zero", json!({ "replicas": 0 })),
        (
            "StatefulSet",
            "parallel",
            json!({ "replicas": 3, "serviceName": "parallel", "podManagementPolicy": "Parallel" }),
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
    place.until("a crash loop of each that runs", 60, |place| {
        let pods = place.kubectl(&["get", "pods"]);
        ["recreate", "parallel", "staged", "agent"].iter().all(|name| {
            pods.lines()
                .any(|line| line.starts_with(name) && line.contains("CrashLoopBackOff"))
        })
    });
    place.roll_back(&[]).expect(0);
    for (kind, name, _) in &members {
        let object = place.get(&format!("{kind}/{name}"));
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, &json!(format!("{name}:v1")));
    }
    let images = place.kubectl(&[
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ]);
    assert!(!images.contains("v2"), "{images}");
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn applied_by_the_server(place: &Place, object: &Value, more: &[&str]) -> bool {
    let file = place.file("server-side.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let words = [
        "apply",
        "--server-side",
        "--field-manager=pipeline",
        "-f",
        file.to_str().unwrap(),
    ];
    let tried = std::process::Command::new("kubectl")
        .args(["-n", &place.namespace])
        .args([&words[..], more].concat())
        .env("KUBECONFIG", crate::support::kubeconfig())
        .output()
        .unwrap();
    tried.status.success()
}

#[test]
fn after_server_side_apply_nothing_is_remembered_and_the_next_apply_takes_its_fields_back_by_force() {
    let place = Place::new("server-side");
    place.platform("  workloads: [{name: api}]\n");
    for name in ["api", "twin"] {
        assert!(applied_by_the_server(&place, &first(name), &[]));
        place.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ]);
    }
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for name in ["api", "twin"] {
        assert!(applied_by_the_server(&place, &second(name), &[]));
    }
    place.until_it_crashes();
    let done = place.roll_back(&[]).expect(0);
    says(&done, &["AST0229", "managed by pipeline", "--force-conflicts"]);
    let annotations = place.get("deployment/api")["metadata"]["annotations"].clone();
    assert_eq!(annotations[LAST_APPLIED], Value::Null);
    // The release that mends v2 has v1's fields.
    let mended = |name: &str| {
        let text = first(name).to_string().replace(":v1", ":v3");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert!(
        !applied_by_the_server(&place, &mended("api"), &[]),
        "it was said to conflict"
    );
    for name in ["api", "twin"] {
        assert!(applied_by_the_server(
            &place,
            &mended(name),
            &["--force-conflicts"]
        ));
    }
    let expected = template(&place, "twin").to_string().replace("twin", "api");
    assert_eq!(template(&place, "api").to_string(), expected);
}

#[test]
fn of_a_stateful_set_last_applied_comes_back_as_its_revision_remembers_it() {
    let place = Place::new("set-applied");
    place.platform("  workloads: [{name: db, kind: StatefulSet}]\n");
    let set = |object: Value, name: &str| {
        workload(
            "StatefulSet",
            name,
            object["spec"]["template"].clone(),
            json!({ "replicas": 1, "serviceName": name, "podManagementPolicy": "Parallel" }),
        )
    };
    for name in ["db", "twin"] {
        place.roll_out(&set(first(name), name));
        place.put(&set(second(name), name));
    }
    place.until("the crash loops", 60, |place| {
        place
            .kubectl(&["get", "pods"])
            .matches("CrashLoopBackOff")
            .count()
            == 2
    });
    place.roll_back(&[]).expect(0);
    let annotations = place.get("statefulset/db")["metadata"]["annotations"].clone();
    let remembered: Value = serde_json::from_str(annotations[LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(remembered["spec"]["template"], first("db")["spec"]["template"]);
    for name in ["db", "twin"] {
        place.put(&set(third(name), name));
    }
    let template = |name: &str| place.get(&format!("statefulset/{name}"))["spec"]["template"].clone();
    let expected = template("twin").to_string().replace("twin", "db");
    assert_eq!(template("db").to_string(), expected);
}

#[test]
fn a_container_of_another_name_than_its_workload_goes_back_with_the_whole_template_of_every_member() {
    let place = Place::new("other-names");
    place.platform("");
    let release = |version: &str, crash: bool| {
        for (name, container) in [("shop", "main"), ("basket", "server")] {
            let mut labels = json!({"app": name});
            if crash {
                labels["kwok.astern.dev/crash-loop"] = json!("true");
            }
            place.apply(
                &json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                        "metadata": {"labels": labels},
                        "spec": {
                            "initContainers": [{"name": "setup", "image": format!("setup:{version}")}],
                            "containers": [
                                {"name": container, "image": format!("{name}:{version}"), "env": [{"name": "OF", "value": version}]},
                                {"name": "proxy", "image": format!("proxy:{version}")},
                            ],
                        },
                    }},
                })
                .to_string(),
            );
        }
    };
    release("v1", false);
    for name in ["shop", "basket"] {
        place.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ]);
    }
    let good = ["shop", "basket"].map(|name| template(&place, name));
    let words = ["--version", "1.0", "--good", "--reason", "it serves"];
    place
        .astern(&[&["releases", "record"][..], &words].concat())
        .expect(0);
    release("v2", true);
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    place
        .astern(&["rollback", "--yes", "--reason", "v2 crashes", "--to", "1.0"])
        .expect(0);
    assert_eq!(["shop", "basket"].map(|name| template(&place, name)), good);
    assert_eq!(good[0]["spec"]["containers"][0]["name"], "main");
}
