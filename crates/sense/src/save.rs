//! Saving what a rollback would destroy: the logs of containers that fail, warnings, pod status. Owns what is saved,
//! in which order the bytes go, and what was missed; masks everything before it leaves memory.

use crate::fetch::{Container, LogPart, NoLog, Way, get, list, log};
use crate::mask::Masker;
use crate::recent::Recent;
use crate::words::shortened;
use astern_model::content::ContentRef;
use astern_model::evidence::Trouble;
use astern_model::inventory::Inventory;
use astern_model::record::{Part, SavedEvidence};
use astern_model::target::Target;
use astern_model::workload::{Pod, Workload};
use astern_port::sense::Saved;
use astern_port::vault::Vault;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Pods of one workload that are looked at. Pods of one version fail alike; how many were left out is told.
const PODS_PER_WORKLOAD: usize = 5;
/// From so many pods on one list costs the API server less than the reads.
const MANY: usize = 8;
/// Pods of that list.
const PODS: u32 = 500;
/// Lines of one container's log, from its end: an exception with its causes, and what came before it.
const LOG_LINES: i64 = 1000;
/// Of one container's log so much is kept, from its end.
const LOG_KIB: usize = 256;
/// The kubelet gives up after so many bytes of the last lines; very long lines reach it.
const LOG_READ: i64 = 4 * 1024 * 1024;
/// Warnings that are read; the API server keeps them for an hour.
const EVENTS: u32 = 1000;
/// Lines of each piece that the report shows.
const SHOWN_LINES: usize = 8;
/// What the vault calls saved evidence.
const LABEL: &str = "evidence";
/// How long storing may take once the reading is over.
pub(crate) const STORING: SignedDuration = SignedDuration::from_secs(2);

/// One saving.
pub(crate) struct Save<'a> {
    way: &'a Way<'a>,
    vault: &'a dyn Vault,
    inventory: &'a Inventory,
    masker: Masker<'a>,
    recent: &'a Recent,
    /// The namespace's pods, read once where many are looked at.
    pods: OnceCell<BTreeMap<String, Value>>,
}

/// A piece of evidence, masked, before it is stored. Ordered by what is lost first when bytes are short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    rank: Rank,
    what: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Previous,
    Current,
    Status,
    Events,
}

/// What reading gave: pieces, and what could not be had, each as a phrase.
#[derive(Default)]
struct Gathered {
    pieces: Vec<Piece>,
    missed: Vec<String>,
}

impl Gathered {
    fn and(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self.missed.extend(other.missed);
        self
    }
}

impl<'a> Save<'a> {
    /// A saving of what `inventory` names; reads end with `way`.
    pub(crate) fn new(
        way: &'a Way<'a>,
        vault: &'a dyn Vault,
        inventory: &'a Inventory,
        recent: &'a Recent,
    ) -> Self {
        Self {
            way,
            vault,
            inventory,
            masker: Masker::new(way, inventory),
            recent,
            pods: OnceCell::new(),
        }
    }

    /// Reads, masks and stores, until `deadline` and within the bytes.
    pub(crate) async fn all(&self, targets: &[Target], deadline: Instant, bytes: u64) -> Saved {
        let workloads: Vec<&Workload> = targets
            .iter()
            .filter_map(|target| self.inventory.workloads.get(target))
            .collect();
        let mut gathered = Gathered::default();
        let mut pods = Vec::new();
        for workload in &workloads {
            let (chosen, left_out) = worth_saving(workload);
            if left_out > 0 {
                gathered.missed.push(format!(
                    "{left_out} further failing pods of {}: only {PODS_PER_WORKLOAD} were read",
                    workload.target
                ));
            }
            pods.extend(chosen.into_iter().map(|pod| (*workload, pod)));
        }
        let many = pods.len() >= MANY;
        let pods = pods
            .into_iter()
            .map(|(workload, pod)| self.pod(workload, pod, many));
        let pods = futures::future::join_all(pods);
        let (pods, events) = futures::join!(pods, self.events(&workloads));
        let all = pods.into_iter().chain([events]).fold(gathered, Gathered::and);
        self.store(all, deadline, bytes).await
    }

