//! Requests that the sandbox and a real kube-apiserver must answer alike.

use crate::replay::{JSON_PATCH, MERGE, STRATEGIC, delete, get, patch, post, put, replay};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/{ns}/configmaps";
const MAP: &str = "/api/v1/namespaces/{ns}/configmaps/a";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/{ns}/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/{ns}/deployments/web";

fn map() -> Value {
    json!({"metadata": {"name": "a"}, "data": {"key": "1"}})
}

/// Nothing of it runs, so that no controller writes while it is compared.
fn workload(kind: &str) -> Value {
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "nodeSelector": {"nowhere": "true"},
                    "containers": [{"name": "app", "image": "web"}],
                },
            },
        },
    });
    if kind != "DaemonSet" {
        workload["spec"]["replicas"] = 0.into();
    }
    workload
}

#[tokio::test]
async fn config_maps_are_written_and_refused_alike() {
    let numbered =
        |version: &str| json!({"metadata": {"name": "a", "resourceVersion": version}, "data": {"key": "9"}});
    replay(
        "maps",
        vec![
            get(MAP),
            post(MAPS, map()),
            post(MAPS, map()),
            post(
                "/api/v1/namespaces/{ns}/configmaps?dryRun=All",
                json!({"metadata": {"name": "dry"}}),
            ),
            get("/api/v1/namespaces/{ns}/configmaps/dry"),
            post(MAPS, json!({"metadata": {"name": "A_b"}})),
            post(MAPS, json!({"metadata": {}})),
            post(MAPS, json!({"metadata": {"name": "b", "namespace": "elsewhere"}})),
            post(MAPS, json!({"metadata": {"name": "b", "resourceVersion": "1"}})),
            post("/api/v1/namespaces/nowhere-at-all/configmaps", map()),
            put(MAP, json!({"metadata": {"name": "b"}})),
            put(MAP, numbered("1")),
            put(MAP, json!({"metadata": {"name": "a", "uid": "other"}})),
            put(
                "/api/v1/namespaces/{ns}/configmaps/none",
                json!({"metadata": {"name": "none"}}),
            ),
            put(
                MAP,
                json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"key": "2"}}),
            ),
            patch(MAP, MERGE, json!({"data": {"more": "3", "key": null}})),
            patch(MAP, STRATEGIC, json!({"metadata": {"labels": {"x": null}}})),
            patch(
                MAP,
                JSON_PATCH,
                json!([{"op": "add", "path": "/data/third", "value": "4"}]),
            ),
            patch(
                MAP,
                JSON_PATCH,
                json!([{"op": "test", "path": "/data/third", "value": "5"}]),
            ),
            patch(
                MAP,
                MERGE,
                json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}}),
            ),
            patch(MAP, "text/plain", json!({})),
            get("/api/v1/namespaces/{ns}/configmaps?labelSelector=x%3Dy"),
            get("/api/v1/namespaces/{ns}/configmaps?fieldSelector=metadata.name%3Da"),
            get("/api/v1/namespaces/{ns}/configmaps?fieldSelector=foo%3Dbar"),
            get("/api/v1/namespaces/{ns}/configmaps?resourceVersion=99999999999"),
            delete(MAP, json!({"preconditions": {"resourceVersion": "1"}})),
            delete(MAP, Value::Null),
            delete(MAP, Value::Null),
        ],
    )
    .await;
}

#[tokio::test]
async fn immutable_config_maps_are_kept_alike() {
    let kept = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"key": "1"}});
    replay(
        "kept",
        vec![
            post(MAPS, kept),
            patch(MAP, MERGE, json!({"data": {"key": "2"}})),
            patch(MAP, MERGE, json!({"immutable": false})),
            patch(MAP, MERGE, json!({"metadata": {"labels": {"a": "b"}}})),
            delete(MAP, Value::Null),
        ],
    )
    .await;
}

