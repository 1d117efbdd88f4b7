//! Services through the API server's proxy: one of the ready pods is asked, and its container answers by its behaviour.

use super::status::{Outcome, Refusal};
use super::{JSON, PLAIN, Request, Response};
use crate::behaviour::Serves;
use crate::cluster::Cluster;
use crate::controllers::pods;
use crate::kinds::Kind;
use crate::object::{get, list};
use crate::random::{fnv, mix};
use crate::selector::Labels;
use crate::store::Key;
use http::Method;

pub(super) fn service(cluster: &Cluster, request: &Request, kind: &Kind, key: &Key) -> Outcome<Response> {
    if request.method != Method::GET {
        return Err(Refusal::not_supported(
            "anything but GET through a Service's proxy",
        ));
    }
    let name = service_name(&key.name);
    let service = cluster
        .store
        .get(&Key::new("services", key.namespace.clone(), name))
        .ok_or_else(|| Refusal::not_found(kind, name))?;
    let selector = Labels::pairs(get(service, "spec.selector"));
    let ready: Vec<_> = cluster
        .store
        .iter("pods", &key.namespace)
        .filter(|(_, pod)| selector.matches(pod) && pods::is_active(pod) && pods::is_ready(pod))
        .map(|(_, pod)| pod)
        .collect();
    // Another pod each time, and the same one for the same time.
    let turn = mix(cluster.now.as_millisecond().unsigned_abs() ^ u64::from(fnv(request.path.as_bytes())));
    let asked = usize::try_from(turn % ready.len().max(1) as u64).unwrap_or_default();
    let Some(pod) = ready.get(asked) else {
        return Err(Refusal::unavailable(format!(
            "no endpoints available for service {:?}",
            &*key.name
        )));
    };
    let (behaviours, environment) = (&cluster.options.behaviours, cluster.nodes.environment(pod));
    let serves = list(pod, "spec.containers")
        .iter()
        .find_map(|container| behaviours.of(pod, container, &environment).serves.as_ref());
    match serves {
        Some(serves) => Ok(answer(serves, path(&request.path), turn)),
        None => Err(Refusal::unavailable(format!(
            "error trying to reach service: {name}: connect: connection refused"
        ))),
    }
}

/// `[https:]NAME[:PORT]`
fn service_name(place: &str) -> &str {
    match place.split(':').collect::<Vec<_>>().as_slice() {
        [name] | [name, _] | [_, name, _] => name,
        _ => place,
    }
}

fn path(whole: &str) -> &str {
    let path = whole.split_once("/proxy").map_or("", |(_, path)| path);
    if path.is_empty() { "/" } else { path }
}

fn answer(serves: &Serves, path: &str, turn: u64) -> Response {
    // The share is compared with a number from 0 to 1 that the turn makes.
    let share = f64::from(u32::try_from(turn >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    let (code, content_type, body) = match serves.answers.iter().find(|answer| answer.path == path) {
        Some(_) if share < serves.error_share => (500, PLAIN, b"internal error".to_vec()),
        Some(answer) => (answer.status, JSON, answer.body.to_string().into_bytes()),
        None => (404, PLAIN, b"not found".to_vec()),
    };
    Response {
        code,
        content_type,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_or_without_scheme_and_port() {
        for place in ["web", "web:8080", "http:web:8080", "https:web:"] {
            assert_eq!(service_name(place), "web", "{place}");
        }
        assert_eq!(
            path("/api/v1/namespaces/a/services/web:80/proxy/health"),
            "/health"
        );
        assert_eq!(path("/api/v1/namespaces/a/services/web:80/proxy"), "/");
    }
}
