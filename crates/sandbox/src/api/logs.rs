//! Logs of containers: lines that their behaviour writes at its rate. Nothing is stored; the lines of a time are always
//! the same.

use super::route::Query;
use super::status::{Cause, Outcome, Refusal};
use crate::behaviour::Logs;
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::node::kubelet::Running;
use crate::object::{list, text};
use crate::random::{fnv, mix};
use crate::store::Key;
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;

/// More lines than these are not kept, as a kubelet keeps so many bytes.
const KEPT: i64 = 10_000;

/// A log that is read.
pub(super) enum Log {
    /// No node has the pod yet.
    Nowhere,
    Whole(Vec<u8>),
    Follow(Follow),
}

/// A log that is followed.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    key: Key,
    source: Source,
    next: i64,
    timestamps: bool,
    first: Vec<u8>,
    ended: bool,
}

/// One run of one container.
#[derive(Clone, Debug)]
struct Source {
    logs: Option<Logs>,
    identity: u64,
    started: Timestamp,
    /// When it ended; none while it runs.
    finished: Option<Timestamp>,
}

pub(super) fn open(cluster: &Cluster, kind: &Kind, key: &Key, query: &Query) -> Outcome<Log> {
    let pod = cluster
        .store
        .get(key)
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    valid(&key.name, query)?;
    let name = container_name(pod, query)?;
    if text(pod, "spec.nodeName").is_empty() {
        return Ok(Log::Nowhere);
    }
    let source = source(cluster, key, pod, &name, query.flag("previous"))?;
    let since = match (query.number::<i64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => Some(cluster.now - SignedDuration::from_secs(seconds)),
        (None, Some(text)) => Some(
            time::parsed(text)
                .ok_or_else(|| Refusal::bad_request(format!("parameter sinceTime: {text:?} is no time")))?,
        ),
        (None, None) => None,
    };
    let timestamps = query.flag("timestamps");
    let (from, to) = (source.first(since, cluster.now), source.count(cluster.now));
    let tail: Option<i64> = query.number("tailLines")?;
    let from = tail.map_or(from, |tail| from.max(to - tail.max(0)));
    let mut body: Vec<u8> = Vec::new();
    for number in from..to {
        source.line(&mut body, number, timestamps);
    }
    if let Some(limit) = query.number::<usize>("limitBytes")? {
        body.truncate(limit);
    }
    if query.flag("follow") {
        return Ok(Log::Follow(Follow {
            key: key.clone(),
            source,
            next: to,
            timestamps,
            first: body,
            ended: false,
        }));
    }
    Ok(Log::Whole(body))
}

fn valid(name: &str, query: &Query) -> Outcome<()> {
    let mut causes = Vec::new();
    for (field, least, words) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let number: Option<i64> = query.number(field)?;
        if let Some(number) = number.filter(|number| *number < least) {
            causes.push(Cause::invalid(field, &number, words));
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let words = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        causes.push(Cause::forbidden("[]", words));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid_as("PodLogOptions", "", name, &causes))
    }
}

fn container_name(pod: &Value, query: &Query) -> Outcome<String> {
    let all: VecDeque<&str> = ["spec.containers", "spec.initContainers"]
        .into_iter()
        .flat_map(|field| list(pod, field))
        .map(|spec| text(spec, "name"))
        .collect();
    let pod_name = text(pod, "metadata.name");
    match query.get("container") {
        Some(name) if all.contains(&name) => Ok(name.to_owned()),
        Some(name) => Err(Refusal::bad_request(format!(
            "container {name} is not valid for pod {pod_name}"
        ))),
        None => match list(pod, "spec.containers") {
            [only] => Ok(text(only, "name").to_owned()),
            _ => {
                let names: Vec<&str> = ["spec.initContainers", "spec.containers"]
                    .into_iter()
                    .flat_map(|field| list(pod, field))
                    .map(|spec| text(spec, "name"))
                    .collect();
                Err(Refusal::bad_request(format!(
                    "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                    names.join(" ")
                )))
            }
        },
    }
}

