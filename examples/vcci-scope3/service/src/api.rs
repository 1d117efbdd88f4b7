//! What the service answers: its routes, who may call them, and which calls fail by order of the settings.
//! Every answer but the metrics is JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{self, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::time::{self, Instant};

use crate::emissions::{self, Question};
use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::settings::{SHARE_PARTS, Settings};

/// Why a service that is never ready is not; in the answer and in the log.
pub(crate) const NEVER_READY_REASON: &str = "the schema registry has not answered";

const CALCULATE: &str = "/api/v1/emissions/calculate";
const FACTORS: &str = "/api/v1/emissions/factors";
const HEALTH: &str = "/health";
const METRICS: &str = "/metrics";
const READY: &str = "/ready";

/// The largest body of a request: a question is far below it.
const BODY_MAX: usize = 16 * 1024;

/// All routes, over one state.
pub(crate) fn router(settings: Settings) -> Router {
    let service = Arc::new(Service {
        settings,
        started: Instant::now(),
        metrics: Metrics::default(),
        calculations: AtomicU64::new(0),
    });
    Router::new()
        .route(HEALTH, get(health))
        .route(READY, get(ready))
        .route(METRICS, get(metrics))
        .route(CALCULATE, post(calculate))
        .route(FACTORS, get(factors))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&service), observe))
        .with_state(service)
}

/// What all requests share.
struct Service {
    settings: Settings,
    started: Instant,
    metrics: Metrics,
    /// Calculations so far; decides which ones fail.
    calculations: AtomicU64,
}

type Shared = State<Arc<Service>>;

async fn health(State(service): Shared) -> Response {
    let Settings { service, version, .. } = &service.settings;
    answer(
        StatusCode::OK,
        &json!({ "status": "healthy", "service": service, "version": version }),
    )
}

async fn ready(State(service): Shared) -> Response {
    let waiting = service
        .settings
        .ready_after
        .saturating_sub(service.started.elapsed());
    let reason = if service.settings.never_ready {
        NEVER_READY_REASON.to_owned()
    } else if waiting > Duration::ZERO {
        format!("warming up for another {} ms", waiting.as_millis())
    } else {
        return answer(StatusCode::OK, &json!({ "status": "ready" }));
    };
    answer(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({ "status": "not ready", "reason": reason }),
    )
}

async fn metrics(State(service): Shared) -> Response {
    let page = service
        .metrics
        .page(&service.settings.service, &service.settings.version);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page,
    )
        .into_response()
}

async fn calculate(State(service): Shared, request: Request) -> Response {
    if !service.authorised(request.headers()) {
        return unauthorised();
    }
    let question = match read_body(request).await.and_then(|body| Question::parse(&body)) {
        Ok(question) => question,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &reason),
    };
    if service.next_calculation_fails() {
        let entity = &question.entity_id;
        // Quoted by Debug: an entity's name cannot forge a line of the log.
        log::line(
            Level::Error,
            &format!("could not calculate emissions of {entity:?}: factor table is empty"),
        );
        return error(StatusCode::INTERNAL_SERVER_ERROR, "the calculation failed");
    }
    answer(StatusCode::OK, &json!(question.answer()))
}

async fn factors(State(service): Shared, headers: HeaderMap) -> Response {
    if !service.authorised(&headers) {
        return unauthorised();
    }
    answer(StatusCode::OK, &emissions::factors())
}

async fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "no such path")
}

async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
}

impl Service {
    fn authorised(&self, headers: &HeaderMap) -> bool {
        let offered = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let offered = offered.and_then(|value| value.split_once(' '));
        match (&self.settings.token, offered) {
            (Some(token), Some((scheme, offered))) => {
                scheme.eq_ignore_ascii_case("bearer") && token.accepts(offered)
            }
            (None, _) | (_, None) => false,
        }
    }

    /// Spreads the failures evenly: the nth calculation fails where the share of n reaches a new whole number.
    fn next_calculation_fails(&self) -> bool {
        let before = self.calculations.fetch_add(1, Ordering::Relaxed);
        let failures = |count: u64| count.saturating_mul(self.settings.error_parts) / SHARE_PARTS;
        failures(before + 1) > failures(before)
    }
}

/// Around every request: the latency that was ordered, the metrics, and a log line unless it was a probe.
async fn observe(
    State(service): Shared,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let path = matched.as_ref().map_or("other", MatchedPath::as_str);
    if path != METRICS {
        time::sleep(service.settings.latency).await;
    }
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    service.metrics.observe(method, path, status, took);
    if ![HEALTH, READY, METRICS].contains(&path) {
        log::line(
            Level::Info,
            &format!("{method} {path} {status} {} ms", took.as_millis()),
        );
    }
    response
}

/// The method as a label: any made-up one is `OTHER`.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

async fn read_body(request: Request) -> Result<Bytes, String> {
    let body = body::to_bytes(request.into_body(), BODY_MAX).await;
    body.map_err(|_| format!("the body could not be read, or has more than {BODY_MAX} bytes"))
}

fn unauthorised() -> Response {
    let refusal = error(StatusCode::UNAUTHORIZED, "a valid bearer token is needed");
    ([(header::WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
}

fn error(status: StatusCode, reason: &str) -> Response {
    answer(status, &json!({ "error": reason }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
