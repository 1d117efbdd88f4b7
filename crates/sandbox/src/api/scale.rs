//! The scale subresource: how many replicas a workload is to have. Owns the Scale object; the workload is written by
//! `write`.

use super::route::Query;
use super::status::{Cause, Outcome, Refusal};
use super::{Answer, Request, body, options, patch, value, write};
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::managed::Part;
use crate::object::{get, int, set, text};
use crate::selector::Labels;
use crate::store::Key;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn handle(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    key: &Key,
    query: &Query,
) -> Outcome<Answer> {
    let old = cluster
        .store
        .get(key)
        .cloned()
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    let wanted = match request.method {
        Method::GET | Method::HEAD => return value(200, &scale(&old)),
        Method::PUT => body(request)?,
        Method::PATCH => patch::patched(kind, &scale(&old), &request.content_type, &request.body)?,
        _ => return Err(Refusal::method_not_allowed()),
    };
    let named = text(&wanted, "metadata.name");
    if !named.is_empty() && named != &*key.name {
        return Err(Refusal::misnamed(named, &key.name));
    }
    let replicas = int(&wanted, "spec.replicas").unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &replicas, "must be greater than or equal to 0");
        return Err(Refusal::invalid_as("Scale", "autoscaling", &key.name, &[cause]));
    }
    let mut object = Value::clone(&old);
    set(&mut object, "spec.replicas", replicas);
    let seen = text(&wanted, "metadata.resourceVersion");
    if !seen.is_empty() {
        set(&mut object, "metadata.resourceVersion", seen);
    }
    let options = write::Options {
        part: Part::Scale,
        ..options::of_write(request, query)?
    };
    let written = write::update(cluster, kind, key, object, options)?;
    value(200, &scale(&written.object))
}

fn scale(workload: &Value) -> Value {
    let metadata = |field: &str| {
        get(workload, "metadata")
            .and_then(|metadata| metadata.get(field))
            .cloned()
    };
    // None at all is not written.
    let replicas = int(workload, "spec.replicas").filter(|replicas| *replicas != 0);
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": replicas.map_or_else(|| json!({}), |replicas| json!({"replicas": replicas})),
        "status": {
            "replicas": int(workload, "status.replicas").unwrap_or(0),
            "selector": Labels::of(get(workload, "spec.selector")).written(),
        },
    })
}
