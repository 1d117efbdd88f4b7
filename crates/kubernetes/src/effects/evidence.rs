//! The lines that show why a rollout cannot succeed: the pod's last warning event, the last lines of its failing
//! container. Owns reading them within a bound; decides nothing. What could not be had is said in its place.

use super::access::Access;
use super::mask;
use super::standing::Suspect;
use crate::failure::{Attempt, Verb};
use astern_model::mask::Masks;
use k8s_openapi::api::core::v1::Event;
use kube::api::LogParams;
use std::time::Duration;

/// Enough to see an exception's end; the whole log is saved elsewhere.
const LOG_LINES: i64 = 10;
/// A line of a log may be a whole JSON document; a person reads its beginning.
const LINE_LENGTH: usize = 300;
/// Ten lines of that length, and room for the encoding.
const LOG_BYTES: i64 = 16 * 1024;
/// A node that hangs answers no request for logs, and the failure must not wait for it.
const WITHIN: Duration = Duration::from_secs(3);

/// These reads change nothing, and their failures are told as a line.
const OPERATION: &str = "read evidence";

/// What the cluster tells of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What was said of the pod, masked.
    pub(crate) message: String,
    /// The lines, for a failure's evidence.
    pub(crate) lines: Vec<String>,
    /// Whether an event says that a node is being made for the pod.
    pub(crate) node_comes: bool,
}

/// Reads what there is, side by side. `message` is what is said of the pod already: the kubelet's words in it are
/// masked like an event's.
pub(crate) async fn of(access: &Access, namespace: &str, suspect: &Suspect, message: &str) -> Told {
    let all = async {
        futures::join!(
            access.events_of(namespace, &suspect.uid, OPERATION),
            masks(access, namespace, suspect),
            log(access, namespace, suspect)
        )
    };
    let Ok((events, masks, log)) = tokio::time::timeout(WITHIN, all).await else {
        let line = format!(
            "events and log of pod/{} were not had within {} s",
            suspect.name,
            WITHIN.as_secs()
        );
        return Told::only(message, line);
    };
    let mut told = match events {
        Ok(events) => said_by(&events),
        Err(failure) => Told::only(
            "",
            format!(
                "events of pod/{} were not readable: {}",
                suspect.name, failure.message
            ),
        ),
    };
    told.lines.extend(log);
    told.message = message.to_owned();
    match masks {
        Ok(masks) => told.masked(&masks),
        Err(why) => Told {
            message: if suspect.quoted {
                format!("pod/{} does not serve {}", suspect.name, mask::not_shown(&why))
            } else {
                told.message
            },
            lines: vec![format!(
                "events and log of pod/{} are left out, since its Secrets could not be masked: {why}",
                suspect.name
            )],
            node_comes: told.node_comes,
        },
    }
}

impl Told {
    fn only(message: &str, line: String) -> Self {
        Self {
            message: message.to_owned(),
            lines: vec![line],
            node_comes: false,
        }
    }

    fn masked(self, masks: &Masks) -> Self {
        Self {
            message: masks.apply(&self.message),
            lines: self
                .lines
                .iter()
                .map(|line| shortened(&masks.apply(line)))
                .collect(),
            node_comes: self.node_comes,
        }
    }
}

/// What is masked in everything that is said of the pod. A pod that is gone has nothing to read from it either.
async fn masks(access: &Access, namespace: &str, suspect: &Suspect) -> Result<Masks, String> {
    let operation = format!("read pod/{} to mask what is said of it", suspect.name);
    let read = async {
        match access.pod(namespace, &suspect.name, &operation).await? {
            Some(pod) => mask::masks_of(access, &pod, namespace).await,
            None => Ok(mask::of_secrets(&[])),
        }
    };
    read.await.map_err(|failure| failure.message)
}

/// The newest warning, and whether an autoscaler has spoken. Sources: cluster-autoscaler's `TriggeredScaleUp`,
/// Karpenter's `Nominated`.
fn said_by(events: &[Event]) -> Told {
    let when = |event: &Event| {
        event
            .last_timestamp
            .as_ref()
            .map(|time| time.0)
            .or(event.event_time.as_ref().map(|time| time.0))
    };
    let reason = |event: &Event| event.reason.clone().unwrap_or_default();
    let warning = events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .max_by_key(|event| (says_more(event), when(event)));
    let line = warning.map(|event| {
        let count = event
            .count
            .filter(|count| *count > 1)
            .map(|count| format!(" ({count} times)"))
            .unwrap_or_default();
        let message = event.message.clone().unwrap_or_default();
        format!("event {}{count}: {}", reason(event), message.trim())
    });
    let node_comes = events
        .iter()
        .any(|event| matches!(reason(event).as_str(), "TriggeredScaleUp" | "Nominated"));
    Told {
        message: String::new(),
        lines: line.into_iter().collect(),
        node_comes,
    }
}

