//! What stands in the way of a rollback, or must be known before it: each told by name, before anything is changed.

use crate::manifest::{CRASHES, crashing, deployment, pod, refused, says, workload};
use crate::support::{Place, kubeconfig};
use serde_json::json;
use std::process::Command;

/// v1 of api, then v2, which replaced it whole and crashes now.
fn replaced(place: &Place) {
    for version in ["v1", "v2"] {
        place.roll_out(&deployment("api", 1, pod("api", version)));
    }
    place.until("v1 to be gone", 30, |place| place.pods().len() == 1);
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    place.until_it_crashes();
}

#[test]
fn whatever_the_old_template_refers_to_and_is_gone_is_named() {
    let place = Place::new("references");
    place.platform("");
    place.kubectl(&["create", "secret", "generic", "keys", "--from-literal=other=x"]);
    let key = json!({ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "token" } } });
    let claim = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } });
    let cases = [
        (
            "secret",
            "/spec/containers/0/env",
            json!([key]),
            ["secret/keys", "token"],
        ),
        (
            "account",
            "/spec/serviceAccountName",
            json!("robot"),
            ["serviceaccount/robot", "serviceAccountName"],
        ),
        (
            "claim",
            "/spec/volumes",
            json!([claim]),
            ["persistentvolumeclaim/data", "volume data"],
        ),
        (
            "priority",
            "/spec/priorityClassName",
            json!("urgent-t"),
            ["priorityclass/urgent-t", "priorityClassName"],
        ),
    ];
    // None of them has pods: what cannot start need not.
    for (name, at, value, _) in &cases {
        let mut old = pod(name, "v1");
        let (parent, field) = at.rsplit_once('/').unwrap();
        old.pointer_mut(parent).unwrap()[field] = value.clone();
        place.put(&deployment(name, 0, old));
        place.until("its revision", 30, |place| {
            place
                .kubectl(&["get", "replicasets", "-l", &format!("app={name}")])
                .contains(name)
        });
        place.put(&deployment(name, 0, pod(name, "v2")));
        place.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ]);
    }
    for (name, _, _, words) in &cases {
        let target = format!("deployment/{name} at v1");
        let said = [&["AST0214", target.as_str()][..], &words[..]].concat();
        refused(&place, &said, |place| {
            place.roll_back(&["--only", name, "--to", &format!("{name}=1")])
        });
    }
}

#[test]
fn owners_that_write_back_or_are_at_work_refuse_with_the_ways_out() {
    let place = Place::new("owners");
    place.platform("");
    for name in ["flux", "helm"] {
        place.bad_release(name, 1);
    }
    let label = "kustomize.toolkit.fluxcd.io/name=shop";
    let home = format!("kustomize.toolkit.fluxcd.io/namespace={}", place.namespace);
    place.kubectl(&["label", "deployment/flux", label, &home]);
    let words = [
        "AST0227",
        "Flux Kustomization shop",
        "flux suspend kustomization shop",
        "--accept-revert shop",
    ];
    refused(&place, &words, |place| place.roll_back(&["--only", "flux"]));
    place.kubectl(&["label", "deployment/helm", "app.kubernetes.io/managed-by=Helm"]);
    place.kubectl(&[
        "annotate",
        "deployment/helm",
        "meta.helm.sh/release-name=shop-release",
    ]);
    place.put(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": "sh.helm.release.v1.shop-release.v2",
            "labels": { "owner": "helm", "name": "shop-release", "version": "2", "status": "pending-upgrade" },
        },
    }));
    let words = [
        "AST0219",
        "Helm release shop-release",
        "pending-upgrade",
        "--accept-revert shop-release",
    ];
    refused(&place, &words, |place| place.roll_back(&["--only", "helm"]));
    place
        .roll_back(&["--only", "helm", "--accept-revert", "shop-release"])
        .expect(0);
    assert_eq!(place.image("helm"), "helm:v1");
}

#[test]
fn a_partition_that_would_keep_pods_on_another_version_refuses_in_the_order_that_is_safe() {
    let place = Place::new("partition");
    place.platform("");
    let set = |version: &str, partition: u32| {
        let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } });
        let more = json!({ "replicas": 3, "serviceName": "db", "updateStrategy": strategy });
        workload("StatefulSet", "db", pod("db", version), more)
    };
    for (version, partition) in [("v1", 0), ("v2", 0), ("v3", 2)] {
        place.put(&set(version, partition));
        let image = format!("image: db:{version}");
        place.until("its pods", 60, |place| {
            let pods = place.kubectl(&["get", "pods", "-o", "yaml"]);
            let status = place.get("statefulset/db")["status"]["readyReplicas"].clone();
            pods.contains(&image) && status == 3
        });
    }
    let done = refused(&place, &["AST0108", "pod/db-0", "pod/db-1"], |place| {
        place.roll_back(&["--to", "statefulset/db=1"])
    });
    let (undo, patch) = (
        done.err.find("kubectl rollout undo"),
        done.err.find("kubectl patch"),
    );
    assert!(undo.is_some() && undo < patch, "{}", done.err);
}

