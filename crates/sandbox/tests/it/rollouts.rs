//! Controllers: how workloads roll, stop, and come back.

use crate::support::{MERGE, Sandbox, condition, workload};
use astern_sandbox::{Behaviour, Crash, Image, Ready};
use jiff::SignedDuration;
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const SETS: &str = "/apis/apps/v1/namespaces/shop/statefulsets";
const DB: &str = "/apis/apps/v1/namespaces/shop/statefulsets/db";

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

fn crashing() -> Behaviour {
    Behaviour {
        crash: Some(Crash {
            after: SignedDuration::from_secs(1),
            code: 3,
        }),
        ready: Ready::Never,
        ..Behaviour::default()
    }
}

fn missing() -> Behaviour {
    Behaviour {
        image: Image::Missing,
        ..Behaviour::default()
    }
}

#[test]
fn a_deployment_rolls_out_and_says_so() {
    let mut sandbox = Sandbox::new();
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 3));
    sandbox.settle();
    let begun = sandbox.read(WEB);
    assert!(condition(&begun, "Progressing").starts_with("True ReplicaSetUpdated: ReplicaSet \"web-"));
    assert_eq!(begun["status"]["unavailableReplicas"], 3);
    sandbox.pass(5);
    let web = sandbox.read(WEB);
    assert_eq!(web["status"]["availableReplicas"], 3);
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    assert!(condition(&web, "Progressing").starts_with("True NewReplicaSetAvailable"));
    assert!(condition(&web, "Available").starts_with("True MinimumReplicasAvailable"));
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["web:v2 Running ready"; 3]);
}

#[test]
fn a_crashing_release_keeps_the_old_pods_and_exceeds_its_deadline() {
    let mut sandbox = Sandbox::behaving(&[("web:v2", crashing())]);
    let mut web = workload("Deployment", "web", "web:v1", 4);
    web["spec"]["progressDeadlineSeconds"] = 60.into();
    sandbox.create(DEPLOYMENTS, web);
    sandbox.pass(5);
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.pass(30);
    let mut pods = sandbox.pods();
    pods.sort();
    assert_eq!(
        pods,
        [
            "web:v1 Running ready",
            "web:v1 Running ready",
            "web:v1 Running ready",
            "web:v2 Running CrashLoopBackOff",
            "web:v2 Running CrashLoopBackOff",
        ]
    );
    sandbox.pass(60);
    let web = sandbox.read(WEB);
    let told = condition(&web, "Progressing");
    assert!(told.starts_with("False ProgressDeadlineExceeded"), "{told}");
    assert!(told.ends_with("has timed out progressing."), "{told}");
    let list = sandbox.read("/api/v1/namespaces/shop/pods");
    let crashed = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|pod| pod["spec"]["containers"][0]["image"] == "web:v2")
        .unwrap();
    let status = &crashed["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    // Restarts at once, then after 10, 20 and 40 seconds.
    assert_eq!(status["restartCount"], 4);
}

#[test]
fn a_rollback_takes_the_former_replicaset_and_gives_it_a_new_number() {
    let mut sandbox = Sandbox::behaving(&[("web:v2", missing())]);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    sandbox.pass(5);
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.pass(15);
    assert!(
        sandbox
            .pods()
            .contains(&"web:v2 Pending ImagePullBackOff".to_owned())
    );
    sandbox.patch(WEB, MERGE, image("web:v1"));
    sandbox.pass(15);
    assert_eq!(sandbox.pods(), ["web:v1 Running ready"; 2]);
    let sets = sandbox.read("/apis/apps/v1/namespaces/shop/replicasets");
    let mut told: Vec<String> = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| {
            let annotations = &set["metadata"]["annotations"];
            format!(
                "{} {} formerly {}",
                set["spec"]["template"]["spec"]["containers"][0]["image"]
                    .as_str()
                    .unwrap(),
                annotations["deployment.kubernetes.io/revision"].as_str().unwrap(),
                annotations["deployment.kubernetes.io/revision-history"]
                    .as_str()
                    .unwrap_or("-"),
            )
        })
        .collect();
    told.sort();
    assert_eq!(told, ["web:v1 3 formerly 1", "web:v2 2 formerly -"]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut sandbox = Sandbox::new();
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    sandbox.pass(5);
    sandbox.patch(WEB, MERGE, json!({"spec": {"paused": true}}));
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.patch(WEB, MERGE, json!({"spec": {"replicas": 3}}));
    sandbox.pass(5);
    assert_eq!(sandbox.pods(), ["web:v1 Running ready"; 3]);
    let web = sandbox.read(WEB);
    assert_eq!(
        condition(&web, "Progressing"),
        "Unknown DeploymentPaused: Deployment is paused"
    );
    sandbox.patch(WEB, MERGE, json!({"spec": {"paused": false}}));
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["web:v2 Running ready"; 3]);
}

