//! The asynchronous shell: a cluster behind a tower service, for kube's client and for HTTP. Owns waking those who watch
//! and those who act; what is answered is the cluster's.

use crate::api::{Answer, Request, Response, Stream};
use crate::clock::Clock;
use crate::cluster::Cluster;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use jiff::Timestamp;
use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// So many things controllers do before a request may come in between: some milliseconds.
const AT_ONCE: usize = 200;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What goes wrong before a request is read; an answer says everything else.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A cluster that many may ask at a time. Cheap to clone: all clones are one cluster.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Mutex<Cluster>,
    clock: Arc<dyn Clock>,
    news: News,
}

/// The newest version, for those who watch. They are woken in the order in which they began to wait: tokio's own watch
/// channel wakes them in one that is drawn anew in each process, and a simulated run would not be the same twice.
struct News {
    newest: AtomicU64,
    told: Notify,
}

impl News {
    fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    fn tell(&self, version: u64) {
        self.newest.store(version, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Returns once there is another version than this one.
    async fn other_than(&self, version: u64) {
        loop {
            // Made before the look, so that nothing is missed between the two.
            let told = self.told.notified();
            if self.newest() != version {
                return;
            }
            told.await;
        }
    }
}

impl Service {
    /// A cluster on a clock. Nothing happens in it by itself unless [`Service::run`] is polled.
    pub fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Self {
        let news = News {
            newest: AtomicU64::new(cluster.version()),
            told: Notify::new(),
        };
        Self {
            shared: Arc::new(Shared {
                cluster: Mutex::new(cluster),
                clock,
                news,
            }),
        }
    }

    /// Lets controllers, scheduler and kubelets act as time goes by. Never ends: the embedder drops it.
    pub async fn run(&self) {
        loop {
            let (done, due, version) = self.with(|cluster, now| {
                let done = cluster.advance_by(now, AT_ONCE);
                (done, cluster.next_due(), cluster.version())
            });
            if !done {
                tokio::task::yield_now().await;
                continue;
            }
            // What this very look changed has had all its consequences; what came after it has not.
            if self.shared.news.newest() != version {
                continue;
            }
            let due = due.map(|due| self.shared.clock.sleep_until(due));
            tokio::select! {
                biased;
                () = self.shared.news.other_than(version) => {}
                () = either(due) => {}
            }
        }
    }

    /// Does something to the cluster itself, such as loading objects or taking a snapshot.
    pub fn with<T>(&self, act: impl FnOnce(&mut Cluster, Timestamp) -> T) -> T {
        let now = self.shared.clock.now();
        let mut cluster = self.cluster();
        let before = cluster.version();
        let done = act(&mut cluster, now);
        // Under the lock, so that nobody tells an older version after a newer one.
        if cluster.version() != before {
            self.shared.news.tell(cluster.version());
        }
        done
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request) -> http::Response<Body> {
        match self.with(|cluster, now| cluster.handle(now, request)) {
            Answer::Whole(response) => whole(response),
            Answer::Stream(stream) => self.stream(stream),
        }
    }

    /// Answers one request to the metrics source.
    pub fn metrics(&self, request: &Request) -> http::Response<Body> {
        whole(self.with(|cluster, now| cluster.metrics(now, request)))
    }

    fn stream(&self, stream: Stream) -> http::Response<Body> {
        let content_type = stream.content_type();
        let state = (self.clone(), stream);
        let frames = futures::stream::unfold(state, |(service, mut stream)| async move {
            loop {
                if stream.ended() {
                    return None;
                }
                let seen = service.shared.news.newest();
                let bytes = service.with(|cluster, now| cluster.poll(now, &mut stream));
                if !bytes.is_empty() {
                    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)));
                    return Some((frame, (service, stream)));
                }
                let due = service.shared.clock.sleep_until(stream.due());
                tokio::select! {
                    biased;
                    () = service.shared.news.other_than(seen) => {}
                    () = due => {}
                }
            }
        });
        built(
            StatusCode::OK,
            content_type,
            StreamBody::new(frames).boxed_unsync(),
        )
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        // Whoever panicked in the middle left a cluster that still answers.
        self.shared.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for what there is to wait for; for nothing forever.
async fn either(due: Option<BoxFuture<'static, ()>>) {
    match due {
        Some(due) => due.await,
        None => futures::future::pending().await,
    }
}

fn whole(response: Response) -> http::Response<Body> {
    let code = StatusCode::from_u16(response.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    built(
        code,
        response.content_type,
        Full::from(response.body).boxed_unsync(),
    )
}

fn built(code: StatusCode, content_type: &'static str, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    *response.status_mut() = code;
    if !content_type.is_empty() {
        let value = http::HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

impl<B> tower_service::Service<http::Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(&read(request).await?)) })
    }
}

/// What of an HTTP request matters.
pub(crate) async fn read<B>(request: http::Request<B>) -> Result<Request, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        content_type: header(&head.headers, CONTENT_TYPE),
        accept: header(&head.headers, ACCEPT),
        user_agent: header(&head.headers, USER_AGENT),
        body,
    })
}

fn header(headers: &HeaderMap, name: HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
