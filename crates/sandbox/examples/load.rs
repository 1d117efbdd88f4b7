//! How fast a sandbox is, as one JSON object: `cargo run --release -p astern-sandbox --example load`. The bench reads it.

use astern_sandbox::{Answer, Cluster, NodeSpec, Options, Request};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::Instant;

const DEPLOYMENTS: usize = 10_000;
const WRITES: usize = 100_000;
const RUNS: usize = 200;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let node = |number: usize| NodeSpec {
        cpu: "1000".to_owned(),
        pods: 1000,
        ..NodeSpec::named(format!("node-{number}"))
    };
    let options = Options {
        nodes: (1..=50).map(node).collect(),
        ..Options::default()
    };
    let mut now: Timestamp = Timestamp::UNIX_EPOCH;
    let mut cluster = Cluster::new(options.clone(), now);

    let start = Instant::now();
    for number in 0..WRITES {
        let map = json!({"metadata": {"name": "a"}, "data": {"key": number.to_string()}});
        let (method, path) = if number == 0 {
            (Method::POST, "/api/v1/namespaces/default/configmaps")
        } else {
            (Method::PUT, "/api/v1/namespaces/default/configmaps/a")
        };
        send(&mut cluster, now, method, path, &map);
    }
    let writes = WRITES as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    for number in 0..DEPLOYMENTS {
        send(
            &mut cluster,
            now,
            Method::POST,
            "/apis/apps/v1/namespaces/default/deployments",
            &web(number),
        );
    }
    let stored = start.elapsed().as_secs_f64();
    now += SignedDuration::from_secs(5);
    cluster.advance(now);
    let running = start.elapsed().as_secs_f64();

    let mut copy = Cluster::new(options.clone(), now);
    let dump = ["deployments", "replicasets"].map(|kind| format!("/apis/apps/v1/namespaces/default/{kind}"));
    let pods = "/api/v1/namespaces/default/pods".to_owned();
    let dump: Vec<Value> = dump
        .into_iter()
        .chain([pods])
        .flat_map(|path| listed(&mut cluster, now, path))
        .collect();
    drop(cluster);
    let objects = dump.len();
    let start = Instant::now();
    let refused = copy.load(dump);
    assert!(refused.is_empty(), "{} objects were not loaded", refused.len());
    let loaded = start.elapsed().as_secs_f64();
    let mebibytes = peak_mebibytes()?;

    let mut small = Cluster::new(options, now);
    for number in 0..20 {
        send(
            &mut small,
            now,
            Method::POST,
            "/apis/apps/v1/namespaces/default/deployments",
            &web(number),
        );
    }
    now += SignedDuration::from_secs(5);
    small.advance(now);
    let start = Instant::now();
    for run in 0..RUNS {
        let mut copy = small.clone();
        let path = format!("/apis/apps/v1/namespaces/default/deployments/web-{}", run % 20);
        let mut changed = web(run % 20);
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "web:v2".into();
        send(&mut copy, now, Method::PUT, &path, &changed);
        copy.advance(now + SignedDuration::from_secs(60));
    }
    let rollouts = RUNS as f64 / start.elapsed().as_secs_f64();
    let told = json!({
        "writesASecond": writes,
        "deployments": DEPLOYMENTS,
        "storedSeconds": stored,
        "runningSeconds": running,
        "loadedObjects": objects,
        "loadedSeconds": loaded,
        "peakMebibytes": mebibytes,
        "rolloutsASecondOnASnapshotOf20": rollouts,
    });
    writeln!(out, "{told}")
}

/// The most memory that this process has had, with two clusters of that size one after the other.
fn peak_mebibytes() -> std::io::Result<f64> {
    let mut status = String::new();
    std::fs::File::open("/proc/self/status")?.read_to_string(&mut status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes / 1024.0)
        .ok_or_else(|| std::io::Error::other("the kernel told no VmHWM"))
}

fn listed(cluster: &mut Cluster, now: Timestamp, path: String) -> Vec<Value> {
    let request = Request {
        method: Method::GET,
        path,
        ..Request::default()
    };
    let Answer::Whole(response) = cluster.handle(now, &request) else {
        return Vec::new();
    };
    let list: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let (kind, version) = (list["kind"].as_str().unwrap_or_default(), &list["apiVersion"]);
    let kind = kind.trim_end_matches("List");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let whole = items.into_iter().map(|mut item| {
        item["kind"] = kind.into();
        item["apiVersion"] = version.clone();
        item
    });
    whole.collect()
}

fn web(number: usize) -> serde_json::Value {
    let name = format!("web-{number}");
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "web:v1"}]},
            },
        },
    })
}

fn send(cluster: &mut Cluster, now: Timestamp, method: Method, path: &str, body: &serde_json::Value) {
    let request = Request {
        method,
        path: path.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.to_string().into_bytes().into(),
        ..Request::default()
    };
    let Answer::Whole(response) = cluster.handle(now, &request) else {
        return;
    };
    assert!(response.code < 300, "{}", String::from_utf8_lossy(&response.body));
}