#[test]
fn recreate_ends_all_old_pods_first() {
    let mut sandbox = Sandbox::new();
    let mut web = workload("Deployment", "web", "web:v1", 2);
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    sandbox.create(DEPLOYMENTS, web);
    sandbox.pass(5);
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.settle();
    assert_eq!(sandbox.pods(), ["web:v1 Running ready terminating"; 2]);
    sandbox.pass(5);
    assert_eq!(sandbox.pods(), ["web:v2 Running ready"; 2]);
}

#[test]
fn a_statefulset_rolls_from_the_highest_ordinal_down_and_stays_stuck_on_a_broken_pod() {
    let mut sandbox = Sandbox::behaving(&[("db:v2", crashing())]);
    sandbox.create(SETS, workload("StatefulSet", "db", "db:v1", 3));
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["db:v1 Running ready"; 3]);
    sandbox.patch(DB, MERGE, image("db:v2"));
    sandbox.pass(30);
    let stuck = [
        "db:v1 Running ready",
        "db:v1 Running ready",
        "db:v2 Running CrashLoopBackOff",
    ];
    assert_eq!(sandbox.pods(), stuck);
    // The template is right again, and the broken pod still has to be deleted by hand.
    sandbox.patch(DB, MERGE, image("db:v1"));
    sandbox.pass(2);
    assert_eq!(sandbox.pods(), stuck);
    sandbox.delete("/api/v1/namespaces/shop/pods/db-2", Value::Null);
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["db:v1 Running ready"; 3]);
    let db = sandbox.read(DB);
    assert_eq!(db["status"]["currentRevision"], db["status"]["updateRevision"]);
    let revisions = sandbox.read("/apis/apps/v1/namespaces/shop/controllerrevisions");
    let mut told: Vec<String> = revisions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| {
            let template = &revision["data"]["spec"]["template"];
            assert_eq!(template["$patch"], "replace");
            format!(
                "{} {}",
                template["spec"]["containers"][0]["image"].as_str().unwrap(),
                revision["revision"]
            )
        })
        .collect();
    told.sort();
    assert_eq!(told, ["db:v1 3", "db:v2 2"]);
}

#[test]
fn a_partition_keeps_the_pods_below_it() {
    let mut sandbox = Sandbox::new();
    let mut db = workload("StatefulSet", "db", "db:v1", 3);
    db["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    sandbox.create(SETS, db);
    sandbox.pass(10);
    sandbox.patch(DB, MERGE, image("db:v2"));
    sandbox.pass(10);
    assert_eq!(
        sandbox.pods(),
        [
            "db:v1 Running ready",
            "db:v1 Running ready",
            "db:v2 Running ready"
        ]
    );
    let db = sandbox.read(DB);
    assert_eq!(db["status"]["updatedReplicas"], 1);
    assert_eq!(db["status"]["currentReplicas"], 2);
}

#[test]
fn a_daemonset_has_a_pod_on_every_node_and_replaces_one_at_a_time() {
    let mut sandbox = Sandbox::behaving(&[("agent:v2", missing())]);
    let sets = "/apis/apps/v1/namespaces/shop/daemonsets";
    let mut agent = workload("DaemonSet", "agent", "agent:v1", 0);
    agent["spec"].as_object_mut().unwrap().remove("replicas");
    sandbox.create(sets, agent);
    sandbox.pass(5);
    assert_eq!(sandbox.pods(), ["agent:v1 Running ready"; 3]);
    sandbox.patch(&format!("{sets}/agent"), MERGE, image("agent:v2"));
    sandbox.pass(20);
    let mut pods = sandbox.pods();
    pods.sort();
    assert_eq!(pods[..2], ["agent:v1 Running ready"; 2]);
    assert!(pods[2].starts_with("agent:v2 Pending"), "{pods:?}");
    sandbox.patch(&format!("{sets}/agent"), MERGE, image("agent:v1"));
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["agent:v1 Running ready"; 3]);
}