#[tokio::test]
async fn unknown_paths_and_verbs_are_refused_alike() {
    replay(
        "paths",
        vec![
            get("/apis/nothing.example/v1"),
            get("/apis/nothing.example/v1/namespaces/{ns}/widgets"),
            get("/api/v1/namespaces/{ns}/widgets"),
            post("/api/v1/configmaps", map()),
            patch(MAPS, MERGE, json!({})),
            put(MAPS, map()),
            post(
                MAPS,
                json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}),
            ),
            post(
                MAPS,
                json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "a"}}),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn deployments_get_equal_defaults_and_refusals() {
    let selector = json!({"spec": {
        "selector": {"matchLabels": {"app": "other"}},
        "template": {"metadata": {"labels": {"app": "other"}}},
    }});
    let mut mismatched = workload("Deployment");
    mismatched["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let mut bare = workload("Deployment");
    bare["spec"] = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}});
    let mut full = workload("Deployment");
    full["metadata"]["name"] = "full".into();
    full["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    full["spec"]["template"]["spec"] = json!({
        "serviceAccountName": "builder",
        "initContainers": [{"name": "init", "image": "busybox:1"}],
        "containers": [{
            "name": "app",
            "image": "registry:5000/web@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "ports": [{"containerPort": 80}],
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"port": 80}},
            "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 3},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        }],
        "volumes": [
            {"name": "a", "configMap": {"name": "a"}},
            {"name": "b", "secret": {"secretName": "b"}},
            {"name": "c"},
            {"name": "d", "hostPath": {"path": "/d"}},
            {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ],
    });
    replay(
        "deploy",
        vec![
            post(
                "/apis/apps/v1/namespaces/{ns}/deployments?dryRun=All",
                workload("Deployment"),
            ),
            post("/apis/apps/v1/namespaces/{ns}/deployments?dryRun=All", full),
            post(DEPLOYMENTS, mismatched),
            post(DEPLOYMENTS, bare),
            post(DEPLOYMENTS, workload("Deployment")),
            post(DEPLOYMENTS, workload("Deployment")),
            patch(WEB, MERGE, selector),
            patch(WEB, MERGE, json!({"metadata": {"resourceVersion": "1"}})),
            patch(WEB, MERGE, json!({"spec": {"replicas": -1}})),
            patch(
                WEB,
                MERGE,
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
            ),
            get("/apis/apps/v1/namespaces/{ns}/deployments/none"),
            get("/apis/apps/v1/namespaces/{ns}/deployments/none/scale"),
            get("/apis/apps/v1/namespaces/{ns}/deployments?fieldSelector=foo%3Dbar"),
            delete(WEB, json!({"preconditions": {"uid": "other"}})),
            delete(WEB, json!({"propagationPolicy": "Sideways"})),
        ],
    )
    .await;
}

