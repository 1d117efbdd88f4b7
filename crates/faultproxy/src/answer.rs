//! Answers: those that the proxy gives by itself, and watches on which things go wrong.

use crate::fault::How;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use std::error::Error;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What belongs to the connection behind, not to the one in front.
const OF_A_CONNECTION: [http::HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];
/// What the API server wishes with a 429, in seconds.
const WAIT: &str = "1";

/// An answer that is no success, as the API server or something before it says it.
pub(crate) fn status(code: u16) -> Response<Body> {
    let mut response = built(code, "application/json", told(code).to_string());
    if code == 429 {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(WAIT));
    }
    response
}

/// A watch that is told at once that it must begin anew.
pub(crate) fn gone() -> Response<Body> {
    let event = json!({"type": "ERROR", "object": told(410)});
    built(200, "application/json", format!("{event}\n"))
}

fn told(code: u16) -> Value {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("made by the fault proxy: {reason}"), "reason": reason, "code": code,
        "details": {"retryAfterSeconds": i32::from(code == 429)},
    })
}

fn built(code: u16, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = whole(Response::new(()).into_parts().0, Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What comes, and once so many pieces have come, these once more.
fn rewound<E>(
    pieces: impl Stream<Item = Result<Frame<Bytes>, E>>,
    count: usize,
) -> impl Stream<Item = Result<Frame<Bytes>, E>> {
    let mut told = Vec::new();
    let mut left = count;
    pieces.flat_map(move |piece| {
        let mut again = Vec::new();
        if left > 0
            && let Ok(Some(bytes)) = piece.as_ref().map(Frame::data_ref)
        {
            told.push(bytes.clone());
            left -= 1;
            if left == 0 {
                again = std::mem::take(&mut told);
            }
        }
        let again = again.into_iter().map(|bytes| Ok(Frame::data(bytes)));
        futures::stream::iter([piece].into_iter().chain(again))
    })
}

/// An answer that came whole, on its way on.
pub(crate) fn whole(mut head: http::response::Parts, body: Bytes) -> Response<Body> {
    for name in OF_A_CONNECTION {
        head.headers.remove(name);
    }
    let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
    Response::from_parts(head, body)
}

/// An answer that lasts, as it comes through.
pub(crate) fn lasting(answer: Response<kube::client::Body>, how: Option<How>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    for name in OF_A_CONNECTION {
        head.headers.remove(name);
    }
    let pieces = body
        .into_data_stream()
        .map(|piece| piece.map(Frame::data).map_err(BoxError::from));
    let body = match how {
        Some(How::Dropped {
            pieces: count,
            breaks,
        }) => {
            let broken = breaks.then(|| Err(BoxError::from("the watch broke")));
            let through = pieces.take(count as usize).chain(futures::stream::iter(broken));
            StreamBody::new(through).boxed_unsync()
        }
        Some(How::Lagging(span)) => {
            let late = pieces.then(move |piece| async move {
                tokio::time::sleep(span).await;
                piece
            });
            StreamBody::new(late).boxed_unsync()
        }
        Some(How::Rewound { pieces: count }) => {
            StreamBody::new(rewound(pieces, count as usize)).boxed_unsync()
        }
        _ => StreamBody::new(pieces).boxed_unsync(),
    };
    Response::from_parts(head, body)
}