    /// One pod: its status, and the logs of its failing containers.
    async fn pod(&self, workload: &Workload, pod: &Pod, many: bool) -> Gathered {
        let namespace = &workload.target.namespace;
        let logs = wanted_logs(pod)
            .into_iter()
            .map(|(container, previous)| async move {
                (
                    container,
                    previous,
                    self.log(namespace, pod, container, previous).await,
                )
            });
        let (found, logs) = futures::join!(
            self.found(namespace, &pod.name, many),
            futures::future::join_all(logs)
        );
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return missed(pod, "it is gone"),
            // Without the pod it is not known which Secrets it consumes, so nothing of it can be masked.
            Err(why) => return missed(pod, &why),
        };
        let mut gathered = Gathered::default();
        let status = serde_json::to_string_pretty(&status_of(&found)).unwrap_or_default();
        let mut pieces = vec![Piece {
            rank: Rank::Status,
            what: format!("status pod/{}", pod.name),
            text: status,
        }];
        for (container, previous, log) in logs {
            let (rank, attempt) = if previous {
                (Rank::Previous, " (previous)")
            } else {
                (Rank::Current, "")
            };
            let what = format!("log pod/{} container {container}{attempt}", pod.name);
            match log {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => pieces.push(Piece {
                    rank,
                    what,
                    text: end_of(&text).to_owned(),
                }),
                Err(NoLog::NeverRan) => {}
                Err(NoLog::Unreadable(why)) => gathered.missed.push(format!("{what}: {why}")),
            }
        }
        let texts = pieces.iter().map(|piece| piece.text.clone()).collect();
        let spec = found.get("spec").unwrap_or(&Value::Null);
        match self.masker.of_pod(workload, spec, texts).await {
            Ok(texts) => gathered.pieces.extend(
                pieces
                    .into_iter()
                    .zip(texts)
                    .map(|(piece, text)| Piece { text, ..piece }),
            ),
            Err(why) => gathered.missed.extend(missed(pod, &why).missed),
        }
        gathered
    }

    /// The pod as the API server has it: of `many` from one list, as far as its first page goes.
    async fn found(&self, namespace: &str, name: &str, many: bool) -> Result<Option<Value>, String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        if many {
            let listed = self.pods.get_or_init(|| listed(self.way, &path)).await;
            if let Some(found) = listed.get(name) {
                return Ok(Some(found.clone()));
            }
        }
        get(self.way, &path, name).await
    }

    async fn log(
        &self,
        namespace: &str,
        pod: &Pod,
        container: &str,
        previous: bool,
    ) -> Result<String, NoLog> {
        let recent = self.recent.get(pod.uid.as_str(), container, previous);
        match tokio::time::timeout_at(self.way.deadline(), recent).await {
            Ok(Some(log)) => return log,
            Ok(None) => {}
            Err(_) => return Err(NoLog::Unreadable("not had in time".to_owned())),
        }
        let part = LogPart {
            previous,
            since_seconds: None,
            tail_lines: Some(LOG_LINES),
            limit_bytes: LOG_READ,
            timestamps: true,
        };
        let of = Container {
            namespace,
            pod: &pod.name,
            name: container,
            node: pod.node.as_deref(),
        };
        log(self.way, of, &part).await.map(|log| log.text)
    }

    /// The warnings about the workloads, their revisions and their pods, one piece a workload.
    async fn events(&self, workloads: &[&Workload]) -> Gathered {
        let mut gathered = Gathered::default();
        let Some(namespace) = workloads
            .first()
            .map(|workload| workload.target.namespace.as_str())
        else {
            return gathered;
        };
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let found = match list(self.way, &path, "type=Warning", EVENTS).await {
            Ok(found) => found,
            Err(why) => {
                gathered
                    .missed
                    .push(format!("warning events of namespace {namespace}: {why}"));
                return gathered;
            }
        };
        if found
            .pointer("/metadata/continue")
            .and_then(Value::as_str)
            .is_some_and(|more| !more.is_empty())
        {
            gathered
                .missed
                .push(format!("warning events of namespace {namespace} beyond {EVENTS}"));
        }
        let events = found
            .get("items")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for workload in workloads {
            let lines = lines_about(workload, events);
            if lines.is_empty() {
                continue;
            }
            let what = format!("warning events {}", workload.target);
            // A probe's output is quoted in its event.
            match self.masker.of_workload(workload, &lines.join("\n")).await {
                Ok(text) => gathered.pieces.push(Piece {
                    rank: Rank::Events,
                    what,
                    text,
                }),
                Err(why) => gathered.missed.push(format!("{what}: {why}")),
            }
        }
        gathered
    }

    /// Stores what fits as one content, in the order of what would be lost first.
    async fn store(&self, gathered: Gathered, deadline: Instant, bytes: u64) -> Saved {
        let Gathered {
            mut pieces,
            mut missed,
        } = gathered;
        pieces.sort();
        let (fitting, left_out) = fitting(pieces, bytes);
        missed.extend(
            left_out
                .into_iter()
                .map(|what| format!("{what}: beyond the {} KiB in all", bytes / 1024)),
        );
        missed.sort();
        if fitting.is_empty() {
            return Saved {
                evidence: Vec::new(),
                missed,
            };
        }
        let whole: String = fitting.iter().map(|piece| piece.text.as_str()).collect();
        let put = tokio::time::timeout_at(deadline, self.vault.put(LABEL, whole.as_bytes())).await;
        let why = match put {
            Ok(Ok(content)) => {
                let evidence = placed(fitting, &content);
                return Saved { evidence, missed };
            }
            Ok(Err(failure)) => failure.message,
            Err(_) => "not stored in time".to_owned(),
        };
        missed.extend(fitting.into_iter().map(|piece| format!("{}: {why}", piece.what)));
        missed.sort();
        Saved {
            evidence: Vec::new(),
            missed,
        }
    }
}

