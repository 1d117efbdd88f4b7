//! A cluster on virtual time, asked in a few words.

use astern_sandbox::{Answer, Behaviour, BehaviourRule, Behaviours, Cluster, Options, Request, Stream, When};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A cluster and its clock.
pub(crate) struct Sandbox {
    pub(crate) cluster: Cluster,
    pub(crate) now: Timestamp,
}

/// An answer's code and body.
pub(crate) type Told = (u16, Value);

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut sandbox = Self {
            cluster: Cluster::new(options, now),
            now,
        };
        sandbox.create("/api/v1/namespaces", json!({"metadata": {"name": "shop"}}));
        sandbox.settle();
        sandbox
    }

    /// With these images behaving so.
    pub(crate) fn behaving(rules: &[(&str, Behaviour)]) -> Self {
        let rules = rules.iter().map(|(image, behaviour)| BehaviourRule {
            when: When::Image((*image).to_owned()),
            behaviour: behaviour.clone(),
        });
        Self::with(Options {
            behaviours: Behaviours {
                rules: rules.collect(),
                otherwise: Behaviour::default(),
            },
            ..Options::default()
        })
    }

    pub(crate) fn send(&mut self, method: Method, path: &str, content_type: &str, body: &Value) -> Told {
        match self.ask(method, path, content_type, "application/json", body) {
            Answer::Whole(response) => {
                let body = serde_json::from_slice(&response.body)
                    .unwrap_or_else(|_| String::from_utf8_lossy(&response.body).into_owned().into());
                (response.code, body)
            }
            Answer::Stream(_) => panic!("{path} is a stream"),
        }
    }

    pub(crate) fn ask(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: &Value,
    ) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            content_type: content_type.to_owned(),
            accept: accept.to_owned(),
            body: if body.is_null() {
                Vec::new().into()
            } else {
                body.to_string().into_bytes().into()
            },
            ..Request::default()
        };
        self.cluster.handle(self.now, &request)
    }

    pub(crate) fn get(&mut self, path: &str) -> Told {
        self.send(Method::GET, path, "", &Value::Null)
    }

    pub(crate) fn post(&mut self, path: &str, body: Value) -> Told {
        self.send(Method::POST, path, "application/json", &body)
    }

    pub(crate) fn put(&mut self, path: &str, body: Value) -> Told {
        self.send(Method::PUT, path, "application/json", &body)
    }

    pub(crate) fn patch(&mut self, path: &str, content_type: &str, body: Value) -> Told {
        self.send(Method::PATCH, path, content_type, &body)
    }

    pub(crate) fn delete(&mut self, path: &str, options: Value) -> Told {
        self.send(Method::DELETE, path, "application/json", &options)
    }

    /// Creates what must be possible.
    pub(crate) fn create(&mut self, path: &str, body: Value) -> Value {
        let (code, made) = self.post(path, body);
        assert_eq!(code, 201, "{made}");
        made
    }

    /// Reads what must be there.
    pub(crate) fn read(&mut self, path: &str) -> Value {
        let (code, found) = self.get(path);
        assert_eq!(code, 200, "{path}: {found}");
        found
    }

    /// Lets everything happen that is due now.
    pub(crate) fn settle(&mut self) {
        self.cluster.advance(self.now);
    }

    /// Lets so many seconds go by.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.cluster.advance(self.now);
    }

    pub(crate) fn watch(&mut self, path: &str) -> Stream {
        match self.ask(Method::GET, path, "", "application/json", &Value::Null) {
            Answer::Stream(stream) => stream,
            Answer::Whole(response) => panic!("{path}: {}", String::from_utf8_lossy(&response.body)),
        }
    }

    /// What a watch has to say now: types and objects.
    pub(crate) fn events(&mut self, stream: &mut Stream) -> Vec<(String, Value)> {
        let bytes = self.cluster.poll(self.now, stream);
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut event: Value = serde_json::from_slice(line).unwrap();
                (event["type"].as_str().unwrap().to_owned(), event["object"].take())
            })
            .collect()
    }

    /// The pods of the namespace: name, phase, why a container waits, ready.
    pub(crate) fn pods(&mut self) -> Vec<String> {
        let list = self.read("/api/v1/namespaces/shop/pods");
        list["items"].as_array().unwrap().iter().map(told).collect()
    }
}

fn told(pod: &Value) -> String {
    let status = &pod["status"]["containerStatuses"][0];
    let waiting = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let ready = if status["ready"] == true { "ready" } else { "" };
    let going = if pod["metadata"]["deletionTimestamp"].is_null() {
        ""
    } else {
        "terminating"
    };
    let words = [image, phase, waiting, ready, going];
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A workload's manifest.
pub(crate) fn workload(kind: &str, name: &str, image: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    })
}

/// The condition of a type.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|each| each["type"] == kind);
    found.map_or_else(String::new, |found| {
        format!(
            "{} {}: {}",
            found["status"].as_str().unwrap_or_default(),
            found["reason"].as_str().unwrap_or_default(),
            found["message"].as_str().unwrap_or_default()
        )
    })
}
