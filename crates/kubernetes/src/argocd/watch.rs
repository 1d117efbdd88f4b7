//! Argo CD's stream of changes as a watch of Kubernetes: one JSON text a line, both ways.

use super::place::Resource;
use futures::io::AsyncBufReadExt as _;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::io;
use tower::BoxError;

/// The events as they come. An answer that ends, ends the watch.
pub(super) fn events(body: Body, resource: Resource) -> UnsyncBoxBody<bytes::Bytes, BoxError> {
    let lines = body
        .into_data_stream()
        .map_err(io::Error::other)
        .into_async_read()
        .lines();
    let events = lines.filter_map(move |line| {
        let told = match line {
            Ok(line) => event(&line, resource).map(|event| Ok(format!("{event}\n"))),
            Err(error) => Some(Err(BoxError::from(error))),
        };
        futures::future::ready(told.map(|told| told.map(|text| Frame::data(bytes::Bytes::from(text)))))
    });
    StreamBody::new(events).boxed_unsync()
}

/// One line; none where it holds nothing.
fn event(line: &str, resource: Resource) -> Option<Value> {
    let line = line.trim().trim_start_matches("data:").trim();
    if line.is_empty() {
        return None;
    }
    let told: Value = serde_json::from_str(line).ok()?;
    if let Some(error) = told.get("error") {
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Some(json!({"type": "ERROR", "object": {
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": message, "reason": "", "code": 500,
        }}));
    }
    let result = told.get("result")?;
    let object = resource.typed(result.get("application")?.clone());
    Some(json!({"type": result.get("type")?, "object": object}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_as_kubernetes_tells_it_and_a_line_without_one_is_none() {
        let told = |line: &str| event(line, Resource::Application);
        let changed = r#"{"result":{"type":"MODIFIED","application":{"metadata":{"name":"shop"}}}}"#;
        let expected = json!({"type": "MODIFIED", "object": {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop"}}});
        assert_eq!(told(changed), Some(expected.clone()));
        assert_eq!(told(&format!("data: {changed}")), Some(expected));
        assert_eq!(told(""), None);
        let failed = told(r#"{"error":{"message":"permission denied","code":7}}"#).unwrap();
        assert_eq!(failed["type"], "ERROR");
    }
}