/// One page of pods by name; none where it cannot be had.
async fn listed(way: &Way<'_>, path: &str) -> BTreeMap<String, Value> {
    let page = list(way, path, "", PODS).await.unwrap_or_default();
    let pods = page.get("items").and_then(Value::as_array);
    let named = pods.into_iter().flatten().filter_map(|pod| {
        let name = pod.pointer("/metadata/name")?.as_str()?;
        Some((name.to_owned(), pod.clone()))
    });
    named.collect()
}

/// The pieces as they follow one another in the stored content.
fn placed(pieces: Vec<Piece>, content: &ContentRef) -> Vec<SavedEvidence> {
    let mut from = 0;
    let mut evidence = Vec::new();
    for piece in pieces {
        let size = piece.text.len() as u64;
        evidence.push(SavedEvidence {
            tail: tail_of(&piece),
            what: piece.what,
            content: content.clone(),
            part: Some(Part { from, size }),
        });
        from += size;
    }
    evidence
}

/// The pods whose evidence is saved, and how many failing ones are left out. Where none fails, one pod of the live
/// version stands for it: a version may answer badly while its pods are ready.
fn worth_saving(workload: &Workload) -> (Vec<&Pod>, usize) {
    let fails = |pod: &&Pod| {
        !matches!(
            pod.trouble,
            None | Some(Trouble::Terminating | Trouble::NodeLost { .. })
        )
    };
    let mut failing: Vec<&Pod> = workload.pods.iter().filter(fails).collect();
    failing.sort_by_key(|pod| (std::cmp::Reverse(pod.restarts), &pod.name));
    if failing.is_empty() {
        let live = workload.template.hash();
        return (
            workload
                .pods
                .iter()
                .find(|pod| pod.revision.as_ref() == Some(&live))
                .into_iter()
                .collect(),
            0,
        );
    }
    let left_out = failing.len().saturating_sub(PODS_PER_WORKLOAD);
    failing.truncate(PODS_PER_WORKLOAD);
    (failing, left_out)
}

/// The containers whose logs are read, and whether of the attempt before. A pod that serves is read as it runs.
fn wanted_logs(pod: &Pod) -> Vec<(&str, bool)> {
    if pod.ready {
        return pod.containers.iter().map(|name| (name.as_str(), false)).collect();
    }
    pod.failing
        .iter()
        .flat_map(|name| {
            let previous = (pod.restarts > 0).then_some((name.as_str(), true));
            [(name.as_str(), false)].into_iter().chain(previous)
        })
        .collect()
}

