//! The floor: a bare program that patches every Deployment at once and waits, and does nothing else. It speaks plain
//! HTTP to `kubectl proxy`, since xtask has no TLS; the proxy is up before the clock starts.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ground::{Release, number};
use crate::failure::{Failure, Outcome, doing};

/// No rollout here takes longer; a floor that hangs is no floor.
const DEADLINE: Duration = Duration::from_secs(180);

/// A running `kubectl proxy`.
pub(super) struct Proxy {
    child: Child,
    address: String,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Proxy {
    pub(super) fn start(release: &Release<'_>) -> Outcome<Self> {
        let mut command = release.ground.kubectl(&["proxy", "--port=0"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(doing("start kubectl proxy"))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out)
                .read_line(&mut line)
                .map_err(doing("read what kubectl proxy says"))?;
        }
        let address = line.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        Ok(Self { child, address })
    }

    /// Puts every service back to v1, all at once, and returns when all of them serve.
    pub(super) fn take_back(&self, release: &Release<'_>) -> Outcome<Duration> {
        let start = Instant::now();
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", release.namespace);
        let list = self.request("GET", &path, None)?;
        let version = list
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let watch = self.open(
            "GET",
            &format!("{path}?watch=true&resourceVersion={version}"),
            None,
        )?;
        let patched = thread::scope(|scope| {
            let patches: Vec<_> = release
                .names()
                .map(|name| {
                    let path = format!("{path}/{name}");
                    scope.spawn(move || self.request("PATCH", &path, Some(&good())))
                })
                .collect();
            patches
                .into_iter()
                .map(|patch| {
                    patch
                        .join()
                        .unwrap_or_else(|_| Err(Failure::new("a patch panicked")))
                })
                .collect::<Outcome<Vec<Value>>>()
        })?;
        let generations = patched
            .iter()
            .map(|object| (name_of(object), number(object, "/metadata/generation")))
            .collect();
        wait(watch, generations)?;
        Ok(start.elapsed())
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let mut stream = self.open(method, path, body)?;
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .map_err(doing(format!("{method} {path}")))?;
        // A chunked answer's lengths stand on lines of their own between the pieces of JSON.
        let (head, rest) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            return Err(Failure::new(format!("{method} {path}: {status} {rest}")));
        }
        let rest = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            dechunked(rest)
        } else {
            rest.to_owned()
        };
        serde_json::from_str(&rest)
            .map_err(|error| Failure::new(format!("{method} {path} gave no JSON: {error}")))
    }

    fn open(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<TcpStream> {
        let doing_it = || doing(format!("{method} {path}"));
        let mut stream = TcpStream::connect(&self.address).map_err(doing_it())?;
        stream.set_nodelay(true).map_err(doing_it())?;
        stream.set_read_timeout(Some(DEADLINE)).map_err(doing_it())?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/strategic-merge-patch+json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(doing_it())?;
        Ok(stream)
    }
}

/// v1 of a service; the rest of its template stays.
fn good() -> Value {
    json!({"spec": {"template": {
        "metadata": {"labels": {"kwok.astern.dev/crash-loop": null}},
        "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
    }}})
}

/// Reads the watch until every Deployment serves the generation that its patch made.
fn wait(watch: TcpStream, generations: Vec<(String, i64)>) -> Outcome {
    let mut open: BTreeSet<String> = generations.iter().map(|(name, _)| name.clone()).collect();
    for line in BufReader::new(watch).lines() {
        let line = line.map_err(doing("read the watch"))?;
        // Heads and chunk lengths are no objects; an event is one line.
        let Ok(Value::Object(event)) = serde_json::from_str(&line) else {
            continue;
        };
        let Some(object) = event.get("object") else {
            continue;
        };
        let name = name_of(object);
        let wanted = generations.iter().find(|(known, _)| known == &name);
        if wanted.is_some_and(|(_, generation)| serves(object, *generation)) {
            open.remove(&name);
        }
        if open.is_empty() {
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "the watch ended with {} not serving",
        open.len()
    )))
}

/// What `kubectl rollout status` waits for.
fn serves(object: &Value, generation: i64) -> bool {
    number(object, "/status/observedGeneration") >= generation
        && number(object, "/status/updatedReplicas") == 1
        && number(object, "/status/replicas") == 1
        && number(object, "/status/availableReplicas") == 1
}

fn name_of(object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

fn dechunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let Ok(length @ 1..) = usize::from_str_radix(length.trim(), 16) else {
            break;
        };
        whole.push_str(rest.get(..length).unwrap_or_default());
        text = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}