#[test]
fn a_pod_that_no_node_has_room_for_says_why_and_goes_on_when_there_is_room() {
    let mut sandbox = Sandbox::new();
    let mut web = workload("Deployment", "web", "web:v1", 4);
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "6"}});
    sandbox.create(DEPLOYMENTS, web);
    sandbox.pass(5);
    let list = sandbox.read("/api/v1/namespaces/shop/pods?fieldSelector=status.phase%3DPending");
    let told = condition(&list["items"][0], "PodScheduled");
    assert_eq!(
        told,
        "False Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 \
         nodes are available: 3 No preemption victims found for incoming pod."
    );
    let node = json!({"metadata": {"name": "node-4"}});
    sandbox.create("/api/v1/nodes", node);
    let room = json!({"status": {"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "10"}}});
    sandbox.patch("/api/v1/nodes/node-4/status", MERGE, room);
    sandbox.pass(5);
    assert_eq!(sandbox.pods(), ["web:v1 Running ready"; 4]);
}

#[test]
fn a_quota_refuses_pods_and_the_deployment_says_so() {
    let mut sandbox = Sandbox::new();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}});
    sandbox.create("/api/v1/namespaces/shop/resourcequotas", quota);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 3));
    sandbox.pass(5);
    let web = sandbox.read(WEB);
    let told = condition(&web, "ReplicaFailure");
    assert!(told.starts_with("True FailedCreate: pods \"web-"), "{told}");
    assert!(
        told.ends_with("is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        "{told}"
    );
    let quota = sandbox.read("/api/v1/namespaces/shop/resourcequotas/q");
    assert_eq!(quota["status"]["used"]["pods"], "2");
}

#[test]
fn deleting_a_deployment_takes_its_pods_along_or_leaves_them() {
    let pods = |policy: &str| {
        let mut sandbox = Sandbox::new();
        sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
        sandbox.pass(5);
        sandbox.delete(WEB, json!({"propagationPolicy": policy}));
        sandbox.pass(5);
        assert_eq!(sandbox.get(WEB).0, 404);
        sandbox.pods().len()
    };
    assert_eq!(pods("Background"), 0);
    assert_eq!(pods("Foreground"), 0);
    assert_eq!(pods("Orphan"), 2);
}

#[test]
fn a_namespace_ends_with_all_that_is_in_it() {
    let mut sandbox = Sandbox::new();
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    sandbox.pass(5);
    sandbox.delete("/api/v1/namespaces/shop", Value::Null);
    let (code, refused) = sandbox.post(DEPLOYMENTS, workload("Deployment", "late", "web:v1", 1));
    assert_eq!((code, &refused["reason"]), (403, &json!("Forbidden")));
    sandbox.pass(5);
    assert_eq!(sandbox.get("/api/v1/namespaces/shop").0, 404);
}

#[test]
fn a_service_reaches_the_pods_that_are_ready() {
    let mut sandbox = Sandbox::behaving(&[(
        "web:v1",
        Behaviour {
            ready: Ready::After(SignedDuration::from_secs(20)),
            ..Behaviour::default()
        },
    )]);
    let service =
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    sandbox.create("/api/v1/namespaces/shop/services", service);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    sandbox.pass(5);
    let count =
        |endpoints: &Value, field: &str| endpoints["subsets"][0][field].as_array().map_or(0, Vec::len);
    let endpoints = sandbox.read("/api/v1/namespaces/shop/endpoints/web");
    assert_eq!(
        (
            count(&endpoints, "addresses"),
            count(&endpoints, "notReadyAddresses")
        ),
        (0, 2)
    );
    sandbox.pass(20);
    let endpoints = sandbox.read("/api/v1/namespaces/shop/endpoints/web");
    assert_eq!(
        (
            count(&endpoints, "addresses"),
            count(&endpoints, "notReadyAddresses")
        ),
        (2, 0)
    );
}

#[test]
fn a_workload_is_ready_when_the_one_that_it_needs_is() {
    let mut sandbox = Sandbox::behaving(&[(
        "web:v1",
        Behaviour {
            ready: Ready::While {
                resource: "deployments.apps".to_owned(),
                name: "db".to_owned(),
            },
            ..Behaviour::default()
        },
    )]);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 1));
    sandbox.pass(30);
    assert_eq!(sandbox.pods(), ["web:v1 Running"]);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "db", "db:v1", 1));
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["db:v1 Running ready", "web:v1 Running ready"]);
}

#[test]
fn old_replicasets_are_forgotten_beyond_the_limit() {
    let mut sandbox = Sandbox::new();
    let mut web = workload("Deployment", "web", "web:v1", 1);
    web["spec"]["revisionHistoryLimit"] = 2.into();
    sandbox.create(DEPLOYMENTS, web);
    for version in 2..=6 {
        sandbox.pass(10);
        sandbox.patch(WEB, MERGE, image(&format!("web:v{version}")));
    }
    sandbox.pass(10);
    let sets = sandbox.read("/apis/apps/v1/namespaces/shop/replicasets");
    assert_eq!(sets["items"].as_array().unwrap().len(), 3);
}

