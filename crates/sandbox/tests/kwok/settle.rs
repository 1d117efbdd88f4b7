//! What controllers make of a workload, on the sandbox and on a real control plane: when both have settled, objects and
//! events must agree but for names that each draws.

use crate::replay::{JSON, MERGE, Real, Step, ask, compare, get, normal, patch, post};
use astern_sandbox::{Cluster, NodeSpec, Options};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Tenths of a second: longer than any of these rollouts takes on stand-ins for nodes, also on a busy machine.
const PATIENCE: u32 = 900;

/// Both clusters, in a namespace of the same name.
struct Both {
    real: Real,
    sandbox: Cluster,
    now: Timestamp,
    namespace: String,
}

impl Both {
    async fn new(name: &str) -> Self {
        let now = Timestamp::now();
        let mut both = Self {
            real: Real::connect().await,
            sandbox: Cluster::new(
                Options {
                    nodes: (1..=3)
                        .map(|number| NodeSpec::named(format!("kwok-{number}")))
                        .collect(),
                    ..Options::default()
                },
                now,
            ),
            now,
            namespace: format!("t-sandbox-{name}-{}", std::process::id()),
        };
        let namespace = json!({"metadata": {"name": both.namespace}});
        both.send(post("/api/v1/namespaces", namespace)).await;
        both.real.account(&both.namespace).await;
        both
    }

    /// A request to both; both must take it.
    async fn send(&mut self, step: Step) {
        let (code, body) = self.real.ask(&step, &self.namespace).await;
        assert!(code < 300, "real: {code} {body}");
        let (code, body) = ask(&mut self.sandbox, self.now, &step, &self.namespace);
        assert!(code < 300, "sandbox: {code} {body}");
        self.pass();
    }

    /// Time goes by in the sandbox, more than any rollout takes.
    fn pass(&mut self) {
        self.now += SignedDuration::from_secs(30);
        self.sandbox.advance(self.now);
    }

    /// Waits until the real one says so too.
    async fn until(&mut self, path: &'static str, settled: fn(&Value) -> bool) {
        let (_, here) = ask(&mut self.sandbox, self.now, &get(path), &self.namespace);
        assert!(settled(&here), "the sandbox does not settle: {here:#}");
        let mut last = Value::Null;
        for _ in 0..PATIENCE {
            last = self.real.ask(&get(path), &self.namespace).await.1;
            if settled(&last) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the real one does not settle: {last:#}");
    }

    /// How the objects of a list differ, taken in the order of what `by` says of them.
    async fn differences(&mut self, path: &'static str, by: fn(&Value) -> String) -> Vec<String> {
        let (_, real) = self.real.ask(&get(path), &self.namespace).await;
        let (_, here) = ask(&mut self.sandbox, self.now, &get(path), &self.namespace);
        let items = |list: Value| {
            let mut items = list["items"].as_array().cloned().unwrap_or_default();
            items.sort_by_key(by);
            let mut items: Value = items.into();
            nameless(&mut items);
            normal(items)
        };
        let mut found = Vec::new();
        compare(path, &items(real), &items(here), &mut found);
        found
    }

    /// The reasons and words of the events about workloads, in no order.
    async fn events(&mut self) -> [BTreeSet<String>; 2] {
        let path = get("/api/v1/namespaces/{ns}/events");
        let told = |list: Value| {
            let items = list["items"].as_array().cloned().unwrap_or_default();
            items
                .iter()
                .filter(|event| event["involvedObject"]["kind"] != "Pod")
                .map(|event| {
                    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                    format!(
                        "{} {} {}",
                        text("type"),
                        text("reason"),
                        shortened(&text("message"))
                    )
                })
                .collect()
        };
        let (_, real) = self.real.ask(&path, &self.namespace).await;
        let (_, here) = ask(&mut self.sandbox, self.now, &path, &self.namespace);
        [told(real), told(here)]
    }

    async fn end(self) {
        let ending = Step {
            method: http::Method::DELETE,
            path: "/api/v1/namespaces/{ns}",
            content_type: JSON,
            body: Value::Null,
        };
        self.real.ask(&ending, &self.namespace).await;
    }
}

/// Names that controllers draw or hash are shortened to what was given.
pub(crate) fn nameless(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for drawn in [
                "lastTransitionTime",
                "lastUpdateTime",
                "startTime",
                "completionTime",
                "lastProbeTime",
                "startedAt",
                "podIP",
                "podIPs",
                "hostIP",
                "hostIPs",
                "generateName",
                "nodeName",
            ] {
                map.remove(drawn);
            }
            map.values_mut().for_each(nameless);
        }
        Value::Array(items) => items.iter_mut().for_each(nameless),
        // Which of equal nodes is first is chance.
        Value::String(text) if text.starts_with("kwok-") => *text = "kwok-…".to_owned(),
        Value::String(text) => *text = shortened(text),
        _ => {}
    }
}

