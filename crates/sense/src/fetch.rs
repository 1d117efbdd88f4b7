//! The requests that the senses send through the API server. Owns how an answer that is no success is told; knows
//! nothing of what is read.

use http::{HeaderMap, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use kube::core::params::{GetParams, ListParams};
use kube::core::request::Request;
use kube::core::subresource::LogParams;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Requests in flight at once: the API server carries log requests on to kubelets, and more of them at a time make
/// none of them come sooner.
const IN_FLIGHT: usize = 24;

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The API server's own words, if this is an error of its own and none of a service behind it.
    pub(crate) fn api_error(&self) -> Option<Status> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let own = value.get("kind").and_then(Value::as_str) == Some("Status")
            && value.get("apiVersion").and_then(Value::as_str) == Some("v1");
        if own {
            serde_json::from_value(value).ok()
        } else {
            None
        }
    }
}

/// A node begins to answer a request for a log at once, or its kubelet hangs. So long is waited for one that has
/// answered nothing yet once another has, or four times as long as that one took.
const PATIENCE: Duration = Duration::from_millis(250);

/// The way to the API server for one look: a bounded number of requests at a time, none beyond the deadline.
pub(crate) struct Way<'a> {
    client: &'a Client,
    permits: Semaphore,
    deadline: Instant,
    nodes: watch::Sender<Nodes>,
}

/// The nodes that have begun to answer. One that has answered anything does not hang: it is busy.
#[derive(Default)]
struct Nodes {
    first_took: Option<Duration>,
    answered: BTreeSet<String>,
}

impl<'a> Way<'a> {
    /// A way that ends at `deadline`.
    pub(crate) fn new(client: &'a Client, deadline: Instant) -> Self {
        Self {
            client,
            permits: Semaphore::new(IN_FLIGHT),
            deadline,
            nodes: watch::Sender::new(Nodes::default()),
        }
    }

    /// When it ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends once a request to `node` that began at `began` has waited so much longer than another node took that the
    /// node is held to hang. Never ends while no node, or this one itself, has answered.
    async fn hangs(&self, node: &str, began: Instant) {
        let mut nodes = self.nodes.subscribe();
        let Ok(first) = nodes
            .wait_for(|nodes| nodes.first_took.is_some())
            .await
            .map(|nodes| nodes.first_took.unwrap_or_default())
        else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(began + PATIENCE.max(first * 4)).await;
        if self.nodes.borrow().answered.contains(node) {
            std::future::pending().await
        }
    }

    fn answered(&self, node: &str, took: Duration) {
        self.nodes.send_modify(|nodes| {
            nodes.first_took.get_or_insert(took);
            nodes.answered.insert(node.to_owned());
        });
    }
}

/// Sends a request and takes its whole answer.
///
/// # Errors
/// A phrase: why there is no answer.
pub(crate) async fn send(way: &Way<'_>, request: http::Request<Vec<u8>>) -> Result<Answer, String> {
    exchange(way, request, None).await
}

/// `node`: where the answer comes from, which may hang while others do not.
async fn exchange(
    way: &Way<'_>,
    request: http::Request<Vec<u8>>,
    node: Option<&str>,
) -> Result<Answer, String> {
    let exchange = async {
        let _permit = way.permits.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let answer = tokio::select! {
            biased;
            answer = way.client.send(request.map(Body::from)) => answer.map_err(|error| lost(&error))?,
            () = way.hangs(node.unwrap_or_default(), began), if node.is_some() => return Err("its node does not answer, while others do".to_owned()),
        };
        if let Some(node) = node {
            way.answered(node, began.elapsed());
        }
        let (parts, body) = answer.into_parts();
        let body = body.collect_bytes().await.map_err(|error| lost(&error))?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_vec(),
        })
    };
    tokio::time::timeout_at(way.deadline, exchange)
        .await
        .unwrap_or_else(|_| Err("not had in time".to_owned()))
}

/// Reads one object as JSON.
///
/// # Errors
/// A phrase; none of the object's own words are in it.
pub(crate) async fn get(way: &Way<'_>, path: &str, name: &str) -> Result<Option<Value>, String> {
    let request = Request::new(path)
        .get(name, &GetParams::default())
        .map_err(|error| error.to_string())?;
    let answer = send(way, request).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    json(&answer).map(Some)
}

