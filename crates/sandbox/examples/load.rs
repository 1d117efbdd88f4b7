//! How fast a sandbox is, as one JSON object: `cargo run --release -p astern-sandbox --example load`. The bench reads it.
//! With a dump's path it loads that and says what it took: a process that has done nothing else tells its memory.

use astern_sandbox::{Answer, Cluster, NodeSpec, Options, Request, dump};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const DEPLOYMENTS: usize = 10_000;
const WRITES: usize = 100_000;
const RUNS: usize = 200;
/// Until every pod is ready.
const LIVED: SignedDuration = SignedDuration::from_secs(5);

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if let Some(path) = std::env::args_os().nth(1) {
        return writeln!(out, "{}", loaded(Path::new(&path))?);
    }
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
    now += LIVED;
    cluster.advance(now);
    let running = start.elapsed().as_secs_f64();

    let dump = tempfile::NamedTempFile::new()?;
    write_dump(&mut cluster, now, &mut BufWriter::new(&dump))?;
    drop(cluster);
    let loaded = in_a_process_of_its_own(dump.path())?;

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
        "loaded": loaded,
        "rolloutsASecondOnASnapshotOf20": rollouts,
    });
    writeln!(out, "{told}")
}

/// Loads a dump of a namespace, as `astern sandbox serve --load` does, until controllers and kubelets have nothing to do.
fn loaded(path: &Path) -> std::io::Result<Value> {
    let text = std::fs::read(path)?;
    let mebibytes = text.len() >> 20;
    let objects = dump::read(&text).map_err(std::io::Error::other)?;
    drop(text);
    let read = processor_seconds()?;
    let count = objects.len();
    let now = Timestamp::UNIX_EPOCH + LIVED;
    let cluster = dump::cluster(objects, Options::default(), now).map_err(std::io::Error::other)?;
    let seconds = processor_seconds()?;
    let waits = cluster.next_due().is_none_or(|due| due > now);
    assert!(waits, "something was left to be done");
    Ok(json!({
        "objects": count,
        "mebibytesOfText": mebibytes,
        "readSeconds": read,
        "seconds": seconds,
        "peakMebibytes": peak_mebibytes()?,
    }))
}

fn in_a_process_of_its_own(path: &Path) -> std::io::Result<Value> {
    let output = Command::new(std::env::current_exe()?).arg(path).output()?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        std::io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    })
}

/// How long a processor has worked for this process, which is one thread: what others do on the machine counts for nothing.
fn processor_seconds() -> std::io::Result<f64> {
    let told = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = told
        .split(' ')
        .next()
        .and_then(|number| number.parse::<f64>().ok());
    nanoseconds
        .map(|nanoseconds| nanoseconds / 1e9)
        .ok_or_else(|| std::io::Error::other("the kernel told no schedstat"))
}

/// The most memory that this process has had.
fn peak_mebibytes() -> std::io::Result<f64> {
    let mut status = String::new();
    std::fs::File::open("/proc/self/status")?.read_to_string(&mut status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes / 1024.0)
        .ok_or_else(|| std::io::Error::other("the kernel told no VmHWM"))
}

/// Deployments, ReplicaSets and pods, as `kubectl get -o json` writes them.
fn write_dump(cluster: &mut Cluster, now: Timestamp, out: &mut impl Write) -> std::io::Result<()> {
    let mut items = Vec::new();
    for path in [
        "/apis/apps/v1/namespaces/default/deployments",
        "/apis/apps/v1/namespaces/default/replicasets",
        "/api/v1/namespaces/default/pods",
    ] {
        items.extend(listed(cluster, now, path));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    serde_json::to_writer_pretty(&mut *out, &list)?;
    out.flush()
}

fn listed(cluster: &mut Cluster, now: Timestamp, path: &str) -> Vec<Value> {
    let request = Request {
        method: Method::GET,
        path: path.to_owned(),
        ..Request::default()
    };
    let Answer::Whole(response) = cluster.handle(now, &request) else {
        return Vec::new();
    };
    let mut list: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let version = list["apiVersion"].take();
    let kind = list["kind"].take();
    let kind = kind.as_str().unwrap_or_default().trim_end_matches("List");
    let Value::Array(mut items) = list["items"].take() else {
        return Vec::new();
    };
    for item in &mut items {
        item["kind"] = kind.into();
        item["apiVersion"] = version.clone();
        if let Some(metadata) = item["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    items
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