/// `web-5d8dc4c446-ksz77` becomes `web-…`, a bare hash `…`.
pub(crate) fn shortened(text: &str) -> String {
    let drawn = |part: &str| {
        part.len() >= 5
            && part
                .bytes()
                .all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
    };
    let word = |word: &str| {
        let parts: Vec<&str> = word
            .split('-')
            .map(|part| {
                if drawn(part.trim_matches('"')) {
                    "…"
                } else {
                    part
                }
            })
            .collect();
        parts.join("-").replace("…-…", "…")
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn image(object: &Value) -> String {
    let place = if object["data"].is_null() {
        "/spec/template"
    } else {
        "/data/spec/template"
    };
    let template = object.pointer(place).unwrap_or(object);
    format!(
        "{} {}",
        template["spec"]["containers"][0]["image"], object["metadata"]["name"]
    )
}

fn agree(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn workload(kind: &str) -> Value {
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "web:v1"}]},
            },
        },
    });
    if kind == "DaemonSet"
        && let Some(spec) = workload["spec"].as_object_mut()
    {
        spec.remove("replicas");
    }
    workload
}

fn version(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

#[tokio::test]
async fn a_deployment_that_went_forth_and_back_looks_alike() {
    const WEB: &str = "/apis/apps/v1/namespaces/{ns}/deployments/web";
    let settled = |web: &Value| {
        let status = &web["status"];
        status["observedGeneration"] == web["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|field| status[*field] == 2)
            && status["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|each| each["reason"] == "NewReplicaSetAvailable"))
    };
    let mut both = Both::new("deployment").await;
    both.send(post(
        "/apis/apps/v1/namespaces/{ns}/deployments",
        workload("Deployment"),
    ))
    .await;
    both.until(WEB, settled).await;
    for image in ["web:v2", "web:v1"] {
        both.send(patch(WEB, MERGE, version(image))).await;
        both.until(WEB, settled).await;
    }
    let mut found = both
        .differences("/apis/apps/v1/namespaces/{ns}/deployments", image)
        .await;
    found.extend(
        both.differences("/apis/apps/v1/namespaces/{ns}/replicasets", image)
            .await,
    );
    let [real, here] = both.events().await;
    found.extend(
        real.difference(&here)
            .map(|event| format!("only the real one says: {event}")),
    );
    found.extend(
        here.difference(&real)
            .map(|event| format!("only the sandbox says: {event}")),
    );
    both.end().await;
    agree(&found);
}

#[tokio::test]
async fn a_statefulset_that_went_forth_and_back_looks_alike() {
    const WEB: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets/web";
    let settled = |web: &Value| {
        let status = &web["status"];
        status["observedGeneration"] == web["metadata"]["generation"]
            && status["currentRevision"] == status["updateRevision"]
            && status["availableReplicas"] == 2
    };
    let mut both = Both::new("statefulset").await;
    both.send(post(
        "/apis/apps/v1/namespaces/{ns}/statefulsets",
        workload("StatefulSet"),
    ))
    .await;
    both.until(WEB, settled).await;
    for image in ["web:v2", "web:v1"] {
        both.send(patch(WEB, MERGE, version(image))).await;
        both.until(WEB, settled).await;
    }
    let mut found = both
        .differences("/apis/apps/v1/namespaces/{ns}/statefulsets", image)
        .await;
    found.extend(
        both.differences("/apis/apps/v1/namespaces/{ns}/controllerrevisions", image)
            .await,
    );
    let [real, here] = both.events().await;
    found.extend(
        real.symmetric_difference(&here)
            .map(|event| format!("only one says: {event}")),
    );
    both.end().await;
    agree(&found);
}

#[tokio::test]
async fn a_daemonset_that_went_forth_and_back_looks_alike() {
    const WEB: &str = "/apis/apps/v1/namespaces/{ns}/daemonsets/web";
    let settled = |web: &Value| {
        let status = &web["status"];
        status["observedGeneration"] == web["metadata"]["generation"]
            && status["updatedNumberScheduled"] == 3
            && status["numberAvailable"] == 3
    };
    let mut both = Both::new("daemonset").await;
    both.send(post(
        "/apis/apps/v1/namespaces/{ns}/daemonsets",
        workload("DaemonSet"),
    ))
    .await;
    both.until(WEB, settled).await;
    for image in ["web:v2", "web:v1"] {
        both.send(patch(WEB, MERGE, version(image))).await;
        both.until(WEB, settled).await;
    }
    let mut found = both
        .differences("/apis/apps/v1/namespaces/{ns}/daemonsets", image)
        .await;
    found.extend(
        both.differences("/apis/apps/v1/namespaces/{ns}/controllerrevisions", image)
            .await,
    );
    both.end().await;
    agree(&found);
}

/// A version that no node takes: its rollout never ends.
fn stuck(image: &str) -> Value {
    let mut changed = version(image);
    changed["spec"]["template"]["spec"]["nodeSelector"] = json!({"nowhere": "true"});
    changed
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/{ns}/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/{ns}/deployments/web";

fn is_complete(web: &Value) -> bool {
    let status = &web["status"];
    status["observedGeneration"] == web["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| status[*field] == web["spec"]["replicas"])
}

/// A Deployment of ten, rolled out.
async fn ten(name: &str, strategy: Value) -> Both {
    let mut both = Both::new(name).await;
    let mut web = workload("Deployment");
    web["spec"]["replicas"] = 10.into();
    web["spec"]["strategy"] = strategy;
    both.send(post(DEPLOYMENTS, web)).await;
    both.until(WEB, is_complete).await;
    both
}

/// Compares Deployments, ReplicaSets and how many pods of which version stand how.
async fn compare_all(mut both: Both) {
    let mut found = both.differences(DEPLOYMENTS, image).await;
    found.extend(
        both.differences("/apis/apps/v1/namespaces/{ns}/replicasets", image)
            .await,
    );
    both.end().await;
    agree(&found);
}

#[tokio::test]
async fn a_rollout_that_is_stuck_keeps_as_many_old_pods_and_a_scale_is_shared_out_alike() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    let mut both = ten("stuck", rolling).await;
    both.send(patch(WEB, MERGE, stuck("web:v2"))).await;
    both.until(WEB, |web| {
        web["status"]["updatedReplicas"] == 5 && web["status"]["availableReplicas"] == 8
    })
    .await;
    both.send(patch(WEB, MERGE, json!({"spec": {"replicas": 15}})))
        .await;
    both.until(WEB, |web| {
        web["status"]["updatedReplicas"] == 7 && web["status"]["availableReplicas"] == 11
    })
    .await;
    both.send(patch(WEB, MERGE, json!({"spec": {"replicas": 5}})))
        .await;
    both.until(WEB, |web| {
        web["status"]["updatedReplicas"] == 5 && web["status"]["availableReplicas"] == 3
    })
    .await;
    let pending = "/api/v1/namespaces/{ns}/pods?fieldSelector=status.phase%3DPending";
    let found = both.differences(pending, |_| String::new()).await;
    agree(&found);
    compare_all(both).await;
}

#[tokio::test]
async fn a_paused_deployment_looks_alike() {
    let mut both = ten("paused", json!({"type": "RollingUpdate"})).await;
    both.send(patch(WEB, MERGE, json!({"spec": {"paused": true}})))
        .await;
    both.send(patch(WEB, MERGE, version("web:v2"))).await;
    both.send(patch(WEB, MERGE, json!({"spec": {"replicas": 4}})))
        .await;
    both.until(WEB, |web| {
        web["status"]["observedGeneration"] == 4 && web["status"]["availableReplicas"] == 4
    })
    .await;
    compare_all(both).await;
}

#[tokio::test]
async fn a_recreated_deployment_looks_alike() {
    let mut both = ten("recreate", json!({"type": "Recreate"})).await;
    both.send(patch(WEB, MERGE, version("web:v2"))).await;
    both.until(WEB, is_complete).await;
    compare_all(both).await;
}

#[tokio::test]
async fn a_quota_stops_a_rollout_alike() {
    let mut both = Both::new("quota").await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
    both.send(post("/api/v1/namespaces/{ns}/resourcequotas", quota))
        .await;
    let counted = |quota: &Value| quota["status"]["used"]["pods"] == "0";
    both.until("/api/v1/namespaces/{ns}/resourcequotas/q", counted)
        .await;
    both.send(post(DEPLOYMENTS, workload("Deployment"))).await;
    both.until(WEB, |web| {
        web["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.len() == 3)
            && web["status"]["availableReplicas"] == 1
    })
    .await;
    compare_all(both).await;
}

#[tokio::test]
async fn a_partition_and_a_broken_pod_stop_a_statefulset_alike() {
    const SETS: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets";
    const SET: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets/web";
    let mut both = Both::new("partition").await;
    let mut web = workload("StatefulSet");
    web["spec"]["replicas"] = 3.into();
    web["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    both.send(post(SETS, web)).await;
    both.until(SET, |web| web["status"]["availableReplicas"] == 3)
        .await;
    both.send(patch(SET, MERGE, version("web:v2"))).await;
    both.until(SET, |web| {
        web["status"]["updatedReplicas"] == 2 && web["status"]["availableReplicas"] == 3
    })
    .await;
    let mut found = both.differences(SETS, image).await;
    both.send(patch(SET, MERGE, stuck("web:v3"))).await;
    both.until(SET, |web| {
        web["status"]["updatedReplicas"] == 1 && web["status"]["availableReplicas"] == 2
    })
    .await;
    both.send(patch(SET, MERGE, version("web:v2"))).await;
    both.until(SET, |web| web["status"]["observedGeneration"] == 4)
        .await;
    found.extend(both.differences(SETS, image).await);
    both.end().await;
    agree(&found);
}

#[tokio::test]
async fn a_daemonset_with_a_broken_version_looks_alike() {
    const SETS: &str = "/apis/apps/v1/namespaces/{ns}/daemonsets";
    const SET: &str = "/apis/apps/v1/namespaces/{ns}/daemonsets/web";
    let mut both = Both::new("daemons").await;
    both.send(post(SETS, workload("DaemonSet"))).await;
    both.until(SET, |web| web["status"]["numberAvailable"] == 3).await;
    // More than a node has.
    let mut greedy = version("web:v2");
    greedy["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "5000"}});
    both.send(patch(SET, MERGE, greedy)).await;
    both.until(SET, |web| {
        web["status"]["updatedNumberScheduled"] == 1 && web["status"]["numberAvailable"] == 2
    })
    .await;
    let mut found = both.differences(SETS, image).await;
    let told = |pod: &Value| pod["spec"]["containers"][0]["image"].to_string();
    let pending = "/api/v1/namespaces/{ns}/pods?fieldSelector=status.phase%3DPending";
    found.extend(both.differences(pending, told).await);
    both.end().await;
    agree(&found);
}
