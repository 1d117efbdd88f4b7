//! What nodes and pods without containers do, as kwok's Stage objects. A pod is ready at once unless its template says otherwise.

use serde_json::{Value, json};

const NODE_STATUS: &str = include_str!("node-status.tmpl");
const POD_STATUS: &str = include_str!("pod-status.tmpl");

/// Leases show that a node lives; its status needs saying again only now and then.
const HEARTBEAT_MILLISECONDS: u32 = 300_000;

/// Annotation: the pod is ready this long after it started ("5s").
const READY_AFTER: &str = r#".metadata.annotations["kwok.astern.dev/ready-after"]"#;
/// Labels, with any value; they count also when they are put on a pod that runs, or taken off it.
const NEVER_READY: &str = r#".metadata.labels["kwok.astern.dev/never-ready"]"#;
const CRASH_LOOP: &str = r#".metadata.labels["kwok.astern.dev/crash-loop"]"#;
const IMAGE_MISSING: &str = r#".metadata.labels["kwok.astern.dev/image-missing"]"#;
/// A deleted pod stays on its way out until this is taken off it.
const STAYS: &str = r#".metadata.labels["kwok.astern.dev/stays"]"#;

const DELETED: &str = ".metadata.deletionTimestamp";
const PHASE: &str = ".status.phase";
const READY: &str = r#".status.conditions.[] | select( .type == "Ready" ) | .status"#;
const READY_REASON: &str = r#".status.conditions.[] | select( .type == "Ready" ) | .reason"#;
const RUNNING: &str = ".status.containerStatuses.[].state.running.startedAt";
const WAITING: &str = ".status.containerStatuses.[].state.waiting.reason";
const OWNER: &str = ".metadata.ownerReferences.[].kind";

/// All stages, one document each.
pub(super) fn document() -> String {
    [node_up(), node_heartbeat(), pod_gone()]
        .into_iter()
        .chain(pod_stages())
        .map(|stage| format!("---\n{stage:#}\n"))
        .collect()
}

fn node_up() -> Value {
    stage(
        "Node",
        "node-up",
        &[not_in(READY, &["True"])],
        json!({ "statusTemplate": NODE_STATUS }),
    )
}

fn node_heartbeat() -> Value {
    let next = json!({ "statusTemplate": NODE_STATUS });
    let mut stage = stage("Node", "node-heartbeat", &[is_in(READY, &["True"])], next);
    stage["spec"]["delay"] = json!({
        "durationMilliseconds": HEARTBEAT_MILLISECONDS,
        "jitterDurationMilliseconds": HEARTBEAT_MILLISECONDS * 11 / 10,
    });
    stage
}

fn pod_gone() -> Value {
    stage(
        "Pod",
        "pod-gone",
        &[exists(DELETED), missing(STAYS)],
        json!({ "finalizers": { "empty": true }, "delete": true }),
    )
}

/// No two of them match the same pod: between stages that match, kwok would draw lots.
fn pod_stages() -> Vec<Value> {
    let healthy = [missing(NEVER_READY), missing(CRASH_LOOP), missing(IMAGE_MISSING)];
    let with = |more: &[Value]| [&healthy[..], more].concat();
    let unready = not_in(READY, &["True"]);
    let unfinished = not_in(PHASE, &["Succeeded", "Failed"]);
    let mut late = pod(
        "pod-ready-late",
        "ready",
        &with(&[
            exists(READY_AFTER),
            exists(RUNNING),
            unready.clone(),
            unfinished.clone(),
        ]),
    );
    late["spec"]["delay"] =
        json!({ "durationMilliseconds": 1000, "durationFrom": { "expressionFrom": READY_AFTER } });
    let not_yet = not_in(READY_REASON, &["ContainersNotReady"]);
    let looping = not_in(WAITING, &["CrashLoopBackOff"]);
    let pulling = not_in(WAITING, &["ImagePullBackOff"]);
    let mut crash_loop = pod(
        "pod-crash-loop",
        "crash-loop",
        &[exists(CRASH_LOOP), missing(IMAGE_MISSING), looping],
    );
    crash_loop["spec"]["next"]["event"] =
        json!({ "type": "Warning", "reason": "BackOff", "message": "Back-off restarting failed container" });
    let mut image_missing = pod(
        "pod-image-missing",
        "image-missing",
        &[exists(IMAGE_MISSING), pulling],
    );
    image_missing["spec"]["next"]["event"] =
        json!({ "type": "Warning", "reason": "Failed", "message": "Error: ImagePullBackOff" });
    vec![
        pod(
            "pod-ready",
            "ready",
            &with(&[missing(READY_AFTER), unready, unfinished.clone()]),
        ),
        pod(
            "pod-running-late",
            "unready",
            &with(&[exists(READY_AFTER), missing(RUNNING), unfinished]),
        ),
        late,
        pod(
            "pod-never-ready",
            "unready",
            &[
                exists(NEVER_READY),
                missing(CRASH_LOOP),
                missing(IMAGE_MISSING),
                not_yet,
            ],
        ),
        crash_loop,
        image_missing,
        pod(
            "job-pod-completed",
            "completed",
            &with(&[is_in(OWNER, &["Job"]), is_in(READY, &["True"])]),
        ),
    ]
}

fn pod(name: &str, state: &str, when: &[Value]) -> Value {
    let template = format!("{{{{ $state := \"{state}\" }}}}\n{POD_STATUS}");
    stage(
        "Pod",
        name,
        &[when, &[missing(DELETED)]].concat(),
        json!({ "statusTemplate": template }),
    )
}

fn stage(kind: &str, name: &str, when: &[Value], next: Value) -> Value {
    json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": { "name": name },
        "spec": {
            "resourceRef": { "apiGroup": "v1", "kind": kind },
            "selector": { "matchExpressions": when },
            "next": next,
        },
    })
}

fn exists(key: &str) -> Value {
    json!({ "key": key, "operator": "Exists" })
}

fn missing(key: &str) -> Value {
    json!({ "key": key, "operator": "DoesNotExist" })
}

fn is_in(key: &str, values: &[&str]) -> Value {
    json!({ "key": key, "operator": "In", "values": values })
}

fn not_in(key: &str, values: &[&str]) -> Value {
    json!({ "key": key, "operator": "NotIn", "values": values })
}
