//! Watches on the sandbox and on a real kube-apiserver: the same changes are told in the same words.

use crate::replay::{JSON, JSON_PATCH, MERGE, Real, Step, ask, compare, get, normal, patch, post, put};
use astern_sandbox::{Answer, Cluster, Options, Request};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/{ns}/configmaps";
const MAP: &str = "/api/v1/namespaces/{ns}/configmaps/a";

fn map(value: &str) -> Value {
    json!({"metadata": {"name": "a", "labels": {"value": value}}, "data": {"value": value}})
}

/// Types and objects of the lines of a watch.
fn events(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Whether both tell the same of some changes, through some selection and as some media type.
async fn tell_alike(name: &str, query: &str, accept: &str) {
    let real = Real::connect().await;
    let namespace = format!("t-sandbox-{name}-{}", std::process::id());
    let mut now = Timestamp::now();
    let mut sandbox = Cluster::new(Options::default(), now);
    let making = post("/api/v1/namespaces", json!({"metadata": {"name": namespace}}));
    real.ask(&making, &namespace).await;
    ask(&mut sandbox, now, &making, &namespace);
    sandbox.advance(now);
    real.account(&namespace).await;
    let version = |list: &Value| list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let versions = [
        version(&real.ask(&get(MAPS), &namespace).await.1),
        version(&ask(&mut sandbox, now, &get(MAPS), &namespace).1),
    ];
    let steps = [
        post(MAPS, map("1")),
        put(MAP, map("2")),
        patch(MAP, MERGE, json!({"data": {"more": "x"}})),
        patch(MAP, JSON_PATCH, json!([{"op": "remove", "path": "/data/more"}])),
        put(MAP, map("3")),
        put(MAP, map("2")),
        Step {
            method: Method::DELETE,
            path: MAP,
            content_type: JSON,
            body: Value::Null,
        },
    ];
    for step in &steps {
        real.ask(step, &namespace).await;
        ask(&mut sandbox, now, step, &namespace);
    }
    let path = MAPS.replace("{ns}", &namespace);
    let watch = |version: &str| format!("watch=true&timeoutSeconds=1&resourceVersion={version}{query}");
    let told = real.raw(&format!("{path}?{}", watch(&versions[0])), accept).await;
    let request = Request {
        path,
        query: watch(&versions[1]),
        accept: accept.to_owned(),
        ..Request::default()
    };
    let Answer::Stream(mut stream) = sandbox.handle(now, &request) else {
        panic!("a watch is a stream");
    };
    now += SignedDuration::from_secs(1);
    let here = sandbox.poll(now, &mut stream);
    assert!(stream.ended());
    let ending = Step {
        method: Method::DELETE,
        path: "/api/v1/namespaces/{ns}",
        content_type: JSON,
        body: Value::Null,
    };
    real.ask(&ending, &namespace).await;
    let mut found = Vec::new();
    let list = |bytes: &[u8]| normal(events(bytes).into());
    compare("", &list(&told), &list(&here), &mut found);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[tokio::test]
async fn a_watch_tells_of_changes_alike() {
    tell_alike("watch", "", JSON).await;
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection_alike() {
    tell_alike("labels", "&labelSelector=value%3D2", JSON).await;
}

#[tokio::test]
async fn a_watch_of_one_name_tells_alike() {
    tell_alike("fields", "&fieldSelector=metadata.name%3Da", JSON).await;
}

#[tokio::test]
async fn a_watch_of_metadata_tells_alike() {
    let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    tell_alike("partial", "", partial).await;
}

#[tokio::test]
async fn lists_of_metadata_look_alike() {
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let real = Real::connect().await;
    let told: Value = serde_json::from_slice(
        &real
            .raw(
                "/api/v1/namespaces?fieldSelector=metadata.name%3Dkube-system",
                partial,
            )
            .await,
    )
    .unwrap();
    let mut sandbox = Cluster::new(Options::default(), Timestamp::now());
    let request = Request {
        path: "/api/v1/namespaces".to_owned(),
        query: "fieldSelector=metadata.name%3Dkube-system".to_owned(),
        accept: partial.to_owned(),
        ..Request::default()
    };
    let Answer::Whole(response) = sandbox.handle(Timestamp::now(), &request) else {
        panic!("a list is no stream");
    };
    let here: Value = serde_json::from_slice(&response.body).unwrap();
    let mut found = Vec::new();
    compare("", &normal(told), &normal(here), &mut found);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