/// Reads a list as JSON, one page of at most `limit`: what `fields` select, or all.
///
/// # Errors
/// A phrase.
pub(crate) async fn list(way: &Way<'_>, path: &str, fields: &str, limit: u32) -> Result<Value, String> {
    let mut parameters = ListParams::default().limit(limit);
    if !fields.is_empty() {
        parameters = parameters.fields(fields);
    }
    let request = Request::new(path)
        .list(&parameters)
        .map_err(|error| error.to_string())?;
    json(&send(way, request).await?)
}

/// Which part of a container's log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPart {
    /// The container's last attempt instead of its present one.
    pub(crate) previous: bool,
    /// Only lines of so many seconds.
    pub(crate) since_seconds: Option<i64>,
    /// Only so many lines from the end. Without it all are read: `kubectl logs` by label reads ten.
    pub(crate) tail_lines: Option<i64>,
    /// The kubelet stops after so many bytes.
    pub(crate) limit_bytes: i64,
    /// Each line begins with the time at which it was written.
    pub(crate) timestamps: bool,
}

/// Why a log was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoLog {
    /// The container, or its previous attempt, never ran: there is nothing to read.
    NeverRan,
    /// It could not be read, and why.
    Unreadable(String),
}

/// A log as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Whole lines only: half a line may hold half a secret, which no mask finds.
    pub(crate) text: String,
    /// Whether the kubelet stopped at the byte limit, so that later lines are missing.
    pub(crate) cut: bool,
}

impl Log {
    fn of(body: &[u8], limit_bytes: i64) -> Self {
        let cut = i64::try_from(body.len()).is_ok_and(|length| length >= limit_bytes);
        let end = if cut {
            body.iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        } else {
            body.len()
        };
        Self {
            text: String::from_utf8_lossy(&body[..end]).into_owned(),
            cut,
        }
    }
}

/// A container, and the node that has its log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) name: &'a str,
    /// None where its pod has no node yet.
    pub(crate) node: Option<&'a str>,
}

/// Reads a container's log. Bytes that are no text are replaced.
///
/// # Errors
/// Whether there is none, or it could not be had.
pub(crate) async fn log(way: &Way<'_>, of: Container<'_>, part: &LogPart) -> Result<Log, NoLog> {
    let parameters = LogParams {
        container: Some(of.name.to_owned()),
        previous: part.previous,
        since_seconds: part.since_seconds,
        tail_lines: part.tail_lines,
        limit_bytes: Some(part.limit_bytes),
        timestamps: part.timestamps,
        ..LogParams::default()
    };
    let request = Request::new(format!("/api/v1/namespaces/{}/pods", of.namespace)).logs(of.pod, &parameters);
    let request = request.map_err(|error| NoLog::Unreadable(error.to_string()))?;
    let answer = exchange(way, request, of.node).await.map_err(NoLog::Unreadable)?;
    if answer.status.is_success() {
        return Ok(Log::of(&answer.body, part.limit_bytes));
    }
    let said = without_address(&words(&answer));
    // The kubelet's and the API server's words for a container without a log.
    let never = answer.status == StatusCode::BAD_REQUEST
        && (said.contains("waiting to start") || said.contains("previous terminated container"));
    Err(if never {
        NoLog::NeverRan
    } else {
        NoLog::Unreadable(said)
    })
}

fn json(answer: &Answer) -> Result<Value, String> {
    if !answer.status.is_success() {
        return Err(words(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the API server's answer was not understood".to_owned())
}

fn words(answer: &Answer) -> String {
    match answer.api_error() {
        Some(status) if !status.message.is_empty() => status.message,
        _ => format!("the API server answered {}", answer.status.as_u16()),
    }
}

/// The API server quotes its own request to the kubelet before what came of it, which helps nobody.
fn without_address(said: &str) -> String {
    match said
        .strip_prefix("Get \"")
        .and_then(|rest| rest.split_once("\": "))
    {
        Some((_, why)) => format!("its node did not answer: {why}"),
        None => said.to_owned(),
    }
}

fn lost(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        kube::Error::Service(source) => format!("the API server cannot be reached: {source}"),
        _ => "the API server's answer was lost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_ends_with_a_whole_line() {
        let log = Log::of(b"one\ntoken hunt", 10);
        assert_eq!(
            log,
            Log {
                text: "one\n".to_owned(),
                cut: true
            }
        );
        assert!(!Log::of(b"one\ntwo", 100).cut);
    }
}
