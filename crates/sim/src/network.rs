//! The way between a process and the API server, with all that can happen on it. A tower layer in front of the sandbox:
//! what was sent goes on, whatever becomes of its sender.

use crate::fault::{Class, Fault, Loss, Phase};
use crate::life::{Life, sleep};
use crate::oracle::{Oracle, Who};
use crate::trace::Trace;
use astern_sandbox::{Request, Service};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use jiff::SignedDuration;
use serde_json::json;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

type BoxError = Box<dyn Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;
type Answered = Result<http::Response<Body>, BoxError>;

/// As the real client's, which this way has not.
const PATIENCE: Duration = astern_kubernetes::connect::READ_TIMEOUT;
/// What the API server wishes with a 429, in seconds.
const RETRY_AFTER: &str = "1";

/// Whether the API server can be reached; one for all processes.
#[derive(Default)]
pub(crate) struct Reach {
    away: Mutex<Option<Away>>,
    cut: tokio::sync::Notify,
}

#[derive(Clone, Copy)]
struct Away {
    until: Instant,
    hangs: bool,
}

impl Reach {
    /// Nothing arrives for a while, and every watch ends.
    pub(crate) fn go_away(&self, span: SignedDuration, hangs: bool) {
        let until = Instant::now() + span.unsigned_abs();
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Away { until, hangs });
        self.cut.notify_waiters();
    }

    fn away(&self) -> Option<Away> {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.filter(|away| away.until > Instant::now())
    }
}

/// A process's way to the API server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) service: Service,
    pub(crate) reach: Arc<Reach>,
    pub(crate) life: Arc<Life>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) oracle: Arc<Oracle>,
    /// What the latencies come from.
    pub(crate) seed: u64,
}

impl<B> tower_service::Service<http::Request<B>> for Way
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let way = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let header = |name: HeaderName| {
                let value = head.headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let request = Request {
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                content_type: header(CONTENT_TYPE),
                accept: header(ACCEPT),
                user_agent: header(USER_AGENT),
                method: head.method,
                body: body.collect().await.map_err(Into::into)?.to_bytes(),
            };
            way.send(request).await
        })
    }
}

impl Way {
    async fn send(self, request: Request) -> Answered {
        let class = class_of(&request);
        let nth = self.life.count(class);
        self.life.pass_request(class, nth, Phase::Before).await;
        let loss = self.loss(class, nth);
        let (tell, told) = oneshot::channel();
        let life = self.life.clone();
        let trace = self.trace.clone();
        let line = trace.is_told().then(|| {
            format!(
                "process {} {class:?} {nth} {} {}",
                life.number, request.method, request.path
            )
        });
        tokio::spawn(async move {
            let answered = self.deliver(request, class, nth, loss).await;
            self.life.awake().await;
            // Whoever asked may be gone.
            let _ = tell.send(answered);
        });
        let answered = if class == Class::Watch {
            told.await.map_err(Into::into)
        } else {
            match tokio::time::timeout(PATIENCE, told).await {
                Ok(told) => told.map_err(Into::into),
                Err(_) => Err("the connection timed out".into()),
            }
        };
        life.awake().await;
        let answered = answered.and_then(|answered: Answered| answered);
        if let Some(line) = line {
            trace.say(|| match &answered {
                Ok(response) => format!("{line} -> {}", response.status().as_u16()),
                Err(error) => format!("{line} -> {error}"),
            });
        }
        answered
    }

    fn loss(&self, class: Class, nth: u32) -> Option<Loss> {
        let (place, how) = self
            .trace
            .faults()
            .iter()
            .enumerate()
            .find_map(|(place, fault)| match fault {
                Fault::Request {
                    process,
                    class: struck,
                    nth: at,
                    how,
                } if *process == self.life.number && *struck == class && *at == nth => Some((place, *how)),
                _ => None,
            })?;
        self.trace.met(place);
        Some(how)
    }

    /// What becomes of a request that was sent.
    async fn deliver(&self, request: Request, class: Class, nth: u32, loss: Option<Loss>) -> Answered {
        tokio::time::sleep(self.latency(class, nth)).await;
        if let Some(away) = self.reach.away() {
            if away.hangs {
                tokio::time::sleep(PATIENCE * 2).await;
            }
            return Err("connection refused".into());
        }
        match loss {
            None | Some(Loss::Lagging(_) | Loss::Dropped { .. } | Loss::Rewound(_)) => {}
            Some(Loss::Lost) => return Err("connection reset by peer".into()),
            Some(Loss::Swallowed) => return silence().await,
            Some(Loss::Status(code)) => return Ok(refusal(code)),
            Some(Loss::Gone) => return Ok(refusal(410)),
            Some(Loss::AnswerLost) => {
                self.arrives(&request, class, nth).await;
                return Err("connection reset by peer".into());
            }
            Some(Loss::AnswerSwallowed) => {
                self.arrives(&request, class, nth).await;
                return silence().await;
            }
            Some(Loss::StatusAfter(code)) => {
                self.arrives(&request, class, nth).await;
                return Ok(refusal(code));
            }
            Some(Loss::Late(span)) => {
                let way = self.clone();
                tokio::spawn(async move {
                    sleep(span).await;
                    way.oracle.carry_out(Who::Process(way.life.number), &request);
                });
                return Err("connection reset by peer".into());
            }
            Some(Loss::Twice) => {
                let first = self.arrives(&request, class, nth).await;
                self.oracle.carry_out(Who::Process(self.life.number), &request);
                return Ok(first);
            }
        }
        if class == Class::Watch {
            return Ok(self.watch(&request, loss));
        }
        Ok(self.arrives(&request, class, nth).await)
    }

