//! What the API server refuses of an object: names, what a workload must have, what may not change. Owns the order of the
//! checks; each group of rules is its own file. Not all that a real server checks: fields that are not named here are
//! stored as they come.

mod metadata;
mod others;
mod pods;
mod workloads;

pub(crate) use others::new_event;

use super::status::{Cause, Outcome, Refusal};
use crate::kinds::Kind;
use crate::object::{get, int, same, text};
use serde_json::Value;

/// Whether the object may be stored at all.
pub(crate) fn object(kind: &Kind, object: &Value) -> Outcome<()> {
    let mut causes = Vec::new();
    of_itself(kind, object, &mut causes);
    refused(kind, object, &causes)
}

fn of_itself(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    metadata::object(kind, object, causes);
    match &*kind.resource() {
        "pods" => pods::object(object, causes),
        "deployments.apps" => workloads::deployment(object, causes),
        "replicasets.apps" => workloads::replica_set(object, causes),
        "statefulsets.apps" => workloads::stateful_set(object, causes),
        "daemonsets.apps" => workloads::daemon_set(object, causes),
        _ => others::object(kind, object, causes),
    }
}

/// Whether one may become the other.
pub(crate) fn update(kind: &Kind, old: &Value, object: &Value) -> Outcome<()> {
    let mut causes = Vec::new();
    if &*kind.resource() == "daemonsets.apps" {
        immutable(old, object, "spec.selector", &mut causes);
    }
    of_itself(kind, object, &mut causes);
    metadata::update(old, object, &mut causes);
    match &*kind.resource() {
        "daemonsets.apps" => {}
        "deployments.apps" | "replicasets.apps" => {
            immutable(old, object, "spec.selector", &mut causes);
        }
        "statefulsets.apps" => workloads::stateful_set_update(old, object, &mut causes),
        "pods" => pods::update(old, object, &mut causes),
        _ => others::update(kind, old, object, &mut causes),
    }
    refused(kind, object, &causes)
}

/// Whether a status may be written.
pub(crate) fn status(kind: &Kind, object: &Value) -> Outcome<()> {
    let mut causes = Vec::new();
    if &*kind.resource() == "deployments.apps" {
        workloads::deployment_status(object, &mut causes);
    }
    refused(kind, object, &causes)
}

fn refused(kind: &Kind, object: &Value, causes: &[Cause]) -> Outcome<()> {
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(kind, text(object, "metadata.name"), causes))
    }
}

fn immutable(old: &Value, object: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !same(get(old, path), get(object, path)) {
        let value = get(object, path).cloned().unwrap_or_default();
        causes.push(Cause::invalid(path, &value, "field is immutable"));
    }
}

fn not_negative(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    if int(object, path).is_some_and(|number| number < 0) {
        let value = get(object, path).cloned().unwrap_or_default();
        causes.push(Cause::invalid(path, &value, NOT_NEGATIVE));
    }
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// One of some words; nothing said is none of this rule's business.
fn one_of(object: &Value, path: &str, words: &[&str], causes: &mut Vec<Cause>) {
    if let Some(said) = get(object, path).filter(|said| !said.is_null())
        && !said.as_str().is_some_and(|said| words.contains(&said))
    {
        causes.push(Cause::not_supported(path, said, words));
    }
}
