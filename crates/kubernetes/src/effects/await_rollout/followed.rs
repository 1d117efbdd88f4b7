//! The watches of a wait: the workload, its pods, and the refusals to make one.

use super::Wait;
use crate::effects::access::{Access, gone};
use crate::effects::object::Object;
use crate::effects::pod::PodView;
use crate::effects::watch::{Events, Followed, Many, events, many, watching};
use astern_model::failure::{Failure, FailureClass};
use astern_model::target::Target;
use astern_model::workload::RevisionKind;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, DynamicObject};
use kube::core::Selector;
use kube::runtime::watcher;
use serde_json::Value;

pub(super) fn is_there(followed: Followed<DynamicObject>, wait: &Wait<'_>) -> Result<Object, Failure> {
    let Followed::Is(object) = followed else {
        return Err(gone(wait.target, wait.operation));
    };
    read(object, wait.target, wait.operation)
}

/// A watched workload as effects read it.
pub(crate) fn read(object: DynamicObject, target: &Target, operation: &str) -> Result<Object, Failure> {
    let json = serde_json::to_value(object).map_err(|error| {
        Failure::new(
            FailureClass::Permanent,
            operation,
            format!("the object was not understood: {error}"),
        )
    })?;
    Ok(Object::new(target.kind, json))
}

/// What finds the workload's pods.
pub(super) fn selector(wait: &Wait<'_>, now: &Object) -> Result<Selector, Failure> {
    let unreadable = |why: String| {
        Failure::new(
            FailureClass::Permanent,
            wait.operation,
            format!("its selector was not understood: {why}"),
        )
    };
    let selector = now
        .json()
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or(Value::Null);
    let selector: LabelSelector =
        serde_json::from_value(selector).map_err(|error| unreadable(error.to_string()))?;
    Selector::try_from(selector).map_err(|error| unreadable(error.to_string()))
}

/// A watch of the workload's pods alone. What it says first is a consistent list.
pub(super) fn pods(access: &Access, wait: &Wait<'_>, now: &Object) -> Result<Many<Pod, PodView>, Failure> {
    let selector = selector(wait, now)?;
    Ok(seen_as_views(
        access,
        wait,
        access.watch_pods(&wait.target.namespace, &selector),
    ))
}

pub(super) fn seen_as_views(access: &Access, wait: &Wait<'_>, pods: Events<Pod>) -> Many<Pod, PodView> {
    let (target, uid, clock) = (wait.target.clone(), wait.uid.clone(), access.clock());
    many(pods, watching("pods", wait.operation), move |pod| {
        PodView::of(&target, &uid, pod, clock.now())
    })
}

/// The words with which the API server last refused to make a pod, and whether that was since the wait began.
pub(super) type Refusals = Many<Event, Option<(Option<Timestamp>, String)>>;

/// Watches the `FailedCreate` events of a StatefulSet or DaemonSet, whose status does not tell of them.
pub(super) fn refusals(access: &Access, wait: &Wait<'_>, now: &Object, since: Timestamp) -> Option<Refusals> {
    if RevisionKind::of(now.kind()) == RevisionKind::ReplicaSet {
        return None;
    }
    let fields = format!("involvedObject.uid={},reason=FailedCreate", wait.uid);
    Some(many(
        events(
            Api::namespaced(access.watching(), &wait.target.namespace),
            watcher::Config::default().fields(&fields),
        ),
        watching("events", wait.operation),
        move |event: &Event| {
            let at = event.last_timestamp.as_ref().map(|time| time.0);
            let recent = at.is_some_and(|at| at >= since);
            recent.then(|| (at, event.message.clone().unwrap_or_default()))
        },
    ))
}

pub(super) fn newest(refusals: &Refusals) -> Option<&str> {
    let known = refusals.known()?.values().flatten();
    known
        .max_by_key(|(at, _)| *at)
        .map(|(_, message)| message.as_str())
}

/// Returns at the next refusal. Events are evidence beside the matter: without the right to watch them the wait
/// goes on without them.
pub(super) async fn changed(refusals: &mut Option<Refusals>) {
    if let Some(watched) = refusals {
        match watched.changed().await {
            Ok(()) => return,
            Err(failure) => {
                tracing::debug!("{failure}");
                *refusals = None;
            }
        }
    }
    std::future::pending().await
}

pub(super) async fn sleep(span: Option<SignedDuration>) {
    match span {
        Some(span) => tokio::time::sleep(span.unsigned_abs()).await,
        None => std::future::pending().await,
    }
}
