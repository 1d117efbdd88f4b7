//! The floor: a bare program that patches every Deployment at once and waits, and does nothing else. It speaks plain
//! HTTP to `kubectl proxy`, since xtask has no TLS; the proxy is up before the clock starts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ground::{Release, number};
use crate::failure::{Failure, Outcome, doing};

/// No rollout here takes longer; a floor that hangs is no floor.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a watch prints of a Deployment.
const FIELDS: &str = "jsonpath={.metadata.name}/{.status.observedGeneration}/{.status.replicas}/\
                      {.status.updatedReplicas}/{.status.availableReplicas}{\"\\n\"}";

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

    /// Puts every service back to the good version, all at once, and returns when all of them serve.
    pub(super) fn take_back(&self, release: &Release<'_>) -> Outcome<Duration> {
        let watch = Watch::start(release)?;
        let start = Instant::now();
        let patched = self.patch(release)?;
        watch.until_serving(&patched)?;
        Ok(start.elapsed())
    }

    /// The generation that each patch made.
    fn patch(&self, release: &Release<'_>) -> Outcome<BTreeMap<String, i64>> {
        let patch = &good(&release.good_image());
        thread::scope(|scope| {
            let patches: Vec<_> = release
                .names()
                .map(|name| {
                    let path = format!(
                        "/apis/apps/v1/namespaces/{}/deployments/{name}",
                        release.namespace
                    );
                    let patch = scope.spawn(move || self.request("PATCH", &path, Some(patch)));
                    (name, patch)
                })
                .collect();
            let done = patches.into_iter().map(|(name, patch)| {
                let object = patch
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new("a patch panicked")))?;
                Ok((name, number(&object, "/metadata/generation")))
            });
            done.collect()
        })
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

/// The good version of a service; the rest of its template stays.
fn good(image: &str) -> Value {
    json!({"spec": {"template": {
        "metadata": {"labels": {"kwok.astern.dev/crash-loop": null}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }}})
}

/// A watch of a namespace's Deployments that is up before the clock starts: `kubectl proxy` would hold events back.
struct Watch {
    child: Child,
    states: mpsc::Receiver<State>,
}

/// A Deployment as one line of the watch tells it.
struct State {
    name: String,
    observed: i64,
    serves: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Watch {
    fn start(release: &Release<'_>) -> Outcome<Self> {
        let get = [
            "get",
            "deployments",
            "-n",
            &release.namespace,
            "--watch",
            "-o",
            FIELDS,
        ];
        let mut child = release
            .ground
            .kubectl(&get)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(doing("start a watch"))?;
        let (send, states) = mpsc::channel();
        let out = child.stdout.take();
        thread::spawn(move || {
            let lines = out.map(BufReader::new).into_iter().flat_map(BufRead::lines);
            for state in lines.map_while(Result::ok).filter_map(|line| State::read(&line)) {
                if send.send(state).is_err() {
                    break;
                }
            }
        });
        let watch = Self { child, states };
        for _ in release.names() {
            watch.next()?;
        }
        Ok(watch)
    }

    fn next(&self) -> Outcome<State> {
        self.states
            .recv_timeout(DEADLINE)
            .map_err(|_| Failure::new("the watch of Deployments told nothing more"))
    }

    fn until_serving(&self, patched: &BTreeMap<String, i64>) -> Outcome {
        let mut open: BTreeSet<&String> = patched.keys().collect();
        while !open.is_empty() {
            let state = self.next()?;
            let wanted = patched.get(&state.name).copied().unwrap_or(i64::MAX);
            if state.serves && state.observed >= wanted {
                open.remove(&state.name);
            }
        }
        Ok(())
    }
}

impl State {
    /// What `kubectl rollout status` looks at.
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split('/');
        let name = fields.next()?.to_owned();
        let numbers: Vec<i64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        let [observed, replicas, updated, available] = numbers[..] else {
            return None;
        };
        Some(Self {
            name,
            observed,
            serves: [replicas, updated, available] == [1; 3],
        })
    }
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
