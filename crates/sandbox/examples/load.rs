//! How fast a sandbox is: `cargo run --release -p astern-sandbox --example load`.

use astern_sandbox::{Answer, Cluster, NodeSpec, Options, Request};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::io::Write;
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
    let rate = WRITES as f64 / start.elapsed().as_secs_f64();
    writeln!(out, "{rate:.0} writes a second")?;

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
    writeln!(
        out,
        "{DEPLOYMENTS} Deployments stored in {:.2} s",
        start.elapsed().as_secs_f64()
    )?;
    now += SignedDuration::from_secs(5);
    cluster.advance(now);
    writeln!(out, "… and running after {:.2} s", start.elapsed().as_secs_f64())?;

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
    let rate = RUNS as f64 / start.elapsed().as_secs_f64();
    writeln!(
        out,
        "{rate:.0} rollouts a second, each on a snapshot of 20 Deployments"
    )
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