#[tokio::test]
async fn other_workloads_get_equal_defaults() {
    let mut set = workload("StatefulSet");
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    replay(
        "kinds",
        vec![
            post("/apis/apps/v1/namespaces/{ns}/statefulsets?dryRun=All", workload("StatefulSet")),
            post("/apis/apps/v1/namespaces/{ns}/statefulsets?dryRun=All", set),
            post("/apis/apps/v1/namespaces/{ns}/daemonsets?dryRun=All", workload("DaemonSet")),
            post("/apis/apps/v1/namespaces/{ns}/replicasets?dryRun=All", workload("ReplicaSet")),
            post(
                "/api/v1/namespaces/{ns}/services?dryRun=All",
                json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
            ),
            post(
                "/api/v1/namespaces/{ns}/secrets?dryRun=All",
                json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}}),
            ),
            post(
                "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases?dryRun=All",
                json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn pods_get_equal_defaults_and_refusals() {
    const PODS: &str = "/api/v1/namespaces/{ns}/pods";
    const POD: &str = "/api/v1/namespaces/{ns}/pods/a";
    let pod = json!({"metadata": {"name": "a"}, "spec": {
        "schedulerName": "nobody",
        "containers": [{"name": "app", "image": "web:v1", "resources": {"requests": {"cpu": "100m"}}}],
    }});
    replay(
        "pods",
        vec![
            post(PODS, pod.clone()),
            post(
                PODS,
                json!({"metadata": {"name": "b"}, "spec": {"containers": []}}),
            ),
            post(
                PODS,
                json!({"metadata": {"name": "b"}, "spec": {"containers": [{"image": "web:v1"}]}}),
            ),
            patch(
                POD,
                STRATEGIC,
                json!({"spec": {"containers": [{"name": "app", "image": "web:v2"}]}}),
            ),
            patch(POD, MERGE, json!({"spec": {"restartPolicy": "Never"}})),
            patch(POD, MERGE, json!({"metadata": {"labels": {"a": "b"}}})),
            get("/api/v1/namespaces/{ns}/pods?fieldSelector=status.phase%3DPending,spec.nodeName%3D"),
            get("/api/v1/namespaces/{ns}/pods?fieldSelector=foo%3Dbar"),
            get("/api/v1/namespaces/{ns}/pods/none/log"),
            delete(POD, json!({"preconditions": {"uid": "other"}})),
            delete(POD, json!({"preconditions": {"resourceVersion": "1"}})),
            delete(POD, Value::Null),
        ],
    )
    .await;
}

#[tokio::test]
async fn parts_of_objects_are_written_alike() {
    const SCALE: &str = "/apis/apps/v1/namespaces/{ns}/deployments/web/scale";
    const STATUS: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets/web/status";
    // Nobody's controller looks at an object that nothing selects.
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1000m", "requests.cpu": "1500m"}}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    let autoscaler = json!({"metadata": {"name": "h"}, "spec": {
        "maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
    }});
    replay(
        "parts",
        vec![
            post("/apis/apps/v1/namespaces/{ns}/deployments?dryRun=All", workload("Deployment")),
            get(SCALE),
            patch(SCALE, MERGE, json!({"spec": {"replicas": 3}})),
            get("/apis/apps/v1/namespaces/{ns}/daemonsets/web/scale"),
            get("/apis/apps/v1/namespaces/{ns}/deployments/web/nothing"),
            get(STATUS),
            post("/api/v1/namespaces/{ns}/resourcequotas?dryRun=All", quota),
            post("/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets?dryRun=All", budget),
            post(
                "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers?dryRun=All",
                autoscaler,
            ),
            post(
                "/api/v1/namespaces/{ns}/serviceaccounts?dryRun=All",
                json!({"metadata": {"name": "builder"}}),
            ),
            post(
                "/apis/batch/v1/namespaces/{ns}/cronjobs?dryRun=All",
                json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "app", "image": "web:v1"}],
                }}}}}}),
            ),
            post(
                "/api/v1/namespaces/{ns}/persistentvolumeclaims?dryRun=All",
                json!({"metadata": {"name": "p"}, "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "x",
                    "resources": {"requests": {"storage": "1Gi"}},
                }}),
            ),
            post(
                "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses?dryRun=All",
                json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}),
            ),
            post(
                "/api/v1/namespaces/{ns}/events?dryRun=All",
                json!({
                    "metadata": {"name": "e"},
                    "involvedObject": {"kind": "Pod", "namespace": "{ns}", "name": "x"},
                    "reason": "R", "message": "m", "type": "Normal",
                }),
            ),
            post("/api/v1/namespaces?dryRun=All", json!({"metadata": {"name": "t-sandbox-new"}})),
            post(
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "x"}}}),
            ),
            delete("/api/v1/namespaces/{ns}/configmaps?labelSelector=none%3Dsuch", Value::Null),
            delete("/api/v1/namespaces/default", Value::Null),

            get("/api/v1/namespaces/{ns}/secrets?limit=x"),

        ],
    )
    .await;
}

#[tokio::test]
async fn custom_resources_are_defined_and_written_alike() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";
    let definition = json!({"metadata": {"name": "widgets.sandbox.example"}, "spec": {
        "group": "sandbox.example",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        }],
    }});
    let mut misnamed = definition.clone();
    misnamed["metadata"]["name"] = "other.sandbox.example".into();
    replay(
        "custom",
        vec![
            post(DEFINITIONS, misnamed),
            get("/apis/sandbox.example/v1/namespaces/{ns}/widgets"),
        ],
    )
    .await;
}

#[tokio::test]
async fn leases_need_a_version_alike() {
    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases/l";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    replay(
        "lease",
        vec![
            post(
                "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
                lease.clone(),
            ),
            put(LEASE, lease),
            put(
                LEASE,
                json!({"metadata": {"name": "l", "resourceVersion": "1"}, "spec": {}}),
            ),
            delete(LEASE, Value::Null),
        ],
    )
    .await;
}

#[tokio::test]
async fn pods_are_filled_in_by_limit_ranges_alike() {
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{
        "type": "Container",
        "default": {"cpu": "1000m", "memory": "1Gi"},
        "defaultRequest": {"cpu": "0.1"},
    }]}});
    let pod = json!({"metadata": {"name": "a"}, "spec": {
        "initContainers": [{"name": "init", "image": "web:v1", "resources": {"requests": {"cpu": "1m"}}}],
        "containers": [
            {"name": "app", "image": "web:v1"},
            {"name": "greedy", "image": "web:v1", "resources": {"limits": {"cpu": "2"}}},
        ],
    }});
    replay(
        "ranges",
        vec![
            post("/api/v1/namespaces/{ns}/limitranges", range),
            post("/api/v1/namespaces/{ns}/pods?dryRun=All", pod),
        ],
    )
    .await;
}