/// What of a pod is kept: its status and where it ran. Its spec holds literal values of variables.
fn status_of(pod: &Value) -> Value {
    json!({
        "metadata": {
            "name": pod.pointer("/metadata/name"),
            "namespace": pod.pointer("/metadata/namespace"),
            "uid": pod.pointer("/metadata/uid"),
            "creationTimestamp": pod.pointer("/metadata/creationTimestamp"),
            "ownerReferences": pod.pointer("/metadata/ownerReferences"),
        },
        "spec": {"nodeName": pod.pointer("/spec/nodeName")},
        "status": pod.get("status"),
    })
}

fn lines_about(workload: &Workload, events: &[Value]) -> Vec<String> {
    let pods = workload.pods.iter().map(|pod| pod.uid.as_str());
    let revisions = workload.revisions.iter().map(|revision| revision.uid.as_str());
    let own: BTreeSet<&str> = pods.chain(revisions).chain([workload.uid.as_str()]).collect();
    let text = |event: &Value, pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut lines: BTreeMap<(String, String), String> = BTreeMap::new();
    for event in events.iter().filter(|event| {
        event["involvedObject"]["uid"]
            .as_str()
            .is_some_and(|uid| own.contains(uid))
    }) {
        let times = [
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ];
        let at = times
            .iter()
            .map(|time| text(event, time))
            .find(|time| !time.is_empty())
            .unwrap_or_default();
        let count = event
            .get("count")
            .and_then(Value::as_u64)
            .filter(|count| *count > 1);
        let count = count.map(|count| format!(" ({count} times)")).unwrap_or_default();
        let (kind, name) = (
            text(event, "/involvedObject/kind").to_lowercase(),
            text(event, "/involvedObject/name"),
        );
        let line = format!(
            "{at} {} {kind}/{name}{count}: {}",
            text(event, "/reason"),
            text(event, "/message").trim()
        );
        lines.insert((at, text(event, "/metadata/uid")), line);
    }
    lines.into_values().collect()
}

fn missed(pod: &Pod, why: &str) -> Gathered {
    Gathered {
        pieces: Vec::new(),
        missed: vec![format!("logs and status of pod/{}: {why}", pod.name)],
    }
}

/// The end of a log, from a whole line on.
fn end_of(text: &str) -> &str {
    let Some(mut start) = text.len().checked_sub(LOG_KIB * 1024).filter(|start| *start > 0) else {
        return text;
    };
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let rest = &text[start..];
    rest.split_once('\n').map_or(rest, |(_, whole)| whole)
}

fn fitting(pieces: Vec<Piece>, bytes: u64) -> (Vec<Piece>, Vec<String>) {
    let mut left = bytes;
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for piece in pieces {
        let size = u64::try_from(piece.text.len()).unwrap_or(u64::MAX);
        match left.checked_sub(size) {
            Some(rest) => {
                left = rest;
                kept.push(piece);
            }
            None => left_out.push(piece.what),
        }
    }
    (kept, left_out)
}

/// The last lines for the report. A status is a document, of which no line says anything by itself.
fn tail_of(piece: &Piece) -> Vec<String> {
    if piece.rank == Rank::Status {
        return Vec::new();
    }
    let lines: Vec<&str> = piece
        .text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..]
        .iter()
        .map(|line| shortened(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        let line = "x".repeat(1023);
        let text = format!("{line}\n").repeat(LOG_KIB + 1);
        let end = end_of(&text);
        assert!(
            end.len() <= LOG_KIB * 1024 && end.starts_with("xxx") && end.len().is_multiple_of(1024),
            "{}",
            end.len()
        );
        assert_eq!(end_of("short\n"), "short\n");
    }

    #[test]
    fn what_does_not_fit_is_named_and_the_crashs_own_log_goes_first() {
        let piece = |rank, what: &str, size| Piece {
            rank,
            what: what.to_owned(),
            text: "x".repeat(size),
        };
        let mut pieces = vec![
            piece(Rank::Events, "events", 10),
            piece(Rank::Current, "log", 60),
            piece(Rank::Previous, "log (previous)", 40),
        ];
        pieces.sort();
        let (kept, left_out) = fitting(pieces, 60);
        let kept: Vec<&str> = kept.iter().map(|piece| piece.what.as_str()).collect();
        assert_eq!(
            (kept, left_out),
            (vec!["log (previous)", "events"], vec!["log".to_owned()])
        );
    }
}