fn source(cluster: &Cluster, key: &Key, pod: &Value, name: &str, previous: bool) -> Outcome<Source> {
    let pod_name = text(pod, "metadata.name");
    let running = cluster.nodes.running(key);
    let container = running.and_then(|running| Running::container(running, pod, name));
    let spec = ["spec.containers", "spec.initContainers"]
        .into_iter()
        .flat_map(|field| list(pod, field))
        .find(|spec| text(spec, "name") == name);
    let (behaviours, environment) = (&cluster.options.behaviours, cluster.nodes.environment(pod));
    let logs = spec.and_then(|spec| behaviours.of(pod, spec, &environment).logs.clone());
    let identity = format!("{}/{name}", text(pod, "metadata.uid"));
    let source = |started: Timestamp, finished: Option<Timestamp>| Source {
        logs: logs.clone(),
        identity: u64::from(fnv(identity.as_bytes())),
        started,
        finished,
    };
    let last = container.and_then(|container| container.last.as_ref());
    if previous {
        let last = last.filter(|_| container.is_some_and(|container| container.restarts > 0));
        return last
            .map(|last| source(last.started, Some(last.finished)))
            .ok_or_else(|| {
                Refusal::bad_request(format!(
                    "previous terminated container {name:?} in pod {pod_name:?} not found"
                ))
            });
    }
    if let Some(since) = container.and_then(crate::node::kubelet::since) {
        return Ok(source(since, None));
    }
    if let Some(last) = last {
        return Ok(source(last.started, Some(last.finished)));
    }
    let reason = list(pod, "status.containerStatuses")
        .iter()
        .chain(list(pod, "status.initContainerStatuses"))
        .find(|status| text(status, "name") == name)
        .map(|status| text(status, "state.waiting.reason"))
        .filter(|reason| !reason.is_empty())
        .unwrap_or("ContainerCreating");
    let waiting = match reason {
        "ImagePullBackOff" | "ErrImagePull" => "trying and failing to pull image".to_owned(),
        reason => format!("waiting to start: {reason}"),
    };
    Err(Refusal::bad_request(format!(
        "container {name:?} in pod {pod_name:?} is {waiting}"
    )))
}

impl Source {
    /// How many lines were written until a time.
    fn count(&self, now: Timestamp) -> i64 {
        let until = self.finished.map_or(now, |finished| finished.min(now));
        let span = until.duration_since(self.started).as_millis();
        match self.every() {
            Some(every) if span >= 0 => i64::try_from(span / every).unwrap_or(i64::MAX) + 1,
            _ => 0,
        }
    }

    /// The first line that is kept and not older than a time.
    fn first(&self, since: Option<Timestamp>, now: Timestamp) -> i64 {
        let kept = (self.count(now) - KEPT).max(0);
        let (Some(since), Some(every)) = (since, self.every()) else {
            return kept;
        };
        let span = since.duration_since(self.started).as_millis();
        if span <= 0 {
            return kept;
        }
        i64::try_from((span + every - 1) / every)
            .unwrap_or(i64::MAX)
            .max(kept)
    }

    fn every(&self) -> Option<i128> {
        Some(self.logs.as_ref()?.every.as_millis().max(1))
    }

    fn at(&self, number: i64) -> Timestamp {
        let every = self.logs.as_ref().map_or(0, |logs| logs.every.as_millis().max(1));
        let millis = i64::try_from(every.saturating_mul(i128::from(number))).unwrap_or(i64::MAX);
        self.started + SignedDuration::from_millis(millis)
    }

    fn line(&self, into: &mut Vec<u8>, number: i64, timestamps: bool) {
        let Some(logs) = &self.logs else { return };
        /// So fine is a share.
        const PARTS: u64 = 1 << 20;
        let dice = mix(self.identity ^ (number as u64).wrapping_mul(0x9e37_79b9));
        let share = (dice % PARTS) as f64 / PARTS as f64;
        let text = if share < logs.error_share {
            &logs.error_text
        } else {
            &logs.text
        };
        // Between half and one and a half times the usual.
        let usual = logs.latency.as_millis();
        let latency = usual / 2 + usual * i128::from((dice >> 32) % 1000) / 1000;
        let line = text
            .replace("{latency}", &latency.to_string())
            .replace("{n}", &number.to_string());
        if timestamps {
            into.extend(time::micros(self.at(number)).into_bytes());
            into.push(b' ');
        }
        into.extend(line.into_bytes());
        into.push(b'\n');
    }
}

impl Follow {
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn due(&self) -> Timestamp {
        // Without lines of its own, only the pod's end is waited for, and that is a change.
        let far = Timestamp::MAX;
        if self.source.logs.is_some() {
            self.source.at(self.next)
        } else {
            far
        }
    }

    pub(crate) fn poll(&mut self, cluster: &Cluster) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.first);
        let running = cluster.nodes.running(&self.key);
        let pod = cluster.store.get(&self.key);
        if pod.is_none() || running.is_none() {
            self.ended = true;
        }
        let ended = running.and_then(|running| running.ended_after(self.source.started));
        self.source.finished = self.source.finished.or(ended);
        let to = self.source.count(cluster.now);
        for number in self.next..to {
            self.source.line(&mut bytes, number, self.timestamps);
        }
        self.next = self.next.max(to);
        self.ended |= self.source.finished.is_some();
        bytes
    }
}