#[test]
fn what_is_only_presumed_good_is_refused_to_whom_the_policy_does_not_allow_it() {
    let place = Place::new("presumed");
    place.platform("");
    place.policy("acceptPresumed: [person]");
    replaced(&place);
    let words = ["AST0104", "--yes", "--to api=1"];
    refused(&place, &words, |place| place.roll_back(&[]));
    place.roll_back(&["--to", "api=1"]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_tag_that_the_owners_say_moves_is_said() {
    let place = Place::new("tags");
    place.platform("");
    replaced(&place);
    let said = |place: &Place| place.astern(&["plan"]).expect(0).out.contains("AST0216");
    assert!(!said(&place));
    place.policy("mutableTags: [v1]");
    assert!(said(&place));
}

#[test]
fn a_digest_names_the_revision_whose_pods_run_it_or_whose_template_pins_it() {
    let place = Place::new("digest");
    place.platform("");
    let pinned = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let mut first = pod("api", "v0");
    first["spec"]["containers"][0]["image"] = json!(format!("api@{pinned}"));
    place.roll_out(&deployment("api", 1, first));
    place.roll_out(&deployment("api", 1, pod("api", "v1")));
    place.put(&deployment("api", 1, crashing("api", "v2")));
    place.until_it_crashes();
    let path =
        "jsonpath={.items[?(@.spec.containers[0].image==\"api:v1\")].status.containerStatuses[0].imageID}";
    let id = place.kubectl(&["get", "pods", "-o", path]);
    let running = id.split('@').nth(1).unwrap_or_else(|| panic!("no digest: {id}"));
    for (digest, revision) in [(pinned.as_str(), 1), (&pinned[..15], 1), (running, 2)] {
        let plan = place
            .astern(&["plan", "--to", &format!("api={digest}"), "-o", "json"])
            .expect(0)
            .json();
        assert_eq!(
            plan["choices"][0]["good"]["revision"]["number"], revision,
            "{digest}: {plan:#}"
        );
    }
    let unknown = format!("api=sha256:{}", "f".repeat(64));
    refused(&place, &["AST0106"], |place| place.roll_back(&["--to", &unknown]));
}

#[test]
fn when_nothing_fails_the_newest_release_goes_back_only_on_somebodys_word() {
    let place = Place::new("healthy");
    place.platform("");
    for version in ["v1", "v2"] {
        place.roll_out(&deployment("api", 1, pod("api", version)));
    }
    place.until("v1 to be gone", 30, |place| place.pods().len() == 1);
    let plan = place.astern(&["plan"]).expect(0);
    says(
        &plan,
        &["the matrix asks (all-healthy)", "nothing that can be seen fails"],
    );
    let before = place.standing();
    let nobody = place
        .astern(&["rollback", "--reason", "customers call"])
        .expect(2);
    says(&nobody, &["nobody is there to be asked", "--yes"]);
    assert_eq!(place.standing(), before);
    place.roll_back(&[]).expect(0);
    let report = place.astern(&["report", "-o", "json"]).expect(0);
    says(&report, &["all-healthy: nothing wrong can be seen"]);
}

#[test]
fn an_autoscaler_at_its_maximum_is_said() {
    let place = Place::new("maximum");
    place.platform("");
    place.bad_release("api", 2);
    place.put(&json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "api" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" },
            "minReplicas": 1,
            "maxReplicas": 2,
        },
    }));
    let status = json!({ "status": { "currentReplicas": 2, "desiredReplicas": 2 } }).to_string();
    place.until("the autoscaler at its maximum", 30, |place| {
        place.kubectl(&[
            "patch",
            "hpa/api",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ]);
        let plan = place.astern(&["plan"]).expect(0);
        plan.out.contains("AST0224") && plan.out.contains("at its maximum of 2")
    });
}

/// A node that takes no pods and that nothing else uses; it goes with the test.
struct Cordoned(String);

impl Cordoned {
    fn new(place: &Place) -> Self {
        let name = format!("cordoned-{}", place.namespace);
        let taint = json!({ "key": "astern.example.test/nobody", "effect": "NoSchedule" });
        place.put(&json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name },
            "spec": { "unschedulable": true, "taints": [taint] },
        }));
        Self(name)
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        let _ = Command::new("kubectl")
            .args(["delete", "node", &self.0, "--wait=false"])
            .env("KUBECONFIG", kubeconfig())
            .output();
    }
}

#[test]
fn a_cordoned_node_is_said() {
    let place = Place::new("cordoned");
    place.platform("");
    place.bad_release("api", 1);
    let node = Cordoned::new(&place);
    says(
        &place.astern(&["plan"]).expect(0),
        &["AST0226", &node.0, "kubectl uncordon"],
    );
}