    async fn arrives(&self, request: &Request, class: Class, nth: u32) -> http::Response<Body> {
        let response = self.oracle.carry_out(Who::Process(self.life.number), request);
        self.life.pass_request(class, nth, Phase::After).await;
        let code = StatusCode::from_u16(response.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        built(code, response.content_type, response.body)
    }

    /// A watch, as it comes through to the process.
    fn watch(&self, request: &Request, loss: Option<Loss>) -> http::Response<Body> {
        self.oracle.watched(self.life.number, request);
        let answered = match loss {
            Some(Loss::Rewound(versions)) => self.service.answer(&rewound(request, versions)),
            _ => self.service.answer(request),
        };
        let (parts, body) = answered.into_parts();
        let state = (self.clone(), body, 0_u32, false);
        let frames = futures::stream::unfold(state, move |(way, mut body, count, broken)| async move {
            if broken {
                return None;
            }
            if let Some(Loss::Dropped { frames, breaks }) = loss
                && count >= frames
            {
                let broken: BoxError = "the watch broke".into();
                return breaks.then(|| (Err(broken), (way, body, count, true)));
            }
            let reach = way.reach.clone();
            let frame = tokio::select! {
                biased;
                () = reach.cut.notified() => Some(Err(BoxError::from("the connection broke"))),
                frame = body.frame() => frame.map(|frame| frame.map_err(|never| match never {})),
            };
            if let Some(Loss::Lagging(span)) = loss {
                sleep(span).await;
            }
            way.life.awake().await;
            let frame: Result<Frame<Bytes>, BoxError> = frame?;
            let broken = frame.is_err();
            Some((frame, (way, body, count + 1, broken)))
        });
        http::Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
    }

    /// Between a fraction of a millisecond and some of them, the same in every replay.
    fn latency(&self, class: Class, nth: u32) -> Duration {
        let word = format!("{} {} {class:?} {nth}", self.seed, self.life.number);
        Duration::from_millis(u64::from(crc32fast::hash(word.as_bytes()) % 8) + 1)
    }
}

fn class_of(request: &Request) -> Class {
    let reads = request.method == http::Method::GET;
    let query = |word: &str| request.query.contains(word);
    if request.path.contains("/leases") && !query("watch=") {
        Class::Lease
    } else if reads && (query("watch=true") || query("watch=1") || query("follow=true")) {
        Class::Watch
    } else if reads && is_of_one(&request.path) {
        Class::Object
    } else if reads {
        Class::Read
    } else if crate::oracle::is_dry_run(request) || request.path.contains(".k8s.io/v1/self") {
        Class::Ask
    } else {
        Class::Write
    }
}

/// Whether a path is that of one workload, ConfigMap or Secret.
fn is_of_one(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (Some(_), Some(resource)) = (parts.next(), parts.next()) else {
        return false;
    };
    [
        "deployments",
        "statefulsets",
        "daemonsets",
        "configmaps",
        "secrets",
    ]
    .contains(&resource)
}

/// The watch as a server sees it that goes on from earlier.
fn rewound(request: &Request, versions: u64) -> Request {
    let earlier = |part: &str| {
        let asked = part.strip_prefix("resourceVersion=")?.parse::<u64>().ok()?;
        Some(format!(
            "resourceVersion={}",
            asked.saturating_sub(versions).max(1)
        ))
    };
    let parts = request.query.split('&');
    let parts = parts.map(|part| earlier(part).unwrap_or_else(|| part.to_owned()));
    Request {
        query: parts.collect::<Vec<_>>().join("&"),
        ..request.clone()
    }
}

async fn silence() -> Answered {
    tokio::time::sleep(PATIENCE * 2).await;
    Err("the connection timed out".into())
}

/// An answer that is no success, as the API server or something before it says it.
fn refusal(code: u16) -> http::Response<Body> {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("simulated: {reason}"), "reason": reason, "code": code,
        "details": {"retryAfterSeconds": if code == 429 { 1 } else { 0 }},
    });
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = built(code, "application/json", status.to_string().into_bytes());
    if code == StatusCode::TOO_MANY_REQUESTS {
        let value = http::HeaderValue::from_static(RETRY_AFTER);
        response.headers_mut().insert(http::header::RETRY_AFTER, value);
    }
    response
}

fn built(code: StatusCode, content_type: &'static str, body: Vec<u8>) -> http::Response<Body> {
    let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() = code;
    let value = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