#[test]
fn a_scale_in_the_middle_of_a_rollout_is_shared_out() {
    let mut sandbox = Sandbox::behaving(&[("web:v2", missing())]);
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 10));
    sandbox.pass(5);
    sandbox.patch(WEB, MERGE, image("web:v2"));
    sandbox.pass(5);
    // 10 asked for, 3 above, 2 below: 8 old and 5 new.
    sandbox.patch(WEB, MERGE, json!({"spec": {"replicas": 15}}));
    sandbox.pass(5);
    let pods = sandbox.pods();
    let count = |image: &str| pods.iter().filter(|pod| pod.starts_with(image)).count();
    assert_eq!((count("web:v1"), count("web:v2")), (12, 7), "{pods:?}");
}

#[test]
fn a_copy_of_a_cluster_goes_on_where_the_other_stands() {
    let rules = [("web:v2", crashing())];
    let mut live = Sandbox::behaving(&rules);
    live.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    live.create(SETS, workload("StatefulSet", "db", "db:v1", 1));
    live.pass(10);
    live.patch(WEB, MERGE, image("web:v2"));
    live.pass(30);
    let mut copied = Vec::new();
    for (path, kind) in [
        ("/api/v1/namespaces/shop/pods", "v1 Pod"),
        (DEPLOYMENTS, "apps/v1 Deployment"),
        ("/apis/apps/v1/namespaces/shop/replicasets", "apps/v1 ReplicaSet"),
        (SETS, "apps/v1 StatefulSet"),
        (
            "/apis/apps/v1/namespaces/shop/controllerrevisions",
            "apps/v1 ControllerRevision",
        ),
    ] {
        let (version, kind) = kind.split_once(' ').unwrap();
        for mut object in live.read(path)["items"].as_array().cloned().unwrap() {
            object["apiVersion"] = version.into();
            object["kind"] = kind.into();
            copied.push(object);
        }
    }
    let mut copy = Sandbox::behaving(&rules);
    copy.now = live.now;
    assert!(copy.cluster.load(copied).is_empty());
    copy.settle();
    let sorted = |sandbox: &mut Sandbox| {
        let mut pods = sandbox.pods();
        pods.sort();
        pods
    };
    assert_eq!(sorted(&mut copy), sorted(&mut live));
    let uid = |sandbox: &mut Sandbox| sandbox.read(WEB)["metadata"]["uid"].clone();
    assert_eq!(uid(&mut copy), uid(&mut live));
    copy.patch(WEB, MERGE, image("web:v1"));
    copy.pass(10);
    assert_eq!(
        sorted(&mut copy),
        [
            "db:v1 Running ready",
            "web:v1 Running ready",
            "web:v1 Running ready"
        ]
    );
    assert!(sorted(&mut live).contains(&"web:v2 Running CrashLoopBackOff".to_owned()));
}

#[test]
fn a_snapshot_goes_its_own_way() {
    let mut sandbox = Sandbox::new();
    sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 2));
    sandbox.pass(10);
    let mut snapshot = Sandbox {
        cluster: sandbox.cluster.clone(),
        now: sandbox.now,
    };
    snapshot.patch(WEB, MERGE, image("web:v2"));
    snapshot.pass(10);
    assert_eq!(snapshot.pods(), ["web:v2 Running ready"; 2]);
    sandbox.pass(10);
    assert_eq!(sandbox.pods(), ["web:v1 Running ready"; 2]);
}

#[test]
fn a_claim_outlives_its_pod_and_goes_when_it_is_deleted() {
    let mut sandbox = Sandbox::new();
    let mut db = workload("StatefulSet", "db", "db:v1", 1);
    db["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    sandbox.create(SETS, db);
    sandbox.pass(10);
    let claim = "/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0";
    assert_eq!(sandbox.read(claim)["status"]["phase"], "Bound");
    sandbox.delete(claim, Value::Null);
    sandbox.pass(10);
    // Its pod still uses it.
    assert!(!sandbox.read(claim)["metadata"]["deletionTimestamp"].is_null());
    sandbox.patch(DB, MERGE, json!({"spec": {"replicas": 0}}));
    sandbox.pass(10);
    assert_eq!(sandbox.get(claim).0, 404);
}

#[test]
fn what_is_due_is_done_in_parts_as_it_is_done_at_once() {
    let run = |most: usize| {
        let mut sandbox = Sandbox::new();
        sandbox.create(DEPLOYMENTS, workload("Deployment", "web", "web:v1", 3));
        sandbox.create(SETS, workload("StatefulSet", "db", "db:v1", 2));
        let later = sandbox.now + SignedDuration::from_secs(10);
        let mut parts = 1;
        while !sandbox.cluster.advance_by(later, most) {
            parts += 1;
        }
        (
            parts > 1,
            sandbox.read("/api/v1/namespaces/shop/pods").to_string(),
        )
    };
    let (in_parts, pods) = run(1);
    assert!(in_parts);
    assert_eq!((false, pods), run(usize::MAX));
}
