//! The same requests to the sandbox and to a real kube-apiserver: codes and bodies must agree but for what each draws or
//! counts for itself.

use astern_sandbox::{Answer, Cluster, Options, Request};
use http::Method;
use jiff::Timestamp;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One request. `{ns}` in the path stands for the namespace, `{a.b}` in path and body for what the last answer held.
pub(crate) struct Step {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Value,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

pub(crate) fn get(path: &'static str) -> Step {
    step(Method::GET, path, "", Value::Null)
}

pub(crate) fn post(path: &'static str, body: Value) -> Step {
    step(Method::POST, path, JSON, body)
}

pub(crate) fn put(path: &'static str, body: Value) -> Step {
    step(Method::PUT, path, JSON, body)
}

pub(crate) fn patch(path: &'static str, content_type: &'static str, body: Value) -> Step {
    step(Method::PATCH, path, content_type, body)
}

pub(crate) fn delete(path: &'static str, body: Value) -> Step {
    step(Method::DELETE, path, JSON, body)
}

fn step(method: Method, path: &'static str, content_type: &'static str, body: Value) -> Step {
    Step {
        method,
        path,
        content_type,
        body,
    }
}

/// Asks both, and tells where they differ.
pub(crate) async fn replay(name: &str, steps: Vec<Step>) {
    let real = Real::connect().await;
    let namespace = format!("t-sandbox-{name}-{}", std::process::id());
    let now = Timestamp::now();
    let mut sandbox = Cluster::new(Options::default(), now);
    let made = json!({"metadata": {"name": namespace}});
    let making = post("/api/v1/namespaces", made);
    real.ask(&making, &namespace).await;
    ask(&mut sandbox, now, &making, &namespace);
    // Controllers do not act in between: what is compared is the API alone.
    sandbox.advance(now);
    real.account(&namespace).await;
    let mut differences = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let (real_code, real_body) = real.ask(step, &namespace).await;
        let (code, body) = ask(&mut sandbox, now, step, &namespace);
        let title = format!("step {at}: {} {}", step.method, step.path);
        if real_code != code {
            differences.push(format!(
                "{title}\n  real:    {real_code} {}\n  sandbox: {code} {}",
                real_body["message"], body["message"]
            ));
            continue;
        }
        let mut found = Vec::new();
        compare("", &normal(real_body), &normal(body), &mut found);
        if !found.is_empty() {
            differences.push(format!("{title}\n  {}", found.join("\n  ")));
        }
    }
    let ending = delete("/api/v1/namespaces/{ns}", Value::Null);
    real.ask(&ending, &namespace).await;
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

pub(crate) fn ask(sandbox: &mut Cluster, now: Timestamp, step: &Step, namespace: &str) -> (u16, Value) {
    let path = step.path.replace("{ns}", namespace);
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let request = Request {
        method: step.method.clone(),
        path: path.to_owned(),
        query: query.to_owned(),
        content_type: step.content_type.to_owned(),
        accept: JSON.to_owned(),
        body: bytes(&step.body, namespace).into(),
        ..Request::default()
    };
    match sandbox.handle(now, &request) {
        Answer::Whole(response) => {
            let body = serde_json::from_slice(&response.body).unwrap_or_default();
            (response.code, body)
        }
        Answer::Stream(_) => (200, Value::Null),
    }
}

fn bytes(body: &Value, namespace: &str) -> Vec<u8> {
    match body {
        Value::Null => Vec::new(),
        body => body.to_string().replace("{ns}", namespace).into_bytes(),
    }
}

pub(crate) struct Real {
    client: kube::Client,
}

impl Real {
    pub(crate) async fn connect() -> Self {
        let path = std::env::var("ASTERN_TEST_KUBECONFIG")
            .expect("run `cargo xtask test --lane kwok`, which sets ASTERN_TEST_KUBECONFIG");
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        config.proxy_url = None;
        config.default_retry = false;
        Self {
            client: kube::Client::try_from(config).unwrap(),
        }
    }