/// The kubelet repeats a container's waiting reason as an event of its own, `Error: ErrImagePull`, beside the one that
/// says why. It tells nothing that the pod's status does not.
fn says_more(event: &Event) -> bool {
    let words = event.message.as_deref().unwrap_or_default().split_whitespace();
    words.count() > 2
}

/// The last lines of the container that crashed. Of the attempt before, where there was one: the running one has said
/// little yet.
async fn log(access: &Access, namespace: &str, suspect: &Suspect) -> Vec<String> {
    let Some(container) = &suspect.crashed else {
        return Vec::new();
    };
    match tail(access, namespace, &suspect.name, container).await {
        Ok(text) => text
            .lines()
            .map(|line| format!("log {container}: {line}"))
            .collect(),
        Err(why) => vec![format!(
            "the log of pod/{} container {container} was not readable: {why}",
            suspect.name
        )],
    }
}

async fn tail(access: &Access, namespace: &str, name: &str, container: &str) -> Result<String, String> {
    let parameters = |previous| LogParams {
        container: Some(container.to_owned()),
        previous,
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(LOG_BYTES),
        ..LogParams::default()
    };
    let pods = access.pods(namespace);
    match pods.logs(name, &parameters(true)).await {
        Ok(text) if !text.trim().is_empty() => Ok(text),
        _ => pods
            .logs(name, &parameters(false))
            .await
            .map_err(|error| said(&error)),
    }
}

/// The words of an error alone.
fn said(error: &kube::Error) -> String {
    Attempt::new(Verb::Get, "pods/log", OPERATION)
        .failed(error)
        .message
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_event_or_a_log_quotes_of_a_secret_is_masked() {
        // "hunter22", as the API server sends it.
        let secret = json!({"data": {"token": "aHVudGVyMjI="}});
        let told = Told {
            message: "RunContainerError: exec \"serve hunter22\"".to_owned(),
            lines: vec!["event Unhealthy: Readiness probe failed: hunter22".to_owned()],
            node_comes: false,
        };
        let masked = told.masked(&mask::of_secrets(&[("keys", &secret)]));
        assert_eq!(
            masked.message,
            "RunContainerError: exec \"serve [masked:keys/token]\""
        );
        assert_eq!(
            masked.lines,
            ["event Unhealthy: Readiness probe failed: [masked:keys/token]"]
        );
    }

    #[test]
    fn the_newest_warning_is_shown_and_an_autoscaler_is_heard() {
        let event = |kind: &str, reason: &str, message: &str, at: &str, count: i32| -> Event {
            serde_json::from_value(
                json!({"metadata": {}, "involvedObject": {}, "type": kind, "reason": reason,
                "message": message, "lastTimestamp": at, "count": count}),
            )
            .unwrap()
        };
        let old = event(
            "Warning",
            "FailedScheduling",
            "0/3 nodes",
            "2026-01-01T00:00:00Z",
            1,
        );
        let new = event(
            "Warning",
            "FailedScheduling",
            "0/4 nodes",
            "2026-01-01T00:01:00Z",
            3,
        );
        let comes = event(
            "Normal",
            "TriggeredScaleUp",
            "pod triggered scale-up",
            "2026-01-01T00:02:00Z",
            1,
        );
        let told = said_by(&[new.clone(), old.clone()]);
        assert_eq!(told.lines, ["event FailedScheduling (3 times): 0/4 nodes"]);
        assert!(!told.node_comes);
        assert!(said_by(&[new, old, comes]).node_comes);
    }

    #[test]
    fn the_event_that_says_why_is_shown_rather_than_one_that_repeats_the_reason() {
        let event = |message: &str| -> Event {
            serde_json::from_value(
                json!({"metadata": {}, "involvedObject": {}, "type": "Warning", "reason": "Failed",
                "message": message, "lastTimestamp": "2026-01-01T00:00:00Z"}),
            )
            .unwrap()
        };
        let told = said_by(&[
            event("Failed to pull image \"api:v9\": not found"),
            event("Error: ErrImagePull"),
        ]);
        assert_eq!(
            told.lines,
            ["event Failed: Failed to pull image \"api:v9\": not found"]
        );
    }
}