    pub(crate) async fn ask(&self, step: &Step, namespace: &str) -> (u16, Value) {
        let path = step.path.replace("{ns}", namespace);
        let body = bytes(&step.body, namespace);
        let (code, _, body) = self
            .send(&step.method, &path, step.content_type, JSON, "", body)
            .await;
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The code, the media type and the bytes of an answer, to the end where it is a stream.
    pub(crate) async fn send(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        accept: &str,
        agent: &str,
        body: Vec<u8>,
    ) -> (u16, String, Vec<u8>) {
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header("accept", accept);
        if !agent.is_empty() {
            request = request.header("user-agent", agent);
        }
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let request = request
            .body(kube::client::Body::from(body))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let media = response.headers().get("content-type");
        let media = media.map_or("", |media| media.to_str().unwrap()).to_owned();
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        (code, media, body.unwrap().to_bytes().to_vec())
    }

    /// The bytes of an answer, to the end where it is a stream.
    pub(crate) async fn raw(&self, path: &str, accept: &str) -> Vec<u8> {
        let request = http::Request::get(path).header("accept", accept);
        let request = request.body(kube::client::Body::empty()).unwrap();
        let response = self.client.send(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        body.unwrap().to_bytes().to_vec()
    }

    /// Each namespace is given these a moment after it was made: pods are refused until it has its service account, and
    /// lists and watches would tell of the certificate sooner or later.
    pub(crate) async fn account(&self, namespace: &str) {
        for path in [
            "/api/v1/namespaces/{ns}/serviceaccounts/default",
            "/api/v1/namespaces/{ns}/configmaps/kube-root-ca.crt",
        ] {
            self.appears(path, namespace).await;
        }
    }

    async fn appears(&self, path: &'static str, namespace: &str) {
        let wanted = get(path);
        for _ in 0..100 {
            if self.ask(&wanted, namespace).await.0 == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// Without what each server draws, counts or notes for itself, and without what the sandbox says that it has not.
pub(crate) fn normal(mut body: Value) -> Value {
    strip(&mut body);
    body
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for field in [
                "managedFields",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "deletionTimestamp",
                "clusterIP",
                "clusterIPs",
                "continue",
                "ca.crt",
            ] {
                if !map.get(field).is_some_and(Value::is_null) {
                    map.remove(field);
                }
            }
            // They are a map by type: the one that a controller wrote last stands last, and two controllers race.
            if let Some(conditions) = map.get_mut("conditions").and_then(Value::as_array_mut) {
                conditions.sort_by_key(|condition| condition["type"].to_string());
            }
            let drawn = |text: &str| text.starts_with("kube-api-access-");
            // Uids, versions, and the difference as Go prints it.
            if let Some(message) = map.get("message").and_then(Value::as_str) {
                map.insert("message".to_owned(), without_drawn(message).into());
            }
            for (_, child) in map.iter_mut() {
                if child.as_str().is_some_and(drawn) {
                    *child = "kube-api-access".into();
                }
                if child.as_str().is_some_and(is_uid) {
                    *child = "…".into();
                }
                strip(child);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

fn is_uid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().filter(|byte| *byte == b'-').count() == 4
        && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Also inside of other words.
fn without_uids(text: &str) -> String {
    const LENGTH: usize = 36;
    let mut plain = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if rest.get(..LENGTH).is_some_and(is_uid) {
            plain.push('…');
            rest = &rest[LENGTH..];
        } else {
            plain.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    plain
}

pub(crate) fn without_drawn(message: &str) -> String {
    let message = without_uids(message.split("\n@@").next().unwrap_or_default());
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words = message.split(' ').map(|word| {
        let plain = word.trim_matches(|letter| "(),.".contains(letter));
        if is_uid(plain) || is_number(plain) {
            word.replace(plain, "…")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn compare(path: &str, real: &Value, sandbox: &Value, found: &mut Vec<String>) {
    match (real, sandbox) {
        (Value::Object(real), Value::Object(sandbox)) => {
            let names: BTreeMap<&String, ()> =
                real.keys().chain(sandbox.keys()).map(|name| (name, ())).collect();
            for name in names.keys() {
                let (one, other) = (real.get(*name), sandbox.get(*name));
                let path = format!("{path}.{name}");
                match (one, other) {
                    (Some(one), Some(other)) => compare(&path, one, other, found),
                    (one, other) => {
                        found.push(format!("{path}: real {}, sandbox {}", told(one), told(other)))
                    }
                }
            }
        }
        (Value::Array(real), Value::Array(sandbox)) if real.len() == sandbox.len() => {
            for (at, (one, other)) in real.iter().zip(sandbox).enumerate() {
                compare(&format!("{path}[{at}]"), one, other, found);
            }
        }
        (real, sandbox) if real == sandbox => {}
        (real, sandbox) => found.push(format!("{path}: real {real}, sandbox {sandbox}")),
    }
}

fn told(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
